//! What every benchmark prints: medians, and the machine and commit that the figures are of.

/// The middle of the values; of an even number the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or(f64::NAN);
    let lower = if values.len().is_multiple_of(2) {
        values.get(middle.wrapping_sub(1)).copied().unwrap_or(upper)
    } else {
        upper
    };
    f64::midpoint(lower, upper)
}

/// Processor, cores and commit, for whoever reads the figures later.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(" unknown")
        .trim_matches([' ', '\t', ':']);
    let commit = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    format!("machine: {model}, {} cores; commit {commit}", manyhands_node::machine::cores())
}
