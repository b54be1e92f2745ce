//! A daemon's scoreboard: what verifiers say of nodes, kept over a restart. Both daemons have one; what follows from it is core's.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manyhands_core::scores::Shown;
use manyhands_proto::limits::SCORE_BYTES_MAX;
use manyhands_proto::{NodeId, Reference, Score, SignedScore, decode, encode};
use manyhands_vbs::{Board, CheckedScore, ScoreError, Source, Trust};

use crate::clock::unix_s;

/// How often a board that has changed is written as a whole: one of 15,000 nodes has some 3 MB. What a power cut may cost are trials.
const SAVE: Duration = Duration::from_secs(300);

/// What a board's file begins with.
const HEAD: &[u8] = b"manyhands scores 1\n";

/// The board and its file. Clones share both.
#[derive(Debug, Clone)]
pub(crate) struct Scoreboard {
    held: Arc<Mutex<Held>>,
    path: Arc<Mutex<PathBuf>>,
}

#[derive(Debug)]
struct Held {
    board: Board,
    is_changed: bool,
}

impl Scoreboard {
    /// The board in `path`; what has expired, or is not signed, is left out. A board that cannot be read is begun anew: nothing depends on it but
    /// time.
    pub(crate) fn open(path: PathBuf, trust: Trust) -> Self {
        let mut board = Board::new(trust);
        match read(&path) {
            Ok(kept) => {
                let now = unix_s();
                for score in kept {
                    board.add(now, score);
                }
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the scoreboard cannot be read; it is begun anew")
            }
        }
        // It is written anew soon, without what has expired or was cut short.
        Self { held: Arc::new(Mutex::new(Held { board, is_changed: true })), path: Arc::new(Mutex::new(path)) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, for one writer at a time. Nobody who waits for the board waits for the disk.
    fn file(&self) -> MutexGuard<'_, PathBuf> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a score in. Returns whether it is news.
    pub(crate) fn add(&self, score: CheckedScore) -> bool {
        let mut held = self.held();
        let is_news = held.board.add(unix_s(), score);
        held.is_changed |= is_news;
        is_news
    }

    /// Takes in what was gossiped. A score that its verifier did not sign, though he sent it, is dropped.
    pub(crate) fn hear(&self, signed: SignedScore) {
        match CheckedScore::check(signed) {
            Ok(score) => _ = self.add(score),
            Err(error) => tracing::debug!(%error, "a score is dropped"),
        }
    }

    /// What a score counts for that `node` shows of itself; nothing if it has expired.
    ///
    /// # Errors
    /// What no honest node shows.
    pub(crate) fn shown(&self, signed: SignedScore, node: NodeId) -> Result<Option<Shown>, ScoreError> {
        let score = match CheckedScore::check_shown(signed, node, unix_s()) {
            Ok(score) => score,
            Err(ScoreError::Expired) => return Ok(None),
            Err(error) => return Err(error),
        };
        let held = self.held();
        let source = held.board.trust().source(&score.score().verifier);
        // Our own word counts as long as we have not taken it back.
        let is_taken_back = source == Source::Own && !held.board.holds(&score);
        Ok((!is_taken_back).then_some(Shown { score, source }))
    }

    /// Whether this very score was told, and is held.
    pub(crate) fn holds(&self, score: &CheckedScore) -> bool {
        self.held().board.holds(score)
    }

    /// What is said of one node.
    pub(crate) fn of(&self, node: &NodeId) -> Vec<SignedScore> {
        self.held().board.of(node).map(|score| score.signed().clone()).collect()
    }

    /// A score that is of this receipt.
    pub(crate) fn of_receipt(&self, receipt: &Reference) -> Option<Score> {
        let held = self.held();
        held.board.iter().map(|score| *score.score()).find(|score| score.receipt.reference == *receipt)
    }

    /// Takes back what `me` said of these nodes.
    pub(crate) fn suspend(&self, nodes: &[NodeId], me: &NodeId) {
        let mut held = self.held();
        nodes.iter().for_each(|node| held.board.suspend(node, me));
        held.is_changed = true;
    }

    /// All that count now, with whose word each is.
    pub(crate) fn list(&self) -> Vec<(CheckedScore, Source)> {
        let mut held = self.held();
        held.board.expire(unix_s());
        let source = |score: &CheckedScore| held.board.trust().source(&score.score().verifier);
        held.board.iter().map(|score| (score.clone(), source(score))).collect()
    }

    /// Writes the board down now and then, for ever.
    pub(crate) async fn tend(self) {
        let mut turn = tokio::time::interval(SAVE);
        loop {
            turn.tick().await;
            let board = self.clone();
            let saved = tokio::task::spawn_blocking(move || board.save()).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%error, "the scoreboard cannot be written; trying again");
            }
        }
    }

    /// Takes in what a gateway said of this node, and adds it to the file at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn keep(&self, signed: SignedScore) -> io::Result<()> {
        let record = record(&signed)?;
        self.hear(signed);
        let path = self.file();
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&*path)?;
        let head = if file.metadata()?.len() == 0 { HEAD } else { &[] };
        file.write_all(&[head, &record].concat())
    }

    /// Writes the board down for the last time.
    pub(crate) fn close(&self) {
        if let Err(error) = self.save() {
            tracing::warn!(%error, "the scoreboard cannot be written");
        }
    }

    /// Writes the board down, if it has changed.
    pub(crate) fn save(&self) -> io::Result<()> {
        let path = self.file();
        let mut bytes = HEAD.to_vec();
        {
            let mut held = self.held();
            held.board.expire(unix_s());
            if !std::mem::take(&mut held.is_changed) {
                return Ok(());
            }
            for score in held.board.iter() {
                bytes.extend(record(score.signed())?);
            }
        }
        write(&path, &bytes).inspect_err(|_| self.held().is_changed = true)
    }
}

/// A score as it stands in the file: its length, then itself.
fn record(signed: &SignedScore) -> io::Result<Vec<u8>> {
    let bytes = encode(signed);
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok([&length.to_le_bytes()[..], &bytes].concat())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(draft, path)
}

/// The scores in a board's file, as far as they are signed; none if there is no file. Of one that a kill has cut short, those before the cut.
///
/// # Errors
/// The file cannot be read, or is no board.
pub fn read(path: &Path) -> io::Result<Vec<CheckedScore>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut rest = bytes.strip_prefix(HEAD).ok_or_else(|| invalid("it is no scoreboard of this version"))?;
    let mut scores = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length));
        let Some((record, after)) = after.split_at_checked(length) else { break };
        let Ok(signed) = decode::<SignedScore>(record, SCORE_BYTES_MAX) else { break };
        scores.extend(CheckedScore::check(signed));
        rest = after;
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::score;
    use manyhands_net::Identity;

    #[test]
    fn a_board_outlives_its_process_and_a_damaged_one_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scores");
        let gateway = Identity::generate();
        let open = || Scoreboard::open(path.clone(), Trust::new(gateway.node_id(), Default::default()));
        let board = open();
        let said = score(&gateway, NodeId([1; 32]), 16);
        assert!(board.add(CheckedScore::check(said.clone()).unwrap()));
        board.save().unwrap();
        assert_eq!(open().list().len(), 1);
        assert_eq!(open().shown(said.clone(), NodeId([1; 32])).unwrap().unwrap().source, Source::Own);
        let more = score(&gateway, NodeId([2; 32]), 16);
        open().keep(more.clone()).unwrap();
        assert_eq!(open().list().len(), 2, "it is added to what is there");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(open().list().len(), 1, "of one that was cut short what is whole");
        fs::remove_file(&path).unwrap();
        open().keep(more).unwrap();
        assert_eq!(open().list().len(), 1, "without a file it is begun");
        fs::write(&path, "nonsense").unwrap();
        assert!(open().list().is_empty());
        assert!(open().shown(said, NodeId([1; 32])).unwrap().is_none(), "what it does not know it said does not count");
    }

    #[test]
    fn what_is_shown_counts_by_whose_word_it_is_and_a_lie_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (gateway, named, stranger) = (Identity::generate(), Identity::generate(), Identity::generate());
        let trust = Trust::new(gateway.node_id(), [named.node_id()].into());
        let board = Scoreboard::open(dir.path().join("scores"), trust);
        let node = NodeId([1; 32]);
        let source = |signed: SignedScore| board.shown(signed, node).map(|shown| shown.map(|shown| shown.source));
        assert_eq!(source(score(&named, node, 16)), Ok(Some(Source::Named)));
        assert_eq!(source(score(&stranger, node, 16)), Ok(Some(Source::Stranger)));
        let own = score(&gateway, node, 16);
        assert_eq!(source(own.clone()), Ok(None));
        board.add(CheckedScore::check(own.clone()).unwrap());
        assert_eq!(source(own.clone()), Ok(Some(Source::Own)));
        board.suspend(&[node], &gateway.node_id());
        assert_eq!(source(own.clone()), Ok(None), "it was taken back");
        let mut faster = own.clone();
        faster.score.elapsed_ms -= 1;
        assert!(matches!(source(faster), Err(ScoreError::Forged { .. })));
        assert!(matches!(board.shown(own, NodeId([2; 32])), Err(ScoreError::AnothersScore { .. })));
    }
}
