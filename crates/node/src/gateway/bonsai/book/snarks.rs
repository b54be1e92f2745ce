//! Groth16 receipts in `bonsai.db`: asked for, and how they ended. What was made is kept here: some hundred bytes and the journal.

use manyhands_api::bonsai::types::{Tenant, Uuid};
use manyhands_proto::JobId;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{Book, Result};

/// A Groth16 receipt that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnarkRow {
    pub(crate) id: Uuid,
    pub(crate) tenant: Tenant,
    /// The session or the uploaded receipt that it is made of.
    pub(crate) source: Uuid,
    pub(crate) is_upload: bool,
    /// Two with the same are the same.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) created_ms: i64,
    pub(crate) end: SnarkEnd,
}

/// How one ended, without the receipt itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SnarkEnd {
    /// It waits or is being made.
    Open,
    Made,
    Failed(String),
}

/// What makes format 4 of format 3.
pub(super) const STEP: &str = "
    CREATE TABLE snarks (
        id BLOB PRIMARY KEY, tenant TEXT NOT NULL, source BLOB NOT NULL, is_upload INTEGER NOT NULL, fingerprint BLOB NOT NULL,
        created_ms INTEGER NOT NULL, ended_ms INTEGER, receipt BLOB, error TEXT) STRICT;
    CREATE INDEX same_snarks ON snarks (tenant, fingerprint, created_ms);
    CREATE INDEX open_snarks ON snarks (ended_ms, created_ms);
";

/// What makes format 5 of format 4: how often one was begun.
pub(super) const BEGUN_STEP: &str = "ALTER TABLE snarks ADD COLUMN runs INTEGER NOT NULL DEFAULT 0";

/// Everything but the receipt, which may have a large journal.
const ROW: &str =
    "id, tenant, source, is_upload, fingerprint, created_ms, ended_ms, receipt IS NOT NULL AS is_made, error";

impl Book {
    pub(crate) fn add_snark(&self, row: &SnarkRow) -> Result<()> {
        self.lock().execute(
            "INSERT INTO snarks (id, tenant, source, is_upload, fingerprint, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                row.id.as_bytes(),
                row.tenant.0,
                row.source.as_bytes(),
                row.is_upload,
                row.fingerprint,
                row.created_ms
            ],
        )?;
        Ok(())
    }

    /// Strikes one out.
    pub(crate) fn remove_snark(&self, id: Uuid) -> Result<()> {
        self.lock().execute("DELETE FROM snarks WHERE id = ?1", [id.as_bytes()])?;
        Ok(())
    }

    /// One of a tenant's. Another's is not there.
    pub(crate) fn snark(&self, tenant: &Tenant, id: Uuid) -> Result<Option<SnarkRow>> {
        let db = self.lock();
        let mut query = db.prepare(&format!("SELECT {ROW} FROM snarks WHERE id = ?1 AND tenant = ?2"))?;
        query.query_row(params![id.as_bytes(), tenant.0], snark_row).optional()
    }

    /// The receipt of one that was made.
    pub(crate) fn snark_receipt(&self, tenant: &Tenant, id: Uuid) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT receipt FROM snarks WHERE id = ?1 AND tenant = ?2";
        let receipt = self.lock().query_row(sql, params![id.as_bytes(), tenant.0], |row| row.get(0)).optional()?;
        Ok(receipt.flatten())
    }

    /// The newest that is the same as one that is asked for, and has not failed.
    pub(crate) fn same_snark(&self, tenant: &Tenant, fingerprint: [u8; 32]) -> Result<Option<Uuid>> {
        let sql = "SELECT id FROM snarks WHERE tenant = ?1 AND fingerprint = ?2 AND error IS NULL ORDER BY created_ms DESC LIMIT 1";
        let id = |row: &Row<'_>| Ok(Uuid::from_bytes(row.get(0)?));
        self.lock().query_row(sql, params![tenant.0, fingerprint], id).optional()
    }

    /// How many of a tenant's have not ended.
    pub(crate) fn count_open_snarks(&self, tenant: &Tenant) -> Result<u32> {
        let sql = "SELECT COUNT(*) FROM snarks WHERE tenant = ?1 AND ended_ms IS NULL";
        self.lock().query_row(sql, [&tenant.0], |row| row.get(0))
    }

    /// All that have not ended, the oldest first: to be made again after a restart.
    pub(crate) fn open_snarks(&self) -> Result<Vec<SnarkRow>> {
        let db = self.lock();
        let mut query =
            db.prepare(&format!("SELECT {ROW} FROM snarks WHERE ended_ms IS NULL ORDER BY created_ms, id"))?;
        query.query_map([], snark_row)?.collect()
    }

    /// Those that have ended and were made of a session that proves, with its job.
    pub(crate) fn snarks_of_jobs(&self) -> Result<Vec<(Uuid, JobId)>> {
        let db = self.lock();
        let mut query = db.prepare(
            "SELECT snarks.id, sessions.job FROM snarks JOIN sessions ON sessions.id = snarks.source
             WHERE snarks.is_upload = 0 AND snarks.ended_ms IS NOT NULL AND sessions.job IS NOT NULL",
        )?;
        query.query_map([], |row| Ok((Uuid::from_bytes(row.get(0)?), JobId(row.get(1)?))))?.collect()
    }

    /// Removes those that ended before `before_ms` and were made of an upload that is not there any more. Tells how many.
    pub(crate) fn remove_snarks_of_none(&self, before_ms: i64) -> Result<usize> {
        self.lock().execute(
            "DELETE FROM snarks WHERE is_upload = 1 AND ended_ms < ?1 AND NOT EXISTS (
                SELECT 1 FROM uploads WHERE uploads.tenant = snarks.tenant AND uploads.kind = 'receipt' AND uploads.name = snarks.source)",
            [before_ms],
        )
    }

    /// Writes down that one is begun. Tells how often it was.
    pub(crate) fn begin_snark(&self, id: Uuid) -> Result<u32> {
        let sql = "UPDATE snarks SET runs = runs + 1 WHERE id = ?1 RETURNING runs";
        self.lock().query_row(sql, [id.as_bytes()], |row| row.get(0))
    }

    /// Writes down how one ended, if it has not yet: the receipt, or why there is none.
    pub(crate) fn end_snark(&self, id: Uuid, at_ms: i64, result: &std::result::Result<Vec<u8>, String>) -> Result<()> {
        self.lock().execute(
            "UPDATE snarks SET ended_ms = ?2, receipt = ?3, error = ?4 WHERE id = ?1 AND ended_ms IS NULL",
            params![id.as_bytes(), at_ms, result.as_ref().ok(), result.as_ref().err()],
        )?;
        Ok(())
    }
}

fn snark_row(row: &Row<'_>) -> Result<SnarkRow> {
    let has_ended = row.get::<_, Option<i64>>("ended_ms")?.is_some();
    let end = match (has_ended, row.get("is_made")?) {
        (false, _) => SnarkEnd::Open,
        (true, true) => SnarkEnd::Made,
        (true, false) => SnarkEnd::Failed(row.get::<_, Option<String>>("error")?.unwrap_or_default()),
    };
    Ok(SnarkRow {
        id: Uuid::from_bytes(row.get("id")?),
        tenant: Tenant(row.get("tenant")?),
        source: Uuid::from_bytes(row.get("source")?),
        is_upload: row.get("is_upload")?,
        fingerprint: row.get("fingerprint")?,
        created_ms: row.get("created_ms")?,
        end,
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::gateway::bonsai::book::{STEPS, UploadRow};

    fn row(tenant: &str, id: u8) -> SnarkRow {
        SnarkRow {
            id: Uuid::from_bytes([id; 16]),
            tenant: Tenant(tenant.to_owned()),
            source: Uuid::from_bytes([9; 16]),
            is_upload: true,
            fingerprint: [7; 32],
            created_ms: i64::from(id),
            end: SnarkEnd::Open,
        }
    }

    #[test]
    fn what_is_written_outlives_a_restart_and_is_its_tenants_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bonsai.db");
        let (a, b) = (Tenant("a".to_owned()), Tenant("b".to_owned()));
        let book = Book::open(&path).unwrap();
        for id in [2, 1, 3] {
            book.add_snark(&row("a", id)).unwrap();
        }
        let id = |id: u8| Uuid::from_bytes([id; 16]);
        book.end_snark(id(3), 5, &Err("it was too heavy".to_owned())).unwrap();
        drop(book);
        let book = Book::open(&path).unwrap();
        assert_eq!(book.open_snarks().unwrap(), [row("a", 1), row("a", 2)]);
        assert_eq!(book.same_snark(&a, [7; 32]).unwrap(), Some(id(2)), "one that failed is none to come back to");
        book.end_snark(id(2), 6, &Ok(b"receipt".to_vec())).unwrap();
        // What has ended stays as it ended.
        book.end_snark(id(2), 7, &Err("later".to_owned())).unwrap();
        let made = SnarkRow { end: SnarkEnd::Made, ..row("a", 2) };
        assert_eq!(book.snark(&a, id(2)).unwrap(), Some(made));
        let failed = SnarkRow { end: SnarkEnd::Failed("it was too heavy".to_owned()), ..row("a", 3) };
        assert_eq!(book.snark(&a, id(3)).unwrap(), Some(failed));
        assert_eq!(book.snark_receipt(&a, id(2)).unwrap(), Some(b"receipt".to_vec()));
        assert_eq!((book.snark_receipt(&a, id(1)).unwrap(), book.snark_receipt(&a, id(8)).unwrap()), (None, None));
        assert_eq!((book.count_open_snarks(&a).unwrap(), book.count_open_snarks(&b).unwrap()), (1, 0));
        assert_eq!((book.snark(&b, id(2)).unwrap(), book.snark_receipt(&b, id(2)).unwrap()), (None, None));
        assert_eq!(book.same_snark(&b, [7; 32]).unwrap(), None);
        book.remove_snark(id(2)).unwrap();
        assert_eq!(book.snark(&a, id(2)).unwrap(), None);
    }

    #[test]
    fn those_of_an_upload_go_when_it_is_gone_and_a_while_has_passed() {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(&dir.path().join("bonsai.db")).unwrap();
        let a = Tenant("a".to_owned());
        let name = *row("a", 1).source.as_bytes();
        // Of another's upload, of another kind, and of a session: none of them keeps or removes it.
        book.add_upload(&Tenant("b".to_owned()), &name, "receipt", &UploadRow { digest: [1; 32], bytes: 1 }).unwrap();
        book.add_upload(&a, &name, "input", &UploadRow { digest: [1; 32], bytes: 1 }).unwrap();
        book.add_upload(&a, &name, "receipt", &UploadRow { digest: [1; 32], bytes: 1 }).unwrap();
        for id in [1, 2, 3] {
            book.add_snark(&row("a", id)).unwrap();
        }
        book.add_snark(&SnarkRow { is_upload: false, ..row("a", 4) }).unwrap();
        let id = |id: u8| Uuid::from_bytes([id; 16]);
        book.end_snark(id(1), 5, &Ok(b"receipt".to_vec())).unwrap();
        book.end_snark(id(2), 7, &Err("it was too heavy".to_owned())).unwrap();
        book.end_snark(id(4), 5, &Ok(b"receipt".to_vec())).unwrap();
        assert_eq!(book.remove_snarks_of_none(i64::MAX).unwrap(), 0, "the upload is there");
        book.remove_upload(&a, &name, "receipt").unwrap();
        assert_eq!(book.remove_snarks_of_none(5).unwrap(), 0, "not yet");
        assert_eq!(book.remove_snarks_of_none(6).unwrap(), 1);
        assert_eq!((book.snark(&a, id(1)).unwrap(), book.snark(&a, id(2)).unwrap().is_some()), (None, true));
        assert_eq!(book.remove_snarks_of_none(i64::MAX).unwrap(), 1);
        let left = [3, 4].map(|number| book.snark(&a, id(number)).unwrap().is_some());
        assert_eq!(left, [true, true], "one that has not ended, and one of a session");
    }

    #[test]
    fn an_uploaded_receipt_stays_as_long_as_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::open(&dir.path().join("bonsai.db")).unwrap();
        let a = Tenant("a".to_owned());
        let name = *row("a", 1).source.as_bytes();
        book.add_upload(&a, &name, "receipt", &UploadRow { digest: [1; 32], bytes: 1 }).unwrap();
        book.add_snark(&row("a", 1)).unwrap();
        assert!(book.unused(i64::MAX).unwrap().is_empty());
        assert!(!book.remove_unused(&a, &name, "receipt", i64::MAX).unwrap());
        book.end_snark(row("a", 1).id, 5, &Ok(Vec::new())).unwrap();
        assert_eq!(book.unused(i64::MAX).unwrap().len(), 1);
        assert!(book.remove_unused(&a, &name, "receipt", i64::MAX).unwrap());
    }

    /// `bonsai.db` of the format before: no such table.
    #[test]
    fn a_database_of_format_3_is_brought_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bonsai.db");
        let db = Connection::open(&path).unwrap();
        STEPS[..3].iter().for_each(|step| db.execute_batch(step).unwrap());
        db.execute("INSERT INTO uploads VALUES ('a', ?1, 'receipt', ?2, 4, 5)", params![[1_u8; 16], [2_u8; 32]])
            .unwrap();
        db.pragma_update(None, "user_version", 3).unwrap();
        drop(db);
        for count in [0, 1] {
            let book = Book::open(&path).unwrap();
            assert_eq!((book.open_snarks().unwrap().len(), book.uploads().unwrap().len()), (count, 1));
            book.add_snark(&row("a", count as u8)).unwrap();
        }
    }

    /// Of the format before: nobody counted how often one was begun.
    #[test]
    fn a_database_of_format_4_is_brought_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bonsai.db");
        let db = Connection::open(&path).unwrap();
        STEPS[..4].iter().for_each(|step| db.execute_batch(step).unwrap());
        let old = params![[1_u8; 16], [9_u8; 16], [7_u8; 32]];
        db.execute("INSERT INTO snarks VALUES (?1, 'a', ?2, 1, ?3, 1, NULL, NULL, NULL)", old).unwrap();
        db.pragma_update(None, "user_version", 4).unwrap();
        drop(db);
        for begun in 1..=3 {
            let book = Book::open(&path).unwrap();
            assert_eq!(book.open_snarks().unwrap(), [row("a", 1)]);
            assert_eq!(book.begin_snark(row("a", 1).id).unwrap(), begun);
        }
    }
}
