//! The daemon that keeps a configuration, as another process finds it: over HTTP where it listens,
//! and by what it writes beside its lock in the state directory, which tells also where that is.
//! Must never wait for it, nor take a dead one for living: the kernel lets go of the lock.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Change, Config, Daemon, fixed};
use crate::error::{Error, Reason, Result};
use crate::http::{Listening, ask};
use crate::state::locks::{self, Lock};
use crate::state::status::Status;

/// What a daemon tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its number.
    pub process: u32,
    /// The file of its configuration.
    pub config: PathBuf,
    /// Where it listens now.
    pub listen: Option<SocketAddr>,
    /// Why it does not, though it should.
    pub listen_error: Option<String>,
    /// The keys that only a restart changes, with the values in force.
    fixed: BTreeMap<String, String>,
}

impl Running {
    /// This process.
    pub fn this(path: &Path, daemon: &Daemon) -> Self {
        Self {
            process: std::process::id(),
            config: path.to_owned(),
            listen: None,
            listen_error: None,
            fixed: fixed(daemon).into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        }
    }

    /// The same, with what became of its address.
    #[must_use]
    pub fn with(mut self, listening: &Listening) -> Self {
        self.listen = listening.address;
        self.listen_error.clone_from(&listening.error);
        self
    }

    /// Writes it beside the lock of the one daemon, below the line that messages show.
    pub fn tell(&self, lock: &Lock) -> Result<()> {
        let json = serde_json::to_string(self)
            .map_err(|e| Error::new(Reason::Io, format!("cannot write JSON: {e}")))?;
        lock.tell(&format!("process {}\n{json}", self.process))
    }

    /// The keys whose values in `daemon` are others than those in force, and that only a restart
    /// changes.
    pub fn needs_restart(&self, daemon: &Daemon) -> Vec<Change> {
        fixed(daemon)
            .into_iter()
            .filter_map(|(key, new)| {
                let old = self.fixed.get(key).filter(|old| **old != new)?.clone();
                Some(Change { key, old, new })
            })
            .collect()
    }
}

/// The daemon that works with the configuration at `path`, whatever has been changed in the file
/// since it was started; `None` where none is found.
pub fn find(config: &Config, path: &Path) -> Option<Running> {
    let of = |directory: &Path| {
        let words = locks::of_daemon(directory).ok()??;
        let running: Running = serde_json::from_str(words.split_once('\n')?.1).ok()?;
        ask::is_same(&running.config, path).then_some(running)
    };
    of(&config.daemon.state_dir).or_else(|| of(&directory_of_unit()?))
}

/// Where the daemon of the unit that has started this process keeps its state: systemd tells its
/// number to the commands of `ExecReload=` (systemd.exec(5)), and it has its lock open.
fn directory_of_unit() -> Option<PathBuf> {
    let process: u32 = std::env::var("MAINPID").ok()?.parse().ok()?;
    let open = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let lock = open
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .find(|file| file.file_name() == Some(locks::DAEMON.as_ref()))?;
    lock.parent().map(Path::to_owned)
}

/// The status of the daemon that works with the configuration at `path`, from itself: at the
/// address in the file, or where it really listens.
pub fn status(config: &Config, path: &Path, found: Option<&Running>) -> Option<Status> {
    let real = found.and_then(|running| running.listen);
    let configured = config.daemon.listen.filter(|listen| Some(*listen) != real);
    [real, configured].into_iter().flatten().find_map(|listen| ask::status(listen, path))
}
