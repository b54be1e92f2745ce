//! Sessions: taken, found again, told of, stopped.

use manyhands_api::Gateway as _;
use manyhands_api::bonsai::types::{CreateSession, SessionStatus, State, Stats, Tenant, Upload, Uuid};
use manyhands_api::types::{JobRequest, JobStatus, Problem, ProblemKind};
use manyhands_core::job::UnitState;
use manyhands_core::{Outcome, Priority};
use manyhands_proto::limits::INPUT_BYTES_MAX;
use manyhands_proto::{Digest, JobId};
use sha2::{Digest as _, Sha256};

use super::Desk;
use super::book::{End, SessionRow, unix_ms};
use manyhands_core::requester::STOPPED;

impl Desk {
    /// Takes a session, or finds the one that is the same and runs or has succeeded.
    pub(super) async fn create_session(&self, tenant: &Tenant, request: CreateSession) -> Result<Uuid, Problem> {
        let _turn = self.creating.lock().await;
        let wanted = self.wanted(tenant, &request).await?;
        let (whose, fingerprint) = (tenant.clone(), wanted.fingerprint);
        for row in self.on_book(move |book| book.same(&whose, fingerprint)).await? {
            if matches!(self.status_of(&row).await?.state, State::Running | State::Succeeded) {
                return Ok(row.id);
            }
        }
        self.check_open_sessions(tenant).await?;
        let (id, row) = (wanted.id, wanted.clone());
        self.on_book(move |book| book.add_session(&row)).await?;
        let begun = match wanted.job {
            Some(job) => self.submit(tenant, job, &wanted).await,
            None => {
                self.execute(wanted);
                Ok(())
            }
        };
        if let Err(problem) = begun {
            self.on_book(move |book| book.remove_session(id)).await?;
            return Err(problem);
        }
        Ok(id)
    }

    /// What is asked for, as it would be written down.
    async fn wanted(&self, tenant: &Tenant, request: &CreateSession) -> Result<SessionRow, Problem> {
        if !request.assumptions.is_empty() {
            return Err(Problem::new(
                ProblemKind::Unfit,
                "this gateway resolves no assumptions (env::verify) yet: prove the inner program and verify its receipt in the guest, or \
                 use a prover that does",
            ));
        }
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
        let limits = self.limits(tenant).await?;
        let allowed = limits.cycles_max.min(self.door.cycles_max);
        let cycles_max = request.cycles_max().unwrap_or(allowed).min(allowed);
        let mut hasher = Sha256::new();
        hasher.update(image.0);
        hasher.update(input_digest);
        hasher.update([u8::from(request.execute_only)]);
        hasher.update(cycles_max.to_le_bytes());
        Ok(SessionRow {
            id: Uuid::from_random(rand::random()),
            tenant: tenant.clone(),
            fingerprint: hasher.finalize().into(),
            job: (!request.execute_only).then(|| JobId(rand::random())),
            image,
            input,
            cycles_max,
            created_ms: unix_ms(),
            end: None,
        })
    }

    async fn check_open_sessions(&self, tenant: &Tenant) -> Result<(), Problem> {
        let limits = self.limits(tenant).await?;
        let whose = tenant.clone();
        let mut open = 0;
        for row in self.on_book(move |book| book.open_sessions(&whose)).await? {
            let is_running = self.status_of(&row).await.is_ok_and(|status| status.state == State::Running);
            open += u32::from(is_running);
            if open >= limits.sessions_max {
                let message = format!(
                    "your key may have {open} sessions at the same time, and has: wait for one to end, or stop one"
                );
                return Err(Problem::new(ProblemKind::TooMany, message));
            }
            if !is_running {
                // Looked at once: its job keeps its result.
                let end = End { at_ms: unix_ms(), result: Ok(Vec::new()), stats: None, log: Vec::new() };
                self.on_book(move |book| book.end(row.id, &end)).await?;
            }
        }
        Ok(())
    }

    async fn submit(&self, tenant: &Tenant, job: JobId, row: &SessionRow) -> Result<(), Problem> {
        let program = self.read_program(tenant, row.image).await?;
        let program = self.door.upload_program(program).await?.blob;
        let input = match row.input {
            Some(id) => {
                let bytes = self.read(tenant, Upload::Input(id), INPUT_BYTES_MAX).await?;
                Some(self.door.upload_input(bytes).await?.blob)
            }
            None => None,
        };
        let request = JobRequest {
            program,
            input,
            po2: None,
            outcome: Outcome::Succinct,
            cycles_max: Some(row.cycles_max),
            priority: Priority::Normal,
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
        let Some(job) = row.job else { return Ok(execution_status(row)) };
        match self.door.job(job).await {
            Ok(status) => Ok(job_status(&status)),
            Err(problem) if problem.kind == ProblemKind::NotFound => Ok(SessionStatus {
                error: Some("its job was removed at the gateway".to_owned()),
                ..blank(State::Failed)
            }),
            Err(problem) => Err(problem),
        }
    }

    pub(super) async fn stop_session(&self, tenant: &Tenant, id: Uuid) -> Result<(), Problem> {
        let row = self.row(tenant, id).await?;
        if self.status_of(&row).await?.state != State::Running {
            return Ok(());
        }
        match row.job {
            Some(job) => self.door.abort(job).await,
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

fn blank(state: State) -> SessionStatus {
    SessionStatus { state, stage: String::new(), error: None, elapsed_s: 0.0, stats: None, has_receipt: false }
}

fn execution_status(row: &SessionRow) -> SessionStatus {
    let until_ms = row.end.as_ref().map_or_else(unix_ms, |end| end.at_ms);
    let elapsed_s = (until_ms - row.created_ms).max(0) as f64 / 1000.0;
    let (state, error, stats) = match &row.end {
        None => (State::Running, None, None),
        Some(End { result: Ok(_), stats, .. }) => (State::Succeeded, None, *stats),
        Some(End { result: Err(error), .. }) if error == STOPPED => (State::Aborted, Some(error.clone()), None),
        Some(End { result: Err(error), stats, .. }) => (State::Failed, Some(error.clone()), *stats),
    };
    let stage = if state == State::Running { "Executor" } else { "" };
    SessionStatus { stage: stage.to_owned(), error, elapsed_s, stats, ..blank(state) }
}

fn job_status(status: &JobStatus) -> SessionStatus {
    let view = &status.view;
    let state = match (view.phase.as_str(), view.error.as_deref()) {
        ("done", _) => State::Succeeded,
        ("failed", Some(STOPPED)) => State::Aborted,
        ("failed", _) => State::Failed,
        _ => State::Running,
    };
    let figures = view.segments.zip(view.total_cycles).zip(view.user_cycles);
    let stats =
        figures.map(|((segments, total_cycles), cycles)| Stats { segments: segments.into(), total_cycles, cycles });
    SessionStatus {
        state,
        stage: if state == State::Running { stage(status) } else { String::new() },
        error: view.error.clone().filter(|_| state != State::Succeeded),
        elapsed_s: view.elapsed_ms as f64 / 1000.0,
        stats,
        has_receipt: state == State::Succeeded,
    }
}

/// How far a job is, in Bonsai's words.
fn stage(status: &JobStatus) -> String {
    let view = &status.view;
    if view.phase == "assembling" {
        return "Finalize".to_owned();
    }
    let proved = view.grid.iter().filter(|state| **state == UnitState::Verified).count();
    let known = view.segments.map_or(view.grid.len(), |segments| segments as usize);
    if view.grid.is_empty() {
        return if view.is_surveyed { "Setup" } else { "Executor" }.to_owned();
    }
    if view.segments.is_none() || proved < known {
        return format!("ProveSegments: {proved}/{known}");
    }
    // Lifts and joins: all units that are no proofs.
    let (done, total) = (view.units_done as usize, view.units_total as usize);
    format!("RecursionJoin: {}/{}", done.saturating_sub(proved), total.saturating_sub(known))
}
