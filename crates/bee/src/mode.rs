//! Where a daemon keeps its blobs, as its configuration says it. Pure; what follows from it is the daemon's.

use core::fmt;
use core::str::FromStr;

/// Where blobs are kept and looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Peers first, and the Bee node as the archive behind them: what a daemon does when there is a Bee.
    PeerFirst,
    /// Everything through the Bee node.
    BeeOnly,
    /// The daemon's own store and its peers; no Bee node.
    Embedded,
}

/// A word that names no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no storage mode: write peer-first, bee-only or embedded")]
pub struct ParseModeError {
    /// What was given, at most 40 characters of it.
    word: String,
}

impl Mode {
    /// All modes, the usual one first.
    pub const ALL: [Self; 3] = [Self::PeerFirst, Self::BeeOnly, Self::Embedded];

    /// The mode of who configured none: a Bee that is there serves as the archive.
    pub const fn usual(is_bee_there: bool) -> Self {
        if is_bee_there { Self::PeerFirst } else { Self::Embedded }
    }

    /// The word for it in a configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::PeerFirst => "peer-first",
            Self::BeeOnly => "bee-only",
            Self::Embedded => "embedded",
        }
    }

    /// Whether it cannot do without a Bee node.
    pub const fn needs_bee(self) -> bool {
        match self {
            Self::BeeOnly => true,
            Self::PeerFirst | Self::Embedded => false,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Mode {
    type Err = ParseModeError;

    fn from_str(text: &str) -> Result<Self, ParseModeError> {
        let unknown = || ParseModeError { word: text.chars().take(40).collect() };
        Self::ALL.into_iter().find(|mode| mode.word() == text.trim()).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_and_others_are_refused() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        let error = "swarm".parse::<Mode>().unwrap_err();
        assert!(error.to_string().contains("peer-first, bee-only or embedded"), "{error}");
    }

    #[test]
    fn a_bee_that_is_there_is_the_archive() {
        assert_eq!(Mode::usual(true), Mode::PeerFirst);
        assert_eq!(Mode::usual(false), Mode::Embedded);
        assert_eq!(Mode::ALL.map(Mode::needs_bee), [false, true, false]);
    }
}
