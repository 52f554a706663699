//! The live status snapshot: what the daemon knows of itself at one moment. It is `/api/status`, what the
//! status page shows and what `litekeeper status` prints. Holds facts and the judgement of what is wrong;
//! never opens anything and never knows how it is shown.
//!
//! Times are UTC in RFC 3339, durations in seconds, sizes in bytes.

pub use super::trends::{Kind, Trend};
use crate::error::Reason;
use crate::terms::JobKind;
use crate::terms::Outcome;
pub use crate::terms::Verdict;
use crate::words;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The check that names the SQLite of the processes that use a database.
pub const APPLICATION_SQLITE: &str = "application_sqlite";

/// A disk that is full within this is worth a warning: time enough to order another.
const SOON: f64 = 14.0 * 86_400.0;

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
    /// Since when its disk, or that of its backups, has not answered: what is told of them is from before.
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
    /// How its size and those of its largest tables and indexes went, by the samples of its health checks.
    #[serde(default)]
    pub trends: Vec<Trend>,
    /// When its disk will be full at its present growth, in seconds; `None`: it does not grow, or cannot be told.
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
    pub kind: JobKind,
    /// Its schedule as configured.
    pub schedule: String,
    /// When it is due next; `None`: never.
    pub next_run: Option<DateTime<Utc>>,
    /// The run at work now.
    pub running: Option<Running>,
    /// Whether a run is due and waits for its turn.
    pub queued: bool,
    /// Whether a run is due and waits until a blackout ends, which is then at `next_run`.
    pub postponed: bool,
    /// The last run that ended.
    pub last: Option<LastRun>,
    /// When a run last ended well.
    pub last_success: Option<DateTime<Utc>>,
}

/// A run at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
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
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub finished: DateTime<Utc>,
    /// How.
    pub outcome: Outcome,
    /// Why it did not end well, or what it found, as one word.
    pub reason: Option<String>,
    /// What it did, or what failed and what to do.
    pub summary: String,
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
    /// When.
    pub at: DateTime<Utc>,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// Its file's name.
    pub name: String,
    /// When the state in it was taken.
    pub taken: DateTime<Utc>,
    /// The latest time at which the database is known to have held that state.
    pub current: DateTime<Utc>,
    /// When it was complete.
    pub finished: DateTime<Utc>,
    /// Size of the database in it.
    pub raw_bytes: u64,
    /// Size as stored.
    pub stored_bytes: u64,
    /// When it was last restored into scratch space and found good; `None`: not yet.
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

/// Something that an operator should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// What it is about: a job, a check, `pool`, `disk`, `backup`.
    pub about: String,
    /// In words.
    pub text: String,
    /// When it was found, where that is one moment.
    pub at: Option<DateTime<Utc>>,
}

/// How bad a [`Problem`] is; the worse sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something failed or is damaged.
    Failure,
    /// Something cannot be told, or will fail if nobody acts.
    Warning,
}

impl DatabaseStatus {
    /// How what it holds went.
    pub fn growth(&self) -> Option<&Trend> {
        self.trends.iter().find(|trend| trend.kind == Kind::Content)
    }

    /// For how long a reader has kept the write-ahead log from being emptied; 0 where none does.
    pub fn wal_pinned_seconds(&self, now: DateTime<Utc>) -> f64 {
        self.wal_pinned.as_ref().map_or(0.0, |pinned| (now - pinned.since).as_seconds_f64().max(0.0))
    }

    /// What is wrong with this database, the worst first.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found: Vec<Problem> = self.jobs.iter().filter_map(JobStatus::problem).collect();
        found.extend(self.health.iter().filter_map(CheckStatus::problem));
        found.extend(self.warnings());
        found.sort_by_key(|p| p.severity);
        found
    }

    fn warnings(&self) -> Vec<Problem> {
        let warning = |about: &str, text: &str| Problem {
            severity: Severity::Warning,
            about: about.to_owned(),
            text: text.to_owned(),
            at: None,
        };
        let mut found = Vec::new();
        let failure = |text: String| Problem {
            severity: Severity::Failure,
            about: "backup".to_owned(),
            text,
            at: None,
        };
        if let Some(since) = self.disk_silent_since {
            let text = "the disk of the database, or of its backups, does not answer; its jobs wait, and run when it does: see \
                        the kernel's log (dmesg), or whether the server of a network filesystem is up";
            found.push(Problem { about: "disk".to_owned(), at: Some(since), ..failure(text.to_owned()) });
        } else if self.size_bytes.is_none() {
            let text = format!(
                "the file cannot be seen: it does not exist, or a directory above it may not be searched; correct path, \
                 mount the disk that it is on, or restore a backup (litekeeper restore {})",
                self.name
            );
            found.push(Problem { about: "database".to_owned(), ..failure(text) });
        }
        if let Some(second) = &self.second_name {
            found.push(Problem { about: "database".to_owned(), ..failure(second.clone()) });
        }
        let job = self.jobs.iter().find(|j| j.kind == JobKind::Backup);
        match (&self.backups_error, &self.newest_backup, job) {
            (Some(error), ..) => found.push(failure(format!("the backups cannot be looked at: {error}"))),
            (None, None, Some(job)) if job.last_success.is_some() => found.push(failure(
                "backups were made and no good one is there now; is the disk mounted where they lie?"
                    .to_owned(),
            )),
            (None, None, Some(job)) if job.next_run.is_some() => {
                found.push(warning("backup", "there is no backup yet"));
            }
            _ => {}
        }
        if self.damaged_backups > 0 {
            let backups = words::plural(self.damaged_backups, "backup is damaged", "backups are damaged");
            found.push(failure(format!("{backups}; `litekeeper backups {}` names them", self.name)));
        }
        for (copy, error) in self.copies.iter().filter_map(|c| Some((&c.name, c.error.as_ref()?))) {
            found.push(failure(format!("the copy {copy} cannot be looked at: {error}")));
        }
        if let Some(WalPinned { since, by }) = &self.wal_pinned {
            let text = "the write-ahead log cannot be emptied, because a transaction that reads stays open";
            let text = if by.is_empty() { text.to_owned() } else { format!("{text}: {by}") };
            found.push(Problem { at: Some(*since), ..warning("wal", &text) });
        }
        if let Some(HandedOver { by, since }) = &self.handed_over {
            let text = format!("{by} replaces the database; its jobs wait, and run when that has ended");
            found.push(Problem { at: Some(*since), ..warning("restore", &text) });
        }
        if self.pool.is_some_and(|p| p.waiting > 0 && p.in_use >= p.max) {
            found.push(warning("pool", "all connections are in use and callers wait for one"));
        }
        // VACUUM writes the whole database anew before it gives the old pages back.
        if let (Some(free), Some(size)) = (self.disk_free.data, self.size_bytes)
            && free < size
        {
            found.push(warning("disk", "less is free beside the database than its size: VACUUM has no room"));
        }
        if let (Some(seconds), Some(growth)) = (self.disk_full_seconds.filter(|s| *s < SOON), self.growth()) {
            let text = format!("full in {}: the database {}", words::duration(seconds), growth.in_words());
            found.push(warning("disk", &text));
        }
        if let (Some(free), Some(newest)) = (self.disk_free.backup, &self.newest_backup)
            && free < newest.stored_bytes
        {
            found.push(warning("disk", "less is free than the newest backup took: the next one has no room"));
        }
        found
    }
}

impl JobStatus {
    /// The word of what the last run found, where it did its work and yet not all is well.
    pub fn found(&self) -> Option<&str> {
        let last = self.last.as_ref().filter(|last| last.outcome == Outcome::Success)?;
        last.reason.as_deref()
    }

    /// What is wrong when the last run did not end well.
    fn problem(&self) -> Option<Problem> {
        let last = self.last.as_ref()?;
        let (severity, verb) = match last.outcome {
            Outcome::Failure => (Severity::Failure, "failed"),
            // The operator wanted it so.
            Outcome::Interrupted if last.reason.as_deref() == Some(Reason::Blackout.as_str()) => return None,
            Outcome::Interrupted if last.reason.as_deref() == Some(Reason::NoPause.as_str()) => {
                (Severity::Warning, "gave way")
            }
            Outcome::Interrupted => (Severity::Warning, "was interrupted"),
            Outcome::Success | Outcome::Skipped => return None,
        };
        let about = self.kind.to_string();
        Some(Problem { severity, text: format!("{verb}: {}", last.summary), about, at: Some(last.finished) })
    }
}

impl CheckStatus {
    fn problem(&self) -> Option<Problem> {
        let (severity, text) = match self.result {
            Verdict::Good => return None,
            Verdict::Bad => (Severity::Failure, self.detail.clone()),
            Verdict::Warning => (Severity::Warning, self.detail.clone()),
            // In the unit nobody sees other users' processes: that is no trouble of this database's.
            Verdict::Unknown if self.check == APPLICATION_SQLITE => return None,
            Verdict::Unknown => (Severity::Warning, format!("cannot be checked: {}", self.detail)),
        };
        Some(Problem { severity, about: self.check.clone(), text, at: Some(self.at) })
    }
}
