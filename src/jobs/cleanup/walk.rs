//! Going over a table in slices, each a short read of its own, in the order of an index on the date
//! column or of the table's key. A slice ends within [`SLICE`], so that no read holds back the
//! write-ahead log or a writer.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::types::Value;

use super::dates;
use super::plan::Plan;
use crate::error::Result;
use crate::sql::quoting::quoted;
use crate::sqlite::look::keys::Key;

/// About how long one slice reads.
const SLICE: Duration = Duration::from_millis(50);

/// Where the next slice begins: at these values of the order's columns, behind so many rows that
/// have exactly them. Empty: at the beginning.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Position {
    at: Vec<Value>,
    passed: u64,
}

impl Position {
    /// Where deleting begins: the first row that may be old.
    pub(super) fn of_oldest(plan: &Plan) -> Self {
        match (&plan.index, &plan.goes.column) {
            (Some(_), Some(column)) => Self { at: vec![dates::first(column.format)], passed: 0 },
            _ => Self::default(),
        }
    }
}

/// What to go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Every row.
    Table,
    /// At least every row that is old.
    Old,
}

/// What a slice saw.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// Rows seen, and of these …
    pub(super) rows: u64,
    /// … those without a readable date, and …
    pub(super) unreadable: u64,
    /// … the old ones.
    pub(super) old: Vec<Key>,
    /// Where to go on, as if the old rows were gone; `None` at the end.
    pub(super) next: Option<Position>,
    /// The old rows, at the end of the list, that lie at the position `next` itself.
    tail: usize,
}

impl Slice {
    /// Old rows that have to be looked for where the next slice begins, if they are still there.
    pub(super) fn tail(&self) -> &[Key] {
        &self.old[self.old.len() - self.tail..]
    }

    /// Where to go on when `rows` rows of the tail are still there.
    pub(super) fn next_behind(&self, rows: u64) -> Option<Position> {
        self.next.clone().map(|next| Position { passed: next.passed + rows, ..next })
    }
}

/// Reads from `from` until `wanted` old rows are found, the time is over, or there is nothing more.
pub(super) fn slice(
    connection: &Connection,
    plan: &Plan,
    extent: Extent,
    from: &Position,
    wanted: usize,
) -> Result<Slice> {
    let (sql, width) = (sql(plan, extent, !from.at.is_empty()), plan.goes.key.len());
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(&from.at))?;
    let (mut slice, mut position, mut tail, mut skip) = (Slice::default(), from.clone(), 0, from.passed);
    let mut since = Instant::now();
    while let Some(row) = rows.next()? {
        let columns = row.as_ref().column_count();
        let values = |range: std::ops::Range<usize>| range.map(|i| row.get(i)).collect::<Result<Vec<_>, _>>();
        let at: Vec<Value> = values(width + 1..columns)?;
        if at != position.at {
            (position, tail, skip) = (Position { at, passed: 0 }, 0, 0);
        }
        if skip > 0 {
            skip -= 1;
            since = Instant::now();
            continue;
        }
        slice.rows += 1;
        match row.get(width)? {
            2 => {
                slice.old.push(values(0..width)?);
                tail += 1;
            }
            verdict => {
                slice.unreadable += u64::from(verdict == 0);
                position.passed += 1;
            }
        }
        if slice.old.len() >= wanted || since.elapsed() > SLICE {
            (slice.next, slice.tail) = (Some(position), tail);
            break;
        }
    }
    Ok(slice)
}

/// Key, verdict, and the columns of the order.
fn sql(plan: &Plan, extent: Extent, has_start: bool) -> String {
    let goes = &plan.goes;
    let (order, by) = match &plan.index {
        Some(index) => {
            (goes.order("t.").into_iter().take(1).collect(), format!(" INDEXED BY {}", quoted(index)))
        }
        None => (goes.key.iter().map(|key| format!("t.{key}")).collect::<Vec<_>>(), String::new()),
    };
    let mut conditions = Vec::new();
    if has_start {
        conditions.push(format!("({}) >= ({})", order.join(", "), vec!["?"; order.len()].join(", ")));
    }
    // Where the walk is in the order from old to new.
    if extent == Extent::Old && (plan.index.is_some() || goes.column.is_none()) {
        conditions.extend(goes.end("t."));
    }
    let conditions =
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    let key = goes.key.iter().map(|key| format!("t.{key}")).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT {key}, {}, {order} FROM {} AS t{by}{conditions} ORDER BY {order}",
        goes.verdict("t."),
        quoted(&plan.table),
        order = order.join(", "),
    )
}
