//! The segments of a job as cells, one for each, or one for several where they are many.

use manyhands_core::job::UnitState;

use super::Paint;

/// What the cells mean.
pub const LEGEND: &str = "█ verified  ▓ checking  ▒ proving  ░ ready  · cut";

/// The cells in lines of at most `width`, at most `lines_max` of them.
pub fn grid(states: &[UnitState], width: usize, lines_max: usize, paint: Paint) -> Vec<String> {
    let cells_max = width.max(1) * lines_max.max(1);
    let per_cell = states.len().div_ceil(cells_max).max(1);
    let cells: Vec<UnitState> = states.chunks(per_cell).filter_map(cell).collect();
    cells.chunks(width.max(1)).map(|line| draw(line, paint)).collect()
}

/// One cell for several segments is verified if all are; else it shows the most advanced of the others.
fn cell(states: &[UnitState]) -> Option<UnitState> {
    let unfinished = states.iter().filter(|state| **state != UnitState::Verified);
    unfinished.max_by_key(|state| rank(**state)).or(states.first()).copied()
}

const fn rank(state: UnitState) -> u8 {
    match state {
        UnitState::Waiting => 0,
        UnitState::Stored => 1,
        UnitState::Leased => 2,
        UnitState::Claimed => 3,
        UnitState::Verified => 4,
    }
}

/// Equal neighbours share their colour codes, which keeps a line of a thousand cells short.
fn draw(cells: &[UnitState], paint: Paint) -> String {
    let runs = cells.chunk_by(|left, right| left == right);
    runs.filter_map(|run| Some((run.first()?, run.len())))
        .map(|(state, length)| match state {
            UnitState::Waiting => paint.dim(&"·".repeat(length)),
            UnitState::Stored => paint.dim(&"░".repeat(length)),
            UnitState::Leased => paint.yellow(&"▒".repeat(length)),
            UnitState::Claimed => paint.cyan(&"▓".repeat(length)),
            UnitState::Verified => paint.green(&"█".repeat(length)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use UnitState::{Claimed, Leased, Stored, Verified, Waiting};

    #[test]
    fn each_segment_has_its_cell() {
        let states = [Verified, Verified, Claimed, Leased, Stored, Waiting];
        assert_eq!(grid(&states, 80, 4, Paint::PLAIN), ["██▓▒░·"]);
        assert_eq!(grid(&states, 4, 2, Paint::PLAIN), ["██▓▒", "░·"]);
    }

    #[test]
    fn many_segments_share_cells_and_none_looks_done_before_it_is() {
        let mut states = vec![Verified; 2_174];
        assert_eq!(grid(&states, 40, 2, Paint::PLAIN).concat().chars().filter(|cell| *cell == '█').count(), 78);
        states[1_000] = Leased;
        let lines = grid(&states, 40, 2, Paint::PLAIN);
        assert!(lines.len() <= 2 && lines.iter().all(|line| line.chars().count() <= 40));
        assert_eq!(lines.concat().chars().filter(|cell| *cell == '▒').count(), 1);
    }

    #[test]
    fn nothing_is_no_line() {
        assert!(grid(&[], 0, 0, Paint::PLAIN).is_empty());
    }
}
