//! The calls of Bee's HTTP API that the client makes, and what each refusal of Bee means there.

use core::fmt;

use crate::patience::Retry;

/// A call of Bee's HTTP API (its openapi 8.1.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `GET /health`
    Health,
    /// `GET /node`
    Node,
    /// `GET /readiness`
    Readiness,
    /// `GET /chainstate`
    ChainState,
    /// `GET /stamps`
    Stamps,
    /// `GET /stamps/{id}`
    Stamp,
    /// `POST /bytes`
    PutBytes,
    /// `GET /bytes/{reference}`
    GetBytes,
    /// `POST /chunks`
    PutChunk,
    /// `GET /chunks/{address}`
    GetChunk,
    /// `POST`, `GET` and `DELETE /pins/{reference}`
    Pin,
    /// `GET /pins/check`
    CheckPin,
    /// `GET` and `PUT /stewardship/{reference}`
    Stewardship,
    /// `GET /tags/{uid}`
    Tag,
}

/// Why Bee said no, by its status and by what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the request is wrong, as Bee of this version sees it.
    BadRequest,
    /// 401, 403: not allowed, or not with this node ("Chain is disabled").
    Forbidden,
    /// 402: a bucket of the batch is full.
    Overissued,
    /// 404 for data: the network does not have it, or not yet.
    NotFound,
    /// 404 on an upload or of a batch: the node has no such batch.
    NoSuchBatch,
    /// 405, 501: this node cannot do that.
    Unable,
    /// 413: too long.
    TooLong,
    /// 422: the batch is too new, or is none.
    BatchNotReady,
    /// 429: too many requests.
    Busy,
    /// 502, 504: a gateway in front of the node does not reach it.
    Gateway,
    /// 503: the node syncs.
    Syncing,
    /// 500: something went wrong in the node.
    Internal,
    /// A status that no Bee sends.
    Odd,
}

impl Call {
    /// What `status` means as the answer to this call.
    pub const fn refusal(self, status: u16) -> Refusal {
        match status {
            400 => Refusal::BadRequest,
            401 | 403 => Refusal::Forbidden,
            402 => Refusal::Overissued,
            404 => match self {
                Self::PutBytes | Self::PutChunk | Self::Stamp => Refusal::NoSuchBatch,
                Self::Health
                | Self::Node
                | Self::Readiness
                | Self::ChainState
                | Self::Stamps
                | Self::GetBytes
                | Self::GetChunk
                | Self::Pin
                | Self::CheckPin
                | Self::Stewardship
                | Self::Tag => Refusal::NotFound,
            },
            405 | 501 => Refusal::Unable,
            413 => Refusal::TooLong,
            422 => Refusal::BatchNotReady,
            429 => Refusal::Busy,
            502 | 504 => Refusal::Gateway,
            503 => Refusal::Syncing,
            500 => Refusal::Internal,
            _ => Refusal::Odd,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Health => "GET /health",
            Self::Node => "GET /node",
            Self::Readiness => "GET /readiness",
            Self::ChainState => "GET /chainstate",
            Self::Stamps => "GET /stamps",
            Self::Stamp => "GET /stamps/{id}",
            Self::PutBytes => "POST /bytes",
            Self::GetBytes => "GET /bytes",
            Self::PutChunk => "POST /chunks",
            Self::GetChunk => "GET /chunks",
            Self::Pin => "/pins",
            Self::CheckPin => "GET /pins/check",
            Self::Stewardship => "/stewardship",
            Self::Tag => "GET /tags",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Refusal {
    /// Whether it helps to ask again.
    pub const fn retry(self) -> Retry {
        match self {
            Self::BatchNotReady | Self::Busy | Self::Syncing => Retry::Later,
            Self::Internal | Self::Gateway => Retry::Few,
            Self::NotFound => Retry::WhileFresh,
            Self::BadRequest
            | Self::Forbidden
            | Self::Overissued
            | Self::NoSuchBatch
            | Self::Unable
            | Self::TooLong
            | Self::Odd => Retry::Never,
        }
    }

    /// What it is, in a few words.
    pub const fn what(self) -> &'static str {
        match self {
            Self::BadRequest => "the request is not as it wants it",
            Self::Forbidden => "it does not allow that",
            Self::Overissued => "a bucket of the postage batch is full",
            Self::NotFound => "it has no such data, nor has the network",
            Self::NoSuchBatch => "it has no such postage batch",
            Self::Unable => "it cannot do that",
            Self::TooLong => "the request is too long for it",
            Self::BatchNotReady => "the postage batch is not usable yet, or does not exist",
            Self::Busy => "it has too many requests",
            Self::Gateway => "the gateway in front of it does not reach it",
            Self::Syncing => "it is still syncing",
            Self::Internal => "something went wrong inside",
            Self::Odd => "no Bee says that",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_class() {
        let retry = |call: Call, status| call.refusal(status).retry();
        for status in [422, 429, 503] {
            assert_eq!(retry(Call::PutBytes, status), Retry::Later, "{status}");
        }
        for status in [301, 400, 401, 402, 403, 404, 405, 413, 418, 501] {
            assert_eq!(retry(Call::PutBytes, status), Retry::Never, "{status}");
            assert_eq!(retry(Call::PutChunk, status), Retry::Never, "{status}");
        }
        for status in [500, 502, 504] {
            assert_eq!(retry(Call::PutBytes, status), Retry::Few, "{status}");
        }
        assert_eq!(retry(Call::GetBytes, 404), Retry::WhileFresh);
        assert_eq!(retry(Call::GetChunk, 404), Retry::WhileFresh);
        assert_eq!(Call::Stamp.refusal(404), Refusal::NoSuchBatch);
    }
}
