//! Uploads: files in one folder, written down in the book once they are there under their name.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::PathBuf;

use manyhands_api::bonsai::types::{Tenant, Upload};
use manyhands_api::types::{Problem, ProblemKind};
use manyhands_proto::limits::PROGRAM_BYTES_MAX;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::book::{UploadRow, unix_ms};
use super::{Desk, stopping};

/// How long an upload lies that nobody uses: a day, as long as a client may keep a number.
const UNUSED_MS: i64 = 24 * 3600 * 1000;

impl Desk {
    /// Keeps an upload. A program must be the one that its image id says.
    pub(super) async fn keep_upload(
        &self,
        tenant: &Tenant,
        upload: Upload,
        file: NamedTempFile,
        size_bytes: u64,
    ) -> Result<(), Problem> {
        let (name, whose) = (tenant.clone(), tenant.clone());
        let (limits, used_bytes) = (self.limits(tenant).await?, self.on_book(move |book| book.bytes_of(&name)).await?);
        if used_bytes.saturating_add(size_bytes) > limits.bytes_max {
            let message = format!(
                "your uploads would take {} MB, and your key may have {} MB: delete some, or wait a day for those that are not used",
                (used_bytes + size_bytes) / 1_000_000,
                limits.bytes_max / 1_000_000
            );
            return Err(Problem::new(ProblemKind::NoSpace, message));
        }
        let path = self.path(tenant, upload);
        let folder = self.folder.clone();
        let kept = tokio::task::spawn_blocking(move || {
            if let Upload::Image(wanted) = upload {
                let program = fs::read(file.path()).map_err(|error| failed(&error))?;
                let image = manyhands_zkvm::image_id(&program);
                let image = image.map_err(|error| Problem::invalid(format!("this is no program: {error}")))?;
                if image != wanted {
                    return Err(Problem::invalid(format!("this program has the image id {image}, not {wanted}")));
                }
            }
            let digest = digest_of(&file).map_err(|error| failed(&error))?;
            file.persist(&path).map_err(|error| failed(&error.error))?;
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))?;
            Ok(UploadRow { digest, bytes: size_bytes })
        });
        let row = kept.await.map_err(|_| stopping())??;
        self.on_book(move |book| book.add_upload(&whose, &name_of(upload), kind_of(upload), &row)).await
    }

    /// An upload that is here, which counts as used.
    pub(super) async fn find(&self, tenant: &Tenant, upload: Upload) -> Result<Option<UploadRow>, Problem> {
        let whose = tenant.clone();
        let row = self.on_book(move |book| book.upload(&whose, &name_of(upload), kind_of(upload))).await?;
        Ok(row.filter(|_| self.path(tenant, upload).exists()))
    }

    pub(super) async fn forget_upload(&self, tenant: &Tenant, upload: Upload) -> Result<(), Problem> {
        let whose = tenant.clone();
        let was_there = self.on_book(move |book| book.remove_upload(&whose, &name_of(upload), kind_of(upload))).await?;
        let _ = fs::remove_file(self.path(tenant, upload));
        if was_there { Ok(()) } else { Err(Problem::not_found("there is no such upload of yours here")) }
    }

    /// Reads a program or an input.
    pub(super) async fn read(&self, tenant: &Tenant, upload: Upload, bytes_max: u64) -> Result<Vec<u8>, Problem> {
        let path = self.path(tenant, upload);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        read.await.map_err(|_| stopping())?.map_err(|error| failed(&error))
    }

    pub(super) async fn read_program(
        &self,
        tenant: &Tenant,
        image: manyhands_proto::Digest,
    ) -> Result<Vec<u8>, Problem> {
        self.read(tenant, Upload::Image(image), PROGRAM_BYTES_MAX).await
    }

    /// Removes what nobody has used for a day, and files that the book does not know. Tells how many.
    pub(crate) async fn tidy_uploads(&self) -> Result<usize, Problem> {
        let unused = self.on_book(|book| book.unused(unix_ms() - UNUSED_MS)).await?;
        let count = unused.len();
        for (tenant, name, kind) in unused {
            let path = self.folder.join(file_name(&tenant, &kind, &name));
            self.on_book(move |book| book.remove_upload(&tenant, &name, &kind)).await?;
            let _ = fs::remove_file(path);
        }
        Ok(count)
    }

    fn path(&self, tenant: &Tenant, upload: Upload) -> PathBuf {
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

fn failed(error: &io::Error) -> Problem {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ProblemKind::NoSpace,
        _ => ProblemKind::Internal,
    };
    Problem::new(kind, format!("an upload could not be kept or read: {error}"))
}
