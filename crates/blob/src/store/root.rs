//! What a root is: which chunks belong to it, and who needs them. Pure.
//!
//! There is one root at a reference. A single chunk becomes a tree when the tree below it is stored or pinned; the
//! other way round nothing changes, since the tree has the chunk.

/// Which chunks belong to a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// A tree of level 0 without encryption, whose shape follows from its size.
    Blob { size_bytes: u64 },
    /// A tree of any other kind, whose chunks are in the list of this number.
    Listed { list: u64 },
    /// The one chunk.
    Single,
}

/// A root and its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) extent: Extent,
    /// Owners, and one more for a pin; none if it is in the cache.
    pub(super) holders: u64,
    /// An interior chunk was found damaged; the root's chunks have no uses from it then.
    pub(super) damaged: bool,
}

/// Kind (the number of the extent's variant), size in bytes or number of the list, holders, whether it is damaged.
pub(super) type RootRow = (u8, u64, u64, bool);

impl Root {
    /// None for a kind that does not exist.
    pub(super) fn of_row((kind, number, holders, damaged): RootRow) -> Option<Self> {
        let extent = match kind {
            0 => Extent::Blob { size_bytes: number },
            1 => Extent::Listed { list: number },
            2 => Extent::Single,
            _ => return None,
        };
        Some(Self { extent, holders, damaged })
    }

    pub(super) fn to_row(self) -> RootRow {
        let (kind, number) = match self.extent {
            Extent::Blob { size_bytes } => (0, size_bytes),
            Extent::Listed { list } => (1, list),
            Extent::Single => (2, 0),
        };
        (kind, number, self.holders, self.damaged)
    }
}

impl Extent {
    /// Whether what belongs to `other`, at the same reference, belongs to this as well.
    pub(super) fn covers(self, other: Self) -> bool {
        other == Self::Single || self != Self::Single
    }
}
