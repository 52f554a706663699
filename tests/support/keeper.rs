//! Runs one job on a sandbox's database, as the daemon does: through the runner, a pool and a state of its own.

use super::sandbox::Sandbox;
use litekeeper::config::{
    Analyze, Backup, Cleanup, Compression, Database, Health, Integrity, Keep, Maintain, Pool as PoolSettings,
    Query, Reindex, RowidPolicy, Schedule, Vacuum, Verify, Watch, When,
};
use litekeeper::jobs::Job;
use litekeeper::jobs::runner::{self, Finished, Order};
use litekeeper::pool::{Pool, SlowStatement};
use litekeeper::state::State;
use litekeeper::state::facts::{self, HEALTH};
use litekeeper::state::runs::Cause;
use litekeeper::state::status::{CheckStatus, Verdict};
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

pub struct Keeper {
    pub sandbox: Sandbox,
    pub state: State,
    /// As configured; a test changes what it is about.
    pub database: Database,
    pub slow: UnboundedSender<SlowStatement>,
    /// Nobody's, until a test takes it.
    pub slow_statements: Option<UnboundedReceiver<SlowStatement>>,
}

impl Keeper {
    pub fn new(sandbox: Sandbox) -> Self {
        let state = State::open(&sandbox.state()).unwrap();
        let database = database("attendance", sandbox.database());
        let (slow, statements) = unbounded_channel();
        Self { sandbox, state, database, slow, slow_statements: Some(statements) }
    }

    pub fn watch(&mut self, name: &str, sql: &str) {
        let query = Query { name: name.to_owned(), sql: sql.to_owned(), params: [].into() };
        self.database.watch.queries.push(query);
    }

    pub fn pool(&self) -> Pool {
        Pool::new(&self.database, self.slow.clone()).unwrap()
    }

    /// Runs a job to its end, over connections of its own.
    pub async fn run(&self, job: impl Job + 'static) -> Finished {
        self.run_over(&self.pool(), job).await
    }

    pub async fn run_over(&self, pool: &Pool, job: impl Job + 'static) -> Finished {
        let order = Order {
            job: Arc::new(job),
            database: Arc::new(self.database.clone()),
            pool: pool.clone(),
            cause: Cause::Manual,
            zone: chrono_tz::Tz::UTC,
            cancel: CancellationToken::new(),
            progress: tokio::sync::watch::channel(None).0,
        };
        runner::run(&self.state, order).await
    }

    /// What a job remembered.
    pub fn fact<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let fact = self.state.now(|connection| facts::recall(connection, &self.database.name, name));
        fact.unwrap().map(|(value, _)| value)
    }

    /// Makes a job believe that it remembers this.
    pub fn pretend<T: serde::Serialize>(&self, name: &str, value: &T) {
        self.state.now(|connection| facts::remember(connection, &self.database.name, name, value)).unwrap();
    }

    /// What a check found last, and in which words.
    pub fn check(&self, name: &str) -> (Verdict, String) {
        let all: Vec<CheckStatus> = self.fact(HEALTH).expect("a check was made");
        let of_that_name: Vec<_> = all.iter().filter(|check| check.check == name).collect();
        let [check] = of_that_name[..] else { panic!("{name} is {} times in {all:?}", of_that_name.len()) };
        (check.result, check.detail.clone())
    }
}

/// With the built-in defaults, but for schedules, of which there are none.
fn database(name: &str, path: PathBuf) -> Database {
    let when = || When {
        schedule: Schedule::parse("never").unwrap(),
        catch_up: false,
        jitter: Duration::ZERO,
        timeout: super::PATIENCE,
    };
    let keep = Keep { last: 10, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
    Database {
        name: name.to_owned(),
        backup: Backup {
            when: when(),
            dir: path.with_file_name("backups"),
            compression: Compression::Gzip,
            level: 6,
            threads: 1,
            keep,
        },
        path,
        pool: PoolSettings {
            size: 5,
            max_overflow: 10,
            timeout: Duration::from_secs(30),
            recycle: Duration::from_secs(1800),
            retries: 1,
            retry_delay: Duration::from_secs(1),
            busy_timeout: Duration::from_secs(5),
        },
        maintain: Maintain {
            when: when(),
            vacuum: Vacuum::Auto,
            vacuum_min_free: 0.2,
            vacuum_min_size: 16 << 20,
            vacuum_rowids: RowidPolicy::Keep,
            analyze: Analyze::Auto,
            reindex: Reindex::Auto,
            max_block: Duration::from_secs(30),
            max_wal: 256 << 20,
        },
        verify: Verify { when: when() },
        cleanup: Cleanup {
            when: when(),
            batch_target: Duration::from_millis(5),
            max_share: 0.5,
            rules: Vec::new(),
        },
        health: Health { when: when(), integrity_when: when(), integrity: Integrity::Quick },
        watch: Watch { when: when(), slow_threshold: Duration::from_secs(1), queries: Vec::new() },
        indexes: Vec::new(),
    }
}
