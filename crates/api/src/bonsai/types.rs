//! What travels over the Bonsai API, as `bonsai-sdk` 1.4.3 sends and reads it.

use std::fmt;
use std::str::FromStr;

use manyhands_proto::Digest;
use serde::{Deserialize, Deserializer, Serialize};

/// Whose request it is: the name of an API key. Nobody sees what another one has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(pub String);

/// The number of a session or an upload: a UUID of version 4, as some clients insist.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// The UUID of these random bytes; six bits of them say what sort it is.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        Self(bytes)
    }

    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The UUID of 16 bytes that were one.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

/// A text that is no UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID: 32 hexadecimal digits, with or without hyphens")]
pub struct NotAUuid;

impl FromStr for Uuid {
    type Err = NotAUuid;

    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        let digits: Vec<u32> = text.chars().filter(|letter| *letter != '-').map_while(|c| c.to_digit(16)).collect();
        let is_whole =
            digits.len() == 32 && text.len() <= 36 && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = *pair;
            *byte = (high << 4 | low) as u8;
        }
        is_whole.then_some(Self(bytes)).ok_or(NotAUuid)
    }
}

/// What sort of upload it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// A program, by its image id.
    Image(Digest),
    /// A guest's input.
    Input(Uuid),
    /// A receipt: an assumption, or one to be made smaller.
    Receipt(Uuid),
}

/// `POST /sessions/create`. Older clients leave fields out or send null.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CreateSession {
    /// The image id, 64 digits, with or without an `0x`.
    pub img: String,
    /// The input's id; empty means no input.
    #[serde(default, deserialize_with = "or_default")]
    pub input: String,
    /// Ids of uploaded receipts.
    #[serde(default, deserialize_with = "or_default")]
    pub assumptions: Vec<String>,
    /// Whether only the journal is wanted.
    #[serde(default, deserialize_with = "or_default")]
    pub execute_only: bool,
    /// Where the guest is stopped. The API says millions of cycles, and RISC Zero's own client sends cycles.
    #[serde(default)]
    pub exec_cycle_limit: Option<u64>,
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl CreateSession {
    /// The limit in cycles. Below 2^20 it is taken for millions (2^20, as others reckon them), from there on for cycles.
    pub fn cycles_max(&self) -> Option<u64> {
        self.exec_cycle_limit.map(|limit| if limit < 1 << 20 { limit << 20 } else { limit })
    }
}

/// How a session is. What a client does not know as success or as running ends its patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Waiting, executing, proving or combining.
    Running,
    /// The result is there.
    Succeeded,
    /// There will be none.
    Failed,
    /// It was stopped.
    Aborted,
}

/// A session's figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Segments.
    pub segments: u64,
    /// Cycles of the segments, with paging and padding.
    pub total_cycles: u64,
    /// Cycles of the guest's own instructions.
    pub cycles: u64,
}

/// `GET /sessions/status/{uuid}`, but for the receipt's address, which the door knows.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionStatus {
    /// How it is.
    pub state: State,
    /// How far, in Bonsai's words.
    pub stage: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Seconds since it was created, or that it took.
    pub elapsed_s: f64,
    /// There as soon as the guest has ended; of a session that ended before it, as far as its guest came.
    pub stats: Option<Stats>,
    /// Whether a receipt can be fetched.
    pub has_receipt: bool,
}

/// `GET /snark/status/{uuid}`, but for the receipt's address, which the door knows: there is one when it has succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnarkStatus {
    /// How it is.
    pub state: State,
    /// Why it failed.
    pub error: Option<String>,
}

/// `GET /user/quotas`. Cycles are in millions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quotas {
    /// The most that one session may take.
    pub exec_cycle_limit: i64,
    /// Sessions at the same time.
    pub concurrent_proofs: i64,
    /// What the key's owner may still take in all.
    pub cycle_budget: i64,
    /// What it has taken; sessions that run are not in it yet.
    pub cycle_usage: i64,
    /// Machines for this key alone: none.
    pub dedicated_executor: i32,
    /// The same.
    pub dedicated_gpu: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_session_is_asked_for_in_all_the_ways_that_clients_have() {
        let read = |json: &str| serde_json::from_str::<CreateSession>(json).unwrap();
        let short = read(r#"{"img": "ab"}"#);
        assert_eq!((short.input.as_str(), short.assumptions.len(), short.execute_only), ("", 0, false));
        let nulls =
            r#"{"img": "ab", "input": null, "assumptions": null, "execute_only": null, "exec_cycle_limit": null}"#;
        assert_eq!(read(nulls), short);
        let limit = |limit| CreateSession { exec_cycle_limit: limit, ..short.clone() }.cycles_max();
        assert_eq!((limit(None), limit(Some(1)), limit(Some(500))), (None, Some(1 << 20), Some(500 << 20)));
        assert_eq!((limit(Some(1 << 20)), limit(Some(u64::MAX))), (Some(1 << 20), Some(u64::MAX)));
    }

    proptest! {
        #[test]
        fn ids_survive_and_any_text_is_one_or_not(random: [u8; 16], text in "[0-9a-fx-]{0,40}") {
            let id = Uuid::from_random(random);
            let written = id.to_string();
            prop_assert_eq!((written.len(), &written[14..15], written.parse()), (36, "4", Ok(id)));
            prop_assert_eq!(written.replace('-', "").parse(), Ok(id));
            if let Ok(id) = text.parse::<Uuid>() {
                prop_assert_eq!(id.to_string().replace('-', ""), text.replace('-', ""));
            }
        }
    }
}
