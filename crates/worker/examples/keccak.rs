//! What one proof of RISC Zero's keccak accelerator costs, as many permutations in it as its size holds: time, CPU time, and the
//! most memory that the process has had. One size per process, since the memory of a larger one hides that of a smaller one:
//! `cargo run --release -p manyhands-worker --example keccak -- 14`, or `-- 14 seal` for the keccak circuit's proof alone, without
//! the recursion program that makes a succinct receipt of it.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use risc0_circuit_keccak::prove::keccak_prover;
use risc0_circuit_keccak::{
    KECCAK_CONTROL_ROOT, KECCAK_PO2_RANGE, KeccakState, compute_keccak_digest, max_keccak_inputs,
};
use risc0_zkvm::{
    ProveKeccakRequest, ProverOpts, SuccinctReceiptVerifierParameters, VerifierContext, get_prover_server,
};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let po2 = arguments.next().context("a size is needed: 14 to 18, the keccak circuit's po2")?.parse()?;
    ensure!(KECCAK_PO2_RANGE.contains(&po2), "the keccak circuit has sizes 14 to 18, not {po2}");
    let input = states(max_keccak_inputs(po2));
    match arguments.next().as_deref() {
        None => receipt(po2, input)?,
        Some("seal") => {
            let seal = timed("seal", po2, || keccak_prover()?.prove(&input, po2))?;
            println!("{} permutations, a seal of {} bytes", input.len(), seal.len().saturating_mul(4));
        }
        Some(other) => anyhow::bail!("'{other}' is no part of a proof: give a size alone, or a size and 'seal'"),
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("no peak memory known"));
    Ok(())
}

/// The whole proof, checked under the keccak circuit's own control root.
fn receipt(po2: usize, input: Vec<KeccakState>) -> Result<()> {
    let bytes: Vec<u8> = input.iter().flatten().flat_map(|lane| lane.to_le_bytes()).collect();
    let claim_digest = compute_keccak_digest(&bytes);
    let request = ProveKeccakRequest { claim_digest, po2, control_root: KECCAK_CONTROL_ROOT, input };
    let prover = get_prover_server(&ProverOpts::succinct())?;
    let receipt = timed("receipt", po2, || prover.prove_keccak(&request))?;
    let parameters = SuccinctReceiptVerifierParameters { control_root: KECCAK_CONTROL_ROOT, ..Default::default() };
    receipt
        .verify_integrity_with_context(&VerifierContext::default().with_succinct_verifier_parameters(parameters))
        .context("the receipt does not verify")?;
    println!("{} permutations, a receipt with a seal of {} bytes", request.input.len(), receipt.seal_size());
    Ok(())
}

/// States that differ in every lane, so that none is what a shortcut would be right for.
fn states(count: usize) -> Vec<KeccakState> {
    let mut wheel = 1_u64;
    let mut turn = || {
        wheel = wheel.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        wheel
    };
    (0..count).map(|_| std::array::from_fn(|_| turn())).collect()
}

fn timed<T>(what: &str, po2: usize, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let result = run();
    println!("{what} 2^{po2}: {:.1} s, {:.1} CPU seconds", start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    result
}

/// CPU time of this process so far, all threads, in seconds.
fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
