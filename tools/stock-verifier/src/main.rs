//! Verifies a receipt with stock `risc0-zkvm`, as anybody would who never heard of Manyhands.
//!
//! `stock-verifier RECEIPT IMAGE_ID` prints the receipt's kind and its journal in hexadecimal, and exits with 0 only if it verifies.

use std::process::ExitCode;

use risc0_zkvm::{Digest, InnerReceipt, Receipt};

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("stock-verifier: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(image_id)) = (arguments.next(), arguments.next()) else {
        return Err("usage: stock-verifier RECEIPT IMAGE_ID".into());
    };
    let receipt: Receipt = bincode::deserialize(&std::fs::read(path)?)?;
    let image_id = digest(&image_id).ok_or("the image id must be 64 hexadecimal digits")?;
    receipt.verify(image_id)?;
    let kind = match &receipt.inner {
        InnerReceipt::Composite(inner) => format!("composite {}", inner.segments.len()),
        InnerReceipt::Succinct(_) => "succinct".to_owned(),
        _ => "other".to_owned(),
    };
    let journal: String = receipt.journal.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{kind} {journal}"))
}

fn digest(text: &str) -> Option<Digest> {
    let byte = |i: usize| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..text.len() / 2).map(byte).collect::<Option<_>>()?;
    Digest::try_from(bytes.as_slice()).ok()
}
