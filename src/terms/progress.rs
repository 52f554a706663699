//! How far a piece of work is, and whether it may go on: what long work says to whoever asked for
//! it. Knows nothing of what is done.

use std::sync::Arc;

use serde::Serialize;

use crate::error::Result;

/// Who asked for a piece of work. Asked and told between its steps, many times a second.
pub trait Watch {
    /// An error when the work must stop.
    fn go_on(&self) -> Result<()>;

    /// Says how far the work is.
    fn at(&self, done: u64, total: u64, unit: Unit);

    /// What SQLite asks within a statement, on whichever thread: whether to stop.
    fn stop(&self) -> Stop;

    /// Says how far it is, and asks whether it may go on.
    fn step(&self, done: u64, total: u64, unit: Unit) -> Result<()> {
        self.at(done, total, unit);
        self.go_on()
    }
}

/// Whether to stop, for whoever outlives a borrow of the [`Watch`].
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// For work whose progress nobody looks at, and which has no statement that lasts.
impl<F: Fn() -> Result<()>> Watch for F {
    fn go_on(&self) -> Result<()> {
        self()
    }

    fn at(&self, _: u64, _: u64, _: Unit) {}

    fn stop(&self) -> Stop {
        Arc::new(|| false)
    }
}

/// A part of larger work: what it has done is told as a part of the whole.
pub struct Part<'w> {
    /// Who asked for the whole.
    pub whole: &'w dyn Watch,
    /// What was done before this part.
    pub before: u64,
    /// All of the work.
    pub total: u64,
}

impl Watch for Part<'_> {
    fn go_on(&self) -> Result<()> {
        self.whole.go_on()
    }

    fn at(&self, done: u64, _: u64, unit: Unit) {
        self.whole.at(self.before + done, self.total, unit);
    }

    fn stop(&self) -> Stop {
        self.whole.stop()
    }
}

/// How far work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Of `total`.
    pub done: u64,
    /// As known now; it may grow.
    pub total: u64,
    /// What is counted.
    pub unit: Unit,
}

/// What progress counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes of the database.
    Bytes,
    /// Rows.
    Rows,
    /// Steps of the job.
    Steps,
}

impl Unit {
    /// The word for the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Rows => "rows",
            Self::Steps => "steps",
        }
    }
}
