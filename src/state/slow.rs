//! Slow statements, added up by shape. Literals never get here.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::times::Times;
use crate::clock;
use crate::error::{Error, Reason, Result};

/// Shapes kept per database; past that, those seen longest ago go.
const KEPT_PER_DATABASE: i64 = 500;

/// Bytes of a shape's short name: among 500, two are the same once in thirty thousand times.
const ID_BYTES: usize = 4;

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
    /// The lines of its plan, without literals; `None` where it was not asked for.
    pub plan: Option<Vec<String>>,
}

/// All executions of one shape, added up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// The database's name.
    pub database: String,
    /// A short name for the shape, always the same.
    pub id: String,
    /// The statement without its literals.
    pub shape: String,
    /// The job that last ran it.
    #[serde(rename = "task")]
    pub job: String,
    /// Executions.
    pub count: u64,
    /// Time of all of them.
    pub total_seconds: f64,
    /// Half of them took no longer, within [`super::times::ERROR`]; `None` where none was counted
    /// since that is kept.
    pub p50_seconds: Option<f64>,
    /// 95 % of them took no longer, likewise.
    pub p95_seconds: Option<f64>,
    /// Time of the slowest.
    pub max_seconds: f64,
    /// Virtual machine instructions of all of them.
    pub vm_steps: u64,
    /// Forward steps of full table scans of all of them.
    pub full_scan_steps: u64,
    /// Sorts of all of them.
    pub sorts: u64,
    /// Rows put into automatic indexes by all of them.
    pub automatic_indexes: u64,
    /// When it was first slow; absent where that was under a clock that was ahead.
    pub first_seen: Option<DateTime<Utc>>,
    /// When it was last slow, likewise.
    pub last_seen: Option<DateTime<Utc>>,
    /// The lines of its plan at the last execution; empty where it has none (VACUUM, PRAGMA) or
    /// none was seen.
    pub plan: Vec<String>,
}

/// Adds one execution.
pub fn record(connection: &mut Connection, execution: &Execution) -> Result<()> {
    let micros = i64::try_from(execution.duration.as_micros()).unwrap_or(i64::MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let kept = transaction
        .query_row(
            "SELECT times FROM slow_statement WHERE database = ?1 AND shape = ?2",
            (&execution.database, &execution.shape),
            |row| row.get::<_, String>(0),
        )
        .optional()?;
    let mut times: Times = from_json(&kept.unwrap_or_default());
    times.add(execution.duration);
    transaction.execute(
        "INSERT INTO slow_statement (database, shape, job, count, total_us, max_us, vm_steps, full_scan_steps, sorts, \
         automatic_indexes, first_seen, last_seen, times, plan) \
         VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, coalesce(?11, '[]')) \
         ON CONFLICT DO UPDATE SET job = excluded.job, count = count + 1, total_us = total_us + excluded.total_us, \
         max_us = max(max_us, excluded.max_us), vm_steps = vm_steps + excluded.vm_steps, \
         full_scan_steps = full_scan_steps + excluded.full_scan_steps, sorts = sorts + excluded.sorts, \
         automatic_indexes = automatic_indexes + excluded.automatic_indexes, last_seen = excluded.last_seen, \
         times = excluded.times, plan = coalesce(?11, plan)",
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
            to_json(&times)?,
            execution.plan.as_ref().map(to_json).transpose()?,
        ),
    )?;
    // Times to come are those of a clock that was ahead: they must not push out what is newer.
    transaction.execute(
        "UPDATE slow_statement SET first_seen = min(first_seen, ?2), last_seen = ?2 \
         WHERE database = ?1 AND last_seen > ?3",
        (
            &execution.database,
            execution.at.timestamp_millis(),
            clock::latest(execution.at).timestamp_millis(),
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

/// The shapes of a database that were slow since `since`, those that took the most time first. One
/// whose time is not known was slow since the beginning of time, and not later.
pub fn worst(
    connection: &Connection,
    database: &str,
    since: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Shape>> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM slow_statement WHERE database = ?1 AND iif(last_seen <= ?4, last_seen, 0) >= ?2 \
         ORDER BY total_us DESC LIMIT ?3",
    )?;
    let latest = clock::latest(clock::now()).timestamp_millis();
    let rows = statement.query_map((database, since.timestamp_millis(), limit, latest), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The short name of a shape: the beginning of its SHA-256.
pub fn id(shape: &str) -> String {
    Sha256::digest(shape).iter().take(ID_BYTES).fold(String::new(), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Shape> {
    let now = clock::now();
    let time = |millis: i64| clock::past(DateTime::from_timestamp_millis(millis)?, now);
    let shape: String = row.get("shape")?;
    let times: Times = from_json(&row.get::<_, String>("times")?);
    let max_seconds = row.get::<_, f64>("max_us")? / 1e6;
    // The bucket of the slowest reaches beyond it.
    let quantile = |share| times.quantile(share).map(|seconds| seconds.min(max_seconds));
    Ok(Shape {
        database: row.get("database")?,
        id: id(&shape),
        shape,
        job: row.get("job")?,
        count: row.get("count")?,
        total_seconds: row.get::<_, f64>("total_us")? / 1e6,
        p50_seconds: quantile(0.5),
        p95_seconds: quantile(0.95),
        max_seconds,
        vm_steps: row.get("vm_steps")?,
        full_scan_steps: row.get("full_scan_steps")?,
        sorts: row.get("sorts")?,
        automatic_indexes: row.get("automatic_indexes")?,
        first_seen: time(row.get("first_seen")?),
        last_seen: time(row.get("last_seen")?),
        plan: from_json(&row.get::<_, String>("plan")?),
    })
}

/// What another version wrote and this one cannot read counts as nothing.
fn from_json<T: DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_default()
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::new(Reason::Io, format!("cannot keep a slow statement: {e}")))
}
