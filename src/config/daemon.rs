//! `[daemon]`: what holds for the program and not for one database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Where `state.db` and the job locks lie.
    pub state_dir: PathBuf,
    /// Address of the HTTP server; `None` is `"off"`.
    pub listen: Option<SocketAddr>,
    /// Names, beside addresses and local ones, by which the HTTP server is asked.
    pub hosts: Vec<String>,
    /// Zone in which schedules are read; `"local"` is already resolved.
    pub timezone: crate::zone::Zone,
    /// Heavy jobs at the same time over all databases; at least 1.
    pub parallel_jobs: usize,
    /// Of them, those on databases of one disk; 0: no limit.
    pub jobs_per_disk: usize,
    /// How long running jobs may go on after a TERM.
    pub shutdown_grace: Duration,
    /// Form of the log lines.
    pub log_format: LogFormat,
}

/// `daemon.log_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people and the journal.
    Text,
    /// One JSON object a line.
    Json,
}
