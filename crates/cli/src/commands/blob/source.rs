//! What is hashed or stored: a file or standard input, read once, never held whole, with its progress shown.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use manyhands_blob::redundancy::Level;

use crate::failure::Failure;
use crate::screen::meter::Meter;
use crate::screen::text::printable;

/// Something to read.
pub struct Source {
    /// What it is called.
    pub name: String,
    reader: Box<dyn Read + Send>,
    meter: Meter,
}

impl Source {
    /// Opens a file, or standard input for `-`. `work` is the word for what is done with it.
    pub fn open(path: &Path, work: &str) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self { name: "-".to_owned(), reader: Box::new(io::stdin()), meter: Meter::new(work, None) });
        }
        let name = printable(&path.display().to_string()).replace('\n', "\\n");
        let unreadable = |error: io::Error| Failure::usage(format!("cannot read {name}: {error}"));
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("cannot read {name}: it is a directory"))
                .hint("name files; a directory has no reference of its own"));
        }
        let size_bytes = metadata.is_file().then_some(metadata.len());
        let meter = Meter::new(format!("{work} {name}"), size_bytes);
        Ok(Self { name, reader: Box::new(file), meter })
    }

    /// Bytes that were read.
    pub const fn done_bytes(&self) -> u64 {
        self.meter.done_bytes()
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.meter.add(count as u64);
        Ok(count)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A redundancy level by its number.
pub fn level(text: &str) -> Result<Level, String> {
    let wrong = || format!("a redundancy level is a number from 0 to 4, got {text:?}");
    text.parse().ok().and_then(Level::from_number).ok_or_else(wrong)
}

/// Fills a slice with bytes that nobody can guess: a generator for cryptography, seeded by the system.
pub fn randomness(slice: &mut [u8]) {
    rand::Rng::fill(&mut rand::rng(), slice);
}
