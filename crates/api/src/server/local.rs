//! Who asks from this machine. What only the gateway's owner may ask for, as a back-up or who may work, is for those alone, whatever address the door listens on.
//!
//! Neither a request from another machine nor one that a proxy passes on, which says so in a header, counts as local. A tunnel of the owner's
//! (`ssh -L`) does: who may open one is on this machine already.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::types::{Problem, ProblemKind};

/// What proxies add for whoever stands behind them.
const PROXY_HEADERS: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    is_local: bool,
}

impl Origin {
    /// Of a connection from `peer` that was accepted at `here`. From an address to itself nobody comes but from the machine that has it.
    pub(super) fn of(peer: SocketAddr, here: Option<SocketAddr>) -> Self {
        let canonical = |ip: IpAddr| ip.to_canonical();
        let peer = canonical(peer.ip());
        Self { is_local: peer.is_loopback() || here.is_some_and(|here| canonical(here.ip()) == peer) }
    }
}

/// Lets through what was asked for on this machine; a connection of which nothing is known was not. `what` is asked for, for people, and by
/// which of our commands.
///
/// # Errors
/// [`ProblemKind::Forbidden`].
pub(super) fn check(origin: Option<Origin>, headers: &HeaderMap, what: &str, command: &str) -> Result<(), Problem> {
    let is_passed_on = PROXY_HEADERS.iter().any(|name| headers.contains_key(*name));
    if origin.is_some_and(|origin| origin.is_local) && !is_passed_on {
        return Ok(());
    }
    let message = format!(
        "{what} is the business of the gateway's owner: ask on its own machine, and not through a proxy (`manyhands {command}` there, or \
         through a tunnel, ssh -L)"
    );
    Err(Problem::new(ProblemKind::Forbidden, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(origin: Option<Origin>, headers: &HeaderMap) -> Result<(), Problem> {
        check(origin, headers, "this", "that")
    }

    fn origin(peer: &str, here: &str) -> Origin {
        Origin::of(peer.parse().unwrap(), Some(here.parse().unwrap()))
    }

    #[test]
    fn only_this_machine_is_local() {
        let none = HeaderMap::new();
        for (peer, here) in [
            ("127.0.0.1:9", "127.0.0.1:7171"),
            ("127.9.9.9:9", "127.0.0.1:7171"),
            ("[::1]:9", "[::1]:7171"),
            ("[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:7171"),
            ("192.0.2.1:9", "192.0.2.1:7171"),
            ("[::ffff:192.0.2.1]:9", "192.0.2.1:7171"),
        ] {
            assert_eq!(checked(Some(origin(peer, here)), &none), Ok(()), "{peer} at {here}");
        }
        for (peer, here) in [("192.0.2.2:9", "192.0.2.1:7171"), ("[2001:db8::1]:9", "[2001:db8::2]:7171")] {
            let problem = checked(Some(origin(peer, here)), &none).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::Forbidden, "{peer}");
        }
        assert!(checked(None, &none).is_err(), "nothing is known");
        assert!(checked(Some(Origin::of("192.0.2.1:9".parse().unwrap(), None)), &none).is_err());
    }

    #[test]
    fn what_a_proxy_passes_on_is_not_local() {
        let here = origin("127.0.0.1:9", "127.0.0.1:7171");
        for name in PROXY_HEADERS {
            let headers = [(axum::http::HeaderName::from_static(name), "x".parse().unwrap())].into_iter().collect();
            assert!(checked(Some(here), &headers).is_err(), "{name}");
        }
    }
}
