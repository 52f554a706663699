//! Cleanup: rows past their retention go, rule by rule, in short transactions, each with all that
//! hangs on it. Never deletes what it cannot read as a date, more of a table than it may, or past
//! triggers and child rows that the rule does not allow (HAZARDS H14, H15, H28).
//!
//! `plan` checks a rule against the database, `retention` and `dates` say what goes, `walk` finds
//! it in short reads, `graph` what points at it, what becomes of that, and what the application's
//! triggers do then, `count` does all of it without removing, `trial` does it to a few rows of a
//! copy, `choices` says what stands in the way. `batch` removes some of it, `archive` has it before, `sweep` goes from the
//! first row to the last, `log` keeps the write-ahead log short, `guard` limits the whole, `report`
//! says what was done and what comes next.
//!
//! A rule removes rows of its own table only where they are past its retention (HAZARDS H33). Of
//! rows that point at such a one, and stay, `children` decides: with "unlink" their key becomes
//! NULL, with "cascade" rows of other tables go first, and so on down. Under both, a key declared
//! ON DELETE SET NULL or SET DEFAULT is honoured.

mod archive;
mod batch;
mod choices;
mod count;
mod dates;
mod graph;
mod guard;
mod log;
mod plan;
mod report;
mod retention;
mod rows;
mod sweep;
mod trial;
mod walk;

use crate::error::{Class, Error, Reason, Result};
use crate::jobs::reading::first_look;
use crate::jobs::{Access, Job, Report, Run, writing};
use crate::metrics::events::Cleaned;
use crate::sqlite::files::replicator;
use crate::sqlite::look::facts::Facts;
use crate::state::facts::shrunk_on_purpose;
use crate::terms::JobKind;
use report::{Detail, RuleReport};
use rows::Tally;
use sweep::Totals;

/// The cleanup of one database by its rules.
#[derive(Debug, Clone, Copy)]
pub struct Cleanup;

/// The same, which counts and checks everything, and writes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Preview;

impl Job for Cleanup {
    const KIND: JobKind = JobKind::Cleanup;
    const WRITES: bool = true;

    fn run(&self, run: &Run) -> Result<Report> {
        let before = first_look(run)?;
        let mut removed = 0;
        let mut result = rules(run, false, &mut removed);
        // Also after a run that was stopped: what it removed is gone, and the next backup must
        // expect that.
        if removed > 0
            && let (Err(error), Ok(report)) = (note_shrinking(run, before.used_bytes()), result.as_mut())
        {
            report.problems.push(error);
        }
        result
    }
}

impl Job for Preview {
    const KIND: JobKind = JobKind::Cleanup;
    const WRITES: bool = true;
    const ACCESS: Access = Access::Preview;

    fn run(&self, run: &Run) -> Result<Report> {
        rules(run, true, &mut 0)
    }
}

fn note_shrinking(run: &Run, before: u64) -> Result<()> {
    let after = run.facts_afterwards()?.used_bytes();
    run.state.now(|c| shrunk_on_purpose(c, &run.database.name, before, after))
}

/// Carries them out one after the other. `removed` counts the rows that are gone, also where that
/// ends with an error.
fn rules(run: &Run, dry_run: bool, removed: &mut u64) -> Result<Report> {
    let rules = &run.database.cleanup.rules;
    let mut detail = Detail { dry_run, ..Detail::default() };
    if rules.is_empty() {
        return Ok(Report::new("no rules configured", &detail));
    }
    if dry_run {
        first_look(run)?;
    }
    writing::refuse(run)?;
    let mut totals = Totals::default();
    let mut problems = Vec::new();
    for rule in rules {
        let (mut report, mut tally) = (RuleReport::new(rule), Tally::new());
        let done = sweep::rule(run, rule, dry_run, &mut totals, &mut report, &mut tally);
        for (table, touched) in &tally {
            *removed += touched.removed;
            Cleaned { database: &run.database.name, table, rows: touched.removed }.emit();
        }
        if let Err(error) = done {
            if !ends_rule_only(&error) {
                let removed = if dry_run { 0 } else { detail.removed() + report.removed };
                return Err(with_count(error, removed));
            }
            let column = rule.column.as_ref().map(|column| format!(".{column}")).unwrap_or_default();
            let error =
                of_triggers(error, &report.triggers).context(format!("rule on {}{column}", rule.table));
            report.refuse(&error, dry_run);
            problems.push(error);
        }
        for advice in report.advice.iter().filter(|_| !dry_run) {
            tracing::info!(database = run.database.name, job = %JobKind::Cleanup, "{advice}");
        }
        detail.rules.push(report);
    }
    // A preview is made to be looked at, whatever would be refused.
    if problems.len() == rules.len() && !dry_run && detail.removed() == 0 {
        return Err(all(&problems));
    }
    if detail.removed() > 0 && !dry_run {
        let (facts, owned) = run.sql(|c| Ok((Facts::read(c)?, replicator::owns(c, &run.database.path))))?;
        detail.space = Some(report::space(&run.database, &facts, owned));
    }
    let mut report = Report::new(detail.summary(), &detail);
    report.problems = problems;
    Ok(report)
}

/// Whether the other rules can still be carried out: not when the whole run was stopped, or the
/// file or its disk is in trouble.
fn ends_rule_only(error: &Error) -> bool {
    matches!(error.reason, Reason::Refused | Reason::NotFound | Reason::Unsupported | Reason::Sqlite)
}

/// SQLite's word for a statement that fails names nothing. Of ours none does: it is one of a
/// trigger's.
fn of_triggers(error: Error, fired: &[String]) -> Error {
    if error.reason != Reason::Sqlite || fired.is_empty() {
        return error;
    }
    let message =
        format!("{} (met while the application's triggers ran: {})", error.message, fired.join(", "));
    Error { message, ..error }
}

/// Every problem in one error: a run of which nothing was done has no report.
fn all(problems: &[Error]) -> Error {
    let texts: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    let message = texts.join("; ");
    let reason = problems.first().map_or(Reason::Refused, |first| first.reason);
    Error::new(reason, message)
}

/// A run that is stopped has no report: its error says what stays done.
fn with_count(error: Error, removed: u64) -> Error {
    if removed == 0 || error.class() == Class::Transient {
        return error;
    }
    let message = format!("{}; {} had been removed before", error.message, rows::rows(removed));
    Error { message, ..error }
}
