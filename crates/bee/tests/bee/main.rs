//! The client against a Bee node that plays back what real ones were seen to do, and what none should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod about;
mod batches;
mod download;
mod garbage;
mod keep;
mod retries;
mod support;
mod upload;
