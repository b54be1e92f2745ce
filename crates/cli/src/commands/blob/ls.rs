//! `manyhands blob ls`: what the store has and who keeps it.

use clap::Args;
use manyhands_blob::store::{Entry, Kind, Partial, Usage};
use serde::Serialize;
use serde_json::json;

use super::Outcome;
use super::store::{StoreOptions, keepers};
use crate::failure::Failure;
use crate::screen::table::{Align, table};
use crate::screen::text::{bytes, count, plural, printable};

/// Options of `blob ls`.
#[derive(Debug, Args)]
#[command(mut_arg("worker", |worker| worker.hide(true)))]
pub struct LsArgs {
    #[command(flatten)]
    store: StoreOptions,
    /// Prints the list as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize)]
struct RootJson {
    reference: String,
    kind: &'static str,
    redundancy: Option<u8>,
    size_bytes: Option<u64>,
    chunks: u64,
    owners: Vec<String>,
    pinned: bool,
    cached: bool,
    damaged: bool,
}

#[derive(Debug, Serialize)]
struct DownloadJson {
    reference: String,
    size_bytes: u64,
    held_chunks: u64,
    owner: String,
}

/// Lists it.
pub fn run(args: &LsArgs) -> Result<Outcome, Failure> {
    let opened = args.store.open()?;
    let (entries, partials, usage) = (opened.store.entries()?, opened.store.partials()?, opened.store.usage()?);
    let json = json!({
        "store": opened.path,
        "used_bytes": usage.used_bytes,
        "cached_bytes": usage.cached_bytes,
        "reserved_bytes": usage.reserved_bytes,
        "limit_bytes": usage.limit_bytes,
        "roots": entries.iter().map(root_json).collect::<Vec<_>>(),
        "downloads": partials.iter().map(download_json).collect::<Vec<_>>(),
    });
    Ok(Outcome::done(lines(&entries, &partials, usage).join("\n"), json))
}

fn root_json(entry: &Entry) -> RootJson {
    let (kind, redundancy) = match entry.kind {
        Kind::Blob => ("blob", Some(0)),
        Kind::Tree(level) => ("tree", Some(level.number())),
        Kind::Opaque => ("opaque", None),
        Kind::Chunk => ("chunk", None),
    };
    RootJson {
        reference: entry.reference.to_string(),
        kind,
        redundancy,
        size_bytes: entry.size_bytes,
        chunks: entry.chunks,
        owners: entry.owners.iter().map(ToString::to_string).collect(),
        pinned: entry.is_pinned,
        cached: entry.is_cached(),
        damaged: entry.is_damaged,
    }
}

fn download_json(partial: &Partial) -> DownloadJson {
    DownloadJson {
        reference: partial.blob.reference.to_string(),
        size_bytes: partial.blob.size_bytes,
        held_chunks: partial.held_chunks,
        owner: partial.owner.to_string(),
    }
}

fn lines(entries: &[Entry], partials: &[Partial], usage: Usage) -> Vec<String> {
    let columns = [
        ("reference", Align::Left),
        ("kind", Align::Left),
        ("size", Align::Right),
        ("chunks", Align::Right),
        ("kept", Align::Left),
    ];
    let rows: Vec<_> = entries.iter().map(root_row).chain(partials.iter().map(download_row)).collect();
    let mut lines = if rows.is_empty() { Vec::new() } else { table(&columns, &rows) };
    lines.extend((!rows.is_empty()).then(String::new));
    lines.push(format!(
        "{}: {} used of {}, of which {} yield when their room is needed; {} reserved for downloads",
        plural(entries.len() as u64, "root"),
        bytes(usage.used_bytes),
        bytes(usage.limit_bytes),
        bytes(usage.cached_bytes),
        bytes(usage.reserved_bytes)
    ));
    lines
}

fn root_row(entry: &Entry) -> Vec<String> {
    let kind = match entry.kind {
        Kind::Blob => "blob".to_owned(),
        Kind::Tree(level) => format!("level {}", level.number()),
        Kind::Opaque => "encrypted?".to_owned(),
        Kind::Chunk => "chunk".to_owned(),
    };
    let kept = keepers(entry).unwrap_or_else(|| "until its room is needed".to_owned());
    let kept = kept.trim_start_matches("it is ");
    vec![
        entry.reference.to_string(),
        kind,
        entry.size_bytes.map_or_else(|| "-".to_owned(), bytes),
        count(entry.chunks),
        if entry.is_damaged { format!("DAMAGED; {kept}") } else { kept.to_owned() },
    ]
}

fn download_row(partial: &Partial) -> Vec<String> {
    vec![
        partial.blob.reference.to_string(),
        "download".to_owned(),
        bytes(partial.blob.size_bytes),
        count(partial.held_chunks),
        format!("not complete; begun by {}", printable(partial.owner.as_str())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use manyhands_blob::Owner;
    use manyhands_blob::redundancy::Level;
    use manyhands_proto::{BlobRef, Reference};

    #[test]
    fn each_root_has_a_line_that_says_why_it_is_kept() {
        let owner = |name: &str| Owner::new(name).unwrap();
        let entry = |kind, size_bytes, owners, is_pinned, is_damaged| Entry {
            reference: Reference([7; 32]),
            kind,
            size_bytes,
            chunks: 1_234,
            owners,
            is_pinned,
            is_damaged,
        };
        let many: Vec<Owner> = (0..7).map(|number| owner(&format!("o{number}"))).collect();
        let entries = [
            entry(Kind::Blob, Some(5_000_000), vec![owner("cli"), owner("evil\x1b[2J")], true, false),
            entry(Kind::Tree(Level::Strong), Some(1), many, false, false),
            entry(Kind::Opaque, None, vec![], true, true),
            entry(Kind::Chunk, Some(3), vec![], false, false),
        ];
        let blob = BlobRef { reference: Reference([9; 32]), size_bytes: 10_000 };
        let partial = Partial { blob, held_chunks: 2, owner: owner("job 1") };
        let usage = Usage { used_bytes: 5_100_000, reserved_bytes: 7, cached_bytes: 11, limit_bytes: 1_000_000_000 };
        let lines = lines(&entries, &[partial], usage);
        let ends: Vec<&str> = lines.iter().skip(1).take(5).map(|line| line[66..].trim_end()).collect();
        assert_eq!(
            ends,
            [
                "blob        5.0 MB   1,234  pinned and held by cli, evil\\u{1b}[2J",
                "level 2        1 B   1,234  held by o0, o1, o2, o3, o4, 2 more",
                "encrypted?       -   1,234  DAMAGED; pinned",
                "chunk          3 B   1,234  until its room is needed",
                "download     10 kB       2  not complete; begun by job 1",
            ]
        );
        assert!(lines.last().unwrap().starts_with("4 roots: 5.1 MB used of 1.0 GB, of which 11 B yield"), "{lines:?}");
        assert_eq!(super::lines(&[], &[], usage).len(), 1, "an empty store has no table");
    }
}
