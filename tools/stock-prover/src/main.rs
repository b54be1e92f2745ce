//! Proves with stock `risc0-zkvm`, as any program does that never heard of Manyhands: where `BONSAI_API_URL` and `BONSAI_API_KEY` lead,
//! its `default_prover()` goes.
//!
//! `stock-prover OUT PROGRAM INPUT [RECEIPT..]` has PROGRAM proved on INPUT, relying on the receipts, and writes the receipt to OUT. The
//! library verifies it before it is returned.

use std::process::ExitCode;

use risc0_zkvm::{ExecutorEnv, ProverOpts, Receipt, default_prover};

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("stock-prover: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, program, input, receipts @ ..] = arguments.as_slice() else {
        return Err("usage: stock-prover OUT PROGRAM INPUT [RECEIPT..]".into());
    };
    let mut env = ExecutorEnv::builder();
    env.write_slice(&std::fs::read(input)?);
    for receipt in receipts {
        env.add_assumption(bincode::deserialize::<Receipt>(&std::fs::read(receipt)?)?);
    }
    let proved = default_prover().prove_with_opts(env.build()?, &std::fs::read(program)?, &ProverOpts::succinct())?;
    std::fs::write(out, bincode::serialize(&proved.receipt)?)?;
    Ok(format!("{} segments, {} cycles", proved.stats.segments, proved.stats.user_cycles))
}
