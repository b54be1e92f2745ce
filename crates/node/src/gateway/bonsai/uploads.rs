//! Uploads: files in one folder, written down in the book once they are there under their name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use manyhands_api::bonsai::types::{Tenant, Upload};
use manyhands_api::types::{Problem, ProblemKind};
use manyhands_proto::limits::PROGRAM_BYTES_MAX;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::Desk;
use super::book::UploadRow;
use crate::gateway::door::of_store;
use crate::gateway::sqlite::unix_ms;

/// How long an upload lies that nobody uses: a day, as long as a client may keep a number.
pub(super) const UNUSED_MS: i64 = 24 * 3600 * 1000;

impl Desk {
    /// Bytes that a tenant may still upload, if the disk has room for those that come next.
    pub(super) async fn upload_room(&self, tenant: &Tenant, coming_bytes: u64) -> Result<u64, Problem> {
        self.require_disk(coming_bytes, "uploads").await?;
        let (limits, whose) = (self.limits(tenant).await?, tenant.clone());
        let used_bytes = self.on_book(move |book| book.bytes_of(&whose)).await?;
        Ok(limits.bytes_max.saturating_sub(used_bytes))
    }

    /// Refuses what would leave the disk less than its floor.
    pub(super) async fn require_disk(&self, coming_bytes: u64, what: &str) -> Result<(), Problem> {
        let looked = self.door.tasks.on_store(move |store| store.require_disk_beside(coming_bytes)).await;
        looked.map_err(|error| match of_store(&error) {
            Problem { kind: ProblemKind::NoSpace, message } => {
                Problem::new(ProblemKind::NoSpace, format!("this gateway has no room for {what}: {message}"))
            }
            problem => problem,
        })
    }

    /// Keeps an upload. A program must be the one that its image id says; what has an id of its own is never replaced by something else.
    pub(super) async fn keep_upload(
        &self,
        tenant: &Tenant,
        upload: Upload,
        file: NamedTempFile,
        bytes: u64,
    ) -> Result<(), Problem> {
        let looked = tokio::task::spawn_blocking(move || checked(upload, &file).map(|digest| (file, digest)));
        let (file, digest) = looked.await.map_err(|_| Problem::stopping())??;
        let _turn = self.turn(tenant).await;
        match self.find(tenant, upload).await? {
            Some(known) if known.digest == digest => return Ok(()),
            Some(_) => {
                return Err(Problem::invalid("this id has another upload: ask for an id of its own (GET .../upload)"));
            }
            None => {}
        }
        let room_bytes = self.upload_room(tenant, 0).await?;
        if bytes > room_bytes {
            let message = "other uploads of your key came first, and there is no room for this one: delete some, or wait a day for those that are not used";
            return Err(Problem::new(ProblemKind::NoSpace, message));
        }
        // First in the book, so that no file is there that it does not know of; without its file it is not there either.
        let (whose, row) = (tenant.clone(), UploadRow { digest, bytes });
        self.on_book(move |book| book.add_upload(&whose, &name_of(upload), kind_of(upload), &row)).await?;
        let (path, folder) = (self.path(tenant, upload), self.folder.clone());
        let moved = tokio::task::spawn_blocking(move || {
            file.persist(&path).map_err(|error| failed(&error.error))?;
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))
        });
        moved.await.map_err(|_| Problem::stopping())?
    }

    /// An upload that is here, which counts as used.
    pub(super) async fn find(&self, tenant: &Tenant, upload: Upload) -> Result<Option<UploadRow>, Problem> {
        let whose = tenant.clone();
        let row = self.on_book(move |book| book.upload(&whose, &name_of(upload), kind_of(upload))).await?;
        Ok(row.filter(|_| self.path(tenant, upload).exists()))
    }

    pub(super) async fn forget_upload(&self, tenant: &Tenant, upload: Upload) -> Result<(), Problem> {
        let _kept = self.door.archivist.keeping().read_owned().await;
        let _turn = self.turn(tenant).await;
        let whose = tenant.clone();
        let was_there = self.on_book(move |book| book.remove_upload(&whose, &name_of(upload), kind_of(upload))).await?;
        let _ = fs::remove_file(self.path(tenant, upload));
        if was_there { Ok(()) } else { Err(Problem::not_found("there is no such upload of yours here")) }
    }

    /// Reads a program or a receipt.
    pub(super) async fn read(&self, tenant: &Tenant, upload: Upload, bytes_max: u64) -> Result<Vec<u8>, Problem> {
        let path = self.path(tenant, upload);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        read.await.map_err(|_| Problem::stopping())?.map_err(|error| failed(&error))
    }

    pub(super) async fn read_program(
        &self,
        tenant: &Tenant,
        image: manyhands_proto::Digest,
    ) -> Result<Vec<u8>, Problem> {
        self.read(tenant, Upload::Image(image), PROGRAM_BYTES_MAX).await
    }

    /// Removes what nobody has used for a day, and files of that age that the book does not know. Tells how many.
    pub(crate) async fn tidy_uploads(&self) -> Result<usize, Problem> {
        let _kept = self.door.archivist.keeping().read_owned().await;
        let before_ms = unix_ms() - UNUSED_MS;
        let mut count = 0;
        for (tenant, name, kind) in self.on_book(move |book| book.unused(before_ms)).await? {
            let _turn = self.turn(&tenant).await;
            let path = self.folder.join(file_name(&tenant, &kind, &name));
            if self.on_book(move |book| book.remove_unused(&tenant, &name, &kind, before_ms)).await? {
                let _ = fs::remove_file(path);
                count += 1;
            }
        }
        let known = self.on_book(|book| book.uploads()).await?;
        let known: BTreeSet<String> = known.iter().map(|(tenant, name, kind)| file_name(tenant, kind, name)).collect();
        let folder = self.folder.clone();
        let strays = tokio::task::spawn_blocking(move || remove_strays(&folder, &known)).await;
        Ok(count + strays.map_err(|_| Problem::stopping())?.map_err(|error| failed(&error))?)
    }

    /// Opens an upload.
    pub(super) async fn open(&self, tenant: &Tenant, upload: Upload) -> Result<File, Problem> {
        let path = self.path(tenant, upload);
        let opened = tokio::task::spawn_blocking(move || File::open(path)).await;
        opened.map_err(|_| Problem::stopping())?.map_err(|error| failed(&error))
    }

    pub(super) fn path(&self, tenant: &Tenant, upload: Upload) -> PathBuf {
        self.folder.join(file_name(tenant, kind_of(upload), &name_of(upload)))
    }
}

/// A tenant's uploads have names that no other's have, whatever its own name is.
fn file_name(tenant: &Tenant, kind: &str, name: &[u8]) -> String {
    let hash = Sha256::digest(tenant.0.as_bytes());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{kind}-{}-{}", hex(hash.get(..8).unwrap_or_default()), hex(name))
}

fn name_of(upload: Upload) -> Vec<u8> {
    match upload {
        Upload::Image(image) => image.0.to_vec(),
        Upload::Input(id) | Upload::Receipt(id) => id.as_bytes().to_vec(),
    }
}

fn kind_of(upload: Upload) -> &'static str {
    match upload {
        Upload::Image(_) => "image",
        Upload::Input(_) => "input",
        Upload::Receipt(_) => "receipt",
    }
}

fn digest_of(file: &NamedTempFile) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    io::copy(&mut file.reopen()?, &mut hasher)?;
    Ok(hasher.finalize().into())
}

/// Removes files that are as old and not known: what a kill left on its way.
fn remove_strays(folder: &Path, known: &BTreeSet<String>) -> io::Result<usize> {
    let age = Duration::from_millis(UNUSED_MS.unsigned_abs());
    let mut count = 0;
    for file in fs::read_dir(folder)? {
        let file = file?;
        let is_known = file.file_name().to_str().is_some_and(|name| known.contains(name));
        let is_old = file.metadata()?.modified()?.elapsed().is_ok_and(|since| since > age);
        if !is_known && is_old {
            fs::remove_file(file.path())?;
            count += 1;
        }
    }
    Ok(count)
}

/// An upload's digest, if it is what it is said to be.
fn checked(upload: Upload, file: &NamedTempFile) -> Result<[u8; 32], Problem> {
    if let Upload::Image(wanted) = upload {
        let program = fs::read(file.path()).map_err(|error| failed(&error))?;
        let image = manyhands_zkvm::image_id(&program);
        let image = image.map_err(|error| Problem::invalid(format!("this is no program: {error}")))?;
        if image != wanted {
            return Err(Problem::invalid(format!("this program has the image id {image}, not {wanted}")));
        }
    }
    digest_of(file).map_err(|error| failed(&error))
}

fn failed(error: &io::Error) -> Problem {
    Problem::of_disk("an upload could not be kept or read", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::bonsai::snarks::tests::World;

    #[test]
    fn old_files_that_nobody_knows_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
        for (name, is_old) in [("input-known", true), (".tmpx", true), ("input-new", false)] {
            let file = File::create(dir.path().join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        let known = BTreeSet::from(["input-known".to_owned()]);
        assert_eq!(remove_strays(dir.path(), &known).unwrap(), 1);
        assert_eq!(remove_strays(dir.path(), &known).unwrap(), 0);
        assert!(!dir.path().join(".tmpx").exists() && dir.path().join("input-new").exists());
    }

    #[tokio::test]
    async fn nothing_is_forgotten_in_the_middle_of_its_tenants_other_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (world, [alice, _]) = World::open(dir.path()).await;
        let uploaded = alice.upload_input(b"input".to_vec()).await.unwrap();
        let (tenant, upload) = (Tenant("alice".to_owned()), Upload::Input(uploaded.parse().unwrap()));
        let turn = world.desk.turn(&tenant).await;
        let mut forgetting = std::pin::pin!(world.desk.forget_upload(&tenant, upload));
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut forgetting).await.is_err());
        assert!(world.desk.find(&tenant, upload).await.unwrap().is_some());
        drop(turn);
        forgetting.await.unwrap();
        assert!(world.desk.find(&tenant, upload).await.unwrap().is_none());
    }

    #[test]
    fn tenants_have_files_of_their_own() {
        let name = |tenant: &str| file_name(&Tenant(tenant.to_owned()), "input", &[1; 16]);
        assert_ne!(name("a"), name("b"));
        assert!(name("../../x").bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    }
}
