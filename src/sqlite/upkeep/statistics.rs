//! The planner's statistics as rows: computed on a copy of the database, put into the database
//! itself.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Row, ToSql, params_from_iter};

use super::analyze::{analyze, has_samples};
use crate::error::{Error, Reason, Result};
use crate::sqlite::look::names::{self, Stored};
use crate::sqlite::look::schema::tables;

/// Where SQLite keeps them (<https://www.sqlite.org/fileformat2.html#the_sqlite_stat1_table>), and
/// how many columns each of these tables has. The second is only in files whose application uses
/// it.
const KEPT_IN: [(&str, usize); 2] = [("sqlite_stat1", 3), ("sqlite_stat4", 6)];

/// Where a file says whether it is in WAL mode
/// (<https://www.sqlite.org/fileformat2.html#file_format_version_numbers>).
const FILE_FORMATS: std::ops::Range<usize> = 18..20;

/// The file format of rollback journals.
const LEGACY: u8 = 1;

/// The statistics of some tables.
#[derive(Debug)]
pub struct Statistics {
    /// The tables that they are of.
    pub tables: Vec<String>,
    /// Tables that need a collation or a function that only the application has, and what each
    /// lacks.
    pub lacking: Vec<(String, Error)>,
    schema_version: i64,
    /// Of each table that SQLite keeps them in, its rows.
    rows: [Vec<Vec<StatisticsValue>>; 2],
}

/// A value of one; the name of an index need not be UTF-8.
#[derive(Debug)]
enum StatisticsValue {
    Text(Stored),
    Other(Value),
}

impl StatisticsValue {
    fn of(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(match row.get_ref(at)? {
            ValueRef::Text(_) => Self::Text(Stored::of(row, at)?),
            _ => Self::Other(row.get(at)?),
        })
    }
}

impl ToSql for StatisticsValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Other(value) => value.to_sql(),
        }
    }
}

/// Takes the first bytes of a database file out of WAL mode, for a copy that is to be changed.
pub fn out_of_wal_mode(first: &mut [u8]) {
    if let Some(formats) = first.get_mut(FILE_FORMATS) {
        formats.fill(LEGACY);
    }
}

/// Computes the statistics of these tables, or of all, on a copy that may be changed. Every row is
/// looked at.
pub fn compute(copy: &Connection, only: Option<&[String]>) -> Result<Statistics> {
    let schema_version = schema_version(copy)?;
    let samples = has_samples(copy)?;
    let (mut done, mut lacking) = (Vec::new(), Vec::new());
    for table in tables(copy)?.into_iter().map(|table| table.name) {
        if only.is_some_and(|only| !only.contains(&table)) {
            continue;
        }
        match analyze(copy, &table, true) {
            Ok(()) => done.push(table),
            Err(error) if error.reason == Reason::Unsupported => lacking.push((table, error)),
            Err(error) => return Err(error.context(format!("ANALYZE {table}"))),
        }
    }
    let mut rows = [Vec::new(), Vec::new()];
    for (rows, (table, columns)) in rows.iter_mut().zip(KEPT_IN) {
        if table == "sqlite_stat4" && !samples || done.is_empty() {
            continue;
        }
        let mut statement = copy.prepare(&format!("SELECT * FROM main.{table} ORDER BY rowid"))?;
        let mut all = statement.query([])?;
        while let Some(row) = all.next()? {
            let is_of_one = names::name(row, 0)?.is_some_and(|name| done.contains(&name));
            let row =
                (0..columns).map(|at| StatisticsValue::of(row, at)).collect::<rusqlite::Result<Vec<_>>>()?;
            if is_of_one {
                rows.push(row);
            }
        }
    }
    Ok(Statistics { tables: done, lacking, schema_version, rows })
}

/// Puts them in place of those that the database has for the same tables, in an open transaction.
///
/// Errors: `refused` where the schema was changed since the copy was made.
pub fn put(transaction: &Connection, statistics: &Statistics) -> Result<()> {
    if schema_version(transaction)? != statistics.schema_version {
        let text = "the application changed the schema meanwhile; they are computed again in the next run";
        return Err(Error::new(Reason::Refused, text));
    }
    let samples = has_samples(transaction)?;
    // Creates what SQLite keeps them in, where it is missing, and looks at no row.
    transaction.execute_batch("ANALYZE main.sqlite_schema")?;
    for (rows, (table, columns)) in statistics.rows.iter().zip(KEPT_IN) {
        if table == "sqlite_stat4" && !samples {
            // Gone in the same transaction; and a changed schema makes every connection read the
            // new statistics.
            transaction.execute_batch("DROP TABLE IF EXISTS main.sqlite_stat4")?;
            continue;
        }
        let mut delete = transaction.prepare(&format!("DELETE FROM main.{table} WHERE tbl = ?1"))?;
        for name in &statistics.tables {
            delete.execute([name])?;
        }
        let places = vec!["?"; columns].join(", ");
        let mut insert = transaction.prepare(&format!("INSERT INTO main.{table} VALUES ({places})"))?;
        for row in rows {
            insert.execute(params_from_iter(row))?;
        }
    }
    Ok(())
}

fn schema_version(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "schema_version", |row| row.get(0))?)
}
