//! Slow statements, added up by shape. Literals never get here.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Shapes kept per database; past that, those seen longest ago go.
const KEPT_PER_DATABASE: i64 = 500;

/// One execution of a slow statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The database's name.
    pub database: String,
    /// The job that ran it.
    pub job: &'static str,
    /// The statement without its literals.
    pub shape: String,
    /// When it finished.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// Virtual machine instructions.
    pub vm_steps: u64,
    /// Forward steps of full table scans.
    pub full_scan_steps: u64,
    /// Sorts.
    pub sorts: u64,
    /// Rows put into automatic indexes.
    pub automatic_indexes: u64,
}

/// All executions of one shape, added up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// The database's name.
    pub database: String,
    /// The statement without its literals.
    pub shape: String,
    /// The job that last ran it.
    pub job: String,
    /// Executions.
    pub count: u64,
    /// Time of all of them.
    pub total_seconds: f64,
    /// Time of the slowest.
    pub max_seconds: f64,
    /// Virtual machine instructions of all of them.
    pub vm_steps: u64,
    /// Forward steps of full table scans of all of them.
    pub full_scan_steps: u64,
    /// When it was first slow.
    pub first_seen: DateTime<Utc>,
    /// When it was last slow.
    pub last_seen: DateTime<Utc>,
}

/// Adds one execution.
pub fn record(connection: &mut Connection, execution: &Execution) -> Result<()> {
    let micros = i64::try_from(execution.duration.as_micros()).unwrap_or(i64::MAX);
    let transaction = connection.transaction()?;
    transaction.execute(
        "INSERT INTO slow_statement VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?6, ?7, ?8, ?9, ?9) \
         ON CONFLICT DO UPDATE SET job = excluded.job, count = count + 1, total_us = total_us + excluded.total_us, \
         max_us = max(max_us, excluded.max_us), vm_steps = vm_steps + excluded.vm_steps, \
         full_scan_steps = full_scan_steps + excluded.full_scan_steps, sorts = sorts + excluded.sorts, \
         automatic_indexes = automatic_indexes + excluded.automatic_indexes, last_seen = excluded.last_seen",
        (
            &execution.database,
            &execution.shape,
            execution.job,
            micros,
            execution.vm_steps,
            execution.full_scan_steps,
            execution.sorts,
            execution.automatic_indexes,
            execution.at.timestamp_millis(),
        ),
    )?;
    transaction.execute(
        "DELETE FROM slow_statement WHERE database = ?1 AND shape IN \
         (SELECT shape FROM slow_statement WHERE database = ?1 ORDER BY last_seen DESC LIMIT -1 OFFSET ?2)",
        (&execution.database, KEPT_PER_DATABASE),
    )?;
    transaction.commit()?;
    Ok(())
}

/// The shapes of a database that were slow since `since`, those that took the most time first.
pub fn worst(
    connection: &Connection,
    database: &str,
    since: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Shape>> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM slow_statement WHERE database = ?1 AND last_seen >= ?2 ORDER BY total_us DESC LIMIT ?3",
    )?;
    let time = |millis: i64| DateTime::from_timestamp_millis(millis).unwrap_or_default();
    let rows = statement.query_map((database, since.timestamp_millis(), limit), |row| {
        Ok(Shape {
            database: row.get("database")?,
            shape: row.get("shape")?,
            job: row.get("job")?,
            count: row.get("count")?,
            total_seconds: row.get::<_, f64>("total_us")? / 1e6,
            max_seconds: row.get::<_, f64>("max_us")? / 1e6,
            vm_steps: row.get("vm_steps")?,
            full_scan_steps: row.get("full_scan_steps")?,
            first_seen: time(row.get("first_seen")?),
            last_seen: time(row.get("last_seen")?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
