//! `bonsai.db`: keys, uploads, sessions and Groth16 receipts of the Bonsai API. SQLite in WAL mode, synced before anything is acknowledged;
//! one connection, whose calls are short.

mod snarks;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use manyhands_api::bonsai::types::{Stats, Tenant, Uuid};
use manyhands_core::Priority;
use manyhands_proto::{Digest, JobId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::gateway::sqlite::{self, unix_ms};
pub(crate) use snarks::{SnarkEnd, SnarkRow};

type Result<T> = rusqlite::Result<T>;

/// The database, open.
#[derive(Debug)]
pub(crate) struct Book(Mutex<Connection>);

/// An API key as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Whose it is.
    pub tenant: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// Whether it was revoked.
    pub is_revoked: bool,
    /// What it may do.
    pub limits: KeyLimits,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLimits {
    /// Cycles of one session.
    pub cycles_max: u64,
    /// Sessions at the same time.
    pub sessions_max: u32,
    /// Bytes of uploads.
    pub bytes_max: u64,
    /// Cycles of all its owner's sessions together; none for no limit.
    pub budget_cycles: Option<u64>,
    /// The share of the fleet that its sessions' jobs have beside other jobs.
    pub priority: Priority,
}

/// An upload that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadRow {
    /// SHA-256 of its bytes.
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: u64,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRow {
    pub(crate) id: Uuid,
    pub(crate) tenant: Tenant,
    /// Two sessions with the same are the same.
    pub(crate) fingerprint: [u8; 32],
    /// The job that proves it; none if it only executes.
    pub(crate) job: Option<JobId>,
    pub(crate) image: Digest,
    pub(crate) input: Option<Uuid>,
    /// What the uploaded receipts that the guest may rely on prove.
    pub(crate) claims: Vec<Digest>,
    pub(crate) cycles_max: u64,
    pub(crate) created_ms: i64,
    pub(crate) end: Option<End>,
}

/// How a session that only executes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at_ms: i64,
    /// The journal, or why there is none.
    pub(crate) result: std::result::Result<Vec<u8>, String>,
    pub(crate) stats: Option<Stats>,
    pub(crate) log: Vec<u8>,
}

impl Book {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let db = sqlite::open(path, &STEPS)?;
        Ok(Self(Mutex::new(db)))
    }

    pub(crate) fn add_key(&self, hash: [u8; 32], tenant: &str, limits: KeyLimits) -> Result<()> {
        self.lock().execute(
            "INSERT INTO keys (hash, tenant, created_ms, cycles_max, sessions_max, bytes_max, budget_cycles, priority)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                hash,
                tenant,
                unix_ms(),
                signed(limits.cycles_max),
                limits.sessions_max,
                signed(limits.bytes_max),
                limits.budget_cycles.map(signed),
                limits.priority.word(),
            ],
        )?;
        Ok(())
    }

    /// Revokes the keys of a tenant. False if there was none.
    pub(crate) fn revoke(&self, tenant: &str) -> Result<bool> {
        let sql = "UPDATE keys SET revoked_ms = ?2 WHERE tenant = ?1 AND revoked_ms IS NULL";
        Ok(self.lock().execute(sql, params![tenant, unix_ms()])? > 0)
    }

    pub(crate) fn keys(&self) -> Result<Vec<KeyRow>> {
        let db = self.lock();
        let mut query = db.prepare("SELECT * FROM keys ORDER BY created_ms, tenant")?;
        query.query_map([], key_row)?.collect()
    }

    /// Whether any key was ever made: then nobody comes in without one.
    pub(crate) fn has_keys(&self) -> Result<bool> {
        self.lock().query_row("SELECT EXISTS (SELECT 1 FROM keys)", [], |row| row.get(0))
    }

    pub(crate) fn key(&self, hash: [u8; 32]) -> Result<Option<KeyRow>> {
        let db = self.lock();
        let mut query = db.prepare("SELECT * FROM keys WHERE hash = ?1 AND revoked_ms IS NULL")?;
        query.query_row([hash], key_row).optional()
    }

    pub(crate) fn limits(&self, tenant: &Tenant) -> Result<Option<KeyLimits>> {
        let db = self.lock();
        let mut query = db.prepare("SELECT * FROM keys WHERE tenant = ?1 AND revoked_ms IS NULL")?;
        Ok(query.query_row([&tenant.0], key_row).optional()?.map(|row| row.limits))
    }

    /// Writes that an upload is on disk.
    pub(crate) fn add_upload(&self, tenant: &Tenant, name: &[u8], kind: &str, row: &UploadRow) -> Result<()> {
        self.lock().execute(
            "INSERT OR REPLACE INTO uploads (tenant, name, kind, digest, bytes, used_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![tenant.0, name, kind, row.digest, signed(row.bytes), unix_ms()],
        )?;
        Ok(())
    }

    /// An upload, which counts as used.
    pub(crate) fn upload(&self, tenant: &Tenant, name: &[u8], kind: &str) -> Result<Option<UploadRow>> {
        let db = self.lock();
        let sql =
            "UPDATE uploads SET used_ms = ?4 WHERE tenant = ?1 AND name = ?2 AND kind = ?3 RETURNING digest, bytes";
        db.prepare(sql)?
            .query_row(params![tenant.0, name, kind, unix_ms()], |row| {
                Ok(UploadRow { digest: row.get(0)?, bytes: row.get::<_, i64>(1)?.unsigned_abs() })
            })
            .optional()
    }

    pub(crate) fn remove_upload(&self, tenant: &Tenant, name: &[u8], kind: &str) -> Result<bool> {
        let sql = "DELETE FROM uploads WHERE tenant = ?1 AND name = ?2 AND kind = ?3";
        Ok(self.lock().execute(sql, params![tenant.0, name, kind])? > 0)
    }

    /// Bytes of a tenant's uploads.
    pub(crate) fn bytes_of(&self, tenant: &Tenant) -> Result<u64> {
        let sql = "SELECT COALESCE(SUM(bytes), 0) FROM uploads WHERE tenant = ?1";
        self.lock().query_row(sql, [&tenant.0], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
    }

    /// Uploads that nobody used since `before_ms` and no session or Groth16 receipt needs that has not ended: whose, what, of which kind.
    pub(crate) fn unused(&self, before_ms: i64) -> Result<Vec<(Tenant, Vec<u8>, String)>> {
        let db = self.lock();
        let mut query = db.prepare(&format!("SELECT tenant, name, kind FROM uploads WHERE {UNUSED}"))?;
        query.query_map([before_ms], upload_key)?.collect()
    }

    /// Removes an upload if that is still so.
    pub(crate) fn remove_unused(&self, tenant: &Tenant, name: &[u8], kind: &str, before_ms: i64) -> Result<bool> {
        let sql = format!("DELETE FROM uploads WHERE {UNUSED} AND tenant = ?2 AND name = ?3 AND kind = ?4");
        Ok(self.lock().execute(&sql, params![before_ms, tenant.0, name, kind])? > 0)
    }

    /// All uploads: whose, what, of which kind.
    pub(crate) fn uploads(&self) -> Result<Vec<(Tenant, Vec<u8>, String)>> {
        let db = self.lock();
        let mut query = db.prepare("SELECT tenant, name, kind FROM uploads")?;
        query.query_map([], upload_key)?.collect()
    }

    pub(crate) fn add_session(&self, row: &SessionRow) -> Result<()> {
        self.lock().execute(
            "INSERT INTO sessions (id, tenant, fingerprint, job, image, input, cycles_max, created_ms, claims)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                row.id.as_bytes(),
                row.tenant.0,
                row.fingerprint,
                row.job.map(|job| job.0),
                row.image.0,
                row.input.map(|input| *input.as_bytes()),
                signed(row.cycles_max),
                row.created_ms,
                row.claims.iter().flat_map(|claim| claim.0).collect::<Vec<u8>>(),
            ],
        )?;
        Ok(())
    }

    /// Strikes a session out that came to nothing before anybody heard of it.
    pub(crate) fn remove_session(&self, id: Uuid) -> Result<()> {
        self.lock().execute("DELETE FROM sessions WHERE id = ?1", [id.as_bytes()])?;
        Ok(())
    }

    /// A tenant's session. Another's is not there.
    pub(crate) fn session(&self, tenant: &Tenant, id: Uuid) -> Result<Option<SessionRow>> {
        let db = self.lock();
        let mut query = db.prepare("SELECT * FROM sessions WHERE id = ?1 AND tenant = ?2")?;
        query.query_row(params![id.as_bytes(), tenant.0], session_row).optional()
    }

    /// The newest sessions that are the same as one that is asked for.
    pub(crate) fn same(&self, tenant: &Tenant, fingerprint: [u8; 32]) -> Result<Vec<SessionRow>> {
        let db = self.lock();
        let mut query = db.prepare(
            "SELECT * FROM sessions WHERE tenant = ?1 AND fingerprint = ?2 ORDER BY created_ms DESC LIMIT 4",
        )?;
        query.query_map(params![tenant.0, fingerprint], session_row)?.collect()
    }

    /// A tenant's sessions that may still run: those with a job, and those whose execution has not ended.
    pub(crate) fn open_sessions(&self, tenant: &Tenant) -> Result<Vec<SessionRow>> {
        let db = self.lock();
        let mut query = db.prepare(
            "SELECT * FROM sessions WHERE tenant = ?1 AND ended_ms IS NULL ORDER BY created_ms DESC LIMIT 10000",
        )?;
        query.query_map([&tenant.0], session_row)?.collect()
    }

    /// How many those are.
    pub(crate) fn count_open(&self, tenant: &Tenant) -> Result<u32> {
        let sql = "SELECT COUNT(*) FROM sessions WHERE tenant = ?1 AND ended_ms IS NULL";
        self.lock().query_row(sql, [&tenant.0], |row| row.get(0))
    }

    /// Who has such sessions.
    pub(crate) fn open_tenants(&self) -> Result<Vec<Tenant>> {
        let db = self.lock();
        let mut query = db.prepare("SELECT DISTINCT tenant FROM sessions WHERE ended_ms IS NULL")?;
        query.query_map([], |row| Ok(Tenant(row.get(0)?)))?.collect()
    }

    /// Cycles of a tenant's sessions that are written down as ended, of the guests' own instructions.
    pub(crate) fn used_cycles(&self, tenant: &Tenant) -> Result<u64> {
        let sql = "SELECT COALESCE(SUM(cycles), 0) FROM sessions WHERE tenant = ?1";
        self.lock().query_row(sql, [&tenant.0], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
    }

    /// Sessions that only execute and have not ended: to be run again after a restart.
    pub(crate) fn executing(&self) -> Result<Vec<SessionRow>> {
        let db = self.lock();
        let mut query = db.prepare("SELECT * FROM sessions WHERE job IS NULL AND ended_ms IS NULL")?;
        query.query_map([], session_row)?.collect()
    }

    /// Writes a session's end, if it has none yet. One with a job keeps its result there; here it only counts as ended.
    pub(crate) fn end(&self, id: Uuid, end: &End) -> Result<()> {
        let (journal, error) = match &end.result {
            Ok(journal) => (Some(journal.as_slice()), None),
            Err(error) => (None, Some(error.as_str())),
        };
        self.lock().execute(
            "UPDATE sessions SET ended_ms = ?2, journal = ?3, error = ?4, segments = ?5, total_cycles = ?6, cycles = ?7, log = ?8
             WHERE id = ?1 AND ended_ms IS NULL",
            params![
                id.as_bytes(),
                end.at_ms,
                journal,
                error,
                end.stats.map(|stats| signed(stats.segments)),
                end.stats.map(|stats| signed(stats.total_cycles)),
                end.stats.map(|stats| signed(stats.cycles)),
                end.log,
            ],
        )?;
        Ok(())
    }

    /// Each change is one statement, so the connection is valid after any panic.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes each format of the one before it.
const STEPS: [&str; 5] = [
    FORMAT_1,
    "ALTER TABLE keys ADD COLUMN budget_cycles INTEGER",
    "ALTER TABLE sessions ADD COLUMN claims BLOB NOT NULL DEFAULT x''; ALTER TABLE keys ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal'",
    snarks::STEP,
    snarks::BEGUN_STEP,
];

const FORMAT_1: &str = "
    CREATE TABLE keys (
        hash BLOB PRIMARY KEY, tenant TEXT NOT NULL, created_ms INTEGER NOT NULL, revoked_ms INTEGER,
        cycles_max INTEGER NOT NULL, sessions_max INTEGER NOT NULL, bytes_max INTEGER NOT NULL) STRICT;
    CREATE TABLE uploads (
        tenant TEXT NOT NULL, name BLOB NOT NULL, kind TEXT NOT NULL, digest BLOB NOT NULL, bytes INTEGER NOT NULL,
        used_ms INTEGER NOT NULL, PRIMARY KEY (tenant, kind, name)) STRICT;
    CREATE TABLE sessions (
        id BLOB PRIMARY KEY, tenant TEXT NOT NULL, fingerprint BLOB NOT NULL, job BLOB, image BLOB NOT NULL, input BLOB,
        cycles_max INTEGER NOT NULL, created_ms INTEGER NOT NULL, ended_ms INTEGER, journal BLOB, error TEXT,
        segments INTEGER, total_cycles INTEGER, cycles INTEGER, log BLOB) STRICT;
    CREATE INDEX same_sessions ON sessions (tenant, fingerprint, created_ms);
    CREATE INDEX open_sessions ON sessions (tenant, ended_ms, created_ms);
";

/// That an upload was not used since `?1`. A session that proves has its job hold what it needs.
const UNUSED: &str = "used_ms < ?1 AND NOT EXISTS (
    SELECT 1 FROM sessions WHERE sessions.tenant = uploads.tenant AND sessions.ended_ms IS NULL AND sessions.job IS NULL
    AND (uploads.kind = 'input' AND sessions.input = uploads.name OR uploads.kind = 'image' AND sessions.image = uploads.name))
    AND NOT EXISTS (
    SELECT 1 FROM snarks WHERE snarks.tenant = uploads.tenant AND snarks.ended_ms IS NULL AND snarks.is_upload = 1
    AND uploads.kind = 'receipt' AND snarks.source = uploads.name)";

fn upload_key(row: &Row<'_>) -> Result<(Tenant, Vec<u8>, String)> {
    Ok((Tenant(row.get(0)?), row.get(1)?, row.get(2)?))
}

fn key_row(row: &Row<'_>) -> Result<KeyRow> {
    let priority: String = row.get("priority")?;
    let limits = KeyLimits {
        cycles_max: row.get::<_, i64>("cycles_max")?.unsigned_abs(),
        sessions_max: row.get("sessions_max")?,
        bytes_max: row.get::<_, i64>("bytes_max")?.unsigned_abs(),
        budget_cycles: row.get::<_, Option<i64>>("budget_cycles")?.map(i64::unsigned_abs),
        priority: priority.parse().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?,
    };
    Ok(KeyRow {
        tenant: row.get("tenant")?,
        created_ms: row.get("created_ms")?,
        is_revoked: row.get::<_, Option<i64>>("revoked_ms")?.is_some(),
        limits,
    })
}

fn session_row(row: &Row<'_>) -> Result<SessionRow> {
    Ok(SessionRow {
        id: Uuid::from_bytes(row.get("id")?),
        tenant: Tenant(row.get("tenant")?),
        fingerprint: row.get("fingerprint")?,
        job: row.get::<_, Option<[u8; 16]>>("job")?.map(JobId),
        image: Digest(row.get("image")?),
        input: row.get::<_, Option<[u8; 16]>>("input")?.map(Uuid::from_bytes),
        claims: row.get::<_, Vec<u8>>("claims")?.as_chunks().0.iter().copied().map(Digest).collect(),
        cycles_max: row.get::<_, i64>("cycles_max")?.unsigned_abs(),
        created_ms: row.get("created_ms")?,
        end: end_of(row)?,
    })
}

fn end_of(row: &Row<'_>) -> Result<Option<End>> {
    let Some(at_ms) = row.get::<_, Option<i64>>("ended_ms")? else { return Ok(None) };
    let number = |name: &str| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(name)?.map(i64::unsigned_abs));
    let figures = (number("segments")?, number("total_cycles")?, number("cycles")?);
    let stats = match figures {
        (Some(segments), Some(total_cycles), Some(cycles)) => Some(Stats { segments, total_cycles, cycles }),
        _ => None,
    };
    let result = match (row.get::<_, Option<Vec<u8>>>("journal")?, row.get::<_, Option<String>>("error")?) {
        (Some(journal), _) => Ok(journal),
        (None, error) => Err(error.unwrap_or_default()),
    };
    let log = row.get::<_, Option<Vec<u8>>>("log")?.unwrap_or_default();
    Ok(Some(End { at_ms, result, stats, log }))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tenant: &str, id: u8, job: Option<u8>) -> SessionRow {
        SessionRow {
            id: Uuid::from_bytes([id; 16]),
            tenant: Tenant(tenant.to_owned()),
            fingerprint: [7; 32],
            job: job.map(|job| JobId([job; 16])),
            image: Digest([1; 32]),
            input: None,
            claims: vec![Digest([2; 32]), Digest([3; 32])],
            cycles_max: 5,
            created_ms: i64::from(id),
            end: None,
        }
    }

    #[test]
    fn what_is_written_outlives_a_restart_and_is_its_tenants_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bonsai.db");
        let book = Book::open(&path).unwrap();
        let (a, b) = (Tenant("a".to_owned()), Tenant("b".to_owned()));
        let limits = KeyLimits {
            cycles_max: 1 << 30,
            sessions_max: 2,
            bytes_max: 10,
            budget_cycles: Some(7),
            priority: Priority::High,
        };
        book.add_key([1; 32], "a", limits).unwrap();
        book.add_session(&row("a", 1, Some(9))).unwrap();
        book.add_session(&row("a", 2, None)).unwrap();
        let upload = UploadRow { digest: [3; 32], bytes: 4 };
        book.add_upload(&a, b"x", "input", &upload).unwrap();
        let end = End {
            at_ms: 9,
            result: Ok(b"journal".to_vec()),
            stats: Some(Stats { segments: 1, total_cycles: 2, cycles: 3 }),
            log: b"hello".to_vec(),
        };
        book.end(Uuid::from_bytes([2; 16]), &end).unwrap();
        drop(book);
        let book = Book::open(&path).unwrap();
        assert_eq!(book.key([1; 32]).unwrap().unwrap().limits, limits);
        assert_eq!(book.session(&a, Uuid::from_bytes([1; 16])).unwrap(), Some(row("a", 1, Some(9))));
        let ended = SessionRow { end: Some(end), ..row("a", 2, None) };
        assert_eq!(book.session(&a, ended.id).unwrap(), Some(ended.clone()));
        assert_eq!(book.same(&a, [7; 32]).unwrap(), [ended.clone(), row("a", 1, Some(9))]);
        assert_eq!((book.executing().unwrap().len(), book.open_sessions(&a).unwrap().len()), (0, 1));
        assert_eq!((book.count_open(&a).unwrap(), book.used_cycles(&a).unwrap()), (1, 3));
        assert_eq!((book.open_tenants().unwrap(), book.used_cycles(&b).unwrap()), (vec![a.clone()], 0));
        assert_eq!(book.upload(&a, b"x", "input").unwrap(), Some(upload));
        // To another tenant none of it is there.
        assert_eq!(book.session(&b, ended.id).unwrap(), None);
        assert!(book.same(&b, [7; 32]).unwrap().is_empty() && book.upload(&b, b"x", "input").unwrap().is_none());
        assert!(!book.remove_upload(&b, b"x", "input").unwrap() && book.remove_upload(&a, b"x", "input").unwrap());
        assert_eq!(
            (book.bytes_of(&a).unwrap(), book.revoke("b").unwrap(), book.revoke("a").unwrap()),
            (0, false, true)
        );
        assert!(
            book.key([1; 32]).unwrap().is_none() && book.has_keys().unwrap(),
            "a revoked key opens nothing, and the door stays shut"
        );
    }

    /// `bonsai.db` of the first format, as it was written: no budgets.
    #[test]
    fn a_database_of_the_first_format_is_brought_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bonsai.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(FORMAT_1).unwrap();
        db.execute("INSERT INTO keys VALUES (?1, 'a', 1, NULL, 2, 3, 4)", [[1_u8; 32]]).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        drop(db);
        for _ in 0..2 {
            let book = Book::open(&path).unwrap();
            let limits = KeyLimits {
                cycles_max: 2,
                sessions_max: 3,
                bytes_max: 4,
                budget_cycles: None,
                priority: Priority::Normal,
            };
            assert_eq!(book.limits(&Tenant("a".to_owned())).unwrap(), Some(limits));
        }
        let newer = STEPS.len() as i64 + 1;
        Connection::open(&path).unwrap().pragma_update(None, "user_version", newer).unwrap();
        assert!(Book::open(&path).unwrap_err().to_string().contains("reads formats up to"));
    }
}
