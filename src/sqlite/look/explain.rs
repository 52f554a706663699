//! How SQLite means to answer a query: the rows of EXPLAIN QUERY PLAN. Must never run the query.

use rusqlite::{Connection, Statement};

use super::query::{Values, bind, has_plan};
use crate::error::{Error, Reason, Result};

/// One row of a plan (<https://www.sqlite.org/eqp.html>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// Its number, which means nothing beyond this plan.
    pub id: i64,
    /// The step that it is a part of; 0 for none.
    pub parent: i64,
    /// What is done.
    pub detail: String,
}

/// The plan of a query. The values are bound as for the query itself: they can change the plan.
pub fn steps(connection: &Connection, sql: &str, values: &Values) -> Result<Vec<PlanStep>> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    bind(&mut statement, values)?;
    read(&mut statement)
}

/// The plan of a statement whose values are not known: with STAT4 or LIKE they could have led to
/// another. Errors: `refused` for what has no plan; some PRAGMAs would even be run.
pub fn without_values(connection: &Connection, sql: &str) -> Result<Vec<PlanStep>> {
    if !has_plan(sql) {
        return Err(Error::new(Reason::Refused, "it has no plan"));
    }
    read(&mut connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?)
}

fn read(statement: &mut Statement<'_>) -> Result<Vec<PlanStep>> {
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next()? {
        steps.push(PlanStep { id: row.get(0)?, parent: row.get(1)?, detail: row.get(3)? });
    }
    Ok(steps)
}
