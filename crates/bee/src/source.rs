//! Where the bytes of an upload come from. They may be needed more than once, since an upload may be tried again.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use manyhands_blob::{Chunk, Splitter};
use manyhands_proto::BlobRef;

/// Pieces of a blob, in order and of any length; 64 KiB are good.
pub type Pieces = BoxStream<'static, io::Result<Vec<u8>>>;

/// Bytes of one piece where this crate cuts them: 16 chunks.
const PIECE_BYTES: usize = 64 << 10;

/// A blob that can be read again and again.
pub trait Source: Send + Sync {
    /// Its bytes from the start.
    ///
    /// # Errors
    /// What the disk says.
    fn open(&self) -> io::Result<Pieces>;
}

/// A blob in memory.
impl Source for Arc<[u8]> {
    fn open(&self) -> io::Result<Pieces> {
        let bytes = Self::clone(self);
        let cuts = (0..bytes.len()).step_by(PIECE_BYTES);
        let piece = move |start: usize| {
            let rest = bytes.get(start..).unwrap_or_default();
            Ok(rest.get(..PIECE_BYTES).unwrap_or(rest).to_vec())
        };
        Ok(stream::iter(cuts.map(piece)).boxed())
    }
}

/// The reference and size of what `source` has: reads it once, in constant memory.
///
/// # Errors
/// What the source says.
pub async fn blob_of(source: &dyn Source) -> io::Result<BlobRef> {
    let mut cutter = Cutter::open(source)?;
    while let Cut::Chunks(_) = cutter.cut().await? {}
    Ok(cutter.finish().1)
}

/// Cuts a source into chunks, some at a time.
pub(crate) struct Cutter {
    pieces: Pieces,
    splitter: Splitter,
    /// What is left of the piece at hand, and where it begins.
    piece: (Vec<u8>, usize),
}

/// What came of a step.
pub(crate) enum Cut {
    /// The next chunks, at most some twenty.
    Chunks(Vec<Chunk>),
    /// All bytes are read.
    End,
}

impl Cutter {
    pub(crate) fn open(source: &dyn Source) -> io::Result<Self> {
        Ok(Self { pieces: source.open()?, splitter: Splitter::new(), piece: (Vec::new(), 0) })
    }

    pub(crate) async fn cut(&mut self) -> io::Result<Cut> {
        while self.piece.1 >= self.piece.0.len() {
            match self.pieces.next().await {
                Some(piece) => self.piece = (piece?, 0),
                None => return Ok(Cut::End),
            }
        }
        let rest = self.piece.0.get(self.piece.1..).unwrap_or_default();
        let part = rest.get(..PIECE_BYTES).unwrap_or(rest);
        self.piece.1 += part.len();
        let mut chunks = Vec::new();
        let Ok(()) = self.splitter.update(part, &mut |chunk| push(&mut chunks, chunk));
        Ok(Cut::Chunks(chunks))
    }

    /// The last chunks, and what the whole is.
    pub(crate) fn finish(self) -> (Vec<Chunk>, BlobRef) {
        let mut chunks = Vec::new();
        let Ok(blob) = self.splitter.finish(&mut |chunk| push(&mut chunks, chunk));
        (chunks, blob)
    }
}

fn push(chunks: &mut Vec<Chunk>, chunk: Chunk) -> Result<(), Infallible> {
    chunks.push(chunk);
    Ok(())
}

/// Where a body leaves its error: the HTTP client says only that the body broke.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<io::Error>>>);

impl Slot {
    /// The pieces, whose first error is kept here.
    pub(crate) fn watch(&self, pieces: Pieces) -> Pieces {
        let slot = self.clone();
        let keep = move |piece: io::Result<Vec<u8>>| {
            piece.map_err(|error| {
                let kind = error.kind();
                *slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                io::Error::from(kind)
            })
        };
        pieces.map(keep).boxed()
    }

    pub(crate) fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
