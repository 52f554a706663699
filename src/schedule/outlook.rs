//! When the schedules of a configuration fire next, for people to see whether it says what they
//! mean. Takes the time as an argument and must never ask a clock.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{blackout, calendar};
use crate::config::{Config, When};
use crate::jobs::registry;
use crate::terms::JobKind;

/// So many times show a rhythm.
const TIMES: usize = 3;

/// One schedule, and all databases of which a job has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlook {
    /// The job.
    pub task: JobKind,
    /// As it is written.
    pub schedule: String,
    /// Whose job it is.
    pub databases: Vec<String>,
    /// Up to so long after each time it starts.
    pub jitter_seconds: f64,
    /// The next times, soonest first; none where it never fires.
    pub next: Vec<Firing>,
}

/// What databases share: job, schedule, jitter, blackout.
type Key = (JobKind, String, Duration, String);

/// One time at which a schedule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Firing {
    /// By the schedule alone.
    pub at: DateTime<Utc>,
    /// The end of the blackout that it falls into and waits for.
    pub postponed_to: Option<DateTime<Utc>>,
}

/// The schedules of all jobs that have something to do, by job, those of the same words and the
/// same blackout together.
pub fn outlook(config: &Config, now: DateTime<Utc>) -> Vec<Outlook> {
    let mut shared: BTreeMap<Key, (&When, Vec<String>)> = BTreeMap::new();
    for database in config.databases.values() {
        for kind in registry::kinds(database) {
            let when = database.when(kind);
            let key = (kind, when.schedule.to_string(), when.jitter, when.blackout.to_string());
            shared.entry(key).or_insert_with(|| (when, Vec::new())).1.push(database.name.clone());
        }
    }
    let zone = config.daemon.timezone;
    let outlook = |((task, schedule, jitter, _), (when, databases)): (Key, (&When, _))| {
        let after = |at: &DateTime<Utc>| calendar::next(&when.schedule, zone, *at);
        let times = std::iter::successors(after(&now), after).take(TIMES);
        let next = times.map(|at| Firing { at, postponed_to: blackout::ends(&when.blackout, zone, at) });
        Outlook { task, schedule, databases, jitter_seconds: jitter.as_secs_f64(), next: next.collect() }
    };
    shared.into_iter().map(outlook).collect()
}
