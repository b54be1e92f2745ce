//! `manyhands blob get`: a blob out of the store, verified chunk by chunk, never held whole.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use manyhands_blob::AnyReference;
use serde_json::json;

use super::reference::ReferenceText;
use super::store::StoreOptions;
use super::{Outcome, off_thread};
use crate::failure::Failure;
use crate::files::Draft;
use crate::screen::meter::Meter;
use crate::screen::text::bytes;

/// Bytes written at a time.
const WRITE_BYTES: usize = 64 * 1024;

/// Options of `blob get`.
#[derive(Debug, Args)]
#[command(mut_arg("worker", |worker| worker.hide(true)))]
pub struct GetArgs {
    /// The reference: 64 hexadecimal digits, or 128 if it is encrypted; - reads it from standard input, where other users of this machine
    /// do not see a key.
    #[arg(value_name = "REF")]
    reference: ReferenceText,
    /// Writes to this file, which is put in its place whole; one that is there is replaced.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Refuses more than so many bytes [default: the store's limit].
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
    #[command(flatten)]
    store: StoreOptions,
    /// Prints the result as JSON on standard output; the bytes go to the file of -o.
    #[arg(long, requires = "output")]
    pub json: bool,
}

/// Reads it.
pub async fn run(args: GetArgs) -> Result<Outcome, Failure> {
    let reference = args.reference.clone();
    let root = off_thread(move || reference.read()).await?;
    let Some(path) = args.output.clone() else {
        if io::stdout().is_terminal() {
            return Err(
                Failure::usage("a blob is not written to a terminal").hint("name a file with -o, or use a pipe")
            );
        }
        off_thread(move || copy(&args, root, io::stdout().lock(), "standard output")).await?;
        return Ok(Outcome::done("", json!(null)));
    };
    // The draft is held here and not by the thread: an interruption takes it away.
    let draft = Draft::new(&path)?;
    let (file, name) = (draft.file()?, path.display().to_string());
    let size_bytes = off_thread(move || copy(&args, root, file, &name)).await?;
    let path = draft.keep()?;
    let text = format!("{}: {}", path.display(), bytes(size_bytes));
    Ok(Outcome::done(text, json!({ "address": root.address(), "size_bytes": size_bytes, "path": path })))
}

/// Copies all of a tree, and tells how many bytes that were.
fn copy(args: &GetArgs, root: AnyReference, out: impl Write, name: &str) -> Result<u64, Failure> {
    let opened = args.store.open()?;
    let max_bytes = args.max_bytes.unwrap_or(opened.limit_bytes);
    let mut tree = match root {
        AnyReference::Plain(reference) => opened.store.tree_reader(&reference, max_bytes)?,
        AnyReference::Encrypted(reference) => opened.store.encrypted_tree_reader(&reference, max_bytes)?,
    };
    let unwritable = |error: io::Error| Failure::failed(format!("cannot write to {name}: {error}"));
    let mut out = BufWriter::with_capacity(WRITE_BYTES, out);
    let mut next = tree.next_piece()?;
    let mut meter = Meter::new("reading", tree.size_bytes());
    while let Some(piece) = next {
        out.write_all(&piece).map_err(unwritable)?;
        meter.add(piece.len() as u64);
        next = tree.next_piece()?;
    }
    out.flush().map_err(unwritable)?;
    Ok(meter.done_bytes())
}
