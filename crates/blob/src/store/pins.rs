//! Pins: roots that stay whatever their owners do, until they are unpinned.

use manyhands_proto::Reference;

use super::ledger::Ledger;
use super::root::Extent;
use super::roots::Last;
use super::{ChunkStore, Owner, StoreError, tables};
use crate::any::AnyReference;
use crate::read::Target;

impl ChunkStore {
    /// Pins what is at `reference`: a blob, a tree, a single chunk, or the tree below a chunk that is here in whatever
    /// way. Tells whether it was not pinned before. The tree must be here as a whole, its parities included; which of
    /// its chunks are here is looked up, what is in them is [`ChunkStore::scrub`]'s to check.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] with the chunks that miss, [`StoreError::Malformed`] if a chunk is the root of no tree
    /// (of an encrypted one that was not stored as a whole, say), [`StoreError::Corrupt`] if an interior chunk is
    /// damaged; storage errors.
    pub fn pin(&self, reference: &Reference) -> Result<bool, StoreError> {
        self.pin_tree(&AnyReference::Plain(*reference))
    }

    /// As [`ChunkStore::pin`], for a reference of either kind. The key of an encrypted one is used to find the chunks and not kept: the pin
    /// is listed and ended by the address.
    ///
    /// # Errors
    /// As [`ChunkStore::pin`].
    pub fn pin_tree(&self, root: &AnyReference) -> Result<bool, StoreError> {
        self.write(|ledger| ledger.pin(Target::of(root)))
    }

    /// Lets `owner` hold what is at `reference`, as [`ChunkStore::pin`] would: a tree of any kind, or a single chunk.
    /// Tells whether it did not hold it before.
    ///
    /// # Errors
    /// As [`ChunkStore::pin`].
    pub fn hold_tree(&self, owner: &Owner, reference: &AnyReference) -> Result<bool, StoreError> {
        self.write(|ledger| {
            let root = Target::of(reference);
            ledger.adopt_tree(root)?;
            ledger.hold_root(owner.as_str(), root.address)
        })
    }

    /// Ends a pin. What nobody else holds stays as cache until its room is needed. Tells whether there was a pin.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn unpin(&self, reference: &Reference) -> Result<bool, StoreError> {
        self.write(|ledger| ledger.let_go(tables::PINS, reference, Last::Cache))
    }

    /// All that is pinned, in the order of the addresses.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn pins(&self) -> Result<Vec<Reference>, StoreError> {
        tables::references_held(&self.inner.file.begin_read()?.open_table(tables::HOLDS)?, tables::PINS)
    }

    /// Whether `reference` is pinned.
    ///
    /// # Errors
    /// Storage errors only.
    pub fn is_pinned(&self, reference: &Reference) -> Result<bool, StoreError> {
        let holds = self.inner.file.begin_read()?.open_table(tables::HOLDS)?;
        Ok(holds.get((tables::PINS, reference.as_bytes()))?.is_some())
    }
}

impl Ledger<'_> {
    fn pin(&mut self, root: Target) -> Result<bool, StoreError> {
        self.adopt_tree(root)?;
        self.hold_root(tables::PINS, root.address)
    }

    /// Makes a root of a tree that is here in whatever way. A hold must follow.
    fn adopt_tree(&mut self, root: Target) -> Result<(), StoreError> {
        match self.root(&root.address)?.map(|root| root.extent) {
            Some(Extent::Blob { .. } | Extent::Listed { .. }) => {}
            Some(Extent::Single) | None => {
                let extent = self.trace(root)?;
                self.adopt(root.address, extent)?;
            }
        }
        Ok(())
    }
}
