//! The words of a judgement: how all of it is, as monitoring plugins have it, and how bad one thing
//! is. Judges nothing.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The state of the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// All is well.
    Ok,
    /// Something cannot be told, or will fail if nobody acts.
    Warning,
    /// Something failed or is damaged, or the daemon is not ready.
    Critical,
    /// No daemon answers.
    #[default]
    Unknown,
}

impl fmt::Display for Overall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// Something that is wrong with a database or with the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusProblem {
    /// The database; `None`: the daemon itself.
    pub database: Option<String>,
    /// How bad.
    pub severity: Severity,
    /// What it is about: a job, a check, `pool`, `disk`, `backup`, `daemon`, `configuration`.
    pub about: String,
    /// In words.
    pub text: String,
    /// When it was found, where that is one moment.
    pub at: Option<DateTime<Utc>>,
}

/// How bad a problem is; the worse sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something failed or is damaged.
    Failure,
    /// Something cannot be told, or will fail if nobody acts.
    Warning,
}
