//! What a failed back-up says: whether it is the gateway's own data that could not be read, or the copy that could not be written, and what to do.

use std::io::{self, ErrorKind};
use std::path::Path;

use manyhands_api::types::{Problem, ProblemKind};

/// The copy at `path` could not be written.
pub(super) fn of_copy(path: &Path, error: &io::Error) -> Problem {
    let (kind, to_do) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
            ProblemKind::NoSpace,
            "free some space there, keep fewer back-ups (gateway.backups_max), or name a folder on another disk",
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            (ProblemKind::Internal, "make it writable for the gateway's user, or name another folder")
        }
        _ => (ProblemKind::Internal, "look after that disk, or name another folder"),
    };
    let path = path.display();
    Problem::new(kind, format!("the back-up cannot be written to {path}: {error}; {to_do} (gateway.backup_folder)"))
}

/// What is to be copied could not be read.
pub(super) fn of_source(path: &Path, error: &io::Error) -> Problem {
    let path = path.display();
    let message =
        format!("there is no back-up, as the gateway's own {path} cannot be read: {error}; look after its disk");
    Problem::internal(message)
}

/// What is to be copied could not be held, which takes a little room beside it.
pub(super) fn of_holding(path: &Path, error: &io::Error) -> Problem {
    let path = path.display();
    Problem::of_disk(&format!("there is no back-up, as the gateway's own {path} cannot be written"), error)
}

/// The folder of the back-ups could not be read.
pub(super) fn of_list(folder: &Path, error: &io::Error) -> Problem {
    let folder = folder.display();
    let message = format!(
        "the back-ups in {folder} cannot be listed: {error}; make it readable for the gateway's user (gateway.backup_folder)"
    );
    Problem::internal(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_is_and_what_to_do_is_said() {
        let path = Path::new("/mnt/usb/x.part");
        for (kind, problem, words) in [
            (ErrorKind::StorageFull, ProblemKind::NoSpace, "free some space there"),
            (ErrorKind::QuotaExceeded, ProblemKind::NoSpace, "free some space there"),
            (ErrorKind::ReadOnlyFilesystem, ProblemKind::Internal, "make it writable"),
            (ErrorKind::PermissionDenied, ProblemKind::Internal, "make it writable"),
            (ErrorKind::Other, ProblemKind::Internal, "look after that disk"),
        ] {
            let told = of_copy(path, &kind.into());
            assert_eq!(told.kind, problem, "{told}");
            assert!(told.message.contains(words) && told.message.contains("/mnt/usb/x.part"), "{told}");
            assert!(
                told.message.contains("gateway.backup_folder") && !told.message.contains("gateway's own"),
                "{told}"
            );
        }
        let told = of_source(Path::new("/d/jobs.db"), &ErrorKind::PermissionDenied.into());
        assert!(
            told.message.contains("the gateway's own /d/jobs.db") && !told.message.contains("backup_folder"),
            "{told}"
        );
        let told = of_holding(Path::new("/d/scratch"), &ErrorKind::StorageFull.into());
        assert!(told.kind == ProblemKind::NoSpace && told.message.contains("own /d/scratch"), "{told}");
    }
}
