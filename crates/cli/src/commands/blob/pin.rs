//! `manyhands blob pin` and `unpin`.

use clap::Args;
use manyhands_blob::StoreError;
use serde_json::json;

use super::Outcome;
use super::reference::ReferenceText;
use super::store::{StoreOptions, keepers};
use crate::failure::Failure;

/// Options of `blob pin` and of `blob unpin`.
#[derive(Debug, Args)]
#[command(mut_arg("worker", |worker| worker.hide(true)))]
pub struct PinArgs {
    /// The reference: 64 hexadecimal digits, or 128 if it is encrypted; - reads it from standard input.
    #[arg(value_name = "REF")]
    reference: ReferenceText,
    #[command(flatten)]
    store: StoreOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Pins it.
pub fn pin(args: &PinArgs) -> Result<Outcome, Failure> {
    let root = args.reference.read()?;
    let store = args.store.open()?.store;
    let address = root.address();
    let is_new = store.pin_tree(&root).map_err(|error| match error {
        StoreError::Incomplete { missing, .. } if missing.contains(&address) => {
            StoreError::NotFound { reference: address }
        }
        error => error,
    })?;
    let text = format!("{address} {}", if is_new { "is pinned" } else { "was pinned already" });
    Ok(Outcome::done(text, json!({ "address": address, "pinned": true, "changed": is_new })))
}

/// Ends a pin.
pub fn unpin(args: &PinArgs) -> Result<Outcome, Failure> {
    let address = args.reference.read()?.address();
    let store = args.store.open()?.store;
    if !store.unpin(&address)? {
        return Err(Failure::usage(format!("{address} is not pinned")).hint("`manyhands blob ls` shows what is"));
    }
    let entry = store.entry(&address)?;
    let kept = entry.as_ref().and_then(keepers);
    let rest = kept.unwrap_or_else(|| "it stays until its room is needed".to_owned());
    let owners: Vec<String> = entry.iter().flat_map(|entry| &entry.owners).map(ToString::to_string).collect();
    let json = json!({ "address": address, "pinned": false, "owners": owners });
    Ok(Outcome::done(format!("{address} is not pinned any more; {rest}"), json))
}
