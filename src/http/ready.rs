//! Whether the daemon does its work: what `/readyz` answers. The supervisor reports, this judges.
//! Must never ask anything itself: a probe touches neither the disk nor a database.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::descriptors;

/// A scheduler that did not tick for this long is stuck: it ticks every second.
const TICKS_WITHIN: Duration = Duration::from_secs(10);

/// What the supervisor reported last. A clone is another handle to the same.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    facts: Arc<Mutex<Facts>>,
}

#[derive(Debug, Default)]
struct Facts {
    configured: bool,
    ticked: Option<Instant>,
    state_error: Option<String>,
    /// The databases whose disk does not answer.
    silent: Vec<String>,
    /// The databases whose last run failed because no file could be opened any more.
    starving: Vec<String>,
    stopping: bool,
}

impl Readiness {
    /// A configuration is in force.
    pub fn configured(&self) {
        self.with(|f| f.configured = true);
    }

    /// The scheduler ticked.
    pub fn ticked(&self, at: Instant) {
        self.with(|f| f.ticked = Some(at));
    }

    /// The last write to the state database failed with this error, or went well.
    pub fn state_written(&self, error: Option<String>) {
        self.with(|f| f.state_error = error);
    }

    /// The databases whose disk does not answer.
    pub fn silent(&self, databases: Vec<String>) {
        self.with(|f| f.silent = databases);
    }

    /// The databases whose last run failed because no file could be opened any more.
    pub fn starving(&self, databases: Vec<String>) {
        self.with(|f| f.starving = databases);
    }

    /// The daemon was told to stop.
    pub fn stopping(&self) {
        self.with(|f| f.stopping = true);
    }

    /// Why the daemon is not ready at this time, a sentence each; ready when there is none.
    pub fn reasons(&self, now: Instant) -> Vec<String> {
        self.with(|f| {
            let mut reasons = Vec::new();
            if f.stopping {
                reasons.push("litekeeper is stopping".to_owned());
            }
            if !f.configured {
                reasons.push("the configuration is not loaded yet".to_owned());
            }
            match f.ticked.map(|t| now.saturating_duration_since(t)) {
                None => reasons.push("the scheduler has not started".to_owned()),
                Some(since) if since > TICKS_WITHIN => {
                    reasons.push(format!("the scheduler has not ticked for {} s", since.as_secs()));
                }
                Some(_) => {}
            }
            if let Some(error) = &f.state_error {
                reasons.push(format!("the state cannot be written: {error}"));
            }
            for database in &f.silent {
                reasons.push(format!("the disk of {database}, or of its backups, does not answer"));
            }
            if !f.starving.is_empty() {
                let names = f.starving.join(", ");
                reasons.push(format!(
                    "jobs fail for lack of file descriptors ({names}): {}",
                    descriptors::REMEDY
                ));
            }
            reasons
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
