//! The node's key: made, kept in a file that only its owner reads, and never logged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use libp2p::identity::{Keypair, ed25519};
use manyhands_proto::NodeId;

/// The most that is read of a key file: 64 digits and a line end, with room to notice that there is more.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// An Ed25519 key pair. Its public half is the [`NodeId`].
#[derive(Clone)]
pub struct Identity {
    keypair: Keypair,
    node: NodeId,
}

/// Why a node has no key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file can be read or changed by other users.
    #[error(
        "the key file {} can be read by other users (mode {mode:04o}): whoever copies it can pass for this node; run `chmod 600 {}`, or move the file away to get a new key",
        .path.display(), .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no key.
    #[error("the key file {} does not hold a key of 64 hexadecimal digits; restore it from a copy, or move it away to get a new key", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// There is no directory to keep the file in.
    #[error("the key file {} cannot be made because its directory does not exist; create the directory first", .path.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("the key file {} cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("the key file {} cannot be written: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl Identity {
    /// A new random key, kept nowhere.
    pub fn generate() -> Self {
        Self::from_key(ed25519::Keypair::generate())
    }

    /// The key in the file at `path`, or a new one that is put there if there is no such file. The file holds the secret key as 64
    /// hexadecimal digits; its mode is 0600 from the first moment, and it appears whole or not at all.
    ///
    /// # Errors
    /// [`IdentityError`], also when other users may read an existing file.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match load(path) {
            Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => create(path),
            outcome => outcome,
        }
    }

    /// The public half.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// Signs bytes. Whoever asks must see to it that they cannot be taken for something else: by a tag at their beginning.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let signature = self.keypair.sign(bytes).ok();
        // An Ed25519 key signs anything, with 64 bytes; what is impossible verifies nowhere.
        signature.and_then(|signature| signature.try_into().ok()).unwrap_or([0; 64])
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.keypair
    }

    fn from_key(key: ed25519::Keypair) -> Self {
        Self { node: NodeId(key.public().to_bytes()), keypair: Keypair::from(key) }
    }
}

impl std::fmt::Debug for Identity {
    /// The public half only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("node", &self.node).finish_non_exhaustive()
    }
}

fn load(path: &Path) -> Result<Identity, IdentityError> {
    let read = |source| IdentityError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    let damaged = || IdentityError::Damaged { path: path.to_owned() };
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => damaged(),
        _ => read(source),
    })?;
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim_end(), &mut secret).map_err(|_| damaged())?;
    let secret = ed25519::SecretKey::try_from_bytes(&mut secret).map_err(|_| damaged())?;
    Ok(Identity::from_key(ed25519::Keypair::from(secret)))
}

fn create(path: &Path) -> Result<Identity, IdentityError> {
    let key = ed25519::Keypair::generate();
    let text = format!("{}\n", hex::encode(key.secret()));
    match write_new(path, &text) {
        Ok(()) => Ok(Identity::from_key(key)),
        // Another process was faster; its key counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(IdentityError::NoDirectory { path: path.to_owned() })
        }
        Err(source) => Err(IdentityError::Write { path: path.to_owned(), source }),
    }
}

/// Writes a file beside `path` and links it there, so that `path` is never seen half written and never overwritten.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(name);
    let written = write_draft(&draft, text).and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    written?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    // An abandoned draft of an earlier process may have had another mode.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
