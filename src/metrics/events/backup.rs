//! What the jobs leave behind: backups, fewer rows, a smaller file.

use chrono::{DateTime, Utc};

use super::LOG;
use super::gauges::{ABSENT, past_or_absent};
use crate::metrics::names as n;

/// The backups that a database has, after one was made, rotated away or found at start. No log
/// line: the job's own says what it did.
#[derive(Debug)]
pub struct Backups<'a> {
    /// The database.
    pub database: &'a str,
    /// How many good ones there are.
    pub count: usize,
    /// How many are known to be damaged.
    pub damaged: u64,
    /// The latest time at which the database is known to have held what the newest one holds.
    pub newest: Option<DateTime<Utc>>,
    /// Bytes of the database in the newest one.
    pub raw_bytes: Option<u64>,
    /// Bytes of the newest one as it is stored.
    pub stored_bytes: Option<u64>,
    /// The same of the newest verified one.
    pub newest_verified: Option<DateTime<Utc>>,
}

impl Backups<'_> {
    /// Writes the metrics.
    pub fn emit(&self) {
        n::BACKUPS.gauge([self.database]).set(self.count as f64);
        n::BACKUPS_DAMAGED.gauge([self.database]).set(self.damaged as f64);
        n::BACKUP_NEWEST.gauge([self.database]).set(past_or_absent(self.newest));
        n::BACKUP_VERIFIED.gauge([self.database]).set(past_or_absent(self.newest_verified));
        for (kind, bytes) in [("raw", self.raw_bytes), ("stored", self.stored_bytes)] {
            n::BACKUP_SIZE.gauge([self.database, kind]).set(bytes.map_or(ABSENT, |b| b as f64));
        }
    }
}

/// One copy of a database's backups, as it was last seen. No log line.
#[derive(Debug)]
pub struct BackupCopy<'a> {
    /// The database.
    pub database: &'a str,
    /// The copy's name.
    pub copy: &'a str,
    /// How many good backups it has; `None`: it cannot be looked at.
    pub count: Option<u64>,
    /// When the state in the newest one was taken.
    pub newest: Option<DateTime<Utc>>,
}

impl BackupCopy<'_> {
    /// Writes the metrics.
    pub fn emit(&self) {
        let labels = [self.database, self.copy];
        n::BACKUP_COPIES.gauge(labels).set(self.count.map_or(ABSENT, |count| count as f64));
        n::BACKUP_COPY_NEWEST.gauge(labels).set(past_or_absent(self.newest));
    }
}

/// Backups could not be brought to a copy. No log line: the run's own says why.
#[derive(Debug)]
pub struct BackupCopyFailed<'a> {
    /// The database.
    pub database: &'a str,
    /// The copy's name.
    pub copy: &'a str,
}

impl BackupCopyFailed<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::BACKUP_COPY_FAILURES.counter([self.database, self.copy]).increment(1);
    }
}

/// Cleanup removed rows of a table: one batch's, or a whole rule's.
#[derive(Debug)]
pub struct Cleaned<'a> {
    /// The database.
    pub database: &'a str,
    /// The table.
    pub table: &'a str,
    /// How many.
    pub rows: u64,
}

impl Cleaned<'_> {
    /// Writes the log line and the metric.
    pub fn emit(&self) {
        let Self { database, table, rows } = *self;
        n::CLEANUP_ROWS.counter([database, table]).increment(rows);
        tracing::debug!(target: LOG, database, table, rows, "rows removed");
    }
}

/// Maintenance gave bytes back to the filesystem. No log line: the job's own says so.
#[derive(Debug)]
pub struct Reclaimed<'a> {
    /// The database.
    pub database: &'a str,
    /// How many.
    pub bytes: u64,
}

impl Reclaimed<'_> {
    /// Writes the metric.
    pub fn emit(&self) {
        n::RECLAIMED.counter([self.database]).increment(self.bytes);
    }
}
