//! A statement that advice is asked for: a watched query with its values, or the shape of a slow
//! one without. Pure.

use rusqlite::types;

use crate::config::Query;
use crate::queries::known::SchemaNames;
use crate::queries::watched::values;
use crate::sql::fingerprint::LONGEST;

/// Stands in shapes for what was left out.
const LEFT_OUT: char = '…';

/// One statement.
#[derive(Debug, Clone)]
pub struct Question {
    /// Name of the watched query; `None`: the slow statement has none.
    pub name: Option<String>,
    /// Without literals: what may be shown.
    pub shape: String,
    /// What SQLite is asked about. May hold literals; must never be shown.
    pub(super) sql: String,
    /// Values of its parameters; `None`: nobody knows them.
    pub(super) values: Option<Vec<(String, types::Value)>>,
    /// How often it was seen; 1 for a watched query.
    pub count: u64,
}

impl Question {
    /// A query of the watch-list, with the names that its database has: its shape is that of its
    /// slow runs.
    pub fn watched(query: &Query, known: &SchemaNames) -> Self {
        Self {
            name: Some(query.name.clone()),
            shape: known.shape(&query.sql),
            sql: query.sql.clone(),
            values: Some(values(query)),
            count: 1,
        }
    }

    /// A slow statement, of which only the shape was kept.
    pub fn slow(shape: &str, count: u64) -> Self {
        // `IN (?, …)` and `VALUES (?), …` stand for any number.
        let sql =
            shape.replace(&format!("(?, {LEFT_OUT})"), "(?, ?, ?)").replace(&format!(", {LEFT_OUT}"), "");
        Self { name: None, shape: shape.to_owned(), sql, values: None, count }
    }

    /// How it is called in text.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.shape)
    }

    /// Whether its end is missing, so that nobody can say what it does. Many rows after VALUES are
    /// left out, too, but their shape is short.
    pub(super) fn is_cut(&self) -> bool {
        self.values.is_none() && self.shape.ends_with(LEFT_OUT) && self.shape.chars().count() > LONGEST / 2
    }

    /// The same with another text.
    pub(super) fn rewritten(&self, sql: String) -> Self {
        Self { sql, ..self.clone() }
    }
}
