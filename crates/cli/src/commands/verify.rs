//! `manyhands verify`: whether a receipt proves what it is said to prove. Needs no gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use manyhands_proto::Digest;

use crate::failure::Failure;
use crate::screen::table::pairs;
use crate::screen::text::{as_text, bytes, plural};
use crate::screen::{self, Paint};
use crate::{files, job};

/// Options of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The receipt: bincode of `risc0_zkvm::Receipt`.
    receipt: PathBuf,
    /// The program's image id: 64 hexadecimal digits.
    #[arg(long, value_name = "ID")]
    image_id: Digest,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Verifies.
pub fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let file = files::receipt(&args.receipt)?;
    let mut receipt = job::verify(&file, args.image_id).map_err(|failure| Failure {
        message: format!("{}: {}", args.receipt.display(), failure.message),
        ..failure
    })?;
    let journal = std::mem::take(&mut receipt.journal);
    let text = as_text(&journal);
    if args.json {
        screen::json(&serde_json::json!({
            "verified": true,
            "image_id": args.image_id,
            "kind": receipt.kind.to_string(),
            "segments": receipt.segments,
            "seal_bytes": receipt.seal_bytes,
            "claim": receipt.claim,
            "journal_hex": hex::encode(&journal),
            "journal_text": text,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let shown = text.map_or_else(|| hex::encode(&journal), |text| format!("{text:?}"));
    screen::out(&format!(
        "{} this receipt proves that program {} wrote the journal",
        Paint::stdout().green("verified:"),
        args.image_id
    ));
    let facts = [
        (
            "receipt",
            format!(
                "{}, {} of proof in {}",
                receipt.kind,
                bytes(receipt.seal_bytes),
                plural(receipt.segments as u64, "seal")
            ),
        ),
        ("claim", receipt.claim.to_string()),
        (
            "journal",
            if journal.is_empty() { "empty".to_owned() } else { format!("{shown}, {}", bytes(journal.len() as u64)) },
        ),
    ];
    screen::out(&pairs(&facts).join("\n"));
    Ok(ExitCode::SUCCESS)
}
