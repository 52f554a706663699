//! The run history: one row a run, written before it starts and when it ends. In the order of their
//! numbers, never of their times: the clock may have been wrong.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use super::process;
use crate::clock;
use crate::error::{Reason, Result};
use crate::terms::{Cause, JobKind, Outcome};

/// Rows kept per database and job, of runs that were made and of skipped ones; older ones go when a
/// run ends.
const KEPT_PER_JOB: i64 = 1000;

/// What is said of a run whose process ended before it did.
const DIED: (Outcome, &str, &str) = (Outcome::Interrupted, "died", "its process ended before the run did");

/// One run, as kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Counts up over all databases.
    pub id: i64,
    /// The database's name.
    pub database: String,
    /// The job's word.
    #[serde(rename = "task")]
    pub job: String,
    /// Why it was started.
    pub cause: String,
    /// The process that ran it.
    pub pid: u32,
    /// When it started; absent where that was under a clock that was ahead: then nobody knows.
    pub started: Option<DateTime<Utc>>,
    /// When it ended; absent while it runs, where its process is gone and nobody has written that
    /// down yet, and where nobody knows.
    pub finished: Option<DateTime<Utc>>,
    /// How it ended; absent while it runs. `Interrupted`, without a time, where its process is
    /// gone.
    pub outcome: Option<Outcome>,
    /// Why it did not succeed, or what it found, as one word.
    pub reason: Option<String>,
    /// What it did or why it failed, in a sentence.
    pub summary: String,
    /// What it did, by the job's own structure.
    pub detail: serde_json::Value,
}

impl Run {
    /// Whether it did all that can be done here, and left out what only the application can do.
    pub fn is_limited(&self) -> bool {
        self.outcome == Some(Outcome::Success) && self.reason.as_deref() == Some(Reason::Unsupported.as_str())
    }

    /// Whether the daemon stopped it in order to stop itself. A run that died with its process does
    /// not count: it may have been what killed it. Nor does one that an operator started and
    /// stopped.
    pub fn was_cut_short(&self) -> bool {
        self.outcome == Some(Outcome::Interrupted)
            && self.reason.as_deref() == Some(Reason::Cancelled.as_str())
            && self.cause != Cause::Manual.as_str()
    }
}

/// What is known at the end of a run.
#[derive(Debug, Clone)]
pub struct Ending {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not succeed, or what it found, as one word.
    pub reason: Option<&'static str>,
    /// What it did or why it failed, in a sentence.
    pub summary: String,
    /// What it did, by the job's own structure.
    pub detail: serde_json::Value,
}

/// Writes that a run starts; the number it got.
pub fn begin(
    connection: &Connection,
    database: &str,
    job: JobKind,
    cause: Cause,
    started: DateTime<Utc>,
) -> Result<i64> {
    connection.execute(
        "INSERT INTO run (database, job, cause, pid, process, started) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            database,
            job.as_str(),
            cause.as_str(),
            std::process::id(),
            process::this(),
            started.timestamp_millis(),
        ),
    )?;
    Ok(connection.last_insert_rowid())
}

/// Writes how a run ended, and forgets the oldest runs of the same job.
pub fn end(connection: &mut Connection, id: i64, finished: DateTime<Utc>, ending: &Ending) -> Result<()> {
    let transaction = connection.transaction()?;
    // A clock that was set back meanwhile was ahead at the beginning.
    transaction.execute(
        "UPDATE run SET started = min(started, ?2), finished = ?2, outcome = ?3, reason = ?4, summary = ?5, \
         detail = ?6 WHERE id = ?1",
        (
            id,
            finished.timestamp_millis(),
            ending.outcome.as_str(),
            ending.reason,
            &ending.summary,
            ending.detail.to_string(),
        ),
    )?;
    // Skipped runs are counted apart: a job that overlaps each second must not push its last
    // success out.
    transaction.execute(
        "DELETE FROM run WHERE id IN (SELECT old.id FROM run AS new JOIN run AS old USING (database, job) \
         WHERE new.id = ?1 AND (old.outcome IS 'skipped') = (new.outcome IS 'skipped') \
         ORDER BY old.id DESC LIMIT -1 OFFSET ?2)",
        (id, KEPT_PER_JOB),
    )?;
    transaction.commit()?;
    Ok(())
}

/// Ends the runs whose process no longer lives; how many those were.
pub fn end_those_of_dead_processes(connection: &Connection) -> Result<usize> {
    let mut open = connection.prepare("SELECT id, pid, process FROM run WHERE finished IS NULL")?;
    let rows = open.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let dead: Vec<i64> = rows
        .collect::<rusqlite::Result<Vec<(i64, u32, String)>>>()?
        .into_iter()
        .filter(|(_, pid, process)| !process::lives(*pid, process))
        .map(|(id, ..)| id)
        .collect();
    let (outcome, reason, summary) = DIED;
    for id in &dead {
        connection.execute(
            "UPDATE run SET finished = ?2, outcome = ?3, reason = ?4, summary = ?5 WHERE id = ?1",
            (id, clock::now().timestamp_millis(), outcome.as_str(), reason, summary),
        )?;
    }
    Ok(dead.len())
}

/// The newest runs first, of one database or of all.
pub fn history(connection: &Connection, database: Option<&str>, limit: u32) -> Result<Vec<Run>> {
    let mut statement = connection
        .prepare("SELECT * FROM run WHERE ?1 IS NULL OR database = ?1 ORDER BY id DESC LIMIT ?2")?;
    let rows = statement.query_map((database, limit), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The newest run of a job that really started (was not skipped).
pub fn newest(connection: &Connection, database: &str, job: JobKind) -> Result<Option<Run>> {
    newest_where(connection, database, job, "outcome IS NOT 'skipped'")
}

/// The newest run of a job that has ended, and was not skipped.
pub fn newest_ended(connection: &Connection, database: &str, job: JobKind) -> Result<Option<Run>> {
    newest_where(connection, database, job, "outcome <> 'skipped'")
}

/// When a job last succeeded, as far as its time is known at `now`.
pub fn last_success(
    connection: &Connection,
    database: &str,
    job: JobKind,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let known = format!("outcome = 'success' AND finished <= {}", clock::latest(now).timestamp_millis());
    Ok(newest_where(connection, database, job, &known)?.and_then(|run| run.finished))
}

fn newest_where(connection: &Connection, database: &str, job: JobKind, which: &str) -> Result<Option<Run>> {
    let sql =
        format!("SELECT * FROM run WHERE database = ?1 AND job = ?2 AND {which} ORDER BY id DESC LIMIT 1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query_map((database, job.as_str()), read)?;
    Ok(rows.next().transpose()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Run> {
    let now = clock::now();
    let time = |millis: i64| clock::past(DateTime::from_timestamp_millis(millis)?, now);
    let outcome = row.get::<_, Option<String>>("outcome")?;
    let mut run = Run {
        id: row.get("id")?,
        database: row.get("database")?,
        job: row.get("job")?,
        cause: row.get("cause")?,
        pid: row.get("pid")?,
        started: time(row.get("started")?),
        finished: row.get::<_, Option<i64>>("finished")?.and_then(time),
        outcome: outcome.and_then(|word| serde_json::from_value(word.into()).ok()),
        reason: row.get("reason")?,
        summary: row.get("summary")?,
        detail: serde_json::from_str(&row.get::<_, String>("detail")?).unwrap_or_default(),
    };
    // Nobody may have come by to write it down.
    if run.outcome.is_none() && !process::lives(run.pid, &row.get::<_, String>("process")?) {
        let (outcome, reason, summary) = DIED;
        (run.outcome, run.reason, run.summary) = (Some(outcome), Some(reason.to_owned()), summary.to_owned());
    }
    Ok(run)
}
