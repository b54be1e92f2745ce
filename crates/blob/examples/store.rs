//! What the store costs: 64 MiB of random data written to it and read from it, beside a plain copy of the same file that
//! is synced. Run in release: `cargo run --release -p manyhands-blob --example store`.

#![allow(clippy::print_stdout)] // What it measured.

mod common;

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use common::{median, random};
use manyhands_blob::{ChunkStore, Owner};

const SIZE_BYTES: usize = 64 << 20;
const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir_in(".")?;
    let source = folder.path().join("source");
    let bytes = random(SIZE_BYTES);
    File::create(&source)?.write_all(&bytes)?;
    let mut times: [Vec<Duration>; 4] = Default::default();
    // The file grows in leaps, so its end may be a hole that takes no room.
    let (mut file_bytes, mut disk_bytes) = (0, 0);
    for run in 0..RUNS {
        let path = folder.path().join(format!("{run}.redb"));
        let store = ChunkStore::open(&path, 1 << 30)?;
        let began = Instant::now();
        let blob = store.put_reader(&Owner::new("bench")?, File::open(&source)?, u64::MAX)?;
        let stored = began.elapsed();
        let began = Instant::now();
        io::copy(&mut store.reader(&blob)?, &mut io::sink())?;
        let read = began.elapsed();
        let file = std::fs::metadata(&path)?;
        (file_bytes, disk_bytes) = (file.len(), file.blocks() * 512);
        drop(store);
        std::fs::remove_file(&path)?;
        for (times, took) in times.iter_mut().zip([stored, copy(&source, &path)?, read, read_file(&source)?]) {
            times.push(took);
        }
    }
    let [stored, copied, read, read_plain] = times.map(|times| median(times.iter().map(Duration::as_secs_f64)));
    println!("median of {RUNS} runs, {} MiB of random data", SIZE_BYTES >> 20);
    line("write", stored, copied);
    line("read", read, read_plain);
    let times = |bytes: u64| bytes as f64 / SIZE_BYTES as f64;
    println!("file  {:.2} times the data on disk, {:.2} times as long", times(disk_bytes), times(file_bytes));
    Ok(())
}

fn line(what: &str, store_s: f64, plain_s: f64) {
    let speed = |seconds: f64| SIZE_BYTES as f64 / 1e6 / seconds;
    let ratio = store_s / plain_s;
    println!(
        "{what:5}  store {:7.1} MB/s  plain file {:7.1} MB/s  {ratio:.1} times as long",
        speed(store_s),
        speed(plain_s)
    );
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> io::Result<Duration> {
    let began = Instant::now();
    let mut file = File::create(to)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.sync_all()?;
    let took = began.elapsed();
    std::fs::remove_file(to)?;
    Ok(took)
}

fn read_file(path: &std::path::Path) -> io::Result<Duration> {
    let (began, mut file, mut buffer) = (Instant::now(), File::open(path)?, vec![0; 64 << 10]);
    while file.read(&mut buffer)? > 0 {
        black_box(&buffer);
    }
    Ok(began.elapsed())
}
