//! The gateway's event loop: network events, requests at the HTTP door, finished tasks and the clock go into the state machine; its
//! commands become tasks. No rule is in here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use manyhands_api::types::{Incident, JobStatus, Problem};
use manyhands_blob::transfer::{BlobServer, TransferLimits};
use manyhands_core::requester::{AskId, Command, Event, Input, Requester};
use manyhands_core::view::JobView;
use manyhands_core::{Binder, Origin, Policy};
use manyhands_net::{Identity as NetIdentity, Net, NetError, NetEvent, Reply, peer_text};
use manyhands_proto::limits::GUEST_LOG_BYTES_MAX;
use manyhands_proto::message::{Blame, Holder, JobNotice, Request};
use manyhands_proto::worker::Identity;
use manyhands_proto::{BlobRef, Digest, JobId, NodeId};
use manyhands_vbs::Told;
use manyhands_zkvm::Reliance;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::jobs_db::{JobRow, JobsDb};
use super::questions::Question;
use super::runs::attempts_from;
use super::scoring::LOOK_AGAIN;
use super::tasks::{Claimed, Feedback, Tasks};
use crate::blobs;
use crate::clock::{Clock, unix_s};
use crate::proofs::Zkvm;
use crate::scores::Scoreboard;

/// Refused or lost leases that a job's status shows.
const INCIDENTS_MAX: usize = 100;

/// How often an end that could not be written, or blobs that could not be released, are tried again: a disk with room again is a
/// person's doing.
const TIE_UP: Duration = Duration::from_secs(5);

/// What the loop keeps of an open job beside the state machine.
#[derive(Debug)]
pub(crate) struct OpenJob {
    pub(crate) row: JobRow,
    pub(crate) journal: Vec<u8>,
    /// What the guest relied on, as its last segment says.
    pub(super) relied_on: Vec<Reliance>,
    /// What its keccak requests claim, in their order.
    pub(super) requests: Vec<Digest>,
    pub(crate) receipt: Option<BlobRef>,
    pub(crate) log: Vec<u8>,
    pub(crate) incidents: VecDeque<Incident>,
    pub(super) execution: Option<AbortHandle>,
    /// How often its guest's run was cut off since this gateway began with it.
    pub(super) cut_off: u32,
}

/// Where the loop's inputs come from.
pub(crate) struct Sources {
    pub(crate) net: mpsc::Receiver<NetEvent>,
    pub(crate) feedback: mpsc::Receiver<Feedback>,
    pub(crate) questions: mpsc::Receiver<Question>,
}

/// The loop's state.
pub(crate) struct Shell {
    pub(crate) core: Requester<Zkvm>,
    pub(crate) db: JobsDb,
    pub(crate) tasks: Tasks,
    pub(crate) blobs: BlobServer,
    pub(crate) clock: Clock,
    pub(crate) worker: Identity,
    pub(crate) me: Holder,
    pub(crate) peer_id: String,
    pub(crate) open: BTreeMap<JobId, OpenJob>,
    /// Jobs whose guest ran before a restart and need not run again.
    pub(crate) moot: BTreeSet<JobId>,
    pub(crate) asks: BTreeMap<AskId, Reply>,
    pub(crate) asked: u64,
    /// Jobs that have ended but for this: their end is not on disk, or their blobs are still held. A full disk does that.
    pub(crate) loose: BTreeSet<JobId>,
    /// What this gateway signs scores with.
    pub(crate) identity: NetIdentity,
    pub(crate) scores: Scoreboard,
    /// What the network was told of nodes.
    pub(super) told: Told,
    /// Nodes of which a stranger's word was looked into lately.
    pub(super) looked_into: BTreeSet<NodeId>,
}

impl Shell {
    /// A loop that has no jobs yet, of a gateway that is reached as `me`.
    pub(crate) fn new(
        db: JobsDb,
        tasks: Tasks,
        worker: Identity,
        me: Holder,
        (identity, scores): (NetIdentity, Scoreboard),
        policy: Policy,
    ) -> Self {
        let binder = Binder::new(rand::random(), unix_s());
        let blobs = BlobServer::new(tasks.store.clone(), TransferLimits::default());
        Self {
            core: Requester::new(policy, me.clone(), manyhands_zkvm::ZKVM_VERSION.to_owned(), binder),
            db,
            tasks,
            blobs,
            clock: Clock::start(),
            worker,
            peer_id: peer_text(me.node),
            me,
            open: BTreeMap::new(),
            moot: BTreeSet::new(),
            asks: BTreeMap::new(),
            asked: 0,
            loose: BTreeSet::new(),
            identity,
            scores,
            told: Told::default(),
            looked_into: BTreeSet::new(),
        }
    }

    /// Runs until `shutdown`.
    pub(crate) async fn run(mut self, mut sources: Sources, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut tie_up = tokio::time::interval(TIE_UP);
        let mut look_again = tokio::time::interval(LOOK_AGAIN);
        self.drain();
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = tie_up.tick() => std::mem::take(&mut self.loose).into_iter().for_each(|job| self.ended(job)),
                _ = look_again.tick() => self.looked_into.clear(),
                Some(event) = sources.net.recv() => self.net_event(event),
                Some(feedback) = sources.feedback.recv() => self.fed_back(feedback),
                Some(question) = sources.questions.recv() => self.answer(question),
                () = self.clock.until(self.core.poll_timeout()) => self.core.handle_timeout(self.clock.now()),
            }
            self.drain();
        }
        self.open.values().filter_map(|job| job.execution.as_ref()).for_each(AbortHandle::abort);
    }

    pub(crate) fn begin(&mut self, row: JobRow, restored: manyhands_core::Restored) {
        let (job, spec, runs) = (row.job, row.spec, row.runs);
        let open = OpenJob {
            row,
            journal: Vec::new(),
            relied_on: Vec::new(),
            requests: Vec::new(),
            receipt: None,
            log: Vec::new(),
            incidents: VecDeque::new(),
            execution: None,
            cut_off: 0,
        };
        let circle = open.row.circle.clone();
        self.open.insert(job, open);
        if let Some(to) = circle {
            self.core.handle(self.clock.now(), Input::Restrict { job, to });
        }
        let attempts_from = attempts_from(runs);
        self.core.handle(self.clock.now(), Input::Submit { job, spec, restored, attempts_from });
    }

    fn net_event(&mut self, event: NetEvent) {
        let now = self.clock.now();
        match event {
            NetEvent::Listening(address) => {
                tracing::debug!(%address, "listening");
                self.refresh_addresses();
            }
            NetEvent::Connected { node, .. } => tracing::debug!(node = %node.short(), "connected"),
            NetEvent::Identified { node, agent, addresses } => {
                tracing::debug!(node = %node.short(), agent, "identified");
                self.core.handle(now, Input::Located { node, addresses });
            }
            NetEvent::Disconnected { node } => self.core.handle(now, Input::Gone { node }),
            NetEvent::Request { from, ip, request, reply } => self.asked(from, ip, request, reply),
            NetEvent::Notice { .. } => {}
            NetEvent::Score { signed } => self.scores.hear(*signed),
            NetEvent::BlobStream { from, stream } => blobs::serve(&self.blobs, from, stream),
            NetEvent::Misbehaved { node, what } => {
                tracing::warn!(node = %node, %what, "misbehaved");
                self.core.handle(now, Input::Misbehaved { node, reason: what.to_string() });
            }
        }
    }

    /// A new listen address is asked for off the loop: the rule for whoever drains the network's events.
    fn refresh_addresses(&self) {
        let tasks = self.tasks.clone();
        tokio::spawn(async move {
            let addresses = tasks.net.addresses().await;
            let _ = tasks.feedback.send(Feedback::Addresses(addresses)).await;
        });
    }

    fn asked(&mut self, node: NodeId, ip: Option<IpAddr>, request: Request, reply: Reply) {
        let from = ip.map_or_else(Origin::default, |ip| match ip {
            IpAddr::V4(ip) => Origin::v4(ip.octets()),
            IpAddr::V6(ip) => Origin::v6(ip.octets()),
        });
        self.asked = self.asked.wrapping_add(1);
        let ask = AskId(self.asked);
        let input = match request {
            Request::Hello(capabilities) => Input::Hello { node, from, capabilities, ask },
            Request::Bid(mut bid) => {
                let shown = bid.score.take().and_then(|signed| self.shown(node, *signed)).map(Box::new);
                Input::Bid { node, from, bid, shown, ask }
            }
            Request::Heartbeat { lease, stage, remaining_ms } => {
                Input::Heartbeat { node, lease, stage, remaining_ms, ask }
            }
            Request::Done { lease, receipt, elapsed_ms } => Input::Done { node, lease, receipt, elapsed_ms, ask },
            Request::Fail { lease, reason } => {
                self.look_for_what_was_not_fetched(lease, &reason);
                Input::Fail { node, lease, reason, ask }
            }
            // Gateways cancel; nobody cancels a gateway's work. Dropping the reply closes the stream.
            Request::Cancel(_) => return,
        };
        self.asks.insert(ask, reply);
        self.core.handle(self.clock.now(), input);
    }

    fn fed_back(&mut self, feedback: Feedback) {
        match feedback {
            Feedback::Core(input) => {
                if let Input::Shown { shown, .. } = &*input {
                    self.believes(&shown.score);
                }
                if let Input::Checked { lease, .. } = *input {
                    self.let_go_late(lease.job);
                }
                self.core.handle(self.clock.now(), *input);
            }
            Feedback::Log { job, bytes } => {
                if let Some(open) = self.open.get_mut(&job) {
                    let room = GUEST_LOG_BYTES_MAX.saturating_sub(open.log.len());
                    open.log.extend(bytes.into_iter().take(room));
                }
            }
            Feedback::Piece { job, .. } if !self.open.contains_key(&job) => self.let_go_late(job),
            Feedback::Piece { job, piece } => {
                let written = self.db.add_piece(job, &piece);
                self.or_broken(job, written);
                self.cut(job, piece);
            }
            Feedback::Executed { job, execution } => {
                let written = self.db.add_execution(job, &execution);
                self.or_broken(job, written);
                self.executed(job, *execution);
            }
            Feedback::Receipt { job, receipt } => {
                if let Some(open) = self.open.get_mut(&job) {
                    open.receipt = Some(receipt);
                }
            }
            Feedback::CutOff { job, reason } => self.cut_off(job, reason),
            Feedback::Lost { job, unit, blob, reason } => self.lost(job, unit, blob, reason),
            Feedback::StillHeld { job } => drop(self.loose.insert(job)),
            Feedback::Addresses(addresses) => {
                self.me.addresses.clone_from(&addresses);
                self.core.set_addresses(addresses);
            }
        }
    }

    /// What was stored for a job after it had ended has nobody else to let it go.
    fn let_go_late(&self, job: JobId) {
        if !self.open.contains_key(&job) {
            self.let_go(job);
        }
    }

    fn let_go(&self, job: JobId) {
        // A database that does not say leaves nothing behind.
        let may_cache = self.db.may_cache(job).unwrap_or_default();
        tokio::spawn(self.tasks.clone().let_go(job, may_cache));
    }

    /// A job whose progress cannot be written down does not go on: it could not survive a restart.
    pub(super) fn or_broken(&mut self, job: JobId, written: rusqlite::Result<()>) {
        if let Err(error) = written {
            let reason = Self::database(&error).message;
            self.core.handle(self.clock.now(), Input::Broken { job, reason });
        }
    }

    /// Events go first: what they tell must be on disk before the commands that follow from it acknowledge anything.
    fn drain(&mut self) {
        while let Some(event) = self.core.poll_event() {
            self.note(event);
        }
        while let Some(command) = self.core.poll_command() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command<Zkvm>) {
        let tasks = self.tasks.clone();
        match command {
            Command::Survey { job, sizes } => {
                let due_bytes = self.core.bytes_due();
                if let Some(open) = self.open.get_mut(&job) {
                    let task = tokio::spawn(tasks.survey(open.row.clone(), sizes, due_bytes));
                    open.execution = Some(task.abort_handle());
                }
            }
            Command::Execute { job } if self.moot.remove(&job) => {}
            Command::Execute { job } => {
                if let Some(open) = self.open.get_mut(&job) {
                    let task = tokio::spawn(tasks.execute(open.row.clone()));
                    open.execution = Some(task.abort_handle());
                }
            }
            Command::Announce { job, po2, recursion } => {
                let gateway = self.me.clone();
                let notice = JobNotice { job, gateway, zkvm: self.core.zkvm().to_owned(), po2, recursion };
                tokio::spawn(announce(tasks.net, notice));
            }
            Command::Answer { ask, response } => {
                if let Some(reply) = self.asks.remove(&ask) {
                    reply.send(response);
                }
            }
            Command::Score { ask, score } => self.score(ask, score),
            Command::Challenge { id, po2, seed } => drop(tokio::spawn(tasks.challenge(id, po2, seed))),
            Command::ChallengeOver { id } => drop(tokio::spawn(tasks.let_go(id, false))),
            Command::Drop { ask } => drop(self.asks.remove(&ask)),
            Command::Cancel { node, lease } => {
                tokio::spawn(async move {
                    // A node that does not hear it learns it from the answer to its next heartbeat.
                    let _ = tasks.net.request(node, Request::Cancel(lease)).await;
                });
            }
            Command::Collect { node, is_here, lease, receipt, check } => {
                tokio::spawn(tasks.collect(Claimed { node, is_here, lease, receipt, check }));
            }
            Command::Assemble { job, parts } => {
                if let Some(open) = self.open.get(&job) {
                    tokio::spawn(tasks.assemble(open.row.clone(), parts, open.journal.clone()));
                }
            }
        }
    }

    /// Writes down what must not be lost, and tells the owner what he would want to know.
    fn note(&mut self, event: Event) {
        match event {
            Event::Sized { job, po2, sizing } => {
                tracing::info!(%job, %po2, why = sizing.as_ref().map(|sizing| sizing.why.as_str()), "sized");
                let written = self.db.size(job, po2, sizing.as_ref());
                if let Some(open) = self.open.get_mut(&job) {
                    (open.row.spec.po2, open.row.spec.is_auto, open.row.sizing) = (po2, false, sizing);
                }
                self.or_broken(job, written);
            }
            // What was known of it is void already in the database.
            Event::BegunAnew { job } => tracing::info!(%job, "begun anew"),
            Event::Leased { lease, node, predicted_ms, is_copy } => {
                tracing::info!(%lease, node = %node.short(), predicted_s = predicted_ms / 1000, is_copy, "leased");
            }
            Event::Resumed { lease, node } => {
                tracing::info!(%lease, node = %node.short(), "goes on, though it was thought lost");
            }
            Event::GivenBack { lease, node, reason } => {
                tracing::info!(%lease, node = %node.short(), reason, "given back");
                self.add_incident(lease, node, Blame::Network, reason);
            }
            Event::LetGo { lease, node } => {
                tracing::info!(%lease, node = %node.short(), "let go: it is slow by its own word, and others will be done well before");
            }
            Event::Verified { result } => {
                let written = self.db.add_result(&result);
                tracing::info!(lease = %result.lease, node = %result.node.short(), "verified");
                self.or_broken(result.lease.job, written);
            }
            Event::Refused { lease, node, refusal } => {
                tracing::warn!(%lease, %node, blame = ?refusal.blame, reason = refusal.reason, "refused");
                self.add_incident(lease, node, refusal.blame, refusal.reason);
            }
            Event::Standings { changed } => self.write_standings(&changed),
            Event::Challenged { node, po2 } => {
                tracing::info!(node = %node.short(), %po2, "challenged: it has no score that lasts, and there is no work for it");
            }
            Event::Suspended { nodes } => self.scores.suspend(&nodes, &self.me.node),
            Event::Distrusted { verifier, for_ms } => {
                let hours = for_ms / 3_600_000;
                tracing::warn!(%verifier, hours, "the nodes that this verifier calls able fail: its scores count for nothing for these hours. If it is named in gateway.verifiers, ask its owner");
            }
            Event::JobDone { job } => {
                tracing::info!(%job, "done");
                self.ended(job);
            }
            Event::JobFailed { job, reason } => {
                tracing::warn!(%job, reason, "failed");
                self.ended(job);
            }
        }
    }

    fn add_incident(&mut self, lease: manyhands_proto::LeaseId, node: NodeId, blame: Blame, reason: String) {
        let Some(open) = self.open.get_mut(&lease.job) else { return };
        if open.incidents.len() >= INCIDENTS_MAX {
            open.incidents.pop_front();
        }
        let lease = format!("{} #{}", lease.unit, lease.attempt);
        open.incidents.push_back(Incident { node, lease, blame, reason });
    }

    /// A job ended: its status goes to the database, its blobs but the receipt are released. What fails is tried again.
    fn ended(&mut self, job: JobId) {
        if let Some(status) = self.status_of(job) {
            let log = self.open.get(&job).map(|open| open.log.as_slice()).unwrap_or_default();
            if let Err(error) = self.db.end(&status, log) {
                // After a restart the job is open again, and resumed.
                tracing::error!(%job, %error, "a job's end could not be written to jobs.db; trying again");
                self.loose.insert(job);
                return;
            }
        }
        if let Some(open) = self.open.remove(&job) {
            open.execution.iter().for_each(AbortHandle::abort);
        }
        self.core.forget(&job);
        self.let_go(job);
    }

    /// How an open job is.
    pub(crate) fn status_of(&self, job: JobId) -> Option<JobStatus> {
        let open = self.open.get(&job)?;
        Some(JobStatus {
            view: JobView { sizing: open.row.sizing.clone(), ..self.core.view_job(self.clock.now(), &job)? },
            image_id: open.row.image_id,
            receipt: open.receipt,
            incidents: open.incidents.iter().cloned().collect(),
        })
    }

    /// Turns a problem of the database into one for the requester.
    pub(crate) fn database(error: &rusqlite::Error) -> Problem {
        let kind = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => manyhands_api::ProblemKind::NoSpace,
            _ => manyhands_api::ProblemKind::Internal,
        };
        Problem { kind, message: format!("the gateway's job database failed: {error}") }
    }
}

async fn announce(net: Net, notice: JobNotice) {
    match net.publish(&notice).await {
        Ok(()) | Err(NetError::NobodyListens) => {}
        Err(error) => tracing::debug!(%error, "a job notice was not published"),
    }
}
