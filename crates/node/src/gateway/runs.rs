//! A job's guest: its segments and keccak requests, its end, and that it runs once more when its run was cut off or a segment is lost. Steps I and II.

use manyhands_core::requester::Input;
use manyhands_core::{ExecutionInfo, RequestInfo, SegmentInfo};
use manyhands_proto::message::FailReason;
use manyhands_proto::worker::Execution;
use manyhands_proto::{BlobRef, Digest, JobId, LeaseId, Unit};
use manyhands_zkvm::Claim;

use super::assumptions::in_order;
use super::jobs_db::{JobRow, Piece};
use super::shell::Shell;
use super::tasks::named;
use crate::proofs::Zkvm;
use crate::worker::WorkerError;

/// Times that a guest is run if its worker dies, or a segment that it left is lost, before the job fails.
pub(super) const RUNS_MAX: u32 = 5;

/// Does a worker's work anew, as often, if the worker dies: that need not be the fault of `what` it works on.
pub(super) async fn anew_if_it_dies<T, F: Future<Output = Result<T, WorkerError>>>(
    what: &str,
    mut run: impl FnMut() -> F,
) -> Result<T, WorkerError> {
    let mut runs = 1;
    loop {
        match run().await {
            Err(error @ WorkerError::Died { .. }) if runs < RUNS_MAX => {
                tracing::warn!(%error, "{what} is begun once more");
                runs += 1;
            }
            ended => return ended,
        }
    }
}

/// Leases of a unit are counted from here on with each run of the guest: more than a unit ever has.
const ATTEMPTS_PER_RUN: u32 = 1_000;

/// The number before that of a unit's first lease, in the run of the guest after so many others.
pub(super) const fn attempts_from(runs: u32) -> u32 {
    runs.saturating_mul(ATTEMPTS_PER_RUN)
}

impl Shell {
    /// Takes jobs up again that were open when the gateway stopped, and what it knew of nodes. Tells of how many jobs.
    pub(crate) fn resume(&mut self) -> rusqlite::Result<usize> {
        self.recall()?;
        let rows = self.db.open_jobs()?;
        let count = rows.len();
        for row in rows {
            let job = row.job;
            let execution = self.db.execution(job)?;
            let runs = if execution.is_some() { row.runs } else { self.db.begin_anew(job)? };
            let restored = self.db.results(job)?;
            tracing::info!(%job, executed = execution.is_some(), verified = restored.len(), "resuming");
            let needed = execution.iter().flat_map(|(_, pieces)| pieces);
            let needed: Vec<Piece> = needed.filter(|piece| !restored.contains_key(&piece.unit)).cloned().collect();
            if execution.is_some() {
                // The guest ran to its end: what it left is here, and the order to run it again is moot.
                self.moot.insert(job);
            }
            self.begin(JobRow { runs, ..row }, restored);
            if let Some((execution, pieces)) = execution {
                pieces.into_iter().for_each(|piece| self.cut(job, piece));
                self.executed(job, execution);
                tokio::spawn(self.tasks.clone().look_at(job, needed));
            }
        }
        Ok(count)
    }

    /// Steps I and II: a segment is cut, or a keccak request made, and stored.
    pub(super) fn cut(&mut self, job: JobId, piece: Piece) {
        let now = self.clock.now();
        match self.announced(job, &piece) {
            Ok(input) => {
                self.core.handle(now, input);
                self.core.handle(now, Input::Stored { job, unit: piece.unit, blob: piece.blob, key: piece.key });
            }
            Err(why) => {
                let reason = format!("{} has no claim: {why}", named(piece.unit));
                self.core.handle(now, Input::Broken { job, reason });
            }
        }
    }

    fn announced(&mut self, job: JobId, piece: &Piece) -> Result<Input<Zkvm>, String> {
        let (index, po2) = (piece.unit.range().start, piece.po2);
        if !matches!(piece.unit, Unit::Keccak(_)) {
            let claim = Claim::decode(&piece.claim).map_err(|error| error.to_string())?;
            if let Some(open) = self.open.get_mut(&job) {
                open.relied_on.extend(claim.assumptions());
            }
            return Ok(Input::Segmented { job, segment: SegmentInfo { index, po2, claim } });
        }
        let claim = piece.claim.as_slice().try_into().map(Digest);
        let claim = claim.map_err(|_| format!("{} bytes are no digest", piece.claim.len()))?;
        if let Some(open) = self.open.get_mut(&job) {
            open.requests.push(claim);
        }
        Ok(Input::Requested { job, request: RequestInfo { index, po2, claim } })
    }

    /// What a unit works on is lost. The guest runs once more if it is still to be proved; who told of it may have looked before it was.
    pub(super) fn lost(&mut self, job: JobId, unit: Unit, blob: BlobRef, reason: String) {
        let is_known = self.db.piece(job, unit).is_ok_and(|piece| piece.is_some_and(|piece| piece.blob == blob));
        if is_known && self.core.job(&job).is_some_and(|job| job.needs_blob(unit)) {
            self.cut_off(job, reason);
        }
    }

    /// A guest's run was cut off, or left a segment that is lost: it runs once more, unless that has been tried.
    pub(super) fn cut_off(&mut self, job: JobId, reason: String) {
        let is_open = self.core.job(&job).is_some_and(|job| job.is_open());
        let Some(open) = self.open.get_mut(&job).filter(|_| is_open) else { return };
        open.cut_off += 1;
        if open.cut_off >= RUNS_MAX {
            let reason = format!("{reason} (the guest was run {RUNS_MAX} times)");
            return self.core.handle(self.clock.now(), Input::Broken { job, reason });
        }
        tracing::warn!(%job, reason, "the guest is run once more");
        (open.journal, open.log) = (Vec::new(), Vec::new());
        open.relied_on.clear();
        open.requests.clear();
        if let Some(execution) = open.execution.take() {
            execution.abort();
        }
        match self.db.begin_anew(job) {
            Ok(runs) => {
                open.row.runs = runs;
                let attempts_from = attempts_from(runs);
                self.core.handle(self.clock.now(), Input::Anew { job, attempts_from });
            }
            Err(error) => self.or_broken(job, Err(error)),
        }
    }

    pub(super) fn executed(&mut self, job: JobId, execution: Execution) {
        tracing::info!(%job, segments = execution.segments, cycles = execution.user_cycles, "the guest ended");
        let Some(open) = self.open.get_mut(&job) else { return };
        open.journal = execution.journal.into_vec();
        let ordered = in_order(&open.row.assumptions, &open.relied_on, &open.requests);
        let keccaks = open.requests.len() as u32;
        let result = ordered.map(|assumptions| ExecutionInfo {
            segments: execution.segments,
            user_cycles: execution.user_cycles,
            total_cycles: execution.total_cycles,
            assumptions,
            keccaks,
        });
        self.core.handle(self.clock.now(), Input::Executed { job, result });
    }

    /// A node could not fetch what the guest left: perhaps it is we who lost it.
    pub(super) fn look_for_what_was_not_fetched(&self, lease: LeaseId, reason: &FailReason) {
        let FailReason::Fetch(_) = reason else { return };
        let is_needed = self.core.job(&lease.job).is_some_and(|job| job.needs_blob(lease.unit));
        if let Some(piece) = self.db.piece(lease.job, lease.unit).ok().flatten().filter(|_| is_needed) {
            tokio::spawn(self.tasks.clone().look_at(lease.job, vec![piece]));
        }
    }
}

#[cfg(test)]
mod tests {
    use manyhands_api::types::JobStatus;
    use manyhands_blob::ChunkStore;
    use manyhands_core::{Assumption, JobSpec, Outcome, Policy, Priority, Ruling, Verdict};
    use manyhands_proto::message::Holder;
    use manyhands_proto::worker::Identity;
    use manyhands_proto::{Digest, NodeId, Po2};
    use manyhands_vbs::Trust;

    use super::*;
    use crate::gateway::jobs_db::JobsDb;
    use crate::gateway::owners::owner_of;
    use crate::gateway::questions::Question;
    use crate::gateway::tasks::tests::tasks;
    use crate::scores::Scoreboard;
    use crate::swarm::Storage;

    /// The claim of a last segment, as `manyhands-zkvm` is tested with.
    const CLAIM: &[u8] = include_bytes!("../../../zkvm/testdata/segment1.claim");

    /// A gateway that was restarted with a job of one segment, whose guest had ended.
    async fn resumed(dir: &std::path::Path) -> (Shell, JobId, BlobRef) {
        let store = ChunkStore::open(&dir.join("chunks.redb"), 1 << 24).unwrap();
        let (tasks, _) = tasks(store.clone(), Storage::Embedded).await;
        let job = JobId([1; 16]);
        let blob = store.put_blob(&owner_of(job), b"a segment").unwrap();
        let db = JobsDb::open(&dir.join("jobs.db")).unwrap();
        let spec = JobSpec { po2: Po2::MIN, is_auto: false, outcome: Outcome::Composite, priority: Priority::Normal };
        let row = JobRow {
            job,
            image_id: Digest([1; 32]),
            program: blob,
            input: None,
            assumptions: Vec::new(),
            spec,
            cycles_max: 1,
            circle: None,
            sizing: None,
            runs: 0,
        };
        db.submit(&row).unwrap();
        db.add_piece(job, &Piece { unit: Unit::Prove(0), po2: Po2::MIN, claim: CLAIM.to_vec(), blob, key: None })
            .unwrap();
        let journal = serde_bytes::ByteBuf::new();
        let execution = Execution { image_id: row.image_id, segments: 1, user_cycles: 1, total_cycles: 1, journal };
        db.add_execution(job, &execution).unwrap();
        let me = Holder { node: tasks.net.node_id(), addresses: Vec::new() };
        let key = manyhands_net::Identity::generate();
        let scores = Scoreboard::open(dir.join("scores"), Trust::default());
        let worker = Identity { zkvm: String::new(), recursion: false };
        let mut shell = Shell::new(db, tasks, worker, me, (key, scores), Policy::default());
        assert_eq!(shell.resume().unwrap(), 1);
        (shell, job, blob)
    }

    #[tokio::test]
    async fn a_node_that_was_denied_is_denied_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (mut shell, _, _) = resumed(dir.path()).await;
        let node = NodeId([5; 32]);
        shell.rule(node, Some(Ruling { verdict: Verdict::Denied, reason: "a lab's".to_owned() })).unwrap();
        assert!(shell.core.peers().get(&node).unwrap().is_denied());
        let Shell { tasks, worker, me, identity, scores, .. } = shell;
        let db = JobsDb::open(&dir.path().join("jobs.db")).unwrap();
        let mut again = Shell::new(db, tasks, worker, me, (identity, scores), Policy::default());
        again.resume().unwrap();
        assert!(again.core.peers().get(&node).unwrap().is_denied());
    }

    /// Every node that was leased it tells of it.
    #[tokio::test]
    async fn a_lost_segment_has_the_guest_run_once_more_however_many_tell_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut shell, job, blob) = resumed(dir.path()).await;
        let other = BlobRef { size_bytes: 1, ..blob };
        shell.lost(job, Unit::Prove(0), other, "of an earlier run".to_owned());
        shell.lost(job, Unit::Prove(1), blob, "there is no such segment".to_owned());
        assert_eq!(shell.open[&job].cut_off, 0);
        for _ in 0..2 * RUNS_MAX {
            shell.lost(job, Unit::Prove(0), blob, "it is lost".to_owned());
        }
        assert_eq!((shell.open[&job].cut_off, shell.open[&job].row.runs), (1, 1));
        assert!(shell.core.job(&job).unwrap().is_open() && shell.db.execution(job).unwrap().is_none());
    }

    /// What a run left is forgotten as a whole, requests included: the root of two runs' requests is nothing that the guest relies on.
    #[tokio::test]
    async fn a_second_run_has_keccak_requests_of_its_own() {
        const GUEST: &[u8] = include_bytes!("../../../zkvm/testdata/keccak.claim");
        const REQUESTS: [&[u8]; 2] = [
            include_bytes!("../../../zkvm/testdata/keccak0.claim"),
            include_bytes!("../../../zkvm/testdata/keccak1.claim"),
        ];
        let dir = tempfile::tempdir().unwrap();
        let (mut shell, job, blob) = resumed(dir.path()).await;
        let journal = || serde_bytes::ByteBuf::new();
        for run in 1..=2 {
            shell.cut_off(job, "it died".to_owned());
            for (index, claim) in (0..).zip(REQUESTS) {
                let unit = Unit::Keccak(index);
                shell.cut(job, Piece { unit, po2: Po2::MIN, claim: claim.to_vec(), blob, key: None });
            }
            shell.cut(job, Piece { unit: Unit::Prove(0), po2: Po2::MIN, claim: GUEST.to_vec(), blob, key: None });
            let image_id = Digest([1; 32]);
            let execution = Execution { image_id, segments: 1, user_cycles: 1, total_cycles: 1, journal: journal() };
            shell.executed(job, execution);
            let known = shell.core.job(&job).unwrap();
            let info = known.execution.as_ref().unwrap_or_else(|| panic!("run {run}: {:?}", known.phase));
            assert_eq!((info.keccaks, info.assumptions.as_slice()), (2, &[Assumption::Keccak][..]), "run {run}");
            assert!(known.needs_blob(Unit::Keccak(1)));
        }
        // A request that is no digest ends the job, and not the gateway.
        shell.cut_off(job, "it died".to_owned());
        shell.cut(job, Piece { unit: Unit::Keccak(0), po2: Po2::MIN, claim: vec![1], blob, key: None });
        assert!(!shell.core.job(&job).unwrap().is_open());
    }

    #[tokio::test]
    async fn a_guest_whose_worker_dies_each_time_fails_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (mut shell, job, _) = resumed(dir.path()).await;
        let told = |shell: &mut Shell| {
            let (to, mut answer) = tokio::sync::oneshot::channel();
            shell.answer(Question::Ended(vec![job, JobId([9; 16])], to));
            let phase = |found: JobStatus| found.view.phase;
            answer.try_recv().unwrap().unwrap().into_values().map(|found| found.map(phase)).collect::<Vec<_>>()
        };
        for _ in 1..RUNS_MAX {
            shell.cut_off(job, "it died".to_owned());
            assert!(shell.core.job(&job).unwrap().is_open());
        }
        assert_eq!(told(&mut shell), [None], "the one that is not there");
        shell.cut_off(job, "it died".to_owned());
        assert!(!shell.core.job(&job).unwrap().is_open());
        assert_eq!(told(&mut shell), [Some("failed".to_owned()), None]);
        // What comes after the end changes nothing in the database.
        let runs = shell.db.begin_anew(job).unwrap();
        shell.cut_off(job, "too late".to_owned());
        assert_eq!(shell.db.begin_anew(job).unwrap(), runs + 1);
    }
}
