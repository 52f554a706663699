//! What is wrong with a configuration file, with the place of each thing: the line, a caret, a
//! remedy. Only holds and shows problems; finds none.

use std::fmt;
use std::ops::Range;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::error::{Error, Reason};

/// Why a configuration was not accepted: every problem that was found, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The file, as it was named.
    pub file: String,
    /// At least one.
    pub problems: Vec<Problem>,
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
    /// The line itself, without what a terminal would obey.
    pub text: String,
    /// Columns to underline, at least 1: a Chinese character takes two.
    pub width: usize,
}

impl Position {
    /// The place of these bytes of `source`; what lies past the end of their first line is left
    /// out.
    pub(super) fn new(source: &str, bytes: &Range<usize>) -> Self {
        let start = floor(source, bytes.start);
        let end = floor(source, bytes.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let text = source[line_start..line_end].trim_end_matches('\r');
        let marked = source[start..end.min(line_end)].trim_end();
        Self {
            line: source[..line_start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            text: text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect(),
            width: marked.width().max(1),
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
        let more = match self.problems.len() - 1 {
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
                let indent = place.text.chars().chain(std::iter::repeat(' ')).take(place.column - 1);
                let blank = |c: char| match c {
                    '\t' => String::from(c),
                    _ => " ".repeat(c.width().unwrap_or(0)),
                };
                let indent: String = indent.map(blank).collect();
                write!(f, "\n{} | {}", place.line, place.text)?;
                write!(f, "\n{:gutter$}| {indent}{}", "", "^".repeat(place.width))?;
            }
            if let Some(help) = &problem.help {
                write!(f, "\n{:gutter$}= help: {help}", "")?;
            }
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
