//! How the gateway's databases are opened: private, in WAL mode, synced before anything is acknowledged, brought to the present format.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Result, ffi};

/// How long a command line waits for the daemon's writes, and the other way round.
pub(super) const BUSY_TIME: Duration = Duration::from_secs(5);

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
