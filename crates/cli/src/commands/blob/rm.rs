//! `manyhands blob rm`: ends the hold that `put` made. What others keep stays, unless it is forced out.

use clap::Args;
use manyhands_blob::store::Entry;
use manyhands_blob::{ChunkStore, Owner, StoreError};
use manyhands_proto::Reference;
use serde_json::json;

use super::Outcome;
use super::reference::ReferenceText;
use super::store::{StoreOptions, keepers};
use crate::failure::Failure;
use crate::screen::text::bytes;

/// Options of `blob rm`.
#[derive(Debug, Args)]
#[command(mut_arg("worker", |worker| worker.hide(true)))]
pub struct RmArgs {
    /// The reference: 64 hexadecimal digits, or 128 if it is encrypted; - reads it from standard input.
    #[arg(value_name = "REF")]
    reference: ReferenceText,
    /// Removes it whoever holds it, also if it is pinned or was downloaded in part: a job that needs it will fail.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    store: StoreOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Removes it.
pub fn run(args: &RmArgs) -> Result<Outcome, Failure> {
    let reference = args.reference.read()?.address();
    let store = args.store.open()?.store;
    let before_bytes = store.used_bytes()?;
    if args.force {
        if !store.discard(&reference)? {
            return Err(StoreError::NotFound { reference }.into());
        }
    } else {
        remove(&store, reference)?;
    }
    let freed_bytes = before_bytes.saturating_sub(store.used_bytes()?);
    Ok(told(reference, store.entry(&reference)?.as_ref(), freed_bytes))
}

/// Ends what this command may end, or says who keeps the root.
fn remove(store: &ChunkStore, reference: Reference) -> Result<(), Failure> {
    let Some(entry) = store.entry(&reference)? else { return Err(absent(store, reference)?) };
    if entry.owners.contains(&Owner::cli()) {
        store.release(&Owner::cli(), &reference)?;
        return Ok(());
    }
    match keepers(&entry) {
        None => store.discard(&reference).map(drop).map_err(Failure::from),
        Some(kept) => {
            let hint = if entry.is_pinned && entry.owners.is_empty() {
                "end the pin with `manyhands blob unpin`, or use --force"
            } else {
                "--force removes it all the same; a job that needs it will fail"
            };
            Err(Failure::failed(format!("{reference} was not removed: {kept}")).hint(hint))
        }
    }
}

fn absent(store: &ChunkStore, reference: Reference) -> Result<Failure, Failure> {
    let is_begun = store.partials()?.iter().any(|partial| partial.blob.reference == reference);
    Ok(if is_begun {
        Failure::failed(format!("{reference} is not complete here: a download of it was begun"))
            .hint("`manyhands blob gc` gives old downloads up; --force removes this one")
    } else {
        StoreError::NotFound { reference }.into()
    })
}

fn told(reference: Reference, left: Option<&Entry>, freed_bytes: u64) -> Outcome {
    let owners: Vec<String> = left.iter().flat_map(|entry| &entry.owners).map(ToString::to_string).collect();
    let json = json!({
        "address": reference,
        "removed": left.is_none(),
        "freed_bytes": freed_bytes,
        "pinned": left.is_some_and(|entry| entry.is_pinned),
        "owners": owners,
    });
    let text = match left.and_then(keepers) {
        None => format!("{reference} is removed, which frees {}", bytes(freed_bytes)),
        Some(kept) => format!("{reference} is not held by hand any more, and stays: {kept}"),
    };
    Outcome::done(text, json)
}
