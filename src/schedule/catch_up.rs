//! Which jobs of a database were missed while the daemon was down. Takes the run history as an
//! argument; must never start by itself what has never run, so that a fresh installation does not
//! begin with a VACUUM.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{calendar, jitter};
use crate::config::{Database, When};
use crate::terms::JobKind;

/// When a job last started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastStart {
    /// Then.
    At(DateTime<Utc>),
    /// Nobody knows: the clock was ahead.
    Unknown,
}

/// The jobs among `kinds` that were due since they last started and did not run, each once with the
/// latest instant at which it was due, in the order of `kinds`. Only those with `catch_up`. A job
/// that has never started has missed nothing; one that started nobody knows when may have missed
/// years.
pub fn missed(
    database: &Database,
    kinds: &[JobKind],
    zone: Tz,
    last_started: impl Fn(JobKind) -> Option<LastStart>,
    now: DateTime<Utc>,
) -> Vec<(JobKind, DateTime<Utc>)> {
    let due = |&kind: &JobKind| {
        let when = database.when(kind);
        let since = match last_started(kind).filter(|_| when.catch_up)? {
            LastStart::At(at) => at,
            LastStart::Unknown => DateTime::UNIX_EPOCH,
        };
        Some((kind, missed_at(&database.name, kind, when, zone, since, now)?))
    };
    kinds.iter().filter_map(due).collect()
}

fn missed_at(
    database: &str,
    kind: JobKind,
    when: &When,
    zone: Tz,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let mut until = now;
    loop {
        let due_at = calendar::latest(&when.schedule, zone, since, until)?;
        // A run whose jitter has not passed yet is not missed: the timetable still has it.
        if due_at + jitter::offset(database, kind, due_at, when.jitter) <= now {
            return Some(due_at);
        }
        until = due_at - TimeDelta::seconds(1);
    }
}
