//! How messages become bytes: postcard, whole-frame, bounded.
//!
//! A message is decoded only after its whole frame is in memory, and postcard never allocates more than the bytes that are
//! left, so a peer's length field can cost at most the frame's own size. Trailing bytes are refused: one message, one form.

use serde::{Serialize, de::DeserializeOwned};

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame is longer than the protocol allows.
    #[error("a message of {got_bytes} bytes is over the limit of {limit_bytes}")]
    TooLong {
        /// The frame's length.
        got_bytes: usize,
        /// What the protocol allows.
        limit_bytes: usize,
    },
    /// The bytes end early, name an unknown variant, or hold an impossible value.
    #[error("not a message of this protocol version")]
    Malformed,
    /// The message ends before its frame does.
    #[error("{extra_bytes} bytes follow the message")]
    Trailing {
        /// How many.
        extra_bytes: usize,
    },
    /// A well-formed message states something that no honest peer would.
    #[error("{0}")]
    Invalid(&'static str),
}

/// A message that checks its own bounds after it was decoded.
pub trait Checked {
    /// Refuses values outside the protocol's limits.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] with the rule that was broken.
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// Writes a message.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    // Serialising our own plain data into a growing vector has no failure; an empty frame, which every decoder refuses, stands
    // for the impossible.
    postcard::to_stdvec(message).unwrap_or_default()
}

/// Reads one message of at most `limit_bytes`.
///
/// # Errors
/// [`DecodeError`] when the bytes are too many, malformed, followed by others, or break the message's own limits.
pub fn decode<T: DeserializeOwned + Checked>(bytes: &[u8], limit_bytes: usize) -> Result<T, DecodeError> {
    if bytes.len() > limit_bytes {
        return Err(DecodeError::TooLong { got_bytes: bytes.len(), limit_bytes });
    }
    let (message, rest) = postcard::take_from_bytes::<T>(bytes).map_err(|_| DecodeError::Malformed)?;
    if !rest.is_empty() {
        return Err(DecodeError::Trailing { extra_bytes: rest.len() });
    }
    message.check()?;
    Ok(message)
}
