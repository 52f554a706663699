//! What becomes of the statements that a session sees: metrics, and for the slow ones a plan and a
//! word to whoever keeps them. Must never wait for a lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use tokio::sync::mpsc::UnboundedSender;

use super::session::{Observer, StatementTiming};
use crate::metrics::events::{BusyRetry, QueryTimed};
use crate::sqlite::look::explain::{self, PlanStep};
use crate::sqlite::look::schema;

/// Different statements of one piece of work whose plans are asked for.
const EXPLAINED: usize = 16;

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

/// Turns what the session sees into metrics and slow statements.
pub(super) struct Statements {
    database: String,
    slow_threshold: Duration,
    job: &'static str,
    slow: Slow,
}

/// The slow statements of one session.
pub(super) type Slow = Arc<Mutex<Vec<SlowStatement>>>;

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
        BusyRetry { database: &self.database, job: self.job, attempt }.emit();
    }
}

/// Sends the slow statements of a session on, with their plans. Outside of the session nothing
/// waits for a lock.
pub(super) fn tell(
    connection: &Connection,
    slow: &Mutex<Vec<SlowStatement>>,
    to: &UnboundedSender<SlowStatement>,
) {
    let mut slow = std::mem::take(&mut *slow.lock().unwrap_or_else(PoisonError::into_inner));
    if slow.is_empty() {
        return;
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
        // Nobody listens any more only while the process ends.
        let _ = to.send(statement);
    }
}
