//! Where the parts of a demo lie. Makes none of them.

use std::path::PathBuf;

use super::sample::SampleSummary;

/// Where everything of a demo lies; all paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demo {
    /// The directory.
    pub dir: PathBuf,
    /// The application's database.
    pub database: PathBuf,
    /// The daemon's configuration.
    pub configuration: PathBuf,
    /// Where backups go.
    pub backups: PathBuf,
    /// The daemon's own state.
    pub state: PathBuf,
    /// What was written; `None` where an earlier demo's database is used again.
    pub written: Option<SampleSummary>,
}
