//! The live status snapshot: what the daemon knows of itself at one moment. It is `/api/status`,
//! what the status page shows and what `litekeeper status` prints. Holds facts and the judgement of
//! what is wrong; never opens anything and never knows how it is shown.
//!
//! Times are UTC in RFC 3339, durations in seconds, sizes in bytes.

mod problems;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::problems::{Problem, Severity};
pub use super::trends::{Measure, Trend};
use crate::error::Reason;
pub use crate::terms::Verdict;
use crate::terms::{JobKind, Outcome};

/// The check that names the SQLite of the processes that use a database.
pub const APPLICATION_SQLITE: &str = "application_sqlite";

/// The whole daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of litekeeper.
    pub version: String,
    /// Version of the SQLite in it.
    pub sqlite_version: String,
    /// Process number of the daemon; `None`: none answers.
    pub pid: Option<u32>,
    /// When the daemon started; `None` likewise.
    pub started: Option<DateTime<Utc>>,
    /// When this snapshot was taken.
    pub now: DateTime<Utc>,
    /// The configuration's file.
    pub config_path: String,
    /// What became of it.
    pub config: ConfigState,
    /// Whether the daemon does its work; the reasons why not are those of `/readyz`.
    pub ready: bool,
    /// Why the daemon is not ready, a sentence each.
    pub not_ready: Vec<String>,
    /// The databases, by name.
    pub databases: Vec<DatabaseStatus>,
}

/// The configuration in force, and how the last attempt to replace it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigState {
    /// When the configuration in force was loaded.
    pub loaded_at: DateTime<Utc>,
    /// The last reload; `None`: there was none since the start.
    pub last_reload: Option<Reload>,
}

/// One reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// When.
    pub at: DateTime<Utc>,
    /// Whether the new configuration is in force now.
    pub ok: bool,
    /// What changed, or everything that was wrong with it (lines and carets included).
    pub message: String,
}

/// One database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its file.
    pub path: String,
    /// Size of the file; `None`: it cannot be seen.
    pub size_bytes: Option<u64>,
    /// Since when its disk, or that of its backups, has not answered: what is told of them is from
    /// before.
    #[serde(default)]
    pub disk_silent_since: Option<DateTime<Utc>>,
    /// The second name under which it is reached, and what to do about that.
    #[serde(default)]
    pub second_name: Option<String>,
    /// In its free pages.
    pub free_bytes: Option<u64>,
    /// Size of the write-ahead log; 0 where there is none.
    pub wal_bytes: Option<u64>,
    /// A reader that keeps a log past `maintain.max_wal` from being emptied.
    pub wal_pinned: Option<WalPinned>,
    /// The restore in place that has it instead of the daemon.
    #[serde(default)]
    pub handed_over: Option<HandedOver>,
    /// The connections; `None` before the first use.
    pub pool: Option<PoolStatus>,
    /// Its jobs that have a schedule.
    pub jobs: Vec<JobStatus>,
    /// What the health checks found, by check.
    pub health: Vec<CheckStatus>,
    /// The newest backup.
    pub newest_backup: Option<BackupStatus>,
    /// Until when the database is known to have held what a good backup holds: the newest one whose
    /// time is known.
    #[serde(default)]
    pub backed_up_until: Option<DateTime<Utc>>,
    /// Until when the newest backup that was verified is known to have been what the database held.
    pub verified_backup: Option<DateTime<Utc>>,
    /// How many good backups there are.
    pub backups: u64,
    /// How many backups are known to be damaged.
    pub damaged_backups: u64,
    /// Why the backups cannot be looked at.
    pub backups_error: Option<String>,
    /// The other places of its backups, in the order of the configuration.
    pub copies: Vec<CopyStatus>,
    /// The largest tables, largest first.
    pub tables: Vec<TableStatus>,
    /// The slow statements by shape, the most costly in total first.
    pub slow: Vec<SlowShape>,
    /// Free bytes on the filesystems that it needs.
    pub disk_free: DiskFree,
    /// How its size and those of its largest tables and indexes went, by the samples of its health
    /// checks.
    #[serde(default)]
    pub trends: Vec<Trend>,
    /// When its disk will be full at its present growth, in seconds; `None`: it does not grow, or
    /// cannot be told.
    #[serde(default)]
    pub disk_full_seconds: Option<f64>,
}

/// A reader that keeps the write-ahead log from being emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalPinned {
    /// Its transaction is at least as old.
    pub since: DateTime<Utc>,
    /// Whose it is, in words; empty where that cannot be seen.
    pub by: String,
}

/// A restore in place, for which the daemon leaves a database alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// Which one, in words.
    pub by: String,
    /// Since when no job begins.
    pub since: DateTime<Utc>,
}

/// The connections to one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Open connections.
    pub size: u64,
    /// Most that may be open.
    pub max: u64,
    /// Open and not in use.
    pub idle: u64,
    /// In use.
    pub in_use: u64,
    /// Callers that wait for one.
    pub waiting: u64,
    /// Callers that got none in time, since the start.
    pub timeouts: u64,
    /// Connections replaced, since the start.
    pub recycled: u64,
}

/// One job of one database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its kind.
    #[serde(rename = "task")]
    pub kind: JobKind,
    /// Its schedule as configured.
    pub schedule: String,
    /// When it is due next; `None`: never.
    pub next_run: Option<DateTime<Utc>>,
    /// The run at work now.
    pub running: Option<RunStatus>,
    /// Whether a run is due and waits for its turn.
    pub queued: bool,
    /// Whether a run is due and waits until a blackout ends, which is then at `next_run`.
    pub postponed: bool,
    /// The last run that ended.
    pub last: Option<LastRun>,
    /// When a run last ended well, as far as is known.
    pub last_success: Option<DateTime<Utc>>,
}

/// A run at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStatus {
    /// When it began.
    pub since: DateTime<Utc>,
    /// How far it is, where it can tell.
    pub progress: Option<Progress>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Done so far.
    pub done: u64,
    /// All there is to do, where known.
    pub total: Option<u64>,
    /// What is counted: `bytes`, `pages`, `rows`.
    pub unit: String,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Its number in the run history.
    pub id: i64,
    /// When it began; absent where that was under a clock that was ahead: then nobody knows.
    pub started: Option<DateTime<Utc>>,
    /// When it ended, likewise.
    pub finished: Option<DateTime<Utc>>,
    /// How.
    pub outcome: Outcome,
    /// Why it did not end well, or what it found, as one word.
    pub reason: Option<String>,
    /// What it did, or what failed and what to do.
    pub summary: String,
}

impl LastRun {
    /// How many seconds it took, where that is known.
    pub fn took(&self) -> Option<f64> {
        Some((self.finished? - self.started?).as_seconds_f64())
    }
}

/// One health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// The check.
    pub check: String,
    /// What it found.
    pub result: Verdict,
    /// In words.
    pub detail: String,
    /// When; absent where that was under a clock that was ahead.
    pub at: Option<DateTime<Utc>>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// Its file's name.
    pub name: String,
    /// When the state in it was taken; absent where that was under a clock that was ahead: then
    /// nobody knows.
    pub taken: Option<DateTime<Utc>>,
    /// The latest time at which the database is known to have held that state, likewise.
    pub current: Option<DateTime<Utc>>,
    /// When it was complete, likewise.
    pub finished: Option<DateTime<Utc>>,
    /// Size of the database in it.
    pub raw_bytes: u64,
    /// Size as stored.
    pub stored_bytes: u64,
    /// Whether it was restored into scratch space and found good, at the last time.
    #[serde(default)]
    pub is_verified: bool,
    /// When; absent where it was not yet, or where that was under a clock that was ahead.
    pub verified: Option<DateTime<Utc>>,
}

/// Another place of the backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    /// Its name in the configuration.
    pub name: String,
    /// How many good backups there are.
    pub backups: u64,
    /// When the state in the newest good one was taken.
    pub newest: Option<DateTime<Utc>>,
    /// Why it cannot be looked at.
    pub error: Option<String>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// Its name.
    pub table: String,
    /// With its indexes.
    pub size_bytes: Option<u64>,
    /// Rows, where counted.
    pub rows: Option<u64>,
}

/// Slow statements of one shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlowShape {
    /// The statement, its literals removed.
    pub shape: String,
    /// How often it was slow.
    pub count: u64,
    /// All those times together.
    pub total_seconds: f64,
    /// 95 % took no longer, within ±10 %; `None`: not counted.
    #[serde(default)]
    pub p95_seconds: Option<f64>,
    /// The longest.
    pub max_seconds: f64,
}

/// Free bytes; `None`: cannot be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFree {
    /// On the filesystem of the database.
    #[serde(rename = "data_bytes")]
    pub data: Option<u64>,
    /// On that of the backups.
    #[serde(rename = "backup_bytes")]
    pub backup: Option<u64>,
}

impl DatabaseStatus {
    /// How what it holds went.
    pub fn growth(&self) -> Option<&Trend> {
        self.trends.iter().find(|trend| trend.kind == Measure::Content)
    }

    /// For how long a reader has kept the write-ahead log from being emptied; 0 where none does.
    pub fn wal_pinned_seconds(&self, now: DateTime<Utc>) -> f64 {
        self.wal_pinned.as_ref().map_or(0.0, |pinned| (now - pinned.since).as_seconds_f64().max(0.0))
    }
}

impl JobStatus {
    /// The word of what the last run found, where it did its work and yet not all is well.
    pub fn found(&self) -> Option<&str> {
        self.reason_of_success().filter(|reason| *reason != Reason::Unsupported.as_str())
    }

    /// Whether the last run did all that can be done here, and left out what only the application
    /// can do.
    pub fn is_limited(&self) -> bool {
        self.reason_of_success() == Some(Reason::Unsupported.as_str())
    }

    fn reason_of_success(&self) -> Option<&str> {
        let last = self.last.as_ref().filter(|last| last.outcome == Outcome::Success)?;
        last.reason.as_deref()
    }
}
