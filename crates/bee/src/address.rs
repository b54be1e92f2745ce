//! Where a Bee node is, and the token that opens it. Neither credentials nor tokens are ever shown.

use core::fmt;

use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::error::BeeError;

/// Where a user's own Bee listens unless told otherwise (Bee's `--api-addr`).
pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:1633";

/// The port of a node whose address names none.
const DEFAULT_PORT: u16 = 1633;

/// What a gateway in front of a node wants to see. Bee itself asks for none.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// A bearer token.
    ///
    /// # Errors
    /// [`BeeError::Token`] if it has letters that no HTTP header may have; the error does not repeat it.
    pub fn new(text: &str) -> Result<Self, BeeError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BeeError::Token);
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| BeeError::Token)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Reads `HOST`, `HOST:PORT` or `http://HOST:PORT/PATH/`.
pub(crate) fn parse(text: &str) -> Result<Url, BeeError> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| wrong(text, &error.to_string()))?;
    if url.scheme() != "http" {
        return Err(wrong(text, "this client speaks plain HTTP only, which Bee's API is"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(text, "it has a user name or a password in it, which would end up in logs: use a token"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(text, "it must end with the path"));
    }
    // A URL does not tell a port that is HTTP's own from none at all, so the text is asked.
    let authority = with_scheme.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| wrong(text, "it takes no port"))?;
    }
    if !url.path().ends_with('/') {
        let folder = format!("{}/", url.path());
        url.set_path(&folder);
    }
    Ok(url)
}

/// Host, port and path, for people.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(DEFAULT_PORT);
    format!("http://{host}:{port}{}", url.path().trim_end_matches('/'))
}

fn wrong(text: &str, why: &str) -> BeeError {
    // Whatever stands before an @ may be a password, and after a ? or # a token.
    let is_safe = !text.contains(['@', '?', '#']);
    let text = if is_safe { text.chars().take(80).collect() } else { "(hidden)".to_owned() };
    BeeError::Address { text, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        let address = |text| shown(&parse(text).unwrap());
        assert_eq!(address(DEFAULT_ADDRESS), DEFAULT_ADDRESS);
        assert_eq!(address("localhost"), "http://localhost:1633");
        assert_eq!(address(" bee.example:80 "), "http://bee.example:80");
        assert_eq!(address("http://bee.example/swarm"), "http://bee.example:1633/swarm");
        assert_eq!(address("[::1]"), "http://[::1]:1633");
        assert_eq!(address("[::1]:9"), "http://[::1]:9");
    }

    #[test]
    fn other_addresses_are_refused_and_no_secret_is_repeated() {
        for text in ["http://me:secret@host", "https://host", "host?token=secret", "http://:1", "", "http://[secret@"] {
            let error = parse(text).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn tokens_are_not_shown() {
        let token = Token::new(" secret ").unwrap();
        assert_eq!(token.header(), "Bearer secret");
        assert!(!format!("{token:?} {:?}", token.header()).contains("secret"));
        for bad in ["", "  ", "secret\nx"] {
            assert!(!Token::new(bad).unwrap_err().to_string().contains("secret"));
        }
    }
}
