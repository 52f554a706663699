//! Long reads of a live database, bounded so that its application does not suffer: in rollback mode writers wait
//! for a reader (HAZARDS H9), in WAL mode a reader keeps the log from being reset (H11).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Context;
use crate::config::Database;
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::pool;
use crate::sqlite::files::facts::{Facts, resolved, wal_bytes};
use crate::sqlite::files::{access, holders};
use crate::sqlite::inspector::{GoOn, Inspector};
use crate::words;

/// How often the write-ahead log is looked at. A fast disk writes some 100 MiB meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// The error of a first read. One that waited for a lock in vain: no writer keeps a reader waiting for so long, unless
/// it means to (HAZARDS H21).
pub async fn shut_out(database: &Database, error: Error) -> Error {
    if error.reason != Reason::Busy {
        return error;
    }
    let path = database.path.clone();
    let by = tokio::task::spawn_blocking(move || {
        access::identity(&path).map(holders::locked_by).unwrap_or_default()
    });
    let by = by.await.unwrap_or_default();
    let who = if by.is_empty() {
        String::from("somebody")
    } else {
        by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    Error::new(
        Reason::Held,
        format!(
            "{who} kept everybody out of {} for longer than pool.busy_timeout ({}): a transaction that lasts that \
             long, or PRAGMA locking_mode = EXCLUSIVE, which never lets go while the program runs; let it use \
             locking_mode = NORMAL, or stop it for the time of the run",
            database.path.display(),
            show_duration(database.pool.busy_timeout)
        ),
    )
}

fn lock(inspector: &Mutex<Inspector>) -> MutexGuard<'_, Inspector> {
    inspector.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process that checks a database, and what is asked of it.
pub fn inspector(database: &Database) -> Inspector {
    let path = &database.path;
    Inspector::of_database(path, access::identity(path), database.pool.busy_timeout)
}

/// Reads one database for one run.
pub struct Reader<'a> {
    context: &'a Context,
    /// The database when the reader was made.
    pub facts: Facts,
    path: PathBuf,
    inspector: Arc<Mutex<Inspector>>,
}

impl<'a> Reader<'a> {
    /// Finds out which bound applies. Errors: whatever stands in the way of a first read.
    pub async fn new(context: &'a Context) -> Result<Self> {
        let facts = match context.sql(|connection| Facts::read(connection)).await {
            Err(error) => return Err(shut_out(&context.database, error).await),
            Ok(facts) => facts,
        };
        // The log lies beside the file, not beside a link to it.
        let path = resolved(&context.database.path);
        let inspector = Arc::new(Mutex::new(inspector(&context.database)));
        Ok(Self { context, facts, path, inspector })
    }

    /// Runs `work`, which should be one question, in the process that checks the database, within the same bounds. The
    /// connection is only held meanwhile.
    pub async fn inspect<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Inspector, GoOn<'_>) -> Result<T> + Send + 'static,
    {
        // Before anything is measured: to start a process takes its time, and keeps nobody waiting.
        let opened = Arc::clone(&self.inspector);
        self.context.sql(move |_| lock(&opened).open(&pool::go_on)).await?;
        let inspector = Arc::clone(&self.inspector);
        self.read(move |connection| work(connection, &mut lock(&inspector), &pool::go_on)).await
    }

    /// Whether writers go on while we read.
    pub fn is_wal(&self) -> bool {
        self.facts.journal_mode == "wal"
    }

    /// Runs `work`, which should be one statement, within the bounds. Errors: those of `work`; `deadline` with the
    /// bound that was met and what to do.
    pub async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        if self.is_wal() { self.watching_the_log(work).await } else { self.without_blocking(work).await }
    }

    async fn without_blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let limit = self.context.database.maintain.max_block;
        let began = Instant::now();
        let holds = Arc::clone(&self.context.holds);
        let result = self
            .context
            .sql_within(limit, move |connection| {
                let _hold = holds.begin();
                work(connection)
            })
            .await;
        match result {
            Err(error) if error.reason == Reason::Deadline && began.elapsed() >= limit => {
                self.context.go_on()?;
                Err(Error::new(
                    Reason::Deadline,
                    format!(
                        "stopped after {}, because the application's writers wait for a reader in {} mode; raise \
                         maintain.max_block, or let the application use WAL mode",
                        show_duration(limit),
                        self.facts.journal_mode
                    ),
                ))
            }
            other => other,
        }
    }

    async fn watching_the_log<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    {
        let most = self.context.database.maintain.max_wal;
        let before = wal_bytes(&self.path);
        let mut work = std::pin::pin!(self.context.sql(work));
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            }
            // Leaving drops the work, and that stops its SQL.
            if wal_bytes(&self.path).saturating_sub(before) > most {
                return Err(Error::new(
                    Reason::Deadline,
                    format!(
                        "stopped, because the write-ahead log grew by more than {} while it was read; raise \
                         maintain.max_wal, or choose a quieter time",
                        words::bytes(most)
                    ),
                ));
            }
        }
    }
}
