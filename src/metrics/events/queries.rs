//! How long statements take, and how they are planned.

use std::time::Duration;

use super::LOG;
use crate::metrics::names as n;

/// A statement of ours ended. No log line.
#[derive(Debug)]
pub struct QueryTimed<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job that ran it.
    pub job: &'a str,
    /// How long it took.
    pub duration: Duration,
}

impl QueryTimed<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::QUERY_DURATION.histogram([self.database, self.job]).record(self.duration.as_secs_f64());
    }
}

/// The application's writers were kept out, and may go on. No log line.
#[derive(Debug)]
pub struct WritersHeld<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job that kept them out.
    pub job: &'a str,
    /// For how long.
    pub duration: Duration,
}

impl WritersHeld<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::WRITE_HOLD.histogram([self.database, self.job]).record(self.duration.as_secs_f64());
    }
}

/// A statement took longer than `watch.slow_threshold`. It counts here only: [`QueryTimed`] is its
/// own fact.
#[derive(Debug)]
pub struct SlowQuery<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job that ran it.
    pub job: &'a str,
    /// The statement with its literals removed.
    pub shape: &'a str,
    /// How long it took.
    pub duration: Duration,
    /// Virtual machine steps that SQLite took.
    pub vm_steps: u64,
}

impl SlowQuery<'_> {
    /// Writes the log line and the metric.
    pub fn emit(&self) {
        let Self { database, job, shape, vm_steps, .. } = *self;
        n::SLOW_QUERIES.counter([database, job]).increment(1);
        let seconds = self.duration.as_secs_f64();
        tracing::warn!(target: LOG, database, job, seconds, vm_steps, shape, "slow statement");
    }
}

/// Slow statements were not kept, as more came than could be. No log line: whoever keeps them says
/// so.
#[derive(Debug)]
pub struct SlowQueriesDropped<'a> {
    /// The database.
    pub database: &'a str,
    /// How many.
    pub statements: u64,
}

impl SlowQueriesDropped<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::SLOW_QUERIES_DROPPED.counter([self.database]).increment(self.statements);
    }
}

/// A query of the watch-list ended. No log line.
#[derive(Debug)]
pub struct WatchTimed<'a> {
    /// The database.
    pub database: &'a str,
    /// The query's name.
    pub query: &'a str,
    /// How long it took.
    pub duration: Duration,
}

impl WatchTimed<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::WATCH_DURATION.histogram([self.database, self.query]).record(self.duration.as_secs_f64());
    }
}

/// The plan of a watched query is another one than the last time.
#[derive(Debug)]
pub struct PlanChanged<'a> {
    /// The database.
    pub database: &'a str,
    /// The query's name.
    pub query: &'a str,
    /// The plan before, in one line.
    pub before: &'a str,
    /// The plan now, in one line.
    pub after: &'a str,
    /// Tables that were searched and are now read from end to end.
    pub scans: &'a str,
}

impl PlanChanged<'_> {
    /// Writes the log line and the metric.
    pub fn emit(&self) {
        let Self { database, query, before, after, scans } = *self;
        n::WATCH_PLAN_CHANGES.counter([database, query]).increment(1);
        if scans.is_empty() {
            tracing::warn!(target: LOG, database, query, before, after, "the query plan changed");
        } else {
            let what = "the query plan changed: a SEARCH became a SCAN; see whether an index was dropped";
            tracing::warn!(target: LOG, database, query, scans, before, after, "{what}");
        }
    }
}
