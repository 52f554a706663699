//! WHAT is done to a database: one folder per kind of job, and the runner that all of them go through.
//! A kind knows no schedule and no other kind; it can be stopped at any point and run again.

pub mod backup;
pub mod cleanup;
pub mod damage;
pub mod health;
pub mod integrity;
pub mod maintain;
pub mod moment;
pub mod pace;
pub mod reading;
pub mod recover;
pub mod registry;
pub mod runner;
pub mod verdicts;
pub mod verify;
pub mod watch;
pub mod writing;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rusqlite::{Connection, Transaction};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Database;
use crate::error::{Error, Reason, Result};
use crate::pool::{Call, Pool};
use crate::priority;
use crate::sqlite::files::facts::Facts;
use crate::sqlite::pauses::Pauses;
use crate::sqlite::write::hold::{self, Holds};
use crate::state::State;
use crate::terms::JobKind;

/// For a last look at the file by a run that may have been told to stop.
const TO_LOOK: Duration = Duration::from_millis(500);

/// The future of a run.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Report>> + Send + 'a>>;

/// Something that is done to one database.
pub trait Job: Send + Sync {
    /// Which kind it is.
    fn kind(&self) -> JobKind;

    /// Whether it must be the only exclusive job on its database, over all processes.
    fn is_exclusive(&self) -> bool {
        true
    }

    /// Whether nobody misses it where it cannot start: then that is not written down.
    fn is_optional(&self) -> bool {
        false
    }

    /// Whether it runs until it is done, be it after the timeout of its kind.
    fn takes_its_time(&self) -> bool {
        false
    }

    /// Whether it only looks: then it takes no lock, and neither history nor metrics count it as a run.
    fn is_preview(&self) -> bool {
        false
    }

    /// Does it once. Everything it needs comes with the context; it ends soon after `context.call` is cancelled.
    fn run<'a>(&'a self, context: &'a Context) -> Running<'a>;
}

/// What a run works with.
pub struct Context {
    /// What is done.
    pub kind: JobKind,
    /// The database, as configured when the run was started.
    pub database: Arc<Database>,
    /// Its connections.
    pub pool: Pool,
    /// The daemon's memory.
    pub state: State,
    /// The run's name, deadline and cancellation, for each call on the pool.
    pub call: Call,
    /// Cancelled when a blackout begins: the run ends before its next slice.
    pub blackout: CancellationToken,
    /// Collects how long it keeps the application's writers out.
    pub holds: Arc<Holds>,
    /// When it may do so.
    pub pauses: Arc<Pauses>,
    /// What it met while it waited for that.
    pub waits: moment::Waits,
    /// How far it is, for whoever watches.
    pub progress: Sender<Option<Progress>>,
    /// When it was started; the one time by which it decides what is old.
    pub started: DateTime<Utc>,
    /// The zone in which the operator counts hours and days.
    pub zone: Tz,
}

impl Context {
    /// Every use that a run makes of a connection of the pool: it only reads, until [`hold`] lends it for a write.
    async fn lent<T, F>(&self, call: &Call, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let reading = |connection: &mut Connection| {
            hold::read_only(connection)?;
            work(connection)
        };
        self.pool.run(call, reading).await
    }

    /// Runs `work`, which reads, on a pooled connection, within the run's limits.
    pub async fn sql<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        self.noting(self.lent(&self.call, work).await).await
    }

    /// The same for a slice of the run, with a limit of its own: past it, `deadline`. Not begun where the run must stop.
    pub async fn sql_within<T, F>(&self, limit: Duration, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        self.go_on()?;
        self.noting(self.lent(&self.call.within(limit), work).await).await
    }

    /// What SQLite calls damage concerns every job on the database, and not only this run.
    async fn noting<T>(&self, done: Result<T>) -> Result<T> {
        match done {
            Err(error) if error.reason == Reason::Damaged => Err(damage::met(self, &error).await),
            done => done,
        }
    }

    /// Runs `work` in one transaction that has the write lock from its beginning, and notes for how long it had it.
    /// Past `limit` it is rolled back, `deadline`.
    pub async fn write_within<T, F>(&self, limit: Duration, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let holds = Arc::clone(&self.holds);
        self.sql_within(limit, move |c| hold::write(c, &holds, work)).await
    }

    /// An error when the run must stop. For work between statements.
    pub fn go_on(&self) -> Result<()> {
        self.call.check()?;
        if !self.blackout.is_cancelled() {
            return Ok(());
        }
        let key = self.kind.blackout_key().unwrap_or("a blackout");
        let time = clock::now().with_timezone(&self.zone).format("%H:%M");
        Err(Error::new(Reason::Blackout, format!("stopped at {time} by {key}; the next run goes on")))
    }

    /// What the file is like after something was done to it, also where the run was told to stop meanwhile: the next backup
    /// must know that it has shrunk on purpose.
    pub async fn facts_afterwards(&self) -> Result<Facts> {
        self.lent(&self.call.apart().within(TO_LOOK), |c| Facts::read(c)).await
    }

    /// Waits, and no longer than the run may go on: an error when it must stop. For the time between two slices.
    pub async fn pause(&self, pause: Duration) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.call.ended() => {}
            () = self.blackout.cancelled() => {}
        }
        self.go_on()
    }

    /// Says how far the run is.
    pub fn at(&self, done: u64, total: u64, unit: Unit) {
        self.progress.send_replace(Some(Progress { done, total, unit }));
    }
}

/// Work of a run that waits for a disk and needs no connection, on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(panicked()))
}

/// The same at low priority, on a thread that ends with it. For work that has nothing to do with the application's file.
pub(crate) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, result) = oneshot::channel();
    let spawned = std::thread::Builder::new().name("background".into()).spawn(move || {
        priority::lower();
        // Where nobody waits any more, nobody needs the result.
        let _ = done.send(work());
    });
    spawned.map_err(|e| Error::io("cannot start a thread", &e))?;
    result.await.unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Error {
    Error::new(Reason::Panic, "the run panicked, which is a defect in litekeeper")
}

/// How far a run is.
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

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// One sentence, without a final full stop.
    pub summary: String,
    /// Parts that failed while others were done: the run counts as failed, a command exits with 3.
    #[serde(serialize_with = "as_texts")]
    pub problems: Vec<Error>,
    /// What a check found wrong with the database: the run itself went well, a command exits with 1, or with 12
    /// where the database is damaged.
    #[serde(serialize_with = "as_texts")]
    pub findings: Vec<Error>,
    /// What was done, by the job's own structure.
    pub detail: serde_json::Value,
}

impl Report {
    /// A report without problems or findings. `detail` must be serialisable to JSON: a structure of ours with
    /// string keys always is.
    pub fn new(summary: impl Into<String>, detail: &impl Serialize) -> Self {
        let detail = serde_json::to_value(detail).unwrap_or_default();
        Self { summary: summary.into(), problems: Vec::new(), findings: Vec::new(), detail }
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
