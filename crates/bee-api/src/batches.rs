//! Postage batches as bookkeeping: what is bought here costs nothing and pays nobody, but holds uploads for as long, and
//! as many chunks, as it would on Swarm. The book is one small file, written whole before a change is answered.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use manyhands_blob::Owner;
use rand::RngCore as _;
use serde::{Deserialize, Serialize};

/// Price of a chunk for a block, in PLUR: the one of Bee's documentation, near the network's of 2025.
pub const PRICE_PLUR: u128 = 24_000;
/// Seconds of a block (Gnosis chain).
pub const BLOCK_SECONDS: u128 = 5;
/// Shortest life that may be bought, in blocks: 24 hours (Bee).
pub const BLOCKS_MIN: u128 = 17_280;
/// Bits of an address that choose a bucket (Bee).
pub const BUCKET_DEPTH: u8 = 16;
/// Least depth (Bee).
pub const DEPTH_MIN: u8 = BUCKET_DEPTH + 1;
/// Greatest depth: 2^40 chunks are 4 PB, more than any store here.
pub const DEPTH_MAX: u8 = 40;
/// Batches in a book; each is some 200 bytes.
pub const BATCHES_MAX: usize = 10_000;
/// Longest label in bytes.
pub const LABEL_BYTES_MAX: usize = 256;
/// Largest book that is read.
const BOOK_BYTES_MAX: u64 = 16 << 20;
/// Of the batch that is there from the start: ten years, 64 GB.
const FIRST_DEPTH: u8 = 24;
const FIRST_AMOUNT: u128 = 3_650 * BLOCKS_MIN * PRICE_PLUR;

/// A batch's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId([u8; 32]);

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub id: BatchId,
    /// What its buyer calls it.
    pub label: String,
    /// It takes 2^depth chunks.
    pub depth: u8,
    /// What was paid for each chunk, in PLUR.
    pub amount: u128,
    /// Whether a full batch refuses more.
    pub is_immutable: bool,
    /// When it was bought, in seconds since 1970.
    pub bought_at: u64,
    /// Chunks it has stamped; parities are not counted.
    pub chunks: u64,
}

/// Why a batch is not bought or changed.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// It would not live for a day.
    #[error("insufficient amount for 24h minimum validity")]
    Amount,
    /// No batch is that deep or that shallow.
    #[error("invalid depth")]
    Depth,
    /// The label is too long.
    #[error("the label has more than {LABEL_BYTES_MAX} bytes")]
    Label,
    /// There are too many.
    #[error("there are {BATCHES_MAX} batches already")]
    TooMany,
    /// There is none of that number.
    #[error("batch with id not found")]
    NotFound,
    /// It has expired.
    #[error("batch not usable yet or does not exist")]
    Expired,
    /// It is full.
    #[error("batch is overissued")]
    Overissued,
    /// The book cannot be read or written.
    #[error("cannot keep the book of batches {}: {source}", path.display())]
    Book {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Batch {
    /// Seconds that it has left at `now`.
    pub fn time_to_live(&self, now: u64) -> u64 {
        let life = self.amount / PRICE_PLUR * BLOCK_SECONDS;
        let end = u128::from(self.bought_at).saturating_add(life);
        u64::try_from(end.saturating_sub(u128::from(now))).unwrap_or(u64::MAX)
    }

    /// How full its buckets are, if addresses spread evenly over them.
    pub fn utilization(&self) -> u64 {
        self.chunks.div_ceil(1 << BUCKET_DEPTH)
    }

    fn has_room(&self, chunks: u64) -> bool {
        !self.is_immutable || self.chunks.saturating_add(chunks) <= 1 << self.depth
    }
}

/// The book of batches.
#[derive(Debug)]
pub struct BatchBook {
    path: PathBuf,
    batches: Mutex<BTreeMap<BatchId, Batch>>,
}

impl BatchBook {
    /// Opens the book in the file `path`, or begins it with one batch.
    ///
    /// # Errors
    /// [`BatchError::Book`] if the file cannot be read or written, or is something else.
    pub fn open(path: &Path) -> Result<Self, BatchError> {
        let failed = |source| BatchError::Book { path: path.to_owned(), source };
        let rows: Option<Vec<Row>> = match fs::metadata(path) {
            Ok(meta) if meta.len() > BOOK_BYTES_MAX => return Err(failed(io::Error::other("it is too large"))),
            Ok(_) => {
                Some(serde_json::from_slice(&fs::read(path).map_err(failed)?).map_err(|error| failed(error.into()))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let is_new = rows.is_none();
        let batches: Option<BTreeMap<_, _>> =
            rows.unwrap_or_default().into_iter().map(|row| Some((row.id.parse().ok()?, row.into_batch()?))).collect();
        let batches = batches.ok_or_else(|| failed(io::Error::other("it has a batch that makes no sense")))?;
        let book = Self { path: path.to_owned(), batches: Mutex::new(batches) };
        if is_new {
            book.buy(FIRST_AMOUNT, FIRST_DEPTH, "manyhands", true)?;
        }
        Ok(book)
    }

    /// Buys a batch.
    ///
    /// # Errors
    /// [`BatchError`]; nothing is bought then.
    pub fn buy(&self, amount: u128, depth: u8, label: &str, is_immutable: bool) -> Result<BatchId, BatchError> {
        if !(DEPTH_MIN..=DEPTH_MAX).contains(&depth) {
            return Err(BatchError::Depth);
        }
        if amount < BLOCKS_MIN * PRICE_PLUR {
            return Err(BatchError::Amount);
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(BatchError::Label);
        }
        let mut id = [0; 32];
        rand::rng().fill_bytes(&mut id);
        let id = BatchId(id);
        let label = label.to_owned();
        let batch = Batch { id, label, depth, amount, is_immutable, bought_at: now(), chunks: 0 };
        self.change(|batches| {
            if batches.len() >= BATCHES_MAX {
                return Err(BatchError::TooMany);
            }
            batches.insert(id, batch);
            Ok(())
        })?;
        Ok(id)
    }

    /// Pays `amount` more for each chunk.
    ///
    /// # Errors
    /// [`BatchError::NotFound`], [`BatchError::Expired`], [`BatchError::Book`].
    pub fn top_up(&self, id: BatchId, amount: u128) -> Result<(), BatchError> {
        self.change(|batches| {
            let batch = live(batches, id)?;
            batch.amount = batch.amount.saturating_add(amount);
            Ok(())
        })
    }

    /// Makes a batch deeper: each step halves what is left of its life.
    ///
    /// # Errors
    /// [`BatchError::NotFound`], [`BatchError::Expired`], [`BatchError::Depth`] if it is not deeper,
    /// [`BatchError::Amount`] if less than a day would be left, [`BatchError::Book`].
    pub fn dilute(&self, id: BatchId, depth: u8) -> Result<(), BatchError> {
        self.change(|batches| {
            let batch = live(batches, id)?;
            if depth <= batch.depth || depth > DEPTH_MAX {
                return Err(BatchError::Depth);
            }
            let left = u128::from(batch.time_to_live(now())) >> (depth - batch.depth);
            if left < BLOCKS_MIN * BLOCK_SECONDS {
                return Err(BatchError::Amount);
            }
            let age = u128::from(now().saturating_sub(batch.bought_at));
            (batch.depth, batch.amount) = (depth, (age + left) / BLOCK_SECONDS * PRICE_PLUR);
            Ok(())
        })
    }

    /// The batch, if an upload of `chunks` may use it.
    ///
    /// # Errors
    /// [`BatchError::NotFound`], [`BatchError::Expired`], [`BatchError::Overissued`].
    pub fn usable(&self, id: BatchId, chunks: u64) -> Result<Batch, BatchError> {
        let mut batches = self.lock();
        let batch = live(&mut batches, id)?;
        if batch.has_room(chunks) { Ok(batch.clone()) } else { Err(BatchError::Overissued) }
    }

    /// Whether there is such a batch and it has not expired, full or not.
    ///
    /// # Errors
    /// [`BatchError::NotFound`], [`BatchError::Expired`].
    pub fn require_live(&self, id: BatchId) -> Result<(), BatchError> {
        live(&mut self.lock(), id).map(drop)
    }

    /// Stamps `chunks`.
    ///
    /// # Errors
    /// As [`BatchBook::usable`]; [`BatchError::Book`].
    pub fn stamp(&self, id: BatchId, chunks: u64) -> Result<(), BatchError> {
        self.change(|batches| {
            let batch = live(batches, id)?;
            if !batch.has_room(chunks) {
                return Err(BatchError::Overissued);
            }
            batch.chunks = batch.chunks.saturating_add(chunks);
            Ok(())
        })
    }

    /// A batch, expired or not.
    pub fn get(&self, id: BatchId) -> Option<Batch> {
        self.lock().get(&id).cloned()
    }

    /// All batches, the oldest first.
    pub fn all(&self) -> Vec<Batch> {
        let mut all: Vec<Batch> = self.lock().values().cloned().collect();
        all.sort_by_key(|batch| (batch.bought_at, batch.id));
        all
    }

    /// The batches that have expired. What they hold is to be let go of before [`BatchBook::forget`].
    pub fn expired(&self) -> Vec<BatchId> {
        self.lock().values().filter(|batch| batch.time_to_live(now()) == 0).map(|batch| batch.id).collect()
    }

    /// Strikes a batch out.
    ///
    /// # Errors
    /// [`BatchError::Book`].
    pub fn forget(&self, id: BatchId) -> Result<(), BatchError> {
        self.change(|batches| {
            batches.remove(&id);
            Ok(())
        })
    }

    /// Has a batch be older by `seconds`.
    #[cfg(test)]
    pub(crate) fn age(&self, id: BatchId, seconds: u64) {
        self.lock().entry(id).and_modify(|batch| batch.bought_at -= seconds);
    }

    /// Changes the book on disk, then in memory: what is not written did not happen.
    fn change(
        &self,
        work: impl FnOnce(&mut BTreeMap<BatchId, Batch>) -> Result<(), BatchError>,
    ) -> Result<(), BatchError> {
        let mut batches = self.lock();
        let mut changed = batches.clone();
        work(&mut changed)?;
        self.write(&changed).map_err(|source| BatchError::Book { path: self.path.clone(), source })?;
        *batches = changed;
        Ok(())
    }

    fn write(&self, batches: &BTreeMap<BatchId, Batch>) -> io::Result<()> {
        let rows: Vec<Row> = batches.values().map(Row::of).collect();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&rows)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        File::open(folder)?.sync_all()
    }

    /// Each change is a single assignment, so the book is valid after any panic.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BatchId, Batch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn live(batches: &mut BTreeMap<BatchId, Batch>, id: BatchId) -> Result<&mut Batch, BatchError> {
    let batch = batches.get_mut(&id).ok_or(BatchError::NotFound)?;
    if batch.time_to_live(now()) == 0 { Err(BatchError::Expired) } else { Ok(batch) }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A batch in the file. The amount is a text, as numbers in JSON are not that large.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    label: String,
    depth: u8,
    amount: String,
    immutable: bool,
    bought_at: u64,
    chunks: u64,
}

impl Row {
    fn of(batch: &Batch) -> Self {
        Self {
            id: batch.id.to_string(),
            label: batch.label.clone(),
            depth: batch.depth,
            amount: batch.amount.to_string(),
            immutable: batch.is_immutable,
            bought_at: batch.bought_at,
            chunks: batch.chunks,
        }
    }

    fn into_batch(self) -> Option<Batch> {
        Some(Batch {
            id: self.id.parse().ok()?,
            label: self.label,
            depth: Some(self.depth).filter(|depth| (DEPTH_MIN..=DEPTH_MAX).contains(depth))?,
            amount: self.amount.parse().ok()?,
            is_immutable: self.immutable,
            bought_at: self.bought_at,
            chunks: self.chunks,
        })
    }
}

impl From<BatchId> for Owner {
    /// Who holds what a batch has stamped. 56 digits name it well enough, and fit.
    fn from(batch: BatchId) -> Self {
        Owner::cut(&format!("batch {:.56}", batch.to_string()))
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A text that is no batch's number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a batch id has 64 hexadecimal digits")]
pub struct NotABatchId;

impl FromStr for BatchId {
    type Err = NotABatchId;

    fn from_str(text: &str) -> Result<Self, NotABatchId> {
        let mut id = [0; 32];
        let digits = text.strip_prefix("0x").unwrap_or(text);
        hex::decode_to_slice(digits, &mut id).map(|()| Self(id)).map_err(|_| NotABatchId)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAY: u128 = BLOCKS_MIN * PRICE_PLUR;

    fn book() -> (tempfile::TempDir, BatchBook) {
        let dir = tempfile::tempdir().unwrap();
        let book = BatchBook::open(&dir.path().join("batches.json")).unwrap();
        (dir, book)
    }

    #[test]
    fn a_book_begins_with_one_batch_and_keeps_what_is_bought() {
        let (dir, book) = book();
        assert_eq!(book.all().len(), 1);
        let id = book.buy(DAY, 17, "mine", false).unwrap();
        book.stamp(id, 7).unwrap();
        book.top_up(id, DAY).unwrap();
        let before = book.all();
        drop(book);
        let book = BatchBook::open(&dir.path().join("batches.json")).unwrap();
        assert_eq!(book.all(), before);
        let batch = book.get(id).unwrap();
        assert_eq!((batch.chunks, batch.amount, batch.depth), (7, 2 * DAY, 17));
        assert!((2 * 86_400 - 60..=2 * 86_400).contains(&batch.time_to_live(now())));
    }

    #[test]
    fn what_no_batch_can_be_is_refused() {
        let (_dir, book) = book();
        assert!(matches!(book.buy(DAY - 1, 17, "", true), Err(BatchError::Amount)));
        assert!(matches!(book.buy(DAY, 16, "", true), Err(BatchError::Depth)));
        assert!(matches!(book.buy(DAY, 41, "", true), Err(BatchError::Depth)));
        assert!(matches!(book.buy(DAY, 17, &"x".repeat(257), true), Err(BatchError::Label)));
        let nobody = BatchId([1; 32]);
        assert!(matches!(book.usable(nobody, 1), Err(BatchError::NotFound)));
        assert_eq!(book.all().len(), 1);
    }

    #[test]
    fn an_immutable_batch_is_full_at_its_depth() {
        let (_dir, book) = book();
        let id = book.buy(DAY, 17, "", true).unwrap();
        book.stamp(id, 1 << 17).unwrap();
        assert!(matches!(book.stamp(id, 1), Err(BatchError::Overissued)));
        assert!(matches!(book.dilute(id, 18), Err(BatchError::Amount)), "half a day would be left");
        book.top_up(id, 3 * DAY).unwrap();
        book.dilute(id, 18).unwrap();
        book.stamp(id, 1).unwrap();
        let left = book.get(id).unwrap().time_to_live(now());
        assert!((2 * 86_400 - 60..=2 * 86_400).contains(&left), "{left}");
        assert!(matches!(book.dilute(id, 18), Err(BatchError::Depth)));
    }

    #[test]
    fn an_expired_batch_stamps_nothing_and_is_struck_out() {
        let (dir, book) = book();
        let id = book.buy(DAY, 17, "", true).unwrap();
        let path = dir.path().join("batches.json");
        let text = fs::read_to_string(&path).unwrap().replace(&format!("\"{DAY}\""), "\"0\"");
        fs::write(&path, text).unwrap();
        let book = BatchBook::open(&path).unwrap();
        assert!(matches!(book.stamp(id, 1), Err(BatchError::Expired)));
        assert_eq!(book.expired(), [id]);
        book.forget(id).unwrap();
        assert!(book.get(id).is_none());
    }

    #[test]
    fn a_file_that_is_no_book_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("batches.json");
        let row = |id: &str, depth: u8| {
            format!(
                "[{{\"id\":\"{id}\",\"label\":\"\",\"depth\":{depth},\"amount\":\"1\",\"immutable\":true,\"bought_at\":1,\"chunks\":0}}]"
            )
        };
        let id = "ab".repeat(32);
        fs::write(&path, row(&id, 17)).unwrap();
        assert_eq!(BatchBook::open(&path).unwrap().all().len(), 1);
        let wrong = [row("xx", 17), row(&id, 0), row(&id, DEPTH_MIN - 1), row(&id, DEPTH_MAX + 1)];
        for text in ["", "{}", "[{}]"].map(str::to_owned).into_iter().chain(wrong) {
            fs::write(&path, &text).unwrap();
            let error = BatchBook::open(&path).unwrap_err().to_string();
            assert!(error.contains("batches.json"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_batch_has_an_owner_of_its_own() {
        let owner = Owner::from(BatchId([0xab; 32]));
        assert_eq!(owner.as_str(), format!("batch {}", "ab".repeat(28)));
    }
}
