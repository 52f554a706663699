//! What a run met while it waited for pauses of the application.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::terms::JobKind;

/// What a run has met of the application while it waited.
#[derive(Debug, Default)]
pub(super) struct Waits {
    pub(super) has_said: AtomicBool,
    pub(super) has_given_up: AtomicBool,
}

impl Waits {
    /// Once a run: it may last long, and nothing else would show why.
    pub(super) fn say(&self, database: &str, kind: JobKind) {
        if !self.has_said.swap(true, Ordering::Relaxed) {
            tracing::info!(database, job = %kind, "waiting for a pause between the application's transactions");
        }
    }
}
