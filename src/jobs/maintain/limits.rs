//! What may hold the application's writers up runs within a limit; and the words for what went wrong in it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};

use crate::config::units::show_duration;
use crate::error::{Class, Error, Reason, Result};
use crate::jobs::Context;
use crate::sqlite::hold::{self, Holds};
use crate::sqlite::pauses::Pauses;

/// The longest time for which SQLite's busy handler sleeps before it looks again (`sqliteDefaultBusyCallback` in main.c).
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// Waits for a pause in which writers can be held for as long as is `expected`, and runs `work` there in one transaction that
/// has the write lock, for `max_block` at most. The outer error ends the run, the inner one is this part's alone.
///
/// Ends with a pause, so that writers get their turn before the next part: one that has waited sleeps about as long as it
/// has waited already, and would find two parts in a row as if they were one.
pub(super) async fn write<T, F>(
    context: &Context,
    what: &str,
    expected: Duration,
    work: F,
) -> Result<Result<T>>
where
    T: Send + 'static,
    F: Fn(&Transaction<'_>) -> Result<T> + Send + Sync + 'static,
{
    let begun = Arc::new(Mutex::new(None));
    let begins = Arc::clone(&begun);
    let attempt = move |connection: &mut Connection, holds: &Holds, pause: Option<&Pauses>| {
        hold::write_in_pause(connection, holds, pause, |transaction, _| {
            *begins.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            work(transaction)
        })
    };
    let done = context.in_pause(expected, context.database.maintain.max_block, attempt).await;
    let had_lock = begun.lock().unwrap_or_else(PoisonError::into_inner).map(|since: Instant| since.elapsed());
    give_way(context, had_lock.unwrap_or_default()).await;
    part(context, what, within_lock(done, had_lock))
}

/// Runs `work` as [`write()`] does at this moment, with for how long it had the lock.
pub(super) async fn write_now<T, F>(context: &Context, what: &str, work: F) -> Result<(Result<T>, Duration)>
where
    T: Send + 'static,
    F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
{
    let begun = Arc::new(OnceLock::new());
    let begins = Arc::clone(&begun);
    let work = move |transaction: &Transaction<'_>| {
        begins.get_or_init(Instant::now);
        work(transaction)
    };
    let clock = Instant::now();
    let done = context.write_within(context.database.maintain.max_block, work).await;
    let had_lock = begun.get().map(Instant::elapsed);
    context.pauses.over();
    give_way(context, clock.elapsed()).await;
    Ok((part(context, what, within_lock(done, had_lock))?, had_lock.unwrap_or_default()))
}

/// The next part finds that the run must stop; this one is done.
async fn give_way(context: &Context, after: Duration) {
    let _ = context.pause((after * 2).min(LONGEST_SLEEP)).await;
}

fn within_lock<T>(done: Result<T>, had_lock: Option<Duration>) -> Result<T> {
    done.map_err(|error| match (error.reason, had_lock) {
        (Reason::Deadline, None) => Error::new(Reason::Busy, "the write lock was not free in time"),
        _ => error,
    })
}

/// Runs `work`, which notes for itself how long it holds writers up, within a limit, when writers can be held for as long as
/// is `expected`.
pub(super) async fn within<T, F>(
    context: &Context,
    limit: Duration,
    what: &str,
    expected: Duration,
    work: F,
) -> Result<Result<T>>
where
    T: Send + 'static,
    F: FnOnce(&mut Connection) -> Result<T> + Send + 'static,
{
    if let Err(problem) = part(context, what, context.before_hold(expected).await)? {
        return Ok(Err(problem));
    }
    let done = context.sql_within(limit, work).await;
    context.pauses.over();
    part(context, what, done)
}

/// What became of a part of a step: the outer error ends the run, the inner one is this part's alone.
pub(super) fn part<T>(context: &Context, what: &str, done: Result<T>) -> Result<Result<T>> {
    let error = match done {
        Ok(value) => return Ok(Ok(value)),
        Err(error) => error,
    };
    context.go_on()?;
    // Another part may be short enough for the pauses that there are.
    if error.class() == Class::Cancelled && error.reason != Reason::NoPause {
        return Err(error);
    }
    Ok(Err(in_step(what, context, error)))
}

/// An error with what was being done, and what to do about it.
pub(super) fn in_step(what: &str, context: &Context, error: Error) -> Error {
    let advice = match error.reason {
        Reason::Deadline => {
            return Error::new(
                Reason::Deadline,
                format!(
                    "{what} takes longer than maintain.max_block = {} allows; it was interrupted and rolled back, so \
                     that the application can write. Raise max_block, or schedule it for when the application may \
                     wait",
                    show_duration(context.database.maintain.max_block)
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
