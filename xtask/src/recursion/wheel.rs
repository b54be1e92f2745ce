//! The archive out of a Python wheel whose native library carries it byte for byte.
//!
//! `wickra-zk` (MIT OR Apache-2.0) embeds RISC Zero's prover and with it the archive (Apache-2.0). Python's own client fetches the wheel, so
//! a machine that reaches no more than a package registry can build everything. Nothing of the wheel is installed or run.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};

use super::{ARCHIVE_BYTES, carve, check};

/// The wheel: version 0.2.0 was looked into.
const WHEEL: &str = "wickra-zk==0.2.0";
/// Largest library that is unpacked; the real one has 95,328,616 bytes.
const LIBRARY_BYTES_MAX: u64 = 256 << 20;
/// Ways to start Python's package client, best first.
const CLIENTS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];

/// Fetches the wheel and cuts the archive out.
///
/// # Errors
/// When there is no client, the wheel cannot be had, or the archive is not inside.
pub fn fetch() -> anyhow::Result<Vec<u8>> {
    let client = CLIENTS.into_iter().find(|client| works(client));
    let Some(client) = client else { bail!("needs Python's pip, which is not installed") };
    let folder = tempfile::tempdir().context("no place for temporary files")?;
    download(client, folder.path())?;
    let wheel = wheel_in(folder.path())?;
    archive_in(std::fs::File::open(wheel).context("cannot read the wheel")?)
}

fn works(client: &[&str]) -> bool {
    let Some((program, words)) = client.split_first() else { return false };
    let mut command = crate::run::command(program);
    command.args(words).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Asks for the Linux wheel whatever machine and Python this is: the archive inside is the same.
fn download(client: &[&str], folder: &Path) -> anyhow::Result<()> {
    let Some((program, words)) = client.split_first() else { bail!("no client") };
    let output = crate::run::command(program)
        .args(words)
        .args(["download", "--no-deps", "--only-binary=:all:", "--platform", "manylinux_2_28_x86_64"])
        .args(["--implementation", "cp", "--python-version", "3.11", "--abi", "abi3"])
        .args(["--no-input", "--disable-pip-version-check", "--quiet", "--timeout", "30", "--retries", "1", "--dest"])
        .arg(folder)
        .arg(WHEEL)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("pip download {WHEEL}: {}", said.lines().last().unwrap_or("failed").trim())
}

fn wheel_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder).context("the download's folder is gone")?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.extension().is_some_and(|ending| ending == "whl")).context("the download left no wheel")
}

/// Looks into every native library of the wheel.
fn archive_in(wheel: impl std::io::Read + std::io::Seek) -> anyhow::Result<Vec<u8>> {
    let mut wheel = zip::ZipArchive::new(wheel).context("the wheel is not a ZIP file")?;
    let length_bytes = usize::try_from(ARCHIVE_BYTES).context("this machine's addresses are too short")?;
    let libraries: Vec<String> = wheel
        .file_names()
        .filter_map(|name| name.ok().map(std::borrow::Cow::into_owned))
        .filter(|name| is_library(name))
        .collect();
    for name in &libraries {
        let entry = wheel.by_name(name).with_context(|| format!("cannot unpack {name}"))?;
        let mut library = Vec::new();
        entry.take(LIBRARY_BYTES_MAX).read_to_end(&mut library).with_context(|| format!("cannot unpack {name}"))?;
        if let Some(archive) = carve::candidates(&library, length_bytes).find(|bytes| check(bytes).is_ok()) {
            return Ok(archive.to_vec());
        }
    }
    bail!("none of its {} native libraries holds the archive", libraries.len())
}

fn is_library(name: &str) -> bool {
    [".so", ".dylib", ".pyd", ".dll"].iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use std::io::{Cursor, Write as _};

    use super::*;

    fn wheel(files: &[(&str, &[u8])]) -> Cursor<Vec<u8>> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        Cursor::new(writer.finish().unwrap().into_inner())
    }

    #[test]
    fn a_wheel_without_the_archive_is_refused_in_words() {
        let error =
            archive_in(wheel(&[("a/b.so", b"PK\x05\x06"), ("a/__init__.py", b"PK\x05\x06")])).expect_err("none");
        assert_eq!(error.to_string(), "none of its 1 native libraries holds the archive");
        assert!(archive_in(Cursor::new(b"not a wheel".to_vec())).is_err());
        assert!(archive_in(Cursor::new(Vec::new())).is_err());
    }

    #[test]
    fn damaged_wheels_never_panic() {
        let whole =
            wheel(&[("a/b.so", b"some machine code that is long enough to be compressed, compressed")]).into_inner();
        for length in 0..whole.len() {
            assert!(archive_in(Cursor::new(whole[..length].to_vec())).is_err());
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            assert!(archive_in(Cursor::new(damaged)).is_err());
        }
    }

    #[test]
    fn a_client_that_is_not_there_does_not_work() {
        assert!(!works(&["no-such-program-here"]));
        assert!(!works(&[]));
    }
}
