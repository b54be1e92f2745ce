//! Makes Groth16 receipts by RISC Zero's own path: the STARK is proved once more with a hash that suits the curve, in this process, and then
//! wrapped by the program in [`GROTH16_IMAGE`](crate::GROTH16_IMAGE), which `docker` runs.

use manyhands_proto::worker::Failure;
use risc0_zkvm::ProverOpts;

use super::{failed, guarded, prover, require_recursion, unusable};
use crate::{Shrinkable, encoding, shrink as rules};

/// Makes a Groth16 receipt of a whole succinct one, and checks that it proves the same. `docker` must be on the PATH and may use the folder of
/// temporary files (`TMPDIR`), which must be an absolute path without a colon. Before Docker comes some 10 CPU-minutes and 1.44 GB.
///
/// # Errors
/// [`Failure::NoRecursion`] without the recursion programs, [`Failure::Input`] when it is no succinct receipt or does not verify,
/// [`Failure::Prover`] when a step failed, Docker's included.
pub fn shrink(receipt: &[u8]) -> Result<Vec<u8>, Failure> {
    require_recursion()?;
    let read = || {
        let wanted = Shrinkable::read(receipt).map_err(|error| unusable(&error))?;
        Ok((wanted, rules::decode(receipt).map_err(|error| unusable(&error))?))
    };
    let (wanted, succinct) = guarded(Failure::Input, read)?;
    let (prover, options) = (prover()?, ProverOpts::groth16().with_dev_mode(false));
    let compress = || prover.compress(&options, &succinct).map_err(|error| failed(&error));
    let shrunk = guarded(Failure::Prover, compress)?;
    let bytes = encoding::encode(&shrunk).map_err(|why| failed(&why))?;
    wanted.check(&bytes).map_err(|error| failed(&error))?;
    Ok(bytes)
}
