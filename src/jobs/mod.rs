//! WHAT is done to a database: one folder per kind of job, and the runner that all of them go
//! through. A kind knows no schedule and no other kind; it can be stopped at any point and run
//! again.

pub mod backup;
pub mod builds;
pub mod cleanup;
pub mod damage;
pub mod health;
pub mod integrity;
pub mod limits;
pub mod maintain;
pub mod moment;
pub mod pace;
pub mod reading;
pub mod recover;
pub mod registry;
pub mod reindex;
pub mod run;
pub mod runner;
pub mod verdicts;
pub mod verify;
mod waits;
pub mod watch;
pub mod writing;

use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Reason, Result};
use crate::terms::JobKind;
pub use run::Run;

/// Something that is done to one database.
pub trait Job: Send + Sync + 'static {
    /// Which kind it is.
    const KIND: JobKind;

    /// How it stands to other runs on the database.
    const ACCESS: Access = Access::Exclusive;

    /// What ends it, and who minds where it cannot begin.
    const TERMS: Terms = Terms::Scheduled;

    /// Whether all that it is for is written into the database: where that cannot be, it is skipped.
    const WRITES: bool = false;

    /// Does it once, on a thread that may wait. Everything it needs comes with the run; it ends
    /// soon after [`Run::go_on`] says so.
    fn run(&self, run: &Run) -> Result<Report>;
}

/// How a job stands to other runs on its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It must be the only exclusive one, over all processes.
    Exclusive,
    /// It may run beside others.
    Shared,
    /// It only looks: it takes no lock, and neither history nor metrics count it as a run.
    Preview,
}

/// What ends a job, and who minds where it cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// The timeout of its kind ends it; that it could not begin is written down.
    Scheduled,
    /// Likewise, but nobody misses it where it cannot begin: then that is not written down.
    Optional,
    /// It goes on until it is done, be it after the timeout of its kind.
    Unlimited,
}

/// A job that is ready to be run, of whatever kind.
#[derive(Clone)]
pub struct Task {
    /// Which kind it is.
    pub kind: JobKind,
    /// How it stands to other runs on the database.
    pub access: Access,
    /// What ends it, and who minds where it cannot begin.
    pub terms: Terms,
    /// Whether it is skipped where the database cannot be written.
    pub writes: bool,
    work: Arc<Work>,
}

type Work = dyn Fn(&Run) -> Result<Report> + Send + Sync;

impl<J: Job> From<J> for Task {
    fn from(job: J) -> Self {
        let work: Arc<Work> = Arc::new(move |run| job.run(run));
        Self { kind: J::KIND, access: J::ACCESS, terms: J::TERMS, writes: J::WRITES, work }
    }
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// One sentence, without a final full stop.
    pub summary: String,
    /// Parts that failed while others were done: the run counts as failed, a command exits with 3.
    #[serde(serialize_with = "as_texts")]
    pub problems: Vec<Error>,
    /// What a check found wrong with the database: the run itself went well, a command exits with
    /// 1, or with 12 where the database is damaged.
    #[serde(serialize_with = "as_texts")]
    pub findings: Vec<Error>,
    /// What was left out because only the application can do it, one sentence each: no fault of the
    /// database or of the run, which counts as a success with the reason `unsupported`.
    pub left_out: Vec<String>,
    /// What was done, by the job's own structure.
    pub detail: serde_json::Value,
    /// Why there was nothing to do, where that is no failure: the run counts as skipped.
    #[serde(skip)]
    pub skipped: Option<Error>,
}

impl Report {
    /// A report without problems, findings, or anything left out.
    ///
    /// # Panics
    ///
    /// Where `detail` cannot be JSON: a structure of ours with string keys always can.
    #[expect(clippy::expect_used, reason = "a structure of ours with string keys is always JSON")]
    pub fn new(summary: impl Into<String>, detail: &impl Serialize) -> Self {
        let detail = serde_json::to_value(detail).expect("a report's detail is JSON");
        Self {
            summary: summary.into(),
            problems: Vec::new(),
            findings: Vec::new(),
            left_out: Vec::new(),
            detail,
            skipped: None,
        }
    }

    /// That of a run for which there was nothing to do.
    pub fn skipped(why: Error) -> Self {
        Self { skipped: Some(why), ..Self::new("", &()) }
    }

    /// In one word, why it did not succeed, what it found, or that something was left out.
    pub fn reason(&self) -> Option<Reason> {
        let told = self.problems.first().or(self.findings.first()).map(|error| error.reason);
        told.or_else(|| (!self.left_out.is_empty()).then_some(Reason::Unsupported))
    }
}

fn as_texts<S: serde::Serializer>(errors: &[Error], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Text<'a> {
        reason: Reason,
        message: &'a str,
    }
    serializer.collect_seq(errors.iter().map(|e| Text { reason: e.reason, message: &e.message }))
}
