//! What became of a step, and the words for what went wrong in it.

use std::fmt;
use std::time::Duration;

use rusqlite::Connection;
use serde::Serialize;

use crate::config::units::show_duration;
use crate::error::{Class, Error, Reason, Result};
use crate::jobs::Context;
use crate::sqlite::checkpoint::Checkpoint;

/// The steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// CREATE INDEX for declared indexes that are missing.
    Indexes,
    /// REINDEX.
    Reindex,
    /// VACUUM or `PRAGMA incremental_vacuum`.
    Vacuum,
    /// ANALYZE.
    Analyze,
    /// Checkpoint of the write-ahead log.
    Checkpoint,
}

impl StepName {
    /// In the order in which they are done.
    pub const ALL: [Self; 5] = [Self::Indexes, Self::Reindex, Self::Vacuum, Self::Analyze, Self::Checkpoint];

    /// As it is called in messages: SQLite's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Indexes => "CREATE INDEX",
            Self::Reindex => "REINDEX",
            Self::Vacuum => "VACUUM",
            Self::Analyze => "ANALYZE",
            Self::Checkpoint => "checkpoint",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// All of it was done.
    Done,
    /// Not needed, not wanted, or it would harm.
    Skipped,
    /// Needed, but something that the operator can change is in the way.
    Refused,
    /// It, or a part of it, failed.
    Failed,
    /// It, or a part of it, took longer than `max_block` and was rolled back.
    Interrupted,
}

/// A step in the report.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Which.
    pub step: StepName,
    /// What became of it.
    pub decision: Decision,
    /// What was done or why not, for the summary; empty where there is nothing worth a word.
    pub why: String,
    /// How long it took.
    pub seconds: f64,
    /// The tables or indexes that were treated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub treated: Vec<String>,
    /// Bytes by which the database became smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_bytes: Option<u64>,
    /// Bytes of the write-ahead log afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_bytes: Option<u64>,
    /// What the last checkpoint came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// What went wrong; told in the report, not here.
    #[serde(skip)]
    pub problems: Vec<Error>,
}

impl Step {
    fn new(step: StepName, decision: Decision, why: impl Into<String>) -> Self {
        Self {
            step,
            decision,
            why: why.into(),
            seconds: 0.0,
            treated: Vec::new(),
            freed_bytes: None,
            wal_bytes: None,
            checkpoint: None,
            problems: Vec::new(),
        }
    }

    pub(super) fn done(step: StepName, why: impl Into<String>) -> Self {
        Self::new(step, Decision::Done, why)
    }

    pub(super) fn skipped(step: StepName, why: impl Into<String>) -> Self {
        Self::new(step, Decision::Skipped, why)
    }

    pub(super) fn refused(step: StepName, problem: Error) -> Self {
        let this = Self::new(step, Decision::Refused, format!("{step} refused"));
        Self { problems: vec![problem], ..this }
    }

    pub(super) fn failed(step: StepName, problem: Error) -> Self {
        Self::of_parts(step, format!("{step} failed"), Vec::new(), vec![problem])
    }

    /// A step of many parts, `treated` well but for `problems`.
    pub(super) fn of_parts(
        step: StepName,
        why: impl Into<String>,
        treated: Vec<String>,
        problems: Vec<Error>,
    ) -> Self {
        let decision = match problems.as_slice() {
            [] => Decision::Done,
            some if some.iter().any(|p| p.reason == Reason::Deadline) => Decision::Interrupted,
            _ => Decision::Failed,
        };
        let why = match decision {
            Decision::Interrupted if treated.is_empty() => format!("{step} interrupted"),
            Decision::Failed if treated.is_empty() => format!("{step} failed"),
            _ => why.into(),
        };
        Self { treated, problems, ..Self::new(step, decision, why) }
    }
}

/// Runs what may hold the application's writers up, for `max_block` at most. The outer error ends the run, the
/// inner one is this part's alone.
pub(super) async fn within_max_block<T, F>(context: &Context, what: &str, work: F) -> Result<Result<T>>
where
    T: Send + 'static,
    F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
{
    within(context, context.database.maintain.max_block, what, work).await
}

/// The same with a limit that the caller derived from `max_block`.
pub(super) async fn within<T, F>(context: &Context, limit: Duration, what: &str, work: F) -> Result<Result<T>>
where
    T: Send + 'static,
    F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
{
    let error = match context.sql_within(limit, work).await {
        Ok(value) => return Ok(Ok(value)),
        Err(error) => error,
    };
    context.go_on()?;
    if error.class() == Class::Cancelled {
        return Err(error);
    }
    Ok(Err(in_step(what, context, error)))
}

/// An error with what was being done, and what to do about it.
pub(super) fn in_step(what: &str, context: &Context, error: Error) -> Error {
    let advice = match error.reason {
        Reason::Deadline => {
            return Error::new(
                Reason::Deadline,
                format!(
                    "{what} takes longer than maintain.max_block = {} allows; it was interrupted and rolled back, so \
                     that the application can write. Raise max_block, or schedule it for when the application may \
                     wait",
                    show_duration(context.database.maintain.max_block)
                ),
            );
        }
        Reason::Unsupported => "only the application has that, so only the application can do this",
        Reason::Busy => "the application held the lock all the time; it is tried again in the next run",
        _ => return error.context(what),
    };
    let text = format!("{what}: {}; {advice}", error.message);
    Error::new(error.reason, text)
}
