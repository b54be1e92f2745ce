//! What a drawn step means in the state in which it comes: which job, whose lease, what a node says of itself.

use manyhands_core::job::{ExecutionInfo, JobSpec, Outcome, Restored, SegmentInfo};
use manyhands_core::requester::{AskId, Input};
use manyhands_core::{Checked, Origin, Priority, Refusal, Ruling};
use manyhands_proto::message::{Bid, Blame, FailReason, Stage};
use manyhands_proto::{BlobRef, JobId, LeaseId, NodeId, SegmentRange, Unit};

use crate::book::Stand;
use crate::fake::{Fake, able, blob, node, po2};
use crate::gateway::Gateway;
use crate::steps::{NODES, SEGMENTS_MAX, Step, Verdict, Why};

fn slots(which: u8) -> u8 {
    const SLOTS: [u8; NODES as usize] = [1, 2, 3, 1, 1];
    SLOTS[usize::from(which)]
}

impl Gateway {
    fn job(&self, which: u8) -> JobId {
        let mut job = JobId([which + 1; 16]);
        job.0[1] = self.jobs[usize::from(which)];
        job
    }

    fn submit(&mut self, which: u8) -> JobId {
        let row = self.book.jobs.get(&self.job(which));
        if row.is_some_and(|row| matches!(row.stand, Stand::Done | Stand::Failed)) {
            self.jobs[usize::from(which)] += 1;
        }
        self.job(which)
    }

    fn ask(&mut self) -> AskId {
        self.asked += 1;
        AskId(self.asked)
    }

    /// A lease that was given out once, mostly one that is live, and who speaks of it.
    fn lease(&self, pick: u8, forger: Option<u8>) -> Option<(NodeId, LeaseId)> {
        let live = self.book.live();
        let of_live = usize::from(pick / 4).checked_rem(live.len()).map(|which| (live[which].0, live[which].1));
        // Else one of the newest dozen, live or over.
        let back = usize::from(pick / 4).checked_rem(self.granted.len().min(12));
        let of_all = || self.granted.iter().rev().nth(back?).copied();
        let (lease, holder) = of_live.filter(|_| !pick.is_multiple_of(4)).or_else(of_all)?;
        Some((forger.map_or(holder, |which| node(which + 1)), lease))
    }

    pub fn inputs(&mut self, step: Step) -> Vec<Input<Fake>> {
        if !matches!(step, Step::BeatAll) {
            return self.input(step).into_iter().collect();
        }
        let running: Vec<_> = self.book.running().map(|(lease, row)| (row.node, lease)).collect();
        running
            .into_iter()
            .map(|(node, lease)| Input::Heartbeat {
                node,
                lease,
                stage: Stage::Work,
                remaining_ms: None,
                ask: self.ask(),
            })
            .collect()
    }

    fn input(&mut self, step: Step) -> Option<Input<Fake>> {
        Some(match step {
            Step::Submit { job, succinct } => {
                let outcome = if succinct { Outcome::Succinct } else { Outcome::Composite };
                let spec = JobSpec { po2: po2(16), is_auto: false, outcome, priority: Priority::Normal };
                Input::Submit { job: self.submit(job), spec, restored: Restored::new(), attempts_from: 0 }
            }
            Step::Cut { job } => {
                // Beyond the last segment, and after the guest has ended, one is announced again.
                let row = self.book.jobs.get(&self.job(job))?;
                let last = row.executed.unwrap_or(SEGMENTS_MAX) - 1;
                let segment = SegmentInfo { index: row.cut.min(last), po2: po2(16), claim: row.cut.min(last) };
                Input::Segmented { job: self.job(job), segment }
            }
            Step::Store { job, other } => {
                let row = self.book.jobs.get(&self.job(job))?;
                let next = row.units.values().position(|unit| !unit.is_stored);
                let index = other.map_or(next.unwrap_or(0) as u32, u32::from);
                Input::Stored { job: self.job(job), unit: Unit::Prove(index), blob: blob(u64::from(index)), key: None }
            }
            Step::Executed { job, early } => {
                let row = self.book.jobs.get(&self.job(job)).filter(|row| early || row.cut == SEGMENTS_MAX)?;
                let segments = row.executed.unwrap_or(row.cut);
                let info =
                    ExecutionInfo { segments, user_cycles: 1, total_cycles: 1, assumptions: Vec::new(), keccaks: 0 };
                Input::Executed { job: self.job(job), result: Ok(info) }
            }
            Step::Abort { job } => Input::Abort { job: self.job(job) },
            Step::Assembled { job, fails } => {
                let result = if fails { Err("the disk is full".to_owned()) } else { Ok(()) };
                Input::Assembled { job: self.job(job), result }
            }
            Step::Gone { node: which } => Input::Gone { node: node(which + 1) },
            Step::Rule { node: which, denied } => {
                let ruling = Ruling { verdict: manyhands_core::Verdict::Denied, reason: String::new() };
                Input::Rule { node: node(which + 1), ruling: Some(ruling).filter(|_| denied) }
            }
            Step::Misbehaved { node: which } => Input::Misbehaved { node: node(which + 1), reason: "noise".to_owned() },
            Step::Checked { pick, verdict } => self.verdict(pick, verdict)?,
            Step::Pass { .. } => return None,
            asked => self.question(asked)?,
        })
    }

    fn question(&mut self, step: Step) -> Option<Input<Fake>> {
        let ask = self.ask();
        Some(match step {
            Step::Hello { node: which } => {
                let (node, mut capabilities) = (node(which + 1), able());
                capabilities.slots = slots(which);
                Input::Hello { node, from: Origin::default(), capabilities, ask }
            }
            Step::Bid { node: which, busy } => {
                let (node, mut capabilities) = (node(which + 1), able());
                capabilities.slots = slots(which);
                // An honest node states what the book says; one that started anew, or lost an answer, something else.
                let held = u8::try_from(self.book.running_of(node).len()).unwrap();
                let slots_free = capabilities.slots - busy.unwrap_or(held).min(capabilities.slots);
                Input::Bid {
                    node,
                    from: Origin::default(),
                    bid: Bid { capabilities, slots_free, score: None },
                    shown: None,
                    ask,
                }
            }
            Step::Beat { pick, forger, remaining_ms } => {
                let (node, lease) = self.lease(pick, forger)?;
                Input::Heartbeat { node, lease, stage: Stage::Work, remaining_ms, ask }
            }
            Step::Done { pick, forger, is_empty } => {
                let (node, lease) = self.lease(pick, forger)?;
                let receipt = if is_empty { BlobRef { size_bytes: 0, ..blob(98) } } else { blob(99) };
                Input::Done { node, lease, receipt, elapsed_ms: 20_000, ask }
            }
            Step::Fail { pick, forger, why } => {
                let (node, lease) = self.lease(pick, forger)?;
                let reason = match why {
                    Why::Fetch => FailReason::Fetch("no route".to_owned()),
                    Why::Worker => FailReason::Worker("signal 9".to_owned()),
                    Why::Leaving => FailReason::Leaving,
                };
                Input::Fail { node, lease, reason, ask }
            }
            _ => return None,
        })
    }

    fn verdict(&mut self, pick: u8, verdict: Verdict) -> Option<Input<Fake>> {
        let which = usize::from(pick).checked_rem(self.collecting.len())?;
        let (node, lease) = self.collecting.remove(which);
        let right = match lease.unit {
            Unit::Prove(index) => Checked::Segment(index),
            Unit::Lift(index) => Checked::Range(SegmentRange::single(index)),
            Unit::Join { start, end, .. } => Checked::Range(SegmentRange { start, end }),
            Unit::Resolve { segments, .. } => Checked::Range(SegmentRange { start: 0, end: segments }),
            Unit::Keccak(_) | Unit::Union { .. } => Checked::Keccak(lease.unit.range()),
        };
        let refuse = |blame| Err(Refusal { blame, reason: "it is so".to_owned() });
        let result = match verdict {
            Verdict::Right => Ok(right),
            Verdict::Peer => refuse(Blame::Peer),
            Verdict::Network => refuse(Blame::Network),
            Verdict::Us => refuse(Blame::Us),
        };
        Some(Input::Checked { node, lease, result })
    }
}
