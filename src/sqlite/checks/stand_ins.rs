//! Stands in, while a table is checked, for functions and collations that only its application has:
//! SQLite would not look at one page of it without them. Its structure does not depend on them. Must
//! never let what they have computed, or put into an order, count for or against the table, and
//! never be on a connection that writes.

use std::collections::BTreeSet;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::found::{Found, index_of, is_about_rows};
use crate::error::{Cause, Error, Result};
use crate::sqlite::look::{names, schema};

/// Names that one check may lack: a schema has a handful.
const MOST: usize = 100;

/// Any number of arguments.
const ANY: i32 = -1;

/// What SQLite says of the number of an index's entries, which is counted, not computed.
const COUNTED: &str = "wrong # of entries in index ";

/// Those of one check. CHECK constraints are passed over meanwhile.
pub(super) struct StandIns<'c> {
    on: Option<&'c Connection>,
    functions: BTreeSet<String>,
    collations: BTreeSet<String>,
    /// Indexes whose entries or order would be theirs.
    indexes: BTreeSet<String>,
    /// Tables whose own order would be.
    tables: BTreeSet<String>,
    /// There are indexes beside those.
    has_others: bool,
    /// Generated columns, as `table.column`, that may be computed by them.
    columns: BTreeSet<String>,
}

/// Checks `tables`, one or all, once more by `ask`, after `error` ended a check for want of a
/// function or collation, and says of one what that leaves out. Errors: those that no stand-in
/// helps against.
pub(super) fn check(
    connection: &Connection,
    tables: &[String],
    error: &Error,
    ask: impl Fn(&StandIns<'_>) -> Result<Found>,
) -> Result<Found> {
    let mut stand_ins = StandIns::none();
    stand_ins.on = Some(connection);
    connection.pragma_update(None, "ignore_check_constraints", true)?;
    let lacking = in_words(error);
    let mut left = MOST;
    let mut found = loop {
        stand_ins.note_dependents(tables)?;
        match ask(&stand_ins) {
            Err(error) if left > 0 && stand_ins.add(&error)? => left -= 1,
            asked => break asked?,
        }
    };
    found.is_of_structure = true;
    if let [table] = tables {
        if found.is_cut_off && stand_ins.has_others {
            found.unchecked.push(format!(
                "table {table}: whether its other indexes agree with it cannot be told, as SQLite ends a check after the \
                 hundredth line, of those that count for nothing as well"
            ));
        }
        found.unchecked.extend(stand_ins.left_out(table, &lacking)?);
    }
    Ok(found)
}

impl<'c> StandIns<'c> {
    pub(super) const fn none() -> Self {
        Self {
            on: None,
            functions: BTreeSet::new(),
            collations: BTreeSet::new(),
            indexes: BTreeSet::new(),
            tables: BTreeSet::new(),
            has_others: false,
            columns: BTreeSet::new(),
        }
    }

    /// Whether an error is the want of something that can be stood in for.
    pub(super) fn may_help(error: &Error) -> bool {
        matches!(error.cause(), Some(Cause::NoSuchFunction(_) | Cause::NoSuchCollation(_)))
    }

    /// Whether a line of the check says of them what they have made.
    pub(super) fn have_made(&self, line: &str) -> bool {
        if self.on.is_none() || line.starts_with(COUNTED) {
            return false;
        }
        let unordered = line.strip_prefix("row not in PRIMARY KEY order for ");
        unordered.is_some_and(|table| self.tables.contains(table))
            || index_of(line).is_some_and(|index| self.indexes.contains(index))
            || is_about_rows(line)
                && line.split_once(" value in ").is_some_and(|(_, column)| self.columns.contains(column))
    }

    /// Whether the error is the want of something that is there now.
    fn add(&mut self, error: &Error) -> Result<bool> {
        let Some(connection) = self.on else { return Ok(false) };
        match error.cause() {
            Some(Cause::NoSuchCollation(name)) if self.collations.insert(name.clone()) => {
                connection.create_collation(name.as_str(), str::cmp)?;
            }
            Some(Cause::NoSuchFunction(name)) if self.functions.insert(name.clone()) => {
                // Without its flag an untrusted schema may not call it.
                let flags = FunctionFlags::SQLITE_UTF8
                    | FunctionFlags::SQLITE_DETERMINISTIC
                    | FunctionFlags::SQLITE_INNOCUOUS;
                connection.create_scalar_function(name.as_str(), ANY, flags, |_| Ok(None::<i64>))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What of these tables may be theirs. Rather too much: what is left out is said.
    fn note_dependents(&mut self, tables: &[String]) -> Result<()> {
        let Some(connection) = self.on.filter(|_| self.is_any()) else { return Ok(()) };
        let mut list = connection.prepare("SELECT name, partial, origin FROM pragma_index_list(?1)")?;
        for table in tables {
            let computed = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 2";
            let computed = if self.functions.is_empty() {
                Vec::new()
            } else {
                names::all(connection, computed, [table])?
            };
            let of_table = list
                .query_map([table], |row| Ok((names::name(row, 0)?, row.get(1)?, names::shown(row, 2)?)))?;
            let of_table = of_table.collect::<rusqlite::Result<Vec<(Option<String>, bool, String)>>>()?;
            for (index, is_partial, origin) in of_table {
                let Some(index) = index else { continue };
                if is_partial || self.is_in(connection, &index, &computed)? {
                    if origin == "pk" {
                        self.tables.insert(table.clone());
                    }
                    self.indexes.insert(index);
                } else {
                    self.has_others = true;
                }
            }
            self.columns.extend(computed.iter().map(|column| format!("{table}.{column}")));
        }
        Ok(())
    }

    /// Whether an index has an expression, a generated column or a collation that may be theirs.
    fn is_in(&self, connection: &Connection, index: &str, computed: &[String]) -> Result<bool> {
        let mut parts = connection.prepare("SELECT cid, name, coll FROM pragma_index_xinfo(?1)")?;
        let mut parts = parts.query([index])?;
        while let Some(part) = parts.next()? {
            let (cid, column) = (part.get::<_, i64>(0)?, names::name(part, 1)?);
            let collation = names::shown(part, 2)?;
            if cid == -2
                || column.is_some_and(|column| computed.contains(&column))
                || self.collations.iter().any(|own| own.eq_ignore_ascii_case(&collation))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_any(&self) -> bool {
        !(self.functions.is_empty() && self.collations.is_empty())
    }

    /// One line for each thing of a table that cannot be told, with what it takes.
    fn left_out(&self, table: &str, lacking: &str) -> Result<Vec<String>> {
        let Some(connection) = self.on else { return Ok(Vec::new()) };
        let sql = schema::sql_of(connection, table)?.unwrap_or_default().to_ascii_lowercase();
        let all = self
            .functions
            .iter()
            .map(|name| function(name))
            .chain(self.collations.iter().map(|name| collation(name)))
            .collect::<Vec<_>>();
        let needed = if all.is_empty() { lacking.to_owned() } else { all.join(" and ") };
        let mut lines = Vec::new();
        let mut say = |what: String| {
            lines.push(format!(
                "table {table}: {what} cannot be told without {needed}, which only the application has"
            ));
        };
        if sql.contains("check") {
            say(String::from("whether its rows keep its CHECK constraints"));
        }
        for index in &self.indexes {
            say(format!("order of index {index}"));
        }
        if !self.columns.is_empty() {
            say(String::from("what its generated columns hold"));
        }
        if lines.is_empty() {
            lines.push(format!("table {table}: only its structure was checked, as it needs {needed}"));
        }
        Ok(lines)
    }
}

impl Drop for StandIns<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.on else { return };
        // No other question may meet one.
        let removed = connection
            .pragma_update(None, "ignore_check_constraints", false)
            .and_then(|()| {
                self.collations.iter().try_for_each(|name| connection.remove_collation(name.as_str()))
            })
            .and_then(|()| {
                self.functions.iter().try_for_each(|name| connection.remove_function(name.as_str(), ANY))
            });
        if let Err(error) = removed {
            tracing::error!("what stands in for the application's functions is still there: {error}");
        }
    }
}

fn in_words(error: &Error) -> String {
    match error.cause() {
        Some(Cause::NoSuchFunction(name)) => function(name),
        Some(Cause::NoSuchCollation(name)) => collation(name),
        _ => error.message.clone(),
    }
}

fn function(name: &str) -> String {
    format!("the function {name}")
}

fn collation(name: &str) -> String {
    format!("the collation {name}")
}
