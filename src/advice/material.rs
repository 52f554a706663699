//! What is read of a live database so that the rest can be thought out without it: its schema, its
//! statistics and a sample of the rows. Each statement reads a bounded number of rows, and none is
//! part of a longer transaction.

use std::collections::BTreeSet;
use std::time::Instant;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _};

use super::existing;
use crate::config;
use crate::error::{Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::names;

/// A table with no more rows is read whole.
const WHOLE: u16 = 10_000;

/// Of a larger one so many places are read, evenly over its rowids, with so many rows at each.
const PLACES: i64 = 500;
const ROWS_AT_A_PLACE: u8 = 20;

/// A longer value is left out of the sample: nobody compares it, and it lies on pages of its own.
const LONGEST_VALUE: u32 = 400;

/// Of a table without rowids the rows are counted up to here.
const COUNTED: i64 = 1_000_000;

/// One CREATE statement of the schema.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// `table`, `index` or `view`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) table: String,
    pub(super) sql: String,
}

/// Rows of one table.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) table: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
    /// How many there are in the table, as far as can be told from these.
    pub(super) total: f64,
}

/// The schema and statistics.
#[derive(Debug, Clone, Default)]
pub(super) struct Schema {
    /// Tables first, then indexes, then views.
    pub(super) objects: Vec<Object>,
    /// Rows of sqlite_stat1; `None` where there is no such table.
    pub(super) statistics: Option<Vec<[Value; 3]>>,
    /// Rows of sqlite_stat4; `None` where there is no such table.
    pub(super) histograms: Option<Vec<[Value; 6]>>,
    /// The indexes that its views and triggers name by INDEXED BY.
    pub(super) bound: BTreeSet<String>,
    /// Indexes that the configuration declares.
    pub(super) declared: Vec<config::Index>,
}

impl Schema {
    /// Reads all of it.
    pub(super) fn read(connection: &Connection) -> Result<Self> {
        let mut statement = connection.prepare(
            "SELECT type, name, tbl_name, sql FROM main.sqlite_schema \
             WHERE type IN ('table', 'index', 'view') AND sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
             ORDER BY type = 'view', type = 'index', rowid",
        )?;
        // What no statement can name is asked nothing about.
        let objects = statement.query_map([], |row| {
            let text = |at| names::name(row, at);
            let (kind, name, table, sql) = (text(0)?, text(1)?, text(2)?, text(3)?);
            Ok(kind.zip(name).zip(table.zip(sql)))
        })?;
        let objects = objects
            .filter_map(Result::transpose)
            .map(|object| object.map(|((kind, name), (table, sql))| Object { kind, name, table, sql }));
        Ok(Self {
            objects: objects.collect::<rusqlite::Result<_>>()?,
            statistics: rows(connection, "sqlite_stat1", "tbl, idx, stat")?,
            histograms: rows(connection, "sqlite_stat4", "tbl, idx, neq, nlt, ndlt, sample")?,
            bound: existing::bound_in_schema(connection)?,
            declared: Vec::new(),
        })
    }

    /// Whether a table is called so.
    pub(super) fn has_table(&self, name: &str) -> bool {
        self.objects.iter().any(|o| o.kind == "table" && o.name.eq_ignore_ascii_case(name))
    }

    /// Whether an index of a table has this expression, token by token, as a key.
    pub(super) fn has_index_on(&self, table: &str, expression: &str) -> bool {
        let is_of_table = |o: &&Object| o.kind == "index" && o.table.eq_ignore_ascii_case(table);
        self.objects.iter().filter(is_of_table).any(|o| existing::is_on(&o.sql, expression))
    }

    /// Whether anything is called so.
    pub(super) fn has(&self, name: &str) -> bool {
        self.objects.iter().any(|object| object.name.eq_ignore_ascii_case(name))
    }
}

/// The rows of a table of SQLite's own, if it is there.
fn rows<const N: usize>(
    connection: &Connection,
    table: &str,
    columns: &str,
) -> Result<Option<Vec<[Value; N]>>> {
    let exists = "SELECT 1 FROM main.sqlite_schema WHERE name = ?1";
    if connection.query_row(exists, [table], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    let mut statement = connection.prepare(&format!("SELECT {columns} FROM main.{table}"))?;
    let rows = statement.query_map([], |row| {
        let mut values = [const { Value::Null }; N];
        for (column, value) in values.iter_mut().enumerate() {
            *value = row.get(column)?;
        }
        Ok(values)
    })?;
    Ok(Some(rows.collect::<rusqlite::Result<_>>()?))
}

/// Reads a sample of a table; what it has at `until` is the sample. Generated columns are left out
/// where one cannot be worked out here.
pub(super) fn sample(connection: &Connection, table: &str, until: Instant) -> Result<Sample> {
    let columns = |hidden: &str| -> Result<Vec<String>> {
        let sql = format!(
            "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden IN ({hidden}) ORDER BY cid"
        );
        names::all(connection, &sql, [table])
    };
    sample_of(connection, table, columns("0, 2, 3")?, until).or_else(|error| match error.reason {
        Reason::Sqlite | Reason::Unsupported => sample_of(connection, table, columns("0")?, until),
        _ => Err(error),
    })
}

fn sample_of(connection: &Connection, table: &str, columns: Vec<String>, until: Instant) -> Result<Sample> {
    // Only the record's header is read of a value that is left out.
    let values = columns.iter().map(|name| {
        let name = quoted(name);
        format!(
            "iif(octet_length({name}) > {LONGEST_VALUE}, iif(typeof({name}) = 'blob', x'00', 'long'), {name})"
        )
    });
    let values = values.collect::<Vec<_>>().join(", ");
    let from = format!("FROM main.{}", quoted(table));
    let mut sample = Sample { table: table.to_owned(), columns, rows: Vec::new(), total: 0.0 };

    read(connection, &format!("SELECT {values}, 0 {from} LIMIT ?1"), [i64::from(WHOLE)], &mut sample.rows)?;
    sample.total = sample.rows.len() as f64;
    if sample.rows.len() < usize::from(WHOLE) {
        return Ok(sample);
    }
    let rowid = ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|name| !sample.columns.iter().any(|column| column.eq_ignore_ascii_case(name)));
    let ends = rowid.and_then(|rowid| {
        let sql = format!("SELECT (SELECT min({rowid}) {from}), (SELECT max({rowid}) {from})");
        let ends = connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
        // A table WITHOUT ROWID has none.
        ends.ok().map(|ends| (rowid, ends))
    });
    let is_spread = if let Some((rowid, ends)) = ends {
        let sql = format!("SELECT {values}, {rowid} {from} WHERE {rowid} >= ?1 ORDER BY {rowid} LIMIT ?2");
        places(connection, &sql, ends, until, &mut sample)?
    } else {
        false
    };
    if !is_spread {
        let sql = format!("SELECT count(1) FROM (SELECT 1 {from} LIMIT {COUNTED})");
        sample.total = connection.query_row(&sql, [], |row| row.get(0))?;
    }
    Ok(sample)
}

/// Rows from all over the table; how close their rowids are tells how many there are. `false` where
/// most places have no rows, as between old numbers and much larger new ones: then neither is told.
fn places(
    connection: &Connection,
    sql: &str,
    (first, last): (i64, i64),
    until: Instant,
    sample: &mut Sample,
) -> Result<bool> {
    let mut found: Vec<Vec<Value>> = Vec::new();
    let (mut total, mut tried, mut filled) = (0.0, 0, 0);
    // Rowids may be any 64-bit numbers: their distance is none.
    let distance = last as f64 - first as f64 + 1.0;
    #[allow(clippy::cast_possible_truncation, reason = "within the rowids that there are")]
    let start = |place: i64| (first as f64 + distance * place as f64 / PLACES as f64) as i64;
    for place in 0..PLACES {
        if Instant::now() >= until {
            break;
        }
        let (from, to) = (start(place), if place + 1 == PLACES { i64::MAX } else { start(place + 1) });
        let mut rows = Vec::new();
        let mut rowids = read(connection, sql, [from, i64::from(ROWS_AT_A_PLACE)], &mut rows)?;
        // Those beyond belong to the next place; that there are any says that here are no more.
        let read = rowids.len();
        rowids.retain(|rowid| *rowid < to);
        rows.truncate(rowids.len());
        tried += 1;
        let Some(end) = rowids.last() else { continue };
        filled += 1;
        let share = if rowids.len() < read || read < usize::from(ROWS_AT_A_PLACE) {
            1.0
        } else {
            (*end as f64 - from as f64 + 1.0) / (distance / PLACES as f64)
        };
        total += rows.len() as f64 / share.min(1.0);
        found.append(&mut rows);
    }
    if filled * 2 < tried {
        return Ok(false);
    }
    if found.len() >= usize::from(WHOLE / 10) {
        sample.rows = found;
    }
    if tried > 0 {
        sample.total = (total * PLACES as f64 / f64::from(tried)).max(f64::from(WHOLE));
    }
    Ok(true)
}

/// Rows with one column more, an integer, which is given.
fn read<const N: usize>(
    connection: &Connection,
    sql: &str,
    parameters: [i64; N],
    rows: &mut Vec<Vec<Value>>,
) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.column_count().saturating_sub(1);
    let mut read = statement.query(rusqlite::params_from_iter(parameters))?;
    let mut more = Vec::new();
    while let Some(row) = read.next()? {
        rows.push((0..columns).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?);
        more.push(row.get(columns)?);
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of(sql: &str) -> Sample {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        sample(&connection, "t", Instant::now() + Duration::from_secs(60)).unwrap()
    }

    const FILL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
        INSERT INTO t SELECT i * 1000003, i % 7, zeroblob(i % 2000) FROM n WHERE i % 3 > 0";

    #[test]
    fn a_sample_is_bounded_and_tells_how_many_rows_there_are_however_far_apart_their_rowids_are() {
        let sample = of(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b); {FILL}"));
        let read = u16::try_from(sample.rows.len()).unwrap();
        assert!(read <= WHOLE && read > WHOLE / 2, "{}", sample.rows.len());
        assert!((30_000.0..37_000.0).contains(&sample.total), "{}", sample.total);
        let last = sample.rows.last().map(|row| row[0].clone());
        assert!(
            matches!(last, Some(Value::Integer(id)) if id > 45_000 * 1_000_003),
            "from all over: {last:?}"
        );
        let longest =
            |row: &Vec<Value>| matches!(&row[2], Value::Blob(bytes) if bytes.len() > LONGEST_VALUE as usize);
        assert!(!sample.rows.iter().any(longest), "long values stay where they are");
    }

    #[test]
    fn rows_are_told_right_where_their_rowids_have_gaps_and_where_most_of_the_range_is_empty() {
        let rows = |from: i64, step: i64, count: i64| {
            format!(
                "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})
                 INSERT INTO t SELECT {from} + i * {step}, i % 7, 'x' FROM n;"
            )
        };
        let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b);".to_owned();
        // A third of the numbers is not there.
        let gap = of(&(table.clone() + &rows(1, 1, 30_000) + &rows(60_000, 1, 30_000)));
        assert!((57_000.0..63_000.0).contains(&gap.total), "{}", gap.total);
        // Some old rows, and then numbers that begin with the time.
        let late = of(&(table + &rows(1, 1, 500) + &rows(1 << 52, 4096, 30_000)));
        assert_eq!((late.total, late.rows.len()), (30_500.0, usize::from(WHOLE)));
    }

    #[test]
    fn a_generated_column_is_sampled_as_it_is_and_left_out_where_it_cannot_be_worked_out() {
        let table = "CREATE TABLE t (doc TEXT);";
        let column = "ALTER TABLE t ADD COLUMN kind AS (json_extract(doc, '$.kind'));";
        let insert = "INSERT INTO t VALUES (json_object('kind', 'a', 'more', hex(zeroblob(300))));";
        let sample = of(&format!("{table}{insert}{column}"));
        assert_eq!(sample.columns, ["doc", "kind"]);
        assert_eq!(sample.rows[0][1], Value::Text("a".to_owned()));
        let broken = of(&format!("{table}{insert} INSERT INTO t VALUES ('no JSON'); {column}"));
        assert_eq!((broken.columns.len(), broken.rows.len()), (1, 2));
    }

    #[test]
    fn a_table_without_rowids_is_counted() {
        let sample = of(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b) WITHOUT ROWID; {FILL}"));
        assert_eq!((sample.rows.len(), sample.total), (WHOLE.into(), 33_334.0));
    }

    #[test]
    fn a_small_table_is_read_whole() {
        let sample = of("CREATE TABLE t (a, rowid); INSERT INTO t VALUES (1, 2), (3, 4)");
        assert_eq!((sample.rows.len(), sample.total), (2, 2.0));
    }
}
