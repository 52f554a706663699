//! One stretch of work on one connection: its limits, and the timing of its statements. SQLite's
//! callbacks are plain functions without a context of their own, so the session lies in a thread
//! local while the work runs: a connection never leaves its blocking thread during one call. Must
//! never touch the database itself.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, InterruptHandle, StatementStatus};
use tokio_util::sync::CancellationToken;

use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};

/// Virtual machine instructions between two looks at the limits: some 50 µs of work, so that a stop
/// is prompt and its cost does not show.
const STEPS_BETWEEN_LOOKS: i32 = 4000;

/// Longest pause between two attempts to take a lock. SQLite's own handler ends at 100 ms as well.
const LONGEST_BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The same for work that only reads. A writer outside WAL mode may leave but some milliseconds
/// between its transactions.
const LONGEST_PAUSE_TO_READ: Duration = Duration::from_millis(5);

/// When to stop. Shared between the asynchronous side, which sets it, and SQLite's callbacks, which
/// obey.
pub(super) struct Limits {
    cancel: CancellationToken,
    /// By something else, with this error.
    stopped: OnceLock<Error>,
    deadline: Option<Instant>,
    /// The deadline of a read alone, later by as long as it waits for locks.
    until: Mutex<Option<Instant>>,
    longest_pause: Duration,
    busy_timeout: Duration,
    /// Present exactly while the session runs, so that a late interrupt never hits the connection's
    /// next user.
    interrupt: Mutex<Option<InterruptHandle>>,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Limits {
    pub(super) fn new(deadline: Option<Instant>, busy_timeout: Duration, cancel: CancellationToken) -> Self {
        Self {
            cancel,
            stopped: OnceLock::new(),
            deadline,
            until: Mutex::new(None),
            longest_pause: LONGEST_BUSY_PAUSE,
            busy_timeout,
            interrupt: Mutex::new(None),
        }
    }

    /// The same for work that only reads, and for no longer than its allowance from now on.
    pub(super) fn reading(self, is_read: bool, allowance: Option<Duration>) -> Self {
        let longest_pause = if is_read { LONGEST_PAUSE_TO_READ } else { self.longest_pause };
        Self { until: Mutex::new(allowance.map(|most| Instant::now() + most)), longest_pause, ..self }
    }

    /// A lock is waited for so long, and nothing else done.
    fn wait(&self, pause: Duration) {
        let pause = pause.min(self.time_left());
        // Before: nobody must find it late meanwhile.
        if let Some(until) = self.until.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *until += pause;
        }
        std::thread::sleep(pause);
    }

    /// Ends the work with this error: the running statement now, any later one as soon as it
    /// begins.
    pub(super) fn stop(&self, why: Error) {
        // The first reason is the one that counts.
        let _ = self.stopped.set(why);
        self.interrupt();
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        self.deadline.into_iter().chain(until).min()
    }

    /// Ends the running statement. The progress handler alone would not: some single instructions
    /// (sorting, a check of one large table, a checkpoint) run for seconds, and look only at
    /// SQLite's own flag.
    pub(super) fn interrupt(&self) {
        if let Some(handle) = &*self.handle() {
            handle.interrupt();
        }
    }

    fn handle(&self) -> MutexGuard<'_, Option<InterruptHandle>> {
        self.interrupt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_late(&self) -> bool {
        self.deadline().is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn time_left(&self) -> Duration {
        self.deadline().map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn must_stop(&self) -> bool {
        self.cancel.is_cancelled() || self.stopped.get().is_some() || self.is_late()
    }

    /// Why the work must stop, if it must.
    pub(super) fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            let text = "stopped before it was finished; what it had begun was rolled back";
            return Err(Error::new(Reason::Cancelled, text));
        }
        if let Some(why) = self.stopped.get() {
            return Err(why.clone());
        }
        if self.is_late() {
            let text = "took longer than it may and was stopped; what it had begun was rolled back";
            return Err(Error::new(Reason::Deadline, text));
        }
        Ok(())
    }
}

/// What is known of one finished statement.
#[derive(Debug, Clone)]
pub(super) struct StatementTiming<'a> {
    /// With its literals: never to be logged as it is.
    pub(super) sql: &'a str,
    pub(super) duration: Duration,
    pub(super) vm_steps: u64,
    pub(super) full_scan_steps: u64,
    pub(super) sorts: u64,
    pub(super) automatic_indexes: u64,
}

/// Receives what the session sees.
pub(super) trait Observer {
    /// A statement of the work has finished.
    fn statement(&self, finished: &StatementTiming<'_>);
    /// A lock was held by somebody else and is tried for again.
    fn busy(&self, attempt: u32);
}

struct StatementStart {
    /// Address of the statement's SQL text: the one thing that a trace event tells of a statement's
    /// identity, and unique while the statement lives.
    key: usize,
    since: Instant,
    /// The counters are cumulative over the runs of a cached statement.
    before: Counters,
}

#[derive(Clone, Copy)]
struct Counters {
    vm_steps: i32,
    full_scan_steps: i32,
    sorts: i32,
    automatic_indexes: i32,
}

impl Counters {
    fn of(statement: &rusqlite::trace::StmtRef<'_>) -> Self {
        Self {
            vm_steps: statement.get_status(StatementStatus::VmStep),
            full_scan_steps: statement.get_status(StatementStatus::FullscanStep),
            sorts: statement.get_status(StatementStatus::Sort),
            automatic_indexes: statement.get_status(StatementStatus::AutoIndex),
        }
    }
}

struct Session {
    limits: Arc<Limits>,
    observer: Box<dyn Observer>,
    running: Vec<StatementStart>,
    busy_since: Instant,
    /// A lock was waited for in vain.
    gave_up: bool,
}

thread_local! {
    static CURRENT: RefCell<Option<Session>> = const { RefCell::new(None) };
    static WAITS: Cell<bool> = const { Cell::new(true) };
}

/// Whether the work that runs on this thread waits for locks, as it does at first: who has chosen
/// the moment for a transaction does not want it at another one.
pub fn wait_for_locks(yes: bool) {
    WAITS.set(yes);
}

/// Puts the callbacks on a new connection. Outside a session they do nothing.
pub(super) fn install(connection: &Connection) -> rusqlite::Result<()> {
    let events = TraceEventCodes::SQLITE_TRACE_STMT | TraceEventCodes::SQLITE_TRACE_PROFILE;
    connection.trace_v2(events, Some(on_trace));
    connection.busy_handler(Some(on_busy))
}

/// Whether the work of the session on this thread may go on, where it is not its own connection's
/// SQL that would be stopped. Without a session, it may.
pub(super) fn check() -> Result<()> {
    CURRENT.with_borrow(|current| current.as_ref().map_or(Ok(()), |session| session.limits.check()))
}

/// Ends the session, also when the work panics.
struct Leave<'a>(&'a Limits);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.handle().take();
        wait_for_locks(true);
        CURRENT.with(|current| current.replace(None));
    }
}

/// Runs `work` under `limits`, with its statements reported to `observer`. A transaction that the
/// work leaves open is rolled back.
pub(super) fn run<T>(
    connection: &mut Connection,
    limits: &Arc<Limits>,
    observer: Box<dyn Observer>,
    work: impl FnOnce(&mut Connection) -> Result<T>,
) -> Result<T> {
    *limits.handle() = Some(connection.get_interrupt_handle());
    let _leave = Leave(limits);
    limits.check()?;
    let session = Session {
        limits: Arc::clone(limits),
        observer,
        running: Vec::new(),
        busy_since: Instant::now(),
        gave_up: false,
    };
    CURRENT.with(|current| current.replace(Some(session)));
    let watched = Arc::clone(limits);
    connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || watched.must_stop()))?;
    let result = work(connection);
    let gave_up = CURRENT.with_borrow(|current| current.as_ref().is_some_and(|session| session.gave_up));
    // From here on nothing is to be stopped, the rollback least of all.
    limits.handle().take();
    connection.progress_handler(0, None::<fn() -> bool>)?;
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    result.map_err(|error| match error.reason {
        // An interrupted statement, or a lock that we stopped waiting for because we had to.
        Reason::Cancelled => limits.check().err().unwrap_or(error),
        Reason::Busy => limits.check().err().unwrap_or_else(|| {
            // By something else than a wait of SQLite's: it says what.
            if !gave_up {
                return error;
            }
            let limit = show_duration(limits.busy_timeout);
            Error::new(
                Reason::Busy,
                format!(
                    "another connection held the database locked for longer than pool.busy_timeout ({limit})"
                ),
            )
        }),
        _ => error,
    })
}

fn on_busy(attempt: i32) -> bool {
    CURRENT.with(|current| {
        let mut current = current.borrow_mut();
        let Some(session) = current.as_mut().filter(|_| WAITS.get()) else { return false };
        if attempt == 0 {
            session.busy_since = Instant::now();
        }
        session.gave_up =
            session.limits.must_stop() || session.busy_since.elapsed() >= session.limits.busy_timeout;
        if session.gave_up {
            return false;
        }
        session.observer.busy(u32::try_from(attempt).unwrap_or(0) + 1);
        let pause = Duration::from_millis(1 << attempt.clamp(0, 7)).min(session.limits.longest_pause);
        // Whoever waits with a lock of his own, as a checkpoint does, must not wait past his time.
        session.limits.wait(pause);
        true
    })
}

fn on_trace(event: TraceEvent<'_>) {
    CURRENT.with(|current| {
        // Borrowed already only if an observer ran SQL on the same connection, which none does.
        let Ok(mut current) = current.try_borrow_mut() else { return };
        let Some(session) = current.as_mut() else { return };
        match event {
            TraceEvent::Stmt(statement, text) => {
                let sql = statement.sql();
                // Trigger programs, and what VACUUM, ANALYZE and virtual tables run inside a
                // statement, announce themselves with a comment in place of their text; they are
                // part of that statement.
                if text != sql {
                    return;
                }
                session.running.push(StatementStart {
                    key: sql.as_ptr().addr(),
                    since: Instant::now(),
                    before: Counters::of(&statement),
                });
                // SQLite forgets an interrupt that came between two statements, and one that is
                // short never reaches the progress handler: work made of many would go on to its
                // end.
                if session.limits.must_stop() {
                    session.limits.interrupt();
                }
            }
            TraceEvent::Profile(statement, _) => {
                let sql = statement.sql();
                let key = sql.as_ptr().addr();
                let Some(at) = session.running.iter().rposition(|r| r.key == key) else { return };
                let started = session.running.remove(at);
                let after = Counters::of(&statement);
                // SQLite counts in 32 bits without a sign: half a minute of work already turns them
                // negative.
                let since = |after: i32, before: i32| u64::from(after.wrapping_sub(before).cast_unsigned());
                session.observer.statement(&StatementTiming {
                    sql: &sql,
                    duration: started.since.elapsed(),
                    vm_steps: since(after.vm_steps, started.before.vm_steps),
                    full_scan_steps: since(after.full_scan_steps, started.before.full_scan_steps),
                    sorts: since(after.sorts, started.before.sorts),
                    automatic_indexes: since(after.automatic_indexes, started.before.automatic_indexes),
                });
            }
            _ => {}
        }
    });
}

/// What a caller gets whose work panicked.
pub(super) fn panicked() -> Error {
    Error::new(Reason::Panic, "the work panicked: a defect in litekeeper; the log has the place")
}
