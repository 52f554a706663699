//! Runs one job on a sandbox's database, as the daemon does: through the runner, a pool and a state
//! of its own.

use super::sandbox::Sandbox;
use super::{PATIENCE, configured};
use litekeeper::config::{Database, Query};
use litekeeper::jobs::Task;
use litekeeper::jobs::runner::{self, Order, RunEnd};
use litekeeper::pool::{Pool, SlowReceiver, SlowSender};
use litekeeper::state::State;
use litekeeper::state::facts::{self, Fact, HEALTH};
use litekeeper::state::status::CheckStatus;
use litekeeper::terms::{Cause, Verdict};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub struct Keeper {
    pub sandbox: Sandbox,
    pub state: State,
    /// As configured; a test changes what it is about.
    pub database: Database,
    pub slow: SlowSender,
    /// Nobody's, until a test takes it.
    pub slow_statements: Option<SlowReceiver>,
}

impl Keeper {
    pub fn new(sandbox: Sandbox) -> Self {
        let state = State::open(&sandbox.state()).unwrap();
        let mut database = configured::database("attendance", &sandbox.database());
        database.pool.retries = 1;
        database.backup.dir = sandbox.backups().into();
        let (slow, statements) = litekeeper::pool::slow_statements(1 << 20);
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
    pub async fn run(&self, job: impl Into<Task>) -> RunEnd {
        self.run_over(&self.pool(), job).await
    }

    pub async fn run_over(&self, pool: &Pool, job: impl Into<Task>) -> RunEnd {
        let order = order(job, &self.database, pool);
        tokio::time::timeout(PATIENCE, runner::run(&self.state, order)).await.expect("the run hangs")
    }

    /// What a job remembered.
    pub fn fact<T: DeserializeOwned>(&self, fact: Fact<T>) -> Option<T> {
        let fact = self.state.now(|connection| facts::recall_dated(connection, &self.database.name, fact));
        fact.unwrap().map(|(value, _)| value)
    }

    /// Makes a job believe that it remembers this.
    pub fn pretend<T: serde::Serialize>(&self, fact: Fact<T>, value: &T) {
        self.state.now(|connection| facts::remember(connection, &self.database.name, fact, value)).unwrap();
    }

    /// What a check found last, and in which words.
    pub fn check(&self, name: &str) -> (Verdict, String) {
        let all: Vec<CheckStatus> = self.fact(HEALTH).expect("a check was made");
        let of_that_name: Vec<_> = all.iter().filter(|check| check.check == name).collect();
        let [check] = of_that_name[..] else { panic!("{name} is {} times in {all:?}", of_that_name.len()) };
        (check.result, check.detail.clone())
    }
}

/// A run that somebody asked for, which nobody stops or watches.
pub fn order(job: impl Into<Task>, database: &Database, pool: &Pool) -> Order {
    Order {
        task: job.into(),
        database: Arc::new(database.clone()),
        pool: pool.clone(),
        cause: Cause::Manual,
        zone: litekeeper::zone::Zone::UTC,
        cancel: CancellationToken::new(),
        blackout: CancellationToken::new(),
        progress: watch::channel(None).0,
    }
}
