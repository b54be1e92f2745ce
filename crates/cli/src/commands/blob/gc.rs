//! `manyhands blob gc`: clearing up.

use std::time::Duration;

use clap::Args;
use manyhands_blob::store::Collected;
use serde_json::json;

use super::Outcome;
use super::store::StoreOptions;
use crate::failure::Failure;
use crate::screen::text::{bytes, plural};

/// Options of `blob gc`.
#[derive(Debug, Args)]
#[command(mut_arg("worker", |worker| worker.hide(true)))]
pub struct GcArgs {
    /// Gives up downloads that have not gone on for so many hours.
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    age: u64,
    /// Empties the cache too: removes all that nobody holds and nothing pins.
    #[arg(long)]
    cache: bool,
    #[command(flatten)]
    store: StoreOptions,
    /// Prints the result as JSON on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Clears up.
pub fn run(args: &GcArgs) -> Result<Outcome, Failure> {
    let store = args.store.open()?.store;
    let before_bytes = store.used_bytes()?;
    let evicted = if args.cache { store.shrink_cache(0)? } else { 0 };
    let collected = store.gc(Duration::from_secs(args.age.saturating_mul(3_600)))?;
    let freed_bytes = before_bytes.saturating_sub(store.used_bytes()?);
    let json = json!({
        "freed_bytes": freed_bytes,
        "file_bytes": collected.file_bytes,
        "downloads": collected.partials,
        "cached_roots": evicted + collected.unreadable,
        "stray_bytes": collected.stray_bytes,
        "compacted": collected.compacted,
    });
    Ok(Outcome::done(lines(freed_bytes, evicted, &collected).join("\n"), json))
}

fn lines(freed_bytes: u64, evicted: usize, collected: &Collected) -> Vec<String> {
    let mut lines =
        vec![format!("freed {} of chunks; the file is {} shorter", bytes(freed_bytes), bytes(collected.file_bytes))];
    let mut tell = |number: usize, what: &str, why: &str| {
        if number > 0 {
            lines.push(format!("{} {why}", plural(number as u64, what)));
        }
    };
    tell(collected.partials, "download", "given up");
    tell(evicted, "root", "that nobody held removed");
    tell(collected.unreadable, "root", "that nobody held and that could not be read removed");
    if collected.stray_bytes > 0 {
        lines.push(format!(
            "{} belonged to nothing; `manyhands blob scrub` checks the rest",
            bytes(collected.stray_bytes)
        ));
    }
    if !collected.compacted {
        lines.push("the file was not compacted".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_done_is_told() {
        let nothing = Collected { partials: 0, unreadable: 0, stray_bytes: 0, file_bytes: 0, compacted: true };
        assert_eq!(lines(0, 0, &nothing), ["freed 0 B of chunks; the file is 0 B shorter"]);
        let all = Collected { partials: 1, unreadable: 2, stray_bytes: 4_104, file_bytes: 65_536, compacted: false };
        assert_eq!(
            lines(9_000, 3, &all),
            [
                "freed 9.0 kB of chunks; the file is 66 kB shorter",
                "1 download given up",
                "3 roots that nobody held removed",
                "2 roots that nobody held and that could not be read removed",
                "4.1 kB belonged to nothing; `manyhands blob scrub` checks the rest",
                "the file was not compacted",
            ]
        );
    }
}
