//! CONNECTIONS to one database: the only room that names deadpool, and where the asynchronous world ends.
//! Work comes in as a closure over one connection, with the job that asks, a deadline and a cancellation; every
//! statement is timed; whatever ends the wait for the work also ends its SQL.
//! Must never open a file that is missing, nor one whose sidecars the application could not write afterwards.

mod open;
mod session;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use deadpool_sqlite::{Object, PoolError, TimeoutType};
use rusqlite::Connection;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::config::units::show_duration;
use crate::config::{self, Database};
use crate::error::{DISK_ERROR, Error, Reason, Result};
use crate::metrics::events::{BusyRetry, PoolGauges, PoolRecycled, PoolTimedOut, PoolWaited, QueryTimed};
use crate::sqlite::explain::{self, Step};
use crate::sqlite::{access, header, open as open_file, schema};
pub use session::wait_for_locks;
use session::{Finished, Limits, Observer};

/// Different statements of one piece of work whose plans are asked for.
const EXPLAINED: usize = 16;

/// SQLite's words, which name no file.
const NOT_A_DATABASE: &str = "file is not a database";
const READ_ONLY: &str = "attempt to write a readonly database";

/// What to do about an error of the operating system that has no better remedy.
const BAD_DISK: &str = "; the disk or its driver fails: see the kernel's log (dmesg), and copy the backups to another disk \
                        before anything else";

/// Who asks for a connection, and within which limits.
#[derive(Debug, Clone)]
pub struct Call {
    /// The job, for labels and the slow log.
    pub job: &'static str,
    /// Stops the work and its SQL.
    pub cancel: CancellationToken,
    /// Stops the work and its SQL at this instant.
    pub deadline: Option<Instant>,
    /// The file that its first use found: one run works on one file.
    file: Arc<OnceLock<access::Identity>>,
}

impl Call {
    /// A call, or all those of one run, which clones it.
    pub fn new(job: &'static str, cancel: CancellationToken, deadline: Option<Instant>) -> Self {
        Self { job, cancel, deadline, file: Arc::default() }
    }

    /// A call of the same run that its end does not stop.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { cancel: CancellationToken::new(), deadline: None, ..self.clone() }
    }

    /// The same call with a limit of its own, counted from now, where that is earlier.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let own = Instant::now() + limit;
        let deadline = self.deadline.map_or(own, |deadline| deadline.min(own));
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// An error when it is cancelled or late. For work between statements.
    pub fn check(&self) -> Result<()> {
        Limits::new(self.deadline, Duration::ZERO, self.cancel.is_cancelled()).check()
    }

    /// Waits until it is cancelled or late.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.late() => {}
        }
    }

    async fn late(&self) {
        match self.deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    }
}

/// A statement that was slower than the threshold. Defined here for whoever keeps them.
#[derive(Debug, Clone)]
pub struct SlowStatement {
    /// The database's name.
    pub database: String,
    /// The job that ran it.
    pub job: &'static str,
    /// With its literals: must be reduced to its shape before it is shown or kept.
    pub sql: String,
    /// When it finished.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// Virtual machine instructions (SQLITE_STMTSTATUS_VM_STEP).
    pub vm_steps: u64,
    /// Forward steps of full table scans (SQLITE_STMTSTATUS_FULLSCAN_STEP).
    pub full_scan_steps: u64,
    /// Sorts (SQLITE_STMTSTATUS_SORT).
    pub sorts: u64,
    /// Rows put into automatic indexes (SQLITE_STMTSTATUS_AUTOINDEX).
    pub automatic_indexes: u64,
    /// Its plan, asked for after the work; `None` where it has none, or could not be asked for without waiting.
    pub plan: Option<Vec<Step>>,
    /// The names that the schema has: what else is in the statement or its plan may be data.
    pub names: Arc<[String]>,
}

/// What the pool looks like now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Connections kept open when nothing is wanted.
    pub size: usize,
    /// The most there may be.
    pub max: usize,
    /// Open and free.
    pub idle: usize,
    /// Open and lent.
    pub in_use: usize,
    /// Calls that wait for one.
    pub waiting: usize,
    /// Calls that waited longer than `pool.timeout`, since the start.
    pub timeouts: u64,
    /// Connections replaced because of their age, since the start.
    pub recycled: u64,
}

/// The connections to one database. Cheap to clone; the last clone must be dropped inside the runtime.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    database: String,
    path: std::path::PathBuf,
    settings: config::Pool,
    slow_threshold: Duration,
    pool: deadpool_sqlite::Pool,
    slow: UnboundedSender<SlowStatement>,
    /// Which file the open connections belong to: another one may be put in its place under us.
    identity: Mutex<Option<access::Identity>>,
    timeouts: AtomicU64,
    recycled: Arc<AtomicU64>,
    /// How many of them the metrics know of.
    recycled_told: AtomicU64,
}

impl Pool {
    /// The pool of a database. Opens nothing yet: a database that is missing today may be there tomorrow.
    pub fn new(database: &Database, slow: UnboundedSender<SlowStatement>) -> Result<Self> {
        let recycled = Arc::new(AtomicU64::new(0));
        let pool = open::build(&database.path, &database.pool, Arc::clone(&recycled))?;
        Ok(Self {
            inner: Arc::new(Inner {
                database: database.name.clone(),
                path: database.path.clone(),
                settings: database.pool.clone(),
                slow_threshold: database.watch.slow_threshold,
                pool,
                slow,
                identity: Mutex::new(None),
                timeouts: AtomicU64::new(0),
                recycled,
                recycled_told: AtomicU64::new(0),
            }),
        })
    }

    /// Whether this pool serves a database so configured, or a new one is needed.
    pub fn serves(&self, database: &Database) -> bool {
        self.inner.path == database.path
            && self.inner.settings == database.pool
            && self.inner.slow_threshold == database.watch.slow_threshold
    }

    /// Runs `work` on a connection, on a blocking thread. Dropping the returned future, the call's cancellation
    /// and its deadline each stop the SQL; the connection is lent until it really has stopped.
    ///
    /// Errors: those of `work`; `pool_timeout`; `cancelled` and `deadline`; `replaced` where another file has come in
    /// place of the one that the run began with, by which it has decided what to do; whatever stands in the way of
    /// opening.
    pub async fn run<T, F>(&self, call: &Call, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let Lent { connection, identity } = tokio::select! {
            // A call that has ended already gets none.
            biased;
            () = call.ended() => {
                call.check()?;
                return Err(Error::new(Reason::Deadline, "no connection was free before the time was up"));
            }
            lent = self.get() => match lent {
                Ok(lent) => lent,
                Err(error) => return Err(self.inner.named(error).await),
            },
        };
        if *call.file.get_or_init(|| identity) != identity {
            self.inner.give_back(connection, identity);
            return Err(self.inner.replaced());
        }
        let limits = Arc::new(Limits::new(call.deadline, self.inner.settings.busy_timeout, false));
        let stop = StopOnDrop(Arc::clone(&limits));
        let slow = Arc::default();
        let observer = Statements { inner: Arc::clone(&self.inner), job: call.job, slow: Arc::clone(&slow) };
        let sender = self.inner.slow.clone();
        let (inner, path) = (Arc::clone(&self.inner), self.inner.path.clone());
        // Until the SQL has stopped the connection belongs to this task, also when nobody waits any more.
        let mut task = tokio::spawn(async move {
            let done = connection
                .interact(move |connection| {
                    open_file::leave_log_to_replicator(connection, &path)?;
                    let result = session::run(connection, &limits, Box::new(observer), work);
                    tell(connection, &slow, &sender);
                    Ok::<_, rusqlite::Error>((result, connection.is_autocommit()))
                })
                .await
                .map(|done| done.unwrap_or_else(|error| (Err(error.into()), true)));
            if matches!(done, Ok((_, true))) {
                inner.give_back(connection, identity);
            } else {
                // Closed, so that a transaction of the work that panicked, or that could not be rolled back, does not
                // stay open with its locks.
                drop(Object::take(connection));
            }
            match done.map_or_else(|_| Err(panicked()), |(result, _)| result) {
                Err(error) => Err(inner.named(error).await),
                done => done,
            }
        });
        tokio::select! {
            result = &mut task => return result.unwrap_or_else(|_| Err(panicked())),
            () = call.cancel.cancelled() => stop.0.stop(),
            () = call.late() => stop.0.interrupt(),
        }
        task.await.unwrap_or_else(|_| Err(panicked()))
    }

    /// Numbers for the status and the metrics.
    pub fn state(&self) -> PoolState {
        let now = self.inner.pool.status();
        PoolState {
            size: self.inner.settings.size,
            max: now.max_size,
            idle: now.available,
            in_use: now.size - now.available,
            waiting: now.waiting,
            timeouts: self.inner.timeouts.load(Ordering::Relaxed),
            recycled: self.inner.recycled.load(Ordering::Relaxed),
        }
    }

    /// Closes idle connections that are older than `pool.recycle` or more than `pool.size`, and publishes the pool's
    /// numbers.
    pub fn upkeep(&self) {
        let recycle = self.inner.settings.recycle;
        let mut spare = self.inner.pool.status().size.saturating_sub(self.inner.settings.size);
        let mut old = 0;
        self.inner.pool.retain(|_, metrics| {
            let (is_old, is_spare) = (metrics.age() >= recycle, spare > 0);
            old += u64::from(is_old);
            spare -= usize::from(is_spare);
            !is_old && !is_spare
        });
        self.inner.recycled.fetch_add(old, Ordering::Relaxed);
        // Those that were found old when they were asked for are counted here as well.
        let recycled = self.inner.recycled.load(Ordering::Relaxed);
        let told = self.inner.recycled_told.swap(recycled, Ordering::Relaxed);
        if recycled > told {
            PoolRecycled { database: &self.inner.database, connections: recycled - told }.emit();
        }
        let state = self.state();
        PoolGauges {
            database: &self.inner.database,
            idle: state.idle,
            in_use: state.in_use,
            max: state.max,
            waiting: state.waiting,
        }
        .emit();
    }

    /// Closes the idle connections, and forgets which file they belonged to: another may take its place now without that
    /// being told of. Lent ones are closed when they come back.
    pub fn let_go(&self) {
        *self.inner.known() = None;
        drop(self.inner.pool.retain(|_, _| false));
    }

    /// Lets go of the idle connections; lent ones are closed when they come back.
    pub fn close(&self) {
        self.inner.pool.close();
    }

    /// A connection, with as many attempts as `pool.retries` says.
    async fn get(&self) -> Result<Lent> {
        let inner = &self.inner;
        let mut attempt = 1;
        loop {
            let error = match self.try_get(attempt).await {
                Ok(lent) => return Ok(lent),
                Err(error) => error,
            };
            if error.class() != crate::error::Class::Transient || attempt >= inner.settings.retries {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(inner.settings.retry_delay).await;
        }
    }

    async fn try_get(&self, attempt: u32) -> Result<Lent> {
        let inner = &self.inner;
        let path = inner.path.clone();
        // A disk may hang, and must then hold up this call alone.
        let identity = tokio::task::spawn_blocking(move || access::check(&path))
            .await
            .unwrap_or_else(|_| Err(panicked()))?;
        inner.forget_connections_to_another_file(identity);
        let asked = Instant::now();
        let got = inner.pool.get().await;
        let (database, waited) = (inner.database.as_str(), asked.elapsed());
        if got.is_ok() {
            PoolWaited { database, waited }.emit();
        }
        got.map(|connection| Lent { connection, identity }).map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => {
                inner.timeouts.fetch_add(1, Ordering::Relaxed);
                PoolTimedOut { database, waited, attempt }.emit();
                Error::new(
                    Reason::PoolTimeout,
                    format!(
                        "all {} connections were in use for {}; raise pool.size or pool.max_overflow, or let fewer \
                         jobs run at the same time",
                        inner.settings.size + inner.settings.max_overflow,
                        show_duration(inner.settings.timeout)
                    ),
                )
            }
            PoolError::Timeout(_) => Error::new(
                Reason::PoolTimeout,
                format!("{} could not be opened within {}", inner.path.display(), show_duration(inner.settings.timeout)),
            ),
            PoolError::Backend(e)
            | PoolError::PostCreateHook(deadpool_sqlite::HookError::Backend(e)) => {
                Error::from(e).context(format!("cannot open {}", inner.path.display()))
            }
            PoolError::Closed => Error::new(Reason::Cancelled, "the database was removed from the configuration"),
            other => Error::new(Reason::Sqlite, format!("cannot open {}: {other}", inner.path.display())),
        })
    }
}

impl Inner {
    /// An overflow connection is closed when nobody waits for it; one to a file that is no longer the database,
    /// always.
    fn give_back(&self, connection: Object, identity: access::Identity) {
        let now = self.pool.status();
        let is_overflow = now.size > self.settings.size && now.waiting == 0;
        let is_to_another_file = *self.known() != Some(identity);
        if is_overflow || is_to_another_file {
            drop(Object::take(connection));
        }
    }

    /// SQLite's own texts for a file that is none of its databases, and for one that it cannot read or write, do not
    /// say which, nor why.
    async fn named(&self, error: Error) -> Error {
        let path = self.path.clone();
        let looked = move |error: Error| match error.reason {
            Reason::NotADatabase if error.message.contains(NOT_A_DATABASE) => header::explain(&path),
            Reason::Permission if error.message.contains(READ_ONLY) => header::not_writable(&path)
                .unwrap_or_else(|| error.context(format!("{} cannot be written", path.display()))),
            Reason::Io if error.message.contains(DISK_ERROR) => {
                let remedy = if error.message.ends_with(DISK_ERROR) { BAD_DISK } else { "" };
                let mut error = error.context(path.display());
                error.message += remedy;
                error
            }
            _ => error,
        };
        tokio::task::spawn_blocking(move || looked(error)).await.unwrap_or_else(|_| panicked())
    }

    fn replaced(&self) -> Error {
        Error::new(
            Reason::Replaced,
            format!(
                "another file was put in place of {} during the run, which was stopped; restart whatever still has the \
                 old one open, because what it writes is lost, and see that nothing moves a database while it is in \
                 use (litekeeper restore --in-place looks)",
                self.path.display()
            ),
        )
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<access::Identity>> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_connections_to_another_file(&self, identity: access::Identity) {
        let mut known = self.known();
        if known.is_some_and(|known| known != identity) {
            tracing::warn!(
                database = self.database,
                path = %self.path.display(),
                reason = Reason::Replaced.as_str(),
                "another file was put in place of the database; the connections to the old one are closed; whatever \
                 still has it open loses what it writes: restart it"
            );
            drop(self.pool.retain(|_, _| false));
        }
        *known = Some(identity);
    }
}

/// A connection, and the file that it belongs to.
struct Lent {
    connection: Object,
    identity: access::Identity,
}

/// Stops the SQL when the future that waits for it is dropped.
struct StopOnDrop(Arc<Limits>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Turns what the session sees into metrics and slow statements.
struct Statements {
    inner: Arc<Inner>,
    job: &'static str,
    slow: Arc<Mutex<Vec<SlowStatement>>>,
}

impl Observer for Statements {
    fn statement(&self, finished: &Finished<'_>) {
        let database = &self.inner.database;
        QueryTimed { database, job: self.job, duration: finished.duration }.emit();
        if finished.duration < self.inner.slow_threshold {
            return;
        }
        self.slow.lock().unwrap_or_else(PoisonError::into_inner).push(SlowStatement {
            database: database.clone(),
            job: self.job,
            sql: finished.sql.to_owned(),
            at: crate::clock::now(),
            duration: finished.duration,
            vm_steps: finished.vm_steps,
            full_scan_steps: finished.full_scan_steps,
            sorts: finished.sorts,
            automatic_indexes: finished.automatic_indexes,
            plan: None,
            names: Arc::default(),
        });
    }

    fn busy(&self, attempt: u32) {
        BusyRetry { database: &self.inner.database, job: self.job, attempt }.emit();
    }
}

/// Sends the slow statements of a session on, with their plans. Outside of the session nothing waits for a lock.
fn tell(connection: &Connection, slow: &Mutex<Vec<SlowStatement>>, to: &UnboundedSender<SlowStatement>) {
    let mut slow = std::mem::take(&mut *slow.lock().unwrap_or_else(PoisonError::into_inner));
    if slow.is_empty() {
        return;
    }
    let names: Arc<[String]> = schema::names(connection).unwrap_or_default().into();
    let mut plans: BTreeMap<String, Option<Vec<Step>>> = BTreeMap::new();
    for statement in &mut slow {
        statement.names = Arc::clone(&names);
        if plans.len() < EXPLAINED || plans.contains_key(&statement.sql) {
            let plan = || explain::without_values(connection, &statement.sql).ok();
            statement.plan = plans.entry(statement.sql.clone()).or_insert_with(plan).clone();
        }
    }
    for statement in slow {
        // Nobody listens any more only while the process ends.
        let _ = to.send(statement);
    }
}

fn panicked() -> Error {
    Error::new(Reason::Panic, "the work panicked: a defect in litekeeper; the log has the place")
}
