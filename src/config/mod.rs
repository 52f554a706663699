//! INTENT: the configuration as one immutable value. Everything past this room reads [`Config`] and never
//! the file: the text becomes tables with places (`file`), defaults and tables are merged (`resolve`), the
//! result is checked (`validate`), and two of them are compared on reload (`diff`). Never opens a database.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use blackout::Blackout;
pub use cron_text::{Cron, Fault};
pub use diagnostic::{Position, Problem, Rejected};
pub use diff::{Change, Diff, diff};
pub use job::When;
pub use place::{Bucket, Cloud, Place};
pub use read::load::{DEFAULT_PATH, keys};
pub use schedule::Schedule;

mod blackout;
mod cron_text;
mod diagnostic;
mod diff;
mod job;
mod place;
mod read;
mod schedule;
pub mod units;

/// A whole configuration, defaults merged in, every value checked. Equal when it asks for the same: warnings
/// do not count.
#[derive(Debug, Clone)]
pub struct Config {
    /// The daemon itself.
    pub daemon: Daemon,
    /// The databases by name, each complete: no further merging is needed.
    pub databases: BTreeMap<String, Arc<Database>>,
    /// What is valid and yet perhaps not meant, one sentence each, for the log.
    pub warnings: Vec<String>,
}

/// Where a backup of a bucket is unpacked to be verified: on a disk, and the system's to clean up.
pub const SCRATCH: &str = "/var/tmp";

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.daemon == other.daemon && self.databases == other.databases
    }
}

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Where `state.db` and the job locks lie.
    pub state_dir: PathBuf,
    /// Address of the HTTP server; `None` is `"off"`.
    pub listen: Option<SocketAddr>,
    /// Names, beside addresses and local ones, by which the HTTP server is asked.
    pub hosts: Vec<String>,
    /// Zone in which schedules are read; `"local"` is already resolved.
    pub timezone: chrono_tz::Tz,
    /// Heavy jobs at the same time over all databases; at least 1.
    pub parallel_jobs: usize,
    /// Of them, those on databases of one disk; 0: no limit.
    pub jobs_per_disk: usize,
    /// How long running jobs may go on after a TERM.
    pub shutdown_grace: Duration,
    /// Form of the log lines.
    pub log_format: LogFormat,
}

/// `daemon.log_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people and the journal.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[database.NAME]` with all that applies to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// The name used on the command line, in labels and in backup files.
    pub name: String,
    /// The SQLite file.
    pub path: PathBuf,
    /// `[pool]`.
    pub pool: Pool,
    /// `[maintain]`.
    pub maintain: Maintain,
    /// `[backup]`.
    pub backup: Backup,
    /// `[verify]`.
    pub verify: Verify,
    /// `[cleanup]`.
    pub cleanup: Cleanup,
    /// `[health]`.
    pub health: Health,
    /// `[watch]`.
    pub watch: Watch,
    /// `[[database.NAME.index]]`, in the order of the file.
    pub indexes: Vec<Index>,
}

impl Database {
    /// The place with this name among the copies, or without a name the backups' own, and which of the backups there
    /// rotation keeps.
    pub fn place(&self, copy: Option<&str>) -> Option<(&Place, Keep)> {
        match copy {
            None => Some((&self.backup.dir, self.backup.keep)),
            Some(name) => {
                self.backup.copies.iter().find(|copy| copy.name == name).map(|copy| (&copy.dir, copy.keep))
            }
        }
    }

    /// The directory in which a backup that lies in `place` is unpacked to be verified.
    pub fn scratch_dir(&self, place: &Place) -> PathBuf {
        match (&self.verify.scratch_dir, place) {
            (Some(directory), _) => directory.clone(),
            (None, Place::Directory(above)) => above.join(&self.name),
            (None, Place::Bucket(_)) => PathBuf::from(SCRATCH),
        }
    }
}

/// `[pool]`: the connections to one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Connections that stay open while work goes on.
    pub size: usize,
    /// Where none was used for so long, all are closed: then nothing of the database is held.
    pub idle: Duration,
    /// More while there is demand, closed when given back.
    pub max_overflow: usize,
    /// Wait for a connection.
    pub timeout: Duration,
    /// A connection older than this is replaced.
    pub recycle: Duration,
    /// Attempts to get a connection.
    pub retries: u32,
    /// Pause between two attempts.
    pub retry_delay: Duration,
    /// How long a statement waits for the application's lock.
    pub busy_timeout: Duration,
    /// How long a write waits for a pause between the application's transactions; zero: it does not wait.
    pub pause_timeout: Duration,
}

/// `[maintain]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Maintain {
    /// When.
    pub when: When,
    /// Whether to give free pages back to the filesystem.
    pub vacuum: Vacuum,
    /// `auto`: only when this share (0 to 1) of the file is free pages …
    pub vacuum_min_free: f64,
    /// … and at least this many bytes would come back.
    pub vacuum_min_size: u64,
    /// VACUUM even where it renumbers the rowids of tables with neither an INTEGER PRIMARY KEY nor an index.
    pub vacuum_rowids: RowidPolicy,
    /// Whether to refresh the planner's statistics.
    pub analyze: Analyze,
    /// Whether to rebuild indexes.
    pub reindex: Reindex,
    /// Longest time the application's writers may be held up by one statement.
    pub max_block: Duration,
    /// Past this many bytes of write-ahead log, a TRUNCATE checkpoint is tried.
    pub max_wal: u64,
}

/// `maintain.vacuum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vacuum {
    /// When enough pages are free.
    Auto,
    /// `PRAGMA incremental_vacuum`; a file without auto_vacuum is converted first, by one VACUUM.
    Incremental,
    /// Every run.
    Always,
    /// Not at all.
    Never,
}

/// `maintain.vacuum_rowids`: what VACUUM may do to rowids that it would renumber (H7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowidPolicy {
    /// Skip VACUUM and say which tables stand in the way.
    Keep,
    /// The operator knows that nothing refers to them.
    Renumber,
}

/// `maintain.analyze`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Analyze {
    /// `PRAGMA optimize` over all tables.
    Auto,
    /// `ANALYZE`.
    Always,
    /// Not at all.
    Never,
}

/// `maintain.reindex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reindex {
    /// Only an index that a check found wrong.
    Auto,
    /// Every index, one at a time.
    Always,
    /// Not at all.
    Never,
}

/// `[backup]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// When.
    pub when: When,
    /// Where: the place above the database's own.
    pub dir: Place,
    /// How the file is stored.
    pub compression: Compression,
    /// 1 (fast) to 9 (small) for gzip, to 19 for zstd.
    pub level: u32,
    /// Compressing threads; at least 1 (`0` in the file is already resolved).
    pub threads: usize,
    /// Longest time that the read transaction of a backup may be open.
    pub max_snapshot: Duration,
    /// Make no new file while the newest backup holds what the database holds.
    pub skip_unchanged: bool,
    /// Bytes that may be written to the store in a second; `None` is `"off"`.
    pub max_rate: Option<NonZeroU64>,
    /// Which backups rotation keeps.
    pub keep: Keep,
    /// `[[database.NAME.backup.copy]]`, in the order of the file.
    pub copies: Vec<BackupCopy>,
}

/// Another place to which every backup is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupCopy {
    /// Its name, for `--from` and for labels.
    pub name: String,
    /// Where: the place above the database's own.
    pub dir: Place,
    /// Which backups rotation keeps there.
    pub keep: Keep,
}

/// `backup.compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// An ordinary gzip file.
    Gzip,
    /// An ordinary zstd file.
    Zstd,
    /// The plain database.
    None,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Zstd, Self::None];

    /// The word used in the file and in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::None => "none",
        }
    }

    /// The highest `backup.level` that it has. Without compression none matters.
    pub const fn highest_level(self) -> u32 {
        match self {
            Self::Gzip => 9,
            Self::Zstd | Self::None => 19,
        }
    }
}

/// `backup.keep_*`: a backup that any of these keeps is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of the last so many hours that have one; likewise below.
    pub hourly: u32,
    /// Days.
    pub daily: u32,
    /// ISO weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
    /// Years.
    pub yearly: u32,
}

impl Keep {
    /// Whether it keeps nothing.
    pub fn is_none(&self) -> bool {
        *self == Self { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }
    }
}

/// `[verify]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Verify {
    /// When.
    pub when: When,
    /// Where a backup is unpacked; `None`: beside the backups, and for those in a bucket in [`SCRATCH`].
    pub scratch_dir: Option<PathBuf>,
}

/// `[cleanup]` and its rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleanup {
    /// When.
    pub when: When,
    /// A batch grows or shrinks so that one transaction lasts about this long.
    pub batch_target: Duration,
    /// A run that would remove more than this share (0 to 1) of a table is refused.
    pub max_share: f64,
    /// `[[database.NAME.cleanup.rule]]`, in the order of the file.
    pub rules: Vec<Rule>,
}

/// One retention rule. A row goes as soon as one of `keep`, `keep_rows` and `max_size` says so; at least one is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The table.
    pub table: String,
    /// Its date column; `None`: rows are ordered by their rowid or primary key.
    pub column: Option<String>,
    /// Rows older than this are removed; only with a column.
    pub keep: Option<Duration>,
    /// All but so many of the newest rows are removed.
    pub keep_rows: Option<u64>,
    /// The oldest rows are removed until the table and its indexes take no more bytes.
    pub max_size: Option<u64>,
    /// How the column tells the time; `None`: found out.
    pub format: Option<DateFormat>,
    /// The zone of dates in text that have no offset.
    pub timezone: chrono_tz::Tz,
    /// What to do where the table has DELETE triggers.
    pub triggers: Triggers,
    /// What to do where rows point at rows that would go.
    pub children: Children,
    /// To what kind of file rows go before they are removed.
    pub archive: Option<ArchiveFormat>,
    /// Where that is: a directory in this one, named after the database; `None`: `archive` beside its backups.
    pub archive_dir: Option<PathBuf>,
}

/// `rule.archive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// A database of SQLite for each month.
    Sqlite,
    /// A text file for each table and run.
    Csv,
}

/// `rule.format`: how a column tells the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateFormat {
    /// ISO 8601 text, in the rule's zone where it has no offset.
    Iso,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
    /// Julian day number.
    JulianDay,
}

/// `rule.triggers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Triggers {
    /// Refuse the rule.
    Refuse,
    /// Let them fire.
    Allow,
}

/// `rule.children`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// Refuse the rule while rows that stay point at rows that would go.
    Refuse,
    /// Set what points at a row that goes to NULL, and remove nothing else.
    Unlink,
    /// Remove what points at a row that goes first, but never a row of the rule's own table that it keeps.
    Cascade,
}

/// `[health]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// When the quick checks run: pool, indexes, table sizes, query performance.
    pub when: When,
    /// When the deep checks run: integrity and foreign keys.
    pub integrity_when: When,
    /// How deep.
    pub integrity: Integrity,
}

/// `health.integrity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// `quick_check`.
    Quick,
    /// `integrity_check`.
    Full,
}

/// `[watch]` and its queries.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// When.
    pub when: When,
    /// A statement slower than this is logged, counted and kept.
    pub slow_threshold: Duration,
    /// `[database.NAME.watch.QUERY]`.
    pub queries: Vec<Query>,
}

/// A query run on schedule to see how long it takes and how it is planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Its name, for labels.
    pub name: String,
    /// One SELECT.
    pub sql: String,
    /// Values of its named parameters, without the colon.
    pub params: BTreeMap<String, Value>,
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number (a TOML boolean is 0 or 1).
    Integer(i64),
    /// A real number.
    Real(f64),
    /// Text.
    Text(String),
}

/// An index that the operator expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The table.
    pub table: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// What to do where it is missing.
    pub missing: Missing,
}

/// `index.missing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Report it, with the CREATE INDEX.
    Report,
    /// Create it in the next maintenance.
    Create,
}
