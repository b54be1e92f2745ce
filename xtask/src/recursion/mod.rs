//! RISC Zero's recursion programs: where they are found, and what a build is told about them.
//!
//! The prover's build embeds an archive of them, and fails where it cannot fetch it. So the chores look for it first, in the order
//! of [`find`], and give the build a file, or the wish to do without. Whatever the source, only the archive with upstream's own
//! pinned hash is accepted, so no source needs to be trusted.

mod cache;
mod carve;
mod leftovers;
mod server;
mod wheel;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

/// Length of the archive of risc0-circuit-recursion 4.0.5.
const ARCHIVE_BYTES: u64 = 59_768_781;
/// Its SHA-256, as that crate's build script pins it.
const ARCHIVE_SHA256: &str = "744b999f0a35b3c86753311c7efb2a0054be21727095cf105af6ee7d3f4d8849";
/// Where that build script looks for a local copy.
const SOURCE_ENV: &str = "RECURSION_SRC_PATH";
/// Makes that build script embed an empty archive.
const WITHOUT_ENV: &str = "DOCS_RS";

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The archive.
    Archive {
        /// Where it lies.
        path: PathBuf,
        /// Where it came from, for people.
        from: &'static str,
    },
    /// None; each place that was tried, and why it gave nothing.
    Nothing {
        /// One sentence per place.
        tried: Vec<String>,
    },
}

/// Looks for the archive: the environment's own setting, the cache, RISC Zero's server, a wheel that carries it.
///
/// # Errors
/// When the environment names a file that is not the archive: going on without it would surprise whoever set it.
pub fn find() -> anyhow::Result<Found> {
    if let Some(path) = std::env::var_os(SOURCE_ENV).map(PathBuf::from) {
        if !is_archive(&path) {
            bail!(
                "{SOURCE_ENV} names {}, which is not RISC Zero's archive of recursion programs ({ARCHIVE_BYTES} bytes, \
                 SHA-256 {ARCHIVE_SHA256}); unset it to have one looked for",
                path.display()
            );
        }
        return Ok(Found::Archive { path, from: SOURCE_ENV });
    }
    let path = match cache::path() {
        Ok(path) => path,
        Err(error) => return Ok(Found::Nothing { tried: vec![format!("cache: {error:#}")] }),
    };
    if is_archive(&path) {
        return Ok(Found::Archive { path, from: "the cache" });
    }
    let sources: [Source; 2] = [("RISC Zero's server", server::fetch), ("the wickra-zk wheel", wheel::fetch)];
    Ok(fetch_into(&path, &sources))
}

/// A name for people, and a function that gives the archive's bytes.
type Source = (&'static str, fn() -> anyhow::Result<Vec<u8>>);

fn fetch_into(path: &Path, sources: &[Source]) -> Found {
    if let Err(error) = cache::make_folder(path) {
        // Nothing is fetched that could not be kept.
        return Found::Nothing { tried: vec![format!("cache: {error:#}")] };
    }
    let mut tried = Vec::new();
    for &(from, fetch) in sources {
        println!("looking for the recursion programs: {from}");
        let kept = fetch().and_then(|bytes| {
            check(&bytes)?;
            cache::keep(path, &bytes)
        });
        match kept {
            Ok(()) => return Found::Archive { path: path.to_owned(), from },
            Err(error) => tried.push(format!("{from}: {error:#}")),
        }
    }
    Found::Nothing { tried }
}

impl Found {
    /// The settings that a build of the prover needs.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        match self {
            Self::Archive { path, .. } => vec![(SOURCE_ENV, path.clone().into_os_string())],
            Self::Nothing { .. } => vec![(WITHOUT_ENV, "1".into())],
        }
    }

    /// Removes what an earlier, failed build left behind and what would make this one fail.
    ///
    /// # Errors
    /// When such a leftover cannot be removed.
    pub fn prepare(&self, target_directory: &Path) -> anyhow::Result<()> {
        match self {
            Self::Archive { .. } => Ok(()),
            Self::Nothing { .. } => leftovers::remove(target_directory),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive { path, from } => write!(f, "recursion programs: {} (from {from})", path.display()),
            Self::Nothing { tried } => {
                writeln!(
                    f,
                    "recursion programs: NONE FOUND, so receipts will be composite only: no lift, join or resolve."
                )?;
                for sentence in tried {
                    writeln!(f, "  {sentence}")?;
                }
                write!(f, "  With a copy on a disk, set {SOURCE_ENV} to its path.")
            }
        }
    }
}

/// `cargo xtask recursion`: finds them, and prints the setting that a plain `cargo build` needs.
///
/// # Errors
/// When there are none.
pub fn report() -> anyhow::Result<()> {
    let found = find()?;
    println!("{found}");
    match found {
        Found::Archive { path, .. } => {
            println!("for a plain cargo build: export {SOURCE_ENV}={}", path.display());
            Ok(())
        }
        Found::Nothing { .. } => bail!("builds will work, with {WITHOUT_ENV}=1, and make composite receipts only"),
    }
}

/// Whether this file is the archive. Its length is looked at first, so other files cost nothing.
fn is_archive(path: &Path) -> bool {
    let has_length = std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() == ARCHIVE_BYTES);
    has_length && std::fs::read(path).is_ok_and(|bytes| check(&bytes).is_ok())
}

/// Accepts the archive's bytes and nothing else.
fn check(bytes: &[u8]) -> anyhow::Result<()> {
    let length = u64::try_from(bytes.len()).context("too long")?;
    if length != ARCHIVE_BYTES {
        bail!("gave {length} bytes, expected {ARCHIVE_BYTES}");
    }
    let got = hex::encode(Sha256::digest(bytes));
    if got != ARCHIVE_SHA256 {
        bail!("gave bytes with SHA-256 {got}, expected {ARCHIVE_SHA256}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn nothing_with_another_hash_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/recursion_zkr.zip");
        let sources: [Source; 3] = [
            ("a silent one", || bail!("no answer")),
            ("a short one", || Ok(vec![1, 2, 3])),
            ("a forger", || Ok(vec![0; usize::try_from(ARCHIVE_BYTES).unwrap()])),
        ];
        let found = fetch_into(&path, &sources);
        assert!(!path.exists());
        let text = found.to_string();
        assert!(text.contains("composite only"), "{text}");
        assert!(text.contains("a silent one: no answer"), "{text}");
        assert!(text.contains("a short one: gave 3 bytes"), "{text}");
        assert!(text.contains("a forger: gave bytes with SHA-256"), "{text}");
        assert_eq!(found.environment(), [(WITHOUT_ENV, OsString::from("1"))]);
    }

    #[test]
    fn a_file_of_the_right_length_only_is_not_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recursion_zkr.zip");
        assert!(!is_archive(&path));
        std::fs::File::create(&path).unwrap().set_len(ARCHIVE_BYTES).unwrap();
        assert!(!is_archive(&path));
        assert!(!is_archive(folder.path()));
    }
}
