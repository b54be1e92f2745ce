//! What all uploads have in common: the batch that pays, the tag that counts, and the answer.

use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use manyhands_blob::redundancy::Level;
use manyhands_blob::{AnyReference, ChunkStore, Owner, StoreError, shape};
use serde::Serialize;

use crate::batches::{BatchBook, BatchId};
use crate::headers::UploadHeaders;
use crate::hive::{Hive, aside, randomness};
use crate::pins;
use crate::refusal::{Refusal, json};

/// An upload that may go ahead.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) headers: UploadHeaders,
    /// Its tag, if it has one.
    tag: Option<u64>,
}

/// How the names of those who hold uploads under way begin.
const UNDER_WAY: &str = "hive upload ";

/// An upload under way: what is put for it is let go when this is dropped, unless it was given to a batch.
#[derive(Debug)]
struct UnderWay<'a> {
    store: &'a ChunkStore,
    owner: Owner,
    is_given: bool,
}

/// How the trees of an upload are made, and who holds them.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    pub(crate) owner: Owner,
    pub(crate) level: Level,
    pub(crate) encrypt: bool,
    pub(crate) bytes_max: u64,
}

impl Upload {
    /// Looks at the batch and the tag before the body is read.
    pub(crate) async fn begin(hive: &Hive, headers: &HeaderMap) -> Result<Self, Refusal> {
        let headers = UploadHeaders::read(headers, hive.options.level)?;
        let batch = headers.batch;
        hive.on_book(move |book| book.usable(batch, 1)).await?;
        let tag = match headers.tag {
            0 if headers.deferred || headers.pin => Some(hive.tags.create().uid()),
            0 => None,
            uid => Some(hive.tags.get(uid).ok_or_else(|| Refusal::not_found("tag not found"))?.uid()),
        };
        Ok(Self { headers, tag })
    }

    /// Has the batch hold all that `work` puts on the shelf, or nothing of it if anything fails.
    pub(crate) async fn keep(
        &self,
        hive: &Hive,
        work: impl FnOnce(&ChunkStore, &Shelf) -> Result<AnyReference, Refusal> + Send + 'static,
    ) -> Result<AnyReference, Refusal> {
        let UploadHeaders { batch, level, encrypt, .. } = self.headers;
        let (store, book, bytes_max) = (hive.store.clone(), Arc::clone(&hive.batches), hive.options.bytes_max);
        let kept = aside(move || {
            let under_way = UnderWay::begin(&store);
            let root = work(&store, &Shelf { owner: under_way.owner.clone(), level, encrypt, bytes_max })?;
            under_way.give_to(batch)?;
            still_holds(&store, &book, batch)?;
            Ok(root)
        });
        kept.await?
    }

    /// Has the batch pay for `size_bytes`.
    pub(crate) async fn pay(&self, hive: &Hive, size_bytes: u64) -> Result<(), Refusal> {
        let (batch, chunks) = (self.headers.batch, shape::chunk_count(size_bytes));
        hive.on_book(move |book| book.stamp(batch, chunks)).await?;
        if let Some(tag) = self.tag {
            hive.tags.add(tag, chunks, None);
        }
        Ok(())
    }

    /// Pins what was stored, if that was asked for, and answers.
    pub(crate) async fn end(&self, hive: &Hive, root: AnyReference) -> Result<Response<Body>, Refusal> {
        if self.headers.pin {
            pins::pin(hive, root).await.map_err(|error| error.refusal(pins::FAILED))?;
        }
        if let Some(tag) = self.tag {
            hive.tags.add(tag, 0, Some(root.address()));
        }
        let mut answer = stored(root);
        let headers = answer.headers_mut();
        if let Some(tag) = self.tag {
            headers.insert(HeaderName::from_static("swarm-tag"), HeaderValue::from(tag));
        }
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Swarm-Tag"));
        if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", root.reveal())) {
            headers.insert(ETAG, tag);
        }
        Ok(answer)
    }
}

impl Shelf {
    /// Stores what `reader` gives as one tree.
    pub(crate) fn put(&self, store: &ChunkStore, reader: impl Read) -> Result<AnyReference, StoreError> {
        if self.encrypt {
            let root = store.put_encrypted_tree(&self.owner, reader, self.bytes_max, self.level, randomness)?;
            return Ok(AnyReference::Encrypted(root));
        }
        let blob = store.put_tree(&self.owner, reader, self.bytes_max, self.level)?;
        Ok(AnyReference::Plain(blob.reference))
    }
}

impl<'a> UnderWay<'a> {
    fn begin(store: &'a ChunkStore) -> Self {
        let mut number = [0; 16];
        randomness(&mut number);
        let owner = Owner::cut(&format!("{UNDER_WAY}{}", hex::encode(number)));
        Self { store, owner, is_given: false }
    }

    fn give_to(mut self, batch: BatchId) -> Result<(), Refusal> {
        let given = self.store.hand_over(&self.owner, &Owner::from(batch));
        self.is_given = given.is_ok();
        given.map(drop).map_err(|error| Refusal::of_put(&error, "the upload could not be put on its batch"))
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_given
            && let Err(error) = self.store.release_owner(&self.owner)
        {
            tracing::warn!(%error, owner = %self.owner, "what is left of an upload is let go at the next start");
        }
    }
}

/// Ends what uploads hold that a crash has cut off.
pub(crate) fn clear_up(store: &ChunkStore) -> Result<(), StoreError> {
    for owner in store.owners()? {
        if owner.as_str().starts_with(UNDER_WAY) {
            store.release_owner(&owner)?;
        }
    }
    Ok(())
}

/// Looks at a batch again after something was put on it. If it has expired meanwhile, nobody may ever look for what it holds again: so it
/// is let go here, as the batch's end would have done. If it expires after this look, its end finds what was put.
pub(crate) fn still_holds(store: &ChunkStore, book: &BatchBook, batch: BatchId) -> Result<(), Refusal> {
    let Err(ended) = book.require_live(batch) else { return Ok(()) };
    if let Err(error) = store.release_owner_to_cache(&Owner::from(batch)) {
        tracing::warn!(%error, %batch, "an expired batch still holds an upload");
    }
    Err(ended.into())
}

/// The answer to whatever was stored: its reference.
pub(crate) fn stored(root: AnyReference) -> Response<Body> {
    #[derive(Serialize)]
    struct Stored {
        reference: String,
    }
    json(StatusCode::CREATED, &Stored { reference: root.reveal() })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::runtime::Handle;

    use super::*;
    use crate::hive::HiveOptions;

    const DAY_SECONDS: u64 = 86_400;

    fn options(folder: &TempDir) -> HiveOptions {
        HiveOptions { folder: folder.path().to_owned(), level: Level::None, bytes_max: 1 << 20 }
    }

    fn hive() -> (TempDir, Arc<Hive>, Upload) {
        let folder = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&folder.path().join("chunks.redb"), 1 << 24).unwrap();
        let hive = Hive::open(store, options(&folder)).unwrap();
        let batch = hive.batches.buy(17_280 * 24_000, 17, "a day", true).unwrap();
        let headers = UploadHeaders { batch, tag: 0, pin: false, deferred: false, encrypt: false, level: Level::None };
        (folder, Arc::new(hive), Upload { headers, tag: None })
    }

    fn put(store: &ChunkStore, shelf: &Shelf, seed: u8) -> AnyReference {
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[usize::from(n % 2 == 0)] ^ seed).collect();
        shelf.put(store, &bytes[..]).unwrap()
    }

    #[tokio::test]
    async fn what_was_put_is_the_batchs_or_nobodys() {
        let (_folder, hive, upload) = hive();
        let failed = upload.keep(&hive, |store, shelf| {
            put(store, shelf, 1);
            put(store, shelf, 2);
            Err(Refusal::bad("the third one makes no sense"))
        });
        assert_eq!(failed.await.unwrap_err().status(), StatusCode::BAD_REQUEST);
        let defect = upload.keep(&hive, |store, shelf| {
            put(store, shelf, 1);
            panic!("a defect");
        });
        assert!(defect.await.unwrap_err().status().is_server_error());
        assert_eq!((hive.store.used_bytes().unwrap(), hive.store.owners().unwrap().len()), (0, 0));
        let kept = upload.keep(&hive, |store, shelf| {
            put(store, shelf, 1);
            Ok(put(store, shelf, 2))
        });
        kept.await.unwrap();
        let owners: Vec<Owner> = hive.store.owners().unwrap().into_iter().collect();
        assert_eq!(owners, [Owner::from(upload.headers.batch)]);
        assert_eq!(hive.store.held_roots(&owners[0]).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_a_crash_leaves_is_let_go_at_the_next_start() {
        let (folder, hive, upload) = hive();
        let under_way = UnderWay::begin(&hive.store);
        let shelf = Shelf { owner: under_way.owner.clone(), level: Level::None, encrypt: false, bytes_max: 1 << 20 };
        put(&hive.store, &shelf, 1);
        std::mem::forget(under_way);
        let kept = upload.keep(&hive, |store, shelf| Ok(put(store, shelf, 2))).await.unwrap();
        let half_pinned = Owner::cut(&format!("pin {}", "ab".repeat(28)));
        hive.store.hold_tree(&half_pinned, &kept).unwrap();
        Hive::open(hive.store.clone(), options(&folder)).unwrap();
        let owners: Vec<Owner> = hive.store.owners().unwrap().into_iter().collect();
        assert_eq!(owners, [Owner::from(upload.headers.batch)]);
        hive.store.release_owner(&owners[0]).unwrap();
        assert_eq!(hive.store.used_bytes().unwrap(), 0);
    }

    #[tokio::test]
    async fn a_batch_that_expires_during_an_upload_holds_nothing_of_it() {
        for is_struck_out in [false, true] {
            let (_folder, hive, upload) = hive();
            let (other, batch, handle) = (Arc::clone(&hive), upload.headers.batch, Handle::current());
            let late = upload.keep(&hive, move |store, shelf| {
                let root = put(store, shelf, 1);
                other.batches.age(batch, 2 * DAY_SECONDS);
                if is_struck_out {
                    handle.block_on(other.expire());
                }
                Ok(root)
            });
            let status = if is_struck_out { StatusCode::NOT_FOUND } else { StatusCode::UNPROCESSABLE_ENTITY };
            assert_eq!(late.await.unwrap_err().status(), status);
            assert!(hive.store.owners().unwrap().is_empty());
            hive.store.shrink_cache(0).unwrap();
            assert_eq!(hive.store.used_bytes().unwrap(), 0);
        }
    }
}
