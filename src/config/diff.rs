//! What a reload would change. Pure: two configurations in, a description out.

use std::path::Path;

use super::{Config, Daemon, LogFormat};
use crate::error::{Error, Reason};

/// The difference between the configuration in force and a new one. Names are in alphabetical
/// order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Databases that only the new one has.
    pub added: Vec<String>,
    /// Databases that only the old one has.
    pub removed: Vec<String>,
    /// Databases with the same name and other settings.
    pub changed: Vec<String>,
    /// Databases with the same name and settings: their pools and running jobs stay.
    pub unchanged: Vec<String>,
    /// Keys of `[daemon]` that changed and take effect at once.
    pub daemon: Vec<Change>,
    /// Keys of `[daemon]` that changed and would need a restart.
    pub restart: Vec<Change>,
}

/// One key of `[daemon]` that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `daemon.listen`
    pub key: &'static str,
    /// Its value in force, as in the file.
    pub old: String,
    /// Its new value, as in the file.
    pub new: String,
}

impl Diff {
    /// Whether both are the same.
    pub fn is_empty(&self) -> bool {
        [&self.added, &self.removed, &self.changed].iter().all(|names| names.is_empty())
            && self.daemon.is_empty()
            && self.restart.is_empty()
    }
}

/// Why a running daemon does not take these over by a reload.
pub fn refusal(path: &Path, restart: &[Change]) -> Error {
    let keys: Vec<_> = restart.iter().map(|c| format!("{} (from {} to {})", c.key, c.old, c.new)).collect();
    Error::new(
        Reason::Config,
        format!(
            "{}: {} cannot change while the daemon runs; restart it, or take the change back",
            path.display(),
            keys.join(" and ")
        ),
    )
}

/// Compares two configurations.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let mut diff = Diff::default();
    for (name, database) in &new.databases {
        let list = match old.databases.get(name) {
            None => &mut diff.added,
            Some(before) if before == database => &mut diff.unchanged,
            Some(_) => &mut diff.changed,
        };
        list.push(name.clone());
    }
    diff.removed = old.databases.keys().filter(|name| !new.databases.contains_key(*name)).cloned().collect();
    diff.restart = changes(&old.daemon, &new.daemon, fixed);
    diff.daemon = changes(&old.daemon, &new.daemon, reloadable);
    diff
}

/// The keys that are read once, at start, with their values as in the file.
pub fn fixed(daemon: &Daemon) -> [(&'static str, String); 4] {
    let log_format = match daemon.log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    [
        ("daemon.state_dir", daemon.state_dir.display().to_string()),
        ("daemon.listen", daemon.listen.map_or_else(|| "off".to_owned(), |address| address.to_string())),
        ("daemon.hosts", daemon.hosts.join(", ")),
        ("daemon.log_format", log_format.to_owned()),
    ]
}

fn reloadable(daemon: &Daemon) -> [(&'static str, String); 4] {
    [
        ("daemon.timezone", daemon.timezone.to_string()),
        ("daemon.parallel_jobs", daemon.parallel_jobs.to_string()),
        ("daemon.jobs_per_disk", daemon.jobs_per_disk.to_string()),
        ("daemon.shutdown_grace", super::units::show_duration(daemon.shutdown_grace)),
    ]
}

fn changes<const N: usize>(
    old: &Daemon,
    new: &Daemon,
    keys: impl Fn(&Daemon) -> [(&'static str, String); N],
) -> Vec<Change> {
    keys(old)
        .into_iter()
        .zip(keys(new))
        .filter(|((_, old), (_, new))| old != new)
        .map(|((key, old), (_, new))| Change { key, old, new })
        .collect()
}
