//! The node's event loop: network events, finished tasks and the clock go into the state machine; its commands become tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use manyhands_blob::transfer::BlobServer;
use manyhands_core::Prover;
use manyhands_core::prover::{Command, Input, Means};
use manyhands_net::NetEvent;
use manyhands_proto::LeaseId;
use manyhands_proto::message::{Request, Response};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::tasks::{Feedback, Tasks};
use crate::blobs;
use crate::clock::Clock;

/// How long a leaving node waits for gateways to hear that its leases are free.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the loop's inputs come from.
pub(crate) struct Sources {
    pub(crate) net: mpsc::Receiver<NetEvent>,
    pub(crate) feedback: mpsc::Receiver<Feedback>,
}

/// The loop's state.
pub(crate) struct Shell {
    pub(crate) core: Prover,
    pub(crate) tasks: Tasks,
    pub(crate) blobs: BlobServer,
    pub(crate) clock: Clock,
    pub(crate) running: BTreeMap<LeaseId, AbortHandle>,
}

impl Shell {
    /// Runs until `shutdown`, then gives leases back.
    pub(crate) async fn run(mut self, mut sources: Sources, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = self.step(&mut sources) => {}
            }
        }
        self.core.handle(self.clock.now(), Input::Leave);
        self.drain();
        let leave = async {
            while !self.core.is_idle() {
                self.step(&mut sources).await;
            }
        };
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, leave).await;
    }

    /// Takes one thing that happened. Cancel-safe: nothing is lost when another branch of a `select!` wins.
    async fn step(&mut self, sources: &mut Sources) {
        tokio::select! {
            Some(event) = sources.net.recv() => self.net_event(event),
            Some(feedback) = sources.feedback.recv() => self.fed_back(feedback),
            () = self.clock.until(self.core.poll_timeout()) => self.core.handle_timeout(self.clock.now()),
        }
        self.drain();
    }

    fn net_event(&mut self, event: NetEvent) {
        let now = self.clock.now();
        match event {
            NetEvent::Notice { notice } => {
                let offered = self.core.capabilities();
                if notice.zkvm == offered.zkvm && notice.po2 <= offered.po2_max {
                    self.core.handle(now, Input::Gateway { holder: notice.gateway, configured: false });
                }
            }
            NetEvent::Request { from, request: Request::Cancel(lease), reply, .. } => {
                reply.send(Response::Ok);
                self.core.handle(now, Input::Cancelled { from, lease });
            }
            // Nobody bids for a node's work: dropping the reply closes the stream.
            NetEvent::Request { .. } => {}
            NetEvent::Score { signed } => self.tasks.scores.hear(*signed),
            NetEvent::BlobStream { from, stream } => blobs::serve(&self.blobs, from, stream),
            NetEvent::Misbehaved { node, what } => tracing::warn!(%node, %what, "misbehaved"),
            NetEvent::Listening(address) => tracing::debug!(%address, "listening"),
            NetEvent::Connected { node, .. } => tracing::debug!(node = %node.short(), "connected"),
            NetEvent::Identified { .. } => {}
            NetEvent::Disconnected { node } => tracing::debug!(node = %node.short(), "disconnected"),
        }
    }

    fn fed_back(&mut self, feedback: Feedback) {
        let now = self.clock.now();
        match feedback {
            Feedback::Core(input) => {
                if let Input::Fetched { lease, .. } | Input::Made { lease, .. } = &input {
                    self.running.remove(lease);
                }
                if matches!(input, Input::Means(Means::Rest | Means::Yield)) {
                    // A worker without a task keeps what its last one needed.
                    let idle = self.tasks.idle.clone();
                    tokio::spawn(async move { idle.lock().await.clear() });
                }
                self.core.handle(now, input);
            }
            Feedback::Room(room) => self.core.handle(now, Input::Room(room)),
            Feedback::Gateway(holder) => self.core.handle(now, Input::Gateway { holder, configured: true }),
        }
    }

    fn drain(&mut self) {
        while let Some(command) = self.core.poll_command() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        let tasks = self.tasks.clone();
        match command {
            Command::Ask { to, request, tag } => drop(tokio::spawn(tasks.ask(to, request, tag))),
            Command::Fetch { lease } => {
                tracing::info!(lease = %lease.id, po2 = %lease.po2, deadline_s = lease.deadline_ms / 1000, "leased");
                let id = lease.id;
                self.running.insert(id, tokio::spawn(tasks.fetch(lease)).abort_handle());
            }
            Command::Work { lease } => {
                let id = lease.id;
                self.running.insert(id, tokio::spawn(tasks.work(lease)).abort_handle());
            }
            Command::Stop { lease } => {
                tracing::info!(%lease, "stopped");
                if let Some(task) = self.running.remove(&lease) {
                    task.abort();
                }
                tokio::spawn(async move { tasks.let_go_inputs(lease).await });
            }
            Command::Discard { lease, receipt, taken, score } => {
                tracing::debug!(%lease, taken, is_scored = score.is_some(), "a receipt is handed over or needed no more");
                tokio::spawn(async move {
                    if let Some(signed) = score {
                        tasks.keep_score(*signed).await;
                    }
                    tasks.let_go_receipt(receipt).await;
                });
            }
        }
    }
}
