//! What is wrong with a configuration file, with the place of each thing: the line, a caret, a
//! remedy. Only holds and shows problems; finds none.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Reason};

/// Why a configuration was not accepted: every problem that was found, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The file, as it was named.
    pub file: String,
    /// At least one; the first of them where there are very many.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` where the file could not be read at all.
    pub place: Option<Position>,
    /// What is wrong, without a final full stop.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A position in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line itself, without what a terminal would obey; of a very long one, the part around
    /// the place.
    pub text: String,
    /// Characters of it that stand before what is underlined.
    pub indent: usize,
    /// Characters to underline, at least 1.
    pub width: usize,
}

/// Characters of a line that are shown.
const LONGEST_LINE: usize = 400;

/// Of them, before the place.
const BEFORE: usize = 100;

/// A number of lines before a place in a text, from which those before a later place are counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineCount {
    at: usize,
    lines: usize,
}

impl LineCount {
    /// Goes on to the line of this byte, which must not lie before the last one; gives its number,
    /// counted from 1.
    pub(super) fn line_of(&mut self, source: &str, byte: usize) -> usize {
        let to = floor(source, byte).max(self.at);
        self.lines += source[self.at..to].matches('\n').count();
        self.at = to;
        self.lines + 1
    }
}

impl Position {
    /// The place of these bytes of `source`; what lies past the end of their first line is left
    /// out.
    pub(super) fn new(source: &str, bytes: &Range<usize>) -> Self {
        Self::counted(source, bytes, &mut LineCount::default())
    }

    /// The same, for places one after the other.
    pub(super) fn counted(source: &str, bytes: &Range<usize>, lines: &mut LineCount) -> Self {
        let start = floor(source, bytes.start);
        let end = floor(source, bytes.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let text = source[line_start..line_end].trim_end_matches('\r');
        let marked = source[start..end.min(line_end)].trim_end();
        let before = source[line_start..start].chars().count();
        let is_long = text.chars().nth(LONGEST_LINE).is_some();
        let skipped = if is_long { before.saturating_sub(BEFORE) } else { 0 };
        let shown = text.chars().skip(skipped).take(LONGEST_LINE);
        let width = marked.chars().take(LONGEST_LINE - (before - skipped).min(LONGEST_LINE - 1)).count();
        Self {
            line: lines.line_of(source, start),
            column: before + 1,
            text: shown.map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect(),
            indent: before - skipped,
            width: if is_long { width } else { marked.chars().count() }.max(1),
        }
    }
}

/// The nearest character boundary at or before `at`.
fn floor(source: &str, at: usize) -> usize {
    (0..=at.min(source.len())).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0)
}

impl Rejection {
    /// The first problem in one line, and how many more there are: for a service manager's status.
    pub fn summary(&self) -> String {
        let Some(first) = self.problems.first() else { return self.file.clone() };
        let more = match self.problems.len() - 1 + self.more {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        format!("{}{}{more}", At(&self.file, first), first.message)
    }
}

/// `path:line:column: `, or `path: ` without a place.
struct At<'a>(&'a str, &'a Problem);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.1.place {
            Some(place) => write!(f, "{}:{}:{}: ", self.0, place.line, place.column),
            None => write!(f, "{}: ", self.0),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{}error: {}", At(&self.file, problem), problem.message)?;
            let mut gutter = 0;
            if let Some(place) = &problem.place {
                gutter = place.line.to_string().len() + 1;
                // Tabs stay tabs, so that the caret stands under its character whatever their
                // width.
                let indent = place.text.chars().chain(std::iter::repeat(' ')).take(place.indent);
                let indent: String = indent.map(|c| if c == '\t' { c } else { ' ' }).collect();
                write!(f, "\n{} | {}", place.line, place.text)?;
                write!(f, "\n{:gutter$}| {indent}{}", "", "^".repeat(place.width))?;
            }
            if let Some(help) = &problem.help {
                write!(f, "\n{:gutter$}= help: {help}", "")?;
            }
        }
        if self.more > 0 {
            write!(f, "\n\n{}: {} more problems, which are not shown", self.file, self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

impl From<Rejection> for Error {
    fn from(rejected: Rejection) -> Self {
        Self::new(Reason::Config, rejected.to_string())
    }
}
