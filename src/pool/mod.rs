//! CONNECTIONS to one database: the only room that names deadpool, and where the asynchronous world
//! ends. Work comes in as a closure over one connection, on the thread of the job that asks, with
//! its deadline and its cancellation, either of which ends its SQL; every statement is timed. Must
//! never open a file that is missing, nor one whose sidecars the application could not write
//! afterwards.

mod call;
mod files;
mod lend;
mod open;
mod session;
mod statements;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use deadpool_sqlite::{Metrics, Object};

use crate::config::{self, Database};
use crate::descriptors;
use crate::error::Result;
use crate::metrics::events::{PoolGauges, PoolRecycled};
pub use call::{Call, LogLimit};
use files::{FileWatch, Wrapper};
pub use session::wait_for_locks;
pub use statements::{MOST_WAITING, SlowReceiver, SlowSender, SlowStatement, slow_statements};

/// How long the end of a process waits for its connections to be closed.
const TO_CLOSE: Duration = Duration::from_secs(2);

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

/// The connections to one database. Cheap to clone; the last clone must be dropped inside the
/// runtime.
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
    slow: SlowSender,
    /// Which files the open connections belong to: others may be put in their place under us.
    files: Arc<FileWatch>,
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
    /// The pool of a database. Opens nothing yet: a database that is missing today may be there
    /// tomorrow.
    pub fn new(database: &Database, slow: SlowSender) -> Result<Self> {
        let pool = open::build(&database.path, &database.pool)?;
        Ok(Self {
            inner: Arc::new(Inner {
                database: database.name.clone(),
                path: database.path.clone(),
                settings: database.pool.clone(),
                slow_threshold: database.watch.slow_threshold,
                pool,
                slow,
                files: Arc::new(FileWatch::new(&database.name, database.path.clone())),
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

    /// Closes idle connections that are older than `pool.recycle` or more than `pool.size`, and
    /// publishes the pool's numbers.
    pub fn upkeep(&self) {
        self.inner.replace_old();
        if descriptors::are_scarce() {
            self.inner.close_where(|_| true);
        }
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

    /// Closes the idle connections: another file may take the database's place now without that
    /// being told of. Lent ones are closed when they come back.
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
}

impl Inner {
    /// An overflow connection is closed when nobody waits for it; one to files that are no longer
    /// the database's, always; the others after a while.
    fn give_back(self: &Arc<Self>, connection: Object, generation: u64) {
        let now = self.pool.status();
        let is_overflow = now.size > self.settings.size && now.waiting == 0;
        // Kept, it would be one of another database's.
        let is_scarce = descriptors::are_scarce();
        if is_overflow || is_scarce || generation != self.files.generation() || self.pool.is_closed() {
            return self.files.close(vec![Object::take(connection)], generation);
        }
        drop(connection);
        *self.last_use.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if !self.is_watched.swap(true, Ordering::Relaxed) {
            tokio::spawn(close_when_idle(Arc::downgrade(self)));
        }
    }

    /// Counts a caller that got no connection in time.
    fn timed_out(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
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
    fn idle(&self, mut choose: impl FnMut(&Metrics) -> bool) -> Vec<Wrapper> {
        self.pool.retain(|_, metrics| !choose(&metrics)).removed
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
            // Before: one that is given back from here on finds somebody to close it, or has it
            // done now.
            inner.is_watched.store(false, Ordering::Relaxed);
            return inner.close_where(|_| true);
        }
        drop(inner);
        tokio::time::sleep(left).await;
    }
}

/// For work given to [`Pool::run`] that waits for something else than its connection's SQL: an
/// error when it must stop.
pub fn go_on() -> Result<()> {
    session::check()
}
