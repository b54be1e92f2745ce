//! Files that commands read and write: bounded when read, never half-written.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use manyhands_proto::Digest;
use manyhands_proto::limits::{INPUT_BYTES_MAX, PROGRAM_BYTES_MAX, RECEIPT_BYTES_MAX, STREAMED_INPUT_BYTES_MAX};
use manyhands_zkvm::AssumptionReceipt;
use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Largest receipt file that is read, in bytes: 4,000 segments of 250 kB.
const RECEIPT_FILE_BYTES_MAX: u64 = 1 << 30;

/// A program that was read and checked.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program binary.
    pub bytes: Vec<u8>,
    /// Its image id, computed here: a receipt is checked against this, whatever a gateway says.
    pub image_id: Digest,
    /// The file's name, without directories and ending.
    pub name: String,
}

impl Program {
    /// Reads a program binary; with `wrap` also a bare ELF file.
    pub fn read(path: &Path, wrap: bool) -> Result<Self, Failure> {
        let mut bytes = read(path, "program", PROGRAM_BYTES_MAX)?;
        if wrap && manyhands_zkvm::is_bare_elf(&bytes) {
            bytes = manyhands_zkvm::wrap_elf(&bytes)?;
        }
        let image_id = manyhands_zkvm::image_id(&bytes).map_err(|error| {
            let mut failure = Failure::from(error);
            failure.message = format!("{}: {}", path.display(), failure.message);
            failure
        })?;
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { bytes, image_id, name })
    }
}

/// A guest's input on its way to a gateway. A large one is never in memory as a whole.
#[derive(Debug)]
pub enum Source {
    /// None, or an empty one: they are the same.
    Nothing,
    /// A small one, whole.
    Bytes(Vec<u8>),
    /// A large one: what was read of it to see that it is large, what follows, and the size of all of it if it is known, in bytes.
    Stream(Vec<u8>, File, Option<u64>),
}

/// From here on an input is sent as it is read, in bytes.
const STREAMED_FROM_BYTES: u64 = 8 << 20;

/// A guest's input: a file, standard input, or nothing. What is known to be too large is refused at once.
pub fn source(path: Option<&Path>, from_stdin: bool) -> Result<Source, Failure> {
    let (path, file) = match path {
        Some(path) => (path, open(path, "input")?),
        None if from_stdin => {
            let path = Path::new("standard input");
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            (path, stdin.map(File::from).map_err(|error| unreadable(path, "input", &error))?)
        }
        None => return Ok(Source::Nothing),
    };
    of_file(file, path, STREAMED_FROM_BYTES)
}

fn of_file(mut file: File, path: &Path, streamed_from_bytes: u64) -> Result<Source, Failure> {
    let failed = |error: io::Error| unreadable(path, "input", &error);
    let found = file.metadata().map_err(failed)?;
    // Of a file that was read in part already, as standard input may be, the rest is the input.
    let size_bytes = match found.is_file() {
        true => Some(found.len().saturating_sub(file.stream_position().map_err(failed)?)),
        false => None,
    };
    if size_bytes.is_some_and(|size_bytes| size_bytes > STREAMED_INPUT_BYTES_MAX) {
        return Err(too_large(path, "input", STREAMED_INPUT_BYTES_MAX));
    }
    let mut first = Vec::new();
    (&mut file).take(streamed_from_bytes).read_to_end(&mut first).map_err(failed)?;
    match (first.len() as u64, size_bytes) {
        (0, _) => Ok(Source::Nothing),
        // It was read to its end, whatever it was said to have.
        (read_bytes, _) if read_bytes < streamed_from_bytes => Ok(Source::Bytes(first)),
        (read_bytes, Some(size_bytes)) if size_bytes < read_bytes => Err(larger_than_said(path, size_bytes)),
        _ => Ok(Source::Stream(first, file, size_bytes)),
    }
}

/// Only as many bytes as a file is said to have would be sent of it.
fn larger_than_said(path: &Path, size_bytes: u64) -> Failure {
    let said = crate::screen::text::bytes(size_bytes);
    Failure::usage(format!(
        "the input {} is said to have {said}, and more came: it grows while it is read, or its system makes it up as it is read",
        path.display()
    ))
    .hint("copy it to a file that does not change, and send that")
}

/// A guest's input as a whole, for what is run here: a file, standard input, or nothing.
pub fn input(path: Option<&Path>, from_stdin: bool) -> Result<Vec<u8>, Failure> {
    match path {
        Some(path) => read(path, "input", INPUT_BYTES_MAX),
        None if from_stdin => bounded(io::stdin().lock(), Path::new("standard input"), "input", INPUT_BYTES_MAX),
        None => Ok(Vec::new()),
    }
}

/// A receipt that a guest relies on.
#[derive(Debug)]
pub struct Assumption {
    /// The file, as it is: what a gateway is sent.
    pub bytes: Vec<u8>,
    /// The digest of the claim that it proves: what an executor is told.
    pub claim: Digest,
}

/// Receipts that a guest relies on, checked: that one is no use shows here, not after an upload.
pub fn assumptions(paths: &[PathBuf]) -> Result<Vec<Assumption>, Failure> {
    let assumption = |path: &PathBuf| {
        let bytes = receipt(path)?;
        // Its kind before its size: a composite one of many segments is large, and that is not what is wrong with it.
        let checked = AssumptionReceipt::read(&bytes)
            .map_err(|error| Failure::usage(format!("nothing can rely on {}: {error}", path.display())))?;
        // Of the file, since that is what a gateway is sent and bounds; what a prover is given of it is smaller.
        if bytes.len() as u64 > RECEIPT_BYTES_MAX {
            return Err(too_large(path, "receipt", RECEIPT_BYTES_MAX));
        }
        Ok(Assumption { bytes, claim: checked.claim() })
    };
    paths.iter().map(assumption).collect()
}

/// A receipt file.
pub fn receipt(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, "receipt", RECEIPT_FILE_BYTES_MAX)
}

/// Any file of at most `limit_bytes`; `what` names it in failures.
pub fn read(path: &Path, what: &str, limit_bytes: u64) -> Result<Vec<u8>, Failure> {
    bounded(open(path, what)?, path, what, limit_bytes)
}

/// Opens any file.
fn open(path: &Path, what: &str) -> Result<File, Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, what, &error))?;
    if file.metadata().map_err(|error| unreadable(path, what, &error))?.is_dir() {
        return Err(Failure::usage(format!("cannot read the {what} {}: it is a directory", path.display())));
    }
    Ok(file)
}

fn unreadable(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot read the {what} {}: {error}", path.display()))
}

fn bounded(source: impl Read, path: &Path, what: &str, limit_bytes: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = source.take(limit_bytes + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("cannot read the {what} from {}: {error}", path.display())))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(too_large(path, what, limit_bytes));
    }
    Ok(bytes)
}

fn too_large(path: &Path, what: &str, limit_bytes: u64) -> Failure {
    let limit = crate::screen::text::bytes(limit_bytes);
    Failure::usage(format!("the {what} {} is larger than {limit}, the most that is taken", path.display()))
}

/// A file to be: opened beside its final place before the work begins, so that a wrong path costs nothing, and put in its place whole.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    path: PathBuf,
}

impl Draft {
    /// Reserves `path`. What is there stays until [`Draft::finish`] or [`Draft::keep`].
    pub fn new(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            return Err(Failure::usage(format!("cannot write to {}: it is a directory", path.display()))
                .hint("name a file with -o"));
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".manyhands-").permissions(readable_by_all());
        let file = builder.tempfile_in(parent).map_err(|error| {
            Failure::usage(format!("cannot write to {}: {}", path.display(), error.kind()))
                .hint("name another file with -o")
        })?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Writes the file and puts it in its place, or leaves everything as it was.
    pub fn finish(mut self, bytes: &[u8]) -> Result<PathBuf, Failure> {
        self.file.write_all(bytes).map_err(|error| unwritable(&self.path, error))?;
        self.keep()
    }

    /// The file that is to be, for what is too large to be held whole. [`Draft::keep`] must follow.
    pub fn file(&self) -> Result<File, Failure> {
        self.file.as_file().try_clone().map_err(|error| unwritable(&self.path, error))
    }

    /// Puts what was written in its place, or leaves everything as it was.
    pub fn keep(self) -> Result<PathBuf, Failure> {
        self.file.as_file().sync_all().map_err(|error| unwritable(&self.path, error))?;
        self.file.persist(&self.path).map_err(|error| unwritable(&self.path, error.error))?;
        Ok(self.path)
    }
}

fn unwritable(path: &Path, error: io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}

/// What an ordinary new file has; the user's umask takes its part away.
fn readable_by_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_replaces_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.receipt");
        std::fs::write(&path, "old").unwrap();
        drop(Draft::new(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
        assert_eq!(Draft::new(&path).unwrap().finish(b"new").unwrap(), path);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let draft = Draft::new(&path).unwrap();
        draft.file().unwrap().write_all(b"piece by piece").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        draft.keep().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"piece by piece");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_wrong_place_is_found_before_the_work() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Draft::new(dir.path()).unwrap_err().message.contains("directory"));
        let nowhere = dir.path().join("no/such/file");
        assert!(Draft::new(&nowhere).unwrap_err().message.contains("no/such/file"));
    }

    /// What is sent is the file from where it was, whichever way.
    #[test]
    fn a_large_input_is_left_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in");
        for (bytes, skipped) in [(&b""[..], 0), (b"short", 0), (b"longer one", 0), (b"skipped part", 2), (b"xy", 2)] {
            std::fs::write(&path, bytes).unwrap();
            let mut file = File::open(&path).unwrap();
            file.seek(io::SeekFrom::Start(skipped)).unwrap();
            let due = &bytes[skipped as usize..];
            match of_file(file, &path, 6).unwrap() {
                Source::Nothing => assert!(due.is_empty()),
                Source::Bytes(read) => assert!(read == due && due.len() < 6),
                Source::Stream(mut first, mut rest, size) => {
                    assert_eq!((size, first.len()), (Some(due.len() as u64), 6));
                    rest.read_to_end(&mut first).unwrap();
                    assert_eq!(first, due);
                }
            }
        }
        let huge = File::options().write(true).open(&path).unwrap();
        huge.set_len(STREAMED_INPUT_BYTES_MAX + 1).unwrap();
        let refused = source(Some(&path), false).unwrap_err();
        assert!(refused.message.contains("larger than"), "{}", refused.message);
        huge.set_len(STREAMED_INPUT_BYTES_MAX).unwrap();
        assert!(matches!(source(Some(&path), false).unwrap(), Source::Stream(_, _, Some(STREAMED_INPUT_BYTES_MAX))));
    }

    /// What the kernel makes up says that it has nothing.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_large_input_that_has_more_than_it_is_said_to_have_is_not_cut_off() {
        let path = Path::new("/proc/self/status");
        let refused = of_file(File::open(path).unwrap(), path, 6).unwrap_err();
        assert!(
            refused.message.contains("/proc/self/status is said to have 0 B, and more came"),
            "{}",
            refused.message
        );
        let whole = of_file(File::open(path).unwrap(), path, 1 << 20).unwrap();
        assert!(matches!(whole, Source::Bytes(bytes) if bytes.len() > 100));
    }

    #[test]
    fn a_file_beyond_its_bound_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, [0; 11]).unwrap();
        assert_eq!(read(&path, "input", 11).unwrap().len(), 11);
        assert!(read(&path, "input", 10).unwrap_err().message.contains("larger than"));
        assert!(read(dir.path(), "input", 10).unwrap_err().message.contains("directory"));
        assert!(read(&dir.path().join("g"), "input", 10).unwrap_err().message.contains("cannot read the input"));
    }
}
