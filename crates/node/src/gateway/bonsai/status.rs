//! How far a session is, in Bonsai's words: of its job, or of its own execution.

use manyhands_api::bonsai::types::{SessionStatus, State, Stats};
use manyhands_api::types::JobStatus;
use manyhands_core::job::UnitState;
use manyhands_core::requester::STOPPED;
use manyhands_proto::limits::KECCAK_WEIGHT;

use super::book::{End, SessionRow};
use crate::gateway::sqlite::unix_ms;

fn blank(state: State) -> SessionStatus {
    SessionStatus { state, stage: String::new(), error: None, elapsed_s: 0.0, stats: None, has_receipt: false }
}

/// How a session is whose job was removed at the gateway.
pub(super) fn of_removed() -> SessionStatus {
    SessionStatus { error: Some("its job was removed at the gateway".to_owned()), ..blank(State::Failed) }
}

/// How a session is that only executes.
pub(super) fn of_execution(row: &SessionRow) -> SessionStatus {
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

/// How a session is that proves.
pub(super) fn of_job(status: &JobStatus) -> SessionStatus {
    let view = &status.view;
    let state = match (view.phase.as_str(), view.error.as_deref()) {
        ("done", _) => State::Succeeded,
        ("failed", Some(STOPPED)) => State::Aborted,
        ("failed", _) => State::Failed,
        _ => State::Running,
    };
    let figures = view.segments.zip(view.total_cycles).zip(view.user_cycles);
    let stats = match figures {
        Some(((segments, total_cycles), own)) => {
            let cycles = own.saturating_add(view.keccak_cycles.saturating_mul(KECCAK_WEIGHT));
            Some(Stats { segments: segments.into(), total_cycles, cycles })
        }
        None if state == State::Running => None,
        // It ended before its guest did, and took as much as was cut of it.
        None => {
            let segments = view.grid.len() as u64;
            let total_cycles = segments.saturating_mul(view.po2.cycles());
            let cycles = total_cycles.saturating_add(view.keccak_cycles.saturating_mul(KECCAK_WEIGHT));
            Some(Stats { segments, total_cycles, cycles })
        }
    };
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

#[cfg(test)]
pub(super) mod tests {
    use manyhands_api::bonsai::types::{Tenant, Uuid};
    use manyhands_core::view::JobView;
    use manyhands_core::{Outcome, Priority};
    use manyhands_proto::{Digest, JobId, Po2};

    use super::*;

    /// A job as the event loop tells of it.
    pub(in crate::gateway::bonsai) fn job(
        phase: &str,
        segments: Option<u32>,
        grid: &[UnitState],
        units: (u32, u32),
    ) -> JobStatus {
        let view = JobView {
            job: JobId([1; 16]),
            phase: phase.to_owned(),
            error: None,
            po2: Po2::MIN,
            is_surveyed: false,
            sizing: None,
            outcome: Outcome::Succinct,
            priority: Priority::Normal,
            is_private: false,
            elapsed_ms: 1_500,
            segments,
            user_cycles: segments.map(|_| 70),
            total_cycles: segments.map(|_| 90),
            keccaks: 0,
            keccak_cycles: 0,
            grid: grid.to_vec(),
            units_done: units.0,
            units_total: units.1,
            leases: Vec::new(),
            results: Vec::new(),
            tally: manyhands_core::Tally::default(),
            eta_ms: None,
            waiting: None,
        };
        JobStatus { view, image_id: Digest([2; 32]), receipt: None, incidents: Vec::new() }
    }

    #[test]
    fn a_job_goes_through_bonsais_stages() {
        let (open, proved) = (UnitState::Stored, UnitState::Verified);
        let stage = |status: &JobStatus| of_job(status).stage;
        let mut surveyed = job("open", None, &[], (0, 0));
        assert_eq!(stage(&surveyed), "Executor");
        surveyed.view.is_surveyed = true;
        assert_eq!(stage(&surveyed), "Setup");
        // While the guest runs, as many segments are known as were cut.
        assert_eq!(stage(&job("open", None, &[proved, open], (1, 6))), "ProveSegments: 1/2");
        assert_eq!(stage(&job("open", None, &[proved, proved], (2, 6))), "ProveSegments: 2/2");
        assert_eq!(stage(&job("open", Some(3), &[proved, proved, open], (3, 8))), "ProveSegments: 2/3");
        // Three proofs, three lifts, two joins.
        assert_eq!(stage(&job("open", Some(3), &[proved; 3], (5, 8))), "RecursionJoin: 2/5");
        assert_eq!(stage(&job("assembling", Some(3), &[proved; 3], (8, 8))), "Finalize");
        assert_eq!(stage(&job("done", Some(3), &[proved; 3], (8, 8))), "");
    }

    #[test]
    fn ends_are_told_apart() {
        let done = of_job(&job("done", Some(1), &[UnitState::Verified], (2, 2)));
        assert_eq!((done.state, done.has_receipt, done.elapsed_s), (State::Succeeded, true, 1.5));
        assert_eq!(done.stats, Some(Stats { segments: 1, total_cycles: 90, cycles: 70 }));
        let with = |error: &str| {
            let mut status = job("failed", None, &[], (0, 0));
            status.view.error = Some(error.to_owned());
            of_job(&status)
        };
        let (failed, stopped) = (with("the guest panicked"), with(STOPPED));
        assert_eq!((failed.state, failed.has_receipt), (State::Failed, false));
        let mut cut = job("failed", None, &[UnitState::Verified, UnitState::Stored], (1, 6));
        cut.view.error = Some(STOPPED.to_owned());
        let cycles = 2 * Po2::MIN.cycles();
        assert_eq!(of_job(&cut).stats, Some(Stats { segments: 2, total_cycles: cycles, cycles }));
        assert_eq!((failed.error.as_deref(), stopped.state), (Some("the guest panicked"), State::Aborted));
        assert_eq!(of_removed().state, State::Failed);
    }

    #[test]
    fn an_execution_runs_until_it_is_written_down_as_ended() {
        let row = |end: Option<Result<Vec<u8>, &str>>| SessionRow {
            id: Uuid::from_bytes([1; 16]),
            tenant: Tenant("a".to_owned()),
            fingerprint: [0; 32],
            job: None,
            image: Digest([2; 32]),
            input: None,
            claims: Vec::new(),
            cycles_max: 9,
            created_ms: 1_000,
            end: end.map(|result| End {
                at_ms: 3_000,
                result: result.map_err(str::to_owned),
                stats: None,
                log: Vec::new(),
            }),
        };
        let running = of_execution(&row(None));
        assert_eq!((running.state, running.stage.as_str()), (State::Running, "Executor"));
        let ended = of_execution(&row(Some(Ok(b"journal".to_vec()))));
        assert_eq!((ended.state, ended.elapsed_s, ended.has_receipt), (State::Succeeded, 2.0, false));
        let failed = of_execution(&row(Some(Err("it panicked"))));
        assert_eq!((failed.state, failed.error.as_deref()), (State::Failed, Some("it panicked")));
        assert_eq!(of_execution(&row(Some(Err(STOPPED)))).state, State::Aborted);
    }
}
