//! A pool on a database of its own, calls on it, and connections held for as long as a test wants.

use crate::support::calls::OnThread as _;
use crate::support::sandbox::Sandbox;
use crate::support::{PATIENCE, configured, counted};
use litekeeper::config::Database;
use litekeeper::error::Result;
use litekeeper::pool::{Call, Pool, SlowReceiver, SlowStatement};
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Fixture {
    pub(crate) sandbox: Sandbox,
    /// Its name differs from test to test, so that each has its own series.
    pub(crate) database: Database,
    pub(crate) pool: Pool,
    pub(crate) slow: SlowReceiver,
}

impl Fixture {
    pub(crate) fn new(adapt: impl FnOnce(&mut Database)) -> Self {
        Self::on(Sandbox::new(), adapt)
    }

    pub(crate) fn on(sandbox: Sandbox, adapt: impl FnOnce(&mut Database)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("pool{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut database = configured::database(&name, &sandbox.database());
        counted::count(&name, &["maintain", "backup"], &[]);
        // What is idle stays open until a test wants something else.
        database.pool.idle = LONG;
        adapt(&mut database);
        let (sender, slow) = litekeeper::pool::slow_statements(1 << 20);
        let pool = Pool::new(&database, sender).unwrap();
        Self { sandbox, database, pool, slow }
    }

    /// Runs statements on some connection.
    pub(crate) async fn sql(&self, sql: &str) -> Result<()> {
        let sql = sql.to_owned();
        self.pool.on_thread(&call(), move |c| Ok(c.execute_batch(&sql)?)).await
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> Result<i64> {
        let sql = sql.to_owned();
        self.pool.on_thread(&call(), move |c| Ok(c.query_row(&sql, [], |row| row.get(0))?)).await
    }

    /// The slow statements told of until now.
    pub(crate) fn slow_so_far(&mut self) -> Vec<SlowStatement> {
        std::iter::from_fn(|| self.slow.try_recv()).collect()
    }

    pub(crate) fn counted(&self, metric: &str) -> f64 {
        counted::so_far().get(metric, &[("database", &self.database.name)]).unwrap()
    }
}

pub(crate) fn call() -> Call {
    Call::new("maintain", &CancellationToken::new(), None)
}

/// The outcome, within a time that only a hang reaches.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

/// A connection that is lent.
pub(crate) struct Held {
    /// Never sent to: dropped, it lets the work end.
    release: std::sync::mpsc::Sender<()>,
    task: JoinHandle<Result<()>>,
}

/// Lends a connection for as long as wanted.
pub(crate) async fn hold(pool: &Pool) -> Held {
    let (entered, has_entered) = oneshot::channel();
    let (release, released) = std::sync::mpsc::channel();
    let pool = pool.clone();
    let task = tokio::spawn(async move {
        pool.on_thread(&call(), move |_| {
            entered.send(()).unwrap();
            let _ = released.recv();
            Ok(())
        })
        .await
    });
    soon(has_entered).await.unwrap();
    Held { release, task }
}

impl Held {
    pub(crate) async fn give_back(self) {
        drop(self.release);
        soon(self.task).await.unwrap().unwrap();
    }
}

/// How often this process has a file open.
pub(crate) fn times_open(path: &Path) -> usize {
    let path = fs::canonicalize(path).unwrap();
    // A descriptor may be closed while we look.
    let targets = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    targets.filter(|target| *target == path).count()
}

pub(crate) const LONG: Duration = Duration::from_secs(600);
