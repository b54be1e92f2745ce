//! `manyhands backup` against a gateway that follows a script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::sync::Mutex;

use manyhands_api::types::{BackupEnd, BackupProgress};
use manyhands_api::{Problem, ProblemKind};
use support::{BACKUP, Script, gateway, json, run};
use tempfile::tempdir;

fn running(done_bytes: u64) -> (Option<BackupProgress>, Option<BackupEnd>) {
    // An earlier one has failed: that is none of this one's business.
    let earlier = BackupEnd { name: "2026-01-30T12-00-00Z".to_owned(), ..failed() };
    let progress = BackupProgress { name: BACKUP.to_owned(), done_bytes, total_bytes: 9, elapsed_ms: 5 };
    (Some(progress), Some(earlier))
}

fn failed() -> BackupEnd {
    let problem = Problem::new(ProblemKind::NoSpace, "there is no room for a back-up");
    BackupEnd { name: BACKUP.to_owned(), path: None, size_bytes: 0, elapsed_ms: 7, error: Some(problem) }
}

fn made() -> BackupEnd {
    let path = Some(format!("/b/{BACKUP}"));
    BackupEnd { path, size_bytes: 2_500_000, elapsed_ms: 1_500, error: None, ..failed() }
}

#[tokio::test]
async fn it_waits_and_says_where_the_back_up_is() {
    for as_json in [false, true] {
        let steps = vec![running(0), running(10), (None, Some(made()))];
        let (_, address) = gateway(Script { backups: Mutex::new(steps), ..Script::default() }).await;
        let dir = tempdir().unwrap();
        let mut words = vec!["backup", "--gateway", address.as_str()];
        words.extend(as_json.then_some("--json"));
        let said = run(dir.path(), &words).await;
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{said:?}");
        if as_json {
            let made = json(&said);
            assert_eq!((&made["path"], &made["size_bytes"]), (&format!("/b/{BACKUP}").into(), &2_500_000.into()));
            assert_eq!((&made["kept"][0], &made["kept_max"]), (&made["path"], &3.into()));
        } else {
            assert!(
                said.out.starts_with(&format!("backed up 2.5 MB in 1.5 s to /b/{BACKUP}\n1 back-up kept, 3 at most."))
            );
        }
    }
}

#[tokio::test]
async fn one_that_is_refused_or_fails_or_is_cut_off_is_no_success() {
    let refusal = Problem::new(ProblemKind::Busy, "a back-up is under way already");
    let refused = Script { backup_refusal: Some(refusal), ..Script::default() };
    let failing = Script { backups: Mutex::new(vec![running(1), (None, Some(failed()))]), ..Script::default() };
    let anew = Script { backups: Mutex::new(vec![running(1), (None, None)]), ..Script::default() };
    for (script, said_so) in [(refused, "under way already"), (failing, "no room for a back-up"), (anew, "was cut off")]
    {
        let (_, address) = gateway(script).await;
        let dir = tempdir().unwrap();
        let said = run(dir.path(), &["backup", "--json", "--gateway", &address]).await;
        assert_eq!(said.status, 1, "{said:?}");
        assert!(said.err.contains(said_so) && json(&said)["error"].as_str().unwrap().contains(said_so), "{said:?}");
    }
}
