//! The archive from RISC Zero's own server, by the `curl` or `wget` of the machine.
//!
//! A program that is on nearly every machine, and honours its owner's proxy and certificates, is a better client here than a TLS
//! stack that everybody would compile before the first chore runs.

use std::process::Stdio;

use anyhow::{Context as _, bail};

use super::ARCHIVE_SHA256;

/// Seconds until a server that does not answer is given up: it is the normal case behind many firewalls.
const CONNECT_SECONDS: &str = "5";
/// Seconds for the whole download: 60 MB at 200 kB/s.
const DOWNLOAD_SECONDS: &str = "300";

/// Fetches the archive; the caller checks it.
///
/// # Errors
/// When there is neither program, or the server does not give the file.
pub fn fetch() -> anyhow::Result<Vec<u8>> {
    let url = format!("https://risc0-artifacts.s3.us-west-2.amazonaws.com/zkr/{ARCHIVE_SHA256}.zip");
    let folder = tempfile::tempdir().context("no place for temporary files")?;
    let path = folder.path().join("archive.zip");
    let file = path.to_string_lossy().into_owned();
    let curl = ["--fail", "--silent", "--show-error", "--location", "--proto", "=https", "--connect-timeout"];
    let curl = curl.into_iter().chain([CONNECT_SECONDS, "--max-time", DOWNLOAD_SECONDS, "--output", &file, &url]);
    let connect = format!("--connect-timeout={CONNECT_SECONDS}");
    let wget = ["--quiet", "--tries=1", "--https-only", &connect, "--read-timeout=30", "-O", &file, &url];
    match run("curl", curl.collect()) {
        Err(error) if is_missing(&error) => run("wget", wget.into()).context("there is no curl, and wget")?,
        other => other?,
    }
    std::fs::read(&path).context("the download left no file")
}

fn run(program: &str, words: Vec<&str>) -> anyhow::Result<()> {
    let output = crate::run::command(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{program}: {}", said.lines().next().unwrap_or("no answer"))
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_missing_program_is_told_from_one_that_fails() {
        assert!(is_missing(&run("no-such-program-here", vec![]).expect_err("missing")));
        assert!(!is_missing(&run("sh", vec!["-c", "exit 7"]).expect_err("fails")));
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let error = run("sh", vec!["-c", "echo could not resolve host >&2; exit 6"]).expect_err("fails");
        assert_eq!(error.to_string(), "sh: could not resolve host");
    }
}
