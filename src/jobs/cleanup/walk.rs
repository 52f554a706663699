//! Going over a table in slices, each a short read of its own, in the order of an index on the date
//! column or of the table's key. A slice ends within [`SLICE`], so that no read holds back the
//! write-ahead log or a writer. Goes on behind the row at which it ended, and never reads a row
//! again to find the next, however many have the same date.

use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::dates::{self, Place, Places};
use super::plan::Plan;
use crate::error::Result;
use crate::sql::quoting::quoted;
use crate::sqlite::look::keys::{Key, Term};

/// About how long one slice reads.
const SLICE: Duration = Duration::from_millis(50);

/// Where the next slice begins.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Position {
    /// At the first row.
    #[default]
    Beginning,
    /// At the first row that has this value, or a larger one, in the first column of the order.
    At(Value),
    /// Behind the row with these values in the order's columns.
    Behind(Vec<Value>),
}

impl Position {
    /// Where deleting begins: the first row that may be old.
    pub(super) fn of_oldest(plan: &Plan) -> Self {
        let places = if plan.goes.newest.is_none() { plan.goes.places() } else { None };
        match (&plan.index, places.and_then(|places| places.first())) {
            (Some(_), Some(first)) => Self::At(first),
            _ => Self::Beginning,
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
    /// Where to go on; `None` at the end.
    pub(super) next: Option<Position>,
}

/// Reads from `from` until `wanted` old rows are found, the time is over, or there is nothing more.
pub(super) fn slice(
    connection: &Connection,
    plan: &Plan,
    extent: Extent,
    from: &Position,
    wanted: usize,
) -> Result<Slice> {
    dates::install(connection)?;
    let since = Instant::now();
    let width = plan.goes.key.len();
    let is_by_date = extent == Extent::Old && plan.index.is_some();
    let places: Option<Places> = if is_by_date { plan.goes.places() } else { None };
    let mut slice = Slice::default();
    for (sql, values) in statements(plan, extent, from) {
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let columns = row.as_ref().column_count();
            let values =
                |range: std::ops::Range<usize>| range.map(|i| row.get(i)).collect::<Result<Vec<_>, _>>();
            if is_by_date {
                match plan.goes.place(places.as_ref(), &row.get(width + 1)?) {
                    Place::Within => {}
                    Place::Before(first) => {
                        let next = Position::At(first);
                        // Where SQLite does not find that to be further on, the rows between are read.
                        if next != *from {
                            slice.next = Some(next);
                            return Ok(slice);
                        }
                    }
                    Place::Behind => return Ok(slice),
                }
            }
            slice.rows += 1;
            match row.get(width)? {
                2 => slice.old.push(values(0..width)?),
                verdict => slice.unreadable += u64::from(verdict == 0),
            }
            if slice.old.len() >= wanted || since.elapsed() > SLICE {
                slice.next = Some(Position::Behind(values(width + 1..columns)?));
                return Ok(slice);
            }
        }
    }
    Ok(slice)
}

/// The statements that give, one after the other, the rows from a position on, in order: key,
/// verdict, and the columns of the order. Of the rows behind another one those come first that
/// differ from it in the last column alone, and those last that differ in the first: each is a
/// stretch of the index, which a comparison of rows is not where columns descend or hold NULL.
fn statements<'p>(plan: &Plan, extent: Extent, from: &'p Position) -> Vec<(String, Vec<&'p Value>)> {
    let conditions = match from {
        Position::Beginning => vec![(String::new(), Vec::new())],
        Position::At(first) => vec![(format!("t.{} >= ?", plan.order[0].sql), vec![first])],
        Position::Behind(at) => behind(&plan.order, at),
    };
    let (goes, columns) = (&plan.goes, |terms: &[Term], direction: bool| {
        let column = |term: &Term| {
            let direction = if direction && term.is_descending { " DESC" } else { "" };
            format!("t.{}{direction}", term.sql)
        };
        terms.iter().map(column).collect::<Vec<_>>().join(", ")
    });
    let by = plan.index.as_ref().map(|index| format!(" INDEXED BY {}", quoted(index))).unwrap_or_default();
    let key = goes.key.iter().map(|key| format!("t.{key}")).collect::<Vec<_>>().join(", ");
    let select = format!(
        "SELECT {key}, {}, {} FROM {} AS t{by}",
        goes.verdict("t."),
        columns(&plan.order, false),
        quoted(&plan.table)
    );
    let order = columns(&plan.order, true);
    let end = if extent == Extent::Old { goes.end("t.") } else { None };
    let statement = |(condition, values): (String, Vec<&'p Value>)| {
        let all: Vec<_> =
            [Some(condition), end.clone()].into_iter().flatten().filter(|c| !c.is_empty()).collect();
        let all = if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) };
        (format!("{select}{all} ORDER BY {order}"), values)
    };
    conditions.into_iter().map(statement).collect()
}

/// Conditions that together hold for the rows behind one, in their order.
fn behind<'p>(order: &[Term], at: &'p [Value]) -> Vec<(String, Vec<&'p Value>)> {
    let mut conditions = Vec::new();
    for (level, (term, value)) in order.iter().zip(at).enumerate().rev() {
        let same = order[..level]
            .iter()
            .map(|term| format!("t.{} IS ? AND ", term.sql))
            .collect::<Vec<_>>()
            .concat();
        let with = |condition: String, value: Option<&'p Value>| {
            (format!("{same}{condition}"), at[..level].iter().chain(value).collect::<Vec<_>>())
        };
        let column = format!("t.{}", term.sql);
        // NULL is smaller than everything else.
        match (term.is_descending, value) {
            // Without its collation SQLite takes it for a stretch of the index.
            (false, Value::Null) => conditions.push(with(format!("t.{} IS NOT NULL", term.column), None)),
            (false, value) => conditions.push(with(format!("{column} > ?"), Some(value))),
            (true, Value::Null) => {}
            (true, value) => {
                conditions.push(with(format!("{column} < ?"), Some(value)));
                conditions.push(with(format!("{column} IS NULL"), None));
            }
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::look::keys;
    use crate::sqlite::look::schema;
    use proptest::prelude::*;

    /// Tables whose rows have few different dates, with the order that is walked.
    const TABLES: [(&str, Option<&str>); 8] = [
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, at, x)", None),
        ("CREATE TABLE t(id, at, x, PRIMARY KEY (at, id DESC)) WITHOUT ROWID", None),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, at, x); CREATE INDEX i ON t(at)", Some("i")),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, at, x); CREATE INDEX i ON t(at DESC)", Some("i")),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, at, x); CREATE INDEX i ON t(at, x)", Some("i")),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, at, x); CREATE INDEX i ON t(at DESC, x)", Some("i")),
        (
            "CREATE TABLE t(id, at, x TEXT, PRIMARY KEY (x, id)) WITHOUT ROWID; CREATE INDEX i ON t(at, x DESC)",
            Some("i"),
        ),
        ("CREATE TABLE t(id PRIMARY KEY, at, x); CREATE INDEX i ON t(at, x COLLATE NOCASE)", Some("i")),
    ];

    fn made(sql: &str, rows: &[(Option<i64>, Option<String>)]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        let is_named = sql.contains("WITHOUT ROWID");
        for (id, (at, x)) in rows.iter().enumerate() {
            let (at, x) = if is_named {
                (Some(at.unwrap_or(0)), Some(x.clone().unwrap_or_default()))
            } else {
                (*at, x.clone())
            };
            connection.execute("INSERT INTO t(id, at, x) VALUES (?, ?, ?)", (id, at, x)).unwrap();
        }
        connection
    }

    fn order(connection: &Connection, index: Option<&str>) -> Vec<Term> {
        let table = schema::tables(connection).unwrap().remove(0);
        let key = keys::key(connection, &table).unwrap();
        keys::order_of(connection, &table, index, &key).unwrap()
    }

    /// The rows that `condition` holds for, and how they are found.
    fn found(
        connection: &Connection,
        index: Option<&str>,
        order: &[Term],
        condition: &str,
        values: &[&Value],
    ) -> (Vec<Vec<Value>>, String) {
        let columns = |with: bool| {
            let column =
                |t: &Term| format!("t.{}{}", t.sql, if with && t.is_descending { " DESC" } else { "" });
            order.iter().map(column).collect::<Vec<_>>().join(", ")
        };
        let by = index.map(|index| format!(" INDEXED BY {index}")).unwrap_or_default();
        let whole = if condition.is_empty() { String::new() } else { format!(" WHERE {condition}") };
        let sql = format!("SELECT {} FROM t AS t{by}{whole} ORDER BY {}", columns(false), columns(true));
        let plan: String = {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let lines = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
            lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
        };
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map(params_from_iter(values), |row| {
            (0..order.len()).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<Value>>>()
        });
        (rows.unwrap().map(Result::unwrap).collect(), plan)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn what_lies_behind_a_row_is_what_comes_after_it_in_the_whole_order(
            rows in prop::collection::vec((prop::option::of(0i64..3), prop::option::of("[aAb]{0,1}")), 0..25),
            shape in 0usize..TABLES.len(),
        ) {
            let (sql, index) = TABLES[shape];
            let connection = made(sql, &rows);
            let order = order(&connection, index);
            let (all, _) = found(&connection, index, &order, "", &[]);
            prop_assert_eq!(all.len(), rows.len());
            for (at, row) in all.iter().enumerate() {
                let mut rest = Vec::new();
                for (condition, values) in behind(&order, row) {
                    let (some, plan) = found(&connection, index, &order, &condition, &values);
                    prop_assert!(!plan.contains("TEMP B-TREE") && plan.starts_with("SEARCH"), "{}: {}", condition, plan);
                    rest.extend(some);
                }
                prop_assert_eq!(&rest, &all[at + 1..], "{} behind {:?}", sql, row);
            }
        }
    }
}
