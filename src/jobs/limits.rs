//! What may hold the application's writers up runs within a limit; and the words for what went
//! wrong in it.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};

use super::Run;
use crate::config::units::show_duration;
use crate::error::{Class, Error, Reason, Result};
use crate::sqlite::write::hold;

/// The longest time for which SQLite's busy handler sleeps before it looks again
/// (`sqliteDefaultBusyCallback` in main.c).
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// Waits for a pause in which writers can be held for as long as is `expected`, and runs `work`
/// there in one transaction that has the write lock, for `max_block` at most. The outer error ends
/// the run, the inner one is this part's alone.
///
/// Ends with a pause, so that writers get their turn before the next part: one that has waited
/// sleeps about as long as it has waited already, and would find two parts in a row as if they were
/// one.
pub fn write<T>(
    run: &Run,
    what: &str,
    expected: Duration,
    work: impl Fn(&Transaction<'_>) -> Result<T>,
) -> Result<Result<T>> {
    let mut begun: Option<Instant> = None;
    let done = run.in_pause(expected, run.database.maintain.max_block, |connection, pause| {
        hold::write_in_pause(connection, &run.holds, pause, |transaction, _| {
            begun = Some(Instant::now());
            work(transaction)
        })
    });
    let had_lock = begun.map(|since| since.elapsed());
    give_way(run, had_lock.unwrap_or_default());
    part(run, what, within_lock(done, had_lock))
}

/// Runs `work` as [`write()`] does at this moment, with for how long it had the lock.
pub fn write_now<T>(
    run: &Run,
    what: &str,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<(Result<T>, Duration)> {
    let mut begun: Option<Instant> = None;
    let clock = Instant::now();
    let done = run.write_within(run.database.maintain.max_block, |transaction| {
        begun = Some(Instant::now());
        work(transaction)
    });
    let had_lock = begun.map(|since| since.elapsed());
    run.pauses.over();
    give_way(run, clock.elapsed());
    Ok((part(run, what, within_lock(done, had_lock))?, had_lock.unwrap_or_default()))
}

/// The next part finds that the run must stop; this one is done.
fn give_way(run: &Run, after: Duration) {
    let _ = run.pause((after * 2).min(LONGEST_SLEEP));
}

/// What ended a wait for the write lock is not the work, which had not begun.
pub fn within_lock<T>(done: Result<T>, had_lock: Option<Duration>) -> Result<T> {
    done.map_err(|error| match (error.reason, had_lock) {
        (Reason::Deadline, None) => Error::new(Reason::Busy, "the write lock was not free in time"),
        _ => error,
    })
}

/// Runs `work`, which notes for itself how long it holds writers up, within a limit, when writers
/// can be held for as long as is `expected`.
pub fn within<T>(
    run: &Run,
    limit: Duration,
    what: &str,
    expected: Duration,
    work: impl FnOnce(&mut Connection) -> Result<T>,
) -> Result<Result<T>> {
    if let Err(problem) = part(run, what, run.before_hold(expected))? {
        return Ok(Err(problem));
    }
    let done = run.sql_within(limit, work);
    run.pauses.over();
    part(run, what, done)
}

/// What became of a part of a step: the outer error ends the run, the inner one is this part's
/// alone.
pub fn part<T>(run: &Run, what: &str, done: Result<T>) -> Result<Result<T>> {
    let error = match done {
        Ok(value) => return Ok(Ok(value)),
        Err(error) => error,
    };
    run.go_on()?;
    // Another part may be short enough for the pauses that there are.
    if error.class() == Class::Cancelled && error.reason != Reason::NoPause {
        return Err(error);
    }
    Ok(Err(in_step(what, run, error)))
}

/// An error with what was being done, and what to do about it.
pub fn in_step(what: &str, run: &Run, error: Error) -> Error {
    let advice = match error.reason {
        Reason::Deadline => {
            return Error::new(
                Reason::Deadline,
                format!(
                    "{what} takes longer than maintain.max_block = {} allows; it was interrupted and rolled back, so \
                     that the application can write. It is left undone, and the database is as it was: raise max_block, \
                     or schedule it for when the application may wait",
                    show_duration(run.database.maintain.max_block)
                ),
            );
        }
        Reason::Unsupported => "only the application has that, so only the application can do this",
        Reason::Busy => "the application held the lock all the time; it is tried again in the next run",
        _ => return error.context(what),
    };
    let text = format!("{what}: {}; {advice}", error.message);
    Error::new(error.reason, text)
}
