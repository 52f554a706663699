//! Instants, schedules and databases for the tests beside.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use litekeeper::config::{self, JobKind, Schedule, When};
use std::time::Duration;

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub(crate) fn zone(name: &str) -> Tz {
    name.parse().unwrap()
}

pub(crate) fn schedule(text: &str) -> Schedule {
    Schedule::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A database whose jobs never run, but for those given.
pub(crate) fn database(name: &str, jobs: &[(JobKind, When)]) -> config::Database {
    let when = |kind| {
        let given = jobs.iter().find(|(of, _)| *of == kind).map(|(_, when)| when.clone());
        given.unwrap_or_else(|| every("never"))
    };
    config::Database {
        name: name.to_owned(),
        path: "/srv/x.sqlite".into(),
        pool: config::Pool {
            size: 1,
            max_overflow: 0,
            timeout: Duration::ZERO,
            recycle: Duration::ZERO,
            retries: 1,
            retry_delay: Duration::ZERO,
            busy_timeout: Duration::ZERO,
        },
        maintain: config::Maintain {
            when: when(JobKind::Maintain),
            vacuum: config::Vacuum::Never,
            vacuum_min_free: 0.0,
            vacuum_min_size: 0,
            vacuum_rowids: config::RowidPolicy::Keep,
            analyze: config::Analyze::Never,
            reindex: config::Reindex::Never,
            max_block: Duration::ZERO,
            max_wal: 0,
        },
        backup: config::Backup {
            when: when(JobKind::Backup),
            dir: "/var/backups".into(),
            compression: config::Compression::None,
            level: 1,
            threads: 1,
            keep: config::Keep { last: 1, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 },
        },
        verify: config::Verify { when: when(JobKind::Verify) },
        cleanup: config::Cleanup {
            when: when(JobKind::Cleanup),
            batch_target: Duration::ZERO,
            max_share: 0.5,
            rules: Vec::new(),
        },
        health: config::Health {
            when: when(JobKind::Health),
            integrity_when: when(JobKind::Integrity),
            integrity: config::Integrity::Quick,
        },
        watch: config::Watch {
            when: when(JobKind::Watch),
            slow_threshold: Duration::ZERO,
            queries: Vec::new(),
        },
        indexes: Vec::new(),
    }
}

pub(crate) fn every(expression: &str) -> When {
    When {
        schedule: schedule(expression),
        catch_up: true,
        jitter: Duration::ZERO,
        timeout: Duration::from_secs(60),
    }
}

pub(crate) fn spread(expression: &str, jitter: Duration) -> When {
    When { jitter, ..every(expression) }
}
