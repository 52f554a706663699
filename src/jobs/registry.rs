//! Kind → job: the only place that knows every job. A job takes its settings from its run.

use super::Task;
use super::backup::Backup;
use super::cleanup::Cleanup;
use super::health::Health;
use super::integrity::Integrity;
use super::maintain::{Checkpoint, Maintain};
use super::recover::Recover;
use super::verify::Verify;
use super::watch::WatchList;
use crate::config::Database;
use crate::terms::JobKind;

/// The kinds that have something to do for a database by schedule.
pub fn kinds(database: &Database) -> Vec<JobKind> {
    let has_work = |kind: &JobKind| match kind {
        JobKind::Cleanup => !database.cleanup.rules.is_empty(),
        JobKind::Watch => !database.watch.queries.is_empty(),
        JobKind::Backup | JobKind::Verify | JobKind::Maintain | JobKind::Health | JobKind::Integrity => true,
        JobKind::Checkpoint | JobKind::Recover => false,
    };
    JobKind::SCHEDULED.into_iter().filter(has_work).collect()
}

/// The job of this kind, as the daemon runs it.
pub fn task(kind: JobKind) -> Task {
    match kind {
        JobKind::Backup => Backup { accept_smaller: false }.into(),
        JobKind::Cleanup => Cleanup.into(),
        JobKind::Maintain => Maintain.into(),
        JobKind::Verify => Verify { backup: None, from: None }.into(),
        JobKind::Health => Health.into(),
        JobKind::Integrity => Integrity.into(),
        JobKind::Watch => WatchList.into(),
        JobKind::Checkpoint => Checkpoint.into(),
        JobKind::Recover => Recover::default().into(),
    }
}
