//! Creates declared indexes that are missing, where the configuration says so; health reports the
//! others. Must never replace one that is there.

use rusqlite::Connection;

use super::step::{Cost, StepName, StepReport};
use crate::config::{Index, Missing};
use crate::error::{Error, Reason, Result};
use crate::jobs::builds::{Builds, Why};
use crate::jobs::{Run, limits};
use crate::sql::quoting::quoted;
use crate::sqlite::look::schema;
use crate::words::plural;

const STEP: StepName = StepName::Indexes;

pub(super) fn run(run: &Run, preview: bool) -> Result<StepReport> {
    let mut wanted: Vec<Index> =
        run.database.indexes.iter().filter(|i| i.missing == Missing::Create).cloned().collect();
    if wanted.is_empty() {
        return Ok(StepReport::skipped(STEP, "").found("no index is declared with missing = \"create\""));
    }
    let there = run.sql(|c| wanted.iter().map(|i| schema::sql_of(c, &i.name)).collect::<Result<Vec<_>>>())?;
    let mut there = there.into_iter();
    wanted.retain(|_| there.next().flatten().is_none());
    if wanted.is_empty() {
        return Ok(StepReport::skipped(STEP, "no declared index is missing"));
    }
    let missing = plural(wanted.len() as u64, "declared index is missing", "declared indexes are missing");
    let mut builds = Builds::recall(run)?;
    let mut problems = Vec::new();
    wanted.retain(|index| builds.may_try(&index.name, &what(index), &mut problems));
    let left_out = judge(run, &mut wanted, &mut problems)?;
    if preview && !wanted.is_empty() {
        let names: Vec<_> = wanted.iter().map(|index| index.name.as_str()).collect();
        let cost =
            Cost { longest_hold_seconds: run.database.maintain.max_block.as_secs_f64(), ..Cost::default() };
        let why = format!("would create {}", names.join(", "));
        return Ok(StepReport { left_out, problems, ..StepReport::planned(STEP, why, cost) }.found(missing));
    }
    if wanted.is_empty() && problems.is_empty() {
        return Ok(StepReport::left_out(STEP, left_out).found(missing));
    }
    let mut created = Vec::new();
    for index in wanted {
        match builds.attempt(run, &index.name, &what(&index), Why::Policy, |c| create(c, &index))? {
            Ok(true) => created.push(index.name),
            Ok(false) => {}
            Err(problem) => problems.push(problem),
        }
    }
    let why = format!("created {}", plural(created.len() as u64, "index", "indexes"));
    Ok(StepReport { left_out, ..StepReport::of_parts(STEP, why, created, problems).found(missing) })
}

/// Takes out what SQLite refuses, by compiling it: into `problems` what is wrong with a declared
/// index; gives what only the application can make.
fn judge(run: &Run, wanted: &mut Vec<Index>, problems: &mut Vec<Error>) -> Result<Vec<String>> {
    let refused: Vec<Option<Error>> = run.sql(|c| {
        let refusal = |index: &Index| match statement(c, index) {
            Ok(Some(sql)) => c.prepare(&sql).err().map(Error::from),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        Ok(wanted.iter().map(refusal).collect())
    })?;
    let mut left_out = Vec::new();
    let mut refused = refused.into_iter();
    wanted.retain(|index| {
        let Some(refusal) = refused.next().flatten() else { return true };
        let refusal = limits::in_step(&what(index), run, refusal);
        match refusal.reason {
            Reason::Unsupported => left_out.push(refusal.message),
            _ => problems.push(refusal),
        }
        false
    });
    Ok(left_out)
}

fn what(index: &Index) -> String {
    format!("CREATE INDEX {}", index.name)
}

/// Whether it was missing. One of the same name that is not the declared one stays: it is the
/// application's.
fn create(connection: &Connection, index: &Index) -> Result<bool> {
    let Some(sql) = statement(connection, index)? else { return Ok(false) };
    connection.execute_batch(&sql)?;
    Ok(true)
}

/// How a declared index is made; `None` where one of its name is there.
fn statement(connection: &Connection, index: &Index) -> Result<Option<String>> {
    if schema::sql_of(connection, &index.name)?.is_some() {
        return Ok(None);
    }
    let known = schema::columns(connection, &index.table)?;
    if known.is_empty() {
        return Err(Error::new(Reason::NotFound, format!("there is no table {}", index.table)));
    }
    // SQLite would take an unknown name in quotes for a text.
    if let Some(lost) = index.columns.iter().find(|c| !known.iter().any(|(k, _)| k.eq_ignore_ascii_case(c))) {
        return Err(Error::new(Reason::NotFound, format!("table {} has no column {lost}", index.table)));
    }
    let columns: Vec<_> = index.columns.iter().map(|c| quoted(c)).collect();
    let (name, table) = (quoted(&index.name), quoted(&index.table));
    Ok(Some(format!("CREATE INDEX main.{name} ON {table} ({})", columns.join(", "))))
}
