//! Who may ask. The door has no passwords, so a browser on the same machine is its one danger: a page of a stranger that lets its own
//! name point to 127.0.0.1 (DNS rebinding), or that posts across origins. Neither can choose the `Host` and `Origin` headers.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

use crate::types::{Problem, ProblemKind};

/// Lets through requests whose `Host` is this gateway and whose `Origin`, if there is one, is the same.
///
/// # Errors
/// [`ProblemKind::Forbidden`] with the header that is wrong.
pub fn check(headers: &HeaderMap, bound: SocketAddr) -> Result<(), Problem> {
    let host = single(headers, HOST.as_str())?.ok_or_else(|| forbidden("the request has no Host header"))?;
    if !is_ours(host, bound) {
        let shown: String = host.chars().take(80).collect();
        return Err(forbidden(&format!(
            "the request is for host {shown:?}, and this gateway answers only to localhost and the address it listens on ({bound})"
        )));
    }
    match single(headers, ORIGIN.as_str())? {
        Some(origin) if !is_same(origin, host) => {
            Err(forbidden("a page of another origin asked, and this gateway has no passwords: only its own origin may"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a request is for `host` by name, and no page of another origin asks.
pub(super) fn is_for(headers: &HeaderMap, host: &str) -> bool {
    let is_host =
        matches!(single(headers, HOST.as_str()), Ok(Some(asked)) if without_port(asked).eq_ignore_ascii_case(host));
    is_host && !headers.contains_key(ORIGIN)
}

/// The one value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(forbidden(&format!("the request has more than one {name} header")));
    }
    first.map(|value| value.to_str().map_err(|_| forbidden(&format!("the {name} header is not text")))).transpose()
}

/// Whether a `Host` header names this gateway. Only names can be rebound, so a gateway that listens on every address takes any literal
/// address; one that listens on a single one takes that and loopback.
fn is_ours(host: &str, bound: SocketAddr) -> bool {
    let name = without_port(host);
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    literal.parse::<IpAddr>().is_ok_and(|ip| {
        let ip = ip.to_canonical();
        ip.is_loopback() || bound.ip().is_unspecified() || ip == bound.ip().to_canonical()
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        Some(_) | None => host,
    }
}

fn is_same(origin: &str, host: &str) -> bool {
    origin.strip_prefix("http://").is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

fn forbidden(message: &str) -> Problem {
    Problem::new(ProblemKind::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&'static str, &str)], bound: &str) -> Result<(), Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        check(&headers, bound.parse().unwrap())
    }

    #[test]
    fn loopback_and_the_bound_address_are_let_in() {
        for host in ["localhost", "LocalHost:7171", "127.0.0.1:7171", "127.9.9.9", "[::1]:7171", "192.0.2.1:7171"] {
            assert_eq!(asked(&[("host", host)], "192.0.2.1:7171"), Ok(()), "{host}");
        }
        assert_eq!(asked(&[("host", "198.51.100.7:7171")], "0.0.0.0:7171"), Ok(()));
    }

    #[test]
    fn rebound_names_and_strange_hosts_are_not() {
        let strangers =
            ["evil.example:7171", "localhost.evil.example", "192.0.2.2", "", "127.0.0.1.evil.example", "[::2]", "::"];
        for host in strangers {
            let problem = asked(&[("host", host)], "127.0.0.1:7171").unwrap_err();
            assert_eq!(problem.kind, ProblemKind::Forbidden, "{host}");
        }
        assert!(asked(&[("host", "evil.example")], "0.0.0.0:7171").is_err(), "a name is never taken");
        assert!(asked(&[], "127.0.0.1:7171").is_err(), "no Host at all");
        assert!(asked(&[("host", "localhost"), ("host", "evil.example")], "127.0.0.1:7171").is_err(), "two of them");
    }

    #[test]
    fn only_the_same_origin_may_ask() {
        let host = ("host", "localhost:7171");
        assert_eq!(asked(&[host, ("origin", "http://localhost:7171")], "127.0.0.1:7171"), Ok(()));
        for origin in
            ["null", "http://evil.example", "http://localhost:8080", "https://localhost:7171", "http://localhost:71710"]
        {
            assert!(asked(&[host, ("origin", origin)], "127.0.0.1:7171").is_err(), "{origin}");
        }
    }
}
