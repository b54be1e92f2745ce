//! What is in a tar: looked through from its first header to its last before anything of it is stored, and without reading what its files
//! contain. Its length is known, and nothing is allocated by a number that stands in it.

use std::io::{self, Read, Seek};

use manyhands_blob::manifest::PATH_BYTES_MAX;
use tar::{Archive, EntryType};

use super::upload::PutError;
use crate::look::{FILES_MAX, REFERENCES_MAX};

/// Largest record that says something of the entry after it, as a long name is.
const RECORD_BYTES_MAX: u64 = 64 << 10;
/// Bytes of all paths together: they are in memory until the folder is stored.
const PATHS_BYTES_MAX: usize = 32 << 20;
/// Bytes of path in front of one node of a manifest, at most.
const NODE_PATH_BYTES: usize = 30;

/// A file in the tar.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its path in the manifest.
    pub(super) path: String,
    /// Where its bytes begin.
    pub(super) at: u64,
    /// Its size in bytes.
    pub(super) size_bytes: u64,
}

/// What records say of the file after them.
#[derive(Debug, Default)]
struct Said {
    long_name: Option<Vec<u8>>,
    pax_path: Option<Vec<u8>>,
    pax_size: Option<Vec<u8>>,
}

/// The files of a tar of `tar_bytes`, in its order. Folders, links and devices are left out, as Bee does.
///
/// # Errors
/// [`PutError::Folder`] for whatever could not be stored as a folder.
pub(super) fn members(tar: &mut (impl Read + Seek), tar_bytes: u64) -> Result<Vec<Member>, PutError> {
    let mut archive = Archive::new(tar);
    let (mut members, mut said, mut paths_bytes) = (Vec::new(), Said::default(), 0);
    // Raw, as the library would read records of any length by itself.
    for entry in archive.entries_with_seek().map_err(not_a_tar)?.raw(true) {
        let mut entry = entry.map_err(not_a_tar)?;
        if entry.raw_file_position().saturating_add(entry.size()) > tar_bytes {
            return Err(PutError::folder("the tar is cut off"));
        }
        match entry.header().entry_type() {
            EntryType::GNULongName => said.long_name = Some(record(&mut entry)?),
            EntryType::XHeader => said.read(&record(&mut entry)?)?,
            EntryType::GNULongLink | EntryType::XGlobalHeader => check_record(&entry)?,
            EntryType::Regular | EntryType::Continuous => {
                let member = std::mem::take(&mut said).member(&entry)?;
                paths_bytes += member.path.len();
                members.push(member);
                if members.len() > FILES_MAX || paths_bytes > PATHS_BYTES_MAX {
                    return Err(too_many());
                }
            }
            EntryType::GNUSparse => return Err(no_sparse()),
            _ => said = Said::default(),
        }
    }
    if members.is_empty() {
        return Err(PutError::folder("no files in root directory"));
    }
    if references(&members) > REFERENCES_MAX {
        return Err(too_many());
    }
    Ok(members)
}

impl Said {
    /// Reads a pax record. What is malformed in it says nothing: values of other keys may be of any kind.
    fn read(&mut self, record: &[u8]) -> Result<(), PutError> {
        for pair in tar::PaxExtensions::new(record).flatten() {
            match pair.key_bytes() {
                b"path" => self.pax_path = Some(pair.value_bytes().to_owned()),
                b"size" => self.pax_size = Some(pair.value_bytes().to_owned()),
                key if key.starts_with(b"GNU.sparse.") => return Err(no_sparse()),
                _ => {}
            }
        }
        Ok(())
    }

    fn member(self, entry: &tar::Entry<'_, impl Read>) -> Result<Member, PutError> {
        let (at, size_bytes) = (entry.raw_file_position(), entry.size());
        // The records' size would move all that comes after it, and every reader of tars does otherwise about it.
        if self.pax_size.is_some_and(|size| size != size_bytes.to_string().as_bytes()) {
            return Err(PutError::folder(
                "a file's size is in a pax record and not in its header; files of 8 GiB and more are taken in GNU's format",
            ));
        }
        let said = self.long_name.or(self.pax_path);
        let path = said.as_deref().map_or_else(|| entry.header().path_bytes(), Into::into);
        Ok(Member { path: clean(path.strip_suffix(b"\0").unwrap_or(&path))?, at, size_bytes })
    }
}

/// Nodes and files that a manifest of them has, at most: for each the file, the node where its path parts from others and the one at
/// its end, which need not be full; and the full ones on all paths together. What paths share, as seen when they are sorted, counts once.
fn references(members: &[Member]) -> usize {
    let mut paths: Vec<&[u8]> = members.iter().map(|member| member.path.as_bytes()).collect();
    paths.sort_unstable();
    let mut last: &[u8] = &[];
    let mut path_bytes = 0;
    for path in paths {
        let shared = last.iter().zip(path).take_while(|(old, new)| old == new).count();
        path_bytes += path.len() - shared;
        last = path;
    }
    // The root, and the node of what is said of the whole folder.
    2 + 3 * members.len() + path_bytes / NODE_PATH_BYTES
}

fn record(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, PutError> {
    check_record(entry)?;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(not_a_tar)?;
    Ok(bytes)
}

fn check_record(entry: &tar::Entry<'_, impl Read>) -> Result<(), PutError> {
    if entry.size() > RECORD_BYTES_MAX {
        return Err(PutError::folder(format!(
            "the tar has a record of more than {RECORD_BYTES_MAX} bytes about a file"
        )));
    }
    Ok(())
}

/// A file's path without dots and doubled slashes, as Bee has it in the manifest.
fn clean(path: &[u8]) -> Result<String, PutError> {
    let text = std::str::from_utf8(path).map_err(|_| PutError::folder("a file's path is not UTF-8"))?;
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || text.starts_with('/') {
        return Err(PutError::folder(format!("a file's path leads out of the folder: {text:.200?}")));
    }
    if parts.is_empty() || text.len() > PATH_BYTES_MAX {
        return Err(PutError::folder(format!("a file's path has 1 to {PATH_BYTES_MAX} bytes")));
    }
    Ok(parts.join("/"))
}

fn not_a_tar(error: io::Error) -> PutError {
    PutError::folder(format!("the tar cannot be read: {error}"))
}

fn no_sparse() -> PutError {
    PutError::folder("the tar has a sparse file; make it without (GNU tar: leave out --sparse)")
}

fn too_many() -> PutError {
    PutError::folder(format!("the folder has more than {FILES_MAX} files, or paths that are too long for so many"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Cursor;

    use manyhands_blob::manifest::{self, Entry, Manifest, ManifestError, Metadata};
    use manyhands_blob::{AnyReference, reference_of};
    use manyhands_proto::Reference;
    use proptest::prelude::*;
    use tar::{Builder, Header};

    use super::*;

    fn look(tar: Vec<u8>) -> Result<Vec<Member>, String> {
        let tar_bytes = tar.len() as u64;
        members(&mut Cursor::new(tar), tar_bytes).map_err(|error| error.to_string())
    }

    fn append(tar: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, bytes: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    }

    fn tar_of(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (kind, path, bytes) in entries {
            append(&mut tar, *kind, path, bytes);
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn files_are_found_where_they_are() {
        let long = format!("{}/end", "x".repeat(300));
        let pax = format!("{} path={}\n", 300 + 10, "y".repeat(300));
        let tar = tar_of(&[
            (EntryType::Directory, "folder/", b""),
            (EntryType::Regular, "./folder//one", b"one"),
            (EntryType::GNULongName, "././@LongLink", format!("{long}\0").as_bytes()),
            (EntryType::Regular, "cut", b"two"),
            (EntryType::XGlobalHeader, "global", b"13 comment=x\n"),
            (EntryType::XHeader, "pax", format!("{pax}9 size=5\n").as_bytes()),
            (EntryType::Regular, "cut", b"three"),
            (EntryType::GNULongName, "././@LongLink", b"of the link"),
            (EntryType::Symlink, "link", b""),
            (EntryType::Regular, "last", b""),
        ]);
        let found = look(tar.clone()).unwrap();
        let read: Vec<(&str, &[u8])> = found
            .iter()
            .map(|member| (member.path.as_str(), &tar[member.at as usize..(member.at + member.size_bytes) as usize]))
            .collect();
        let y = "y".repeat(300);
        let expected: [(&str, &[u8]); 4] = [("folder/one", b"one"), (&long, b"two"), (&y, b"three"), ("last", b"")];
        assert_eq!(read, expected);
    }

    #[test]
    fn records_beyond_the_bound_are_refused_and_never_read() {
        let large = vec![b'x'; RECORD_BYTES_MAX as usize + 1];
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader] {
            let error = look(tar_of(&[(kind, "record", &large), (EntryType::Regular, "a", b"a")])).unwrap_err();
            assert!(error.contains("record of more than"), "{error}");
        }
    }

    #[test]
    fn what_readers_of_tars_do_not_agree_on_is_refused() {
        let file = (EntryType::Regular, "a", &b"a"[..]);
        for (record, word) in [("14 size=12345\n", "size"), ("22 GNU.sparse.major=1\n", "sparse")] {
            let error = look(tar_of(&[(EntryType::XHeader, "pax", record.as_bytes()), file])).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(look(tar_of(&[(EntryType::GNUSparse, "s", b"")])).unwrap_err().contains("sparse"));
        let mut cut = tar_of(&[file, (EntryType::Regular, "b", &[7; 9000])]);
        cut.truncate(5000);
        assert!(look(cut).unwrap_err().contains("cut off"));
        assert!(look(b"no tar".to_vec()).unwrap_err().contains("cannot be read"));
        assert!(look(tar_of(&[(EntryType::Directory, "d", b"")])).unwrap_err().contains("no files"));
    }

    #[test]
    fn more_files_than_can_be_pinned_are_refused() {
        let member = |path: String| Member { path, at: 0, size_bytes: 0 };
        let many: Vec<Member> = (0..FILES_MAX).map(|n| member(format!("folder/sub folder/picture {n}.png"))).collect();
        assert!(references(&many) <= REFERENCES_MAX);
        let long: Vec<Member> = (0..FILES_MAX).map(|n| member(format!("{n:099}"))).collect();
        assert!(references(&long) <= REFERENCES_MAX, "what they share counts once");
        let wild: Vec<Member> = (0..FILES_MAX).map(|n| member(format!("{n}{}", "x".repeat(100)))).collect();
        assert!(references(&wild) > REFERENCES_MAX);
    }

    proptest! {
        #[test]
        fn no_manifest_has_more_references_than_were_counted(
            paths in prop::collection::vec("[ab]{1,4}/?[ab]{0,70}[ab]", 1..40),
        ) {
            let mut manifest = Manifest::new(false);
            let mut members = Vec::new();
            for (n, path) in paths.into_iter().enumerate() {
                let file = AnyReference::Plain(Reference([n as u8; 32]));
                let entry = Entry { reference: Some(file), metadata: Metadata::default() };
                manifest.add(path.as_bytes(), entry).unwrap();
                members.push(Member { path, at: 0, size_bytes: 0 });
            }
            let mut nodes = BTreeMap::new();
            let mut save = |node: &[u8]| {
                let reference = AnyReference::Plain(reference_of(node));
                nodes.insert(reference.to_bytes(), node.to_vec());
                Ok::<_, ManifestError>(reference)
            };
            let root = manifest.store(&mut |_: &mut [u8]| {}, &mut save).unwrap();
            let mut load = |reference: AnyReference| Ok::<_, ManifestError>(nodes[&reference.to_bytes()].clone());
            let (nodes, files) = manifest::references(root, usize::MAX, &mut load).unwrap();
            prop_assert!(nodes.len() + files.len() <= references(&members));
        }
    }

    #[test]
    fn paths_are_cleaned_and_never_lead_out() {
        assert_eq!(clean(b"./img//1.png").unwrap(), "img/1.png");
        assert_eq!(clean(b"a/./b/").unwrap(), "a/b");
        for wrong in [&b"../x"[..], b"a/../../x", b"/etc/passwd", b"", b".", b"\xff"] {
            assert!(clean(wrong).is_err(), "{wrong:?}");
        }
    }
}
