//! A machine whose Docker and whose worker are scripts: what it says that it can, and what it makes of what they say. No real worker and no
//! real container are asked here.

use std::os::unix::fs::PermissionsExt as _;

use manyhands_proto::worker::Failure;
use tempfile::TempDir;

use super::*;
use crate::gateway::bonsai::snarks::tests::{fixture, succinct};
use crate::gateway::runs::RUNS_MAX;

/// A machine with these two scripts, which find their folder in `$here`.
fn machine(docker: &str, worker: &str) -> (Machine, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\nhere=$(dirname \"$0\")\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let docker = script("docker", docker);
    let worker = script("worker", worker);
    let machine = Machine { docker, free_bytes: || Some(FREE_BYTES_MIN), ..Machine::new(worker, true, &scratch) };
    (machine, dir)
}

/// Has the worker say this to whatever it is asked.
fn saying(dir: &Path, report: &Report) {
    let frame = manyhands_proto::encode(report);
    let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
    std::fs::write(dir.join("report"), [&length[..], &frame].concat()).unwrap();
}

/// It reads while it speaks: either may be more than a pipe holds.
const SAY: &str = "echo \"$TMPDIR\" >>$here/folders; cat $here/report & exec cat >/dev/null";

async fn cannot(docker: &str) -> String {
    machine(docker, "").0.can().await.unwrap_err()
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_way_out() {
    let (mut without, _dir) = machine("", "");
    without.docker = PathBuf::from("/nonexistent/docker");
    let why = without.can().await.unwrap_err();
    assert!(why.contains("no `docker` on its PATH") && why.contains("install Docker"), "{why}");
    let why =
        cannot("echo 'Client: none'; echo warning >&2; echo 'Cannot connect to the Docker daemon' >&2; exit 1").await;
    assert!(why.contains("(Cannot connect to the Docker daemon)") && why.contains("group docker"), "{why}");
    let why = cannot("test $1 = info || { echo 'No such image' >&2; exit 1; }").await;
    assert!(why.contains("No such image") && why.contains(&format!("docker pull {GROTH16_IMAGE}")), "{why}");
    let why = cannot("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1").await;
    assert!(why.len() < 500, "{} bytes", why.len());

    let (mut machine, dir) = machine("", "");
    machine.free_bytes = || Some(FREE_BYTES_MIN - 1);
    let why = machine.can().await.unwrap_err();
    assert!(why.contains("2000 MB of free memory") && why.contains("has 1999 MB"), "{why}");
    let making = machine.making.lock().await;
    assert_eq!(machine.can().await, Ok(()), "whoever asks now waits until that memory is free");
    drop(making);
    machine.free_bytes = || None;
    assert_eq!(machine.can().await, Ok(()), "where nobody says, it is tried");
    let bare = Machine { has_recursion: false, probe: Mutex::default(), ..machine };
    assert!(bare.can().await.unwrap_err().contains("recursion programs"));
    let colon = Machine { has_recursion: true, folder: dir.path().join("a:b"), probe: Mutex::default(), ..bare };
    assert!(colon.can().await.unwrap_err().contains("colon"));
}

#[tokio::test(start_paused = true)]
async fn a_docker_that_hangs_is_not_waited_for() {
    let why = cannot("exec sleep 1000").await;
    assert!(why.contains("did not answer within 8s"), "{why}");
}

#[tokio::test]
async fn what_was_found_out_counts_for_a_while() {
    let (machine, dir) = machine("echo $* >>$here/asked", "");
    let (first, second) = tokio::join!(machine.can(), machine.can());
    assert_eq!((first, second), (Ok(()), Ok(())));
    let asked = || std::fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked(), format!("info\nimage inspect {GROTH16_IMAGE}\n"));
    let long_ago = Instant::now().checked_sub(PROBE_AGE).unwrap();
    *machine.probe.lock().await = Some((long_ago, Ok(())));
    machine.can().await.unwrap();
    assert_eq!(asked().lines().count(), 4);
}

#[tokio::test]
async fn a_receipt_is_handed_out_only_if_it_proves_the_same() {
    let (machine, dir) = machine("", SAY);
    // A real one, of another program.
    let receipt = ByteBuf::from(fixture("groth16.receipt"));
    saying(dir.path(), &Report::Receipt { receipt, elapsed_ms: 1 });
    assert!(machine.make(succinct()).await.unwrap_err().contains("proves something else"));
    saying(dir.path(), &Report::Receipt { receipt: ByteBuf::from(succinct()), elapsed_ms: 1 });
    assert!(machine.make(succinct()).await.unwrap_err().contains("no Groth16 receipt"));
    saying(dir.path(), &Report::Failed(Failure::Prover("docker returned failure exit code: Some(125)".to_owned())));
    assert!(machine.make(succinct()).await.unwrap_err().contains("Some(125)"));

    // Each run had a folder of its own, below the machine's, and none is left.
    let folders = std::fs::read_to_string(dir.path().join("folders")).unwrap();
    assert_eq!(folders.lines().collect::<std::collections::BTreeSet<_>>().len(), 3);
    assert!(folders.lines().all(|folder| Path::new(folder).parent() == Some(&dir.path().join("scratch"))));
    assert_eq!(std::fs::read_dir(dir.path().join("scratch")).unwrap().count(), 0);

    assert!(machine.make(fixture("groth16.receipt")).await.unwrap_err().contains("already"));
    assert_eq!(std::fs::read_to_string(dir.path().join("folders")).unwrap(), folders, "no worker was started for that");
}

#[tokio::test]
async fn a_worker_that_dies_is_started_again_but_not_for_ever() {
    let (machine, dir) = machine("", "echo run >>$here/runs; echo out of memory >&2; cat >/dev/null & exit 3");
    let why = machine.make(succinct()).await.unwrap_err();
    assert!(why.contains("exit status 3") && why.contains("out of memory"), "{why}");
    let runs = std::fs::read_to_string(dir.path().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), RUNS_MAX as usize);
}

/// A Docker with a container for each folder that is there, one of somebody else's, and one without any; it writes down which it is to end.
const LIST: &str = "case $1 in
    ps) echo \"other /elsewhere$here/scratch/groth16-x,/tmp\"; echo 'none '; for one in $here/scratch/*; do
        test -e $one && echo \"id-$(basename $one) /lib,$one\"; done; exit 0;;
    kill) echo $2 >>$here/ended;;
esac";

/// The ids that it was told.
fn ended(dir: &Path) -> Vec<String> {
    std::fs::read_to_string(dir.join("ended")).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_container_that_nobody_waits_for_is_ended() {
    // The worker dies, and another gateway's life had left one.
    let dies = "test $TMPDIR = $RISC0_WORK_DIR && basename $TMPDIR >>$here/folders; cat >/dev/null & exit 3";
    let (machine, dir) = machine(LIST, dies);
    std::fs::create_dir(dir.path().join("scratch/groth16-old")).unwrap();
    std::fs::create_dir(dir.path().join("scratch/an-input")).unwrap();
    machine.make(succinct()).await.unwrap_err();
    let folders = std::fs::read_to_string(dir.path().join("folders")).unwrap();
    let of_runs: Vec<String> = folders.lines().map(|folder| format!("id-{folder}")).collect();
    assert_eq!(of_runs.len(), RUNS_MAX as usize);
    assert_eq!(ended(dir.path()), [vec!["id-groth16-old".to_owned()], of_runs].concat());
}

#[tokio::test]
async fn what_hangs_is_given_up_with_its_container() {
    let (mut machine, dir) = machine(LIST, "exec sleep 1000");
    machine.make_time = Duration::from_millis(1);
    let why = machine.make(succinct()).await.unwrap_err();
    assert!(why.contains("was not made within"), "{why}");
    let ended = ended(dir.path());
    assert!(ended.len() == 1 && ended[0].starts_with("id-groth16-"), "{ended:?}");
    assert_eq!(std::fs::read_dir(dir.path().join("scratch")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_made_ends_no_container() {
    let (machine, dir) = machine(LIST, SAY);
    saying(dir.path(), &Report::Receipt { receipt: ByteBuf::from(fixture("groth16.receipt")), elapsed_ms: 1 });
    machine.make(succinct()).await.unwrap_err();
    assert!(ended(dir.path()).is_empty());
}

#[tokio::test]
async fn where_its_files_find_no_place_the_worker_is_not_blamed() {
    let (mut machine, dir) = machine("", "");
    machine.folder = dir.path().join("nowhere");
    let why = machine.make(succinct()).await.unwrap_err();
    assert!(why.contains("no folder in") && !why.contains("worker"), "{why}");
}
