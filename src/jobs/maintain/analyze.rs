//! Refreshes the planner's statistics: of the tables that need it, by an estimate; or of all, in
//! full.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;

use super::plans::Plans;
use super::statistics;
use super::step::{Cost, StepName, StepReport};
use crate::config::Analyze;
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::limits::{part, write};
use crate::sqlite::look::facts::Facts;
use crate::sqlite::look::{schema, sizes};
use crate::sqlite::open;
use crate::sqlite::upkeep::{analyze, needs};
use crate::sqlite::write::hold;
use crate::state::facts::{ANALYZED, TABLES, recall_dated};
use crate::words::{self, plural};

const STEP: StepName = StepName::Analyze;

/// To find the tables whose statistics are out of date: it reads a few pages of each.
const LOOK: Duration = Duration::from_millis(1);

/// One index by an estimate, as measured on 1 GiB: this long …
const ESTIMATE: Duration = Duration::from_millis(4);
/// … and so many nanoseconds for each of its entries, which SQLite with STAT4 counts.
const NANOS_PER_ENTRY: u64 = 20;

/// What there is to know before anything is done.
struct Findings {
    facts: Facts,
    /// The tables to treat.
    tables: Vec<String>,
    /// Those that would have to be treated, and that only the application can.
    left_out: Vec<String>,
    /// The application's statistics hold samples of rows, which takes a look at every row (HAZARDS
    /// H25).
    samples: bool,
    found: String,
}

pub(super) fn run(run: &Run, preview: bool) -> Result<StepReport> {
    let policy = run.database.maintain.analyze;
    if policy == Analyze::Never {
        return Ok(StepReport::skipped(STEP, "ANALYZE is off"));
    }
    let looked = match look(run, policy) {
        // So it is each night.
        Err(error) if error.reason == Reason::Unsupported => {
            let step = StepReport::skipped(STEP, "ANALYZE left out");
            return Ok(StepReport { left_out: vec![error.message], ..step });
        }
        looked => part(run, "ANALYZE", looked)?,
    };
    let looked = match looked {
        Ok(looked) => looked,
        Err(problem) => return Ok(StepReport::failed(STEP, problem)),
    };
    if looked.tables.is_empty() {
        let none = if looked.left_out.is_empty() {
            StepReport::skipped(STEP, "ANALYZE not needed")
        } else {
            StepReport::left_out(STEP, looked.left_out)
        };
        return Ok(none.found(looked.found));
    }
    let in_full = policy == Analyze::Always || looked.samples;
    let prevented = if in_full { statistics::prevented(&looked.facts)? } else { None };
    let from_copy = in_full && prevented.is_none();
    if preview {
        let rows = most_rows(run, &looked.tables)?;
        let planned = planned(run, &looked, in_full, prevented, rows);
        return Ok(StepReport { left_out: looked.left_out, ..planned.found(looked.found) });
    }
    let plans = Plans::now(run)?;
    let step =
        if from_copy { from_a_copy(run, &looked)? } else { in_place(run, &looked, in_full, prevented)? };
    if !step.treated.is_empty() {
        run.remember(ANALYZED, &step.treated)?;
    }
    let plans_changed = Some(plans.changed(run)?);
    let left_out = [looked.left_out, step.left_out.clone()].concat();
    Ok(StepReport { left_out, plans_changed, ..step.found(looked.found) })
}

fn look(run: &Run, policy: Analyze) -> Result<Findings> {
    let last = run.state.now(|c| recall_dated(c, &run.database.name, ANALYZED))?;
    let last = last.map(|(_, at)| format!("; last refreshed {}", words::ago(run.started, at)));
    let read = |c: &mut Connection| {
        let all: Vec<String> = schema::tables(c)?.into_iter().map(|t| t.name).collect();
        Ok((Facts::read(c)?, analyze::has_samples(c)?, all))
    };
    let (facts, samples, all) = run.sql(read)?;
    let of = plural(all.len() as u64, "table", "tables");
    let (tables, found) = if policy == Analyze::Always {
        (all, of)
    } else {
        let due = due(run)?;
        let found = format!("statistics of {} of {of} are missing or off by a factor of ten", due.len());
        (due, found)
    };
    // Not tried: ANALYZE of one of its tables would fail, whatever else is in order.
    let (able, left_out) = run.sql(|c| {
        let (mut able, mut left_out) = (Vec::new(), Vec::new());
        for table in tables {
            match needs::of_analyze(c, &table) {
                Some(lack) => left_out.push(lacks(&table, &lack)),
                None => able.push(table),
            }
        }
        Ok((able, left_out))
    })?;
    Ok(Findings { facts, tables: able, left_out, samples, found: found + &last.unwrap_or_default() })
}

fn lacks(table: &str, lack: &Error) -> String {
    format!("ANALYZE of {table}: {}", lack.message)
}

/// The tables that need it. Even to look, SQLite takes the write lock where there are several.
fn due(run: &Run) -> Result<Vec<String>> {
    let busy_timeout = run.database.pool.busy_timeout;
    // Opened before the moment comes.
    let mut fresh = run.sql(|_| Ok(open::another(&run.database.path)?))?;
    run.in_pause(LOOK, run.database.maintain.max_block, |_, pause| {
        fresh.busy_timeout(if pause.is_some() { Duration::ZERO } else { busy_timeout })?;
        hold::write_in_pause(&mut fresh, &run.holds, pause, |t, _| analyze::due(t))
    })
}

/// Of the largest of these tables, as far as the check of table sizes has counted them.
fn most_rows(run: &Run, tables: &[String]) -> Result<u64> {
    let known = run.recall(TABLES)?;
    let rows = known.iter().filter(|known| tables.contains(&known.table)).filter_map(|known| known.rows);
    Ok(rows.max().unwrap_or(0))
}

/// For how long writers are held by one index of a table with so many rows.
fn estimate(rows: u64) -> Duration {
    ESTIMATE + Duration::from_nanos(rows.saturating_mul(NANOS_PER_ENTRY))
}

/// Counted where no check has done that.
fn rows(run: &Run, table: &str) -> Result<u64> {
    match most_rows(run, &[table.to_owned()])? {
        0 => run.sql(|c| sizes::rows(c, table)),
        known => Ok(known),
    }
}

fn planned(run: &Run, looked: &Findings, in_full: bool, prevented: Option<String>, rows: u64) -> StepReport {
    let of = plural(looked.tables.len() as u64, "table", "tables");
    let (how, hold_seconds, needed_bytes) = match (in_full, prevented) {
        (true, None) => (
            String::from("in full, on a copy"),
            Some(statistics::PUT.as_secs_f64()),
            Some(statistics::needed(&looked.facts)),
        ),
        (true, Some(why)) => (format!("in full, {why}"), None, None),
        (false, _) => (String::from("by an estimate"), Some(estimate(rows).as_secs_f64()), None),
    };
    let longest_hold_seconds = run.database.maintain.max_block.as_secs_f64();
    StepReport::planned(
        STEP,
        format!("would run ANALYZE of {of} {how}"),
        Cost { hold_seconds, longest_hold_seconds, needed_bytes },
    )
}

fn from_a_copy(run: &Run, looked: &Findings) -> Result<StepReport> {
    match statistics::refresh(run, Some(&looked.tables))? {
        Ok(done) => Ok(step(done.tables, done.lacking, Vec::new(), "on a copy")),
        Err(problem) => Ok(StepReport::failed(STEP, problem)),
    }
}

fn in_place(run: &Run, looked: &Findings, in_full: bool, prevented: Option<String>) -> Result<StepReport> {
    let (mut analyzed, mut lacking, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    let (mut later, mut how) = (Vec::new(), prevented.unwrap_or_default());
    for table in &looked.tables {
        match one(run, table, in_full)? {
            Ok(()) => analyzed.push(table.clone()),
            // Not worth a failure each night.
            Err(problem) if problem.reason == Reason::Unsupported => lacking.push((table.clone(), problem)),
            Err(problem) => {
                if problem.reason == Reason::NoPause {
                    later.push(table.clone());
                }
                problems.push(problem);
            }
        }
    }
    // The results of a copy are put in within a pause that is too short for the work itself.
    if !later.is_empty() && !in_full && statistics::prevented(&looked.facts)?.is_none() {
        problems.retain(|problem| problem.reason != Reason::NoPause);
        how = format!("({} of them on a copy)", later.len());
        match statistics::refresh(run, Some(&later))? {
            Ok(done) => {
                analyzed.extend(done.tables);
                lacking.extend(done.lacking);
            }
            Err(problem) => problems.push(problem),
        }
    }
    Ok(step(analyzed, lacking, problems, &how))
}

/// One table in its parts, each in a transaction of its own: writers get their turn between two of
/// them. Gives the first of the errors.
fn one(run: &Run, table: &str, in_full: bool) -> Result<Result<()>> {
    let expected = if in_full { run.database.maintain.max_block } else { estimate(rows(run, table)?) };
    let parts = run.sql(|c| if in_full { Ok(vec![table.to_owned()]) } else { analyze::parts(c, table) })?;
    let mut done = Ok(());
    for part in parts {
        let what = format!("ANALYZE {part}");
        let made = write(run, &what, expected, |t| analyze::analyze(t, &part, in_full))?;
        done = done.and(made);
    }
    Ok(done)
}

fn step(done: Vec<String>, lacking: Vec<(String, Error)>, problems: Vec<Error>, how: &str) -> StepReport {
    let mut why = format!("ANALYZE of {} done", plural(done.len() as u64, "table", "tables"));
    if !how.is_empty() {
        why = format!("{why} {how}");
    }
    let names: BTreeSet<String> = lacking.into_iter().map(|(table, lack)| lacks(&table, &lack)).collect();
    StepReport { left_out: names.into_iter().collect(), ..StepReport::of_parts(STEP, why, done, problems) }
}
