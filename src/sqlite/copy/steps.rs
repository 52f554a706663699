//! A backup by SQLite's own API, step by step: between two steps it can be ended, within one it
//! cannot.

use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};

use crate::error::{Error, Reason, Result};

/// Before another step where a lock was in the way.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// What becomes of a step that a lock is in the way of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sqlite) enum OnLock {
    /// It is tried again: within a read transaction of our own nobody stands in the way but a
    /// rollback that is being recovered, which does not last.
    Again,
    /// It ends the work, `busy`.
    Ends,
}

/// Takes steps of so many pages to the end. `before` is asked before each, and ends the work by
/// `false`; `after` takes what a step wrote. Whether it came to the end.
pub(in crate::sqlite) fn to_the_end(
    backup: &Backup<'_, '_>,
    pages: i32,
    locked: OnLock,
    mut before: impl FnMut() -> Result<bool>,
    mut after: impl FnMut() -> Result<()>,
) -> Result<bool> {
    loop {
        if !before()? {
            return Ok(false);
        }
        let stepped = backup.step(pages)?;
        after()?;
        match (stepped, locked) {
            (StepResult::Done, _) => return Ok(true),
            (StepResult::More, _) => {}
            (_, OnLock::Again) => std::thread::sleep(AGAIN_AFTER),
            (_, OnLock::Ends) => {
                return Err(Error::new(Reason::Busy, "a lock of the application was in the way"));
            }
        }
    }
}
