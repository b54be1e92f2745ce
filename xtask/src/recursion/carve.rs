//! Cuts a ZIP archive out of a larger file that holds it byte for byte, such as a native library. Total: any bytes may come.
//!
//! An archive ends with an end record that states the directory's length and offset, so its start can be computed. Where a local
//! file header lies at that start, the bytes between are a candidate; the caller decides by the hash.

/// Marks a local file header, the first bytes of an archive.
const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
/// Marks an entry of the directory.
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";
/// Marks the end record.
const END_RECORD: &[u8] = b"PK\x05\x06";
/// Length of an end record without its comment.
const END_RECORD_BYTES: usize = 22;
/// Candidates that are handed out at most, so that a hostile file cannot make a caller hash for hours.
const CANDIDATES_MAX: usize = 64;

/// All archives of exactly `length_bytes` inside `bytes`, first to last, at most 64.
pub fn candidates(bytes: &[u8], length_bytes: usize) -> impl Iterator<Item = &[u8]> {
    let ends = (0..bytes.len()).filter(move |at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(END_RECORD)));
    ends.filter_map(move |at| archive_ending_at(bytes, at))
        .filter(move |archive| archive.len() == length_bytes)
        .take(CANDIDATES_MAX)
}

/// The archive whose end record is at `at`, if its fields lead to a local header and a directory.
fn archive_ending_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let record = bytes.get(at..at.checked_add(END_RECORD_BYTES)?)?;
    let directory_bytes = usize::try_from(u32::from_le_bytes(field(record, 12)?)).ok()?;
    let directory_offset = usize::try_from(u32::from_le_bytes(field(record, 16)?)).ok()?;
    let comment_bytes = usize::from(u16::from_le_bytes(field(record, 20)?));
    let directory_at = at.checked_sub(directory_bytes)?;
    let start = directory_at.checked_sub(directory_offset)?;
    let end = at.checked_add(END_RECORD_BYTES)?.checked_add(comment_bytes)?;
    let starts_well = bytes.get(start..)?.starts_with(LOCAL_HEADER);
    let has_directory = bytes.get(directory_at..at)?.starts_with(DIRECTORY_ENTRY);
    if starts_well && has_directory { bytes.get(start..end) } else { None }
}

fn field<const N: usize>(record: &[u8], at: usize) -> Option<[u8; N]> {
    record.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use std::io::Write as _;

    use super::*;

    fn archive(text: &[u8], comment: &str) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.start_file("a.zkr", zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(text).unwrap();
        writer.set_comment(comment).unwrap();
        writer.finish().unwrap().into_inner()
    }

    fn end_record(directory_bytes: u32, directory_offset: u32, comment_bytes: u16) -> Vec<u8> {
        let mut record = END_RECORD.to_vec();
        record.extend([0; 8]);
        record.extend(directory_bytes.to_le_bytes());
        record.extend(directory_offset.to_le_bytes());
        record.extend(comment_bytes.to_le_bytes());
        record
    }

    #[test]
    fn an_archive_is_cut_out_of_its_surroundings() {
        for comment in ["", "with a comment"] {
            let inside = archive(b"some recursion program", comment);
            let library = [b"\x7fELF PK\x05\x06 rubbish".as_slice(), &inside, b"PK\x03\x04 more code"].concat();
            assert_eq!(candidates(&library, inside.len()).collect::<Vec<_>>(), [inside.as_slice()]);
            assert_eq!(candidates(&library, inside.len() - 1).count(), 0);
        }
    }

    #[test]
    fn of_two_archives_each_is_found() {
        let (one, two) = (archive(b"one", ""), archive(b"two", ""));
        let both = [one.as_slice(), b"-", &two].concat();
        assert_eq!(candidates(&both, one.len()).collect::<Vec<_>>(), [one.as_slice(), &two]);
    }

    #[test]
    fn absurd_records_give_nothing() {
        for (directory_bytes, directory_offset, comment_bytes) in
            [(u32::MAX, u32::MAX, u16::MAX), (0, 0, 0), (1, u32::MAX, 0), (4, 4, u16::MAX), (u32::MAX, 0, 0)]
        {
            let record = end_record(directory_bytes, directory_offset, comment_bytes);
            let file = [LOCAL_HEADER, DIRECTORY_ENTRY, &record].concat();
            for length in 0..file.len() + 1 {
                assert_eq!(
                    candidates(&file, length).count(),
                    0,
                    "{directory_bytes} {directory_offset} {comment_bytes}"
                );
            }
        }
        assert_eq!(candidates(b"", 0).count(), 0);
        assert_eq!(candidates(END_RECORD, 4).count(), 0);
    }

    #[test]
    fn a_truncated_archive_gives_nothing() {
        let whole = archive(b"some recursion program", "a comment");
        for length in 0..whole.len() {
            assert_eq!(candidates(&whole[..length], whole.len()).count(), 0);
            assert_eq!(candidates(&whole[..length], length).count(), 0);
        }
    }

    #[test]
    fn the_number_of_candidates_is_bounded() {
        // An end record that is 22 bytes of directory away from a header repeats for ever: each is as long as the others.
        let one = [LOCAL_HEADER, DIRECTORY_ENTRY, &end_record(4, 4, 0)].concat();
        let many = one.repeat(CANDIDATES_MAX * 3);
        assert_eq!(candidates(&many, one.len()).count(), CANDIDATES_MAX);
    }
}
