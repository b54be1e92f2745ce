//! The limits that the process sets itself before it looks at the first task.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::arguments::Arguments;

/// RISC Zero reads variables with this prefix: development mode, where profiles and dumps are written, and more.
const FOREIGN_PREFIX: &str = "RISC0_";

/// Sets the process's limits and gives back the stream for reports, which alone leads to the daemon from then on: whatever else is
/// printed goes to stderr.
///
/// # Errors
/// When the system refuses a limit.
pub fn confine(arguments: &Arguments) -> Result<File> {
    without_foreign_variables()?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // A core file of a killed proof would be as large as its memory.
    setrlimit(Resource::Core, none).context("core files cannot be switched off")?;
    if let Some(bytes) = arguments.memory_bytes {
        // Data, not address space: the allocator reserves far more addresses than it uses. A proof's data is its peak resident size
        // and some 20 MB: measured, 2^14 lives in 184 MB and dies in 176, 2^16 lives in 650 and dies in 600.
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        setrlimit(Resource::Data, limit).with_context(|| format!("memory cannot be limited to {bytes} bytes"))?;
    }
    // Whatever else runs on the machine comes first. As low already is as good.
    let _ = rustix::process::nice(19);
    if let Some(threads) = arguments.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().with_context(|| format!("{threads} threads cannot be started"))?;
    }
    let reports = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 3).context("stdout cannot be kept for reports")?;
    rustix::stdio::dup2_stdout(std::io::stderr()).context("stdout cannot be pointed to stderr")?;
    Ok(File::from(reports))
}

/// Ends the process as the kernel would: nothing of it runs afterwards.
pub fn kill_self() {
    // That a process may not kill itself cannot be; then the caller ends it in another way.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// Milliseconds of CPU time that the process has used.
pub fn cpu_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let ms = time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000);
    u64::try_from(ms).unwrap_or(0)
}

/// Starts the program again without RISC Zero's variables, if there are any. Setting variables inside a running process is not safe.
fn without_foreign_variables() -> Result<()> {
    let foreign: Vec<_> = std::env::vars_os().map(|(name, _)| name).filter(|name| is_foreign(name)).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let mut command = Command::new(std::env::current_exe().context("the program's own path is unknown")?);
    command.args(std::env::args_os().skip(1));
    for name in &foreign {
        command.env_remove(name);
    }
    let error = command.exec();
    bail!("the program cannot be started again without the environment's {FOREIGN_PREFIX} variables: {error}")
}

fn is_foreign(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with(FOREIGN_PREFIX)
}
