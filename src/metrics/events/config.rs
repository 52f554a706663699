//! What became of the configuration.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::LOG;
use super::gauges::past_or_absent;
use crate::metrics::names as n;
use crate::terms::Outcome;

/// The configuration was read at start.
#[derive(Debug)]
pub struct ConfigLoaded<'a> {
    /// Its file.
    pub path: &'a Path,
    /// How many databases it names.
    pub databases: usize,
    /// When.
    pub at: DateTime<Utc>,
}

impl ConfigLoaded<'_> {
    /// Writes the log line and the metrics.
    pub fn emit(&self) {
        n::CONFIG_LAST_RELOAD_SUCCESSFUL.gauge([]).set(1);
        n::CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP.gauge([]).set(past_or_absent(Some(self.at)));
        tracing::info!(
            target: LOG,
            path = %self.path.display(),
            databases = self.databases,
            "configuration loaded"
        );
    }
}

/// When the configuration in force was loaded, by the clock as it is now. No log line.
#[derive(Debug)]
pub struct ConfigInForce {
    /// When.
    pub since: DateTime<Utc>,
}

impl ConfigInForce {
    /// Writes the metric.
    pub fn emit(&self) {
        n::CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP.gauge([]).set(past_or_absent(Some(self.since)));
    }
}

/// A reload took the new configuration over.
#[derive(Debug)]
pub struct ConfigReloaded<'a> {
    /// The file.
    pub path: &'a Path,
    /// What changed, in one line: `added a, changed b, removed c`, or `nothing changed`.
    pub changes: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

impl ConfigReloaded<'_> {
    /// Writes the log line and the metrics.
    pub fn emit(&self) {
        n::CONFIG_RELOADS.counter([Outcome::Success.as_str()]).increment(1);
        n::CONFIG_LAST_RELOAD_SUCCESSFUL.gauge([]).set(1);
        n::CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP.gauge([]).set(past_or_absent(Some(self.at)));
        tracing::info!(
            target: LOG,
            path = %self.path.display(),
            changes = self.changes,
            "configuration reloaded"
        );
    }
}

/// A reload refused the new configuration; the old one stays in force.
#[derive(Debug)]
pub struct ConfigRejected<'a> {
    /// The file.
    pub path: &'a Path,
    /// Everything that is wrong with it, with lines and carets.
    pub report: &'a str,
}

impl ConfigRejected<'_> {
    /// Writes the log line and the metrics.
    pub fn emit(&self) {
        n::CONFIG_RELOADS.counter([Outcome::Failure.as_str()]).increment(1);
        n::CONFIG_LAST_RELOAD_SUCCESSFUL.gauge([]).set(0);
        tracing::error!(
            target: LOG,
            "the new {} is refused, the configuration in force stays:\n{}",
            self.path.display(),
            self.report
        );
    }
}
