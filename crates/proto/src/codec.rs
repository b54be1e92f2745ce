//! How messages become bytes: postcard, whole-frame, bounded.
//!
//! A message is decoded only after its whole frame is in memory. Postcard takes no text longer than the bytes that are left, and
//! lists stop at their protocol limit, so a peer's length field costs at most the frame's own size and a few kilobytes. Trailing
//! bytes and padded numbers are refused: one message, one form.

use postcard::ser_flavors::Size;
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
    /// The bytes end early, name an unknown variant, hold an impossible value or list, or write a number longer than needed.
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
pub trait Checked: Serialize {
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
    // Postcard also reads numbers with superfluous zero bytes, and nothing else has two forms: the right length is the right form.
    if postcard::serialize_with_flavor(&message, Size::default()).ok() != Some(bytes.len()) {
        return Err(DecodeError::Malformed);
    }
    message.check()?;
    Ok(message)
}
