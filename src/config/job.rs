//! When each kind of job is due, and for how long it may run.

use std::time::Duration;

use super::{Blackout, Database, Schedule};
use crate::terms::JobKind;

/// When a job runs and for how long: the keys that every job's table has.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// The cron expression.
    pub schedule: Schedule,
    /// A run missed while the daemon was down happens once, at start.
    pub catch_up: bool,
    /// Up to this much is added to each due time, the same for the same database, job and time.
    pub jitter: Duration,
    /// A run that takes longer is stopped and fails.
    pub timeout: Duration,
    /// When it does not start; only heavy jobs have any.
    pub blackout: Blackout,
}

impl Database {
    /// When jobs of this kind run on this database; of one that has no schedule, what maintenance has.
    pub const fn when(&self, kind: JobKind) -> &When {
        match kind {
            JobKind::Backup => &self.backup.when,
            JobKind::Verify => &self.verify.when,
            JobKind::Cleanup => &self.cleanup.when,
            JobKind::Maintain | JobKind::Checkpoint | JobKind::Recover => &self.maintain.when,
            JobKind::Health => &self.health.when,
            JobKind::Integrity => &self.health.integrity_when,
            JobKind::Watch => &self.watch.when,
        }
    }
}
