//! RISC Zero's encoding of receipts: version 1 of bincode with fixed-width integers.
//!
//! Decoding takes the whole input or fails, and never allocates more than a small multiple of the input's length: bincode checks a
//! text's length against the limit before it allocates, and serde reserves at most 1 MiB ahead of the elements it has seen.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes all of `bytes`.
///
/// # Errors
/// A sentence for the log when the bytes end early, name an unknown variant, or are followed by others.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    options(bytes.len() as u64).reject_trailing_bytes().deserialize(bytes).map_err(|error| error.to_string())
}

/// Decodes the front of `bytes` and takes it away.
///
/// # Errors
/// As [`decode`], trailing bytes apart.
pub(crate) fn decode_front<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, String> {
    let limit = bytes.len() as u64;
    options(limit).deserialize_from(bytes).map_err(|error| error.to_string())
}

/// Encodes plain data.
///
/// # Errors
/// A sentence for the log; bincode fails only on sequences of unknown length, which RISC Zero's types do not have.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    bincode::serialize(value).map_err(|error| error.to_string())
}

fn options(limit_bytes: u64) -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().allow_trailing_bytes().with_limit(limit_bytes)
}
