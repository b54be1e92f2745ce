//! Why a job is not done yet, for `explain`.

use manyhands_core::explain::{Explanation, Pace, Running, Wait};
use manyhands_proto::unit::UnitKind;

use super::Paint;
use super::table::{Align, table};
use super::text::{count, duration, plural, printable};

/// An explanation: the job, what waits, what is under way.
pub fn lines(said: &Explanation, paint: Paint) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} {}: {}, {} priority, po2 {}, {}",
            paint.bold("job"),
            said.job,
            printable(&said.phase),
            said.priority.word(),
            said.po2,
            duration(said.elapsed_ms)
        ),
        format!("  now: {}", sentence(&said.now)),
        format!("  next: {}", sentence(&said.next)),
    ];
    lines.extend(said.sizing.iter().map(|sizing| format!("  segment size: {}", sentence(&sizing.why))));
    section(&mut lines, paint, "waiting", said.waits.iter().flat_map(wait).collect());
    section(&mut lines, paint, "under way", leases(&said.leases, said.leases_total));
    lines
}

/// What a gateway wrote, on one line.
fn sentence(text: &str) -> String {
    printable(text).replace('\n', " ")
}

fn section(lines: &mut Vec<String>, paint: Paint, heading: &str, body: Vec<String>) {
    if !body.is_empty() {
        lines.push(String::new());
        lines.push(paint.bold(heading));
        lines.extend(body.into_iter().map(|line| format!("  {line}")));
    }
}

fn wait(wait: &Wait) -> [String; 2] {
    let what = match wait.kind {
        UnitKind::Prove => "proof",
        UnitKind::Lift => "lift",
        UnitKind::Join => "join",
        UnitKind::Keccak => "keccak proof",
    };
    let second = if wait.copies { " for a second node" } else { "" };
    let shown = wait.nodes.iter().map(|node| node.short()).collect::<Vec<_>>().join(", ");
    let able = match wait.able.saturating_sub(wait.nodes.len() as u64) {
        _ if wait.able == 0 => "none".to_owned(),
        0 => shown,
        more => format!("{shown} and {} more", count(more)),
    };
    let units = plural(wait.units, what);
    [format!("{units}{second}, po2 {}: {}", wait.po2, sentence(&wait.why)), format!("  able nodes: {able}")]
}

fn leases(leases: &[Running], total: u64) -> Vec<String> {
    if leases.is_empty() {
        return Vec::new();
    }
    let columns = [
        ("unit", Align::Left),
        ("attempt", Align::Right),
        ("node", Align::Left),
        ("elapsed", Align::Right),
        ("predicted", Align::Right),
        ("left", Align::Right),
        ("note", Align::Left),
    ];
    let row = |lease: &Running| {
        vec![
            lease.unit.to_string(),
            lease.attempt.to_string(),
            lease.node.short(),
            duration(lease.elapsed_ms),
            duration(lease.predicted_ms),
            duration(lease.left_ms),
            note(lease),
        ]
    };
    let mut lines = table(&columns, &leases.iter().map(row).collect::<Vec<_>>());
    let more = total.saturating_sub(leases.len() as u64);
    if more > 0 {
        lines.push(format!("and {} more", count(more)));
    }
    lines
}

fn note(lease: &Running) -> String {
    let pace = match lease.pace {
        Pace::OnTrial => "in time, by a node without a score yet",
        Pace::InTime => "in time",
        Pace::Overtaken => "in time so far, but will be late, or slower than a free node",
        Pace::Late => "late",
        Pace::Checking => "its result is being checked",
    };
    format!("{}{pace}", if lease.copy { "a copy, " } else { "" })
}
