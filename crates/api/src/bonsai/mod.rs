//! The Bonsai API: any RISC Zero program proves here once `BONSAI_API_URL` and `BONSAI_API_KEY` are set. Calls and answers are those of
//! `bonsai-sdk` 1.4.3; an answer that is no success is a sentence, since the client shows it as it is.
//!
//! | call | what |
//! |---|---|
//! | `GET /images/upload/{image id}`, `/inputs/upload`, `/receipts/upload` | says where to `PUT`; 204 if the image is here |
//! | `PUT /images/{image id}`, `/inputs/{id}`, `/receipts/{id}` | an upload, streamed to a file and answered when it is on disk |
//! | `DELETE /images/{image id}`, `/inputs/{id}` | forgets it |
//! | `POST /sessions/create` | a job; the same again comes back to the same session |
//! | `GET /sessions/status/{id}`, `logs`, `exec_only_journal`, `stop` | the session |
//! | `GET /receipts/{id}`, `GET /receipts/{id}/download` | where the receipt is; the receipt |
//! | `POST /snark/create`, `GET /snark/status/{id}` | a Groth16 receipt of a session's or an uploaded one, where the gateway's machine can |
//! | `GET /snark/receipt/{id}` | the Groth16 receipt |
//! | `GET /receipts/stark/receipt/{id}`, `GET /receipts/groth16/receipt/{id}`, `GET /health` | the same receipts, and whether a gateway is here, where Bento has them |
//! | `GET /version`, `GET /user/quotas` | what is proved here; what the key may do |

mod base;
mod routes;
pub mod types;

use std::path::Path;

use manyhands_proto::Digest;
use tempfile::NamedTempFile;

use crate::types::Problem;
#[cfg(test)]
pub(crate) use routes::JSON_BYTES_MAX;
pub(crate) use routes::refusal;
pub use routes::routes;
use types::{CreateSession, Quotas, SessionStatus, SnarkStatus, Tenant, Upload, Uuid};

/// What stands behind the calls.
pub trait Bonsai: Send + Sync + 'static {
    /// Whose key that is. A gateway without keys takes everybody for one tenant.
    fn tenant(&self, key: Option<&str>) -> impl Future<Output = Result<Tenant, Problem>> + Send;
    /// The folder that uploads come into; a file is moved from there, or gone.
    fn spool(&self) -> &Path;
    /// The gateway's address as clients reach it, if it was configured.
    fn public_url(&self) -> Option<&str>;
    /// Whether a program is here.
    fn has_image(&self, tenant: &Tenant, image: Digest) -> impl Future<Output = Result<bool, Problem>> + Send;
    /// Bytes that a tenant may still upload. Fails if the disk has no room for the `coming_bytes` that come next.
    fn room(&self, tenant: &Tenant, coming_bytes: u64) -> impl Future<Output = Result<u64, Problem>> + Send;
    /// Keeps an upload; it is on disk when this returns.
    fn keep(
        &self,
        tenant: &Tenant,
        upload: Upload,
        file: NamedTempFile,
        size_bytes: u64,
    ) -> impl Future<Output = Result<(), Problem>> + Send;
    /// Forgets an upload.
    fn forget(&self, tenant: &Tenant, upload: Upload) -> impl Future<Output = Result<(), Problem>> + Send;
    /// Takes a session, or finds the one that is the same; it is on disk when this returns.
    fn create(&self, tenant: &Tenant, request: CreateSession) -> impl Future<Output = Result<Uuid, Problem>> + Send;
    /// How a session is.
    fn session(&self, tenant: &Tenant, id: Uuid) -> impl Future<Output = Result<SessionStatus, Problem>> + Send;
    /// What its guest wrote.
    fn session_log(&self, tenant: &Tenant, id: Uuid) -> impl Future<Output = Result<Vec<u8>, Problem>> + Send;
    /// Stops it.
    fn stop(&self, tenant: &Tenant, id: Uuid) -> impl Future<Output = Result<(), Problem>> + Send;
    /// The journal of a session that only executes.
    fn journal(&self, tenant: &Tenant, id: Uuid) -> impl Future<Output = Result<Vec<u8>, Problem>> + Send;
    /// The receipt of a session that has succeeded, as `bincode` of `risc0_zkvm::Receipt`.
    fn session_receipt(&self, tenant: &Tenant, id: Uuid) -> impl Future<Output = Result<Vec<u8>, Problem>> + Send;
    /// Takes a Groth16 receipt of a session's receipt or of an uploaded one, or finds the one that is the same; it is on disk when this
    /// returns.
    fn create_snark(&self, tenant: &Tenant, of: Uuid) -> impl Future<Output = Result<Uuid, Problem>> + Send;
    /// How a Groth16 receipt is.
    fn snark(&self, tenant: &Tenant, id: Uuid) -> impl Future<Output = Result<SnarkStatus, Problem>> + Send;
    /// The Groth16 receipt, as `bincode` of `risc0_zkvm::Receipt`.
    fn snark_receipt(&self, tenant: &Tenant, id: Uuid) -> impl Future<Output = Result<Vec<u8>, Problem>> + Send;
    /// What the key may do.
    fn quotas(&self, tenant: &Tenant) -> impl Future<Output = Result<Quotas, Problem>> + Send;
    /// The zkVM version that is proved here.
    fn zkvm(&self) -> &str;
}
