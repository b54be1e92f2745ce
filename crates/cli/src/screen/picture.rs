//! A job on a terminal: a few lines that are redrawn.

use std::collections::BTreeSet;

use manyhands_api::JobStatus;
use manyhands_core::view::JobView;

use super::text::{clip, clock, guess, plural, printable};
use super::{Paint, grid};

/// Lines for the grid at most: enough for 300 segments of their own on an ordinary terminal.
const GRID_LINES_MAX: usize = 4;

/// Leases that are listed by name.
const LEASES_SHOWN: usize = 4;

/// The picture of a job, in lines of at most `width` cells.
pub fn picture(title: &str, status: &JobStatus, width: usize, paint: Paint) -> Vec<String> {
    let view = &status.view;
    let inner = width.saturating_sub(3).max(10);
    let job = view.job.short();
    let outcome = super::lines::outcome_word(view.outcome);
    let size = if view.is_surveyed { "choosing the segment size".to_owned() } else { format!("po2 {}", view.po2) };
    let mut head = format!("{title} · job {job} · {size} · {outcome}");
    if view.is_private {
        head.push_str(" · private");
    }
    if !view.priority.is_normal() {
        head.push_str(&format!(" · {} priority", view.priority.word()));
    }
    let mut lines = vec![paint.bold(&clip(&head, inner))];
    lines.extend(grid::grid(&view.grid, inner, GRID_LINES_MAX, paint).into_iter().map(|line| format!("  {line}")));
    lines.push(format!("  {}", progress_within(view, inner)));
    for lease in view.leases.iter().take(LEASES_SHOWN) {
        let line = format!("{} {} for {}", lease.node.short(), lease.unit, clock(lease.elapsed_ms));
        lines.push(format!("  {}", paint.dim(&clip(&line, inner))));
    }
    let more = view.leases.len().saturating_sub(LEASES_SHOWN);
    if more > 0 {
        lines.push(format!("  {}", paint.dim(&clip(&format!("and {more} more"), inner))));
    }
    if let Some(waiting) = &view.waiting {
        lines.push(format!("  {}", paint.yellow(&clip(&format!("waiting: {}", printable(waiting)), inner))));
    }
    if let Some(incident) = status.incidents.last() {
        let line = format!(
            "{} came to nothing, the last at {}: {}",
            plural(status.incidents.len() as u64, "lease"),
            incident.node.short(),
            incident.reason
        );
        lines.push(format!("  {}", paint.yellow(&clip(&printable(&line).replace('\n', " "), inner))));
    }
    if !view.grid.is_empty() {
        lines.push(format!("  {}", paint.dim(&clip(grid::LEGEND, inner))));
    }
    lines
}

/// How far it is, in a line.
pub fn progress(view: &JobView) -> String {
    progress_parts(view, true, true)
}

/// The same in at most `width` cells: the nodes go first, whose leases are listed anyway, then the time so far, so that the end stays in sight.
fn progress_within(view: &JobView, width: usize) -> String {
    let ways = [(true, true), (false, true), (false, false)];
    let mut lines = ways.into_iter().map(|(nodes, so_far)| progress_parts(view, nodes, so_far));
    let fits = lines.find(|line| line.chars().count() <= width);
    fits.unwrap_or_else(|| clip(&progress_parts(view, false, false), width))
}

fn progress_parts(view: &JobView, nodes: bool, so_far: bool) -> String {
    let at_work = view.leases.iter().map(|lease| lease.node).collect::<BTreeSet<_>>().len() as u64;
    let left_ms = view.eta_ms.filter(|_| view.segments.is_some() && view.phase == "open");
    let parts = [
        Some(stage(view)),
        (nodes && at_work > 0).then(|| format!("{} at work", plural(at_work, "node"))),
        so_far.then(|| clock(view.elapsed_ms)),
        left_ms.map(|ms| format!("about {} left", guess(ms))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn stage(view: &JobView) -> String {
    let cut = view.grid.len() as u64;
    match view.phase.as_str() {
        "assembling" => "assembling and verifying the receipt".to_owned(),
        "done" => "done".to_owned(),
        "failed" => "failed".to_owned(),
        _ if view.segments.is_none() && view.units_done == 0 => format!("executing, {} so far", plural(cut, "segment")),
        _ if view.segments.is_none() => format!("executing, {} of {} units so far", view.units_done, view.units_total),
        _ => {
            let percent = u64::from(view.units_done) * 100 / u64::from(view.units_total.max(1));
            format!("{} of {} units, {percent}%", view.units_done, view.units_total)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use manyhands_api::types::Incident;
    use manyhands_core::Outcome;
    use manyhands_core::job::UnitState::{self, Leased, Stored, Verified};
    use manyhands_core::view::{LeaseView, ResultView};
    use manyhands_proto::message::Blame;
    use manyhands_proto::{Digest, JobId, NodeId, Po2, Unit};

    /// A job with segments in these states, the leased ones with node 1.
    pub fn status(phase: &str, grid: &[UnitState]) -> JobStatus {
        let with =
            |state: UnitState| (0..).zip(grid).filter(move |(_, other)| **other == state).map(|(index, _)| index);
        let lease =
            |index| LeaseView { unit: Unit::Prove(index), attempt: 1, node: NodeId([1; 32]), elapsed_ms: 12_000 };
        let result = |index| ResultView {
            unit: Unit::Prove(index),
            attempt: 1,
            node: NodeId([2 + (index % 2) as u8; 32]),
            elapsed_ms: 28_000,
            receipt_bytes: 221_000,
        };
        let done = with(Verified).count() as u32;
        let view = JobView {
            job: JobId([0xab; 16]),
            phase: phase.to_owned(),
            error: None,
            po2: Po2::try_from(16).unwrap(),
            is_surveyed: false,
            sizing: None,
            outcome: Outcome::Composite,
            priority: manyhands_core::Priority::Normal,
            is_private: false,
            elapsed_ms: 42_000,
            segments: Some(grid.len() as u32),
            user_cycles: Some(300_000),
            total_cycles: Some(450_000),
            keccaks: 0,
            keccak_cycles: 0,
            grid: grid.to_vec(),
            units_done: done,
            units_total: grid.len() as u32,
            leases: with(Leased).map(lease).collect(),
            results: with(Verified).map(result).collect(),
            tally: manyhands_core::Tally::default(),
            eta_ms: Some(90_000),
            waiting: None,
        };
        JobStatus { view, image_id: Digest([3; 32]), receipt: None, incidents: Vec::new() }
    }

    #[test]
    fn a_job_under_way() {
        let lines = picture("inflate", &status("open", &[Verified, Leased, Stored]), 80, Paint::PLAIN);
        assert_eq!(
            lines,
            [
                "inflate · job abababab · po2 16 · composite",
                "  █▒░",
                "  1 of 3 units, 33% · 1 node at work · 0:42 · about 90 s left",
                "  01010101 prove 1 for 0:12",
                "  █ verified  ▓ checking  ▒ proving  ░ ready  · cut",
            ]
        );
    }

    #[test]
    fn the_end_stays_in_sight_on_a_narrow_terminal() {
        let line =
            |width| picture("inflate", &status("open", &[Verified, Leased, Stored]), width, Paint::PLAIN).remove(2);
        assert_eq!(line(62), "  1 of 3 units, 33% · 1 node at work · 0:42 · about 90 s left");
        assert_eq!(line(61), "  1 of 3 units, 33% · 0:42 · about 90 s left");
        assert_eq!(line(40), "  1 of 3 units, 33% · about 90 s left");
        assert_eq!(line(30), "  1 of 3 units, 33% · about …");
    }

    #[test]
    fn an_unusual_priority_is_shown() {
        let mut urgent = status("open", &[Stored]);
        urgent.view.priority = manyhands_core::Priority::High;
        let head = picture("inflate", &urgent, 80, Paint::PLAIN).swap_remove(0);
        assert_eq!(head, "inflate · job abababab · po2 16 · composite · high priority");
    }

    #[test]
    fn a_job_that_waits_says_why() {
        let mut waiting = status("open", &[Stored]);
        waiting.view.waiting = Some("no node is connected; the job starts with the first one".into());
        let lines = picture("inflate", &waiting, 80, Paint::PLAIN);
        assert!(
            lines.contains(&"  waiting: no node is connected; the job starts with the first one".to_owned()),
            "{lines:?}"
        );
    }

    #[test]
    fn a_lost_lease_is_seen() {
        let mut status = status("open", &[Stored]);
        let reason = "no heartbeat for 25 s".to_owned();
        status.incidents.push(Incident {
            node: NodeId([7; 32]),
            lease: "prove 0 #1".into(),
            blame: Blame::Network,
            reason,
        });
        let lines = picture("inflate", &status, 80, Paint::PLAIN);
        assert!(
            lines.contains(&"  1 lease came to nothing, the last at 07070707: no heartbeat for 25 s".to_owned()),
            "{lines:?}"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut wide = status("open", &[Leased; 300]);
        wide.view.waiting = Some("x".repeat(500));
        for width in [0, 20, 40, 132] {
            let lines = picture(&"long".repeat(60), &wide, width, Paint::PLAIN);
            assert!(lines.iter().all(|line| line.chars().count() <= width.max(13)), "{width}: {lines:?}");
            assert!(lines.len() <= GRID_LINES_MAX + LEASES_SHOWN + 6);
        }
    }

    #[test]
    fn while_the_guest_runs_nothing_is_promised() {
        let mut early = status("open", &[Stored, Stored]);
        early.view.segments = None;
        assert_eq!(progress(&early.view), "executing, 2 segments so far · 0:42");
        assert_eq!(progress(&status("assembling", &[Verified]).view), "assembling and verifying the receipt · 0:42");
    }
}
