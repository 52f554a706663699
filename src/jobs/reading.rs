//! Long reads of a live database, bounded so that its application does not suffer: in rollback mode
//! writers wait for a reader (HAZARDS H9), in WAL mode a reader keeps the log from being reset
//! (H11).

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Run;
use crate::config::Database;
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::pool::{self, LogLimit};
use crate::sqlite::copy::snapshot::Bounds;
use crate::sqlite::files::paths::{resolved, wal_bytes};
use crate::sqlite::files::{access, holders};
use crate::sqlite::inspector::Inspector;
use crate::sqlite::look::facts::Facts;
use crate::terms::progress::Watch;
use crate::words;

/// The error of a first read. One that waited for a lock in vain: no writer keeps a reader waiting
/// for so long, unless it means to (HAZARDS H21).
pub fn shut_out(database: &Database, error: Error) -> Error {
    if error.reason != Reason::Busy {
        return error;
    }
    let by = access::identity(&database.path).map(holders::locked_by).unwrap_or_default();
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

/// The first look of a run at the database. Whatever the run is for: `held` where not even a reader
/// gets in.
pub fn first_look(run: &Run) -> Result<Facts> {
    run.sql(|c| Facts::read(c)).map_err(|error| shut_out(&run.database, error))
}

/// The process that checks a database, and what is asked of it.
pub fn inspector(database: &Database) -> Inspector {
    let path = &database.path;
    Inspector::of_database(path, access::identity(path), database.pool.busy_timeout)
}

impl Bounds {
    /// Those of a database that its application uses.
    pub fn of(database: &Database) -> Self {
        Self {
            longest_block: database.maintain.max_block,
            longest_read: database.backup.max_snapshot,
            most_wal_growth: database.maintain.max_wal,
        }
    }
}

/// Reads one database for one run.
pub struct Reader<'r> {
    run: &'r Run,
    /// The database when the reader was made.
    pub facts: Facts,
    path: PathBuf,
    inspector: RefCell<Inspector>,
}

impl<'r> Reader<'r> {
    /// Finds out which bound applies. Errors: whatever stands in the way of a first read.
    pub fn new(run: &'r Run) -> Result<Self> {
        let facts = first_look(run)?;
        // The log lies beside the file, not beside a link to it.
        let path = resolved(&run.database.path);
        Ok(Self { run, facts, path, inspector: RefCell::new(inspector(&run.database)) })
    }

    /// Runs `work`, which should be one question, in the process that checks the database, within
    /// the same bounds. The connection is only held meanwhile.
    pub fn inspect<T>(
        &self,
        work: impl FnOnce(&Connection, &mut Inspector, &dyn Watch) -> Result<T>,
    ) -> Result<T> {
        let mut inspector = self.inspector.borrow_mut();
        // Before anything is measured: to start a process takes its time, and keeps nobody waiting.
        self.run.sql(|_| inspector.open(&pool::go_on))?;
        self.read(|connection| work(connection, &mut inspector, &pool::go_on))
    }

    /// Whether writers go on while we read.
    pub fn is_wal(&self) -> bool {
        self.facts.journal_mode == "wal"
    }

    /// Runs `work`, which should be one statement, within the bounds. Errors: those of `work`;
    /// `deadline` with the bound that was met and what to do.
    pub fn read<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        if self.is_wal() {
            self.run.by(&self.run.call.within_log(self.log_limit()).reading(), work)
        } else {
            self.without_blocking(work)
        }
    }

    /// The same for work that in WAL mode, too, has a limit of time. Past it, `deadline`.
    pub fn read_within<T>(
        &self,
        limit: Duration,
        work: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        if self.is_wal() {
            self.run.by(&self.run.call.within_log(self.log_limit()).reading_within(limit), work)
        } else {
            self.without_blocking(work)
        }
    }

    fn without_blocking<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let limit = self.run.database.maintain.max_block;
        let began = Instant::now();
        let result = self.run.read_within(limit, |connection| {
            let _hold = self.run.holds.begin();
            work(connection)
        });
        match result {
            Err(error) if error.reason == Reason::Deadline && began.elapsed() >= limit => {
                self.run.go_on()?;
                Err(Error::new(
                    Reason::Deadline,
                    format!(
                        "stopped after {}, because the application's writers wait for a reader in {} mode; what was not \
                         read until then is left unchecked. Raise maintain.max_block, or let the application use WAL mode",
                        show_duration(limit),
                        self.facts.journal_mode
                    ),
                ))
            }
            other => other,
        }
    }

    fn log_limit(&self) -> LogLimit {
        let most = self.run.database.maintain.max_wal;
        let text = format!(
            "stopped, because the write-ahead log grew by more than {} while it was read; raise maintain.max_wal, or \
             choose a quieter time",
            words::bytes(most)
        );
        LogLimit {
            database: self.path.clone(),
            bytes: wal_bytes(&self.path).saturating_add(most),
            error: Error::new(Reason::Deadline, text),
        }
    }
}
