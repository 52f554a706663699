//! Runs the queries of the watch-list, as the application would, to see how long they take and how
//! SQLite means to answer them. Runs nothing that writes, and keeps no row.

mod plans;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::reading::Reader;
use super::verdicts::met;
use super::{Access, Job, Report, Run};
use crate::config::Query;
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::metrics::events::WatchTimed;
use crate::queries::known::SchemaNames;
use crate::queries::plans::Plan;
use crate::queries::watched::values;
use crate::sqlite::look::{explain, query, schema};
use crate::terms::JobKind;
use crate::terms::progress::Unit;
use crate::words;

/// The job.
pub struct WatchList;

impl Job for WatchList {
    const KIND: JobKind = JobKind::Watch;
    const ACCESS: Access = Access::Shared;

    fn run(&self, run: &Run) -> Result<Report> {
        let queries = &run.database.watch.queries;
        if queries.is_empty() {
            return Ok(Report::new("no queries to watch", &Vec::<QueryTiming>::new()));
        }
        let reader = Reader::new(run)?;
        let (mut seen, mut problems) = (Vec::new(), Vec::new());
        for (done, query) in queries.iter().enumerate() {
            run.at(done as u64, queries.len() as u64, Unit::Steps);
            match watch(run, &reader, query) {
                Ok(one) => seen.push(one),
                Err(error) => problems.push(met(run, error)?.context(format!("query {}", query.name))),
            }
        }
        if let Err(error) = plans::compare(run, &mut seen) {
            problems.push(met(run, error)?);
        }
        let mut report = Report::new(summary(queries.len(), &seen), &seen);
        report.problems = problems;
        Ok(report)
    }
}

/// What one query did.
#[derive(Debug, Serialize)]
struct QueryTiming {
    query: String,
    seconds: f64,
    rows: u64,
    plan: Plan,
    /// Tables that it reads from end to end.
    scans: Vec<String>,
    /// The plan is another one than the last time.
    plan_changed: bool,
    /// Of `scans`, those that it did not read from end to end before: a SEARCH became a SCAN.
    scans_new: Vec<String>,
}

fn watch(run: &Run, reader: &Reader<'_>, query: &Query) -> Result<QueryTiming> {
    let (sql, values) = (query.sql.as_str(), values(query));
    let timed = |duration: Duration| {
        WatchTimed { database: &run.database.name, query: &query.name, duration }.emit();
    };
    // One limit in both journal modes: a query of an application that takes longer than writers may
    // be held up is not one to wait for.
    let limit = run.database.maintain.max_block;
    let began = Instant::now();
    let result = reader.read_within(limit, |connection| {
        // Refuses what must not be run, before it is even explained.
        drop(query::prepare(connection, sql, &values)?);
        let known = SchemaNames::new(schema::names(connection)?);
        let plan = known.plan(sql, &explain::steps(connection, sql, &values)?);
        let began = Instant::now();
        let rows = query::drain(&mut query::prepare(connection, sql, &values)?)?;
        Ok((plan, rows, began.elapsed()))
    });
    let result = result.map_err(|error| match error.reason {
        Reason::Deadline if began.elapsed() >= limit => Error::new(
            Reason::Deadline,
            format!("stopped after {} (maintain.max_block)", show_duration(limit)),
        ),
        _ => error,
    });
    let (plan, rows, duration) = match result {
        Ok(done) => done,
        Err(error) => {
            if error.reason == Reason::Deadline {
                timed(began.elapsed());
            }
            return Err(error);
        }
    };
    timed(duration);
    let scans = plan.scanned().into_iter().map(str::to_owned).collect();
    Ok(QueryTiming {
        query: query.name.clone(),
        seconds: duration.as_secs_f64(),
        rows,
        plan,
        scans,
        plan_changed: false,
        scans_new: Vec::new(),
    })
}

fn changed(one: &QueryTiming) -> String {
    match one.scans_new.as_slice() {
        [] => one.query.clone(),
        scans => format!("{} now reads {} from end to end", one.query, scans.join(", ")),
    }
}

fn summary(all: usize, seen: &[QueryTiming]) -> String {
    let slowest = seen.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let slowest =
        slowest.map(|s| format!("; the slowest was {} with {}", s.query, words::duration(s.seconds)));
    let changed: Vec<String> = seen.iter().filter(|s| s.plan_changed).map(changed).collect();
    let changed = if changed.is_empty() {
        String::new()
    } else {
        format!("; another plan than before: {}", changed.join(", "))
    };
    let of = if seen.len() == all { String::new() } else { format!("{} of ", seen.len()) };
    let queries = words::plural(all as u64, "query", "queries");
    format!("{of}{queries} timed{}{changed}", slowest.unwrap_or_default())
}
