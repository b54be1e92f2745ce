//! The six steps: the folder that holds the paper's steps I to VI shows them by its file names, one each.

use super::Finding;

/// The folder.
const FOLDER: &str = "crates/core/src/job/";
/// How many steps the paper numbers.
const STEPS: usize = 6;

/// Every step without a file of its own, and every file with a number that the paper does not know.
pub fn check(paths: &[String]) -> Vec<Finding> {
    let numbered = |path: &String| -> Option<usize> {
        let name = path.strip_prefix(FOLDER)?.strip_prefix("step")?.strip_suffix(".rs")?;
        let (number, rest) = name.split_once('_')?;
        if rest.is_empty() { None } else { number.parse().ok() }
    };
    let numbers: Vec<usize> = paths.iter().filter_map(numbered).collect();
    let wrong = |step: usize| {
        let files = numbers.iter().filter(|number| **number == step).count();
        let message =
            format!("step {step} has {files} files step{step}_*.rs; each of the paper's six steps has exactly one");
        (files != 1).then(|| Finding::about(FOLDER, message))
    };
    let beyond = numbers.iter().filter(|number| **number == 0 || **number > STEPS);
    let beyond = beyond.map(|number| Finding::about(FOLDER, format!("there is no step {number} in the paper")));
    (1..=STEPS).filter_map(wrong).chain(beyond).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn tree(numbers: &[usize]) -> Vec<String> {
        let steps = numbers.iter().map(|number| format!("{FOLDER}step{number}_something.rs"));
        steps.chain(["crates/core/src/job/mod.rs".into(), "crates/node/src/step1_x.rs".into()]).collect()
    }

    #[test]
    fn six_steps_with_a_file_each_pass() {
        assert!(check(&tree(&[1, 2, 3, 4, 5, 6])).is_empty());
    }

    #[test]
    fn a_missing_a_double_and_an_unknown_step_are_found() {
        let found: Vec<_> = check(&tree(&[1, 2, 2, 4, 5, 6, 7])).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3);
        assert!(found[0].contains("step 2 has 2 files"));
        assert!(found[1].contains("step 3 has 0 files"));
        assert!(found[2].contains("there is no step 7"));
    }
}
