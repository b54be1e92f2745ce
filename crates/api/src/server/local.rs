//! Who asks from this machine. What only the gateway's owner may ask for, as a back-up or who may work, is for those alone, whatever address the door listens on.
//!
//! A request from another machine does not count as local. One that a program on this machine passes on for somebody else does, unless it shows:
//! proxies say so in a header or speak HTTP/1.0 to what is behind them, as nginx does if nobody configures it otherwise. A proxy that does neither,
//! or a forwarded port (`socat`, `ssh -R`), looks as its own machine does and cannot be told from it. So this is no substitute for keeping `/v1`
//! from others. A tunnel of the owner's (`ssh -L`) is meant to pass: who may open one is on this machine already.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Version};

use crate::types::{Problem, ProblemKind};

/// What proxies add for whoever stands behind them, beside all that begins with [`FORWARDED`].
const PROXY_HEADERS: [&str; 7] =
    ["forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "x-original-host"];

/// `x-forwarded-for`, `-host`, `-proto`, `-port`, `-server` and others.
const FORWARDED: &str = "x-forwarded";

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

/// Who asks: where the connection comes from, if that is known, and how it is asked.
pub(super) struct Asker {
    origin: Option<Origin>,
    version: Version,
    /// Of the request.
    pub(super) headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let origin = parts.extensions.get::<Origin>().copied();
        Ok(Self { origin, version: parts.version, headers: parts.headers.clone() })
    }
}

impl Asker {
    /// Lets through what was asked for on this machine, as far as that can be told; a connection of which nothing is known was not. `what` is asked
    /// for, for people, and by which of our commands.
    ///
    /// # Errors
    /// [`ProblemKind::Forbidden`].
    pub(super) fn must_be_local(&self, what: &str, command: &str) -> Result<(), Problem> {
        let is_local = self.origin.is_some_and(|origin| origin.is_local);
        let is_passed_on = || self.headers.keys().any(|name| is_of_proxy(name.as_str()));
        if is_local && self.version > Version::HTTP_10 && !is_passed_on() {
            return Ok(());
        }
        let message = format!(
            "{what} is the business of the gateway's owner: ask on its own machine with HTTP/1.1, and not through a proxy (`manyhands {command}` \
         there, or through a tunnel, ssh -L)"
        );
        Err(Problem::new(ProblemKind::Forbidden, message))
    }
}

fn is_of_proxy(name: &str) -> bool {
    name.starts_with(FORWARDED) || PROXY_HEADERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(origin: Option<Origin>, version: Version, headers: &HeaderMap) -> Result<(), Problem> {
        Asker { origin, version, headers: headers.clone() }.must_be_local("this", "that")
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
            assert_eq!(checked(Some(origin(peer, here)), Version::HTTP_11, &none), Ok(()), "{peer} at {here}");
        }
        for (peer, here) in [("192.0.2.2:9", "192.0.2.1:7171"), ("[2001:db8::1]:9", "[2001:db8::2]:7171")] {
            let problem = checked(Some(origin(peer, here)), Version::HTTP_11, &none).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::Forbidden, "{peer}");
        }
        assert!(checked(None, Version::HTTP_11, &none).is_err(), "nothing is known");
        assert!(checked(Some(Origin::of("192.0.2.1:9".parse().unwrap(), None)), Version::HTTP_11, &none).is_err());
    }

    #[test]
    fn what_a_proxy_passes_on_is_not_local_if_it_shows() {
        let here = Some(origin("127.0.0.1:9", "127.0.0.1:7171"));
        let others = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-server", "x-forwarded"];
        for name in PROXY_HEADERS.into_iter().chain(others) {
            let headers = [(axum::http::HeaderName::from_static(name), "x".parse().unwrap())].into_iter().collect();
            assert!(checked(here, Version::HTTP_11, &headers).is_err(), "{name}");
        }
        let usual = [(axum::http::header::ACCEPT, "*/*".parse().unwrap())].into_iter().collect();
        assert_eq!(checked(here, Version::HTTP_11, &usual), Ok(()));
        assert!(checked(here, Version::HTTP_10, &usual).is_err(), "as nginx passes it on");
    }
}
