//! The harness for tests with real processes, real sockets and real proofs.
//!
//! Everything stays on loopback and in temporary directories. Tests pass or fail by what happened, never by how long it took;
//! [`PATIENCE`] only ends a test that hangs. `MANYHANDS_BIN` and `MANYHANDS_WORKER` name the programs under test; `cargo xtask test` sets
//! them.

pub mod daemon;
pub mod gateway;
pub mod small_disk;
pub mod throttle;
pub mod villain;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use manyhands_proto::Digest;

/// How long anything may take before a test is held to hang: some twenty times what the slowest machine here needs.
pub const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(200);

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A program under test, named by an environment variable.
pub fn program(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.with_context(|| format!("{variable} is not set: run these tests with `cargo xtask test`"))
}

/// A guest program and its image id, as committed.
pub fn guest(name: &str) -> Result<(Vec<u8>, Digest)> {
    let built = root().join("guests/built");
    let program = std::fs::read(built.join(format!("{name}.bin")))?;
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(built.join("guests.json"))?)?;
    let guests = list.get("guests").and_then(|guests| guests.as_array()).context("guests.json has no list")?;
    let entry = guests.iter().find(|guest| guest.get("name").and_then(|n| n.as_str()) == Some(name));
    let image_id = entry.and_then(|guest| guest.get("image_id")?.as_str()).context("guests.json lacks the guest")?;
    Ok((program, image_id.parse()?))
}

/// The `tiny` guest's input: `turns` of its wheel, then a message that it commits. 3,702 + 6 n user cycles.
pub fn tiny_input(turns: u32, message: &str) -> Vec<u8> {
    [&turns.to_le_bytes(), message.as_bytes()].concat()
}

/// Numbers for the `inflate` guest: the same at each run.
pub fn inflate_input(numbers: u32) -> Vec<u8> {
    let next = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(*state)
    };
    std::iter::repeat_n((), numbers as usize).scan(7, |state, ()| next(state)).flat_map(u32::to_le_bytes).collect()
}

/// Looks until `condition` gives something.
///
/// # Errors
/// After [`PATIENCE`], naming `what` was waited for; or the condition's own error.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < give_up {
        if let Some(found) = condition().await? {
            return Ok(found);
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("waited in vain for {what}")
}
