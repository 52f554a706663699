//! Rows into the new database: into their tables, or into `lost_and_found`. Must never change a
//! value.

use std::collections::HashMap;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::leaf::Row;
use super::table::TableTree;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::pages::Value;

/// Columns for values that the table of the lost can have beside its own (`SQLITE_MAX_COLUMN` is
/// 2000).
const MOST_VALUES: usize = 1990;

/// Where a row was found whose table is not known, or that is not sure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The root of its tree, as far as that is known.
    pub(super) root: u32,
    pub(super) page: u32,
}

/// What an entry of an index is to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// There is no such row in its table.
    Missing,
    /// The row has other values: these are the index's, …
    Index,
    /// … and these the row's.
    Row,
}

/// Values that are known by an index.
pub(super) struct IndexValues<'v> {
    pub(super) table: &'v str,
    pub(super) index: &'v str,
    pub(super) what: What,
    pub(super) page: u32,
    pub(super) rowid: Option<i64>,
    /// The names of the columns, as a list.
    pub(super) columns: &'v str,
    pub(super) values: &'v [Option<Value>],
}

/// The new database.
pub(super) struct Writer<'c> {
    target: &'c Connection,
    /// By table and number of values.
    statements: HashMap<(usize, usize), (String, Vec<usize>)>,
    lost: Option<SideTable>,
    known: Option<SideTable>,
    /// Names that the tables beside must not have.
    taken: Vec<String>,
}

/// A table beside the file's own, with so many columns for values behind its first ones.
struct SideTable {
    name: String,
    own: &'static [&'static str],
    values: usize,
    rows: u64,
}

/// Of the rows that are not sure, or whose table is not known.
const LOST: (&str, &[&str], &str) = (
    "lost_and_found",
    &["rootpgno", "pgno", "nfield", "id"],
    "rootpgno INTEGER, pgno INTEGER, nfield INTEGER, id INTEGER",
);

/// Of what only an index knows.
const KNOWN: (&str, &[&str], &str) = (
    "lost_and_found_by_index",
    &["tbl", "idx", "what", "pgno", "id", "columns"],
    "tbl TEXT, idx TEXT, what TEXT, pgno INTEGER, id INTEGER, columns TEXT",
);

impl<'c> Writer<'c> {
    pub(super) fn new(target: &'c Connection, taken: Vec<String>) -> Self {
        target.set_prepared_statement_cache_capacity(64);
        Self { target, statements: HashMap::new(), lost: None, known: None, taken }
    }

    /// Inserts a row whose values are all there into the table of this number; `false` where the
    /// table refuses it.
    pub(super) fn insert(&mut self, number: usize, table: &TableTree, row: &Row) -> Result<bool> {
        let (sql, taken) = self
            .statements
            .entry((number, row.values.len()))
            .or_insert_with(|| table.insert(row.values.len()));
        let rowid = Some(Value::Integer(row.rowid.unwrap_or_default()));
        let values = taken.iter().filter_map(|at| row.values.get(*at));
        let bound = table.sets_rowid().then_some(&rowid).into_iter().chain(values).map(Bound);
        let mut statement = self.target.prepare_cached(sql)?;
        refused(statement.execute(params_from_iter(bound)))
    }

    /// Keeps a row beside the tables.
    pub(super) fn set_aside(&mut self, place: Place, row: &Row) -> Result<()> {
        let lost = match &mut self.lost {
            Some(lost) => lost,
            None => self.lost.insert(SideTable::create(self.target, LOST, &self.taken)?),
        };
        let own = [
            Value::Integer(place.root.into()),
            Value::Integer(place.page.into()),
            Value::Integer(i64::try_from(row.values.len()).unwrap_or(i64::MAX)),
            row.rowid.map_or(Value::Null, Value::Integer),
        ];
        lost.add(self.target, &own.map(Some), &row.values)
    }

    /// Keeps what an index knows of a row.
    pub(super) fn keep_known(&mut self, known: &IndexValues<'_>) -> Result<()> {
        let table = match &mut self.known {
            Some(table) => table,
            None => self.known.insert(SideTable::create(self.target, KNOWN, &self.taken)?),
        };
        let text = |text: &str| Value::Text(text.as_bytes().to_vec());
        let what = match known.what {
            What::Missing => "missing",
            What::Index => "index",
            What::Row => "row",
        };
        let own = [
            text(known.table),
            text(known.index),
            text(what),
            Value::Integer(known.page.into()),
            known.rowid.map_or(Value::Null, Value::Integer),
            text(known.columns),
        ];
        table.add(self.target, &own.map(Some), known.values)
    }

    /// Forgets the rows with which an index disagrees; not those that only it knows.
    pub(super) fn forget_differences(&mut self, index: &str) -> Result<()> {
        let Some(known) = &mut self.known else { return Ok(()) };
        let sql = format!("DELETE FROM main.{} WHERE idx = ?1 AND what <> 'missing'", quoted(&known.name));
        known.rows -= self.target.execute(&sql, [index])? as u64;
        Ok(())
    }

    /// How many rows only an index knows, and how many disagree with one, by their tables. Rows
    /// without a rowid count for each index.
    pub(super) fn known_rows(&self) -> Result<Vec<(String, u64, u64)>> {
        let Some(known) = &self.known else { return Ok(Vec::new()) };
        let count =
            |what: &str| format!("count(DISTINCT iif(what = '{what}', coalesce(id, 'row ' || rowid), NULL))");
        let sql = format!(
            "SELECT tbl, {}, {} FROM main.{} GROUP BY tbl",
            count("missing"),
            count("index"),
            quoted(&known.name)
        );
        let mut statement = self.target.prepare(&sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The table of the lost and its rows, where there is one.
    pub(super) fn lost(&self) -> Option<(String, u64)> {
        self.lost.as_ref().map(|lost| (lost.name.clone(), lost.rows))
    }

    /// The table of what only an index knows, and its rows. One that has none left is dropped.
    pub(super) fn known(&self) -> Result<Option<(String, u64)>> {
        let Some(known) = &self.known else { return Ok(None) };
        if known.rows == 0 {
            self.target.execute_batch(&format!("DROP TABLE main.{}", quoted(&known.name)))?;
            return Ok(None);
        }
        Ok(Some((known.name.clone(), known.rows)))
    }

    /// The values that the table has in the row with this key; `None` where it has none.
    pub(super) fn look_up(&self, sql: &str, key: &[Option<Value>]) -> Result<Option<Vec<Value>>> {
        let mut statement = self.target.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(key.iter().map(Bound)))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let value = |at: usize| {
            Ok(match row.get_ref(at)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number),
                ValueRef::Real(number) => Value::Real(number),
                ValueRef::Text(text) => Value::Text(text.to_vec()),
                ValueRef::Blob(blob) => Value::Blob(blob.to_vec()),
            })
        };
        Ok(Some((0..columns).map(value).collect::<Result<_>>()?))
    }
}

impl SideTable {
    fn create(
        target: &Connection,
        (name, own, columns): (&str, &'static [&'static str], &str),
        taken: &[String],
    ) -> Result<Self> {
        let is_free = |name: &String| !taken.iter().any(|known| known.eq_ignore_ascii_case(name));
        let more = (0..).map(|number| format!("{name}_{number}"));
        let name = std::iter::once(name.to_owned()).chain(more).find(is_free).unwrap_or_default();
        target.execute_batch(&format!("CREATE TABLE main.{} ({columns})", quoted(&name)))?;
        Ok(Self { name, own, values: 0, rows: 0 })
    }

    fn add(&mut self, target: &Connection, own: &[Option<Value>], values: &[Option<Value>]) -> Result<()> {
        let count = values.len().min(MOST_VALUES);
        while self.values < count {
            let sql = format!("ALTER TABLE main.{} ADD COLUMN c{}", quoted(&self.name), self.values);
            target.execute_batch(&sql)?;
            self.values += 1;
        }
        let marks: Vec<String> = (1..=own.len() + count).map(|at| format!("?{at}")).collect();
        let names: Vec<String> = self
            .own
            .iter()
            .map(|&name| name.to_owned())
            .chain((0..count).map(|at| format!("c{at}")))
            .collect();
        let sql = format!(
            "INSERT INTO main.{} ({}) VALUES ({})",
            quoted(&self.name),
            names.join(", "),
            marks.join(", ")
        );
        let bound = own.iter().chain(values.iter().take(count)).map(Bound);
        if refused(target.prepare_cached(&sql)?.execute(params_from_iter(bound)))? {
            self.rows += 1;
        }
        Ok(())
    }
}

/// What the table itself has against a row is no error of the salvage.
fn refused(inserted: rusqlite::Result<usize>) -> Result<bool> {
    match inserted.map_err(Error::from) {
        Ok(rows) => Ok(rows > 0),
        Err(error) if matches!(error.reason, Reason::NoSpace | Reason::Io | Reason::Cancelled) => Err(error),
        Err(_) => Ok(false),
    }
}

/// A value for a statement; one that was not read is NULL.
struct Bound<'v>(&'v Option<Value>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            None | Some(Value::Null) => ValueRef::Null,
            Some(Value::Integer(number)) => ValueRef::Integer(*number),
            Some(Value::Real(number)) => ValueRef::Real(*number),
            Some(Value::Text(text)) => ValueRef::Text(text),
            Some(Value::Blob(blob)) => ValueRef::Blob(blob),
        }))
    }
}
