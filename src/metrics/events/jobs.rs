//! The life of a job's runs.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::LOG;
use super::gauges::{due_or_absent, past_or_absent};
use crate::metrics::names as n;
use crate::terms::Outcome;

/// A run began.
#[derive(Debug)]
pub struct JobStarted<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job.
    pub job: &'a str,
    /// Number of the run in the history.
    pub run: i64,
}

impl JobStarted<'_> {
    /// Writes the log line and the metrics.
    pub fn emit(&self) {
        n::JOB_RUNNING.gauge([self.database, self.job]).set(1);
        tracing::info!(target: LOG, database = self.database, job = self.job, run = self.run, "job started");
    }
}

/// A run ended: well, badly or early. A run that never began is [`JobSkipped`].
#[derive(Debug)]
pub struct JobFinished<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job.
    pub job: &'a str,
    /// Number of the run in the history.
    pub run: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not end well, or what it found, as one word.
    pub reason: Option<&'a str>,
    /// What it did, or what failed and what to do.
    pub summary: &'a str,
    /// How long it took.
    pub duration: Duration,
    /// When it ended.
    pub at: DateTime<Utc>,
}

impl JobFinished<'_> {
    /// Writes the log line and the metrics.
    pub fn emit(&self) {
        let Self { database, job, run, summary, .. } = *self;
        let seconds = self.duration.as_secs_f64();
        let reason = self.reason.unwrap_or("unknown");
        n::JOB_RUNNING.gauge([database, job]).set(0);
        n::JOB_RUNS.counter([database, job, self.outcome.as_str()]).increment(1);
        n::JOB_DURATION.histogram([database, job]).record(seconds);
        match self.outcome {
            Outcome::Success => {
                n::JOB_LAST_SUCCESS.gauge([database, job]).set(past_or_absent(Some(self.at)));
                tracing::info!(target: LOG, database, job, run, seconds, summary, "job done");
            }
            Outcome::Failure => {
                tracing::error!(target: LOG, database, job, run, seconds, reason, "job failed: {summary}");
            }
            // As configured, and not a stop of the daemon.
            Outcome::Interrupted if matches!(reason, "blackout" | "no_pause") => {
                tracing::info!(target: LOG, database, job, run, seconds, reason, "job stopped: {summary}");
            }
            Outcome::Skipped => {
                tracing::info!(target: LOG, database, job, run, seconds, reason, "job skipped: {summary}");
            }
            Outcome::Interrupted => {
                tracing::warn!(target: LOG, database, job, run, seconds, reason, "job stopped: {summary}");
            }
        }
    }
}

/// A run was due and did not begin.
#[derive(Debug)]
pub struct JobSkipped<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job.
    pub job: &'a str,
    /// What stood in the way, in a few words: `the run before is still at work`.
    pub because: &'a str,
}

impl JobSkipped<'_> {
    /// Writes the log line and the metrics.
    pub fn emit(&self) {
        let Self { database, job, because } = *self;
        n::JOB_RUNS.counter([database, job, Outcome::Skipped.as_str()]).increment(1);
        tracing::warn!(target: LOG, database, job, "job skipped: {because}");
    }
}

/// A run left out what only the application can do, which the run before it did not: told once.
#[derive(Debug)]
pub struct LeftOut<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job.
    pub job: &'a str,
    /// What, and why.
    pub what: &'a str,
}

impl LeftOut<'_> {
    /// Writes the log line.
    pub fn emit(&self) {
        let Self { database, job, what } = *self;
        tracing::warn!(target: LOG, database, job, "left out from now on: {what}");
    }
}

/// The time at which a job is due next became known, or that it is not due at all. No log line.
#[derive(Debug)]
pub struct JobScheduled<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job.
    pub job: &'a str,
    /// When; `None`: its schedule is `never`.
    pub next: Option<DateTime<Utc>>,
}

impl JobScheduled<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::JOB_NEXT_RUN.gauge([self.database, self.job]).set(due_or_absent(self.next));
    }
}

/// The run history knows when a job last ended well, or does not. No log line.
#[derive(Debug)]
pub struct JobSucceededBefore<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job.
    pub job: &'a str,
    /// When; `None`: it never did, or under a clock that was ahead.
    pub at: Option<DateTime<Utc>>,
}

impl JobSucceededBefore<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::JOB_LAST_SUCCESS.gauge([self.database, self.job]).set(past_or_absent(self.at));
    }
}
