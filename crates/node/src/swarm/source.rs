//! A stored blob as the source of an upload: read piece by piece, as often as need be, in constant memory.

use std::io::{self, Read as _};

use futures::StreamExt as _;
use futures::stream;
use manyhands_bee::{Pieces, Source};
use manyhands_blob::ChunkStore;
use manyhands_blob::store::BlobReader;
use manyhands_proto::BlobRef;

/// Bytes of one piece: 16 chunks.
const PIECE_BYTES: usize = 64 << 10;

/// A blob in the chunk store.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    store: ChunkStore,
    blob: BlobRef,
}

impl Stored {
    pub(crate) fn new(store: ChunkStore, blob: BlobRef) -> Self {
        Self { store, blob }
    }

    /// Reads the next piece where threads may block; an empty one at the end.
    async fn next(self, reader: Option<BlobReader>) -> io::Result<(Vec<u8>, (Self, Option<BlobReader>))> {
        let work = move || {
            let mut reader = match reader {
                Some(reader) => reader,
                None => self.store.reader(&self.blob).map_err(io::Error::other)?,
            };
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
            Ok((piece, (self, Some(reader))))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

impl Source for Stored {
    fn open(&self) -> io::Result<Pieces> {
        let pieces = stream::try_unfold((self.clone(), None), |(stored, reader)| async move {
            let (piece, next) = stored.next(reader).await?;
            Ok((!piece.is_empty()).then_some((piece, next)))
        });
        Ok(pieces.boxed())
    }
}

#[cfg(test)]
mod tests {
    use manyhands_bee::blob_of;
    use manyhands_blob::Owner;

    use super::*;
    use crate::stub::bytes;

    #[tokio::test]
    async fn a_blob_is_read_piece_by_piece_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 24).unwrap();
        for size in [0, 1, PIECE_BYTES, 300_000] {
            let bytes = bytes(size);
            let blob = store.put_blob(&Owner::new("x").unwrap(), &bytes).unwrap();
            let stored = Stored::new(store.clone(), blob);
            let pieces: Vec<Vec<u8>> = stored.open().unwrap().map(Result::unwrap).collect().await;
            assert_eq!(pieces.concat(), bytes);
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE_BYTES));
            assert_eq!(blob_of(&stored).await.unwrap(), blob);
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_an_error_and_no_empty_blob() {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 24).unwrap();
        let owner = Owner::new("x").unwrap();
        let blob = store.put_blob(&owner, &bytes(9_000)).unwrap();
        store.release(&owner, &blob.reference).unwrap();
        let error = Stored::new(store, blob).open().unwrap().next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("not in the store"), "{error}");
    }
}
