//! The rules, driven from outside: recorders that end with "nothing unexpected was sent", and whole networks on a virtual clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod challenges;
mod circle;
mod combine;
mod desk;
mod dispatch;
mod explain;
mod fake;
mod leases;
mod means;
mod node;
mod pace;
mod pair;
mod prover;
mod ranges;
mod reputation;
mod restart;
mod room;
mod scale;
mod scores;
mod sizing;
mod verify;
mod view;
mod world;
