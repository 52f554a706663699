//! One batch: old rows are looked for without a lock, and removed with all that goes with them in
//! one transaction, which is rolled back as a whole on any error.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, ffi, params_from_iter};

use super::archive::Archive;
use super::dates;
use super::graph::children::{Graph, Wanted};
use super::graph::links::Action;
use super::plan::{Plan, schema_version};
use super::rows::Tally;
use super::walk::{Position, Slice};
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::limits::within_lock;
use crate::pool::wait_for_locks;
use crate::sql::quoting::quoted;
use crate::sqlite::files::replicator;
use crate::sqlite::look::keys::{self, Key, among};
use crate::sqlite::upkeep::rebuild;
use crate::sqlite::write::checkpoint::{ByHand, Checkpoint, settle, settle_when_due};
use crate::sqlite::write::hold;

/// Attempts at a batch that finds the database locked; each waits for `pool.busy_timeout` itself.
pub(super) const ATTEMPTS: u32 = 3;

/// What a batch did.
#[derive(Debug, Default)]
pub(super) struct BatchReport {
    pub(super) tally: Tally,
    /// How long its transaction lasted; `None` where nothing was there to remove.
    pub(super) lasted: Option<Duration>,
    /// How much of that came before the COMMIT, and is less for fewer rows.
    pub(super) worked: Duration,
    /// How long its pages were then moved from the write-ahead log into the file, and what came of
    /// it: `None` outside WAL mode, and where a replicator owns the log.
    pub(super) moved: Option<(Duration, Checkpoint)>,
    /// Where to go on; `None`: this was the last one.
    pub(super) next: Option<Position>,
}

/// What became of an attempt at a batch.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It was committed.
    Done(BatchReport),
    /// A transaction of the application began first, or meanwhile: nothing was changed.
    Taken,
}

/// Which rows a batch is of.
#[derive(Debug)]
pub(super) struct Share {
    /// Old rows, as far as they are still there; at least one.
    pub(super) slice: Slice,
    /// Whether it is rolled back where a trigger leaves rows that point at nothing, which takes a
    /// look at every row of the tables that the rule reaches.
    pub(super) checked: bool,
    /// The moment was chosen: not at another one, and not where somebody comes meanwhile.
    pub(super) timed: bool,
}

/// Removes old rows, after they are safe in the archive, where the rule has one.
pub(super) fn remove(
    run: &Run,
    connection: &mut Connection,
    plan: &Plan,
    share: &Share,
    mut archive: Option<&mut Archive>,
) -> Result<Attempt> {
    let slice = &share.slice;
    dates::install(connection)?;
    let mut connection = ByHand::new(connection)?;
    let mut since = Instant::now();
    let mut had_lock = None;
    wait_for_locks(!share.timed);
    let done = hold::write_in_pause(
        &mut connection,
        &run.holds,
        share.timed.then_some(&run.pauses),
        |transaction, go_on| {
            since = Instant::now();
            had_lock = Some(since);
            if schema_version(transaction)? != plan.schema_version {
                return Err(Error::new(
                    Reason::Refused,
                    "the schema was changed while the cleanup was running; the next run goes on",
                ));
            }
            let (tally, fixed) =
                take_out(transaction, plan, &slice.old, share.checked, archive.as_deref_mut(), go_on)?;
            Ok((tally, since.elapsed().saturating_sub(fixed)))
        },
    );
    let lasted = since.elapsed();
    run.pauses.over();
    wait_for_locks(true);
    if let Some(archive) = archive {
        archive.settle(matches!(done, Ok(Some(_))))?;
    }
    let done = within_lock(done, had_lock.map(|since| since.elapsed()));
    let Some((tally, worked)) = done? else { return Ok(Attempt::Taken) };
    let since = Instant::now();
    let mine = connection.is_wal() && !replicator::owns(&connection, &run.database.path);
    let next = slice.next.clone();
    let made = match (mine, &next) {
        (false, _) => None,
        (true, Some(_)) => settle_when_due(&connection)?,
        (true, None) => settle(&connection)?,
    };
    let moved = made.map(|made| (since.elapsed(), made));
    Ok(Attempt::Done(BatchReport { tally, lasted: Some(lasted), worked, moved, next }))
}

/// Removes `rows` as far as they still have to go, and what goes with them. Also how long it took
/// to do what a single row takes as well: batches that shrink for it would become single rows, and
/// each would still take it.
fn take_out(
    connection: &Connection,
    plan: &Plan,
    rows: &[Key],
    checked: bool,
    archive: Option<&mut Archive>,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<(Tally, Duration)> {
    let mut tally = Tally::new();
    // The application may have changed the rows since they were found.
    let condition = plan.goes.condition("");
    if plan.is_plain() && archive.is_none() {
        tally.entry(plan.table.clone()).or_default().removed =
            delete(connection, plan, 0, rows, &condition, go_on)?;
        return Ok((tally, Duration::ZERO));
    }
    let rows = existing(connection, plan, rows, &condition)?;
    let graph = &plan.graph;
    let mut seen = graph.known_rows();
    let doomed = graph.doomed(connection, &plan.goes, &rows, Wanted::Rows, &mut seen)?;
    if !doomed.blocked.is_empty() {
        let blockers = doomed.blocked.iter().map(|(edge, rows)| (*edge, rows.len() as u64)).collect();
        let text = graph.in_words(&blockers);
        return Err(Error::new(
            Reason::Refused,
            format!("{text}, since they were counted; the next run says more"),
        ));
    }
    let mut fixed = doomed.scanning;
    if let Some(archive) = archive {
        for (edge, rows) in &doomed.loosed {
            archive.take_early(connection, &graph.tables[graph.edges[*edge].child], rows)?;
        }
        for (table, rows) in &doomed.deletes {
            match table {
                0 => archive.take_own(connection, &graph.tables[0], rows)?,
                other => archive.take(connection, &graph.tables[*other], rows)?,
            }
        }
        let since = Instant::now();
        archive.secure()?;
        fixed += since.elapsed();
    }
    // What we delete is checked as it is gathered; a trigger or a default may still break a
    // reference.
    let since = Instant::now();
    let before = if checked { violations(connection, plan)? } else { 0 };
    fixed += since.elapsed();
    for (edge, rows) in &doomed.loosed {
        change(connection, graph, *edge, rows)?;
    }
    for (edge, rows) in &doomed.changes {
        let changed = change(connection, graph, *edge, rows)?;
        tally.entry(graph.tables[graph.edges[*edge].child].name.clone()).or_default().changed += changed;
    }
    for (table, rows) in doomed.deletes.into_iter().rev() {
        let removed = delete(connection, plan, table, &rows, "1", go_on)?;
        tally.entry(graph.tables[table].name.clone()).or_default().removed += removed;
    }
    let since = Instant::now();
    let broken = checked && violations(connection, plan)? > before;
    fixed += since.elapsed();
    if broken || graph.dangles(connection, &doomed.changes)? {
        return Err(Error::new(
            Reason::Refused,
            "a batch would have left rows that point at nothing, by a trigger or a default of the schema; it was \
             rolled back",
        ));
    }
    Ok((tally, fixed))
}

/// Makes the assignments of a foreign key of this number in `rows` of its child; in how many.
fn change(connection: &Connection, graph: &Graph, edge: usize, rows: &[Key]) -> Result<u64> {
    let edge = &graph.edges[edge];
    let (node, Action::Set(set)) = (&graph.tables[edge.child], &edge.action) else { return Ok(0) };
    let mut changed = 0;
    for (number, values) in keys::chunks(rows) {
        let among = among("", &node.key, number);
        let sql = format!("UPDATE {} SET {set} WHERE {among}", quoted(&node.name));
        let done = connection.prepare_cached(&sql)?.execute(params_from_iter(values));
        changed +=
            done.map_err(|cause| Error::from(cause).context(format!("{} cannot be changed", edge.name)))?;
    }
    Ok(changed as u64)
}

/// Deletes `rows` of the table of this number that fulfil a condition; how many those were.
fn delete(
    connection: &Connection,
    plan: &Plan,
    table: usize,
    rows: &[Key],
    condition: &str,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<u64> {
    let node = &plan.graph.tables[table];
    let mut removed = 0;
    for (number, values) in keys::chunks(rows) {
        let among = among("", &node.key, number);
        let sql = format!("DELETE FROM {} WHERE {among} AND {condition}", quoted(&node.name));
        go_on()?;
        let done = connection.prepare_cached(&sql)?.execute(params_from_iter(values));
        removed += done.map_err(|cause| not_removed(connection, &node.name, cause))?;
    }
    Ok(removed as u64)
}

/// An index in which SQLite does not find the entry of a row is not damaged for certain where its
/// order is that of a collation (HAZARDS H34). Nothing is spoilt: the batch is rolled back.
fn not_removed(connection: &Connection, table: &str, cause: rusqlite::Error) -> Error {
    let is_index = cause.sqlite_error().is_some_and(|e| e.extended_code == ffi::SQLITE_CORRUPT_INDEX);
    if !is_index || !rebuild::is_relative(connection, table, None).unwrap_or(false) {
        return cause.into();
    }
    Error::new(
        Reason::Refused,
        format!(
            "an index of {table} does not have its rows where SQLite looks for them: the application has a collation of its \
             own under SQLite's name, or the index is damaged. Let the application remove the rows, or, if its own PRAGMA \
             integrity_check finds the index wrong as well, rebuild it (REINDEX)"
        ),
    )
}

/// Which of `rows` exist, and fulfil a condition.
fn existing(connection: &Connection, plan: &Plan, rows: &[Key], condition: &str) -> Result<Vec<Key>> {
    let (node, key) = (&plan.graph.tables[0], plan.goes.key.join(", "));
    let mut found = Vec::with_capacity(rows.len());
    for (number, values) in keys::chunks(rows) {
        let among = among("", &node.key, number);
        let sql = format!("SELECT {key} FROM {} WHERE {among} AND {condition}", quoted(&node.name));
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            found.push((0..node.key.len()).map(|i| row.get(i)).collect::<rusqlite::Result<_>>()?);
        }
    }
    Ok(found)
}

/// Rows, in all tables that the rule reaches, that point at nothing (`PRAGMA foreign_key_check`).
fn violations(connection: &Connection, plan: &Plan) -> Result<u64> {
    plan.graph.tables.iter().map(|node| violations_of(connection, &node.name)).sum()
}

/// The same of one table.
pub(super) fn violations_of(connection: &Connection, table: &str) -> Result<u64> {
    let sql = "SELECT count(*) FROM pragma_foreign_key_check(?1)";
    let count: Option<u64> = connection.query_row(sql, [table], |row| row.get(0)).optional()?;
    Ok(count.unwrap_or(0))
}
