//! The unmodified bee-js, from npm, against the API over a real socket. Its suite is in `js/suite.cjs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::Server;

/// Runs `program`, which must be there: this test is worth nothing without it.
fn run(program: &str, arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).envs(variables.iter().copied());
    command.output().unwrap_or_else(|error| {
        panic!("cannot run {program}: {error}. Install nodejs and npm (Debian: apt-get install nodejs npm)")
    })
}

fn must(output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

/// Installs what the lock file pins, once for each target directory.
fn install(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js");
    let lock = std::fs::read(source.join("package-lock.json")).unwrap();
    let installed = folder.join("installed");
    if std::fs::read(&installed).is_ok_and(|old| old == lock) {
        return;
    }
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    must(&run("npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder, &[]));
    std::fs::write(installed, lock).unwrap();
}

#[test]
fn bee_js_stores_and_fetches_here() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bee-js");
    install(&folder);
    let server = Server::start();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let suite = root.join("tests/js/suite.cjs");
    std::fs::copy(suite, folder.join("suite.cjs")).unwrap();
    let vectors = root.join("../blob/testdata/swarm_vectors.json");
    let variables = [("BEE_URL", server.url.as_str()), ("VECTORS", vectors.to_str().unwrap())];
    must(&run("node", &["--test", "suite.cjs"], &folder, &variables));
}
