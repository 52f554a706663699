//! One run, as the job sees it: the database and its connections, whether to go on, how far it is,
//! and what earlier runs remembered. Synchronous: a run has a thread of its own, which may wait.
//! Must never lend a connection that writes but through [`hold`].

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

use super::waits::Waits;
use crate::config::Database;
use crate::error::{Error, Reason, Result};
use crate::pool::{Call, Pool};
use crate::sqlite::look::facts::Facts;
use crate::sqlite::pauses::Pauses;
use crate::sqlite::write::hold::{self, Holds};
use crate::state::State;
use crate::state::facts::{self, Fact};
use crate::terms::JobKind;
use crate::terms::progress::{Progress, Stop, Unit, Watch};
use crate::zone::Zone;
use crate::{clock, priority};

/// For a last look at the file by a run that may have been told to stop.
const TO_LOOK: Duration = Duration::from_millis(500);

/// What a run works with.
pub struct Run {
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
    /// Collects how long it keeps the application's writers out.
    pub holds: Holds,
    /// When it may do so.
    pub pauses: Pauses,
    /// When it was started; the one time by which it decides what is old.
    pub started: DateTime<Utc>,
    /// The zone in which the operator counts hours and days.
    pub zone: Zone,
    /// What it met while it waited for a pause.
    pub(super) waits: Waits,
    /// Cancelled when a blackout begins: the run ends before its next slice.
    pub(super) blackout: CancellationToken,
    /// How far it is, for whoever watches.
    pub(super) progress: Sender<Option<Progress>>,
    /// What becomes of damage that SQLite tells of, which concerns every job on the database.
    pub(super) on_damage: fn(&Self, &Error) -> Error,
}

impl Run {
    /// Every use that a run makes of a connection of the pool: it only reads, until [`hold`] lends
    /// it for a write.
    pub(super) fn lent<T>(&self, call: &Call, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.pool.run(call, |connection| {
            hold::read_only(connection)?;
            work(connection)
        })
    }

    /// Runs `work`, which reads, on a connection of the pool, within the run's limits.
    pub fn sql<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.by(&self.call.reading(), work)
    }

    /// The same for no longer than `limit`, the wait for locks not counted: past it, `deadline`.
    /// Not begun where the run must stop.
    pub fn read_within<T>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        self.go_on()?;
        self.by(&self.call.reading_within(limit), work)
    }

    /// Runs `work`, a slice of the run that may write, within a limit of its own: past it,
    /// `deadline`. Not begun where the run must stop.
    pub fn sql_within<T>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        self.go_on()?;
        self.by(&self.call.within(limit), work)
    }

    pub(super) fn by<T>(&self, call: &Call, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.lent(call, work).map_err(|error| match error.reason {
            Reason::Damaged => (self.on_damage)(self, &error),
            _ => error,
        })
    }

    /// Runs `work` in one transaction that has the write lock from its beginning, and notes for how
    /// long it had it. Past `limit` it is rolled back, `deadline`.
    pub fn write_within<T>(
        &self,
        limit: Duration,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.sql_within(limit, |c| hold::write(c, &self.holds, work))
    }

    /// What the file is like after something was done to it, also where the run was told to stop
    /// meanwhile: the next backup must know that it has shrunk on purpose.
    pub fn facts_afterwards(&self) -> Result<Facts> {
        // Only who is told to stop has no time: beside a busy writer there may be no moment for a
        // read at once.
        if self.go_on().is_ok()
            && let Ok(facts) = self.sql(|c| Facts::read(c))
        {
            return Ok(facts);
        }
        self.lent(&self.call.apart().within(TO_LOOK), |c| Facts::read(c))
    }

    /// Waits, and no longer than the run may go on: an error when it must stop. For the time
    /// between two slices.
    pub fn pause(&self, pause: Duration) -> Result<()> {
        Handle::current().block_on(async {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.call.ended() => {}
                () = self.blackout.cancelled() => {}
            }
        });
        self.go_on()
    }

    /// Says how far the run is.
    pub fn at(&self, done: u64, total: u64, unit: Unit) {
        self.progress.send_replace(Some(Progress { done, total, unit }));
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

    /// Does work at low priority, on a thread that ends with it. For what has nothing to do with
    /// the application's file.
    pub fn in_background<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let runtime = Handle::current();
        let work = move || {
            let _entered = runtime.enter();
            priority::lower();
            work()
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("background".into()).spawn_scoped(scope, work);
            let thread = thread.map_err(|e| Error::io("cannot start a thread", &e))?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What earlier runs kept of the database.
    pub fn recall<T: DeserializeOwned + Default>(&self, fact: Fact<T>) -> Result<T> {
        self.state.now(|connection| facts::recall(connection, &self.database.name, fact))
    }

    /// Keeps `value` for later runs, whatever was kept before.
    pub fn remember<T: Serialize>(&self, fact: Fact<T>, value: &T) -> Result<()> {
        self.state.now(|connection| facts::remember(connection, &self.database.name, fact, value))
    }

    /// Changes what is kept for later runs; other processes may do so as well.
    pub fn update<T, R>(&self, fact: Fact<T>, mut change: impl FnMut(&mut T) -> R) -> Result<R>
    where
        T: DeserializeOwned + Serialize + Default,
    {
        self.state.now(|connection| facts::update(connection, &self.database.name, fact, &mut change))
    }
}

impl Watch for Run {
    fn go_on(&self) -> Result<()> {
        self.go_on()
    }

    fn at(&self, done: u64, total: u64, unit: Unit) {
        self.at(done, total, unit);
    }

    fn stop(&self) -> Stop {
        self.call.stop()
    }
}
