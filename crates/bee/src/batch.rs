//! Postage batches: what Bee says of them, and which one takes a blob. Pure; nothing is ever bought here.

use core::fmt;
use core::str::FromStr;
use std::time::Duration;

use manyhands_proto::Reference;
use serde_json::Value;

use crate::json;
use crate::room::{BUCKET_DEPTH, DEPTH_MAX, fits, slots_per_bucket};

/// Names a postage batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub [u8; 32]);

impl BatchId {
    /// The first eight digits, for lines that people read.
    pub fn short(&self) -> String {
        Reference(self.0).short()
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Reference(self.0).fmt(f)
    }
}

/// A text that names no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a postage batch is named by 64 hexadecimal digits")]
pub struct ParseBatchIdError;

impl FromStr for BatchId {
    type Err = ParseBatchIdError;

    fn from_str(text: &str) -> Result<Self, ParseBatchIdError> {
        text.parse::<Reference>().map(|Reference(bytes)| Self(bytes)).map_err(|_| ParseBatchIdError)
    }
}

/// A postage batch, as the node says it. What the node does not say is taken for the worse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its name.
    pub id: BatchId,
    /// log2 of its slots.
    pub depth: u8,
    /// log2 of its buckets.
    pub bucket_depth: u8,
    /// Chunks in its fullest bucket.
    pub fullest: u64,
    /// Whether the node stamps with it. A new one is not usable for some minutes.
    pub is_usable: bool,
    /// Whether it refuses when full. One that is not immutable overwrites its oldest chunks.
    pub is_immutable: bool,
    /// Whether it is still on the chain.
    pub exists: bool,
    /// How long it lasts at today's price; [`Duration::MAX`] if for ever.
    pub time_to_live: Duration,
    /// Its owner's name for it, at most 80 letters.
    pub label: String,
}

/// What a batch is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Bytes of the blob.
    pub size_bytes: u64,
    /// The least time to live.
    pub time_to_live: Duration,
}

/// Why a batch is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// It is no longer on the chain.
    Expired,
    /// It ends too soon.
    Short {
        /// What is left of it.
        left: Duration,
    },
    /// It has no room for the blob.
    Full {
        /// Free slots of its fullest bucket.
        free: u64,
    },
    /// Not usable yet; all else is in order.
    NotUsable,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("it has expired"),
            Self::Short { left } => write!(f, "it lasts for {} h only", left.as_secs() / 3600),
            Self::Full { free } => {
                write!(f, "its fullest bucket has {free} free slots, too few for a blob of this size")
            }
            Self::NotUsable => f.write_str("it is not usable yet"),
        }
    }
}

impl Batch {
    /// Reads a batch; `None` if it has no name or no depth that can be.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        Some(Self {
            id: json::text(value, "batchID")?.parse().ok()?,
            depth: json::small(value, "depth").filter(|depth| *depth <= DEPTH_MAX)?,
            bucket_depth: json::small(value, "bucketDepth").unwrap_or(BUCKET_DEPTH),
            fullest: json::small(value, "utilization").unwrap_or(u64::MAX),
            is_usable: json::boolean(value, "usable").unwrap_or(false),
            is_immutable: json::boolean(value, "immutableFlag").unwrap_or(false),
            // Newer than the other fields.
            exists: json::boolean(value, "exists").unwrap_or(true),
            time_to_live: time_to_live(value),
            label: json::tame(json::text(value, "label").unwrap_or_default(), 80),
        })
    }

    /// Free slots of its fullest bucket.
    pub fn free(&self) -> u64 {
        slots_per_bucket(self.depth, self.bucket_depth).saturating_sub(self.fullest)
    }

    /// Whether it can take a blob.
    ///
    /// # Errors
    /// [`Rejected`]; [`Rejected::NotUsable`] only if waiting helps.
    pub fn check(&self, need: &Need) -> Result<(), Rejected> {
        if !self.exists {
            return Err(Rejected::Expired);
        }
        if self.time_to_live < need.time_to_live {
            return Err(Rejected::Short { left: self.time_to_live });
        }
        if !fits(need.size_bytes, self.free(), self.bucket_depth) {
            return Err(Rejected::Full { free: self.free() });
        }
        if !self.is_usable {
            return Err(Rejected::NotUsable);
        }
        Ok(())
    }
}

/// The best of those that can take a blob: an immutable one, then the one that lasts longest.
pub fn best(batches: Vec<Batch>, need: &Need) -> Option<Batch> {
    let able = batches.into_iter().filter(|batch| batch.check(need).is_ok());
    able.max_by_key(|batch| (batch.is_immutable, batch.time_to_live, batch.id))
}

/// Bee says seconds, and -1 where the price is 0, so that it never ends.
fn time_to_live(value: &Value) -> Duration {
    if value.get("batchTTL").and_then(Value::as_i64) == Some(-1) {
        return Duration::MAX;
    }
    Duration::from_secs(json::small(value, "batchTTL").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DAY: u64 = 24 * 3600;

    fn batch(id: u8, change: &Value) -> Batch {
        let mut value = json!({
            "batchID": BatchId([id; 32]).to_string(), "depth": 20, "bucketDepth": 16, "utilization": 3,
            "usable": true, "immutableFlag": true, "exists": true, "batchTTL": 10 * DAY, "label": "a\nb", "more": [1],
        });
        value.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Batch::read(&value).unwrap()
    }

    fn need() -> Need {
        Need { size_bytes: 265_000, time_to_live: Duration::from_secs(DAY) }
    }

    #[test]
    fn each_lack_has_its_name() {
        let check = |change: Value| batch(1, &change).check(&need());
        assert_eq!(check(json!({})), Ok(()));
        assert_eq!(check(json!({ "exists": false })), Err(Rejected::Expired));
        assert_eq!(check(json!({ "batchTTL": 3600 })), Err(Rejected::Short { left: Duration::from_secs(3600) }));
        assert_eq!(check(json!({ "batchTTL": -1 })), Ok(()), "it never ends");
        assert_eq!(check(json!({ "utilization": 14 })), Err(Rejected::Full { free: 2 }));
        assert_eq!(check(json!({ "utilization": 99 })), Err(Rejected::Full { free: 0 }));
        assert_eq!(check(json!({ "usable": false })), Err(Rejected::NotUsable));
        assert_eq!(check(json!({ "usable": false, "utilization": 16 })), Err(Rejected::Full { free: 0 }));
    }

    #[test]
    fn what_is_missing_is_taken_for_the_worse() {
        let id = BatchId([1; 32]).to_string();
        let bare = Batch::read(&json!({ "batchID": id, "depth": "20" })).unwrap();
        assert_eq!((bare.free(), bare.is_usable, bare.is_immutable), (0, false, false));
        assert_eq!(bare.time_to_live, Duration::ZERO);
        for odd in
            [json!({}), json!(null), json!({ "batchID": "x", "depth": 20 }), json!({ "batchID": id, "depth": 255 })]
        {
            assert_eq!(Batch::read(&odd), None, "{odd}");
        }
    }

    #[test]
    fn the_best_is_immutable_and_lasts() {
        let (long, short) = (json!({}), json!({ "batchTTL": 2 * DAY }));
        let mutable = json!({ "immutableFlag": false, "batchTTL": 900 * DAY });
        let batches = || vec![batch(1, &short), batch(2, &long), batch(3, &mutable)];
        let chosen = |batches| best(batches, &need()).map(|batch| batch.id.0[0]);
        assert_eq!(chosen(batches()), Some(2));
        assert_eq!(chosen(batches().into_iter().rev().collect()), Some(2), "in whatever order");
        assert_eq!(chosen(vec![batch(3, &mutable)]), Some(3));
        assert_eq!(chosen(vec![batch(4, &json!({ "usable": false }))]), None);
    }
}
