//! What a node keeps, and how far it is with an upload: pins, stewardship, tags.

use std::time::Duration;

use manyhands_proto::Reference;
use reqwest::Method;
use serde_json::Value;

use crate::call::{Call, Refusal};
use crate::client::{Bee, JSON_BYTES_MAX, Run, is_refusal, transfer_time};
use crate::error::BeeError;
use crate::json;

/// How long a node may take to walk through a blob's chunks: minutes, as its users report of large ones.
const WALK_TIME: Duration = Duration::from_secs(300);

/// What a node has of a blob that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinCheck {
    /// Chunks of the blob.
    pub total: u64,
    /// Chunks that it does not have.
    pub missing: u64,
    /// Chunks that are damaged.
    pub invalid: u64,
}

impl PinCheck {
    /// Whether all is there.
    pub const fn is_whole(&self) -> bool {
        self.missing == 0 && self.invalid == 0
    }
}

/// How far a node is with a deferred upload, in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Chunks that the upload was cut into.
    pub split: u64,
    /// Of these, chunks that the network had before.
    pub seen: u64,
    /// Chunks that the network has taken.
    pub synced: u64,
}

impl Tag {
    /// Whether the network has everything, as far as the node knows.
    pub const fn is_synced(&self) -> bool {
        self.split > 0 && self.seen.saturating_add(self.synced) >= self.split
    }
}

impl Bee {
    /// Makes the node keep a blob; that it does so already is well.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn pin(&self, reference: Reference) -> Result<(), BeeError> {
        self.pin_in(&self.run(Duration::ZERO), reference).await
    }

    pub(crate) async fn pin_in(&self, run: &Run, reference: Reference) -> Result<(), BeeError> {
        self.order(run, Call::Pin, Method::POST, &format!("pins/{reference}")).await
    }

    /// Lets the node drop a blob; that it did not keep it is well.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn unpin(&self, reference: Reference) -> Result<(), BeeError> {
        let run = self.run(Duration::ZERO);
        let done = self.order(&run, Call::Pin, Method::DELETE, &format!("pins/{reference}")).await;
        found(done).map(drop)
    }

    /// Whether the node keeps a blob.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn is_pinned(&self, reference: Reference) -> Result<bool, BeeError> {
        let run = self.run(Duration::ZERO);
        found(self.order(&run, Call::Pin, Method::GET, &format!("pins/{reference}")).await)
    }

    /// What the node has of a blob that it keeps; none if it does not keep it.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn check_pin(&self, reference: Reference) -> Result<Option<PinCheck>, BeeError> {
        let call = Call::CheckPin;
        let path = format!("pins/check?ref={reference}");
        let attempt = || async {
            let answer = self.send(call, self.request(Method::GET, &path)).await?;
            self.bytes(call, answer, JSON_BYTES_MAX).await
        };
        let run = self.run(Duration::ZERO);
        let bytes = match self.persist(&run, call, WALK_TIME, attempt).await {
            Err(error) if is_refusal(&error, Refusal::NotFound) => return Ok(None),
            outcome => outcome?,
        };
        // One object after the other, for each blob that is kept.
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        for line in lines {
            let line = line.map_err(|error| BeeError::Garbled { call, why: error.to_string() })?;
            if json::reference(&line, "reference") == Some(reference) {
                let count = |field| json::small(&line, field).ok_or_else(|| missing(call, field));
                let check = PinCheck { total: count("total")?, missing: count("missing")?, invalid: count("invalid")? };
                return Ok(Some(check));
            }
        }
        Ok(None)
    }

    /// Whether the network still has all of a blob, as the node says after having looked.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn is_retrievable(&self, reference: Reference) -> Result<bool, BeeError> {
        let call = Call::Stewardship;
        let attempt = || async {
            let answer = self.send(call, self.request(Method::GET, &format!("stewardship/{reference}"))).await?;
            self.json(call, answer).await
        };
        let value = self.persist(&self.run(Duration::ZERO), call, WALK_TIME, attempt).await?;
        json::boolean(&value, "isRetrievable").ok_or_else(|| missing(call, "isRetrievable"))
    }

    /// Makes the node push all chunks of a blob again, paid by `batch`. The node must have them: pin the blob before.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn reupload(&self, reference: Reference, batch: crate::BatchId) -> Result<(), BeeError> {
        let attempt = || async {
            let request = self.request(Method::PUT, &format!("stewardship/{reference}"));
            let request = request.header("swarm-postage-batch-id", batch.to_string());
            self.send(Call::Stewardship, request).await.map(drop)
        };
        self.persist(&self.run(Duration::ZERO), Call::Stewardship, WALK_TIME, attempt).await
    }

    /// How far the node is with a deferred upload.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn tag(&self, uid: u64) -> Result<Tag, BeeError> {
        let run = self.run(Duration::ZERO);
        let value = self.ask(&run, Call::Tag, Method::GET, &format!("tags/{uid}")).await?;
        let count = |field| json::small(&value, field).ok_or_else(|| missing(Call::Tag, field));
        Ok(Tag { split: count("split")?, seen: count("seen")?, synced: count("synced")? })
    }

    /// A request of which only the status counts.
    async fn order(&self, run: &Run, call: Call, method: Method, path: &str) -> Result<(), BeeError> {
        let attempt = || async { self.send(call, self.request(method.clone(), path)).await.map(drop) };
        self.persist(run, call, transfer_time(0), attempt).await
    }
}

/// A 404 as a plain no.
fn found(outcome: Result<(), BeeError>) -> Result<bool, BeeError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if is_refusal(&error, Refusal::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

fn missing(call: Call, field: &str) -> BeeError {
    BeeError::Garbled { call, why: format!("it has no {field}") }
}
