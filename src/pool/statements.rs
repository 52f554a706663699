//! What becomes of the statements that a session sees: metrics, and for the slow ones a plan and a
//! word to whoever keeps them. Must never wait for a lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::session::{Observer, StatementTiming};
use crate::metrics::events::{BusyRetry, QueryTimed, SlowQueriesDropped};
use crate::sqlite::look::explain::{self, PlanStep};
use crate::sqlite::look::schema;

/// Different statements of one piece of work whose plans are asked for.
const EXPLAINED: usize = 16;

/// Slow statements of one piece of work that are told of, and of all that wait to be kept: with a
/// low threshold, or where `state.db` cannot keep up, more are only counted.
const MOST_OF_ONE: usize = 256;
/// See [`slow_statements`].
pub const MOST_WAITING: usize = 1024;

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
    /// Its plan, asked for after the work; `None` where it has none, or could not be asked for
    /// without waiting.
    pub plan: Option<Vec<PlanStep>>,
    /// The names that the schema has: what else is in the statement or its plan may be data.
    pub names: Arc<[String]>,
}

/// The way from the pools to whoever keeps slow statements, on which so many may wait.
pub fn slow_statements(most: usize) -> (SlowSender, SlowReceiver) {
    let (to, from) = mpsc::channel(most);
    let dropped = Arc::<AtomicU64>::default();
    (SlowSender { to, dropped: Arc::clone(&dropped) }, SlowReceiver { from, dropped })
}

/// Where pools tell of slow statements.
#[derive(Debug, Clone)]
pub struct SlowSender {
    to: Sender<SlowStatement>,
    dropped: Arc<AtomicU64>,
}

impl SlowSender {
    /// Tells of one, or counts it where too many wait already.
    pub fn send(&self, statement: SlowStatement) {
        // Nobody listens any more only while the process ends.
        if let Err(TrySendError::Full(statement)) = self.to.try_send(statement) {
            self.dropped(&statement.database, 1);
        }
    }

    fn dropped(&self, database: &str, statements: u64) {
        self.dropped.fetch_add(statements, Ordering::Relaxed);
        SlowQueriesDropped { database, statements }.emit();
    }
}

/// Where slow statements come out.
#[derive(Debug)]
pub struct SlowReceiver {
    from: Receiver<SlowStatement>,
    dropped: Arc<AtomicU64>,
}

impl SlowReceiver {
    /// The next one; `None` when nobody can send any more.
    pub async fn recv(&mut self) -> Option<SlowStatement> {
        self.from.recv().await
    }

    /// One that is there already.
    pub fn try_recv(&mut self) -> Option<SlowStatement> {
        self.from.try_recv().ok()
    }

    /// How many were dropped since this was last asked.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// Turns what the session sees into metrics and slow statements.
pub(super) struct Statements {
    database: String,
    slow_threshold: Duration,
    job: &'static str,
    slow: Slow,
}

/// The slow statements of one session, and how many more there were.
pub(super) type Slow = Arc<Mutex<(Vec<SlowStatement>, u64)>>;

impl Statements {
    pub(super) fn new(database: &str, slow_threshold: Duration, job: &'static str) -> Self {
        Self { database: database.to_owned(), slow_threshold, job, slow: Slow::default() }
    }

    pub(super) fn slow(&self) -> Slow {
        Arc::clone(&self.slow)
    }
}

impl Observer for Statements {
    fn statement(&self, finished: &StatementTiming<'_>) {
        let database = &self.database;
        QueryTimed { database, job: self.job, duration: finished.duration }.emit();
        if finished.duration < self.slow_threshold {
            return;
        }
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        if slow.0.len() >= MOST_OF_ONE {
            slow.1 += 1;
            return;
        }
        slow.0.push(SlowStatement {
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
        BusyRetry { database: &self.database, job: self.job, attempt }.emit();
    }
}

/// Sends the slow statements of a session on, with their plans. Outside of the session nothing
/// waits for a lock.
pub(super) fn tell(connection: &Connection, slow: &Mutex<(Vec<SlowStatement>, u64)>, to: &SlowSender) {
    let (mut slow, more) = std::mem::take(&mut *slow.lock().unwrap_or_else(PoisonError::into_inner));
    let Some(first) = slow.first() else { return };
    if more > 0 {
        to.dropped(&first.database, more);
    }
    let names: Arc<[String]> = schema::names(connection).unwrap_or_default().into();
    let mut plans: BTreeMap<String, Option<Vec<PlanStep>>> = BTreeMap::new();
    for statement in &mut slow {
        statement.names = Arc::clone(&names);
        if plans.len() < EXPLAINED || plans.contains_key(&statement.sql) {
            let plan = || explain::without_values(connection, &statement.sql).ok();
            statement.plan = plans.entry(statement.sql.clone()).or_insert_with(plan).clone();
        }
    }
    for statement in slow {
        to.send(statement);
    }
}
