//! What is made of runs: figures, their spread over seeds, a table, JSON and pictures (steps III to V). Text in, text out: the command
//! line prints and writes it.

pub mod fleet;
pub mod gantt;
#[cfg(test)]
mod handmade;
pub mod joins;
pub mod metrics;
pub mod redundancy;
pub mod summary;
pub mod svg;
pub mod table;
