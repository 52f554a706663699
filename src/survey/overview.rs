//! The status snapshot: what the configuration, the run history and the files tell, and of a living
//! daemon also what it is doing. Made the same way for `/api/status` and for `litekeeper status`
//! without a daemon. Must never open a database: the rest is what the jobs found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use super::disk::OnDisk;
use crate::clock;
use crate::config::{Config, Database};
use crate::error::Result;
use crate::jobs::registry;
use crate::metrics::events::{self, JobScheduled, JobSucceededBefore, TableSize};
use crate::pool::PoolState;
use crate::schedule::{blackout, calendar};
use crate::state::status::{
    ConfigState, CopyStatus, DatabaseStatus, HandedOver, JobStatus, LastRun, Measure, PoolStatus, Progress,
    RunStatus, SlowShape, Status, Trend, WalPinned,
};
use crate::state::{facts, pin, runs, slow};
use crate::store::Inventory;
use crate::terms::{JobKind, progress};

/// Slow statements shown per database, and how far back.
const SLOW_SHOWN: u32 = 5;
const SLOW_SINCE: TimeDelta = TimeDelta::days(7);

/// What only the running daemon knows.
pub struct Live {
    /// The configuration's file.
    pub path: PathBuf,
    /// When the daemon started.
    pub started: DateTime<Utc>,
    /// What became of the configuration.
    pub config: ConfigState,
    /// Each database.
    pub databases: BTreeMap<String, LiveDatabase>,
}

/// What only the running daemon knows of one database.
pub struct LiveDatabase {
    /// Its connections.
    pub pool: PoolState,
    /// The restore that has it instead.
    pub handed_over: Option<HandedOver>,
    /// What was last seen of its files; `None`: nothing yet.
    pub disk: Option<Arc<OnDisk>>,
    /// Since when its disk, or that of its backups, does not answer.
    pub disk_silent_since: Option<DateTime<Utc>>,
    /// Its jobs.
    pub jobs: BTreeMap<JobKind, LiveJob>,
}

/// What only the running daemon knows of one job.
pub struct LiveJob {
    /// When it starts next.
    pub next_run: Option<DateTime<Utc>>,
    /// Since when it runs, and how far it is.
    pub running: Option<(DateTime<Utc>, Option<progress::Progress>)>,
    /// Due, and waiting for its turn.
    pub queued: bool,
    /// Due, and waiting until a blackout ends.
    pub postponed: bool,
}

impl Live {
    /// What `systemctl status` shows.
    pub fn in_a_line(&self) -> String {
        let all = || {
            self.databases
                .iter()
                .flat_map(|(name, db)| db.jobs.iter().map(move |(kind, job)| (name, kind, job)))
        };
        let running: Vec<_> = all()
            .filter(|(.., job)| job.running.is_some())
            .map(|(name, kind, _)| format!("{kind} of {name}"))
            .collect();
        let next = all().filter_map(|(name, kind, job)| Some((job.next_run?, name, kind))).min();
        let databases = match self.databases.len() {
            1 => String::from("1 database"),
            n => format!("{n} databases"),
        };
        match (running.is_empty(), next) {
            (false, _) => format!("{databases}; running: {}", running.join(", ")),
            (true, Some((at, name, kind))) => {
                format!("{databases}; next: {kind} of {name} at {}", at.format("%Y-%m-%d %H:%M:%SZ"))
            }
            (true, None) => format!("{databases}; nothing is scheduled"),
        }
    }
}

/// The status before the first snapshot.
pub fn nothing_yet(path: &Path) -> Status {
    let now = clock::now();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sqlite_version: rusqlite::version().to_owned(),
        pid: Some(std::process::id()),
        started: Some(now),
        now,
        config_path: path.display().to_string(),
        config: ConfigState { loaded_at: now, last_reload: None },
        ready: false,
        not_ready: vec![String::from("the daemon is starting")],
        databases: Vec::new(),
    }
}

/// A snapshot of now. Without `live`, of what is known while no daemon runs.
///
/// `disk` gives what was seen of a database's files: this itself asks no disk but that of the run
/// history.
pub fn take(
    connection: &Connection,
    config: &Config,
    live: Option<&Live>,
    disk: impl Fn(&Database) -> Option<Arc<OnDisk>>,
) -> Result<Status> {
    let now = clock::now();
    let mut status = nothing_yet(live.map_or(Path::new(""), |live| &live.path));
    status.now = now;
    status.not_ready.clear();
    if let Some(live) = live {
        status.started = Some(live.started);
        status.config = live.config.clone();
        status.ready = true;
    } else {
        (status.pid, status.started) = (None, None);
        status.not_ready.push(String::from(match config.daemon.listen {
            Some(_) => "no daemon with this configuration answers",
            None => "a daemon cannot be asked, as daemon.listen is \"off\"",
        }));
    }
    for database in config.databases.values() {
        let live = live.and_then(|live| live.databases.get(&database.name));
        let disk = disk(database);
        status.databases.push(database_status(connection, config, database, disk.as_deref(), live, now)?);
    }
    Ok(status)
}

fn database_status(
    connection: &Connection,
    config: &Config,
    database: &Database,
    disk: Option<&OnDisk>,
    live: Option<&LiveDatabase>,
    now: DateTime<Utc>,
) -> Result<DatabaseStatus> {
    let name = database.name.as_str();
    let backups = disk.map(|disk| disk.backups.as_ref());
    let known = backups.and_then(std::result::Result::ok);
    let disk_free = disk.map(|disk| disk.disk_free).unwrap_or_default();
    let space = facts::recall(connection, name, facts::SPACE)?;
    let jobs = registry::kinds(database).into_iter().map(|kind| {
        let live = live.and_then(|live| live.jobs.get(&kind));
        job_status(connection, config, database, kind, live, now)
    });
    let slow = slow::worst(connection, name, now - SLOW_SINCE, SLOW_SHOWN)?;
    let trends = facts::recall(connection, name, facts::TRENDS)?;
    let mut health = facts::recall(connection, name, facts::HEALTH)?;
    for check in &mut health {
        check.at = check.at.and_then(|at| clock::past(at, now));
    }
    // Free pages are filled before the file grows.
    let room = disk_free.data.map(|free| free.saturating_add(space.map_or(0, |space| space.free_bytes)));
    let content = trends.iter().find(|trend| trend.kind == Measure::Content);
    Ok(DatabaseStatus {
        name: name.to_owned(),
        path: database.path.display().to_string(),
        size_bytes: disk.and_then(|disk| disk.size_bytes),
        disk_silent_since: live.and_then(|live| live.disk_silent_since),
        second_name: disk.and_then(|disk| disk.second_name.as_ref()).map(ToString::to_string),
        free_bytes: space.map(|space| space.free_bytes),
        wal_bytes: disk.map(|disk| disk.wal_bytes),
        wal_pinned: pin::recall(connection, name)?
            .map(|pin| WalPinned { since: pin.since.min(now), by: pin.by }),
        handed_over: live
            .and_then(|live| live.handed_over.clone())
            .map(|to| HandedOver { since: to.since.min(now), ..to }),
        pool: live.map(|live| pool_status(live.pool)),
        jobs: jobs.collect::<Result<_>>()?,
        health,
        newest_backup: known.and_then(|b| b.newest.clone()),
        backed_up_until: known.and_then(|b| b.current),
        verified_backup: known.and_then(|b| b.verified),
        backups: known.map_or(0, |b| b.count),
        damaged_backups: known.map_or(0, |b| b.damaged),
        backups_error: backups.and_then(std::result::Result::err).map(ToString::to_string),
        copies: disk
            .map(|disk| disk.copies.iter().map(|(name, known)| copy_status(name, known)).collect())
            .unwrap_or_default(),
        tables: facts::recall(connection, name, facts::TABLES)?,
        slow: slow
            .into_iter()
            .map(|s| SlowShape {
                shape: s.shape,
                count: s.count,
                total_seconds: s.total_seconds,
                p95_seconds: s.p95_seconds,
                max_seconds: s.max_seconds,
            })
            .collect(),
        disk_free,
        disk_full_seconds: content.zip(room).and_then(|(content, room)| content.seconds_until(room)),
        trends,
    })
}

fn copy_status(name: &str, known: &Result<Inventory>) -> CopyStatus {
    let seen = known.as_ref().ok();
    CopyStatus {
        name: name.to_owned(),
        backups: seen.map_or(0, |known| known.count),
        newest: seen.and_then(|known| known.taken),
        error: known.as_ref().err().map(ToString::to_string),
    }
}

fn job_status(
    connection: &Connection,
    config: &Config,
    database: &Database,
    kind: JobKind,
    live: Option<&LiveJob>,
    now: DateTime<Utc>,
) -> Result<JobStatus> {
    let when = database.when(kind);
    let zone = config.daemon.timezone;
    let not_in_blackout = |at| blackout::ends(&when.blackout, zone, at).unwrap_or(at);
    let last = runs::newest(connection, &database.name, kind)?;
    // A run of another process, from the command line, is seen by its open row.
    let elsewhere = last.as_ref().filter(|run| run.outcome.is_none());
    let elsewhere = elsewhere.map(|run| (run.started.unwrap_or(now), None));
    let running = live.and_then(|live| live.running).or(elsewhere);
    let last = match last {
        Some(run) if run.outcome.is_none() => runs::newest_ended(connection, &database.name, kind)?,
        other => other,
    };
    Ok(JobStatus {
        kind,
        schedule: when.schedule.to_string(),
        next_run: match live {
            Some(live) if live.postponed => Some(not_in_blackout(now)),
            Some(live) => live.next_run.map(not_in_blackout),
            None => calendar::next(&when.schedule, zone, now).map(not_in_blackout),
        },
        running: running.map(|(since, progress)| RunStatus {
            since,
            progress: progress.map(|p| Progress {
                done: p.done,
                total: Some(p.total),
                unit: p.unit.as_str().to_owned(),
            }),
        }),
        queued: live.is_some_and(|live| live.queued),
        postponed: live.is_some_and(|live| live.postponed),
        last: last.and_then(|run| {
            Some(LastRun {
                id: run.id,
                started: run.started,
                finished: run.finished,
                outcome: run.outcome?,
                reason: run.reason,
                summary: run.summary,
            })
        }),
        last_success: runs::last_success(connection, &database.name, kind, now)?,
    })
}

fn pool_status(pool: PoolState) -> PoolStatus {
    PoolStatus {
        size: pool.size as u64,
        max: pool.max as u64,
        idle: pool.idle as u64,
        in_use: pool.in_use as u64,
        waiting: pool.waiting as u64,
        timeouts: pool.timeouts,
        recycled: pool.recycled,
    }
}

/// Sets the gauges that tell what the snapshot tells: one source for the page, the API and
/// Prometheus, also for what a command line did and for what was known before a restart.
pub fn publish(connection: &Connection, status: &Status) -> Result<()> {
    events::ConfigInForce { since: status.config.loaded_at }.emit();
    for database in &status.databases {
        let name = database.name.as_str();
        let problems = facts::recall(connection, name, facts::INDEX_PROBLEMS)?;
        let problems: Vec<_> = problems.iter().map(|(index, word)| (index.as_str(), word.as_str())).collect();
        events::IndexProblems { database: name, problems: &problems }.emit();
        let damage = facts::recall(connection, name, facts::DAMAGE)?;
        events::DatabaseDamaged { database: name, is_damaged: damage.is_some() }.emit();
        publish_database(database, status.now);
    }
    Ok(())
}

fn publish_database(database: &DatabaseStatus, now: DateTime<Utc>) {
    let name = database.name.as_str();
    for job in &database.jobs {
        let kind = job.kind.as_str();
        JobScheduled { database: name, job: kind, next: job.next_run }.emit();
        JobSucceededBefore { database: name, job: kind, at: job.last_success }.emit();
    }
    let tables: Vec<_> = database
        .tables
        .iter()
        .map(|t| TableSize { table: &t.table, bytes: t.size_bytes, rows: t.rows })
        .collect();
    if let (Some(file), Some(wal)) = (database.size_bytes, database.wal_bytes) {
        events::Sizes { database: name, file, free: database.free_bytes, wal, tables: Some(&tables) }.emit();
    }
    events::Growth {
        database: name,
        bytes_per_day: database.growth().and_then(Trend::bytes_per_day),
        disk_full_seconds: database.disk_full_seconds,
    }
    .emit();
    events::LogPinnedFor { database: name, seconds: database.wal_pinned_seconds(now) }.emit();
    for check in &database.health {
        events::Check { database: name, check: &check.check, verdict: check.result }.emit();
    }
    let newest = database.newest_backup.as_ref();
    events::Backups {
        database: name,
        count: usize::try_from(database.backups).unwrap_or(usize::MAX),
        damaged: database.damaged_backups,
        newest: database.backed_up_until,
        raw_bytes: newest.map(|b| b.raw_bytes),
        stored_bytes: newest.map(|b| b.stored_bytes),
        newest_verified: database.verified_backup,
    }
    .emit();
    for copy in &database.copies {
        let seen = copy.error.is_none();
        events::BackupCopy {
            database: name,
            copy: &copy.name,
            count: seen.then_some(copy.backups),
            newest: copy.newest,
        }
        .emit();
    }
    events::DiskFree { database: name, data: database.disk_free.data, backup: database.disk_free.backup }
        .emit();
}
