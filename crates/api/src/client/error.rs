//! Why a request to a gateway came to nothing, in words for its user.

use std::error::Error;

use crate::types::Problem;

/// Why a request to a gateway came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is none.
    #[error("{text:?} is not the address of a gateway: {why}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers there.
    #[error("no gateway answers at {address}: {}", root(source))]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the connection said.
        #[source]
        source: reqwest::Error,
    },
    /// Somebody answers, but not a gateway.
    #[error("what listens on {address} is not a manyhands gateway: {what}")]
    NotAGateway {
        /// Host and port.
        address: String,
        /// What it is, as far as one can tell.
        what: String,
    },
    /// The gateway says no.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The gateway sent more than it should.
    #[error("the gateway's {what} is larger than {limit_bytes} bytes, which it should not be")]
    TooLarge {
        /// Which answer.
        what: &'static str,
        /// The bound.
        limit_bytes: u64,
    },
    /// What was to be uploaded cannot be read.
    #[error("what was to be uploaded cannot be read: {source}")]
    Source {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The gateway has stopped telling of a job, and did not say why.
    #[error("the gateway at {address} has stopped telling of the job")]
    Silent {
        /// Host and port.
        address: String,
    },
    /// The gateway's answer is not of this version.
    #[error("the gateway's {what} could not be read: {source}. Are the gateway and this program of one version?")]
    Malformed {
        /// Which answer.
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

impl ClientError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { source, .. } if !source.is_connect() => Some(
                "something listens there and does not answer as a gateway's HTTP API does, which is on port 7171 as a rule (nodes use \
                 another, 7170)",
            ),
            Self::Unreachable { .. } => Some("start one with `manyhands up`, or name one with --gateway"),
            Self::NotAGateway { .. } => {
                Some("another program uses this port: name the gateway's own address with --gateway")
            }
            Self::Address { .. } => Some("give HOST:PORT, such as 127.0.0.1:7171"),
            Self::Silent { .. } => Some("the job goes on: ask again"),
            Self::Problem(_) | Self::TooLarge { .. } | Self::Source { .. } | Self::Malformed { .. } => None,
        }
    }

    /// Whether there was no gateway to talk to: the same request may be granted once there is one.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Silent { .. })
    }
}

/// The innermost cause, which says it plainly ("Connection refused").
fn root(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
