//! The run history as the daemon wrote it, read with a connection of our own.

use super::sandbox::Sandbox;
use super::wait_until;
use litekeeper::terms::JobKind;
use rusqlite::{Connection, OpenFlags};

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: i64,
    pub cause: String,
    pub pid: i64,
    /// `running` while it has none.
    pub outcome: String,
    /// Empty where there is none.
    pub reason: String,
    pub summary: String,
    pub detail: String,
}

/// The runs of a job, the oldest first.
pub fn runs(sandbox: &Sandbox, database: &str, job: &str) -> Vec<Run> {
    let path = sandbox.state().join("state.db");
    if !path.exists() {
        return Vec::new();
    }
    read(&path, database, job).unwrap_or_default()
}

fn read(path: &std::path::Path, database: &str, job: &str) -> rusqlite::Result<Vec<Run>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(super::PATIENCE)?;
    let mut statement = connection.prepare(
        "SELECT id, cause, pid, coalesce(outcome, 'running'), coalesce(reason, ''), summary, detail FROM run \
         WHERE database = ?1 AND job = ?2 ORDER BY id",
    )?;
    let rows = statement.query_map((database, job), |row| {
        Ok(Run {
            id: row.get(0)?,
            cause: row.get(1)?,
            pid: row.get(2)?,
            outcome: row.get(3)?,
            reason: row.get(4)?,
            summary: row.get(5)?,
            detail: row.get(6)?,
        })
    })?;
    rows.collect()
}

/// Waits for a run of `attendance` after number `after` that has this outcome; any other but
/// `skipped` that comes before it fails the test.
pub fn wait_for_run(sandbox: &Sandbox, job: &str, after: i64, outcome: &str) -> Run {
    wait_until(&format!("a {job} ends with {outcome}"), || {
        runs(sandbox, "attendance", job)
            .into_iter()
            .filter(|run| run.id > after && run.outcome != "running")
            .find(|run| run.outcome == outcome || run.outcome != "skipped")
            .inspect(|run| assert_eq!(run.outcome, outcome, "{run:?}"))
    })
}

/// The number of the newest run there is, of any job; 0 for none.
pub fn newest(sandbox: &Sandbox) -> i64 {
    let kinds = JobKind::SCHEDULED.iter();
    let runs = kinds.flat_map(|kind| runs(sandbox, "attendance", kind.as_str()));
    runs.map(|run| run.id).max().unwrap_or(0)
}
