//! Runs the queries of the watch-list, as the application would, to see how long they take and how
//! SQLite means to answer them. Runs nothing that writes, and keeps no row.

mod plans;
mod timing;

use super::reading::Reader;
use super::verdicts::met;
use super::{Access, Job, Report, Run};
use crate::error::{Reason, Result};
use crate::terms::JobKind;
use crate::terms::progress::Unit;
use crate::words;
use timing::QueryTiming;

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
        let (mut seen, mut problems, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (done, query) in queries.iter().enumerate() {
            run.at(done as u64, queries.len() as u64, Unit::Steps);
            match timing::of(run, &reader, query) {
                Ok(one) => seen.push(one),
                // It will not run here in any other night either.
                Err(error) if error.reason == Reason::Unsupported => {
                    left_out.push(format!("query {}: {}", query.name, error.message));
                }
                Err(error) => problems.push(met(run, error)?.context(format!("query {}", query.name))),
            }
        }
        if let Err(error) = plans::compare(run, &mut seen) {
            problems.push(met(run, error)?);
        }
        let mut report = Report::new(summary(queries.len(), &seen), &seen);
        report.problems = problems;
        report.left_out = left_out;
        Ok(report)
    }
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
