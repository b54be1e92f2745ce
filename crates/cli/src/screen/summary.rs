//! What a finished job was: for people and as JSON, both from the same figures.

use std::collections::BTreeMap;
use std::path::Path;

use manyhands_api::JobStatus;
use manyhands_core::Tally;
use manyhands_proto::unit::UnitKind;
use manyhands_proto::{Digest, JobId, NodeId};
use manyhands_zkvm::ReceiptSummary;
use serde::Serialize;

use super::Paint;
use super::table::{Align, pairs, table};
use super::text::{as_text, bytes, clip, count, duration, inflation, plural, printable, ratio};

/// Characters of a journal that are shown; all of it is in the receipt.
const JOURNAL_CHARS: usize = 160;

/// A finished job whose receipt was verified here.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The job.
    pub job: JobId,
    /// What was proved.
    pub image_id: Digest,
    /// Always true: there is no summary of a receipt that does not verify.
    pub verified: bool,
    /// Segment size.
    pub po2: u8,
    /// Number of segments.
    pub segments: u32,
    /// Cycles of the guest's own.
    pub user_cycles: u64,
    /// Cycles that were proved.
    pub total_cycles: u64,
    /// The second by the first.
    pub inflation: Option<f64>,
    /// From submission to receipt.
    pub elapsed_ms: u64,
    /// The times of all proofs, lifts and joins together, as their nodes say.
    pub work_ms: u64,
    /// Who did what.
    pub nodes: Vec<NodeShare>,
    /// Leases that came to nothing and were told of.
    pub incidents: usize,
    /// All leases, and what of them was for nothing.
    pub tally: Tally,
    /// The receipt.
    pub receipt: ReceiptFile,
    /// What the guest committed.
    pub journal_hex: String,
    /// The same, if it is text.
    pub journal_text: Option<String>,
}

/// A receipt that was written.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptFile {
    /// Where.
    pub path: String,
    /// `composite` or `succinct`.
    pub kind: String,
    /// Size of the file.
    pub size_bytes: u64,
}

/// What one node did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeShare {
    /// The node.
    pub node: NodeId,
    /// Segments it proved.
    pub proofs: u32,
    /// Proofs it lifted.
    pub lifts: u32,
    /// Pairs it joined or united, and assumptions it resolved.
    pub joins: u32,
    /// Keccak requests it proved.
    pub keccaks: u32,
    /// Time it worked, as it says.
    pub work_ms: u64,
}

impl Summary {
    /// The figures of a job and of its receipt, which was written to `path`.
    pub fn new(status: &JobStatus, receipt: &ReceiptSummary, size_bytes: u64, path: &Path, image_id: Digest) -> Self {
        let view = &status.view;
        let (user_cycles, total_cycles) = (view.user_cycles.unwrap_or_default(), view.total_cycles.unwrap_or_default());
        let nodes = shares(status);
        Self {
            job: view.job,
            image_id,
            verified: true,
            po2: view.po2.get(),
            segments: view.segments.unwrap_or_default(),
            user_cycles,
            total_cycles,
            inflation: ratio(total_cycles, user_cycles),
            elapsed_ms: view.elapsed_ms,
            work_ms: nodes.iter().map(|share| share.work_ms).fold(0, u64::saturating_add),
            nodes,
            incidents: status.incidents.len(),
            tally: view.tally,
            receipt: ReceiptFile { path: path.display().to_string(), kind: receipt.kind.to_string(), size_bytes },
            journal_hex: hex::encode(&receipt.journal),
            journal_text: as_text(&receipt.journal).map(str::to_owned),
        }
    }

    /// For people.
    pub fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines =
            vec![format!("{} the receipt proves this program's journal", paint.green("verified:")), String::new()];
        lines.extend(pairs(&self.facts()));
        lines.push(String::new());
        lines.extend(node_table(&self.nodes, self.work_ms));
        if self.incidents > 0 {
            lines.push(String::new());
            lines.push(paint.yellow(&format!("{} came to nothing", plural(self.incidents as u64, "lease"))));
        }
        lines
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let receipt = format!("{} ({}, {})", self.receipt.path, self.receipt.kind, bytes(self.receipt.size_bytes));
        let times = ratio(self.work_ms, self.elapsed_ms)
            .map_or_else(String::new, |times| format!(" ({times:.2} times as long)"));
        let journal = match &self.journal_text {
            Some(text) => format!("{:?}", clip(text, JOURNAL_CHARS)),
            None if self.journal_hex.is_empty() => "empty".to_owned(),
            None => clip(&self.journal_hex, JOURNAL_CHARS),
        };
        let mut facts = vec![
            ("receipt", printable(&receipt)),
            ("image id", self.image_id.to_string()),
            ("journal", format!("{journal}, {}", bytes(self.journal_hex.len() as u64 / 2))),
            ("segments", format!("{} at po2 {}", count(self.segments.into()), self.po2)),
            (
                "cycles",
                format!(
                    "{} of the guest, {} proved, inflation {}",
                    count(self.user_cycles),
                    count(self.total_cycles),
                    inflation(self.total_cycles, self.user_cycles)
                ),
            ),
            (
                "time",
                format!("{}; the nodes' work adds up to {}{times}", duration(self.elapsed_ms), duration(self.work_ms)),
            ),
        ];
        let Tally { leases, copies, wasted_leases, wasted_ms } = self.tally;
        if wasted_leases > 0 {
            let waste = format!(
                "{}, {} of them copies; {} for nothing, held for {} together",
                plural(leases.into(), "lease"),
                count(copies.into()),
                count(wasted_leases.into()),
                duration(wasted_ms)
            );
            facts.push(("leases", waste));
        }
        facts
    }
}

/// What each node did, the busiest first.
fn shares(status: &JobStatus) -> Vec<NodeShare> {
    let mut shares: BTreeMap<NodeId, NodeShare> = BTreeMap::new();
    for result in &status.view.results {
        let empty = NodeShare { node: result.node, proofs: 0, lifts: 0, joins: 0, keccaks: 0, work_ms: 0 };
        let share = shares.entry(result.node).or_insert(empty);
        match result.unit.kind() {
            UnitKind::Prove => share.proofs += 1,
            UnitKind::Lift => share.lifts += 1,
            UnitKind::Join => share.joins += 1,
            UnitKind::Keccak => share.keccaks += 1,
        }
        share.work_ms = share.work_ms.saturating_add(result.elapsed_ms);
    }
    let mut shares: Vec<NodeShare> = shares.into_values().collect();
    shares.sort_by_key(|share| (std::cmp::Reverse(share.work_ms), share.node));
    shares
}

fn node_table(nodes: &[NodeShare], work_ms: u64) -> Vec<String> {
    let has_recursion = nodes.iter().any(|share| share.lifts + share.joins > 0);
    let mut columns = vec![("node", Align::Left), ("proofs", Align::Right)];
    if has_recursion {
        columns.extend([("lifts", Align::Right), ("joins", Align::Right)]);
    }
    let has_keccaks = nodes.iter().any(|share| share.keccaks > 0);
    if has_keccaks {
        columns.push(("keccaks", Align::Right));
    }
    columns.extend([("work", Align::Right), ("share", Align::Right)]);
    let row = |share: &NodeShare| {
        let mut row = vec![share.node.short(), share.proofs.to_string()];
        if has_recursion {
            row.extend([share.lifts.to_string(), share.joins.to_string()]);
        }
        if has_keccaks {
            row.push(share.keccaks.to_string());
        }
        let percent =
            ratio(share.work_ms, work_ms).map_or_else(|| "-".to_owned(), |part| format!("{:.0}%", part * 100.0));
        row.extend([duration(share.work_ms), percent]);
        row
    };
    table(&columns, &nodes.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::status;
    use super::*;
    use manyhands_core::job::UnitState::Verified;
    use manyhands_zkvm::ReceiptKind;

    fn summary(journal: &[u8]) -> Summary {
        summary_of(&status("done", &[Verified; 3]), journal)
    }

    fn summary_of(status: &JobStatus, journal: &[u8]) -> Summary {
        let receipt = ReceiptSummary {
            kind: ReceiptKind::Composite,
            segments: 3,
            seal_bytes: 1,
            claim: Digest([0; 32]),
            journal: journal.to_vec(),
        };
        Summary::new(status, &receipt, 670_000, Path::new("inflate.receipt"), Digest([3; 32]))
    }

    #[test]
    fn it_tells_who_did_what_and_what_it_cost() {
        let lines = summary(b"\x00\x01").lines(Paint::PLAIN);
        let expected = [
            "verified: the receipt proves this program's journal",
            "",
            "receipt   inflate.receipt (composite, 670 kB)",
            "image id  0303030303030303030303030303030303030303030303030303030303030303",
            "journal   0001, 2 B",
            "segments  3 at po2 16",
            "cycles    300,000 of the guest, 450,000 proved, inflation 1.500x",
            "time      42.0 s; the nodes' work adds up to 84.0 s (2.00 times as long)",
            "",
            "node      proofs    work  share",
            "02020202       2  56.0 s    67%",
            "03030303       1  28.0 s    33%",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn leases_are_told_of_where_some_were_for_nothing() {
        let mut status = status("done", &[Verified; 3]);
        let mut leases = |tally| {
            status.view.tally = tally;
            let lines = summary_of(&status, b"x").lines(Paint::PLAIN);
            lines.into_iter().filter(|line| line.starts_with("leases")).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(leases(Tally { leases: 4, copies: 1, wasted_leases: 0, wasted_ms: 0 }), none);
        let waste = Tally { leases: 1_005, copies: 2, wasted_leases: 3, wasted_ms: 28_000 };
        assert_eq!(
            leases(waste),
            ["leases    1,005 leases, 2 of them copies; 3 for nothing, held for 28.0 s together"]
        );
    }

    #[test]
    fn a_journal_of_text_is_shown_as_text() {
        assert!(summary(b"42 is prime").lines(Paint::PLAIN).contains(&"journal   \"42 is prime\", 11 B".to_owned()));
        assert_eq!(summary(b"\x1b[2J").journal_text, None);
    }

    #[test]
    fn as_json_it_has_plain_numbers() {
        let value = serde_json::to_value(summary(b"x")).unwrap();
        assert_eq!(value["verified"], true);
        assert_eq!(value["inflation"], 1.5);
        assert_eq!(value["nodes"][0]["proofs"], 2);
        assert_eq!(value["receipt"]["kind"], "composite");
        assert_eq!(value["journal_hex"], "78");
    }
}
