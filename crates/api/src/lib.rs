//! The gateway's HTTP door: types, server and client of `/v1`.
//!
//! The server decides nothing. It bounds what comes in, hands it to a [`Gateway`], and turns its [`Problem`]s into status codes. The
//! CLI uses the client; a script may use `curl`. There are no passwords yet, so the door belongs on loopback, and a browser that is
//! made to knock for a stranger's page is turned away.

pub mod bonsai;
pub mod client;
pub mod server;
pub mod types;

pub use client::{Client, ClientError};
pub use server::{Gateway, OPENAPI, check_host, serve, serve_beside, serve_router};
pub use types::{GatewayStatus, Health, JobRequest, JobStatus, Problem, ProblemKind, Submitted, Uploaded};
