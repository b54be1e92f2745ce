//! A guest's input on its way to the worker: small ones in memory, large ones through a file, so that memory does not grow with them.

use std::io::Write as _;

use manyhands_blob::StoreError;
use manyhands_proto::BlobRef;
use manyhands_proto::limits::STREAMED_INPUT_BYTES_MAX;
use manyhands_proto::worker::GuestInput;
use tempfile::NamedTempFile;

use super::tasks::Tasks;
use crate::store::keep_with;

/// From here on an input goes through a file, in bytes.
const FILE_BYTES_MIN: u64 = 1 << 20;

/// An input for the worker. Its file, if it has one, is there as long as this.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) input: GuestInput,
    _file: Option<NamedTempFile>,
}

impl Tasks {
    /// A job's input out of the store.
    pub(super) async fn input(&self, input: Option<BlobRef>) -> Result<Held, StoreError> {
        let Some(blob) = input else { return Ok(Held::default()) };
        let folder = self.scratch.clone();
        // A disk that others have filled is waited for.
        keep_with(&self.store, move |store| {
            if blob.size_bytes < FILE_BYTES_MIN {
                let input = store.read_blob(&blob, FILE_BYTES_MIN)?.into();
                return Ok(Held { input, _file: None });
            }
            if blob.size_bytes > STREAMED_INPUT_BYTES_MAX {
                return Err(StoreError::TooLarge { size_bytes: blob.size_bytes, max_bytes: STREAMED_INPUT_BYTES_MAX });
            }
            let of_disk = |source| StoreError::Io { source };
            store.require_disk_beside(blob.size_bytes)?;
            let mut file = NamedTempFile::new_in(&folder).map_err(of_disk)?;
            let mut reader = store.reader(&blob)?;
            while let Some(leaf) = reader.next_leaf()? {
                file.write_all(leaf.payload()).map_err(of_disk)?;
            }
            let input = GuestInput::File(file.path().to_string_lossy().into_owned());
            Ok(Held { input, _file: Some(file) })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use manyhands_blob::{ChunkStore, Owner};

    use super::*;
    use crate::gateway::tasks::tests::tasks;
    use crate::swarm::Storage;

    #[tokio::test]
    async fn a_large_input_goes_through_a_file_that_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&dir.path().join("chunks.redb"), 1 << 26).unwrap();
        let (tasks, _fed_back) = tasks(store.clone(), Storage::Embedded).await;
        assert_eq!(tasks.input(None).await.unwrap().input, GuestInput::default());
        let owner = Owner::new("x").unwrap();
        for size in [FILE_BYTES_MIN - 1, FILE_BYTES_MIN, 3 * FILE_BYTES_MIN + 7] {
            let bytes: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
            let blob = store.put_blob(&owner, &bytes).unwrap();
            let held = tasks.input(Some(blob)).await.unwrap();
            match held.input.clone() {
                GuestInput::Bytes(small) => assert!(size < FILE_BYTES_MIN && small == bytes),
                GuestInput::File(path) => {
                    assert!(size >= FILE_BYTES_MIN && std::fs::read(&path).unwrap() == bytes);
                    drop(held);
                    assert!(!std::path::Path::new(&path).exists());
                }
            }
        }
    }
}
