//! A database with rules, and a run of the job on it as the daemon runs it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::configured;
pub(crate) use crate::support::configured::rule;
use crate::support::keeper::order;
pub(crate) use litekeeper::config::Rule;
use litekeeper::config::{Children, Database};
use litekeeper::error::Reason;
use litekeeper::jobs::Task;
use litekeeper::jobs::cleanup::{Cleanup, Preview};
use litekeeper::jobs::runner::{self, Order, RunEnd};
use litekeeper::pool::Pool;
use litekeeper::state::State;
use litekeeper::terms::progress::Progress;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) fn day(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

pub(crate) fn cascade(table: &str) -> Rule {
    Rule { children: Children::Cascade, ..rule(table) }
}

pub(crate) fn unlink(table: &str) -> Rule {
    Rule { children: Children::Unlink, ..rule(table) }
}

/// With these rules alone, and limits that no test reaches by chance.
pub(crate) fn database(path: &Path, rules: Vec<Rule>) -> Database {
    let mut database = configured::database("attendance", path);
    database.pool.busy_timeout = Duration::from_secs(30);
    database.cleanup.when.timeout = Duration::from_secs(600);
    database.cleanup.max_share = 1.0;
    database.cleanup.rules = rules;
    database
}

/// A database made by `sql`, in a directory of its own.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new(sql: &str) -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap() };
        this.open()
            .execute_batch(&format!("PRAGMA foreign_keys = off; PRAGMA journal_mode = wal; {sql}"))
            .unwrap();
        this
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("database.sqlite")
    }

    pub(crate) fn open(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(30)).unwrap();
        connection
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.open().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn numbers(&self, sql: &str) -> Vec<i64> {
        let connection = self.open();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    pub(crate) async fn run(&self, rules: Vec<Rule>) -> RunEnd {
        self.run_as(database(&self.path(), rules), false).await
    }

    pub(crate) async fn preview(&self, rules: Vec<Rule>) -> RunEnd {
        self.run_as(database(&self.path(), rules), true).await
    }

    pub(crate) async fn run_as(&self, database: Database, dry_run: bool) -> RunEnd {
        self.run_watched(database, dry_run, |_, _| {}).await
    }

    /// Tells `look` of each step of the progress, with what stops the run.
    pub(crate) async fn run_watched(
        &self,
        database: Database,
        dry_run: bool,
        mut look: impl FnMut(Progress, &CancellationToken) + Send + 'static,
    ) -> RunEnd {
        let state = State::open(&self.directory.path().join("state")).unwrap();
        let pool = Pool::new(&database, litekeeper::pool::slow_statements(1).0).unwrap();
        let (progress, mut seen) = watch::channel(None);
        let cancel = CancellationToken::new();
        let task: Task = if dry_run { Preview.into() } else { Cleanup.into() };
        let order = Order { cancel: cancel.clone(), progress, ..order(task, &database, &pool) };
        let watching = tokio::spawn(async move {
            while seen.changed().await.is_ok() {
                let progress = *seen.borrow_and_update();
                if let Some(progress) = progress {
                    look(progress, &cancel);
                }
            }
        });
        let finished = runner::run(&state, order).await;
        watching.await.unwrap();
        finished
    }
}

pub(crate) fn detail(finished: &RunEnd) -> &Value {
    &finished.result.as_ref().unwrap().detail["rules"][0]
}

pub(crate) fn message(finished: &RunEnd) -> (Reason, String) {
    let error = finished.result.as_ref().unwrap_err();
    (error.reason, error.message.clone())
}

/// 100 rows of `table`, numbered from 1, the first 40 of them older than a year, with dates as
/// `date` writes the instant `julianday` in SQL.
pub(crate) fn hundred_rows(table: &str, date: &str) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100), \
         t(i, j) AS (SELECT i, julianday('now') - CASE WHEN i <= 40 THEN 400 + i ELSE i END FROM n) \
         INSERT INTO {table}(id, at) SELECT i, {date} FROM t;"
    )
}

pub(crate) const TRIGGER: &str = "CREATE TABLE gone(id); \
    CREATE TRIGGER keep_trace AFTER DELETE ON log BEGIN INSERT INTO gone VALUES (old.id); END;";

pub(crate) fn log_with(more: &str) -> Place {
    let rows = hundred_rows("log", "date(j)");
    Place::new(&format!("CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT); {rows} {more}"))
}

/// 6,000 old orders with three items each, to be removed in many batches.
pub(crate) const ORDERS: &str = "CREATE TABLE orders(id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX i ON orders(at); \
    CREATE TABLE item(orders INTEGER REFERENCES orders); CREATE INDEX o ON item(orders); \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) \
    INSERT INTO orders SELECT i, 1300000000 + i FROM n; \
    INSERT INTO item SELECT id FROM orders, (VALUES (1), (2), (3));";

/// Some orders are gone, not all; each with all its items, the oldest first.
pub(crate) fn assert_whole_batches(place: &Place) {
    let left = place.numbers("SELECT id FROM orders ORDER BY id");
    assert!((1..6_000).contains(&left.len()), "{} orders are left", left.len());
    assert_eq!(left[0] + i64::try_from(left.len()).unwrap(), 6_001);
    let whole = "SELECT count(*) FROM (SELECT orders FROM item GROUP BY orders HAVING count(*) = 3)";
    assert_eq!(place.number(whole), i64::try_from(left.len()).unwrap());
    assert_eq!(place.number("SELECT count(DISTINCT orders) FROM item"), i64::try_from(left.len()).unwrap());
}

/// Users, of whom 1 to 40 are old, and what points at them; every tenth user has two rows in
/// `visit`.
pub(crate) fn users(reference: &str) -> String {
    format!(
        "CREATE TABLE users(id INTEGER PRIMARY KEY, at TEXT); {} \
         CREATE TABLE visit(id INTEGER PRIMARY KEY, user {reference}); \
         INSERT INTO visit(user) SELECT id FROM users WHERE id % 10 = 0; \
         INSERT INTO visit(user) SELECT id FROM users WHERE id % 10 = 0; \
         INSERT INTO visit(user) VALUES (NULL); \
         CREATE TABLE note(visit REFERENCES visit ON DELETE CASCADE); INSERT INTO note SELECT id FROM visit;",
        hundred_rows("users", "date(j)")
    )
}

pub(crate) const ORPHANS: &str = "SELECT count(*) FROM pragma_foreign_key_check";
