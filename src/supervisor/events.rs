//! What the loop is told, beside signals, beats, and the news of followers and disks.

use crate::config::Config;
use crate::error::Result;
use crate::terms::JobKind;

/// A run that has ended.
pub(super) struct EndOfRun {
    pub(super) database: String,
    pub(super) kind: JobKind,
    /// Whether it failed because no file could be opened any more.
    pub(super) is_starved: bool,
}

/// A configuration that was read, or what is wrong with it.
pub(super) struct Candidate(pub(super) Result<Config>);

/// Whether the configuration is to be read once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It is as it was when the last signal came.
    No,
    /// A signal has come since.
    Yes,
}
