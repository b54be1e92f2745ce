//! `manyhands blob put`: a file into the store.

use std::path::PathBuf;

use clap::Args;
use manyhands_blob::Owner;
use manyhands_blob::redundancy::Level;
use serde_json::json;

use super::Outcome;
use super::source::{Source, level, randomness};
use super::store::StoreOptions;
use crate::failure::Failure;
use crate::screen::text::bytes;

/// Options of `blob put`.
#[derive(Debug, Args)]
#[command(mut_arg("worker", |worker| worker.hide(true)))]
pub struct PutArgs {
    /// The file; - is standard input.
    file: PathBuf,
    /// Swarm's redundancy level, 0 to 4: how many parity chunks are stored with it.
    #[arg(long, value_name = "LEVEL", default_value = "0", value_parser = level)]
    redundancy: Level,
    /// Encrypts it. Its reference has 128 digits, of which the last 64 are the key: who has lost it cannot read the file any more.
    #[arg(long)]
    encrypt: bool,
    /// Pins it as well.
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    store: StoreOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Stores it.
pub fn run(args: &PutArgs) -> Result<Outcome, Failure> {
    let mut source = Source::open(&args.file, "storing")?;
    let opened = args.store.open_or_make()?;
    let (store, owner) = (&opened.store, Owner::cli());
    // How much is too much is for the store's limit to say: chunks that are here already take no room.
    let (address, reference) = if args.encrypt {
        let root = store.put_encrypted_tree(&owner, &mut source, u64::MAX, args.redundancy, randomness)?;
        (root.address, root.reveal())
    } else {
        let blob = store.put_tree(&owner, &mut source, u64::MAX, args.redundancy)?;
        (blob.reference, blob.reference.to_string())
    };
    if args.pin {
        store.pin(&address)?;
    }
    let size_bytes = source.done_bytes();
    let json = json!({
        "reference": reference,
        "size_bytes": size_bytes,
        "redundancy": args.redundancy.number(),
        "encrypted": args.encrypt,
        "pinned": args.pin,
        "store": opened.path,
    });
    let pinned = if args.pin { " and pinned" } else { "" };
    let note = format!("stored{pinned} in {}: {} from {}", opened.path.display(), bytes(size_bytes), source.name);
    Ok(Outcome::done(reference, json).note(note))
}
