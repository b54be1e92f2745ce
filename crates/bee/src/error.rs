//! Why a request to a Bee node came to nothing: what happened, at whose fault, and what to do about it.

use std::error::Error;
use std::io;
use std::time::Duration;

use manyhands_blob::ReadError;
use manyhands_proto::Reference;

use crate::batch::{BatchId, Rejected};
use crate::call::{Call, Refusal};
use crate::patience::Retry;
use crate::purchase::Purchase;

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// This program, or who called it.
    Us,
    /// The Bee node: no node that works does that.
    Bee,
    /// The connection or Swarm's network: nobody that can be named.
    Network,
    /// The node's owner: it must be started, funded, given a batch, or named rightly.
    Owner,
}

/// Why a request to a Bee node came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeeError {
    /// The address is none.
    #[error("{text:?} is not the address of a Bee node: {why}")]
    Address {
        /// What was given; hidden if a secret may be in it.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The token is none.
    #[error("the token for the Bee node is empty, or has letters that no HTTP header may have")]
    Token,
    /// Nobody answers there.
    #[error("no Bee node answers at {address}: {}", root(source))]
    Unreachable {
        /// Where.
        address: String,
        /// What the connection said.
        #[source]
        source: reqwest::Error,
    },
    /// Somebody answers, but no Bee.
    #[error("what listens at {address} is no Bee node: {what}")]
    NotABee {
        /// Where.
        address: String,
        /// What it is, as far as one can tell.
        what: String,
    },
    /// No answer in time.
    #[error("the Bee node did not finish {call} within {} s", limit.as_secs())]
    Silent {
        /// What was asked.
        call: Call,
        /// How long it had.
        limit: Duration,
    },
    /// The connection broke on the way.
    #[error("the connection to the Bee node broke during {call}: {}", root(source))]
    Broken {
        /// What was asked.
        call: Call,
        /// What the connection said.
        #[source]
        source: reqwest::Error,
    },
    /// Bee says no.
    #[error("the Bee node refuses {call} with status {status}, {}: {message:?}", refusal.what())]
    Refused {
        /// What was asked.
        call: Call,
        /// The HTTP status.
        status: u16,
        /// What it means.
        refusal: Refusal,
        /// Bee's own words, at most 200 letters.
        message: String,
    },
    /// An answer that cannot be read.
    #[error("the Bee node's answer to {call} cannot be read: {why}")]
    Garbled {
        /// What was asked.
        call: Call,
        /// What is wrong with it.
        why: String,
    },
    /// An answer beyond its bound.
    #[error("the Bee node's answer to {call} is larger than {limit_bytes} bytes, which it should not be")]
    TooLarge {
        /// What was asked.
        call: Call,
        /// The bound.
        limit_bytes: u64,
    },
    /// Bytes that are not those of the reference.
    #[error("what the Bee node sent for {expected} is not that: {why}")]
    WrongBytes {
        /// What was asked for.
        expected: Reference,
        /// What it is.
        why: String,
    },
    /// What was uploaded has another reference in the node's answer.
    #[error("the Bee node says that what was sent by {call} is {got}, and it is {expected}")]
    WrongReference {
        /// What was asked.
        call: Call,
        /// What was computed here.
        expected: Reference,
        /// What Bee says.
        got: Reference,
    },
    /// After a wrong reference, the way by single chunks failed as well.
    #[error("the Bee node makes another tree of {expected} ({got}), and to send its chunks one by one failed: {last}")]
    NoWay {
        /// What was computed here.
        expected: Reference,
        /// What Bee made of it.
        got: Reference,
        /// Why the chunks did not arrive.
        #[source]
        last: Box<BeeError>,
    },
    /// The bytes to be sent cannot be read.
    #[error("the bytes of {reference} cannot be read to be sent: {source}")]
    Source {
        /// The blob.
        reference: Reference,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The bytes to be sent are others than said.
    #[error("the bytes to be sent are not those of {expected}: they are {got}")]
    OtherSource {
        /// What they should be.
        expected: Reference,
        /// What they are.
        got: Reference,
    },
    /// A blob whose tree is malformed, or that has another size than was said.
    #[error("{reference} is no blob of the size that was said: {source}")]
    Malformed {
        /// The blob.
        reference: Reference,
        /// What is wrong.
        #[source]
        source: ReadError,
    },
    /// A batch that was named cannot take the blob.
    #[error("postage batch {id} cannot take this: {why}")]
    BatchUnfit {
        /// The batch.
        id: BatchId,
        /// Why not.
        why: Rejected,
    },
    /// No batch can take the blob.
    #[error("the Bee node has no postage batch that can take this ({})", list(rejected))]
    NoBatch {
        /// The node's batches, and why each is none; at most eight.
        rejected: Vec<(BatchId, Rejected)>,
        /// What to buy.
        purchase: Box<Purchase>,
    },
    /// It might have helped to go on, but the time for it is up.
    #[error("given up after {} s: {last}", deadline.as_secs())]
    OutOfTime {
        /// The time there was.
        deadline: Duration,
        /// The last failure.
        #[source]
        last: Box<BeeError>,
    },
}

impl BeeError {
    /// Whether it helps to ask again. Of what the client returns nothing needs to be asked again at once: it did so.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused { refusal, .. } => refusal.retry(),
            Self::BatchUnfit { why: Rejected::NotUsable, .. } => Retry::Later,
            Self::NoBatch { rejected, .. } if rejected.iter().any(|(_, why)| *why == Rejected::NotUsable) => {
                Retry::Later
            }
            Self::Unreachable { .. } => Retry::Later,
            Self::Silent { .. } | Self::Broken { .. } => Retry::Few,
            Self::NoWay { last, .. } | Self::OutOfTime { last, .. } => last.retry(),
            Self::Address { .. }
            | Self::Token
            | Self::NotABee { .. }
            | Self::Garbled { .. }
            | Self::TooLarge { .. }
            | Self::WrongBytes { .. }
            | Self::WrongReference { .. }
            | Self::Source { .. }
            | Self::OtherSource { .. }
            | Self::Malformed { .. }
            | Self::BatchUnfit { .. }
            | Self::NoBatch { .. } => Retry::Never,
        }
    }

    /// Who can do something about it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused { refusal, .. } => match refusal {
                Refusal::BadRequest | Refusal::TooLong => Fault::Us,
                Refusal::Forbidden
                | Refusal::Overissued
                | Refusal::NoSuchBatch
                | Refusal::Unable
                | Refusal::BatchNotReady => Fault::Owner,
                Refusal::NotFound | Refusal::Busy | Refusal::Gateway | Refusal::Syncing => Fault::Network,
                Refusal::Internal | Refusal::Odd => Fault::Bee,
            },
            Self::Source { .. } | Self::OtherSource { .. } | Self::Malformed { .. } => Fault::Us,
            Self::Silent { .. } | Self::Broken { .. } => Fault::Network,
            Self::Garbled { .. } | Self::TooLarge { .. } | Self::WrongBytes { .. } | Self::WrongReference { .. } => {
                Fault::Bee
            }
            Self::Address { .. }
            | Self::Token
            | Self::Unreachable { .. }
            | Self::NotABee { .. }
            | Self::BatchUnfit { .. }
            | Self::NoBatch { .. } => Fault::Owner,
            Self::NoWay { last, .. } | Self::OutOfTime { last, .. } => last.fault(),
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Refused { refusal, .. } => refusal_advice(*refusal).to_owned(),
            Self::NoBatch { purchase, .. } => purchase.to_string(),
            Self::NoWay { last, .. } | Self::OutOfTime { last, .. } => last.advice(),
            Self::Address { .. } => format!("give http://HOST:PORT, such as {}", crate::DEFAULT_ADDRESS),
            Self::Token => "give the token as the gateway's operator wrote it".to_owned(),
            Self::Unreachable { .. } => "start the Bee node, or give the address that its api-addr says".to_owned(),
            Self::NotABee { .. } => "another program uses this port: give the Bee node's own address".to_owned(),
            Self::Silent { .. } | Self::Broken { .. } => {
                "look whether the Bee node still runs, and at its log; then try again".to_owned()
            }
            Self::Garbled { .. } | Self::TooLarge { .. } => {
                "look whether this is a Bee node of version 2, with nothing in front of it that changes answers"
                    .to_owned()
            }
            Self::WrongBytes { .. } | Self::WrongReference { .. } => {
                "do not use this node: what it says is not true. Its disk or its version may be the cause".to_owned()
            }
            Self::Source { .. } | Self::OtherSource { .. } => {
                "the store on this machine changed or is damaged: put the blob in again".to_owned()
            }
            Self::Malformed { .. } => "the reference or its size is wrong: ask for it where it came from".to_owned(),
            Self::BatchUnfit { .. } => "name another batch, or none, to have one chosen".to_owned(),
        }
    }
}

const fn refusal_advice(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::BadRequest | Refusal::TooLong => "this is an error of this program, or the node is of another version",
        Refusal::Forbidden => {
            "give the right token if there is a gateway; a node without a chain (ultra-light) cannot upload: run it light"
        }
        Refusal::Overissued => "dilute the batch (PATCH /stamps/dilute/{id}/{depth}) or use another",
        Refusal::NotFound => "wait if it is fresh; else whoever has it must upload it again (PUT /stewardship)",
        Refusal::NoSuchBatch => "name a batch that GET /stamps of this very node lists",
        Refusal::Unable => "use a node that is light or full, not one in development mode",
        Refusal::BatchNotReady => "wait some minutes: a new batch must be confirmed by the chain",
        Refusal::Busy | Refusal::Gateway => "wait, and ask for less at a time",
        Refusal::Syncing => "wait until GET /readiness says ready",
        Refusal::Internal => "look at the Bee node's log; then try again",
        Refusal::Odd => "look whether this is a Bee node, with nothing in front of it that redirects",
    }
}

/// The innermost cause, which says it plainly ("Connection refused").
pub(crate) fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn list(rejected: &[(BatchId, Rejected)]) -> String {
    if rejected.is_empty() {
        return "it has none at all".to_owned();
    }
    let each: Vec<String> = rejected.iter().map(|(id, why)| format!("{}: {why}", id.short())).collect();
    each.join("; ")
}
