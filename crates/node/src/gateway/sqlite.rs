//! How the gateway's databases are opened: private, in WAL mode, synced before anything is acknowledged, brought to the present format. And how
//! one is copied as it is at one moment.

use std::fs::OpenOptions;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, Result, ffi};

/// How long a command line waits for the daemon's writes, and the other way round.
const BUSY_TIME: Duration = Duration::from_secs(5);

/// Pages that are copied between two looks at whether to go on: some 4 MB.
const STEP_PAGES: i32 = 1_000;

/// Opens or makes the database at `path`, for its owner alone. `steps` make each format of the one before it; a newer format than there are
/// steps is refused.
pub(super) fn open(path: &Path, steps: &[&str]) -> Result<Connection> {
    // SQLite gives the files beside it the mode of the database. That it cannot be made, SQLite says better.
    let _ = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let mut db = Connection::open(path)?;
    db.busy_timeout(BUSY_TIME)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted is overwritten: keys of private jobs do not stay in pages that nothing uses.
    db.pragma_update(None, "secure_delete", "ON")?;
    migrate(&mut db, steps)?;
    Ok(db)
}

/// Writes the log into the database and cuts it off, so that what was deleted is in neither. Tells whether it could: not while another
/// program, or a back-up, reads; it can later. It is not waited for, as the event loop would wait.
pub(super) fn empty_log(db: &Connection) -> Result<bool> {
    db.busy_timeout(Duration::ZERO)?;
    let is_busy = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    db.busy_timeout(BUSY_TIME)?;
    Ok(!is_busy?)
}

/// All steps or none: a program that is killed half-way finds the old format again.
fn migrate(db: &mut Connection, steps: &[&str]) -> Result<()> {
    // Taken for writing at once: of two programs that begin at the same time the second finds the work done.
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let format: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let newest = steps.len();
    let Some(due) = usize::try_from(format).ok().and_then(|format| steps.get(format..)) else {
        let what = format!("it has format {format}, this program reads formats up to {newest}");
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_SCHEMA), Some(what)));
    };
    if due.is_empty() {
        return Ok(());
    }
    due.iter().try_for_each(|step| transaction.execute_batch(step))?;
    transaction.pragma_update(None, "user_version", i64::try_from(newest).unwrap_or(i64::MAX))?;
    transaction.commit()
}

/// Opens a database for reading alone, which takes no lock.
pub(super) fn open_to_read(path: &Path) -> Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY_TIME)?;
    Ok(db)
}

/// Begins to read: from here on `db` sees its database as it is now, and the log is not emptied. Tells how many bytes there are.
pub(super) fn hold(db: &Connection) -> Result<u64> {
    db.execute_batch("BEGIN")?;
    // It is the first read that holds.
    db.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    let pages: i64 = db.query_row("SELECT page_count FROM pragma_page_count", [], |row| row.get(0))?;
    Ok(pages.saturating_mul(page_bytes(db)?).unsigned_abs())
}

fn page_bytes(db: &Connection) -> Result<i64> {
    db.query_row("SELECT page_size FROM pragma_page_size", [], |row| row.get(0))
}

/// Why a database was not copied.
#[derive(Debug)]
pub(super) enum CopyError<E> {
    /// The database could not be read.
    Unread(io::Error),
    /// The copy could not be written, or is not what was written.
    Unwritten(io::Error),
    /// Whoever copies has ended it.
    Ended(E),
}

/// Copies a database that is held into the empty file `path`, lets go of it, and looks whether the copy can be read. `on_bytes` hears of so
/// many more bytes that are copied, and may end the work.
pub(super) fn copy<E>(
    from: impl Deref<Target = Connection>,
    path: &Path,
    on_bytes: &mut impl FnMut(u64) -> std::result::Result<(), E>,
) -> std::result::Result<(), CopyError<E>> {
    let unwritten = |error| CopyError::Unwritten(as_io(error));
    let page_bytes = page_bytes(&from).map_err(|error| CopyError::Unread(as_io(error)))?;
    let mut to = Connection::open(path).map_err(unwritten)?;
    let backup = Backup::new(&from, &mut to).map_err(unwritten)?;
    let mut left_pages = None;
    loop {
        let step = backup.step(STEP_PAGES).map_err(of_step)?;
        let progress = backup.progress();
        let done_pages = left_pages.unwrap_or(progress.pagecount).saturating_sub(progress.remaining);
        left_pages = Some(progress.remaining);
        on_bytes(i64::from(done_pages).saturating_mul(page_bytes).unsigned_abs()).map_err(CopyError::Ended)?;
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // Nobody else has the copy, and reading waits for nobody.
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    drop(backup);
    drop(from);
    let found: String = to.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(unwritten)?;
    if found != "ok" {
        return Err(CopyError::Unwritten(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is damaged: {found}"),
        )));
    }
    to.close().map_err(|(_, error)| unwritten(error))
}

/// Which of the two databases a step's error is of: one that is held is only read, so all but failed reads are the copy's.
fn of_step<E>(error: rusqlite::Error) -> CopyError<E> {
    let is_read = error.sqlite_error().is_some_and(|error| {
        let is_damaged = matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase);
        is_damaged || matches!(error.extended_code, ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ)
    });
    if is_read { CopyError::Unread(as_io(error)) } else { CopyError::Unwritten(as_io(error)) }
}

/// A database's error as the system would tell it.
pub(super) fn as_io(error: rusqlite::Error) -> io::Error {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => io::ErrorKind::StorageFull,
        Some(ErrorCode::ReadOnly) => io::ErrorKind::ReadOnlyFilesystem,
        Some(ErrorCode::PermissionDenied) => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_database_is_its_owners_alone_and_forgets_what_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let db = open(&path, &["CREATE TABLE t (k BLOB) STRICT"]).unwrap();
        let key = [0xA7_u8; 32];
        db.execute("INSERT INTO t VALUES (?1)", [key]).unwrap();
        let found = || {
            std::fs::read_dir(dir.path()).unwrap().any(|file| {
                let file = file.unwrap();
                assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
                std::fs::read(file.path()).unwrap().windows(32).any(|window| window == key)
            })
        };
        assert!(found());
        db.execute("DELETE FROM t", []).unwrap();
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        assert!(!empty_log(&db).unwrap() && found(), "who reads sees what there was");
        drop(reader);
        assert!(empty_log(&db).unwrap());
        assert!(!found());
    }

    /// A database with some pages, held.
    fn held(path: &Path) -> (Connection, Connection) {
        let db = open(path, &["CREATE TABLE t (k BLOB) STRICT"]).unwrap();
        db.execute("INSERT INTO t VALUES (zeroblob(100000))", []).unwrap();
        let reader = open_to_read(path).unwrap();
        assert!(hold(&reader).unwrap() > 100_000);
        (db, reader)
    }

    #[test]
    fn a_copy_is_of_the_moment_and_lets_go_before_it_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let (db, reader) = held(&dir.path().join("x.db"));
        db.execute("DELETE FROM t", []).unwrap();
        assert!(!empty_log(&db).unwrap());
        let (path, mut bytes) = (dir.path().join("copy.db"), 0);
        let on_bytes = &mut |more| {
            bytes += more;
            Ok::<_, ()>(())
        };
        copy(Box::new(reader), &path, on_bytes).unwrap();
        assert!(empty_log(&db).unwrap());
        let copied = Connection::open(&path).unwrap();
        assert_eq!(copied.query_row("SELECT COUNT(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        assert_eq!(bytes, std::fs::metadata(&path).unwrap().len());
    }

    #[test]
    fn what_the_copy_lacks_is_not_the_database_s_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (_db, reader) = held(&dir.path().join("x.db"));
        let nowhere = copy(Box::new(reader), &dir.path().join("no/copy.db"), &mut |_| Ok::<_, ()>(()));
        assert!(matches!(nowhere, Err(CopyError::Unwritten(_))), "{nowhere:?}");
        let (_db, reader) = held(&dir.path().join("y.db"));
        let ended = copy(Box::new(reader), &dir.path().join("copy.db"), &mut |_| Err("enough"));
        assert!(matches!(ended, Err(CopyError::Ended("enough"))), "{ended:?}");
        let of = |code| of_step::<()>(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(matches!(of(ffi::SQLITE_IOERR_READ), CopyError::Unread(_)));
        assert!(matches!(of(ffi::SQLITE_IOERR_WRITE), CopyError::Unwritten(_)));
        let full = of(ffi::SQLITE_FULL);
        assert!(matches!(&full, CopyError::Unwritten(error) if error.kind() == io::ErrorKind::StorageFull), "{full:?}");
    }

    #[test]
    fn a_step_that_fails_leaves_the_format_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let first = "CREATE TABLE t (k BLOB) STRICT";
        let second = "ALTER TABLE t ADD COLUMN a TEXT; ALTER TABLE t ADD COLUMN b TEXT";
        open(&path, &[first]).unwrap();
        assert!(open(&path, &[first, "ALTER TABLE t ADD COLUMN a TEXT; nonsense"]).is_err());
        let db = open(&path, &[first, second]).unwrap();
        db.execute("INSERT INTO t (a, b) VALUES ('x', 'y')", []).unwrap();
        assert!(
            open(&path, &[first]).unwrap_err().to_string().contains("has format 2, this program reads formats up to 1")
        );
    }
}
