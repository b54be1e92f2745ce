//! Trees of any redundancy level, encrypted or not, and chunks put one by one: what a Bee keeps beside the plain blobs
//! that Manyhands sends. Of an encrypted tree the store keeps chunks and addresses; who has lost the reference that
//! [`ChunkStore::put_encrypted_tree`] gave cannot read it any more.

use std::io::{self, Read};

use manyhands_proto::{BlobRef, Reference};

use super::ledger::Ledger;
use super::list::Listing;
use super::reader::ChunkPages;
use super::root::Extent;
use super::{ChunkStore, Owner, StoreError, feed};
use crate::any::AnyChunk;
use crate::chunk::Chunk;
use crate::encryption::EncryptedReference;
use crate::read::{ReadError, Reader, Step};
use crate::redundancy::Level;
use crate::shape;
use crate::split::Splitter;

impl ChunkStore {
    /// Stores one chunk for `owner`, whether or not it is the root of anything. Put again, nothing changes; of two
    /// chunks that were signed for the same address the first stays. Zeros at the end of a payload, which its address
    /// does not tell, come back as many as the span prescribes.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::LowSpace`] or another storage error; nothing is kept then.
    pub fn put_chunk(&self, owner: &Owner, chunk: &AnyChunk) -> Result<(), StoreError> {
        self.write(|ledger| {
            ledger.add_any(chunk)?;
            ledger.adopt(chunk.reference(), Extent::Single)?;
            ledger.hold_root(owner.as_str(), chunk.reference()).map(drop)
        })
    }

    /// The chunk at `address`, verified, if it is here in whatever way: put alone, or part of anything.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is damaged; storage errors.
    pub fn get_chunk(&self, address: &Reference) -> Result<Option<AnyChunk>, StoreError> {
        self.note_use(*address);
        ChunkPages::open(&self.inner.file.begin_read()?)?.any(*address)
    }

    /// Stores what `reader` gives as a tree with the parities of `level`, in constant memory; at level 0, or if it is
    /// one chunk, it is a blob as [`ChunkStore::put_reader`] stores it. The replicas of the root, which a network needs
    /// and one disk does not, are not stored.
    ///
    /// # Errors
    /// As [`ChunkStore::put_reader`].
    pub fn put_tree(
        &self,
        owner: &Owner,
        reader: impl Read,
        size_bytes_max: u64,
        level: Level,
    ) -> Result<BlobRef, StoreError> {
        self.write_once(|ledger| {
            let mut splitter = Splitter::with_level(level);
            let mut listing = Listing::begin(ledger);
            let mut keep = |chunk: Chunk| listing.keep(ledger, &chunk);
            feed(&mut splitter, reader, size_bytes_max, &mut keep)?;
            let blob = splitter.finish(&mut keep)?;
            if level == Level::None || shape::is_leaf(blob.size_bytes) {
                listing.abandon(ledger)?;
                ledger.commit_blob(owner, &blob)?;
            } else {
                ledger.commit_list(owner, blob.reference, listing)?;
            }
            Ok(blob)
        })
    }

    /// As [`ChunkStore::put_tree`], encrypted. `randomness` fills a slice with random bytes that nobody can guess. Two
    /// calls with the same bytes share no chunk.
    ///
    /// # Errors
    /// As [`ChunkStore::put_reader`].
    pub fn put_encrypted_tree(
        &self,
        owner: &Owner,
        reader: impl Read,
        size_bytes_max: u64,
        level: Level,
        randomness: impl FnMut(&mut [u8]),
    ) -> Result<EncryptedReference, StoreError> {
        self.write_once(|ledger| {
            let mut splitter = Splitter::encrypting(level, randomness);
            let mut listing = Listing::begin(ledger);
            let mut keep = |chunk: Chunk| listing.keep(ledger, &chunk);
            feed(&mut splitter, reader, size_bytes_max, &mut keep)?;
            let root = splitter.finish(&mut keep)?;
            ledger.commit_list(owner, root.address, listing)?;
            Ok(root)
        })
    }

    /// Reads the tree of any level below `root` from a snapshot, at most `max_bytes`. Leaves that are damaged or missing
    /// are restored from their siblings where parities allow it. The tree need not have been stored as a whole.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the root's chunk is not here.
    pub fn tree_reader(&self, root: &Reference, max_bytes: u64) -> Result<TreeReader, StoreError> {
        self.open_tree(*root, Reader::new(*root, max_bytes))
    }

    /// As [`ChunkStore::tree_reader`], for an encrypted tree.
    ///
    /// # Errors
    /// As [`ChunkStore::tree_reader`].
    pub fn encrypted_tree_reader(&self, root: &EncryptedReference, max_bytes: u64) -> Result<TreeReader, StoreError> {
        self.open_tree(root.address, Reader::encrypted(*root, max_bytes))
    }

    fn open_tree(&self, root: Reference, reader: Reader) -> Result<TreeReader, StoreError> {
        self.note_use(root);
        let pages = ChunkPages::open(&self.inner.file.begin_read()?)?;
        if !pages.has(root)? {
            return Err(StoreError::NotFound { reference: root });
        }
        Ok(TreeReader { root, pages, reader, piece: Vec::new(), done: 0 })
    }
}

/// Gives the bytes of a tree, piece by piece or as [`io::Read`]. Each chunk is verified on the way out. The store must stay
/// open meanwhile.
#[derive(Debug)]
pub struct TreeReader {
    root: Reference,
    pages: ChunkPages,
    reader: Reader,
    /// The piece that [`io::Read`] is in, and how much of it was read.
    piece: Vec<u8>,
    done: usize,
}

impl TreeReader {
    /// The next bytes, at most 4096; none at the end. They are empty for an empty tree.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] if the tree is larger than allowed, was not made right, or has lost more than its
    /// parities make good for; storage errors.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            match self.reader.step().map_err(|source| self.malformed(source))? {
                Step::Piece(piece) => return Ok(Some(piece)),
                Step::Done => return Ok(None),
                Step::Want(wanted) => wanted.into_iter().try_for_each(|reference| self.bring(reference))?,
            }
        }
    }

    /// Leaves out the first `bytes` of the tree; what is below them alone is not read from the disk. To be called before
    /// the first piece is read.
    #[must_use]
    pub fn skipping(self, bytes: u64) -> Self {
        Self { reader: self.reader.skipping(bytes), ..self }
    }

    /// The tree's size in bytes, once the first piece was read; what is left out counts.
    pub fn size_bytes(&self) -> Option<u64> {
        self.reader.size_bytes()
    }

    fn bring(&mut self, reference: Reference) -> Result<(), StoreError> {
        if !self.reader.wants(reference) {
            return Ok(());
        }
        let is_taken = match self.pages.any(reference) {
            Ok(Some(chunk)) => self.reader.supply(reference, &chunk.to_wire()).is_ok(),
            Ok(None) | Err(StoreError::Corrupt { .. }) => false,
            Err(error) => return Err(error),
        };
        if is_taken { Ok(()) } else { self.reader.lost(reference).map_err(|source| self.malformed(source)) }
    }

    fn malformed(&self, source: ReadError) -> StoreError {
        StoreError::Malformed { reference: self.root, source }
    }
}

impl io::Read for TreeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.piece.get(self.done..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            if count > 0 || buffer.is_empty() {
                buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                self.done += count;
                return Ok(count);
            }
            match self.next_piece().map_err(io::Error::other)? {
                Some(piece) => (self.piece, self.done) = (piece, 0),
                None => return Ok(0),
            }
        }
    }
}

impl Ledger<'_> {
    pub(super) fn commit_list(&mut self, owner: &Owner, root: Reference, listing: Listing) -> Result<(), StoreError> {
        let extent = listing.finish(self)?;
        self.adopt(root, extent)?;
        self.hold_root(owner.as_str(), root).map(drop)
    }
}
