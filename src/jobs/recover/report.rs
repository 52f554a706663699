//! What was found, what was kept and lost, and what a backup would lose instead, for who has to
//! choose. Judges nothing.

use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::examine::Diagnosis;
use super::salvage::{Recovery, totals};
use crate::clock;
use crate::config::Database;
use crate::error::{Error, Reason};
use crate::jobs::Report;
use crate::sqlite::salvage::Salvage;
use crate::store::{self, Catalogue};
use crate::words::plural;

/// Lines of damage that are told.
const NAMED: usize = 10;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Nothing is damaged; nothing was made.
    Sound,
    /// Only rows break constraints; nothing was made.
    Rows,
    /// Not all could be checked; nothing was made.
    Unknown,
    /// Indexes were rebuilt in place.
    Reindexed,
    /// A new file was made.
    Salvaged,
}

/// The newest verified backup, or why there is none to name.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Alternative {
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
    /// The database was so until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
    loses: String,
}

impl Alternative {
    /// Of a database's backups.
    pub(super) fn of(database: &Database) -> Self {
        let listed = store::open(&database.backup.dir, &database.name)
            .and_then(|store| Catalogue::new(&database.name, store).list());
        let none = |loses: String| Self { backup: None, until: None, loses };
        let backups = match listed {
            Ok(backups) => backups,
            Err(error) if error.reason == Reason::NotFound => Vec::new(),
            Err(error) => return none(format!("the backups cannot be listed: {error}")),
        };
        let verified =
            backups.into_iter().filter(store::Backup::is_good).filter_map(|backup| backup.manifest);
        let verified =
            verified.filter(|manifest| manifest.verification.as_ref().is_some_and(|result| result.ok));
        let Some(newest) = verified.max_by_key(|manifest| manifest.sequence) else {
            return none(String::from("there is no verified backup"));
        };
        let until = newest.current(clock::now());
        let since = until.map_or_else(
            || String::from("it was made, which is not known"),
            |until| until.to_rfc3339_opts(SecondsFormat::Secs, true),
        );
        let loses = format!("restoring {} loses what was committed since {since}", newest.file);
        Self { backup: Some(newest.file), until, loses }
    }
}

/// The report's detail.
#[derive(Debug, Serialize)]
pub(super) struct RecoveryDetail {
    result: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damage: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rebuilt: Vec<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    salvaged: Option<Salvage>,
    /// Full-text tables that were made anew from their content.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rebuilt_search: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    foreign_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unchecked: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alternative: Option<Alternative>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// What a check of the new file found wrong.
    #[serde(skip)]
    wrong: Vec<String>,
}

impl RecoveryDetail {
    /// Before anything is made.
    pub(super) fn new(verdict: &Diagnosis, warnings: Vec<String>, alternative: Option<Alternative>) -> Self {
        let (mut unchecked, none) = (Vec::new(), Vec::new());
        let (result, mut damage) = match verdict {
            Diagnosis::Sound => (Outcome::Sound, none),
            Diagnosis::Rows(rows) => (Outcome::Rows, rows.clone()),
            Diagnosis::Unknown(why) => {
                unchecked.clone_from(why);
                (Outcome::Unknown, none)
            }
            Diagnosis::Damaged(lines) | Diagnosis::Doubts(lines) => (Outcome::Salvaged, lines.clone()),
            Diagnosis::Indexes(indexes) => {
                let lines =
                    indexes.iter().map(|index| format!("index {index} does not agree with its table"));
                (Outcome::Salvaged, lines.collect())
            }
        };
        shorten(&mut damage);
        shorten(&mut unchecked);
        Self { result, damage, unchecked, alternative, warnings, ..Self::nothing() }
    }

    const fn nothing() -> Self {
        Self {
            result: Outcome::Reindexed,
            to: None,
            damage: Vec::new(),
            rebuilt: Vec::new(),
            salvaged: None,
            rebuilt_search: Vec::new(),
            foreign_keys: Vec::new(),
            unchecked: Vec::new(),
            alternative: None,
            warnings: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// When the new file is made.
    pub(super) fn made(&mut self, to: &Path, made: Recovery) {
        let Recovery { salvaged, wrong, unchecked, references, rebuilt, notes } = made;
        self.warnings.extend(notes);
        self.warnings.extend(doubtful(&salvaged));
        self.result = Outcome::Salvaged;
        self.to = Some(to.to_owned());
        self.salvaged = Some(salvaged);
        self.rebuilt_search = rebuilt;
        self.foreign_keys = references;
        self.unchecked = unchecked;
        self.wrong = wrong;
    }

    /// Of indexes that were rebuilt in place.
    pub(super) fn reindexed(rebuilt: Vec<String>, problems: Vec<Error>) -> Report {
        let count = plural(rebuilt.len() as u64, "index", "indexes");
        let summary = format!("only indexes are damaged; rebuilt {count} in place, and made no new file");
        let mut report = Report::new(summary, &Self { rebuilt, ..Self::nothing() });
        report.problems = problems;
        report
    }

    /// In words and values.
    pub(super) fn report(self) -> Report {
        let mut problems = Vec::new();
        let summary = match (&self.result, &self.salvaged) {
            (Outcome::Sound, _) => {
                String::from("the database is sound: there is nothing to recover, and no file was made")
            }
            (_, Some(salvaged)) => {
                let lost = losses(salvaged);
                if !lost.is_empty() {
                    problems.push(Error::new(
                        Reason::Shrunken,
                        format!("not all could be saved: {}", lost.join("; ")),
                    ));
                }
                if let Some(first) = self.wrong.first() {
                    let text = format!("the new file is not sound, do not use it as it is: {first}");
                    problems.push(Error::new(Reason::Damaged, text));
                }
                let totals = totals(salvaged);
                let kept = plural(totals.get("kept").copied().unwrap_or(0), "row", "rows");
                let made = salvaged.tables.iter().filter(|table| !table.left_out).count();
                let tables = plural(made as u64, "table", "tables");
                let to = self.to.as_deref().unwrap_or(Path::new("")).display().to_string();
                format!("saved {kept} of {tables} to {to}; the database itself is as it was")
            }
            (Outcome::Rows, _) => String::from(
                "no page and no index is damaged, but rows break a constraint of their table, or a virtual table is at odds \
                 with its content: correct them in the database, or use --always to make a new file that has them in \
                 lost_and_found",
            ),
            _ => String::from(
                "nothing wrong was found, but not all could be checked; --always makes a new file",
            ),
        };
        let mut report = Report::new(summary, &self);
        let found = match self.result {
            Outcome::Unknown => Some((Reason::Unsupported, &self.unchecked)),
            Outcome::Rows => Some((Reason::Sqlite, &self.damage)),
            _ => None,
        };
        report.findings.extend(found.map(|(reason, what)| Error::new(reason, what.join("; "))));
        report.problems = problems;
        report
    }
}

fn shorten(lines: &mut Vec<String>) {
    let more = lines.len().saturating_sub(NAMED);
    lines.truncate(NAMED);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
}

/// What is kept as it was found, and may not be as it should.
fn doubtful(salvaged: &Salvage) -> Vec<String> {
    let mut notes = Vec::new();
    let texts = salvaged.invalid_texts + salvaged.tables.iter().map(|table| table.invalid_texts).sum::<u64>();
    if texts > 0 {
        let texts = plural(texts, "text is", "texts are");
        notes.push(format!(
            "{texts} not valid in the encoding of the file: damaged, or stored so by the application"
        ));
    }
    notes.extend(salvaged.stale_indexes.iter().map(|index| {
        format!(
            "most entries of the index {index} are not those of their rows: it was spoiled as a whole, and says nothing of \
             single rows"
        )
    }));
    notes
}

/// What is lost, in words; empty where nothing is known to be.
fn losses(salvaged: &Salvage) -> Vec<String> {
    let mut lost = Vec::new();
    let by_index = salvaged.lost_and_found_by_index.as_deref().unwrap_or_default();
    for table in salvaged.tables.iter().filter(|table| !table.is_whole()) {
        let mut parts = Vec::new();
        // Of one that is left out, all rows that were found are in lost_and_found.
        let there = table.kept + if table.left_out { table.set_aside } else { 0 };
        if let Some(expected) = table.expected.filter(|expected| *expected > there) {
            parts.push(format!("{} of {expected} rows by its indexes", expected - there));
        }
        if table.unreadable > 0 {
            parts.push(plural(table.unreadable, "unreadable row", "unreadable rows"));
        }
        if table.pages_lost > 0 {
            parts.push(plural(table.pages_lost, "unreadable page", "unreadable pages"));
        }
        if table.set_aside > 0 {
            parts.push(format!("{} in lost_and_found", plural(table.set_aside, "row", "rows")));
        }
        if table.only_in_index > 0 {
            let rows = plural(table.only_in_index, "lost row", "lost rows");
            parts.push(format!("columns of {rows} in {by_index}, as an index has them"));
        }
        if table.in_doubt > 0 {
            let rows = plural(table.in_doubt, "row in doubt", "rows in doubt");
            parts.push(format!("{rows}, because an index has other values: both are in {by_index}"));
        }
        lost.push(format!("table {}: {}", table.name, parts.join(", ")));
    }
    if salvaged.schema_lost > 0 {
        lost.push(plural(salvaged.schema_lost, "row or page of the schema", "rows or pages of the schema"));
    }
    if salvaged.lost_and_found_rows > 0 && lost.is_empty() {
        let rows = plural(salvaged.lost_and_found_rows, "row", "rows");
        lost.push(format!("{rows} whose table is not known, in lost_and_found"));
    }
    lost.extend(salvaged.left_out.iter().map(|what| format!("left out: {what}")));
    lost
}
