//! The cached copy of the archive. A file is there whole or not at all.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Where the copy lies: `$XDG_CACHE_HOME/manyhands/recursion_zkr.zip`, or under `~/.cache`.
///
/// # Errors
/// When neither variable is set.
pub fn path() -> anyhow::Result<PathBuf> {
    path_for(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))
}

fn path_for(cache: Option<OsString>, home: Option<OsString>) -> anyhow::Result<PathBuf> {
    // The base directory specification says that a relative path is to be ignored.
    let cache = cache.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.filter(|home| !home.is_empty()).map(|home| PathBuf::from(home).join(".cache"));
    match cache.or(home) {
        Some(folder) => Ok(folder.join("manyhands").join("recursion_zkr.zip")),
        None => bail!("neither XDG_CACHE_HOME nor HOME is set"),
    }
}

/// Makes the folder that the copy will lie in.
///
/// # Errors
/// When the disk refuses.
pub fn make_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().context("the cache has no folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Writes the copy beside its place, and moves it there.
///
/// # Errors
/// When the disk refuses.
pub fn keep(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    make_folder(path)?;
    let folder = path.parent().context("the cache has no folder")?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn the_place_follows_the_environment() {
        let at = |cache: Option<&str>, home: Option<&str>| path_for(cache.map(Into::into), home.map(Into::into)).ok();
        assert_eq!(at(Some("/c"), Some("/h")), Some("/c/manyhands/recursion_zkr.zip".into()));
        assert_eq!(at(Some("relative"), Some("/h")), Some("/h/.cache/manyhands/recursion_zkr.zip".into()));
        assert_eq!(at(None, Some("/h")), Some("/h/.cache/manyhands/recursion_zkr.zip".into()));
        assert_eq!(at(Some(""), Some("")), None);
    }

    #[test]
    fn a_copy_replaces_another_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.zip");
        keep(&path, b"one").unwrap();
        keep(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }
}
