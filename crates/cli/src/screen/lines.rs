//! A job where nothing can be redrawn: one plain line for each change, without control codes.

use manyhands_api::JobStatus;
use manyhands_core::Outcome;
use manyhands_core::view::JobView;
use manyhands_proto::Unit;
use std::collections::BTreeSet;

use super::picture;
use super::text::{count, duration, inflation, plural, printable};

/// With more units than this, their results are told in steps of 5 %.
const UNITS_TOLD_SINGLY: u32 = 40;

/// What was told already.
#[derive(Debug, Default)]
pub struct PlainLines {
    surveyed: bool,
    sized: bool,
    executing: bool,
    executed: bool,
    told: BTreeSet<Unit>,
    step: u32,
    waiting: Option<String>,
    incidents: usize,
    assembling: bool,
}

/// The receipt that is wanted, in a word.
pub const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Composite => "composite",
        Outcome::Succinct => "succinct",
    }
}

impl PlainLines {
    /// What is new since the last call.
    pub fn news(&mut self, status: &JobStatus) -> Vec<String> {
        let view = &status.view;
        let mut lines = Vec::new();
        if !self.surveyed && view.is_surveyed {
            self.surveyed = true;
            lines.push("looking at the guest, to choose the segment size".to_owned());
        }
        if let (false, Some(sizing)) = (self.sized, &view.sizing) {
            self.sized = true;
            lines.push(format!("segment size: {}", printable(&sizing.why)));
        }
        if !self.executing && view.segments.is_none() && !view.is_surveyed {
            self.executing = true;
            lines.push("executing the guest".to_owned());
        }
        if let (false, Some(segments)) = (self.executed, view.segments) {
            self.executed = true;
            lines.push(executed(view, segments));
        }
        self.results(view, &mut lines);
        self.incidents(status, &mut lines);
        if self.waiting != view.waiting {
            self.waiting.clone_from(&view.waiting);
            lines.push(
                view.waiting
                    .as_ref()
                    .map_or_else(|| "going on".to_owned(), |why| format!("waiting: {}", printable(why))),
            );
        }
        if !self.assembling && view.phase == "assembling" {
            self.assembling = true;
            lines.push("assembling and verifying the receipt".to_owned());
        }
        lines
    }

    fn results(&mut self, view: &JobView, lines: &mut Vec<String>) {
        if view.units_total > UNITS_TOLD_SINGLY {
            let step = view.units_done * 20 / view.units_total;
            if view.segments.is_some() && step > self.step {
                self.step = step;
                lines.push(picture::progress(view));
            }
            return;
        }
        for result in view.results.iter().filter(|result| self.told.insert(result.unit)) {
            lines.push(format!(
                "{} done by {} in {}; {}",
                result.unit,
                result.node.short(),
                duration(result.elapsed_ms),
                picture::progress(view)
            ));
        }
    }

    /// Incidents come newest last, and the oldest of many are forgotten; so only their number tells what is new.
    fn incidents(&mut self, status: &JobStatus, lines: &mut Vec<String>) {
        for incident in status.incidents.iter().skip(self.incidents) {
            lines.push(format!("{}: {}: {}", incident.node.short(), incident.lease, printable(&incident.reason)));
        }
        self.incidents = status.incidents.len();
    }
}

fn executed(view: &JobView, segments: u32) -> String {
    let (user, total) = (view.user_cycles.unwrap_or_default(), view.total_cycles.unwrap_or_default());
    let keccaks = match view.keccaks {
        0 => String::new(),
        some => format!(" and {}", plural(some.into(), "keccak request")),
    };
    format!(
        "executed: {}{keccaks} at po2 {}, {} cycles of the guest, {} to prove (inflation {})",
        plural(segments.into(), "segment"),
        view.po2,
        count(user),
        count(total),
        inflation(total, user)
    )
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::status;
    use super::*;
    use manyhands_api::types::Incident;
    use manyhands_core::job::UnitState::{Leased, Stored, Verified};
    use manyhands_proto::NodeId;
    use manyhands_proto::message::Blame;

    #[test]
    fn the_segment_size_is_told_with_its_reason() {
        let mut lines = PlainLines::default();
        let mut early = status("open", &[]);
        (early.view.segments, early.view.is_surveyed) = (None, true);
        assert_eq!(lines.news(&early), ["looking at the guest, to choose the segment size"]);
        let (po2, why) = (early.view.po2, "at po2 16 it is soonest".to_owned());
        early.view.sizing = Some(manyhands_core::Sizing { po2, user_cycles: 1, is_whole: true, options: vec![], why });
        early.view.is_surveyed = false;
        assert_eq!(lines.news(&early), ["segment size: at po2 16 it is soonest", "executing the guest"]);
        assert!(lines.news(&early).is_empty());
    }

    #[test]
    fn each_change_is_told_once() {
        let mut lines = PlainLines::default();
        let mut early = status("open", &[Stored]);
        early.view.segments = None;
        assert_eq!(lines.news(&early), ["executing the guest"]);
        assert!(lines.news(&early).is_empty());
        let going = status("open", &[Verified, Leased]);
        assert_eq!(
            lines.news(&going),
            [
                "executed: 2 segments at po2 16, 300,000 cycles of the guest, 450,000 to prove (inflation 1.500x)",
                "prove 0 done by 02020202 in 28.0 s; 1 of 2 units, 50% · 1 node at work · 0:42 · about 90 s left",
            ]
        );
        assert!(lines.news(&going).is_empty());
        let done = status("assembling", &[Verified, Verified]);
        let news = lines.news(&done);
        assert_eq!(news.len(), 2, "{news:?}");
        assert_eq!(news[1], "assembling and verifying the receipt");
    }

    #[test]
    fn waiting_and_its_end_are_told() {
        let mut lines = PlainLines::default();
        let mut waiting = status("open", &[Stored]);
        waiting.view.waiting = Some("no node is connected".into());
        assert_eq!(lines.news(&waiting).last().unwrap(), "waiting: no node is connected");
        assert_eq!(lines.news(&status("open", &[Leased])), ["going on"]);
    }

    #[test]
    fn a_large_job_is_told_in_steps() {
        let mut lines = PlainLines::default();
        let mut told = 0;
        for done in 0..=200 {
            let mut grid = vec![Verified; done];
            grid.resize(200, Stored);
            told += lines.news(&status("open", &grid)).len();
        }
        assert_eq!(told, 21, "the execution and twenty steps");
    }

    #[test]
    fn refusals_are_told_with_their_node() {
        let mut lines = PlainLines::default();
        let mut status = status("open", &[Leased]);
        lines.news(&status);
        let reason = "the proof is not valid\x1b[2J".to_owned();
        status.incidents.push(Incident {
            node: NodeId([9; 32]),
            lease: "abab prove 0 #1".into(),
            blame: Blame::Peer,
            reason,
        });
        assert_eq!(lines.news(&status), ["09090909: abab prove 0 #1: the proof is not valid\\u{1b}[2J"]);
    }
}
