//! How many file descriptors a configuration needs, and whether the daemon may have as many. Asked
//! before the jobs find out by failing.

use std::fs;

use super::running::Running;
use crate::config::Config;
use crate::descriptors;
use crate::schedule::admission::LIGHT;

/// What the daemon itself has open: its log, its state, its threads' sockets.
const BASE: u64 = 64;

/// Connections to the status page at a time.
const PAGE: u64 = 64;

/// One job: connections, the files of a backup under way, directories, a check in a process of its
/// own.
const JOB: u64 = 20;

/// So many databases are looked at a time, and the locks of so many; and what one look takes.
pub const LOOKS_AT_FILES: usize = 64;
/// See [`LOOKS_AT_FILES`].
pub const LOOKS_AT_LOCKS: usize = 16;
const LOOK: u64 = 4;

/// One that only reads: its connection, and what it looks at beside the database.
const LIGHT_JOB: u64 = 8;

/// How many this configuration needs when everything comes at once. None of them is for a database
/// at which no job is at work; the looks at many come in turns.
pub fn descriptors(config: &Config) -> u64 {
    let databases = config.databases.len() as u64;
    let heavy = (config.daemon.parallel_jobs as u64).min(databases);
    let light = (LIGHT as u64).min(2 * databases);
    BASE + PAGE
        + JOB * heavy
        + LIGHT_JOB * light
        + LOOK * ((LOOKS_AT_FILES + LOOKS_AT_LOCKS) as u64).min(databases)
}

/// What is wrong where the daemon may not have as many: the one that runs, or one that would be
/// started as this process was.
pub fn too_few_descriptors(config: &Config, running: Option<&Running>) -> Option<String> {
    let needed = descriptors(config);
    let may = running.and_then(|running| of_process(running.process)).unwrap_or_else(descriptors::limit);
    (may < needed).then(|| {
        format!(
            "the daemon may need {needed} file descriptors for these databases and may have {may}: jobs will fail; {}",
            descriptors::REMEDY
        )
    })
}

/// Logs what is valid and yet perhaps not meant, or will not do.
pub fn warn(config: &Config) {
    for warning in config.warnings.iter().chain(&too_few_descriptors(config, None)) {
        tracing::warn!("{warning}");
    }
}

/// The limit of another process, by proc_pid_limits(5).
fn of_process(process: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
