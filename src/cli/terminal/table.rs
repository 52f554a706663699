//! Text in aligned columns. Pure: is told the width that it may take.

use std::collections::BTreeMap;

use super::lines::{broken, count, plain};
use super::tone::Tone;

/// Between two columns.
const GAP: usize = 2;

/// Less than this is too narrow for sentences: they go beneath their row, this far in.
const NARROWEST: usize = 30;
const BENEATH: usize = 4;

/// Rows of cells. The last column holds sentences: it alone is broken into lines.
pub(in crate::cli) struct TextTable {
    head: Vec<String>,
    right: Vec<usize>,
    rows: Vec<Vec<String>>,
    /// By row and column.
    tones: BTreeMap<(usize, usize), Tone>,
}

impl TextTable {
    /// With these headings.
    pub(in crate::cli) fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        let head = head.into_iter().map(Into::into).collect();
        Self { head, right: Vec::new(), rows: Vec::new(), tones: BTreeMap::new() }
    }

    /// With numbers in these columns, none of them the last, aligned at their ends.
    pub(in crate::cli) fn right(mut self, columns: &[usize]) -> Self {
        self.right = columns.to_vec();
        self
    }

    /// Adds a row of as many cells as there are headings.
    pub(in crate::cli) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        // A line end would break the columns.
        let cell = |text: S| plain(&text.into()).split_whitespace().collect::<Vec<_>>().join(" ");
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// Says of a cell of the row that was added last how that is; of none in the last column.
    pub(in crate::cli) fn tone(&mut self, column: usize, tone: impl Into<Option<Tone>>) {
        if let (Some(row), Some(tone)) = (self.rows.len().checked_sub(1), tone.into()) {
            self.tones.insert((row, column), tone);
        }
    }

    /// Columns that it takes without the last.
    pub(super) fn least_width(&self) -> usize {
        self.widths().iter().map(|width| width + GAP).sum()
    }

    /// Each line after `indent` spaces. Without a width, as for a pipe, a row is one line.
    pub(in crate::cli) fn render(&self, indent: usize, width: Option<usize>, has_colour: bool) -> String {
        let widths = self.widths();
        let start = indent + self.least_width();
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(start));
        let longest = self.lines().map(|(_, sentence)| count(sentence)).max().unwrap_or(0);
        let is_beneath = room < NARROWEST.min(longest);
        let mut lines = Vec::new();
        for (n, (cells, sentence)) in self.lines().enumerate() {
            // The heading is the first of them.
            let tone = |column: usize| self.tones.get(&(n.checked_sub(1)?, column)).filter(|_| has_colour);
            let cells: Vec<_> = cells
                .iter()
                .enumerate()
                .map(|(at, cell)| self.padded(at, cell, widths[at], tone(at).copied()))
                .collect();
            let line = format!("{:indent$}{}", "", cells.concat());
            if is_beneath {
                lines.push(line);
                let indent = indent + BENEATH;
                let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent));
                // The heading of what is beneath would be in nobody's way and no help.
                let sentences =
                    if n > 0 && !sentence.is_empty() { broken(sentence, room) } else { Vec::new() };
                lines.extend(sentences.iter().map(|text| format!("{:indent$}{text}", "")));
            } else {
                let mut broken = broken(sentence, room).into_iter();
                lines.push(line + &broken.next().unwrap_or_default());
                lines.extend(broken.map(|text| format!("{:start$}{text}", "")));
            }
        }
        lines.iter().flat_map(|line| [line.trim_end(), "\n"]).collect()
    }

    /// The heading and the rows, each as its cells and its sentence.
    fn lines(&self) -> impl Iterator<Item = (&[String], &str)> {
        let rows = std::iter::once(&self.head).chain(&self.rows);
        rows.filter_map(|row| row.split_last().map(|(last, cells)| (cells, last.as_str())))
    }

    fn padded(&self, column: usize, cell: &str, width: usize, tone: Option<Tone>) -> String {
        let fill = " ".repeat(width.saturating_sub(count(cell)));
        let cell = tone.map_or_else(|| cell.to_owned(), |tone| tone.paint(cell));
        if self.right.contains(&column) { format!("{fill}{cell}  ") } else { format!("{cell}{fill}  ") }
    }

    /// Of all columns but the last.
    fn widths(&self) -> Vec<usize> {
        let columns = self.head.len().saturating_sub(1);
        let widest = |column: usize| self.lines().map(|(cells, _)| count(&cells[column])).max().unwrap_or(0);
        (0..columns).map(widest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TextTable {
        let mut table = TextTable::new(["ID", "JOB", "SUMMARY"]).right(&[0]);
        table.row(["9", "backup", "made one"]);
        table.row(["10", "été", "one two three four five six seven eight nine ten"]);
        table
    }

    #[test]
    fn a_row_is_one_line_in_a_pipe() {
        let expected = "ID  JOB     SUMMARY\n 9  backup  made one\n\
                        10  été     one two three four five six seven eight nine ten\n";
        assert_eq!(table().render(0, None, false), expected);
    }

    #[test]
    fn sentences_are_broken_within_their_column() {
        let expected = "  ID  JOB     SUMMARY\n   9  backup  made one\n  10  été     one two three four five six\n\
                        \x20             seven eight nine ten\n";
        assert_eq!(table().render(2, Some(44), false), expected);
    }

    #[test]
    fn sentences_go_beneath_where_their_column_would_be_narrow() {
        let expected = "ID  JOB\n 9  backup\n    made one\n10  été\n    one two three four five\n\
                        \x20   six seven eight nine ten\n";
        assert_eq!(table().render(0, Some(30), false), expected);
    }

    #[test]
    fn columns_stand_one_beneath_the_other_whatever_is_in_them() {
        let mut table = TextTable::new(["JOB", "SUMMARY"]);
        table.row(["出席簿", "one"]);
        table.row(["cafe\u{301}", "two"]);
        table.tone(0, Tone::Bad);
        assert_eq!(table.render(0, None, false), "JOB     SUMMARY\n出席簿  one\ncafe\u{301}    two\n");
        let coloured = "JOB     SUMMARY\n出席簿  one\n\u{1b}[1;31mcafe\u{301}\u{1b}[0m    two\n";
        assert_eq!(table.render(0, None, true), coloured);
    }

    #[test]
    fn a_line_end_in_a_cell_stays_in_its_row() {
        let mut table = TextTable::new(["A", "B"]);
        table.row(["x\ny", "1\n2"]);
        assert_eq!(table.render(0, None, false), "A    B\nx y  1 2\n");
    }
}
