//! Stands in for collations and functions that only the application has, while tables are made and
//! filled: a table that only names one can be made and filled without it, for no byte of its rows
//! depends on it. Must never decide what is stored: what would be in an order, or be computed, by a
//! stand-in is not made.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::finish;
use super::schema::Entry;
use crate::error::{Cause, Error, Reason, Result};

/// Names that one statement may lack: a schema has a handful.
const MOST: usize = 100;

/// Any number of arguments.
const ANY: i32 = -1;

/// Those of a new database.
pub(super) struct StandIns<'c> {
    target: &'c Connection,
    collations: Vec<String>,
    functions: Vec<String>,
}

impl<'c> StandIns<'c> {
    pub(super) const fn new(target: &'c Connection) -> Self {
        Self { target, collations: Vec::new(), functions: Vec::new() }
    }

    /// Makes a table, with a stand-in for each name that it lacks. Why it must not be kept, where
    /// its rows depend on one.
    pub(super) fn create(&mut self, entry: &Entry) -> Result<Option<Error>> {
        for _ in 0..MOST {
            match finish::create(self.target, entry) {
                Err(error) if self.add(&error)? => {}
                made => return made.and_then(|()| self.depends(entry)),
            }
        }
        Err(Error::new(Reason::Unsupported, "it needs too much that only the application has"))
    }

    /// No index, view or trigger may meet one.
    pub(super) fn remove(self) -> Result<()> {
        for name in self.collations {
            self.target.remove_collation(name.as_str())?;
        }
        for name in self.functions {
            self.target.remove_function(name.as_str(), ANY)?;
        }
        Ok(())
    }

    /// Whether the error is of a name that is missing, which no longer is.
    fn add(&mut self, error: &Error) -> Result<bool> {
        match error.cause() {
            Some(Cause::NoSuchCollation(name)) => {
                self.target.create_collation(name.as_str(), str::cmp)?;
                self.collations.push(name.clone());
            }
            Some(Cause::NoSuchFunction(name)) => {
                // What is not known breaks no CHECK: NULL. Without its flag an untrusted schema may
                // not call it.
                let flags = FunctionFlags::SQLITE_UTF8
                    | FunctionFlags::SQLITE_DETERMINISTIC
                    | FunctionFlags::SQLITE_INNOCUOUS;
                self.target.create_scalar_function(name.as_str(), ANY, flags, |_| Ok(None::<i64>))?;
                self.functions.push(name.clone());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether a key of its own is in an order that only the application knows, or it may compute a
    /// value that it keeps.
    fn depends(&self, entry: &Entry) -> Result<Option<Error>> {
        let needed = match self.collation_of_a_key(&entry.name)? {
            Some(collation) => Some(format!("a key of it needs the collation {collation}")),
            None => self
                .function_of_a_value(entry)?
                .map(|function| format!("it has generated columns and needs the function {function}")),
        };
        let said =
            |needed| Error::new(Reason::Unsupported, format!("{needed}, which only the application has"));
        Ok(needed.map(said))
    }

    fn collation_of_a_key(&self, table: &str) -> Result<Option<String>> {
        if self.collations.is_empty() {
            return Ok(None);
        }
        let mut keys = self.target.prepare(
            "SELECT coll FROM pragma_index_list(?1) AS list, pragma_index_xinfo(list.name) AS part WHERE part.key",
        )?;
        let mut keys = keys.query([table])?;
        while let Some(key) = keys.next()? {
            let name: Option<String> = key.get(0)?;
            let is_ours = |known: &String| name.as_ref().is_some_and(|name| known.eq_ignore_ascii_case(name));
            if let Some(known) = self.collations.iter().find(|known| is_ours(known)) {
                return Ok(Some(known.clone()));
            }
        }
        Ok(None)
    }

    fn function_of_a_value(&self, entry: &Entry) -> Result<Option<String>> {
        let sql = entry.sql.as_deref().unwrap_or_default().to_ascii_lowercase();
        // In a comment as well: better a table too few than a value that was never there.
        let named = self.functions.iter().find(|name| sql.contains(&name.to_ascii_lowercase()));
        let Some(function) = named else { return Ok(None) };
        let computes: bool = self.target.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_xinfo(?1) WHERE hidden IN (2, 3))",
            [&entry.name],
            |row| row.get(0),
        )?;
        Ok(computes.then(|| function.clone()))
    }
}
