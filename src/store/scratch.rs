//! A database file of our own that lives as long as one piece of work: the raw copy behind a backup, a backup
//! unpacked to be checked. Must never be taken for a backup: its name starts with a dot.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sqlite::facts::{SIDECARS, sidecar};

const PREFIX: &str = ".scratch-";

/// A path in a directory for one scratch file; removed with its sidecars when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Names a scratch file in `directory`, for the process and `purpose`. Nothing is made yet. What a process that
    /// no longer lives left there is removed.
    pub fn create(directory: &Path, purpose: &str) -> Result<Self> {
        remove_those_of_dead_processes(directory)?;
        let scratch = Self { path: directory.join(format!("{PREFIX}{}-{purpose}", std::process::id())) };
        scratch.remove();
        Ok(scratch)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn remove(&self) {
        remove(&self.path);
        for suffix in SIDECARS {
            remove(&sidecar(&self.path, suffix));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

fn remove_those_of_dead_processes(directory: &Path) -> Result<()> {
    let failed = |e| Error::io(format!("cannot read the directory {}", directory.display()), &e);
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse().ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = owner
            && rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
        {
            remove(&entry.path());
        }
    }
    Ok(())
}

/// One that cannot be removed is in the way of nothing; two runs may find the same one.
fn remove(path: &Path) {
    if let Err(e) = std::fs::remove_file(path)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), "cannot remove a scratch file: {e}");
    }
}
