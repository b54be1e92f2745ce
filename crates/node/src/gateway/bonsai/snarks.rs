//! Groth16 receipts of sessions and of uploaded receipts: asked for, made one at a time, handed out. After a restart those that had not
//! ended are made again.

use std::sync::Arc;

use manyhands_api::Gateway as _;
use manyhands_api::bonsai::types::{SnarkStatus, State, Tenant, Upload, Uuid};
use manyhands_api::types::{Problem, ProblemKind};
use manyhands_zkvm::Shrinkable;
use sha2::{Digest as _, Sha256};

use super::book::{SessionRow, SnarkEnd, SnarkRow};
use super::uploads::UNUSED_MS;
use super::{Desk, status};
use crate::gateway::sqlite::unix_ms;

/// Largest receipt that a Groth16 receipt is made of, in bytes. A succinct one has some 223 kB and its journal, and what is made is kept in
/// the database, journal included.
const SOURCE_BYTES_MAX: u64 = 64 << 20;

/// Times that one is begun, whatever ends the gateway meanwhile: one that takes more memory than the machine has would end it each time.
const BEGUN_MAX: u32 = 3;

/// What a client can do where none is made.
const WAY_OUT: &str = "Ask for a succinct receipt (ProverOpts::succinct()) instead; risc0-zkvm's own prover makes Groth16 of it on any \
                       x86-64 machine with Docker";

impl Desk {
    /// Takes a Groth16 receipt, or finds the one of the same source that is being made or was made.
    pub(super) async fn take_snark(&self, tenant: &Tenant, source: Uuid) -> Result<Uuid, Problem> {
        let (fingerprint, is_upload, size_bytes) = {
            let _turn = self.sources.acquire().await.map_err(|_| Problem::stopping())?;
            let (bytes, is_upload) = self.source(tenant, source).await?;
            let size_bytes = bytes.len() as u64;
            (checked(source, bytes).await?, is_upload, size_bytes)
        };
        let same = {
            let whose = tenant.clone();
            move |book: &super::Book| book.same_snark(&whose, fingerprint)
        };
        if let Some(id) = self.on_book(same.clone()).await? {
            return Ok(id);
        }
        self.require_maker().await?;
        let turn = self.turn(tenant).await;
        if let Some(id) = self.on_book(same).await? {
            return Ok(id);
        }
        self.check_running(tenant, &turn).await?;
        // What is made is smaller by the proof, and is there twice until the database has taken it from its log.
        self.require_disk(size_bytes.saturating_mul(2), "Groth16 receipts").await?;
        let row = SnarkRow {
            id: Uuid::from_random(rand::random()),
            tenant: tenant.clone(),
            source,
            is_upload,
            fingerprint,
            created_ms: unix_ms(),
            end: SnarkEnd::Open,
        };
        let (id, written, desk) = (row.id, row.clone(), self.shared()?);
        self.on_book(move |book| book.add_snark(&written)).await?;
        tokio::spawn(desk.shrink_to_end(row));
        Ok(id)
    }

    async fn require_maker(&self) -> Result<(), Problem> {
        let cannot = |why| format!("this gateway cannot make Groth16 receipts: {why}. {WAY_OUT}");
        self.maker.can().await.map_err(|why| Problem::new(ProblemKind::Unfit, cannot(why)))
    }

    /// The receipt that one is to be made of, and whether it was uploaded.
    async fn source(&self, tenant: &Tenant, source: Uuid) -> Result<(Vec<u8>, bool), Problem> {
        let whose = tenant.clone();
        if let Some(row) = self.on_book(move |book| book.session(&whose, source)).await? {
            return Ok((self.receipt_of(&row).await?, false));
        }
        let upload = Upload::Receipt(source);
        let Some(row) = self.find(tenant, upload).await? else {
            return Err(Problem::not_found(format!(
                "there is no session and no uploaded receipt {source} of yours here"
            )));
        };
        check_size(row.bytes)?;
        Ok((self.read(tenant, upload, SOURCE_BYTES_MAX).await?, true))
    }

    /// The receipt of a session that has succeeded.
    async fn receipt_of(&self, row: &SessionRow) -> Result<Vec<u8>, Problem> {
        let unfit = |message: String| Problem::new(ProblemKind::Unfit, message);
        let Some(job) = row.job else {
            return Err(unfit(
                "this session only executes: it has no receipt that Groth16 could be made of".to_owned(),
            ));
        };
        let found = match self.door.job(job).await {
            Err(problem) if problem.kind == ProblemKind::NotFound => {
                return Err(unfit("the session's job was removed at the gateway, and its receipt with it".to_owned()));
            }
            found => found?,
        };
        let session = status::of_job(&found);
        match session.state {
            State::Succeeded => {}
            State::Running => {
                return Err(unfit(format!(
                    "the session has no receipt yet ({}): ask again when it has succeeded",
                    session.stage
                )));
            }
            State::Failed | State::Aborted => {
                let why = session.error.unwrap_or_default();
                return Err(unfit(format!("the session has no receipt, and there will be none: {why}")));
            }
        }
        check_size(found.receipt.map_or(0, |receipt| receipt.size_bytes))?;
        self.door.receipt(job).await.map(|(_, bytes)| bytes)
    }

    /// Begins again what a restart cut off, before anybody can ask for more. Tells how many.
    pub(crate) async fn resume_snarks(&self) -> Result<usize, Problem> {
        let rows = self.on_book(super::Book::open_snarks).await?;
        let count = rows.len();
        for row in rows {
            tokio::spawn(self.shared()?.shrink_to_end(row));
        }
        Ok(count)
    }

    async fn shrink_to_end(self: Arc<Self>, row: SnarkRow) {
        let Ok(_turn) = self.shrinks.acquire().await else { return };
        let id = row.id;
        let made = match self.made(&row).await {
            // It is made after the restart.
            Err(problem) if problem.is_stopping() => return,
            made => made.map_err(|problem| problem.message),
        };
        match &made {
            Ok(_) => tracing::info!(snark = %id, "a Groth16 receipt was made"),
            Err(why) => tracing::warn!(snark = %id, why, "a Groth16 receipt could not be made"),
        }
        let at_ms = unix_ms();
        if let Err(problem) = self.on_book(move |book| book.end_snark(id, at_ms, &made)).await {
            tracing::warn!(snark = %id, %problem, "how a Groth16 receipt ended could not be written down; it is made again after a restart");
        }
    }

    async fn made(&self, row: &SnarkRow) -> Result<Vec<u8>, Problem> {
        let (succinct, _) = self.source(&row.tenant, row.source).await?;
        // It was asked long ago, perhaps before a restart.
        self.require_maker().await?;
        let id = row.id;
        if self.on_book(move |book| book.begin_snark(id)).await? > BEGUN_MAX {
            return Err(Problem::internal(format!(
                "it was begun {BEGUN_MAX} times, and the gateway ended before it was made, for want of memory, by a crash or by its owner's \
                 hand: ask for it again when that is over"
            )));
        }
        let why = match self.maker.make(succinct).await {
            Ok(receipt) => return Ok(receipt),
            Err(why) => why,
        };
        // The prover passes on no more of what Docker said than a number.
        Err(Problem::internal(match self.maker.can().await {
            Ok(()) => why,
            Err(reason) => format!("{why}; {reason}"),
        }))
    }

    pub(super) async fn snark_row(&self, tenant: &Tenant, id: Uuid) -> Result<SnarkRow, Problem> {
        let whose = tenant.clone();
        let row = self.on_book(move |book| book.snark(&whose, id)).await?;
        row.ok_or_else(|| Problem::not_found(format!("there is no Groth16 receipt (snark) {id} of yours here")))
    }

    /// The receipt of one that was made.
    pub(super) async fn receipt_of_snark(&self, tenant: &Tenant, id: Uuid) -> Result<Vec<u8>, Problem> {
        match self.snark_row(tenant, id).await?.end {
            SnarkEnd::Open => return Err(Problem::not_found("the Groth16 receipt is not made yet")),
            SnarkEnd::Failed(why) => return Err(Problem::not_found(format!("there is no Groth16 receipt: {why}"))),
            SnarkEnd::Made => {}
        }
        let whose = tenant.clone();
        let receipt = self.on_book(move |book| book.snark_receipt(&whose, id)).await?;
        receipt.ok_or_else(|| Problem::not_found("the Groth16 receipt was removed at the gateway"))
    }

    /// Forgets those of sessions whose jobs were removed at the gateway, as the sessions' own receipts are, and those of uploads that are
    /// gone, a day after they have ended. Tells how many.
    pub(crate) async fn forget_snarks(&self) -> Result<usize, Problem> {
        let before_ms = unix_ms() - UNUSED_MS;
        let mut count = self.on_book(move |book| book.remove_snarks_of_none(before_ms)).await?;
        for (id, job) in self.on_book(super::Book::snarks_of_jobs).await? {
            match self.door.job(job).await {
                Err(problem) if problem.kind == ProblemKind::NotFound => {
                    self.on_book(move |book| book.remove_snark(id)).await?;
                    count += 1;
                }
                found => drop(found?),
            }
        }
        Ok(count)
    }
}

/// How one is, in Bonsai's words.
pub(super) fn status_of(row: SnarkRow) -> SnarkStatus {
    match row.end {
        SnarkEnd::Open => SnarkStatus { state: State::Running, error: None },
        SnarkEnd::Made => SnarkStatus { state: State::Succeeded, error: None },
        SnarkEnd::Failed(why) => SnarkStatus { state: State::Failed, error: Some(why) },
    }
}

/// What tells a receipt that Groth16 can be made of from others, its id included: uploads come and go under the same one.
async fn checked(source: Uuid, bytes: Vec<u8>) -> Result<[u8; 32], Problem> {
    let work = move || {
        Shrinkable::read(&bytes)
            .map_err(|error| Problem::invalid(format!("no Groth16 receipt can be made of this: {error}")))?;
        Ok(Sha256::new().chain_update(source.as_bytes()).chain_update(&bytes).finalize().into())
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::stopping())?
}

fn check_size(size_bytes: u64) -> Result<(), Problem> {
    if size_bytes <= SOURCE_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "a receipt that Groth16 is made of has at most {SOURCE_BYTES_MAX} bytes, and this one has {size_bytes}: make a succinct one of it first, or let the \
         guest commit a hash instead of a long journal"
    );
    Err(Problem::new(ProblemKind::TooLarge, message))
}

#[cfg(test)]
pub(super) mod tests;
