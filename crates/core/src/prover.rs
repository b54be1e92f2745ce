//! The prover's side: asks gateways for work, fetches, proves, stores, hands over, and gives back what it cannot do.

use std::collections::{BTreeMap, VecDeque};

use manyhands_proto::message::{Bid, Capabilities, FailReason, Holder, Lease, Request, Response, Stage};
use manyhands_proto::{BlobRef, LeaseId, NodeId, SignedScore};

use crate::Time;
use crate::gateways::Gateways;
use crate::job::step3_dispatch::is_able;
use crate::room::Room;
use crate::text::clip;
use crate::time::Earliest;

mod means;
mod scores;

pub use means::Means;
use scores::Scores;

/// A question that a node asked. Given out by the machine, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// Receipts that wait to be handed over. A node proves one at a time, so more means a gateway that does not collect: the oldest is
/// dropped then, and that gateway leases the unit again.
const OFFERS_MAX: usize = 64;

/// Pause between two attempts to hand a receipt over; doubles up to [`OFFER_MS_MAX`].
const OFFER_MS: u64 = 1_000;

/// The longest pause between two attempts to hand a receipt over.
const OFFER_MS_MAX: u64 = 30_000;

/// A receipt that nobody took for this long is dropped: no gateway waits six hours for one.
const OFFER_KEPT_MS: u64 = 6 * 3_600_000;

/// What can happen to a node.
#[derive(Debug, Clone)]
pub enum Input {
    /// A gateway is configured, or announced a job that this node can work on.
    Gateway {
        /// Who and where.
        holder: Holder,
        /// Whether the owner configured it: then it is never forgotten.
        configured: bool,
    },
    /// A question was answered, or failed.
    Answered {
        /// Which.
        tag: Tag,
        /// The answer; nothing if the peer could not be reached or did not answer.
        response: Option<Response>,
    },
    /// A lease's inputs are in the store, or cannot be had.
    Fetched {
        /// The lease.
        lease: LeaseId,
        /// A sentence if not.
        result: Result<(), String>,
    },
    /// A lease's receipt is in the store, or the worker failed.
    Made {
        /// The lease.
        lease: LeaseId,
        /// The receipt and the milliseconds it took; or a sentence.
        result: Result<(BlobRef, u64), String>,
    },
    /// How far a lease's work is.
    Progress {
        /// The lease.
        lease: LeaseId,
        /// Milliseconds until it is done, reckoned from the processor time that it gets.
        remaining_ms: u64,
    },
    /// A gateway needs a lease's result no more.
    Cancelled {
        /// Who says so.
        from: NodeId,
        /// The lease.
        lease: LeaseId,
    },
    /// Whether there is room for what the next lease brings. Until this is said there is.
    Room(Room),
    /// What the machine spares for proving has changed. Until this is said it is all that the node offers.
    Means(Means),
    /// A score is left from before a restart.
    Score {
        /// The score.
        signed: Box<SignedScore>,
        /// Milliseconds for which it still counts.
        left_ms: u64,
    },
    /// The node shuts down: leases are given back.
    Leave,
}

/// What a node must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Ask a gateway. Answer with [`Input::Answered`], whatever happens.
    Ask {
        /// Whom, and where to dial it.
        to: Holder,
        /// What.
        request: Request,
        /// The question.
        tag: Tag,
    },
    /// Get a lease's inputs. Answer with [`Input::Fetched`].
    Fetch {
        /// The lease.
        lease: Box<Lease>,
    },
    /// Do a lease's work. Answer with [`Input::Made`].
    Work {
        /// The lease.
        lease: Box<Lease>,
    },
    /// Stop fetching or working at once. Nothing is answered.
    Stop {
        /// The lease.
        lease: LeaseId,
    },
    /// A receipt is needed no more.
    Discard {
        /// The lease that it was made under.
        lease: LeaseId,
        /// The receipt.
        receipt: BlobRef,
        /// Whether the gateway took it.
        taken: bool,
        /// The gateway's word on it, which is to outlive a restart, as long as others may ask for the receipt.
        score: Option<Box<SignedScore>>,
    },
}

/// A gateway is not asked again sooner, whatever it says: its answers must not keep a node busy.
const RETRY_MS_MIN: u64 = 200;

/// A gateway is asked again after an hour at the latest, whatever it says: its reasons may be gone.
const RETRY_MS_MAX: u64 = 3_600_000;

/// Questions under way at once. A node with 64 slots and as many receipts to hand over needs some 200; beyond that somebody does
/// not answer, and the oldest counts as lost.
const QUESTIONS_MAX: usize = 1_024;

#[derive(Debug, Clone)]
struct Slot {
    gateway: NodeId,
    lease: Box<Lease>,
    stage: Stage,
    beat_at: Time,
    /// The gateway's silence is borne until then.
    give_up_at: Time,
    /// When the work will be done, if that can be said.
    ends_at: Option<Time>,
}

#[derive(Debug, Clone)]
struct Offer {
    gateway: NodeId,
    receipt: BlobRef,
    elapsed_ms: u64,
    since: Time,
    /// When to hand it over; nothing while a question is under way.
    next: Option<Time>,
    tries: u32,
}

#[derive(Debug, Clone)]
enum Question {
    Hello(NodeId),
    Bid(NodeId),
    Heartbeat(LeaseId),
    Done(LeaseId),
    /// An answer changes nothing.
    Fail,
    /// Takes a bid back. An answer changes nothing.
    Withdrawal,
}

/// What a node wants of gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Will {
    /// Work, for every slot that is free.
    Work,
    /// To end what it has: there is no room for more.
    End,
    /// To end what it has: the machine's owner comes first.
    Rest,
    /// Nothing more, ever.
    Leave,
}

impl Question {
    fn bid_to(&self) -> Option<NodeId> {
        if let Self::Bid(gateway) = self { Some(*gateway) } else { None }
    }
}

/// The node's state machine.
#[derive(Debug, Clone)]
pub struct Prover {
    me: NodeId,
    scores: Scores,
    /// What it offers now.
    capabilities: Capabilities,
    /// What it offers when the machine spares all that its owner allows.
    most: Capabilities,
    gateways: Gateways,
    slots: BTreeMap<LeaseId, Slot>,
    offers: BTreeMap<LeaseId, Offer>,
    questions: BTreeMap<Tag, Question>,
    tags: u64,
    room: Room,
    means: Means,
    is_leaving: bool,
    commands: VecDeque<Command>,
}

impl Prover {
    /// The node `me` that can do this.
    pub fn new(me: NodeId, capabilities: Capabilities) -> Self {
        Self {
            me,
            scores: Scores::default(),
            most: capabilities.clone(),
            means: Means::Work { memory_bytes: capabilities.memory_bytes },
            capabilities,
            gateways: Gateways::default(),
            slots: BTreeMap::new(),
            offers: BTreeMap::new(),
            questions: BTreeMap::new(),
            tags: 0,
            room: Room::Enough,
            is_leaving: false,
            commands: VecDeque::new(),
        }
    }

    /// Which node it is.
    pub fn node_id(&self) -> NodeId {
        self.me
    }

    /// What the node can do now.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The leases it works on, with their stage.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, Stage)> {
        self.slots.iter().map(|(lease, slot)| (*lease, slot.stage))
    }

    /// Whether all is handed over and given back, so that a leaving node can go. A bid that a gateway still holds is no reason to stay.
    pub fn is_idle(&self) -> bool {
        let is_telling = self.questions.values().any(|question| matches!(question, Question::Done(_) | Question::Fail));
        self.slots.is_empty() && self.offers.is_empty() && !is_telling
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Gateway { holder, configured } => self.gateways.learn(now, holder, configured),
            Input::Answered { tag, response } => self.answered(now, tag, response),
            Input::Fetched { lease, result } => self.fetched(now, lease, result),
            Input::Made { lease, result } => self.made(now, lease, result),
            Input::Progress { lease, remaining_ms } => self.progressed(now, lease, remaining_ms),
            Input::Cancelled { from, lease } => self.cancelled(from, lease),
            Input::Room(room) => self.found(room),
            Input::Means(means) => self.spares(means),
            Input::Score { signed, left_ms } => self.scores.restore(now, *signed, left_ms),
            Input::Leave => self.leave(),
        }
        self.turn(now);
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.beat(now);
        self.turn(now);
    }

    /// The next command, if any.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called next, and why.
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        let mut earliest = Earliest::default();
        for slot in self.slots.values() {
            earliest.add(slot.beat_at, "a heartbeat");
        }
        for offer in self.offers.values() {
            if let Some(next) = offer.next {
                earliest.add(next, "a receipt to hand over");
            }
        }
        if self.may_bid() {
            self.gateways.wake(&mut earliest);
        }
        earliest.get()
    }

    /// Receipts go first: a bid that came before the receipt would look as if the lease had been lost.
    fn turn(&mut self, now: Time) {
        self.hand_over(now);
        self.ask_for_work(now);
        while self.questions.len() > QUESTIONS_MAX {
            let oldest = self.questions.keys().next().copied();
            oldest.into_iter().for_each(|tag| self.answered(now, tag, None));
        }
    }

    fn may_bid(&self) -> bool {
        let bidding = self.questions.values().any(|question| matches!(question, Question::Bid(_)));
        self.will() == Will::Work && !bidding && self.slots.len() < usize::from(self.capabilities.slots)
    }

    /// One bid at a time: an answer may fill the slot that the next one would offer.
    fn ask_for_work(&mut self, now: Time) {
        if !self.may_bid() {
            return;
        }
        let Some(gateway) = self.gateways.next(now) else { return };
        if self.gateways.greet(&gateway) {
            self.ask(gateway, Request::Hello(self.capabilities.clone()), Question::Hello(gateway));
        }
        let slots_free = self.capabilities.slots.saturating_sub(u8::try_from(self.slots.len()).unwrap_or(u8::MAX));
        let score = self.scores.for_gateway(now, &gateway).cloned().map(Box::new);
        let bid = Bid { capabilities: self.capabilities.clone(), slots_free, score };
        self.ask(gateway, Request::Bid(bid), Question::Bid(gateway));
    }

    fn ask(&mut self, gateway: NodeId, request: Request, question: Question) {
        let to = self.gateways.holder(&gateway).unwrap_or(Holder { node: gateway, addresses: Vec::new() });
        self.tags = self.tags.wrapping_add(1);
        let tag = Tag(self.tags);
        self.questions.insert(tag, question);
        self.commands.push_back(Command::Ask { to, request, tag });
    }

    fn answered(&mut self, now: Time, tag: Tag, response: Option<Response>) {
        match (self.questions.remove(&tag), response) {
            (Some(Question::Bid(gateway)), Some(response)) => self.bid_answered(now, gateway, response),
            (Some(Question::Bid(gateway) | Question::Hello(gateway)), None) => self.gateways.failed(now, &gateway),
            (Some(Question::Heartbeat(lease)), Some(Response::Stale)) => self.stop(lease),
            (Some(Question::Heartbeat(lease)), Some(_)) => {
                if let Some(slot) = self.slots.get_mut(&lease) {
                    slot.give_up_at = now.after(slot.lease.deadline_ms);
                }
            }
            (Some(Question::Done(lease)), Some(response)) => self.handed_over(now, lease, response),
            (Some(Question::Done(lease)), None) => {
                if let Some(offer) = self.offers.get_mut(&lease) {
                    let pause = OFFER_MS.saturating_mul(1 << offer.tries.min(16)).min(OFFER_MS_MAX);
                    offer.tries = offer.tries.saturating_add(1);
                    offer.next = Some(now.after(pause));
                }
            }
            (Some(Question::Heartbeat(_) | Question::Fail | Question::Withdrawal), _)
            | (Some(Question::Hello(_)), Some(_))
            | (None, _) => {}
        }
    }

    fn handed_over(&mut self, now: Time, lease: LeaseId, response: Response) {
        let Some(offer) = self.offers.get(&lease) else { return };
        let (gateway, receipt) = (offer.gateway, offer.receipt);
        match response {
            Response::Ok => self.discard(lease, true, None),
            Response::Scored(signed) => {
                let is_kept = signed.score.receipt == receipt && self.scores.keep(now, self.me, &signed, gateway);
                self.discard(lease, true, is_kept.then_some(signed));
            }
            _ => self.discard(lease, false, None),
        }
    }

    fn bid_answered(&mut self, now: Time, gateway: NodeId, response: Response) {
        match response {
            Response::Lease(lease) => {
                self.gateways.answered(now, &gateway, 0);
                self.take(now, gateway, lease);
            }
            Response::Wait { retry_ms } => {
                self.gateways.answered(now, &gateway, retry_ms.clamp(RETRY_MS_MIN, RETRY_MS_MAX));
            }
            Response::Refused { retry_ms, .. } => {
                self.gateways.refused(now, &gateway, retry_ms.clamp(RETRY_MS_MIN, RETRY_MS_MAX));
            }
            // No answer to a bid: a gateway that talks nonsense is treated like one that is not there.
            Response::Ok | Response::Stale | Response::Scored(_) => self.gateways.failed(now, &gateway),
        }
    }

    fn take(&mut self, now: Time, gateway: NodeId, lease: Box<Lease>) {
        let id = lease.id;
        if let Some(reason) = self.objection(&lease) {
            self.gateways.failed(now, &gateway);
            return self.ask(gateway, Request::Fail { lease: id, reason }, Question::Fail);
        }
        // A gateway's word is bounded: nobody needs a heartbeat more often than each second, or less often than each minute.
        let beat_ms = lease.heartbeat_ms.clamp(1_000, 60_000);
        let give_up_at = now.after(lease.deadline_ms);
        let (stage, beat_at, ends_at) = (Stage::Fetch, now.after(beat_ms), None);
        let slot = Slot { gateway, lease: lease.clone(), stage, beat_at, give_up_at, ends_at };
        self.slots.insert(id, slot);
        self.commands.push_back(Command::Fetch { lease });
    }

    /// Why a lease is not taken, if it is not.
    fn objection(&self, lease: &Lease) -> Option<FailReason> {
        let (kind, po2) = (lease.id.unit.kind(), lease.po2);
        if !is_able(&self.most, kind, po2) {
            return Some(FailReason::Worker(format!("this node does not offer to {} at po2 {}", kind, po2)));
        }
        let is_known = self.slots.contains_key(&lease.id) || self.offers.contains_key(&lease.id);
        match self.will() {
            Will::Leave | Will::Rest => Some(FailReason::Leaving),
            // It was offered a moment ago.
            _ if !is_able(&self.capabilities, kind, po2) => Some(FailReason::Leaving),
            _ if is_known => Some(FailReason::Leaving),
            Will::End => Some(FailReason::Fetch("this node has no room for them now".to_owned())),
            Will::Work => None,
        }
    }

    fn fetched(&mut self, now: Time, lease: LeaseId, result: Result<(), String>) {
        match (self.slots.get_mut(&lease).filter(|slot| slot.stage == Stage::Fetch), result) {
            (Some(slot), Ok(())) => {
                slot.stage = Stage::Work;
                let lease = slot.lease.clone();
                self.commands.push_back(Command::Work { lease });
            }
            (Some(_), Err(why)) => self.stumble(now, lease, FailReason::Fetch(clip(&why))),
            (None, _) => {}
        }
    }

    fn progressed(&mut self, now: Time, lease: LeaseId, remaining_ms: u64) {
        if let Some(slot) = self.slots.get_mut(&lease).filter(|slot| slot.stage == Stage::Work) {
            slot.ends_at = Some(now.after(remaining_ms));
        }
    }

    /// Gives a lease back that came to nothing, and leaves its gateway alone for a moment.
    fn stumble(&mut self, now: Time, lease: LeaseId, reason: FailReason) {
        if let Some(slot) = self.slots.get(&lease) {
            self.gateways.failed(now, &slot.gateway);
        }
        self.give_back(lease, reason);
    }

    fn made(&mut self, now: Time, lease: LeaseId, result: Result<(BlobRef, u64), String>) {
        match result {
            Ok((receipt, elapsed_ms)) => {
                let Some(slot) = self.slots.remove(&lease) else {
                    return self.commands.push_back(Command::Discard { lease, receipt, taken: false, score: None });
                };
                let offer = Offer { gateway: slot.gateway, receipt, elapsed_ms, since: now, next: Some(now), tries: 0 };
                self.offers.insert(lease, offer);
                self.learn_time(&slot.lease, elapsed_ms);
                while self.offers.len() > OFFERS_MAX {
                    let oldest = self.offers.iter().min_by_key(|(_, offer)| offer.since).map(|(lease, _)| *lease);
                    oldest.into_iter().for_each(|lease| self.discard(lease, false, None));
                }
            }
            Err(why) => self.stumble(now, lease, FailReason::Worker(clip(&why))),
        }
    }

    /// The newest own time of each kind and size is what the next bid states.
    fn learn_time(&mut self, lease: &Lease, elapsed_ms: u64) {
        let timing = manyhands_proto::message::Timing { kind: lease.id.unit.kind(), po2: lease.po2, elapsed_ms };
        self.capabilities.timings.retain(|old| (old.kind, old.po2) != (timing.kind, timing.po2));
        self.capabilities.timings.push(timing);
    }

    fn give_back(&mut self, lease: LeaseId, reason: FailReason) {
        if let Some(slot) = self.slots.remove(&lease) {
            self.ask(slot.gateway, Request::Fail { lease, reason }, Question::Fail);
        }
    }

    fn cancelled(&mut self, from: NodeId, lease: LeaseId) {
        if self.slots.get(&lease).is_some_and(|slot| slot.gateway == from) {
            self.stop(lease);
        } else if self.offers.get(&lease).is_some_and(|offer| offer.gateway == from) {
            self.discard(lease, false, None);
        }
    }

    fn stop(&mut self, lease: LeaseId) {
        if self.slots.remove(&lease).is_some() {
            self.commands.push_back(Command::Stop { lease });
        }
    }

    fn discard(&mut self, lease: LeaseId, taken: bool, score: Option<Box<SignedScore>>) {
        if let Some(offer) = self.offers.remove(&lease) {
            self.commands.push_back(Command::Discard { lease, receipt: offer.receipt, taken, score });
        }
    }

    /// A bid of no slots takes the place of the one before it.
    fn withdraw(&mut self) {
        let bids: Vec<NodeId> = self.questions.values().filter_map(Question::bid_to).collect();
        for gateway in bids {
            let bid = Bid { capabilities: self.capabilities.clone(), slots_free: 0, score: None };
            self.ask(gateway, Request::Bid(bid), Question::Withdrawal);
        }
    }

    fn leave(&mut self) {
        self.is_leaving = true;
        self.give_all_back(FailReason::Leaving);
    }

    fn give_all_back(&mut self, reason: FailReason) {
        let leases: Vec<LeaseId> = self.slots.keys().copied().collect();
        for lease in leases {
            self.commands.push_back(Command::Stop { lease });
            self.give_back(lease, reason.clone());
        }
    }

    /// Confirms leases, and stops work for a gateway that did not answer for a whole deadline.
    fn beat(&mut self, now: Time) {
        let due: Vec<LeaseId> =
            self.slots.iter().filter(|(_, slot)| slot.beat_at <= now).map(|(lease, _)| *lease).collect();
        for lease in due {
            let Some(slot) = self.slots.get_mut(&lease) else { continue };
            if slot.give_up_at <= now {
                self.stop(lease);
                continue;
            }
            slot.beat_at = now.after(slot.lease.heartbeat_ms.clamp(1_000, 60_000));
            let (gateway, stage) = (slot.gateway, slot.stage);
            let remaining_ms = slot.ends_at.map(|at| at.since(now));
            self.ask(gateway, Request::Heartbeat { lease, stage, remaining_ms }, Question::Heartbeat(lease));
        }
    }

    fn hand_over(&mut self, now: Time) {
        let old: Vec<LeaseId> = self
            .offers
            .iter()
            .filter(|(_, offer)| now.since(offer.since) >= OFFER_KEPT_MS)
            .map(|(id, _)| *id)
            .collect();
        old.into_iter().for_each(|lease| self.discard(lease, false, None));
        let due: Vec<LeaseId> = self
            .offers
            .iter()
            .filter(|(_, offer)| offer.next.is_some_and(|next| next <= now))
            .map(|(lease, _)| *lease)
            .collect();
        for lease in due {
            let Some(offer) = self.offers.get_mut(&lease) else { continue };
            offer.next = None;
            let (gateway, receipt, elapsed_ms) = (offer.gateway, offer.receipt, offer.elapsed_ms);
            self.ask(gateway, Request::Done { lease, receipt, elapsed_ms }, Question::Done(lease));
        }
    }
}
