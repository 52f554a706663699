//! Puts a compact copy of a database in WAL mode in its place, under the write lock, and only if
//! nothing was committed since before the copy was begun.
//!
//! No commit can be lost. The watcher looks at the database before the copy is begun to be read.
//! The backup's step of no pages takes the write lock
//! (<https://www.sqlite.org/c3ref/backup_finish.html>), and from then until it is let go nobody
//! commits, in no process. Only then the watcher looks again: a connection's `data_version` changes
//! with every commit of any other (<https://www.sqlite.org/pragma.html#pragma_data_version>), so
//! that an unchanged one says that the database is in the state in which it was first seen, and
//! that is the state which was copied. Asked before the lock is had, it would say nothing of the
//! time in between.
//!
//! The pages come in one transaction: readers go on in the state before it, and whatever stops it
//! rolls it back. Outside WAL mode the lock keeps the watcher from reading: not for there.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::error::{Error, Reason, Result};
use crate::sqlite::copy::steps::{OnLock, to_the_end};
use crate::sqlite::look::facts::data_version;
use crate::sqlite::open;
use crate::sqlite::write::checkpoint::{Mode, checkpoint};
use crate::sqlite::write::hold::{Holds, without_checkpoints};
use crate::terms::progress::Watch;

/// Pages between two looks at the limit: some milliseconds.
const STEP: i32 = 256;

/// Sees whether others commit.
pub struct Watcher {
    connection: Connection,
    version: Cell<i64>,
}

impl Watcher {
    /// Looks for the first time.
    pub fn new(path: &Path) -> Result<Self> {
        let connection = open::another(path)?;
        let version = Cell::new(data_version(&connection)?);
        Ok(Self { connection, version })
    }

    /// Whether somebody has committed since this was last asked, or since the watcher was made.
    pub fn has_changed(&self) -> Result<bool> {
        let now = data_version(&self.connection)?;
        Ok(self.version.replace(now) != now)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverwriteOutcome {
    /// The compact pages are in place; writers were held for so long.
    Done(Duration),
    /// Somebody had committed: nothing was changed.
    Outdated,
    /// It would have taken longer than it may: nothing was changed.
    TooLong,
}

/// Puts `compact` in place of `live`. The watcher must have looked before `compact` was begun, and
/// must have seen no commit since; `watch` is asked between steps. The pages are moved out of the
/// write-ahead log afterwards, before the application's next commit would have to.
///
/// Errors: `busy` where the application keeps the write lock.
pub fn overwrite(
    live: &mut Connection,
    compact: &Connection,
    watcher: &Watcher,
    limit: Duration,
    holds: &Holds,
    watch: &dyn Watch,
) -> Result<OverwriteOutcome> {
    let ended = {
        // By the watcher, for nothing else can be done with a connection that a backup is written
        // to.
        let _no_checkpoint = without_checkpoints(&watcher.connection)?;
        let backup = Backup::new(compact, live)?;
        lock(&backup)?;
        // Told after the backup is dropped, and so after what was not finished is rolled back.
        let hold = holds.begin();
        let ended = copy(backup, watcher, limit, watch);
        drop(hold);
        ended?
    };
    if matches!(ended, OverwriteOutcome::Done(_)) {
        checkpoint(live, Mode::Passive)?;
    }
    Ok(ended)
}

fn lock(backup: &Backup<'_, '_>) -> Result<()> {
    match backup.step(0)? {
        StepResult::Busy | StepResult::Locked => {
            Err(Error::new(Reason::Busy, "the application held the write lock"))
        }
        _ => Ok(()),
    }
}

fn copy(
    backup: Backup<'_, '_>,
    watcher: &Watcher,
    limit: Duration,
    watch: &dyn Watch,
) -> Result<OverwriteOutcome> {
    let began = Instant::now();
    if watcher.has_changed()? {
        return Ok(OverwriteOutcome::Outdated);
    }
    let before = || watch.go_on().map(|()| began.elapsed() < limit);
    if !to_the_end(&backup, STEP, OnLock::Ends, before, || Ok(()))? {
        return Ok(OverwriteOutcome::TooLong);
    }
    drop(backup);
    Ok(OverwriteOutcome::Done(began.elapsed()))
}
