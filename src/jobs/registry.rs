//! Kind → job: the only place that knows every kind. A job takes its settings from the run's context.

use std::sync::Arc;

use super::Job;
use super::backup::Backup;
use super::cleanup::Cleanup;
use super::health::Health;
use super::integrity::Integrity;
use super::maintain::{Checkpoint, Maintain};
use super::recover::Recover;
use super::verify::Verify;
use super::watch::Watch;
use crate::config::Database;
use crate::terms::JobKind;

/// The kinds that have something to do for a database by schedule.
pub fn kinds(database: &Database) -> Vec<JobKind> {
    let has_work = |kind: &JobKind| match kind {
        JobKind::Cleanup => !database.cleanup.rules.is_empty(),
        JobKind::Watch => !database.watch.queries.is_empty(),
        _ => true,
    };
    JobKind::SCHEDULED.into_iter().filter(has_work).collect()
}

/// The job of this kind, as the daemon runs it.
pub fn job(kind: JobKind) -> Arc<dyn Job> {
    match kind {
        JobKind::Backup => Arc::new(Backup { accept_smaller: false }),
        JobKind::Cleanup => Arc::new(Cleanup { dry_run: false }),
        JobKind::Maintain => Arc::new(Maintain { dry_run: false }),
        JobKind::Verify => Arc::new(Verify { backup: None, from: None }),
        JobKind::Health => Arc::new(Health),
        JobKind::Integrity => Arc::new(Integrity),
        JobKind::Watch => Arc::new(Watch),
        JobKind::Checkpoint => Arc::new(Checkpoint),
        JobKind::Recover => Arc::new(Recover::default()),
    }
}
