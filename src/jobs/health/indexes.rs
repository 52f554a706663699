//! The check `indexes`: those that the configuration declares are there, on their table, with their
//! columns in their order; and none that the integrity check found wrong is left. What is advised
//! beside that leaves the check good: an index more or less is the application's own affair.

use std::fmt;

use rusqlite::Connection;

use super::advice;
use crate::advice::existing::Remark;
use crate::config::Index;
use crate::error::{Reason, Result};
use crate::jobs::Run;
use crate::jobs::verdicts::{Check, met};
use crate::metrics::index_reasons;
use crate::sql::quoting::quoted;
use crate::sqlite::checks;
use crate::sqlite::look::schema;
use crate::state::facts::{self, DAMAGED_INDEXES, INDEX_PROBLEMS};

pub(super) const NAME: &str = "indexes";

/// What is wrong with one index.
struct Problem {
    index: String,
    word: &'static str,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(super) fn check(run: &Run) -> Result<Check> {
    let declared = &run.database.indexes;
    let evidence = match advice::Evidence::gather(run) {
        Ok(evidence) => evidence,
        Err(error) => return Ok(Check::unknown(NAME, met(run, error)?.message)),
    };
    let found = run.sql(|connection| {
        let problems = declared.iter().map(|index| problem(connection, index));
        let problems: Vec<_> = problems.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        Ok((problems, evidence.remarks(connection)?))
    });
    let (mut problems, advised) = match found {
        Ok(found) => found,
        Err(error) => {
            let error = met(run, error)?;
            let make = if error.reason == Reason::Damaged {
                |detail| Check::bad(NAME, Reason::Damaged, detail)
            } else {
                |detail| Check::unknown(NAME, detail)
            };
            return Ok(make(format!("the schema cannot be read: {}", error.message)));
        }
    };
    let kept = run.state.transaction(|transaction| {
        let name = &run.database.name;
        let mut damaged = facts::recall(transaction, name, DAMAGED_INDEXES)?;
        damaged.retain(|index| !problems.iter().any(|p| p.index == *index));
        problems.extend(damaged.into_iter().map(|index| Problem {
            text: format!("{index} does not agree with its table"),
            word: index_reasons::DAMAGED.word,
            index,
        }));
        let found = problems.iter().map(|p| (p.index.clone(), p.word.to_owned()));
        let words = found.chain(advised.iter().map(|a| (a.index.clone(), a.word.to_owned()))).collect();
        facts::remember(transaction, name, INDEX_PROBLEMS, &words)
    });
    Ok(match kept {
        Ok(()) => verdict(&problems, declared.len(), &advised),
        Err(error) => Check::unknown(NAME, met(run, error)?.message),
    })
}

fn verdict(problems: &[Problem], declared: usize, advised: &[Remark]) -> Check {
    let advice = advice::in_words(advised);
    if problems.is_empty() {
        let detail = match declared {
            0 => "no index is declared in the configuration".to_owned(),
            1 => "the declared index is as declared".to_owned(),
            n => format!("the {n} declared indexes are as declared"),
        };
        return Check::good(NAME, detail + &advice);
    }
    let reason = if problems.iter().any(|p| p.word == index_reasons::DAMAGED.word) {
        Reason::Damaged
    } else {
        Reason::NotFound
    };
    let problems = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Check::bad(NAME, reason, problems + &advice)
}

fn problem(connection: &Connection, declared: &Index) -> Result<Option<Problem>> {
    let Index { name, table, columns, .. } = declared;
    let list = columns.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ");
    let create = format!("CREATE INDEX {} ON {} ({list})", quoted(name), quoted(table));
    let problem = |word, text| Ok(Some(Problem { index: name.clone(), word, text }));

    let known = schema::columns(connection, table)?;
    if known.is_empty() {
        return problem(
            index_reasons::MISSING.word,
            format!("{name} is missing, and so is its table {table}"),
        );
    }
    if let Some(column) =
        columns.iter().find(|c| !known.iter().any(|(known, _)| known.eq_ignore_ascii_case(c)))
    {
        return problem(
            index_reasons::MISSING.word,
            format!("{name} cannot be: {table} has no column {column}"),
        );
    }
    let Some(on) = checks::table_of(connection, name)? else {
        let same = schema::indexes(connection, table)?.into_iter().find(|i| has_columns(i, columns));
        let instead = same.map(|i| format!(" (but {} has the same columns)", i.name)).unwrap_or_default();
        return problem(index_reasons::MISSING.word, format!("{name} is missing{instead}: {create}"));
    };
    let replace = format!("DROP INDEX {}; {create}", quoted(name));
    if !on.eq_ignore_ascii_case(table) {
        return problem(
            index_reasons::DIFFERENT.word,
            format!("{name} is on {on}, not on {table}: {replace}"),
        );
    }
    let found = schema::indexes(connection, &on)?.into_iter().find(|i| i.name.eq_ignore_ascii_case(name));
    match found {
        Some(index) if has_columns(&index, columns) => Ok(None),
        Some(index) => {
            let has =
                index.columns.iter().map(|c| c.as_deref().unwrap_or("an expression")).collect::<Vec<_>>();
            let partial = if index.partial { " where a condition holds" } else { "" };
            let text =
                format!("{name} has {}{partial}, not {}: {replace}", has.join(", "), columns.join(", "));
            problem(index_reasons::DIFFERENT.word, text)
        }
        // Dropped between two statements of ours.
        None => problem(index_reasons::MISSING.word, format!("{name} is missing: {create}")),
    }
}

/// A partial index serves only some queries: it is not what was declared.
fn has_columns(index: &schema::Index, columns: &[String]) -> bool {
    !index.partial
        && index.columns.len() == columns.len()
        && index
            .columns
            .iter()
            .zip(columns)
            .all(|(has, wants)| has.as_ref().is_some_and(|has| has.eq_ignore_ascii_case(wants)))
}
