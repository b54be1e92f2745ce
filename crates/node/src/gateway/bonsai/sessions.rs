//! Sessions: taken, found again, told of, stopped.

use std::collections::BTreeMap;

use manyhands_api::Gateway as _;
use manyhands_api::bonsai::types::{CreateSession, SessionStatus, State, Tenant, Upload, Uuid};
use manyhands_api::types::{JobRequest, Problem, ProblemKind};
use manyhands_core::Outcome;
use manyhands_proto::limits::RECEIPT_BYTES_MAX;
use manyhands_proto::{Digest, JobId};
use manyhands_zkvm::AssumptionReceipt;
use sha2::{Digest as _, Sha256};

use super::book::{End, SessionRow};
use super::{Desk, Turn, status};
use crate::gateway::assumptions;
use crate::gateway::sqlite::unix_ms;

/// Jobs that the event loop is asked about at once: it answers nobody else meanwhile.
const ASKED_MAX: usize = 100;

impl Desk {
    /// Takes a session, or finds the one that is the same and runs or has succeeded.
    pub(super) async fn create_session(&self, tenant: &Tenant, request: CreateSession) -> Result<Uuid, Problem> {
        let turn = self.turn(tenant).await;
        let wanted = self.wanted(tenant, &request).await?;
        let (whose, fingerprint) = (tenant.clone(), wanted.fingerprint);
        for row in self.on_book(move |book| book.same(&whose, fingerprint)).await? {
            if matches!(self.status_of(&row).await?.state, State::Running | State::Succeeded) {
                return Ok(row.id);
            }
        }
        self.check_limits(tenant, &turn).await?;
        let (id, row) = (wanted.id, wanted.clone());
        self.on_book(move |book| book.add_session(&row)).await?;
        let begun = match wanted.job {
            Some(job) => self.submit(tenant, job, &wanted, &request.assumptions).await,
            None => self.execute(wanted),
        };
        if let Err(problem) = begun {
            self.on_book(move |book| book.remove_session(id)).await?;
            return Err(problem);
        }
        Ok(id)
    }

    /// What is asked for, as it would be written down.
    async fn wanted(&self, tenant: &Tenant, request: &CreateSession) -> Result<SessionRow, Problem> {
        let image: Digest =
            request.img.parse().map_err(|_| Problem::invalid("img is no image id: 64 hexadecimal digits"))?;
        if self.find(tenant, Upload::Image(image)).await?.is_none() {
            return Err(Problem::invalid(format!(
                "the program {image} was not uploaded, or was not used for a day: upload it again"
            )));
        }
        let (mut input, mut input_digest) = (None, [0; 32]);
        if !request.input.is_empty() {
            let missing = || Problem::invalid("the input was not uploaded, or was not used for a day: upload it again");
            let id: Uuid = request.input.parse().map_err(|_| missing())?;
            let row = self.find(tenant, Upload::Input(id)).await?.ok_or_else(missing)?;
            (input, input_digest) = (Some(id), row.digest);
        }
        let claims = self.claims(tenant, &request.assumptions).await?;
        let limits = self.limits(tenant).await?;
        let allowed = limits.cycles_max.min(self.door.cycles_max);
        let cycles_max = request.cycles_max().unwrap_or(allowed).min(allowed);
        let mut hasher = Sha256::new();
        hasher.update(image.0);
        hasher.update(input_digest);
        claims.iter().for_each(|claim| hasher.update(claim.0));
        hasher.update([u8::from(request.execute_only)]);
        hasher.update(cycles_max.to_le_bytes());
        Ok(SessionRow {
            id: Uuid::from_random(rand::random()),
            tenant: tenant.clone(),
            fingerprint: hasher.finalize().into(),
            job: (!request.execute_only).then(|| JobId(rand::random())),
            image,
            input,
            claims,
            cycles_max,
            created_ms: unix_ms(),
            end: None,
        })
    }

    /// What the uploaded receipts prove that a session's guest may rely on.
    async fn claims(&self, tenant: &Tenant, assumptions: &[String]) -> Result<Vec<Digest>, Problem> {
        assumptions::check_count(assumptions.len())?;
        let mut claims = Vec::with_capacity(assumptions.len());
        for id in assumptions {
            let bytes = self.assumption(tenant, id).await?;
            let read = tokio::task::spawn_blocking(move || AssumptionReceipt::read(&bytes)).await;
            let receipt = read.map_err(|_| Problem::stopping())?.map_err(|error| assumptions::unfit(&error))?;
            claims.push(receipt.claim());
        }
        Ok(claims)
    }

    async fn assumption(&self, tenant: &Tenant, id: &str) -> Result<Vec<u8>, Problem> {
        let missing = || {
            let id: String = id.chars().take(40).collect();
            Problem::invalid(format!(
                "the receipt {id:?} of an assumption was not uploaded, or was not used for a day: upload it again"
            ))
        };
        let upload = Upload::Receipt(id.parse().map_err(|_| missing())?);
        let row = self.find(tenant, upload).await?.ok_or_else(missing)?;
        assumptions::check_size(row.bytes)?;
        self.read(tenant, upload, RECEIPT_BYTES_MAX).await
    }

    /// Whether a tenant may have one more session.
    async fn check_limits(&self, tenant: &Tenant, turn: &Turn) -> Result<(), Problem> {
        self.check_running(tenant, turn).await?;
        let Some(budget) = self.limits(tenant).await?.budget_cycles else { return Ok(()) };
        self.settle(tenant, turn).await?;
        let whose = tenant.clone();
        let used = self.on_book(move |book| book.used_cycles(&whose)).await?;
        if used < budget {
            return Ok(());
        }
        let message = format!(
            "your key's budget of {budget} cycles is used up ({used}): ask whoever runs this gateway for another key"
        );
        Err(Problem::new(ProblemKind::TooMany, message))
    }

    /// Whether a tenant may have one more session or Groth16 receipt under way.
    pub(super) async fn check_running(&self, tenant: &Tenant, turn: &Turn) -> Result<(), Problem> {
        let sessions_max = self.limits(tenant).await?.sessions_max;
        let whose = tenant.clone();
        let (open, snarks) =
            self.on_book(move |book| Ok((book.count_open(&whose)?, book.count_open_snarks(&whose)?))).await?;
        if open.saturating_add(snarks) < sessions_max
            || self.settle(tenant, turn).await?.saturating_add(snarks) < sessions_max
        {
            return Ok(());
        }
        let message = format!(
            "your key may have {sessions_max} sessions at the same time, Groth16 receipts that are being made included, and has: wait for \
             one to end, or stop one"
        );
        Err(Problem::new(ProblemKind::TooMany, message))
    }

    /// Writes down which of a tenant's sessions have ended and what they took. Tells how many run. Needs the turn: a session that is being
    /// taken looks as if its job was gone.
    pub(super) async fn settle(&self, tenant: &Tenant, _turn: &Turn) -> Result<u32, Problem> {
        let whose = tenant.clone();
        let rows = self.on_book(move |book| book.open_sessions(&whose)).await?;
        let jobs: Vec<JobId> = rows.iter().filter_map(|row| row.job).collect();
        let mut ended = BTreeMap::new();
        for some in jobs.chunks(ASKED_MAX) {
            ended.extend(self.door.ended(some.to_vec()).await?);
        }
        let mut running = 0;
        for row in rows {
            let ended = match row.job {
                Some(job) => {
                    ended.remove(&job).map(|found| found.as_ref().map_or_else(status::of_removed, status::of_job))
                }
                None => Some(status::of_execution(&row)).filter(|status| status.state != State::Running),
            };
            let Some(status) = ended else {
                running += 1;
                continue;
            };
            // Its job keeps its result.
            let end = End { at_ms: unix_ms(), result: Ok(Vec::new()), stats: status.stats, log: Vec::new() };
            self.on_book(move |book| book.end(row.id, &end)).await?;
        }
        Ok(running)
    }

    pub(super) async fn settle_all(&self) -> Result<(), Problem> {
        for tenant in self.on_book(super::Book::open_tenants).await? {
            let turn = self.turn(&tenant).await;
            self.settle(&tenant, &turn).await?;
        }
        Ok(())
    }

    async fn submit(&self, tenant: &Tenant, job: JobId, row: &SessionRow, receipts: &[String]) -> Result<(), Problem> {
        let program = self.read_program(tenant, row.image).await?;
        let program = self.door.upload_program(program).await?.blob;
        let input = match row.input {
            Some(id) => Some(self.door.upload_file(self.open(tenant, Upload::Input(id)).await?).await?),
            None => None,
        };
        let mut assumptions = Vec::with_capacity(receipts.len());
        for id in receipts {
            assumptions.push(self.door.upload(self.assumption(tenant, id).await?).await?);
        }
        let request = JobRequest {
            program,
            input,
            assumptions,
            po2: None,
            outcome: Outcome::Succinct,
            cycles_max: Some(row.cycles_max),
            priority: self.limits(tenant).await?.priority,
            private: None,
        };
        self.door.submit_as(job, request).await.map(drop)
    }

    /// A session of this tenant.
    pub(super) async fn row(&self, tenant: &Tenant, id: Uuid) -> Result<SessionRow, Problem> {
        let whose = tenant.clone();
        let row = self.on_book(move |book| book.session(&whose, id)).await?;
        row.ok_or_else(|| Problem::not_found(format!("there is no session {id} of yours here")))
    }

    pub(super) async fn status_of(&self, row: &SessionRow) -> Result<SessionStatus, Problem> {
        let Some(job) = row.job else { return Ok(status::of_execution(row)) };
        match self.door.job(job).await {
            Ok(found) => Ok(status::of_job(&found)),
            Err(problem) if problem.kind == ProblemKind::NotFound => Ok(status::of_removed()),
            Err(problem) => Err(problem),
        }
    }

    pub(super) async fn stop_session(&self, tenant: &Tenant, id: Uuid) -> Result<(), Problem> {
        match self.row(tenant, id).await?.job {
            Some(job) => self.door.stop(job).await,
            None => self.abort_execution(id).await,
        }
    }

    pub(super) async fn journal_of(&self, row: &SessionRow) -> Result<Vec<u8>, Problem> {
        if row.job.is_some() {
            return Err(Problem::not_found("this session proves: its journal is in its receipt"));
        }
        match row.end.clone().map(|end| end.result) {
            Some(Ok(journal)) => Ok(journal),
            Some(Err(error)) => Err(Problem::not_found(format!("there is no journal: {error}"))),
            None => Err(Problem::not_found("there is no journal yet: the guest still runs")),
        }
    }
}
