//! `manyhands blob ref`: references without a store.

use std::convert::Infallible;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use manyhands_blob::Splitter;
use manyhands_blob::chunk::Chunk;
use manyhands_blob::redundancy::Level;
use manyhands_blob::seal::Seal;
use serde::Serialize;
use serde_json::json;

use super::Outcome;
use super::source::{Source, level, randomness};
use crate::failure::Failure;

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// Options of `blob ref`.
#[derive(Debug, Args)]
pub struct RefArgs {
    /// Files; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Swarm's redundancy level, 0 to 4. Bee nodes use 1 since 2.8.1 unless told otherwise, and 0 before.
    #[arg(long, value_name = "LEVEL", default_value = "0", value_parser = level)]
    redundancy: Level,
    /// Encrypts: the reference is another one each time and holds the key, so that this only shows what one looks like.
    #[arg(long)]
    encrypt: bool,
    /// Prints the references as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    reference: String,
    size_bytes: u64,
}

/// Computes them.
pub fn run(args: &RefArgs) -> Result<Outcome, Failure> {
    let rows = args.files.iter().map(|path| row(args, path)).collect::<Result<Vec<_>, _>>()?;
    let lines: Vec<String> = rows.iter().map(|row| format!("{}  {}", row.reference, row.name)).collect();
    let json = json!({ "redundancy": args.redundancy.number(), "encrypted": args.encrypt, "references": rows });
    Ok(Outcome { text: lines.join("\n"), note: None, json, exit: ExitCode::SUCCESS })
}

fn row(args: &RefArgs, path: &std::path::Path) -> Result<Row, Failure> {
    let mut source = Source::open(path, "hashing")?;
    let mut ignore = |_| Ok::<(), Infallible>(());
    let reference = if args.encrypt {
        let splitter = cut(&mut source, Splitter::encrypting(args.redundancy, randomness), &mut ignore)?;
        let Ok(reference) = splitter.finish(&mut ignore);
        reference.reveal()
    } else {
        let splitter = cut(&mut source, Splitter::with_level(args.redundancy), &mut ignore)?;
        let Ok(blob) = splitter.finish(&mut ignore);
        blob.reference.to_string()
    };
    let size_bytes = source.done_bytes();
    Ok(Row { name: source.name, reference, size_bytes })
}

/// Cuts all that the source gives, in constant memory.
fn cut<S: Seal>(
    source: &mut Source,
    mut splitter: Splitter<S>,
    ignore: &mut impl FnMut(Chunk) -> Result<(), Infallible>,
) -> Result<Splitter<S>, Failure> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(splitter),
            Ok(count) => {
                let Ok(()) = splitter.update(buffer.get(..count).unwrap_or_default(), ignore);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", source.name))),
        }
    }
}
