//! What a step found, what became of it, what it gained and what it cost. Decides nothing.

use std::fmt;

use serde::Serialize;

use crate::error::{Error, Reason};
use crate::sqlite::write::checkpoint::Checkpoint;
use crate::sqlite::write::hold::HoldTimes;

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
    /// It would be done: of a run that only looks.
    Planned,
    /// Not needed, not wanted, or it would harm.
    Skipped,
    /// Only the application can do it.
    LeftOut,
    /// Needed, but something that the operator can change is in the way.
    Refused,
    /// It, or a part of it, failed.
    Failed,
    /// It, or a part of it, took longer than `max_block` and was rolled back.
    Interrupted,
}

/// What a step is expected to cost.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Cost {
    /// For how long it holds the application's writers at a time; unknown before it was first done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_seconds: Option<f64>,
    /// At most, for it is given up then.
    pub longest_hold_seconds: f64,
    /// Bytes that must be free for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_bytes: Option<u64>,
}

/// A step in the report.
#[derive(Debug, Serialize)]
pub struct StepReport {
    /// Which.
    pub step: StepName,
    /// What became of it.
    pub decision: Decision,
    /// What it found when it looked; empty where it had nothing to look at.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub found: String,
    /// What was done or why not, for the summary; empty where there is nothing worth a word.
    pub why: String,
    /// How long it took.
    pub seconds: f64,
    /// The tables or indexes that were treated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub treated: Vec<String>,
    /// What only the application can do, and why (HAZARDS H16). The same words in each run: what is
    /// new is told, and what is not is not told again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Bytes by which the database became smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_bytes: Option<u64>,
    /// The pages that these were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_pages: Option<u64>,
    /// Watched queries that are planned in another way than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plans_changed: Option<Vec<String>>,
    /// How long the application's writers were held.
    pub held: HoldTimes,
    /// What it would cost: of a run that only looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Cost>,
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

impl StepReport {
    fn new(step: StepName, decision: Decision, why: impl Into<String>) -> Self {
        Self {
            step,
            decision,
            found: String::new(),
            why: why.into(),
            seconds: 0.0,
            treated: Vec::new(),
            left_out: Vec::new(),
            freed_bytes: None,
            freed_pages: None,
            plans_changed: None,
            held: HoldTimes::default(),
            expected: None,
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

    /// A step of which nothing can be done but by the application.
    pub(super) fn left_out(step: StepName, left_out: Vec<String>) -> Self {
        Self { left_out, ..Self::new(step, Decision::LeftOut, format!("{step} left to the application")) }
    }

    /// A step that would be done, and what it would cost.
    pub(super) fn planned(step: StepName, why: impl Into<String>, expected: Cost) -> Self {
        Self { expected: Some(expected), ..Self::new(step, Decision::Planned, why) }
    }

    /// The same step with what it found when it looked.
    pub(super) fn found(self, found: impl Into<String>) -> Self {
        Self { found: found.into(), ..self }
    }

    pub(super) fn refused(step: StepName, problem: Error) -> Self {
        let this = Self::new(step, Decision::Refused, format!("{step} refused"));
        Self { problems: vec![problem], ..this }
    }

    pub(super) fn failed(step: StepName, problem: Error) -> Self {
        Self::of_parts(step, format!("{step} failed"), Vec::new(), vec![problem])
    }

    /// A step of many parts, `treated` well but for `problems`. Those for which the application
    /// left no pause are for the next run, and no failure of this one.
    pub(super) fn of_parts(
        step: StepName,
        why: impl Into<String>,
        treated: Vec<String>,
        problems: Vec<Error>,
    ) -> Self {
        let (later, problems): (Vec<Error>, Vec<Error>) =
            problems.into_iter().partition(|problem| problem.reason == Reason::NoPause);
        let decision = match problems.as_slice() {
            [] if treated.is_empty() && !later.is_empty() => Decision::Skipped,
            [] => Decision::Done,
            some if some.iter().any(|p| p.reason == Reason::Deadline) => Decision::Interrupted,
            some if some.iter().all(|p| p.reason == Reason::Refused) => Decision::Refused,
            _ => Decision::Failed,
        };
        let why = match decision {
            Decision::Skipped => String::new(),
            Decision::Interrupted if treated.is_empty() => format!("{step} interrupted"),
            Decision::Refused if treated.is_empty() => format!("{step} refused"),
            Decision::Failed if treated.is_empty() => format!("{step} failed"),
            _ => why.into(),
        };
        let later = later.first().map(|first| first.message.as_str());
        let why = [why.as_str()]
            .into_iter()
            .filter(|why| !why.is_empty())
            .chain(later)
            .collect::<Vec<_>>()
            .join("; ");
        Self { treated, problems, ..Self::new(step, decision, why) }
    }
}
