//! Who holds a blob.

use std::fmt;

use manyhands_proto::JobId;

/// A name under which blobs are held: a job, an import, a pin. Blobs stay while at least one owner holds them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

/// A name that no owner can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an owner's name has 1 to {} bytes, got {got_bytes}", Owner::BYTES_MAX)]
pub struct OwnerError {
    got_bytes: usize,
}

impl Owner {
    /// Longest name, in bytes: a job id takes 36 with its prefix, and the name is a key in the database.
    pub const BYTES_MAX: usize = 64;

    /// The owner called `name`.
    ///
    /// # Errors
    /// [`OwnerError`] if it is empty or longer than [`Owner::BYTES_MAX`].
    pub fn new(name: impl Into<String>) -> Result<Self, OwnerError> {
        let name = name.into();
        if name.is_empty() || name.len() > Self::BYTES_MAX {
            return Err(OwnerError { got_bytes: name.len() });
        }
        Ok(Self(name))
    }

    /// The owner called as much of `name` as fits, `-` if that is nothing. For names that are made of digits enough.
    pub fn cut(name: &str) -> Self {
        let fits =
            name.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= Self::BYTES_MAX);
        let cut = name.get(..fits.last().unwrap_or_default()).unwrap_or_default();
        Self(if cut.is_empty() { "-" } else { cut }.to_owned())
    }

    /// The person at the command line: what was put by hand stays until it is removed by hand. A daemon that clears up
    /// leaves it alone.
    pub fn cli() -> Self {
        Self("cli".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that the database has: it was an owner's when it was written.
    pub(super) fn from_row(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl From<JobId> for Owner {
    fn from(job: JobId) -> Self {
        Self(format!("job {job}"))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::string_slice)]
    use super::*;

    #[test]
    fn names_are_bounded() {
        assert_eq!(Owner::new(""), Err(OwnerError { got_bytes: 0 }));
        assert_eq!(Owner::new("x".repeat(65)), Err(OwnerError { got_bytes: 65 }));
        assert_eq!(Owner::new("x".repeat(64)).unwrap().as_str().len(), 64);
        let umlauts = "\u{e4}".repeat(40);
        assert_eq!(Owner::cut(&umlauts).as_str(), &umlauts[..64]);
        assert_eq!((Owner::cut("").as_str(), Owner::cut("pin").as_str()), ("-", "pin"));
        assert_eq!(Owner::new("cli"), Ok(Owner::cli()));
        assert_eq!(Owner::from(JobId([0xab; 16])).to_string(), format!("job {}", "ab".repeat(16)));
    }
}
