//! The reference of one file and what it took, as one line of JSON, for `bench/storage.sh`: `reference FILE`. Reading the file is
//! not counted. Seconds are those on the wall, and those that the thread was on a core.

#![allow(clippy::print_stdout)] // What it measured.

mod common;

use std::error::Error;
use std::time::Instant;

use common::seconds_on_core;
use manyhands_blob::reference_of;

fn main() -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(std::env::args_os().nth(1).ok_or("name a file")?)?;
    let (began, on_core) = (Instant::now(), seconds_on_core());
    let reference = reference_of(&bytes);
    let seconds = began.elapsed().as_secs_f64();
    let cores = seconds_on_core().zip(on_core).map_or(seconds, |(end, start)| end - start);
    println!("{{\"reference\":\"{reference}\",\"seconds\":{seconds},\"secondsOnCores\":{cores}}}");
    Ok(())
}
