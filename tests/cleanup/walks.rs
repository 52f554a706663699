//! Going over large tables costs no more where dates are equal than where they are spread, in steps
//! of SQLite's machine; and a preview of many rows takes little memory.

use std::time::Duration;

use super::fixture::{Place, Rule, database, detail, rule};
use crate::support::keeper::order;
use crate::support::process::memory::most_memory;
use crate::support::sandbox::Sandbox;
use litekeeper::config::Database;
use litekeeper::jobs::Task;
use litekeeper::jobs::cleanup::{Cleanup, Preview};
use litekeeper::jobs::runner;
use litekeeper::pool::{Pool, slow_statements};
use litekeeper::state::State;
use litekeeper::terms::Outcome;
use rusqlite::Connection;
use serde_json::Value;

const ROWS: u64 = 60_000;

/// Steps of SQLite's machine that a run took, and its rule's report.
async fn steps(place: &Place, mut database: Database, task: impl Into<Task>) -> (u64, Value) {
    database.watch.slow_threshold = Duration::ZERO;
    let state = State::open(&place.directory.path().join("state")).unwrap();
    let (slow, mut statements) = slow_statements(1 << 20);
    let pool = Pool::new(&database, slow).unwrap();
    let finished = runner::run(&state, order(task, &database, &pool)).await;
    drop(pool);
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    let mut steps = 0;
    while let Some(statement) = statements.recv().await {
        steps += statement.vm_steps;
    }
    assert_eq!(statements.take_dropped(), 0);
    (steps, detail(&finished).clone())
}

#[tokio::test]
async fn rows_of_one_date_cost_no_more_than_rows_of_many() {
    for schema in [
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT); CREATE INDEX i ON log(at)",
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT); CREATE INDEX i ON log(at DESC, id)",
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT)",
        "CREATE TABLE log(id INTEGER, at TEXT, PRIMARY KEY (at, id)) WITHOUT ROWID",
    ] {
        let mut seen = Vec::new();
        for date in ["datetime(1500000000 + i, 'unixepoch')", "'2017-07-14 02:40:00'"] {
            let place = Place::new(&format!(
                "{schema}; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
                 INSERT INTO log(id, at) SELECT i, {date} FROM n;"
            ));
            // Half of them go, which with one date are those with the smaller keys.
            let by = Rule { keep: None, keep_rows: Some(ROWS / 2), ..rule("log") };
            let database = database(&place.path(), vec![by]);
            let (preview, counted) = steps(&place, database.clone(), Preview).await;
            assert_eq!((&counted["rows"], &counted["matched"]), (&ROWS.into(), &(ROWS / 2).into()));
            let (run, removed) = steps(&place, database, Cleanup).await;
            assert_eq!(removed["removed"], ROWS / 2);
            assert_eq!(place.number("SELECT min(id) FROM log").cast_unsigned(), ROWS / 2 + 1);
            seen.push((preview, run));
        }
        let [(preview, run), (equal_preview, equal_run)] = seen[..] else { panic!() };
        assert!(
            equal_preview < preview * 2,
            "{schema}: a preview takes {equal_preview} steps, spread {preview}"
        );
        assert!(equal_run < run * 2, "{schema}: a run takes {equal_run} steps, spread {run}");
    }
}

/// Two ways lead to each row of `line`, so that the preview must know which it has counted.
#[test]
fn a_preview_of_keys_that_are_no_tree_counts_each_row_once_in_bounded_memory() {
    const ORDERS: i64 = 120_000;
    let sandbox = Sandbox::empty();
    let connection = Connection::open(sandbox.database()).unwrap();
    connection
        .execute_batch(&format!(
            "CREATE TABLE orders(id INTEGER PRIMARY KEY, at INTEGER); \
             CREATE TABLE parcel(id INTEGER PRIMARY KEY, orders INTEGER REFERENCES orders ON DELETE CASCADE); \
             CREATE TABLE line(id INTEGER PRIMARY KEY, orders INTEGER REFERENCES orders ON DELETE CASCADE, \
                 parcel INTEGER REFERENCES parcel ON DELETE CASCADE); \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ORDERS}) \
             INSERT INTO orders SELECT i, 1300000000 + i FROM n; \
             INSERT INTO parcel SELECT id, id FROM orders; \
             INSERT INTO line SELECT orders.id * 3 + x.column1, orders.id, (orders.id * 7919) % {ORDERS} + 1 \
                 FROM orders, (VALUES (0), (1), (2)) AS x; \
             CREATE INDEX p ON parcel(orders); CREATE INDEX l ON line(orders); CREATE INDEX m ON line(parcel);"
        ))
        .unwrap();
    drop(connection);
    sandbox.configure(
        "[cleanup]\nmax_share = '100%'\n[[database.attendance.cleanup.rule]]\ntable = 'orders'\ncolumn = 'at'\n\
         keep = '100d'\nformat = 'unix_seconds'\nchildren = 'cascade'\n",
    );
    let (kib, said) = most_memory(&sandbox, &["cleanup", "attendance", "--dry-run"]);
    assert!(said.contains("360,000 rows of line") && said.contains("120,000 rows of parcel"), "{said}");
    // Of 600,000 rows: in memory each of them takes some 100 bytes.
    sandbox.configure("");
    let (nothing, _) = most_memory(&sandbox, &["cleanup", "attendance", "--dry-run"]);
    assert!(kib < nothing + (40 << 10), "{kib} KiB, and without a rule {nothing}");
}
