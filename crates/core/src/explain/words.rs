//! The sentences of an explanation. They only say what the reasons hold; step III is behind them.

use super::{Pace, Reason, Running, Wait};
use crate::Outcome;
use crate::text::span;
use crate::view::JobView;

/// How far a job is, and what happens next.
pub(super) fn of_phase(view: &JobView) -> (String, String) {
    let (done, total) = (view.units_done, view.units_total);
    match view.phase.as_str() {
        "open" if view.is_surveyed => (
            "the guest is run at several segment sizes, to see which suits it and the fleet".to_owned(),
            "the guest is cut into segments of the size that promises the receipt soonest".to_owned(),
        ),
        "open" => {
            let more = if view.segments.is_none() { "; the guest still runs, so more may come" } else { "" };
            let now = format!("{done} of {} verified{more}", number(u64::from(total), "unit"));
            (now, "what waits is leased, and what comes in is verified".to_owned())
        }
        "assembling" => (
            format!(
                "{} verified, which is all; the gateway makes one receipt of them and checks it",
                number(u64::from(total), "unit")
            ),
            "the receipt is ready for its requester".to_owned(),
        ),
        "done" => (
            "the receipt is verified and kept".to_owned(),
            format!("nothing; `manyhands attach {}` fetches the receipt", view.job),
        ),
        _ => (
            format!("there will be no receipt: {}", view.error.as_deref().unwrap_or("no reason was kept")),
            "nothing; submit the job again when the reason is gone".to_owned(),
        ),
    }
}

/// What happens next in an open job.
pub(super) fn next(outcome: Outcome, is_executing: bool, waits: &[Wait], leases: &[Running]) -> String {
    let first = if leases.iter().any(|lease| lease.pace == Pace::Checking) {
        "a result that came in is verified".to_owned()
    } else if let Some(ms) = leases.iter().map(|lease| lease.left_ms).filter(|ms| *ms > 0).min() {
        format!("the next result is expected in {}", span(ms))
    } else if !leases.is_empty() {
        "every lease is past the time that was expected: late ones get a copy, silent ones end and their units are leased again"
            .to_owned()
    } else if waits.is_empty() {
        "the guest's segments are leased as they are stored".to_owned()
    } else {
        "what waits is leased as soon as its reason is gone".to_owned()
    };
    let rest = match outcome {
        _ if is_executing => "the guest runs on, and each segment is proved as it comes",
        Outcome::Composite => "when all are verified, the gateway makes one receipt of them",
        Outcome::Succinct => "proofs are lifted and neighbours joined until one is left",
    };
    format!("{first}; {rest}")
}

/// A reason's place among those of a class. Two with different numbers have the same.
pub(super) fn rank(reason: Reason) -> u8 {
    match reason {
        Reason::Input => 0,
        Reason::NoNode => 1,
        Reason::NotAble | Reason::NotAllowed => 2,
        Reason::Taken { .. } => 3,
        Reason::TooSlow { .. } => 4,
        Reason::Near { .. } => 5,
        Reason::Budget { .. } => 6,
        Reason::NoGain => 7,
        Reason::Withheld => 8,
        Reason::Due { .. } => 9,
    }
}

/// A reason in a sentence; `offers` says which nodes offer what.
pub(super) fn why(reason: Reason, offers: impl FnOnce() -> String) -> String {
    match reason {
        Reason::Input => "their input is not stored yet".to_owned(),
        Reason::NoNode => "no node is connected; the first able one that comes gets them".to_owned(),
        Reason::NotAllowed => "the job is private, and none of the nodes that may work on it is connected".to_owned(),
        Reason::NotAble => format!("no connected node is able to do them ({}); they wait for one that is", offers()),
        Reason::Taken { busy, barred, silent, free_in_ms } => taken([busy, barred, silent], free_in_ms),
        Reason::TooSlow { node, takes_ms, limit_ms } => format!(
            "the best node that waits, {}, would need {}, and only what is done within {} is of use, as a faster one is predicted to come \
             first; the longer they wait, the longer that limit gets",
            node.short(),
            span(takes_ms),
            span(limit_ms)
        ),
        Reason::Near { left_ms } => {
            format!(
                "they wait for the node that made their inputs, which need not fetch them: {} at most",
                span(left_ms)
            )
        }
        Reason::Budget { copies, allowed } => {
            format!("copies have a budget: {} under way, and {allowed} allowed", number(copies, "copy"))
        }
        Reason::NoGain => "no node that waits would be done before the one that works on them".to_owned(),
        Reason::Withheld => {
            "the nodes that wait work on them already, or are newcomers, which get no unit that failed before"
                .to_owned()
        }
        Reason::Due { in_ms: 0 } => "a node that suits waits: they are about to be leased".to_owned(),
        Reason::Due { in_ms } => {
            format!("a node that suits waits: they are leased when the fleet is reckoned again, in {}", span(in_ms))
        }
    }
}

fn taken([busy, barred, silent]: [u64; 3], free_in_ms: Option<u64>) -> String {
    let counts = [
        (busy, "busy"),
        (barred, "resting or blocked (`manyhands status` says why)"),
        (silent, "free, but asked for no work yet"),
    ];
    let shown = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    let next = match free_in_ms {
        Some(0) => "; one is predicted to be free now".to_owned(),
        Some(ms) => format!("; the next is predicted to be free in {}", span(ms)),
        None if silent == 0 => "; when the next is free cannot be predicted, as all leases are late".to_owned(),
        None => String::new(),
    };
    format!("no able node waits for work: {shown}{next}")
}

/// A number of things with their word.
fn number(count: u64, word: &str) -> String {
    match (count, word.strip_suffix('y')) {
        (1, _) => format!("1 {word}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {word}s"),
    }
}
