//! The gateway's HTTP door: types, server and client of `/v1`.
//!
//! The server decides nothing. It bounds what comes in, hands it to a [`Gateway`], and turns its [`Problem`]s into status codes. The
//! CLI uses the client; a script may use `curl`. There are no passwords yet, so the door belongs on loopback, and a browser that is
//! made to knock for a stranger's page is turned away.
//!
//! # The client
//! [`Client`] is all that a program needs to have something proved: it uploads, submits, watches, explains, cancels, and fetches receipts. It
//! links neither RISC Zero nor libp2p. It must run in a Tokio runtime with I/O and time. Errors are [`ClientError`]s: sentences for people, a
//! [hint](ClientError::hint) on what to do, and for what the gateway refused the [`Problem`] with its kind.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use manyhands_api::{Client, JobRequest, Outcome};
//!
//! let client = Client::new("127.0.0.1:7171")?;
//! // A program once, in memory; an input of up to 4 GiB as it is read. Both may be used by many jobs while one of them is open.
//! let program = client.upload_program(std::fs::read("program.bin")?).await?;
//! let file = tokio::fs::File::open("input").await?;
//! let size_bytes = file.metadata().await?.len();
//! let input = client.upload_input_from(file, Some(size_bytes), |_bytes| ()).await?;
//!
//! let wanted = JobRequest { input: Some(input.blob), outcome: Outcome::Succinct, ..JobRequest::new(program.blob) };
//! let job = client.submit(&wanted).await?.job;
//!
//! // Server-sent events: the status now, then whenever it has changed, until the job has ended.
//! let mut watch = client.watch(job).await?;
//! while let Some(status) = watch.next().await? {
//!     println!("{}: {} of {} units", status.view.phase, status.view.units_done, status.view.units_total);
//! }
//!
//! // Why it is as far as it is, and who has proved what: also while it is open.
//! println!("{}", client.explain(job).await?.now);
//! let report = client.job(job).await?;
//! for result in &report.view.results {
//!     println!("{} by {} in {} ms", result.unit, result.node, result.elapsed_ms);
//! }
//! match report.view.error {
//!     // `bincode` of `risc0_zkvm::Receipt`; the gateway's word until it was verified against the program's image id.
//!     None => std::fs::write("receipt", client.receipt(job, 256 << 20).await?)?,
//!     Some(why) => eprintln!("{why}\n{}", String::from_utf8_lossy(&client.log(job).await?)),
//! }
//! // Of a job that is open: stops it. Of one that has ended: forgets it, and its receipt.
//! client.abort(job).await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/prove.rs` is a whole program; `docs/client.md` says more on errors, limits and what is tried again.

pub mod bonsai;
pub mod client;
pub mod server;
pub mod types;

pub use client::{Client, ClientError, Watch};
pub use server::{Gateway, OPENAPI, check_host, serve, serve_beside, serve_router};
pub use types::{GatewayStatus, Health, JobRequest, JobStatus, Problem, ProblemKind, Submitted, Uploaded};

// What requests and answers are made of, so that a program needs no other crate of ours.
pub use manyhands_core::explain::Explanation;
pub use manyhands_core::{Outcome, Priority};
pub use manyhands_proto::{BlobRef, Digest, JobId, NodeId, Po2};
