//! An empty copy of a database in memory that plans as the database does: its tables, indexes,
//! views and statistics. Indexes are tried here. Must never run a statement of the application: it
//! asks for plans.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::index::NewIndex;
use super::material::{Object, Schema};
use super::question::Question;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::explain::{self, PlanStep};

/// A column of a table.
pub(super) type Column = (String, String);

/// The copy.
pub(super) struct Twin {
    pub(super) connection: Connection,
    read: Arc<Mutex<BTreeSet<Column>>>,
    /// Indexes that are tried, with their names here.
    tried: BTreeMap<NewIndex, String>,
    named: usize,
    /// What the copy lacks, by its name in lower case, and why.
    lacks: BTreeMap<String, String>,
}

impl Twin {
    /// Copies the schema. What needs the application's functions or modules is left out; a question
    /// about it is told why.
    pub(super) fn new(schema: &Schema) -> Result<Self> {
        let connection = Connection::open_in_memory()?;
        // The schema is untrusted: it is taken for what it defines, and nothing in it is run.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON")?;
        let defines = |context: AuthContext<'_>| match context.action {
            AuthAction::Select | AuthAction::Attach { .. } => Authorization::Deny,
            _ => Authorization::Allow,
        };
        connection.authorizer(Some(defines))?;
        let mut lacks = BTreeMap::new();
        for object in &schema.objects {
            if let Err(why) = create(&connection, object) {
                lacks.insert(object.name.to_ascii_lowercase(), why);
            }
        }
        let read = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = Arc::clone(&read);
        let notes = move |context: AuthContext<'_>| {
            if let AuthAction::Read { table_name, column_name } = context.action
                && !column_name.is_empty()
            {
                let column = (table_name.to_owned(), column_name.to_owned());
                seen.lock().unwrap_or_else(PoisonError::into_inner).insert(column);
            }
            if matches!(context.action, AuthAction::Attach { .. }) {
                Authorization::Deny
            } else {
                Authorization::Allow
            }
        };
        connection.authorizer(Some(notes))?;
        Ok(Self { connection, read, tried: BTreeMap::new(), named: 0, lacks })
    }

    /// Takes over statistics, in the form of the rows of sqlite_stat1 and sqlite_stat4. Without
    /// any, the planner guesses as it does in the database.
    pub(super) fn set_statistics(
        &self,
        statistics: Option<&[[Value; 3]]>,
        histograms: Option<&[[Value; 6]]>,
    ) -> Result<()> {
        let Some(statistics) = statistics else { return Ok(()) };
        // Makes both tables.
        self.connection.execute_batch("ANALYZE; DELETE FROM sqlite_stat1")?;
        self.insert("sqlite_stat1 (tbl, idx, stat)", statistics)?;
        match histograms {
            Some(rows) => {
                self.connection.execute_batch("DELETE FROM sqlite_stat4")?;
                self.insert("sqlite_stat4 (tbl, idx, neq, nlt, ndlt, sample)", rows)?;
            }
            None => self.connection.execute_batch("DROP TABLE sqlite_stat4")?,
        }
        Ok(self.connection.execute_batch("ANALYZE sqlite_schema")?)
    }

    fn insert<const N: usize>(&self, into: &str, rows: &[[Value; N]]) -> Result<()> {
        let marks = ["?"; N].join(", ");
        let mut insert = self.connection.prepare(&format!("INSERT INTO {into} VALUES ({marks})"))?;
        for row in rows {
            insert.execute(params_from_iter(row))?;
        }
        Ok(())
    }

    /// Has these indexes and no other beside those of the database.
    pub(super) fn try_only(&mut self, wanted: &[NewIndex]) -> Result<()> {
        let gone: Vec<NewIndex> =
            self.tried.keys().filter(|index| !wanted.contains(index)).cloned().collect();
        for index in gone {
            if let Some(name) = self.tried.remove(&index) {
                self.connection.execute_batch(&format!("DROP INDEX {}", quoted(&name)))?;
            }
        }
        for index in wanted {
            if !self.tried.contains_key(index) {
                self.named += 1;
                let name = format!("lk_tried_{}", self.named);
                self.connection.execute_batch(&index.sql(&name))?;
                self.tried.insert(index.clone(), name);
            }
        }
        Ok(())
    }

    /// The name under which an index is tried, and the other way round.
    pub(super) fn tried(&self) -> impl Iterator<Item = (&NewIndex, &str)> {
        self.tried.iter().map(|(index, name)| (index, name.as_str()))
    }

    /// How the database would answer it.
    pub(super) fn plan(&self, question: &Question) -> Result<Vec<PlanStep>> {
        match &question.values {
            Some(values) => explain::steps(&self.connection, &question.sql, values),
            None => explain::without_values(&self.connection, &question.sql),
        }
        .map_err(|error| self.explained(error))
    }

    /// The columns that it reads, by table. Errors: `unsupported` with what stands in the way.
    pub(super) fn reads(&self, question: &Question) -> Result<BTreeSet<Column>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.plan(question)?;
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(read.into_iter().filter(|(table, _)| !table.starts_with("sqlite_")).collect())
    }

    /// A name that the copy lacks on purpose is no mistake of the query's.
    fn explained(&self, error: Error) -> Error {
        let lacking = ["no such table: ", "no such column: "].iter().find_map(|what| {
            let (_, name) = error.message.split_once(what)?;
            let name = name.split([' ', '.']).find(|part| *part != "main")?.to_ascii_lowercase();
            self.lacks.get(&name).map(|why| format!("it reads {name}, {why}"))
        });
        lacking.map_or(error, |text| Error::new(Reason::Unsupported, text))
    }
}

fn create(connection: &Connection, object: &Object) -> std::result::Result<(), String> {
    let words: Vec<String> = object.sql.split_whitespace().take(2).map(str::to_ascii_uppercase).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["CREATE", "VIRTUAL"] => return Err("a virtual table, whose module plans for itself".to_owned()),
        ["CREATE", "TABLE" | "INDEX" | "UNIQUE" | "VIEW"] => {}
        _ => return Err("which is not in the schema in the usual form".to_owned()),
    }
    let made = connection.execute(&object.sql, []);
    made.map(|_| ()).map_err(|error| format!("which cannot be made without the application: {error}"))
}
