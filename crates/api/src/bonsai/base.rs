//! The address that clients are sent to: the configured one, else the one that they asked at, also behind a proxy that speaks TLS.

use axum::http::HeaderMap;
use axum::http::header::HOST;

/// Longest host that is written back to a client.
const HOST_CHARS_MAX: usize = 255;

/// `scheme://host`, without a slash at the end.
pub(super) fn base(headers: &HeaderMap, public_url: Option<&str>) -> String {
    if let Some(url) = public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let first = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.split(',').next()?.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let is_host = |host: &String| {
        host.len() <= HOST_CHARS_MAX
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
    };
    let host = first("x-forwarded-host").or_else(|| first(HOST.as_str())).filter(is_host);
    let scheme = first("x-forwarded-proto").filter(|scheme| scheme == "https").unwrap_or_else(|| "http".to_owned());
    let prefix = first("x-forwarded-prefix").filter(|prefix| {
        prefix.starts_with('/') && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
    });
    let prefix = prefix.unwrap_or_default();
    format!("{scheme}://{}{}", host.unwrap_or_else(|| "localhost".to_owned()), prefix.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)], public_url: Option<&str>) -> String {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        base(&headers, public_url)
    }

    #[test]
    fn addresses_are_those_that_the_client_can_reach() {
        let host = ("host", "127.0.0.1:7171");
        assert_eq!(of(&[host], None), "http://127.0.0.1:7171");
        assert_eq!(
            of(&[host, ("x-forwarded-proto", "https"), ("x-forwarded-host", "prove.example")], None),
            "https://prove.example"
        );
        assert_eq!(
            of(&[host, ("x-forwarded-proto", "https, http"), ("x-forwarded-prefix", "/b/")], None),
            "https://127.0.0.1:7171/b"
        );
        assert_eq!(of(&[host], Some("https://prove.example/bonsai/")), "https://prove.example/bonsai");
        for strange in ["evil.example/..", "a b", "<x>", &"x".repeat(300)] {
            assert_eq!(of(&[("host", strange)], None), "http://localhost", "{strange}");
        }
        assert_eq!(of(&[host, ("x-forwarded-proto", "javascript")], None), "http://127.0.0.1:7171");
    }
}
