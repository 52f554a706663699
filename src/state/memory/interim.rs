//! What is remembered while `state.db` cannot be written: in the memory of this process, with what
//! the jobs need of the file, and brought back into it as soon as that can be. Bounded by the
//! number of databases. Must never be taken for the whole history.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, params, params_from_iter};

use super::aside::NAME;
use super::open::{self, StateFile};
use crate::error::{Error, Reason, Result};
use crate::sqlite::open::immutable;
use crate::state::files::StateFiles;

/// Of each job, the runs that are shown and decide what comes next.
const RUNS: &str = "SELECT max(id) FROM run GROUP BY database, job \
    UNION SELECT max(id) FROM run WHERE outcome IS NOT 'skipped' GROUP BY database, job \
    UNION SELECT max(id) FROM run WHERE outcome <> 'skipped' GROUP BY database, job \
    UNION SELECT max(id) FROM run WHERE outcome = 'success' GROUP BY database, job";

/// Of each database, the slow statements that took the most time.
const SLOW: &str = "SELECT database, shape, row_number() OVER (PARTITION BY database ORDER BY total_us DESC) AS rank \
    FROM slow_statement";
const SLOW_KEPT: i64 = 20;

/// Of the sizes those by which growth is told, the last of each day of a month before the last one.
const SERIES: &str = "kind IN ('file', 'free')";
const SAMPLES: &str = "(series, at) IN (SELECT series, max(at) FROM size_sample \
    WHERE series IN (SELECT id FROM size_series WHERE kind IN ('file', 'free')) \
    AND at > (SELECT max(seen) FROM size_series) - 31 * 86400000 GROUP BY series, at / 86400000)";

/// Numbers of runs that are left free: those that other processes write meanwhile may have them.
const GAP: i64 = 1000;

/// Begins one with what can be read of the file.
pub(super) fn begin(from: Option<&Connection>) -> Result<Connection> {
    let new = open::in_memory()?;
    new.execute_batch("CREATE TEMP TABLE known (id INTEGER PRIMARY KEY)")?;
    if let Some(from) = from {
        // Of a damaged file what can be read.
        for (what, copied) in [
            ("what the jobs remember", copy(from, &new, "fact", "TRUE", &[])),
            ("its runs", copy(from, &new, "run", &format!("id IN ({RUNS})"), &[])),
            (
                "its slow statements",
                copy(
                    from,
                    &new,
                    "slow_statement",
                    &format!("(database, shape) IN (SELECT database, shape FROM ({SLOW}) WHERE rank <= ?1)"),
                    &[&SLOW_KEPT],
                ),
            ),
            ("its sizes", copy(from, &new, "size_series", SERIES, &[])),
            ("its sizes", copy(from, &new, "size_sample", SAMPLES, &[])),
        ] {
            if let Err(error) = copied {
                tracing::warn!("{what} cannot be read from the run history: {error}");
            }
        }
    }
    new.execute_batch("INSERT INTO known SELECT id FROM run")?;
    // So that numbers go on where they were.
    let newest = from.and_then(|from| {
        from.query_row("SELECT max(id) FROM run", [], |row| row.get::<_, Option<i64>>(0)).ok().flatten()
    });
    if let Some(newest) = newest {
        new.execute(
            "INSERT INTO run (id, database, job, cause, pid, started) VALUES (?1, '', '', '', 0, 0)",
            [newest + GAP],
        )?;
        new.execute("INSERT INTO known VALUES (?1)", [newest + GAP])?;
    }
    Ok(new)
}

fn copy(
    from: &Connection,
    to: &Connection,
    table: &str,
    which: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<()> {
    let mut select = from.prepare(&format!("SELECT * FROM {table} WHERE {which}"))?;
    let columns: Vec<String> = select.column_names().into_iter().map(str::to_owned).collect();
    let places = vec!["?"; columns.len()].join(", ");
    let mut insert =
        to.prepare(&format!("INSERT OR REPLACE INTO {table} ({}) VALUES ({places})", columns.join(", ")))?;
    let mut rows = select.query(parameters)?;
    while let Some(row) = rows.next()? {
        let values: Vec<Value> = (0..columns.len()).map(|n| row.get(n)).collect::<rusqlite::Result<_>>()?;
        insert.execute(params_from_iter(values))?;
    }
    Ok(())
}

/// Brings what was remembered meanwhile into the file. A fact that another process has kept since
/// stays, where it is the newer one.
pub(super) fn end(interim: &Connection, transaction: &Transaction<'_>) -> Result<()> {
    let mut facts = interim.prepare("SELECT database, name, value, at FROM fact")?;
    let mut keep = transaction.prepare(
        "INSERT INTO fact (database, name, value, at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO UPDATE SET value = excluded.value, at = excluded.at WHERE excluded.at > fact.at",
    )?;
    let mut rows = facts.query([])?;
    while let Some(row) = rows.next()? {
        keep.execute(params![
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, i64>(3)?
        ])?;
    }
    let columns =
        "id, database, job, cause, pid, process, started, finished, outcome, reason, summary, detail";
    let mut runs = interim
        .prepare(&format!("SELECT {columns} FROM run WHERE id NOT IN (SELECT id FROM known) ORDER BY id"))?;
    let mut keep = transaction.prepare(&format!(
        "INSERT OR IGNORE INTO run ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ))?;
    // Those that were at work when it began and have ended since.
    let mut ended = interim.prepare(
        "SELECT finished, outcome, reason, summary, detail, id, pid, process FROM run \
         WHERE id IN (SELECT id FROM known) AND outcome IS NOT NULL AND pid > 0",
    )?;
    let mut note = transaction.prepare(
        "UPDATE run SET finished = ?, outcome = ?, reason = ?, summary = ?, detail = ? \
         WHERE id = ? AND pid = ? AND process = ? AND outcome IS NULL",
    )?;
    for (select, into, width) in [(&mut runs, &mut keep, 12), (&mut ended, &mut note, 8)] {
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<Value> = (0..width).map(|n| row.get(n)).collect::<rusqlite::Result<_>>()?;
            into.execute(params_from_iter(values))?;
        }
    }
    Ok(())
}

/// What can be read of a file that cannot be opened for want of a disk, without its log, which
/// nobody has open then.
pub(super) fn as_it_lies(directory: &Path) -> Option<Connection> {
    immutable(&directory.join(NAME)).ok()
}

/// Writes all that a file held that was deleted into a new one at its path.
pub(super) fn written_anew(old: &StateFile, directory: &Path) -> Result<()> {
    let (files, path) = (StateFiles::open(directory)?, directory.join(NAME));
    // For nobody else's eyes from its beginning; SQLite takes an empty file.
    files.keep_private(NAME)?;
    let written = match path.to_str() {
        Some(path) => old.connection.execute("VACUUM INTO ?1", [path]).map_err(Error::from),
        None => Err(Error::new(Reason::Io, "its path is no text, which SQLite needs")),
    };
    if let Err(error) = written {
        files.remove(NAME)?;
        return Err(error.context(format!("cannot write {} anew", path.display())));
    }
    Ok(())
}
