//! Verifiable benchmark scores (the paper's section 6): a score's way from a stranger's bytes to something that counts.
//!
//! A score is a *word*: "this peer delivered a valid proof of this size, bound to it and to this time, in so many milliseconds". What of it
//! anybody can check is the proof; the time is the verifier's word alone. So what a score counts for depends on who says it, and
//! [`Trust`] has the order: what a gateway saw itself, then verifiers that its owner named, then words whose proof it has checked itself,
//! and never a bare claim.
//!
//! Pure: time is handed in.

pub mod board;
pub mod signed;
pub mod told;
pub mod trust;

pub use board::Board;
pub use signed::{CheckedScore, ScoreError, sign};
pub use told::Told;
pub use trust::{Source, Trust};
