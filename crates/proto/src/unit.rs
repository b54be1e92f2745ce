//! Units: the pieces of leased work, each over a range of segments or of keccak requests.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{ASSUMPTIONS_MAX, KECCAKS_MAX};
use crate::{DecodeError, JobId};

/// A non-empty range of neighbouring segments, `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentRange {
    /// First segment.
    pub start: u32,
    /// One past the last segment.
    pub end: u32,
}

impl SegmentRange {
    /// The range of one segment.
    pub const fn single(index: u32) -> Self {
        Self { start: index, end: index.saturating_add(1) }
    }

    /// Number of segments.
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the range holds nothing; no unit has such a range.
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

impl fmt::Display for SegmentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A piece of leased work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Prove the segment with this index.
    Prove(u32),
    /// Lift that segment's proof into a succinct receipt.
    Lift(u32),
    /// Join the succinct receipts of `start..mid` and `mid..end`.
    Join {
        /// First segment.
        start: u32,
        /// Where the left part ends and the right one begins.
        mid: u32,
        /// One past the last segment.
        end: u32,
    },
    /// Resolve the next assumption of the receipt of all segments, with the receipt that proves it.
    Resolve {
        /// Number of segments.
        segments: u32,
        /// Which assumption, in the order of the claim, from 0.
        index: u32,
    },
    /// Prove the keccak request with this index: a batch of permutations that the guest left to its host.
    Keccak(u32),
    /// Unite the receipts of keccak requests `start..mid` and `mid..end`.
    Union {
        /// First request.
        start: u32,
        /// Where the left part ends and the right one begins.
        mid: u32,
        /// One past the last request.
        end: u32,
    },
}

/// The sort of work a unit is: what a node's speed is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitKind {
    /// Proof of a segment.
    Prove,
    /// Lift of a segment's proof.
    Lift,
    /// Join of two neighbours, an assumption resolved, or a union, which cost the same: a run of the recursion circuit at its one size.
    Join,
    /// Proof of a keccak request, with its lift.
    Keccak,
}

impl Unit {
    /// What the unit's result covers: segments, or for keccak proofs and unions the guest's requests.
    pub const fn range(self) -> SegmentRange {
        match self {
            Self::Prove(index) | Self::Lift(index) | Self::Keccak(index) => SegmentRange::single(index),
            Self::Join { start, end, .. } | Self::Union { start, end, .. } => SegmentRange { start, end },
            Self::Resolve { segments, .. } => SegmentRange { start: 0, end: segments },
        }
    }

    /// The sort of work.
    pub const fn kind(self) -> UnitKind {
        match self {
            Self::Prove(_) => UnitKind::Prove,
            Self::Lift(_) => UnitKind::Lift,
            Self::Join { .. } | Self::Resolve { .. } | Self::Union { .. } => UnitKind::Join,
            Self::Keccak(_) => UnitKind::Keccak,
        }
    }

    /// How many blobs the unit works on: a segment, a request, a proof, two neighbours, or a range and what proves its assumption.
    pub const fn inputs(self) -> usize {
        match self {
            Self::Prove(_) | Self::Lift(_) | Self::Keccak(_) => 1,
            Self::Join { .. } | Self::Resolve { .. } | Self::Union { .. } => 2,
        }
    }

    /// Whether it works on what the guest's execution left, and not on results of other units.
    pub const fn is_first(self) -> bool {
        matches!(self, Self::Prove(_) | Self::Keccak(_))
    }
}

impl UnitKind {
    /// Several of it, for people.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Prove => "proofs",
            Self::Lift => "lifts",
            Self::Join => "joins",
            Self::Keccak => "keccak proofs",
        }
    }
}

impl crate::codec::Checked for Unit {
    fn check(&self) -> Result<(), DecodeError> {
        match *self {
            Self::Prove(u32::MAX) | Self::Lift(u32::MAX) => {
                Err(DecodeError::Invalid("a segment index is out of range"))
            }
            Self::Keccak(KECCAKS_MAX..) => Err(DecodeError::Invalid("a keccak request is out of range")),
            Self::Join { start, mid, end } | Self::Union { start, mid, end } if start >= mid || mid >= end => {
                Err(DecodeError::Invalid("a join's or a union's parts must be neighbours"))
            }
            Self::Union { end, .. } if end > KECCAKS_MAX => {
                Err(DecodeError::Invalid("a keccak request is out of range"))
            }
            Self::Resolve { segments, index } if segments == 0 || index as usize >= ASSUMPTIONS_MAX => {
                Err(DecodeError::Invalid("an assumption is out of range"))
            }
            Self::Prove(_)
            | Self::Lift(_)
            | Self::Join { .. }
            | Self::Resolve { .. }
            | Self::Keccak(_)
            | Self::Union { .. } => Ok(()),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prove(index) => write!(f, "prove {index}"),
            Self::Lift(index) => write!(f, "lift {index}"),
            Self::Join { start, mid, end } => write!(f, "join {start}..{mid}..{end}"),
            Self::Resolve { index, .. } => write!(f, "resolve {index}"),
            Self::Keccak(index) => write!(f, "keccak {index}"),
            Self::Union { start, mid, end } => write!(f, "union {start}..{mid}..{end}"),
        }
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prove => "prove",
            Self::Lift => "lift",
            Self::Join => "join",
            Self::Keccak => "keccak",
        })
    }
}

/// Names one lease. The attempt number fences it: an answer under an older attempt is known for what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId {
    /// The job.
    pub job: JobId,
    /// The work.
    pub unit: Unit,
    /// Counts the leases of this unit from 1.
    pub attempt: u32,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}", self.job.short(), self.unit, self.attempt)
    }
}
