//! Instants, schedules and databases for the tests beside.

use crate::support::configured;
use chrono::{DateTime, Utc};
use litekeeper::config::{Blackout, Database, Schedule, When};
use litekeeper::terms::JobKind;
use litekeeper::zone::Zone;
use std::path::Path;
use std::time::Duration;

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub(crate) fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

pub(crate) fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A database whose jobs never run, but for those given.
pub(crate) fn database(name: &str, jobs: &[(JobKind, When)]) -> Database {
    let mut database = configured::database(name, Path::new("/srv/x.sqlite"));
    for (kind, when) in jobs {
        *when_of(&mut database, *kind) = when.clone();
    }
    database
}

fn when_of(database: &mut Database, kind: JobKind) -> &mut When {
    match kind {
        JobKind::Maintain | JobKind::Checkpoint | JobKind::Recover => &mut database.maintain.when,
        JobKind::Backup => &mut database.backup.when,
        JobKind::Verify => &mut database.verify.when,
        JobKind::Cleanup => &mut database.cleanup.when,
        JobKind::Health => &mut database.health.when,
        JobKind::Integrity => &mut database.health.integrity_when,
        JobKind::Watch => &mut database.watch.when,
    }
}

pub(crate) fn every(expression: &str) -> When {
    When {
        schedule: schedule(expression),
        catch_up: true,
        jitter: Duration::ZERO,
        timeout: Duration::from_secs(60),
        blackout: Blackout::default(),
    }
}

pub(crate) fn spread(expression: &str, jitter: Duration) -> When {
    When { jitter, ..every(expression) }
}
