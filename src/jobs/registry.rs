//! Kind → job: the only place that knows every kind. A job takes its settings from the run's context.

use std::sync::Arc;

use super::Job;
use super::backup::Backup;
use super::verify::Verify;
use crate::config::JobKind;

/// The job of this kind, as the schedule runs it.
pub fn job(kind: JobKind) -> Arc<dyn Job> {
    match kind {
        JobKind::Backup => Arc::new(Backup { accept_smaller: false }),
        _ => Arc::new(Verify { backup: None }),
    }
}
