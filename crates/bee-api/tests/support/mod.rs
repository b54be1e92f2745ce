//! A server of the API over a store of its own, on loopback.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::thread::JoinHandle;

use manyhands_bee_api::{Hive, HiveOptions, serve};
use manyhands_blob::ChunkStore;
use manyhands_blob::redundancy::Level;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A running server; it ends when it is dropped.
pub struct Server {
    pub url: String,
    pub store: ChunkStore,
    pub folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(1 << 30, 1 << 30)
    }

    /// With a store of `limit_bytes` that takes uploads of `bytes_max`.
    pub fn with(limit_bytes: u64, bytes_max: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = ChunkStore::open(&folder.path().join("chunks.redb"), limit_bytes).unwrap();
        let options = HiveOptions { folder: folder.path().to_owned(), level: Level::None, bytes_max };
        let hive = Hive::open(store.clone(), options).unwrap();
        let (stop, stopped) = oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                serve(listener, hive, async { drop(stopped.await) }).await.unwrap();
            });
        });
        Self { url, store, folder, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
