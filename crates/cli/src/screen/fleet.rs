//! A gateway and its fleet, for `status`.

use manyhands_api::GatewayStatus;
use manyhands_api::types::JobSummary;
use manyhands_core::Verdict;
use manyhands_core::view::NodeView;

use super::Paint;
use super::table::{Align, pairs, table};
use super::text::{bytes, duration, guess, printable};

/// A gateway with its nodes and jobs.
pub fn lines(address: &str, status: &GatewayStatus, paint: Paint) -> Vec<String> {
    let mut lines = vec![format!("{} at {address}", paint.bold("gateway"))];
    lines.extend(pairs(&facts(status)).into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    lines.extend(fleet(status, paint));
    lines.push(String::new());
    lines.push(format!("{}{}", paint.bold("jobs"), if status.jobs.is_empty() { ": none" } else { "" }));
    if status.jobs.is_empty() {
        lines.push("  submit one with `manyhands prove PROGRAM`".to_owned());
    } else {
        lines.extend(jobs(&status.jobs).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

/// Its nodes.
pub fn fleet(status: &GatewayStatus, paint: Paint) -> Vec<String> {
    if status.nodes.is_empty() {
        let address = status.addresses.first().map_or("ADDRESS", String::as_str);
        let next = format!("  start one with `manyhands node --gateway {address}`");
        return vec![format!("{}: none", paint.bold("nodes")), next];
    }
    let rows = nodes(&status.nodes).into_iter().map(|line| format!("  {line}"));
    std::iter::once(paint.bold("nodes")).chain(rows).collect()
}

fn facts(status: &GatewayStatus) -> Vec<(&'static str, String)> {
    let recursion = if status.recursion { "" } else { ", without the recursion programs (composite receipts only)" };
    let addresses = if status.addresses.is_empty() { "none".to_owned() } else { status.addresses.join("\n") };
    vec![
        ("version", printable(&format!("{}, {}{recursion}", status.version, status.zkvm))),
        ("peer id", printable(&status.peer_id)),
        ("for nodes", printable(&addresses)),
        ("store", format!("{} of {}", bytes(status.store_used_bytes), bytes(status.store_limit_bytes))),
    ]
}

fn nodes(nodes: &[NodeView]) -> Vec<String> {
    let columns = [
        ("node", Align::Left),
        ("state", Align::Left),
        ("po2", Align::Right),
        ("slots", Align::Right),
        ("lift/join", Align::Left),
        ("zkVM", Align::Left),
        ("score", Align::Left),
        ("valid", Align::Right),
        ("offences", Align::Right),
        ("note", Align::Left),
    ];
    let text = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
    let row = |node: &NodeView| {
        let state = match (node.verdict, node.connected, &node.blocked) {
            (Some(Verdict::Denied), ..) => "denied",
            (_, false, _) => "gone",
            (_, true, Some(_)) => "blocked",
            (_, true, None) => "ready",
        };
        let note = match (&node.blocked, node.blocked_ms) {
            (Some(why), Some(left_ms)) => format!("{} (about {} more)", printable(why), guess(left_ms)),
            (Some(why), None) => printable(why),
            (None, _) if node.verdict == Some(Verdict::Allowed) => "allowed by the operator".to_owned(),
            (None, _) => node.challenged.map_or_else(String::new, |po2| format!("proves a challenge at po2 {po2}")),
        };
        vec![
            node.node.short(),
            state.to_owned(),
            text(node.po2_max.map(|po2| po2.to_string())),
            text(node.slots.map(|slots| slots.to_string())),
            text(node.recursion.map(|recursion| if recursion { "yes" } else { "no" }.to_owned())),
            text(node.zkvm.as_deref().map(printable)),
            text_of_score(node),
            node.valid.to_string(),
            node.offences.to_string(),
            note,
        ]
    };
    table(&columns, &nodes.iter().map(row).collect::<Vec<_>>())
}

/// Its largest proof that counts, and its time; a dash for a stranger.
fn text_of_score(node: &NodeView) -> String {
    node.score.map_or_else(|| "-".to_owned(), |score| format!("{} in {}", score.po2, duration(score.elapsed_ms)))
}

fn jobs(jobs: &[JobSummary]) -> Vec<String> {
    let columns = [
        ("job", Align::Left),
        ("phase", Align::Left),
        ("priority", Align::Left),
        ("units", Align::Right),
        ("note", Align::Left),
    ];
    let row = |job: &JobSummary| {
        let note = job.note.as_deref().map(printable).unwrap_or_default().replace('\n', " ");
        let units = format!("{}/{}", job.units_done, job.units_total);
        vec![job.job.to_string(), printable(&job.phase), job.priority.word().to_owned(), units, note]
    };
    table(&columns, &jobs.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use manyhands_core::Priority;
    use manyhands_core::view::ScoreView;
    use manyhands_proto::{JobId, NodeId, Po2};
    use manyhands_vbs::Source;

    fn status() -> GatewayStatus {
        GatewayStatus {
            version: "0.1.0".into(),
            zkvm: "risc0-zkvm 3.0.6".into(),
            peer_id: "12D3Koo".into(),
            node: NodeId([1; 32]),
            addresses: vec!["/ip4/127.0.0.1/tcp/7170/p2p/12D3Koo".into()],
            recursion: true,
            store_used_bytes: 1_600_000,
            store_limit_bytes: 10_000_000_000,
            nodes: Vec::new(),
            jobs: Vec::new(),
        }
    }

    #[test]
    fn an_empty_fleet_says_what_to_do() {
        let text = lines("127.0.0.1:7171", &status(), Paint::PLAIN).join("\n");
        assert!(text.contains("manyhands node --gateway /ip4/127.0.0.1/tcp/7170/p2p/12D3Koo"), "{text}");
        assert!(text.contains("store      1.6 MB of 10 GB"), "{text}");
    }

    #[test]
    fn nodes_and_jobs_have_a_line_each() {
        let mut status = status();
        let node = |byte, connected, blocked: Option<&str>| NodeView {
            node: NodeId([byte; 32]),
            connected,
            po2_max: Po2::try_from(18).ok(),
            slots: Some(1),
            recursion: Some(byte == 1),
            zkvm: Some("risc0-zkvm 3.0.6".into()),
            valid: 5,
            offences: 0,
            blocked: blocked.map(str::to_owned),
            blocked_ms: blocked.map(|_| 60_000),
            verdict: None,
            score: (byte == 1).then_some(ScoreView {
                po2: Po2::MIN,
                elapsed_ms: 9_400,
                source: Source::Own,
                left_ms: 60_000,
            }),
            challenged: (byte == 5).then_some(Po2::MIN),
        };
        let denied = NodeView {
            verdict: Some(Verdict::Denied),
            blocked_ms: None,
            ..node(4, true, Some("denied by this gateway's operator"))
        };
        let allowed = NodeView { verdict: Some(Verdict::Allowed), ..node(5, true, None) };
        let silent = node(2, true, Some("a lease went silent"));
        status.nodes = vec![node(1, true, None), silent, node(3, false, None), denied, allowed];
        let note = Some("no node is connected".to_owned());
        status.jobs = vec![JobSummary {
            job: JobId([9; 16]),
            phase: "open".into(),
            priority: Priority::High,
            units_done: 2,
            units_total: 7,
            note,
        }];
        let shown = lines("127.0.0.1:7171", &status, Paint::PLAIN);
        assert!(
            shown.contains(
                &"  01010101  ready     18      1  yes        risc0-zkvm 3.0.6  14 in 9.4 s      5         0"
                    .to_owned()
            ),
            "{shown:#?}"
        );
        assert!(
            shown
                .iter()
                .any(|line| line.contains("blocked") && line.ends_with("a lease went silent (about 60 s more)"))
        );
        assert!(shown.iter().any(|line| line.contains("03030303  gone")));
        let ends = |start: &str, end| shown.iter().any(|line| line.contains(start) && line.ends_with(end));
        assert!(ends("04040404  denied", "  denied by this gateway's operator"), "{shown:#?}");
        assert!(ends("05050505  ready", "  allowed by the operator"), "{shown:#?}");
        assert!(
            shown.contains(&format!("  {}  open   high        2/7  no node is connected", "09".repeat(16))),
            "{shown:#?}"
        );
    }
}
