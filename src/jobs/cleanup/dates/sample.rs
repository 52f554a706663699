//! Values of a column that are not NULL, from both ends of the table and of an index, and, where
//! there are hardly any, from wherever they are. Reads only, in short reads.

use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{MANY, Sample};
use crate::error::Result;
use crate::sql::quoting::quoted;

/// Rows taken from each end.
const ROWS: usize = 50;

/// About how long one read lasts.
const SLICE: Duration = Duration::from_millis(50);

impl Sample {
    /// Looks at a table whose rows are named by `key`, and at an index in the order of the column.
    pub(in crate::jobs::cleanup) fn take(
        connection: &Connection,
        table: &str,
        column: &str,
        key: &[String],
        index: Option<&str>,
    ) -> Result<Self> {
        let (from, column) = (format!("{} AS t", quoted(table)), format!("t.{}", quoted(column)));
        let mut sample = Self { values: Vec::new(), column };
        let Self { values, column } = &mut sample;
        for direction in ["ASC", "DESC"] {
            let order: Vec<_> = key.iter().map(|key| format!("t.{key} {direction}")).collect();
            let mut ends =
                vec![format!("SELECT {column} FROM {from} ORDER BY {} LIMIT {ROWS}", order.join(", "))];
            ends.extend(index.map(|index| {
                format!(
                    "SELECT {column} FROM {from} INDEXED BY {} WHERE {column} IS NOT NULL \
                     ORDER BY {column} COLLATE BINARY {direction} LIMIT {ROWS}",
                    quoted(index)
                )
            }));
            for sql in ends {
                let mut statement = connection.prepare(&sql)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    values.push(row.get(0)?);
                }
            }
        }
        values.retain(|value| *value != Value::Null);
        if values.len() < MANY && index.is_none() {
            *values = first(connection, &from, column, key)?;
        }
        Ok(sample)
    }
}

/// The first values that are not NULL, from the beginning of the table to wherever that is.
fn first(connection: &Connection, from: &str, column: &str, key: &[String]) -> Result<Vec<Value>> {
    let key = key.iter().map(|key| format!("t.{key}")).collect::<Vec<_>>();
    let (columns, places) = (key.join(", "), vec!["?"; key.len()].join(", "));
    let (mut values, mut at): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    loop {
        let behind = if at.is_empty() { String::new() } else { format!(" WHERE ({columns}) > ({places})") };
        let sql = format!("SELECT {columns}, {column} FROM {from}{behind} ORDER BY {columns}");
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(&at))?;
        let since = Instant::now();
        loop {
            let Some(row) = rows.next()? else { return Ok(values) };
            let value = row.get(key.len())?;
            if value != Value::Null {
                values.push(value);
            }
            if values.len() >= ROWS {
                return Ok(values);
            }
            if since.elapsed() > SLICE {
                at = (0..key.len()).map(|at| row.get(at)).collect::<rusqlite::Result<_>>()?;
                break;
            }
        }
    }
}
