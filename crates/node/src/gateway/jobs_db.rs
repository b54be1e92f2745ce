//! `jobs.db`: what a gateway must not lose. SQLite, in one file, synced before anything is acknowledged.

use std::collections::BTreeSet;
use std::path::Path;

use manyhands_api::types::JobStatus;
use manyhands_core::{JobSpec, Outcome, Receipted, Restored, Sizing};
use manyhands_proto::message::BlobKey;
use manyhands_proto::worker::Execution;
use manyhands_proto::{BlobRef, Digest, JobId, LeaseId, NodeId, Po2, Reference, Unit};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::assumptions::{self, Assumed};
use super::sqlite::{self, unix_ms};

/// A job as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobRow {
    pub(crate) job: JobId,
    pub(crate) image_id: Digest,
    pub(crate) program: BlobRef,
    pub(crate) input: Option<BlobRef>,
    /// Receipts that the guest may rely on.
    pub(crate) assumptions: Vec<Assumed>,
    pub(crate) spec: JobSpec,
    pub(crate) cycles_max: u64,
    /// Who may work on it, if that is not everybody; its segments are encrypted then.
    pub(crate) circle: Option<BTreeSet<NodeId>>,
    /// Why its segment size was chosen, if it was.
    pub(crate) sizing: Option<Sizing>,
    /// How often its guest was begun before this run.
    pub(crate) runs: u32,
}

impl JobRow {
    /// The claims that the guest may rely on.
    pub(crate) fn claims(&self) -> Vec<Digest> {
        self.assumptions.iter().map(|assumed| assumed.claim).collect()
    }
}

/// What a guest left to be proved, stored: a segment, or a keccak request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The unit that works on it.
    pub(crate) unit: Unit,
    pub(crate) po2: Po2,
    /// A segment's as `manyhands-zkvm` encodes it, a request's digest.
    pub(crate) claim: Vec<u8>,
    pub(crate) blob: BlobRef,
    /// What opens the blob, if it is encrypted.
    pub(crate) key: Option<BlobKey>,
}

/// The database, open.
#[derive(Debug)]
pub(crate) struct JobsDb(pub(super) Connection);

type Result<T> = rusqlite::Result<T>;

impl JobsDb {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        sqlite::open(path, &STEPS).map(Self)
    }

    pub(crate) fn submit(&self, row: &JobRow) -> Result<()> {
        self.0.execute(
            "INSERT INTO jobs (job, image_id, program, program_bytes, input, input_bytes, po2, succinct, cycles_max, submitted_ms,
                               priority, is_auto, circle, assumptions)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            params![
                row.job.0,
                row.image_id.0,
                row.program.reference.0,
                size(row.program),
                row.input.map(|input| input.reference.0),
                row.input.map(size),
                row.spec.po2.get(),
                row.spec.outcome == Outcome::Succinct,
                i64::try_from(row.cycles_max).unwrap_or(i64::MAX),
                unix_ms(),
                row.spec.priority.word(),
                row.spec.is_auto,
                row.circle.as_ref().map(|circle| circle.iter().flat_map(|node| node.0).collect::<Vec<u8>>()),
                assumptions::to_bytes(&row.assumptions),
            ],
        )?;
        Ok(())
    }

    /// Writes a job's segment size, which from here on stays.
    pub(crate) fn size(&self, job: JobId, po2: Po2, sizing: Option<&Sizing>) -> Result<()> {
        let sizing = sizing.map(serde_json::to_string).transpose();
        let sizing = sizing.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        self.0.execute(
            "UPDATE jobs SET po2 = ?2, is_auto = 0, sizing = ?3 WHERE job = ?1",
            params![job.0, po2.get(), sizing],
        )?;
        Ok(())
    }

    /// Jobs that have not ended.
    pub(crate) fn open_jobs(&self) -> Result<Vec<JobRow>> {
        let mut query = self.0.prepare("SELECT * FROM jobs WHERE status IS NULL ORDER BY submitted_ms")?;
        query.query_map([], job_row)?.collect()
    }

    pub(crate) fn add_result(&self, result: &Receipted) -> Result<()> {
        self.0.execute(
            "INSERT OR REPLACE INTO results (job, unit, attempt, node, receipt, receipt_bytes, elapsed_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                result.lease.job.0,
                manyhands_proto::encode(&result.lease.unit),
                result.lease.attempt,
                result.node.0,
                result.receipt.reference.0,
                size(result.receipt),
                i64::try_from(result.elapsed_ms).unwrap_or(i64::MAX),
            ],
        )?;
        Ok(())
    }

    pub(crate) fn add_piece(&self, job: JobId, piece: &Piece) -> Result<()> {
        let Some((table, index)) = place(piece.unit) else { return Ok(()) };
        self.0.execute(
            &format!("INSERT OR REPLACE INTO {table} (job, idx, po2, claim, blob, blob_bytes, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
            params![
                job.0,
                index,
                piece.po2.get(),
                piece.claim,
                piece.blob.reference.0,
                size(piece.blob),
                piece.key.map(|key| key.0)
            ],
        )?;
        Ok(())
    }

    /// Writes that a job's guest has ended: from here on it is never run again.
    pub(crate) fn add_execution(&self, job: JobId, execution: &Execution) -> Result<()> {
        let bytes = manyhands_proto::encode(execution);
        self.0.execute("UPDATE jobs SET execution = ?2 WHERE job = ?1", params![job.0, bytes])?;
        Ok(())
    }

    /// Writes down that a job's guest runs once more, and forgets what the run before left: a guest that draws randomness from its host
    /// has other segments now. Its results stay, to be checked against what comes. Tells how many runs there were.
    pub(crate) fn begin_anew(&mut self, job: JobId) -> Result<u32> {
        let transaction = self.0.transaction()?;
        transaction.execute("UPDATE jobs SET execution = NULL, runs = runs + 1 WHERE job = ?1", [job.0])?;
        forget_pieces(&transaction, job)?;
        let runs = transaction.query_row("SELECT runs FROM jobs WHERE job = ?1", [job.0], |row| row.get(0))?;
        transaction.commit()?;
        Ok(runs)
    }

    /// What a unit of a job works on, if the guest left it.
    pub(crate) fn piece(&self, job: JobId, unit: Unit) -> Result<Option<Piece>> {
        let Some((table, index)) = place(unit) else { return Ok(None) };
        let sql = format!("SELECT idx, po2, claim, blob, blob_bytes, key FROM {table} WHERE job = ?1 AND idx = ?2");
        self.0.prepare(&sql)?.query_row(params![job.0, index], |row| piece_row(unit, row)).optional()
    }

    fn pieces(&self, job: JobId, table: &str, of_index: fn(u32) -> Unit) -> Result<Vec<Piece>> {
        let sql = format!("SELECT idx, po2, claim, blob, blob_bytes, key FROM {table} WHERE job = ?1 ORDER BY idx");
        self.0.prepare(&sql)?.query_map([job.0], |row| piece_row(of_index(row.get(0)?), row))?.collect()
    }

    /// A job's execution with what the guest left, if it had ended before a restart.
    pub(crate) fn execution(&self, job: JobId) -> Result<Option<(Execution, Vec<Piece>)>> {
        let mut query = self.0.prepare("SELECT execution FROM jobs WHERE job = ?1")?;
        let bytes: Option<Vec<u8>> = query.query_row([job.0], |row| row.get(0)).optional()?.flatten();
        let Some(execution) = bytes.and_then(|bytes| manyhands_proto::decode::<Execution>(&bytes, bytes.len()).ok())
        else {
            return Ok(None);
        };
        let mut pieces = self.pieces(job, SEGMENTS, Unit::Prove)?;
        pieces.extend(self.pieces(job, KECCAKS, Unit::Keccak)?);
        Ok(Some((execution, pieces)))
    }

    /// Results of a job that were verified before a restart.
    pub(crate) fn results(&self, job: JobId) -> Result<Restored> {
        let mut query = self
            .0
            .prepare("SELECT unit, attempt, node, receipt, receipt_bytes, elapsed_ms FROM results WHERE job = ?1")?;
        let rows = query.query_map([job.0], |row| result_row(job, row))?;
        rows.filter_map(|row| row.transpose()).map(|row| row.map(|result| (result.lease.unit, result))).collect()
    }

    /// Writes a job's end with its guest's output, and forgets its intermediate results.
    pub(crate) fn end(&mut self, status: &JobStatus, log: &[u8]) -> Result<()> {
        let json =
            serde_json::to_string(status).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let job = status.view.job.0;
        let transaction = self.0.transaction()?;
        transaction.execute("UPDATE jobs SET status = ?2, log = ?3 WHERE job = ?1", params![job, json, log])?;
        transaction.execute("DELETE FROM results WHERE job = ?1", [job])?;
        forget_pieces(&transaction, status.view.job)?;
        transaction.commit()?;
        self.empty_log();
        Ok(())
    }

    /// Writes the database's log into it, so that what was deleted is in neither. The next job's end does it if a reader is in the way.
    pub(crate) fn empty_log(&self) {
        match sqlite::empty_log(&self.0) {
            Ok(true) => {}
            Ok(false) => tracing::debug!("the job database is being read: its log keeps what was deleted for now"),
            Err(error) => {
                tracing::warn!(%error, "the job database's log could not be emptied; the next job's end tries again")
            }
        }
    }

    /// Whether what a job leaves may stay as cache: it is known, and not private.
    pub(crate) fn may_cache(&self, job: JobId) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE job = ?1 AND circle IS NULL)";
        self.0.query_row(sql, [job.0], |row| row.get(0))
    }

    /// A job that has ended.
    pub(crate) fn ended(&self, job: JobId) -> Result<Option<JobStatus>> {
        let mut query = self.0.prepare("SELECT status FROM jobs WHERE job = ?1 AND status IS NOT NULL")?;
        let json: Option<String> = query.query_row([job.0], |row| row.get(0)).optional()?;
        Ok(json.and_then(|json| serde_json::from_str(&json).ok()))
    }

    /// The receipts of all ended jobs; None if a job's status cannot be read, as nobody knows then which receipts are kept.
    pub(crate) fn receipts(&self) -> Result<Option<BTreeSet<Reference>>> {
        let mut query = self.0.prepare("SELECT status FROM jobs WHERE status IS NOT NULL")?;
        let mut receipts = BTreeSet::new();
        for json in query.query_map([], |row| row.get::<_, String>(0))? {
            let Ok(status) = serde_json::from_str::<JobStatus>(&json?) else { return Ok(None) };
            receipts.extend(status.receipt.map(|receipt| receipt.reference));
        }
        Ok(Some(receipts))
    }

    /// What the guest of an ended job wrote.
    pub(crate) fn log(&self, job: JobId) -> Result<Option<Vec<u8>>> {
        let mut query = self.0.prepare("SELECT log FROM jobs WHERE job = ?1 AND status IS NOT NULL")?;
        Ok(query.query_row([job.0], |row| row.get(0)).optional()?.flatten())
    }

    /// The newest jobs that have ended, at most `count`.
    pub(crate) fn recent(&self, count: u32) -> Result<Vec<JobStatus>> {
        let mut query =
            self.0.prepare("SELECT status FROM jobs WHERE status IS NOT NULL ORDER BY submitted_ms DESC LIMIT ?1")?;
        let rows = query.query_map([count], |row| row.get::<_, String>(0))?;
        Ok(rows.filter_map(|json| serde_json::from_str(&json.ok()?).ok()).collect())
    }

    /// Forgets an ended job. False if there is none.
    pub(crate) fn remove(&self, job: JobId) -> Result<bool> {
        Ok(self.0.execute("DELETE FROM jobs WHERE job = ?1 AND status IS NOT NULL", [job.0])? > 0)
    }
}

/// What makes each format of the one before it. A step that was released is never changed.
const STEPS: [&str; 7] = [
    FORMAT_1,
    "ALTER TABLE jobs ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal'",
    "ALTER TABLE jobs ADD COLUMN is_auto INTEGER NOT NULL DEFAULT 0; ALTER TABLE jobs ADD COLUMN sizing TEXT",
    "ALTER TABLE jobs ADD COLUMN circle BLOB; ALTER TABLE segments ADD COLUMN key BLOB",
    "ALTER TABLE jobs ADD COLUMN assumptions BLOB NOT NULL DEFAULT x''; ALTER TABLE jobs ADD COLUMN runs INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE keccaks (
        job BLOB NOT NULL, idx INTEGER NOT NULL, po2 INTEGER NOT NULL, claim BLOB NOT NULL, blob BLOB NOT NULL,
        blob_bytes INTEGER NOT NULL, key BLOB, PRIMARY KEY (job, idx)) STRICT",
    super::standings::TABLE,
];

const SEGMENTS: &str = "segments";
const KECCAKS: &str = "keccaks";

/// Where what a unit works on is written down: table and index. Other units work on results.
const fn place(unit: Unit) -> Option<(&'static str, u32)> {
    match unit {
        Unit::Prove(index) => Some((SEGMENTS, index)),
        Unit::Keccak(index) => Some((KECCAKS, index)),
        Unit::Lift(_) | Unit::Join { .. } | Unit::Resolve { .. } | Unit::Union { .. } => None,
    }
}

fn forget_pieces(transaction: &Transaction<'_>, job: JobId) -> Result<()> {
    transaction.execute("DELETE FROM segments WHERE job = ?1", [job.0])?;
    transaction.execute("DELETE FROM keccaks WHERE job = ?1", [job.0])?;
    Ok(())
}

/// The first format. Its tables may be there under format 0: it was once written after them.
const FORMAT_1: &str = "
    CREATE TABLE IF NOT EXISTS jobs (
        job BLOB PRIMARY KEY, image_id BLOB NOT NULL, program BLOB NOT NULL, program_bytes INTEGER NOT NULL,
        input BLOB, input_bytes INTEGER, po2 INTEGER NOT NULL, succinct INTEGER NOT NULL, cycles_max INTEGER NOT NULL,
        submitted_ms INTEGER NOT NULL, execution BLOB, status TEXT, log BLOB) STRICT;
    CREATE TABLE IF NOT EXISTS segments (
        job BLOB NOT NULL, idx INTEGER NOT NULL, po2 INTEGER NOT NULL, claim BLOB NOT NULL, blob BLOB NOT NULL,
        blob_bytes INTEGER NOT NULL, PRIMARY KEY (job, idx)) STRICT;
    CREATE TABLE IF NOT EXISTS results (
        job BLOB NOT NULL, unit BLOB NOT NULL, attempt INTEGER NOT NULL, node BLOB NOT NULL, receipt BLOB NOT NULL,
        receipt_bytes INTEGER NOT NULL, elapsed_ms INTEGER NOT NULL, PRIMARY KEY (job, unit)) STRICT;
";

fn job_row(row: &Row<'_>) -> Result<JobRow> {
    let program = blob(row.get("program")?, row.get("program_bytes")?);
    let input: Option<[u8; 32]> = row.get("input")?;
    let input_bytes: Option<i64> = row.get("input_bytes")?;
    let outcome = if row.get("succinct")? { Outcome::Succinct } else { Outcome::Composite };
    let po2 = po2(row.get("po2")?)?;
    let priority: String = row.get("priority")?;
    let priority = priority.parse().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    Ok(JobRow {
        job: JobId(row.get("job")?),
        image_id: Digest(row.get("image_id")?),
        program,
        input: input.zip(input_bytes).map(|(reference, bytes)| blob(reference, bytes)),
        assumptions: assumptions::of_bytes(&row.get::<_, Vec<u8>>("assumptions")?),
        spec: JobSpec { po2, is_auto: row.get("is_auto")?, outcome, priority },
        cycles_max: row.get::<_, i64>("cycles_max")?.unsigned_abs(),
        circle: row
            .get::<_, Option<Vec<u8>>>("circle")?
            .map(|bytes| bytes.as_chunks().0.iter().copied().map(NodeId).collect()),
        // Only a reason: one that cannot be read is no reason to lose the job.
        runs: row.get("runs")?,
        sizing: row.get::<_, Option<String>>("sizing")?.and_then(|json| serde_json::from_str(&json).ok()),
    })
}

fn piece_row(unit: Unit, row: &Row<'_>) -> Result<Piece> {
    let blob = blob(row.get(3)?, row.get(4)?);
    Ok(Piece {
        unit,
        po2: po2(row.get(1)?)?,
        claim: row.get(2)?,
        blob,
        key: row.get::<_, Option<[u8; 32]>>(5)?.map(BlobKey),
    })
}

fn po2(number: u8) -> Result<Po2> {
    Po2::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// A result; nothing if its unit is none that this program knows.
fn result_row(job: JobId, row: &Row<'_>) -> Result<Option<Receipted>> {
    let unit: Vec<u8> = row.get(0)?;
    let Ok(unit) = manyhands_proto::decode::<Unit>(&unit, unit.len()) else { return Ok(None) };
    let lease = LeaseId { job, unit, attempt: row.get(1)? };
    let receipt = blob(row.get(3)?, row.get(4)?);
    Ok(Some(Receipted { lease, node: NodeId(row.get(2)?), receipt, elapsed_ms: row.get::<_, i64>(5)?.unsigned_abs() }))
}

fn blob(reference: [u8; 32], size_bytes: i64) -> BlobRef {
    BlobRef { reference: Reference(reference), size_bytes: size_bytes.unsigned_abs() }
}

fn size(blob: BlobRef) -> i64 {
    i64::try_from(blob.size_bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: i64 = STEPS.len() as i64;
    use manyhands_core::Priority;

    fn spec(priority: Priority) -> JobSpec {
        JobSpec { po2: Po2::MIN, is_auto: false, outcome: Outcome::Composite, priority }
    }

    fn row(job: u8, priority: Priority) -> JobRow {
        let program = BlobRef { reference: Reference([2; 32]), size_bytes: 9 };
        let job = JobId([job; 16]);
        JobRow {
            job,
            image_id: Digest([1; 32]),
            program,
            input: None,
            assumptions: vec![Assumed { claim: Digest([4; 32]), receipt: program }],
            spec: spec(priority),
            cycles_max: 77,
            circle: None,
            sizing: None,
            runs: 0,
        }
    }

    fn format(path: &Path) -> i64 {
        let db = Connection::open(path).unwrap();
        db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    /// A database as the first version left it: an open job, and an ended one whose status names no priority.
    fn old(path: &Path, format: i64) {
        let db = Connection::open(path).unwrap();
        db.execute_batch(FORMAT_1).unwrap();
        let insert =
            "INSERT INTO jobs (job, image_id, program, program_bytes, po2, succinct, cycles_max, submitted_ms, status)
                      VALUES (?1, ?2, ?2, 9, 14, 0, 77, 1, ?3)";
        let ended = r#"{"view": {"job": "0909", "phase": "done", "error": null, "po2": 14, "outcome": "composite", "elapsed_ms": 5,
            "segments": 1, "user_cycles": 1, "total_cycles": 2, "grid": ["verified"], "units_done": 1, "units_total": 1,
            "leases": [], "results": [], "eta_ms": null, "waiting": null}, "image_id": "0101", "receipt": null, "incidents": []}"#;
        let ended = ended.replace("0909", &"09".repeat(16)).replace("0101", &"01".repeat(32));
        db.execute(insert, params![[7_u8; 16], [1_u8; 32], None::<String>]).unwrap();
        db.execute(insert, params![[9_u8; 16], [1_u8; 32], ended]).unwrap();
        db.pragma_update(None, "user_version", format).unwrap();
    }

    #[test]
    fn a_jobs_priority_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        let rows = [row(1, Priority::Low), row(2, Priority::Normal), row(3, Priority::High)];
        let db = JobsDb::open(&path).unwrap();
        rows.iter().for_each(|row| db.submit(row).unwrap());
        drop(db);
        let mut read = JobsDb::open(&path).unwrap().open_jobs().unwrap();
        read.sort_by_key(|row| row.job);
        assert_eq!(read, rows);
    }

    #[test]
    fn a_private_job_is_private_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        let circle = Some(BTreeSet::from([NodeId([1; 32]), NodeId([2; 32])]));
        let rows = [row(1, Priority::Normal), JobRow { circle, ..row(2, Priority::Normal) }];
        let blob = BlobRef { reference: Reference([3; 32]), size_bytes: 5 };
        let segment = |key| Piece { unit: Unit::Prove(0), po2: Po2::MIN, claim: vec![1], blob, key };
        let request = |key| Piece { unit: Unit::Keccak(0), claim: vec![2; 32], ..segment(key) };
        let execution = Execution {
            image_id: Digest([1; 32]),
            segments: 1,
            user_cycles: 1,
            total_cycles: 1,
            journal: serde_bytes::ByteBuf::new(),
        };
        let db = JobsDb::open(&path).unwrap();
        for (row, key) in rows.iter().zip([None, Some(BlobKey([9; 32]))]) {
            db.submit(row).unwrap();
            db.add_piece(row.job, &request(key)).unwrap();
            db.add_piece(row.job, &segment(key)).unwrap();
            db.add_execution(row.job, &execution).unwrap();
        }
        drop(db);
        let db = JobsDb::open(&path).unwrap();
        let mut read = db.open_jobs().unwrap();
        read.sort_by_key(|row| row.job);
        assert_eq!(read, rows);
        for (row, key) in rows.iter().zip([None, Some(BlobKey([9; 32]))]) {
            assert_eq!(db.execution(row.job).unwrap().unwrap().1, [segment(key), request(key)]);
        }
    }

    #[test]
    fn a_run_that_is_begun_anew_forgets_what_the_guest_left_and_keeps_results() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = JobsDb::open(&dir.path().join("jobs.db")).unwrap();
        let row = row(1, Priority::Normal);
        let blob = row.program;
        let pieces = [Unit::Prove(2), Unit::Keccak(2)].map(|unit| {
            let claim = unit.to_string().into_bytes();
            Piece { unit, po2: Po2::MIN, claim, blob, key: None }
        });
        let lease = LeaseId { job: row.job, unit: Unit::Prove(2), attempt: 1 };
        let result = Receipted { lease, node: NodeId([1; 32]), receipt: blob, elapsed_ms: 5 };
        let journal = serde_bytes::ByteBuf::new();
        let execution = Execution { image_id: row.image_id, segments: 3, user_cycles: 1, total_cycles: 1, journal };
        db.submit(&row).unwrap();
        for runs in 1..=2 {
            pieces.iter().for_each(|piece| db.add_piece(row.job, piece).unwrap());
            db.add_result(&result).unwrap();
            db.add_execution(row.job, &execution).unwrap();
            for piece in &pieces {
                assert_eq!(db.piece(row.job, piece.unit).unwrap().as_ref(), Some(piece));
            }
            assert_eq!(db.piece(row.job, Unit::Lift(2)).unwrap(), None);
            assert_eq!(db.begin_anew(row.job).unwrap(), runs);
            for piece in &pieces {
                assert_eq!((db.piece(row.job, piece.unit).unwrap(), db.execution(row.job).unwrap()), (None, None));
            }
            assert_eq!(db.results(row.job).unwrap().len(), 1);
        }
    }

    #[test]
    fn a_segment_size_is_chosen_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        let auto = |job| {
            let row = row(job, Priority::Normal);
            JobRow { spec: JobSpec { is_auto: true, ..row.spec }, ..row }
        };
        let po2 = |number| Po2::try_from(number).unwrap();
        let why = "because".to_owned();
        let sizing = Sizing { po2: po2(17), user_cycles: 5, is_whole: true, options: Vec::new(), why };
        let db = JobsDb::open(&path).unwrap();
        (1..=3).for_each(|job| db.submit(&auto(job)).unwrap());
        db.size(JobId([2; 16]), po2(17), Some(&sizing)).unwrap();
        db.size(JobId([3; 16]), po2(16), None).unwrap();
        drop(db);
        let mut read = JobsDb::open(&path).unwrap().open_jobs().unwrap();
        read.sort_by_key(|row| row.job);
        assert_eq!(read[0], auto(1), "what was not settled is not thought to be");
        let known: Vec<_> = read[1..].iter().map(|row| (row.spec.po2.get(), row.spec.is_auto, &row.sizing)).collect();
        assert_eq!(known, [(17, false, &Some(sizing)), (16, false, &None)]);
    }

    #[test]
    fn an_old_database_keeps_its_jobs_and_takes_new_ones() {
        // The first version wrote the format after the tables, so one that was killed in between left 0.
        for left in [1, 0] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("jobs.db");
            old(&path, left);
            let db = JobsDb::open(&path).unwrap();
            let open = db.open_jobs().unwrap();
            assert_eq!(open.len(), 1);
            assert_eq!((open[0].job, open[0].spec), (JobId([7; 16]), spec(Priority::Normal)));
            let ended = db.ended(JobId([9; 16])).unwrap().expect("its status is still read");
            assert_eq!((ended.view.phase.as_str(), ended.view.priority), ("done", Priority::Normal));
            assert!(db.receipts().unwrap().is_some(), "no old status hides which receipts are kept");
            db.submit(&row(3, Priority::High)).unwrap();
            drop(db);
            assert_eq!(format(&path), FORMAT);
            assert_eq!(JobsDb::open(&path).unwrap().open_jobs().unwrap().len(), 2, "a second start changes nothing");
        }
    }

    #[test]
    fn a_newer_database_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        old(&path, FORMAT + 1);
        let source = JobsDb::open(&path).unwrap_err();
        let error = crate::StartError::Database { path: "jobs.db".into(), source };
        let said = "cannot open the job database jobs.db: it has format 8, this program reads formats up to 7. \
                    Run the newer version that wrote it, or use another --data-dir";
        assert_eq!(error.to_string(), said);
        assert_eq!(format(&path), FORMAT + 1);
    }
}
