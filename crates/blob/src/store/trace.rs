//! Finding the chunks of a tree that came in pieces, from its root down, and counting a use of each. It reads interior
//! chunks only, and holds the addresses of one group per level of the tree.

use manyhands_proto::Reference;
use redb::ReadableTable as _;

use super::StoreError;
use super::ledger::Ledger;
use super::list::Listing;
use super::root::Extent;
use crate::any::AnyChunk;
use crate::read::{ReadError, Target, links, open};
use crate::redundancy::Span;
use crate::shape::{self, Scheme};

/// Missing chunks that an error names; the rest is a number.
const NAMED_MAX: usize = 100;

/// The chunks below one interior chunk that are still to come.
struct Branch {
    /// The chunk above.
    parent: Reference,
    targets: std::vec::IntoIter<Target>,
    /// Of these, the ones that are no parities.
    data_left: usize,
    child_bytes: u64,
    rest_bytes: u64,
}

struct Trace {
    root: Reference,
    root_span: Span,
    scheme: Scheme,
    /// None for the trees whose shape the size tells.
    listing: Option<Listing>,
    missing: Vec<Reference>,
    missing_count: u64,
    branches: Vec<Branch>,
}

impl Ledger<'_> {
    /// Adds a use for each chunk of the tree at `root`, and tells what it is.
    pub(super) fn trace(&mut self, root: Target) -> Result<Extent, StoreError> {
        let reference = root.address;
        let found = self.load_any(reference)?;
        let missing = StoreError::Incomplete { reference, missing: vec![reference], missing_count: 1 };
        let AnyChunk::Content(chunk) = found.ok_or(missing)? else {
            return self.shift(reference, 1, 0).map(|()| Extent::Single);
        };
        // No tree of more bytes than the limit can be here, and so no span makes this walk without end.
        let limit_bytes = self.bounds.limit_bytes;
        let opened = open(root, None, 0, limit_bytes, &chunk);
        let (root_span, payload) = opened.map_err(|source| StoreError::Malformed { reference, source })?;
        if shape::is_leaf(root_span.bytes) {
            return self.shift(reference, 1, 0).map(|()| Extent::Single);
        }
        let scheme = Scheme { level: root_span.level, encrypted: root.key.is_some() };
        let listing = (scheme != Scheme::default()).then(|| Listing::begin(self));
        let branches = vec![Branch::below(reference, scheme, root_span.bytes, &payload)];
        let mut trace =
            Trace { root: reference, root_span, scheme, listing, missing: Vec::new(), missing_count: 0, branches };
        self.shift(reference, 1, 0)?;
        while trace.step(self)? {}
        trace.finish(self)
    }
}

impl Trace {
    /// Goes on to the next chunk. False at the end.
    fn step(&mut self, ledger: &mut Ledger<'_>) -> Result<bool, StoreError> {
        let Some(branch) = self.branches.last_mut() else { return Ok(false) };
        let Some((target, due_bytes)) = branch.next() else {
            let parent = branch.parent;
            self.branches.pop();
            // After its children, as the splitter makes them: the list is the same whatever it was made from.
            return self.list(ledger, parent).map(|()| true);
        };
        let reference = target.address;
        if ledger.chunks.get(reference.as_bytes())?.is_none() {
            self.missing_count += 1;
            if self.missing.len() < NAMED_MAX {
                self.missing.push(reference);
            }
            return Ok(true);
        }
        if !shape::is_leaf(due_bytes) {
            let Some(AnyChunk::Content(chunk)) = ledger.load_any(reference)? else {
                return Err(StoreError::Corrupt { reference });
            };
            let opened = open(target, Some(self.root_span), due_bytes, u64::MAX, &chunk);
            let (span, payload) = opened.map_err(|source| self.malformed(source))?;
            ledger.shift(reference, 1, 0)?;
            self.branches.push(Branch::below(reference, self.scheme, span.bytes, &payload));
            return Ok(true);
        }
        ledger.shift(reference, 1, 0)?;
        self.list(ledger, reference).map(|()| true)
    }

    fn list(&mut self, ledger: &mut Ledger<'_>, reference: Reference) -> Result<(), StoreError> {
        match &mut self.listing {
            Some(listing) => listing.push(ledger, reference),
            None => Ok(()),
        }
    }

    fn malformed(&self, source: ReadError) -> StoreError {
        StoreError::Malformed { reference: self.root, source }
    }

    fn finish(self, ledger: &mut Ledger<'_>) -> Result<Extent, StoreError> {
        let (reference, missing_count) = (self.root, self.missing_count);
        if missing_count > 0 {
            return Err(StoreError::Incomplete { reference, missing: self.missing, missing_count });
        }
        match self.listing {
            Some(listing) => listing.finish(ledger),
            None => Ok(Extent::Blob { size_bytes: self.root_span.bytes }),
        }
    }
}

impl Branch {
    fn below(parent: Reference, scheme: Scheme, span_bytes: u64, payload: &[u8]) -> Self {
        let (targets, data_left) = links(scheme, span_bytes, payload);
        let child_bytes = scheme.child_capacity_bytes(span_bytes);
        Self { parent, targets: targets.into_iter(), data_left, child_bytes, rest_bytes: span_bytes }
    }

    /// The next chunk and the bytes below it; of a parity none, so that nobody looks below it.
    fn next(&mut self) -> Option<(Target, u64)> {
        let target = self.targets.next()?;
        if self.data_left == 0 {
            return Some((target, 0));
        }
        self.data_left -= 1;
        let due_bytes = self.child_bytes.min(self.rest_bytes);
        self.rest_bytes -= due_bytes;
        Some((target, due_bytes))
    }
}
