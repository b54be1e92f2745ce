//! Tables with aligned columns.

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table: a heading and rows, as plain text. The last column is never padded.
pub fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> Vec<String> {
    let width = |place: usize| {
        let cells = rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count());
        let heading = columns.get(place).map_or(0, |(heading, _)| heading.chars().count());
        cells.fold(heading, usize::max)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = columns.iter().zip(&widths).zip(cells).map(|(((_, align), width), cell)| {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => format!("{cell}{padding}"),
                Align::Right => format!("{padding}{cell}"),
            }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let heading = line(columns.iter().map(|(heading, _)| *heading).collect());
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(heading).chain(body).collect()
}

/// Pairs of a word and its value, the values in one column. A value of several lines stays in its column.
pub fn pairs(pairs: &[(&str, String)]) -> Vec<String> {
    let width = pairs.iter().map(|(word, _)| word.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (word, value) in pairs {
        for (place, line) in value.lines().enumerate() {
            let word = if place == 0 { *word } else { "" };
            lines.push(format!("{word:<width$}  {line}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_under_each_other() {
        let rows =
            vec![vec!["14".into(), "1,278".into(), "too small".into()], vec!["15".into(), "9".into(), String::new()]];
        let lines = table(&[("po2", Align::Right), ("segments", Align::Right), ("note", Align::Left)], &rows);
        assert_eq!(lines, ["po2  segments  note", " 14     1,278  too small", " 15         9"]);
    }

    #[test]
    fn pairs_keep_their_column() {
        assert_eq!(pairs(&[("a", "1\n2".into()), ("long", "3".into())]), ["a     1", "      2", "long  3"]);
    }
}
