//! A database of a schema, what is advised for queries of it, and what a query costs.

use chrono::Utc;
use litekeeper::advice::{self, Advice, Question};
use litekeeper::config::{Query, Value};
use litekeeper::queries::known::SchemaNames;
use litekeeper::state::slow::Execution;
use rusqlite::{Connection, StatementStatus};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A statement that was slow just now.
pub(crate) fn execution(job: &'static str, shape: &str) -> Execution {
    Execution {
        database: "attendance".to_owned(),
        job,
        shape: shape.to_owned(),
        at: Utc::now(),
        duration: Duration::from_secs(2),
        vm_steps: 1,
        full_scan_steps: 1,
        sorts: 0,
        automatic_indexes: 0,
        plan: None,
    }
}

pub(crate) const HISTORY: (&str, &str) = (
    "history",
    "SELECT date, time_in FROM attendance WHERE user_id = :user AND date >= '2024-01-20' ORDER BY date DESC",
);

pub(crate) fn database(sql: &str) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

pub(crate) fn watched(name: &str, sql: &str) -> Question {
    let params: BTreeMap<_, _> =
        [("user", 42), ("p", 77)].map(|(n, v)| (n.to_owned(), Value::Integer(v))).into();
    Question::watched(&Query { name: name.to_owned(), sql: sql.to_owned(), params }, &SchemaNames::default())
}

pub(crate) fn advise(connection: &Connection, questions: &[Question]) -> Advice {
    let material = advice::read(connection, questions, Instant::now() + Duration::from_secs(60)).unwrap();
    advice::judge(&material, questions).unwrap()
}

/// `table(key, key)` of each proposal, in their order.
pub(crate) fn proposed(advice: &Advice) -> Vec<String> {
    let keys = |sql: &str| {
        let (_, on) = sql.split_once(" ON ").unwrap();
        on.replace(" (", "(").replace('"', "")
    };
    let mut all: Vec<_> = advice.proposals.iter().map(|p| keys(&p.sql)).collect();
    all.sort();
    all
}

/// Instructions that a query takes.
pub(crate) fn instructions(connection: &Connection, question: &Question, sql: &str) -> f64 {
    let mut statement = connection.prepare(sql).unwrap();
    for at in 1..=statement.parameter_count() {
        let value = if question.name.is_some() { 42 } else { 7 };
        statement.raw_bind_parameter(at, value).unwrap();
    }
    let mut rows = statement.raw_query();
    while rows.next().unwrap().is_some() {}
    drop(rows);
    f64::from(statement.get_status(StatementStatus::VmStep))
}

pub(crate) fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    for at in 1..=statement.parameter_count() {
        statement.raw_bind_parameter(at, 42).unwrap();
    }
    let mut rows = statement.raw_query();
    let mut plan = String::new();
    while let Some(row) = rows.next().unwrap() {
        plan += &row.get::<_, String>(3).unwrap();
        plan.push('\n');
    }
    plan
}
