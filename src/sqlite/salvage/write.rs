//! Rows into the new database: into their tables, or into `lost_and_found`. Must never change a value.

use std::collections::HashMap;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::leaf::Row;
use super::table::Table;
use crate::error::{Error, Reason, Result};
use crate::sqlite::pages::Value;
use crate::sqlite::schema::quoted;

/// Columns for values that the table of the lost can have beside its own (`SQLITE_MAX_COLUMN` is 2000).
const MOST_VALUES: usize = 1990;

/// Where a row was found whose table is not known, or that is not sure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The root of its tree, as far as that is known.
    pub(super) root: u32,
    pub(super) page: u32,
}

/// The new database.
pub(super) struct Writer<'c> {
    target: &'c Connection,
    /// By table and number of values.
    statements: HashMap<(usize, usize), (String, Vec<usize>)>,
    lost: Option<Lost>,
    /// Names that the table of the lost must not have.
    taken: Vec<String>,
}

/// The table of the lost.
struct Lost {
    name: String,
    values: usize,
    rows: u64,
}

impl<'c> Writer<'c> {
    pub(super) fn new(target: &'c Connection, taken: Vec<String>) -> Self {
        target.set_prepared_statement_cache_capacity(64);
        Self { target, statements: HashMap::new(), lost: None, taken }
    }

    /// Inserts a row whose values are all there into the table of this number; `false` where the table refuses it.
    pub(super) fn insert(&mut self, number: usize, table: &Table, row: &Row) -> Result<bool> {
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
        let values = row.values.len().min(MOST_VALUES);
        let lost = match &mut self.lost {
            Some(lost) => lost,
            None => self.lost.insert(create(self.target, &self.taken)?),
        };
        while lost.values < values {
            let sql = format!("ALTER TABLE main.{} ADD COLUMN c{}", quoted(&lost.name), lost.values);
            self.target.execute_batch(&sql)?;
            lost.values += 1;
        }
        let own = [
            Value::Integer(place.root.into()),
            Value::Integer(place.page.into()),
            Value::Integer(i64::try_from(row.values.len()).unwrap_or(i64::MAX)),
            row.rowid.map_or(Value::Null, Value::Integer),
        ]
        .map(Some);
        let marks: Vec<String> = (1..=own.len() + values).map(|at| format!("?{at}")).collect();
        let names: Vec<String> = (0..values).map(|at| format!("c{at}")).collect();
        let names =
            [&["rootpgno".to_owned(), "pgno".to_owned(), "nfield".to_owned(), "id".to_owned()][..], &names]
                .concat();
        let sql = format!(
            "INSERT INTO main.{} ({}) VALUES ({})",
            quoted(&lost.name),
            names.join(", "),
            marks.join(", ")
        );
        let bound = own.iter().chain(row.values.iter().take(values)).map(Bound);
        if refused(self.target.prepare_cached(&sql)?.execute(params_from_iter(bound)))? {
            lost.rows += 1;
        }
        Ok(())
    }

    /// The table of the lost and its rows, where there is one.
    pub(super) fn lost(&self) -> Option<(String, u64)> {
        self.lost.as_ref().map(|lost| (lost.name.clone(), lost.rows))
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

fn create(target: &Connection, taken: &[String]) -> Result<Lost> {
    let is_free = |name: &String| !taken.iter().any(|known| known.eq_ignore_ascii_case(name));
    let more = (0..).map(|number| format!("lost_and_found_{number}"));
    let mut names = std::iter::once(String::from("lost_and_found")).chain(more);
    let name = names.find(is_free).unwrap_or_default();
    let sql = format!(
        "CREATE TABLE main.{} (rootpgno INTEGER, pgno INTEGER, nfield INTEGER, id INTEGER)",
        quoted(&name)
    );
    target.execute_batch(&sql)?;
    Ok(Lost { name, values: 0, rows: 0 })
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
