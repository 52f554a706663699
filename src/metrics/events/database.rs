//! What a database looks like: its sizes and its health.

use super::LOG;
use super::gauges::{ABSENT, replace};
use crate::metrics::names as n;
use crate::terms::Verdict;

/// Sizes of a database and its tables. No log line.
#[derive(Debug)]
pub struct Sizes<'a> {
    /// The database.
    pub database: &'a str,
    /// Of the file, in bytes.
    pub file: u64,
    /// In free pages, in bytes; `None`: not known.
    pub free: Option<u64>,
    /// Of the write-ahead log, in bytes; 0 where there is none.
    pub wal: u64,
    /// All its tables, where they were measured: a table that is not here any more leaves the page.
    pub tables: Option<&'a [TableSize<'a>]>,
}

/// Size of one table.
#[derive(Debug, Clone, Copy)]
pub struct TableSize<'a> {
    /// The table.
    pub table: &'a str,
    /// With its indexes, in bytes; `None`: not measured.
    pub bytes: Option<u64>,
    /// Rows; `None`: not counted.
    pub rows: Option<u64>,
}

impl Sizes<'_> {
    /// Writes the metrics.
    pub fn emit(&self) {
        let number = |v: Option<u64>| v.map_or(ABSENT, |v| v as f64);
        n::DATABASE_SIZE.gauge([self.database]).set(self.file as f64);
        n::DATABASE_FREE.gauge([self.database]).set(number(self.free));
        n::WAL_SIZE.gauge([self.database]).set(self.wal as f64);
        if let Some(tables) = self.tables {
            let sizes = tables.iter().map(|t| ([self.database, t.table], number(t.bytes)));
            let rows = tables.iter().map(|t| ([self.database, t.table], number(t.rows)));
            replace(&n::TABLE_SIZE, self.database, sizes);
            replace(&n::TABLE_ROWS, self.database, rows);
        }
    }
}

/// Whether the file of a database is known to be damaged. No log line: the check's or the job's own
/// says how.
#[derive(Debug)]
pub struct DatabaseDamaged<'a> {
    /// The database.
    pub database: &'a str,
    /// Whether it is.
    pub is_damaged: bool,
}

impl DatabaseDamaged<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::DATABASE_DAMAGED.gauge([self.database]).set(if self.is_damaged { 1.0 } else { 0.0 });
    }
}

/// How fast a database grows. No log line.
#[derive(Debug)]
pub struct Growth<'a> {
    /// The database.
    pub database: &'a str,
    /// Bytes a day, its free pages left out; `None`: cannot be told.
    pub bytes_per_day: Option<f64>,
    /// Until its disk is full at that rate; `None`: it does not grow, or cannot be told.
    pub disk_full_seconds: Option<f64>,
}

impl Growth<'_> {
    /// Writes the metrics.
    pub fn emit(&self) {
        n::DATABASE_GROWTH.gauge([self.database]).set(self.bytes_per_day.unwrap_or(ABSENT));
        n::DISK_FULL.gauge([self.database]).set(self.disk_full_seconds.unwrap_or(ABSENT));
    }
}

/// For how long a reader has kept the write-ahead log from being emptied. No log line.
#[derive(Debug)]
pub struct LogPinnedFor<'a> {
    /// The database.
    pub database: &'a str,
    /// 0 where none does.
    pub seconds: f64,
}

impl LogPinnedFor<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::WAL_PINNED.gauge([self.database]).set(self.seconds);
    }
}

/// A reader keeps the write-ahead log from being emptied: told when it is first seen, and each time
/// it has lasted twice as long.
#[derive(Debug)]
pub struct LogPinned<'a> {
    /// The database.
    pub database: &'a str,
    /// Bytes of the log.
    pub wal_bytes: u64,
    /// For how long.
    pub seconds: f64,
    /// Who, in words; empty where that cannot be seen.
    pub by: &'a str,
}

impl LogPinned<'_> {
    /// Writes the log line.
    pub fn emit(&self) {
        let Self { database, wal_bytes, seconds, by } = *self;
        tracing::warn!(
            target: LOG, database, wal_bytes, seconds, by,
            "the write-ahead log cannot be emptied: a transaction that reads stays open"
        );
    }
}

/// That is over.
#[derive(Debug)]
pub struct LogFreed<'a> {
    /// The database.
    pub database: &'a str,
    /// For how long it had lasted.
    pub seconds: f64,
}

impl LogFreed<'_> {
    /// Writes the log line.
    pub fn emit(&self) {
        let Self { database, seconds } = *self;
        tracing::info!(target: LOG, database, seconds, "the write-ahead log is no longer kept from being emptied");
    }
}

/// A health check ended. Logged unless all is well.
#[derive(Debug)]
pub struct Check<'a> {
    /// The database.
    pub database: &'a str,
    /// The check.
    pub check: &'a str,
    /// What it found.
    pub verdict: Verdict,
}

impl Check<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::HEALTHY.gauge([self.database, self.check]).set(match self.verdict {
            Verdict::Good | Verdict::Warning => 1.0,
            Verdict::Bad => 0.0,
            Verdict::Unknown => ABSENT,
        });
    }
}

/// A check finds something else than it found the time before: told once, however often it is found
/// again.
#[derive(Debug)]
pub struct CheckChanged<'a> {
    /// The database.
    pub database: &'a str,
    /// The check.
    pub check: &'a str,
    /// What it finds now.
    pub verdict: Verdict,
    /// In words.
    pub detail: &'a str,
}

impl CheckChanged<'_> {
    /// Writes the log line.
    pub fn emit(&self) {
        let Self { database, check, detail, .. } = *self;
        match self.verdict {
            Verdict::Good => tracing::info!(target: LOG, database, check, "check is good again: {detail}"),
            Verdict::Warning => tracing::warn!(target: LOG, database, check, "{detail}"),
            Verdict::Bad => tracing::error!(target: LOG, database, check, "check failed: {detail}"),
            Verdict::Unknown => tracing::warn!(target: LOG, database, check, "cannot be checked: {detail}"),
        }
    }
}

/// All that is wrong with a database's indexes now: what is not here any more is solved. No log
/// line: the check that found it has one.
#[derive(Debug)]
pub struct IndexProblems<'a> {
    /// The database.
    pub database: &'a str,
    /// Name of the index, and in one word what is wrong with it.
    pub problems: &'a [(&'a str, &'a str)],
}

impl IndexProblems<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        let rows = self.problems.iter().map(|(index, reason)| ([self.database, index, reason], 1.0));
        replace(&n::INDEX_PROBLEMS, self.database, rows);
    }
}

/// Free bytes on the filesystems that a database needs; `None`: cannot be told. No log line.
#[derive(Debug)]
pub struct DiskFree<'a> {
    /// The database.
    pub database: &'a str,
    /// Where the database lies.
    pub data: Option<u64>,
    /// Where its backups lie.
    pub backup: Option<u64>,
}

impl DiskFree<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        for (place, bytes) in [("data", self.data), ("backup", self.backup)] {
            n::DISK_FREE.gauge([self.database, place]).set(bytes.map_or(ABSENT, |b| b as f64));
        }
    }
}
