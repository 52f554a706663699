//! A database to maintain, and what a run said and did.

use std::path::Path;
use std::time::Duration;

use litekeeper::config::{self, Analyze, Database, Reindex, RowidPolicy, Vacuum};
use litekeeper::error::Reason;
use litekeeper::jobs::Task;
use litekeeper::jobs::maintain::{Maintain, Preview};
use litekeeper::jobs::runner::{self, RunEnd};
use litekeeper::pool::Pool;
use litekeeper::state::State;
use serde_json::Value;

use crate::support::disk::Disk;
use crate::support::keeper::order;
use crate::support::sandbox::Sandbox;
use crate::support::{self, application, configured, counted, sql};

/// A database with every step off, and limits that no test reaches by chance.
pub(crate) fn database(path: &Path, change: impl FnOnce(&mut Database)) -> Database {
    let mut database = configured::database("attendance", path);
    database.pool.busy_timeout = Duration::from_secs(30);
    database.maintain = config::Maintain {
        when: database.maintain.when,
        vacuum: Vacuum::Never,
        vacuum_min_free: 0.2,
        vacuum_min_size: 1 << 20,
        vacuum_rowids: RowidPolicy::Keep,
        analyze: Analyze::Never,
        reindex: Reindex::Never,
        max_block: Duration::from_secs(120),
        max_wal: 1 << 40,
    };
    database.maintain.when.timeout = Duration::from_secs(600);
    // Every statement is slow, so that a test can see which were run.
    database.watch.slow_threshold = Duration::ZERO;
    change(&mut database);
    database
}

pub(crate) struct Ran {
    pub(crate) finished: RunEnd,
    /// The statements that were run, in their order.
    pub(crate) statements: Vec<String>,
}

impl Ran {
    pub(crate) fn detail(&self) -> &Value {
        &self.finished.result.as_ref().unwrap().detail
    }

    pub(crate) fn step(&self, name: &str) -> &Value {
        let steps = self.detail()["steps"].as_array().unwrap();
        steps.iter().find(|s| s["step"] == name).unwrap()
    }

    pub(crate) fn decision(&self, name: &str) -> &str {
        self.step(name)["decision"].as_str().unwrap()
    }

    pub(crate) fn why(&self, name: &str) -> &str {
        self.step(name)["why"].as_str().unwrap()
    }

    pub(crate) fn problems(&self) -> Vec<(Reason, &str)> {
        let problems = &self.finished.result.as_ref().unwrap().problems;
        problems.iter().map(|p| (p.reason, p.message.as_str())).collect()
    }

    pub(crate) fn ran(&self, part: &str) -> bool {
        self.statements.iter().any(|s| s.contains(part))
    }
}

pub(crate) async fn maintain(state: &State, database: &Database) -> Ran {
    run(state, database, Maintain.into()).await
}

/// The same without doing it.
pub(crate) async fn preview(state: &State, database: &Database) -> Ran {
    run(state, database, Preview.into()).await
}

async fn run(state: &State, database: &Database, task: Task) -> Ran {
    let (slow, mut heard) = litekeeper::pool::slow_statements(1 << 20);
    let pool = Pool::new(database, slow).unwrap();
    let finished = runner::run(state, order(task, database, &pool)).await;
    pool.close();
    drop(pool);
    let mut statements = Vec::new();
    while let Some(statement) = heard.try_recv() {
        statements.push(statement.sql);
    }
    Ran { finished, statements }
}

pub(crate) fn state(sandbox: &Sandbox) -> State {
    State::open(&sandbox.state()).unwrap()
}

/// Returns when a run on the database of this name, which is counted, waits for the application's
/// lock.
pub(crate) fn wait_for_lock(database: &str) {
    let retries = || counted::so_far().get("litekeeper_busy_retries_total", &[("database", database)]);
    support::wait_until("it waits for the lock", || retries().filter(|retries| *retries > 0.0));
}

/// Changes the database from a process that is not ours, with what the application alone has:
/// `app_order`, a collation, and `app_function`.
pub(crate) fn as_application(path: &Path, python: &str) {
    let program = format!(
        "import sqlite3, sys\n\
         c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.create_collation('app_order', lambda a, b: (a > b) - (a < b))\n\
         c.create_function('app_function', 1, lambda x: x, deterministic=True)\n\
         {python}\n\
         c.close()\n"
    );
    application::script(path, &program);
}

/// Adds about `mib` MiB in a table of its own, and as much again that is then freed.
pub(crate) fn fill(path: &Path, mib: u32) {
    as_application(
        path,
        &format!(
            "c.executescript('''PRAGMA synchronous = OFF; BEGIN;\n\
             CREATE TABLE filler (id INTEGER PRIMARY KEY, content BLOB);\n\
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {mib} * 1024 * 2)\n\
             INSERT INTO filler SELECT i, randomblob(900) FROM n;\n\
             DELETE FROM filler WHERE id % 8 < 4;\n\
             DELETE FROM filler WHERE id > {mib} * 1024; COMMIT;''')"
        ),
    );
}

/// Adds so many small rows, and half as many that are then freed: VACUUM copies row by row, so that
/// it is busy with them for long, and the last part of it, which nothing can interrupt, is short
/// beside that.
pub(crate) fn fill_with_rows(path: &Path, rows: u32) {
    as_application(
        path,
        &format!(
            "c.executescript('''PRAGMA synchronous = OFF; BEGIN;\n\
             CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER);\n\
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} * 3 / 2)\n\
             INSERT INTO numbers SELECT i, i % 7 FROM n;\n\
             DELETE FROM numbers WHERE id > {rows}; COMMIT;''')"
        ),
    );
}

pub(crate) fn number(path: &Path, sql: &str) -> i64 {
    sql::value(path, sql)
}

pub(crate) fn text(path: &Path, sql: &str) -> String {
    sql::value(path, sql)
}

/// A small filesystem with nothing else on it.
pub(crate) struct Small {
    // Unmounted before its directory is removed.
    _disk: Disk,
    place: tempfile::TempDir,
}

impl Small {
    pub(crate) fn new(mib: u32) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let Some(disk) = Disk::memory(place.path(), &format!("{mib}m")) else {
            support::skip("only root can mount a small filesystem");
            return None;
        };
        Some(Self { _disk: disk, place })
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }
}
