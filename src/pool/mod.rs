//! CONNECTIONS to one database: the only room that names deadpool, and where the asynchronous world ends.
//! Work comes in as a closure over one connection, with the job that asks, a deadline and a cancellation; every
//! statement is timed; whatever ends the wait for the work also ends its SQL.
//! Must never open a file that is missing, nor one whose sidecars the application could not write afterwards.

mod call;
mod files;
mod open;
mod session;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use deadpool_sqlite::{Metrics, Object, PoolError, TimeoutType};
use rusqlite::Connection;
use tokio::sync::RwLockReadGuard;
use tokio::sync::mpsc::UnboundedSender;

use crate::config::units::show_duration;
use crate::config::{self, Database};
use crate::error::{DISK_ERROR, Error, Reason, Result};
use crate::metrics::events::{BusyRetry, PoolGauges, PoolRecycled, PoolTimedOut, PoolWaited, QueryTimed};
use crate::sqlite::files::header;
use crate::sqlite::look::explain::{self, Step};
use crate::sqlite::look::schema;
use crate::sqlite::open as open_file;
pub use call::Call;
use files::{Admission, Files, Taken};
pub use session::wait_for_locks;
use session::{Finished, Limits, Observer};

/// Different statements of one piece of work whose plans are asked for.
const EXPLAINED: usize = 16;

/// How long the end of a process waits for its connections to be closed.
const TO_CLOSE: Duration = Duration::from_secs(2);

/// How often files may be replaced one after the other before a call gives up.
const ADMISSIONS: usize = 3;

/// SQLite's words, which name no file.
const NOT_A_DATABASE: &str = "file is not a database";
const READ_ONLY: &str = "attempt to write a readonly database";

/// What to do about an error of the operating system that has no better remedy.
const BAD_DISK: &str = "; the disk or its driver fails: see the kernel's log (dmesg), and copy the backups to another disk \
                        before anything else";

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
    /// Connections that stay open while work goes on.
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
    /// Which files the open connections belong to: others may be put in their place under us.
    files: Arc<Files>,
    /// When a connection was last given back.
    last_use: Mutex<Instant>,
    /// Whether somebody waits to close those that are idle for too long.
    is_watched: AtomicBool,
    timeouts: AtomicU64,
    recycled: AtomicU64,
    /// How many of them the metrics know of.
    recycled_told: AtomicU64,
}

impl Pool {
    /// The pool of a database. Opens nothing yet: a database that is missing today may be there tomorrow.
    pub fn new(database: &Database, slow: UnboundedSender<SlowStatement>) -> Result<Self> {
        let pool = open::build(&database.path, &database.pool)?;
        Ok(Self {
            inner: Arc::new(Inner {
                database: database.name.clone(),
                path: database.path.clone(),
                settings: database.pool.clone(),
                slow_threshold: database.watch.slow_threshold,
                pool,
                slow,
                files: Arc::new(Files::new(&database.name, database.path.clone())),
                last_use: Mutex::new(Instant::now()),
                is_watched: AtomicBool::new(false),
                timeouts: AtomicU64::new(0),
                recycled: AtomicU64::new(0),
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
    /// place of the one that the run began with, by which it has decided what to do, or of what lies beside it; whatever
    /// stands in the way of opening.
    pub async fn run<T, F>(&self, call: &Call, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let Lent { connection, generation } = tokio::select! {
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
        if *call.generation.get_or_init(|| generation) != generation {
            self.inner.give_back(connection, generation);
            return Err(self.inner.files.replaced());
        }
        let limits = Arc::new(Limits::new(call.deadline, self.inner.settings.busy_timeout, false));
        let stop = StopOnDrop(Arc::clone(&limits));
        let slow = Arc::default();
        let observer = Statements { inner: Arc::clone(&self.inner), job: call.job, slow: Arc::clone(&slow) };
        let sender = self.inner.slow.clone();
        let (inner, path) = (Arc::clone(&self.inner), self.inner.path.clone());
        let files = Arc::clone(&self.inner.files);
        // Until the SQL has stopped the connection belongs to this task, also when nobody waits any more.
        let mut task = tokio::spawn(async move {
            let done = connection
                .interact(move |connection| {
                    if !files.are_in_place(generation) {
                        return Ok((Err(files.replaced()), false));
                    }
                    open_file::leave_log_to_replicator(connection, &path)?;
                    files.note(connection, generation);
                    let result = session::run(connection, &limits, Box::new(observer), work);
                    files.note(connection, generation);
                    tell(connection, &slow, &sender);
                    Ok::<_, rusqlite::Error>((result, connection.is_autocommit()))
                })
                .await
                .map(|done| done.unwrap_or_else(|error| (Err(error.into()), true)));
            if matches!(done, Ok((_, true))) {
                inner.give_back(connection, generation);
            } else {
                // Closed, so that a transaction of the work that panicked, or that could not be rolled back, does not
                // stay open with its locks.
                inner.files.close(vec![Object::take(connection)], generation);
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
        self.inner.replace_old();
        let mut spare = self.inner.pool.status().size.saturating_sub(self.inner.settings.size);
        self.inner.close_where(|_| {
            let is_spare = spare > 0;
            spare -= usize::from(is_spare);
            is_spare
        });
        // Those that were found old when a connection was asked for are counted here as well.
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

    /// Closes the idle connections: another file may take the database's place now without that being told of. Lent ones
    /// are closed when they come back.
    pub fn let_go(&self) {
        self.inner.files.let_go();
        self.inner.close_where(|_| true);
    }

    /// Lets go of the idle connections; lent ones are closed when they come back.
    pub fn close(&self) {
        self.inner.close_where(|_| true);
        self.inner.pool.close();
    }

    /// Lets go of the idle connections, and waits until they are closed; not for a disk that hangs.
    pub async fn end(&self) {
        self.close();
        let _ = tokio::time::timeout(TO_CLOSE, self.inner.files.closed()).await;
    }

    /// Whether the database is known to be damaged: then no close of ours empties its log.
    pub fn set_damaged(&self, is_damaged: bool) {
        self.inner.files.set_damaged(is_damaged);
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
        inner.replace_old();
        // Until the connection is open, none is closed.
        let (gate, generation) = inner.admit().await?;
        let asked = Instant::now();
        let got = inner.pool.get().await;
        drop(gate);
        let (database, waited) = (inner.database.as_str(), asked.elapsed());
        if got.is_ok() {
            PoolWaited { database, waited }.emit();
        }
        got.map(|connection| Lent { connection, generation }).map_err(|error| match error {
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
    /// An overflow connection is closed when nobody waits for it; one to files that are no longer the database's,
    /// always; the others after a while.
    fn give_back(self: &Arc<Self>, connection: Object, generation: u64) {
        let now = self.pool.status();
        let is_overflow = now.size > self.settings.size && now.waiting == 0;
        if is_overflow || generation != self.files.generation() || self.pool.is_closed() {
            return self.files.close(vec![Object::take(connection)], generation);
        }
        drop(connection);
        *self.last_use.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if !self.is_watched.swap(true, Ordering::Relaxed) {
            tokio::spawn(close_when_idle(Arc::downgrade(self)));
        }
    }

    /// The generation to which a connection may be opened, for as long as the guard is there. Connections to other files
    /// are closed first.
    async fn admit(&self) -> Result<(RwLockReadGuard<'_, ()>, u64)> {
        for _ in 0..ADMISSIONS {
            match self.files.admit(|| self.pool.status().size).await? {
                Admission::Granted(gate, generation) => return Ok((gate, generation)),
                Admission::Replaced => self.files.renew(|| self.idle(|_| true)).await?,
            }
        }
        Err(self.files.replaced())
    }

    fn replace_old(&self) {
        let old = self.idle(|metrics| metrics.age() >= self.settings.recycle);
        self.recycled.fetch_add(old.len() as u64, Ordering::Relaxed);
        self.files.close(old, self.files.generation());
    }

    fn close_where(&self, choose: impl FnMut(&Metrics) -> bool) {
        let generation = self.files.generation();
        self.files.close(self.idle(choose), generation);
    }

    /// Takes those idle connections out of the pool.
    fn idle(&self, mut choose: impl FnMut(&Metrics) -> bool) -> Vec<Taken> {
        self.pool.retain(|_, metrics| !choose(&metrics)).removed
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
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close_where(|_| true);
    }
}

/// Closes the idle connections to a database once none was used for `pool.idle`.
async fn close_when_idle(of: Weak<Inner>) {
    loop {
        let Some(inner) = of.upgrade() else { return };
        let unused = inner.last_use.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let left = inner.settings.idle.saturating_sub(unused);
        if left.is_zero() {
            // Before: one that is given back from here on finds somebody to close it, or has it done now.
            inner.is_watched.store(false, Ordering::Relaxed);
            return inner.close_where(|_| true);
        }
        drop(inner);
        tokio::time::sleep(left).await;
    }
}

/// For work given to [`Pool::run`] that waits for something else than its connection's SQL: an error when it must stop.
pub fn go_on() -> Result<()> {
    session::check()
}

/// A connection, and which files it belongs to.
struct Lent {
    connection: Object,
    generation: u64,
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
