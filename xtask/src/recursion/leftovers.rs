//! The trap of a failed download: the build script of `risc0-circuit-recursion` leaves an empty `recursion_zkr.zip` behind, and
//! then tries to download again even where it was told to do without.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;

/// Removes the empty archive of every build that failed. One that a finished build embeds stays, as that build names it.
///
/// # Errors
/// When a file cannot be removed.
pub fn remove(target_directory: &Path) -> anyhow::Result<()> {
    for path in empty_archives(target_directory) {
        println!("removing {}, left by a failed download", path.display());
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// `<target>/<profile>/build/risc0-circuit-recursion-<hash>/out/recursion_zkr.zip`, where empty and of a failed build.
fn empty_archives(target_directory: &Path) -> Vec<PathBuf> {
    let builds = folders(target_directory).into_iter().flat_map(|profile| folders(&profile.join("build")));
    let ours = builds.filter(|folder| {
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("risc0-circuit-recursion-"))
    });
    ours.filter(|folder| has_failed(folder))
        .map(|folder| folder.join("out").join("recursion_zkr.zip"))
        .filter(|path| path.metadata().is_ok_and(|about| about.len() == 0))
        .collect()
}

/// Cargo notes when it starts a build script, and gives its output that same time once it has succeeded.
fn has_failed(build: &Path) -> bool {
    let time = |name: &str| -> Option<SystemTime> { build.join(name).metadata().ok()?.modified().ok() };
    match (time("invoked.timestamp"), time("output")) {
        (Some(started), Some(finished)) => finished < started,
        _ => true,
    }
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use std::fs;
    use std::time::Duration;

    use super::*;

    /// A build's folder with an archive of this length; `finished_s` seconds from its start its output was written.
    fn build(target: &Path, hash: &str, archive: &[u8], finished_s: Option<i64>) -> PathBuf {
        let folder = target.join("release/build").join(format!("risc0-circuit-recursion-{hash}"));
        fs::create_dir_all(folder.join("out")).unwrap();
        fs::write(folder.join("out/recursion_zkr.zip"), archive).unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        fs::File::create(folder.join("invoked.timestamp")).unwrap().set_modified(start).unwrap();
        if let Some(seconds) = finished_s {
            let time = start.checked_add_signed(seconds);
            fs::File::create(folder.join("output")).unwrap().set_modified(time).unwrap();
        }
        folder.join("out/recursion_zkr.zip")
    }

    trait AddSigned {
        fn checked_add_signed(self, seconds: i64) -> SystemTime;
    }

    impl AddSigned for SystemTime {
        fn checked_add_signed(self, seconds: i64) -> SystemTime {
            let distance = Duration::from_secs(seconds.unsigned_abs());
            if seconds < 0 { self - distance } else { self + distance }
        }
    }

    #[test]
    fn only_what_failed_downloads_left_is_removed() {
        let target = tempfile::tempdir().unwrap();
        let failed = build(target.path(), "1", b"", None);
        let failed_again = build(target.path(), "2", b"", Some(-5));
        let finished_without = build(target.path(), "3", b"", Some(0));
        let finished_with = build(target.path(), "4", b"PK", Some(0));
        let partial = build(target.path(), "5", b"PK", None);
        remove(target.path()).unwrap();
        assert!(!failed.exists() && !failed_again.exists());
        assert!(finished_without.exists() && finished_with.exists() && partial.exists());
    }

    #[test]
    fn a_target_directory_that_is_not_there_holds_nothing() {
        remove(Path::new("no/such/folder")).unwrap();
    }
}
