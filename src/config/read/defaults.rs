//! The built-in defaults: what holds where the file says nothing. `config/litekeeper.toml` states
//! the same values with their reasons; a test keeps the two together.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{
    Analyze, Backup, Blackout, Cleanup, Compression, Daemon, Database, Health, Integrity, Keep, LogFormat,
    Maintain, Place, Pool, Reindex, RowidPolicy, Schedule, Vacuum, Verify, Watch, When,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const MIB: u64 = 1 << 20;

/// `[daemon]`, with the zone that `"local"` stands for.
pub(in crate::config) fn daemon(local: chrono_tz::Tz) -> Daemon {
    Daemon {
        state_dir: PathBuf::from("/var/lib/litekeeper"),
        listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9742))),
        hosts: Vec::new(),
        timezone: local,
        parallel_jobs: 2,
        jobs_per_disk: 1,
        shutdown_grace: Duration::from_secs(30),
        log_format: LogFormat::Text,
    }
}

/// A database without name, path, rules, queries and indexes.
pub(in crate::config) fn database() -> Database {
    Database {
        name: String::new(),
        path: PathBuf::new(),
        pool: Pool {
            size: 5,
            idle: Duration::from_secs(2),
            max_overflow: 10,
            timeout: Duration::from_secs(30),
            recycle: Duration::from_secs(30 * MINUTE),
            retries: 3,
            retry_delay: Duration::from_secs(1),
            busy_timeout: Duration::from_secs(5),
            pause_timeout: Duration::from_secs(15),
        },
        maintain: Maintain {
            when: when("0 3 * * *", true, 4 * HOUR),
            vacuum: Vacuum::Auto,
            vacuum_min_free: 0.2,
            vacuum_min_size: 16 * MIB,
            vacuum_rowids: RowidPolicy::Keep,
            analyze: Analyze::Auto,
            reindex: Reindex::Auto,
            max_block: Duration::from_secs(5),
            max_wal: 256 * MIB,
        },
        backup: Backup {
            when: when("@hourly", true, 6 * HOUR),
            dir: Place::Directory(PathBuf::from("/var/backups/litekeeper")),
            compression: Compression::Gzip,
            level: 6,
            threads: threads(0),
            max_snapshot: Duration::from_secs(HOUR),
            skip_unchanged: true,
            max_rate: None,
            keep: Keep { last: 10, hourly: 24, daily: 7, weekly: 4, monthly: 12, yearly: 0 },
            copies: Vec::new(),
        },
        verify: Verify { when: when("30 4 * * *", true, 6 * HOUR), scratch_dir: None },
        cleanup: Cleanup {
            when: when("0 2 * * *", true, 4 * HOUR),
            batch_target: Duration::from_millis(5),
            max_share: 0.5,
            rules: Vec::new(),
        },
        health: Health {
            when: when("*/15 * * * *", false, 10 * MINUTE),
            integrity_when: when("0 5 * * 0", true, 4 * HOUR),
            integrity: Integrity::Quick,
        },
        watch: Watch {
            when: when("*/5 * * * *", false, 10 * MINUTE),
            slow_threshold: Duration::from_secs(1),
            queries: Vec::new(),
        },
        indexes: Vec::new(),
    }
}

/// `backup.threads` with 0 resolved: as many as there are cores, at most 4.
pub(in crate::config) fn threads(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get).min(4),
        n => n,
    }
}

#[expect(clippy::expect_used, reason = "the schedules stand in this file, and a test reads each")]
fn when(schedule: &str, catch_up: bool, timeout: u64) -> When {
    let schedule = Schedule::parse(schedule).expect("a default schedule");
    When {
        schedule,
        catch_up,
        jitter: Duration::ZERO,
        timeout: Duration::from_secs(timeout),
        blackout: Blackout::default(),
    }
}
