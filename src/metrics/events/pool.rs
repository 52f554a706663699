//! How a database's connections fare.

use std::time::Duration;

use super::LOG;
use crate::metrics::names as n;

/// The pool as it stands. No log line.
#[derive(Debug)]
pub struct PoolGauges<'a> {
    /// The database.
    pub database: &'a str,
    /// Open and not in use.
    pub idle: usize,
    /// In use.
    pub in_use: usize,
    /// Most connections that the pool opens.
    pub max: usize,
    /// Callers that wait for one.
    pub waiting: usize,
}

impl PoolGauges<'_> {
    /// Writes the metrics.
    pub fn emit(&self) {
        n::POOL_CONNECTIONS.gauge([self.database, "idle"]).set(self.idle as f64);
        n::POOL_CONNECTIONS.gauge([self.database, "in_use"]).set(self.in_use as f64);
        n::POOL_MAX_CONNECTIONS.gauge([self.database]).set(self.max as f64);
        n::POOL_WAITING.gauge([self.database]).set(self.waiting as f64);
    }
}

/// A caller got a connection. No log line.
#[derive(Debug)]
pub struct PoolWaited<'a> {
    /// The database.
    pub database: &'a str,
    /// How long it took.
    pub waited: Duration,
}

impl PoolWaited<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::POOL_WAIT.histogram([self.database]).record(self.waited.as_secs_f64());
    }
}

/// A caller got no connection in time.
#[derive(Debug)]
pub struct PoolTimedOut<'a> {
    /// The database.
    pub database: &'a str,
    /// How long it waited.
    pub waited: Duration,
    /// Which try this was, from 1.
    pub attempt: u32,
}

impl PoolTimedOut<'_> {
    /// Writes the log line and the metrics.
    pub fn emit(&self) {
        let (database, attempt, seconds) = (self.database, self.attempt, self.waited.as_secs_f64());
        n::POOL_TIMEOUTS.counter([database]).increment(1);
        n::POOL_WAIT.histogram([database]).record(seconds);
        tracing::warn!(target: LOG, database, seconds, attempt, "no free connection within pool.timeout");
    }
}

/// A connection was replaced.
#[derive(Debug)]
pub struct PoolRecycled<'a> {
    /// The database.
    pub database: &'a str,
    /// How many at once.
    pub connections: u64,
}

impl PoolRecycled<'_> {
    /// Writes the log line and the metric.
    pub fn emit(&self) {
        n::POOL_RECYCLED.counter([self.database]).increment(self.connections);
        let (database, connections) = (self.database, self.connections);
        tracing::debug!(target: LOG, database, connections, "connections replaced");
    }
}

/// A statement is tried again because the application holds the lock.
#[derive(Debug)]
pub struct BusyRetry<'a> {
    /// The database.
    pub database: &'a str,
    /// The kind of job.
    pub job: &'a str,
    /// Which try failed, from 1.
    pub attempt: u32,
}

impl BusyRetry<'_> {
    /// Writes the log line and the metric.
    pub fn emit(&self) {
        let Self { database, job, attempt } = *self;
        n::BUSY_RETRIES.counter([database]).increment(1);
        tracing::debug!(target: LOG, database, job, attempt, "database is locked by the application, trying again");
    }
}
