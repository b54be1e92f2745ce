//! Writes the pictures of a comparison: one of all cases, two of each (steps III to V).

use std::path::{Path, PathBuf};

use manyhands_sim::report::summary::Case;
use manyhands_sim::report::{fleet, gantt, redundancy};

use super::seeds::Done;
use crate::failure::Failure;

/// A directory that can be written.
#[derive(Debug)]
pub struct Pictures {
    dir: PathBuf,
}

impl Pictures {
    /// Makes the directory and tries to write, so that a wrong place is found before the work.
    pub fn new(dir: &Path) -> Result<Self, Failure> {
        let unwritable = |error: std::io::Error| {
            Failure::usage(format!("cannot write pictures into {}: {error}", dir.display()))
                .hint("name another directory with --svg")
        };
        std::fs::create_dir_all(dir).map_err(unwritable)?;
        tempfile::tempfile_in(dir).map_err(unwritable)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Writes all pictures; their paths.
    pub fn write(&self, done: &[Done]) -> Result<Vec<String>, Failure> {
        let mut written = Vec::new();
        let cases: Vec<Case> = done.iter().map(|done| done.case.clone()).collect();
        written.push(self.file("redundancy", &redundancy::redundancy(&cases))?);
        for done in done {
            let Some(run) = &done.first else { continue };
            let label = file_name(&done.case.label);
            written.push(self.file(&format!("fleet-{label}"), &fleet::fleet(run))?);
            if let Some(svg) = gantt::gantt(run, gantt::typical_job(run)) {
                written.push(self.file(&format!("gantt-{label}"), &svg)?);
            }
        }
        Ok(written)
    }

    fn file(&self, name: &str, svg: &str) -> Result<String, Failure> {
        let path = self.dir.join(format!("{name}.svg"));
        std::fs::write(&path, svg)
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
        Ok(path.display().to_string())
    }
}

/// A label as a part of a file's name: letters, digits, points and dashes.
fn file_name(label: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    label.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_file_names() {
        assert_eq!(file_name("fixed-5-run-on w=0.2"), "fixed-5-run-on-w-0.2");
        assert_eq!(file_name("../x"), "..-x");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Pictures::new(&file.join("svg")).unwrap_err().message.contains("cannot write pictures"));
        Pictures::new(&dir.path().join("a/b")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("a/b")).unwrap().count(), 0);
    }
}
