//! The wire: vectors for every message and worker frame, the rules of their contents, and arbitrary bytes and values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod arbitrary;
mod ids;
mod rules;
mod samples;
mod vectors;
