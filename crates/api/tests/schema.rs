//! schemathesis, from PyPI, asks both APIs everything that their description allows and much that it does not, and holds the answers
//! against it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use manyhands_api::OPENAPI;
use serde_json::Value;
use support::world::{KEY, World};

/// Python 3.11 is the oldest that schemathesis takes.
const PYTHON: &str = "Install Python 3.11 or newer with venv (Debian: apt-get install python3 python3-venv)";

/// Runs `program`, which must be there: this test is worth nothing without it.
fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_owned();
    command.output().unwrap_or_else(|error| panic!("cannot run {}: {error}. {PYTHON}", program.display()))
}

fn must(output: &Output, otherwise: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}. {otherwise}\n{out}\n{err}", output.status);
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema").join(name)
}

/// Installs what the requirements pin, once for each target directory.
fn install(folder: &Path) {
    let requirements = std::fs::read(source("requirements.txt")).unwrap();
    let installed = folder.join("installed");
    if std::fs::read(&installed).is_ok_and(|old| old == requirements) {
        return;
    }
    must(&run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder)), PYTHON);
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(["--only-binary", ":all:", "--require-hashes", "-r"]).arg(source("requirements.txt"));
    must(
        &run(&mut pip),
        "pip cannot install what requirements.txt pins; PyPI must be reachable, and Python 3.11 or newer",
    );
    std::fs::write(installed, requirements).unwrap();
}

/// Asks, and gives the report of every question and answer.
fn ask(folder: &Path, address: SocketAddr) -> PathBuf {
    let report = folder.join("report.har");
    let mut command = Command::new(folder.join("bin/schemathesis"));
    command.arg("--config-file").arg(source("schemathesis.toml"));
    command.args(["run", "--no-color", "--report", "har", "--report-har-path"]).arg(&report);
    command.arg(format!("http://{address}/v1/openapi.json"));
    command.current_dir(folder).env("API_KEY", KEY).env("PYTHONDONTWRITEBYTECODE", "1");
    must(&run(&mut command), "The answers are not those that openapi.json describes");
    report
}

/// Each call and status that the report has, by the described path.
fn heard(report: &Path, described: &Value) -> BTreeSet<(String, String, String)> {
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    // Those without a parameter first, as the router has it.
    let mut paths: Vec<&String> = described["paths"].as_object().unwrap().keys().collect();
    paths.sort_by_key(|path| path.contains('{'));
    let entry = |entry: &Value| {
        let url = entry["request"]["url"].as_str()?;
        let asked = url.splitn(4, '/').nth(3)?.split('?').next()?;
        let fits = |path: &&&String| {
            let (asked, path) = (asked.split('/'), path.split('/').skip(1));
            asked.clone().count() == path.clone().count()
                && asked.zip(path).all(|(asked, described)| asked == described || described == "{id}")
        };
        let path = paths.iter().find(fits)?;
        let method = entry["request"]["method"].as_str()?.to_lowercase();
        Some(((*path).clone(), method, entry["response"]["status"].to_string()))
    };
    report["log"]["entries"].as_array().unwrap().iter().filter_map(entry).collect()
}

/// Every call must have succeeded, in every way that it can: refusals alone would show little.
fn assert_all_succeeded(heard: &BTreeSet<(String, String, String)>, described: &Value) {
    let mut missing = Vec::new();
    let paths = described["paths"].as_object().unwrap();
    // schemathesis has read the description itself, and does not ask for it as it asks for the others.
    for (path, calls) in paths.iter().filter(|(path, _)| *path != "/v1/openapi.json") {
        for (method, call) in calls.as_object().unwrap() {
            for status in call["responses"].as_object().unwrap().keys().filter(|status| status.starts_with('2')) {
                let answer = (path.clone(), method.clone(), status.clone());
                missing.extend((!heard.contains(&answer)).then_some(answer));
            }
        }
    }
    assert!(missing.is_empty(), "never answered so: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_apis_answer_as_they_are_described() {
    let address = World::serve().await;
    let asked = tokio::task::spawn_blocking(move || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
        install(&folder);
        ask(&folder, address)
    });
    let described: Value = serde_json::from_str(OPENAPI).unwrap();
    let report = asked.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    assert_all_succeeded(&heard(&report, &described), &described);
}
