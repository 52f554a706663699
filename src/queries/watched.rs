//! The queries of the watch-list as SQLite takes them. Runs none of them.

use rusqlite::{Connection, types};

use super::plans::Plan;
use crate::config::{Query, Value};
use crate::error::Result;
use crate::sqlite::look::explain;

/// The values of a query's parameters, by name.
pub fn values(query: &Query) -> Vec<(String, types::Value)> {
    let value = |value: &Value| match value {
        Value::Integer(n) => types::Value::Integer(*n),
        Value::Real(x) => types::Value::Real(*x),
        Value::Text(text) => types::Value::Text(text.clone()),
    };
    query.params.iter().map(|(name, v)| (name.clone(), value(v))).collect()
}

/// How the query would be answered now.
pub fn plan(connection: &Connection, query: &Query) -> Result<Plan> {
    Ok(Plan::new(&explain::steps(connection, &query.sql, &values(query))?))
}
