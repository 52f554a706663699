//! One exclusive job per database and one daemon per state directory, over all processes: each takes the same lock
//! file before it starts. The kernel lets go of it when its process dies. Must never wait for a lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{State, give_to_owner_of_directory};
use crate::config::JobKind;
use crate::error::{Error, Reason, Result};

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl State {
    /// Takes the lock of a database, or says who holds it (`locked`).
    pub fn lock(&self, database: &str, job: JobKind) -> Result<Lock> {
        lock_database(self.directory(), database, job.as_str())
    }

    /// Takes the place of the one daemon that may work with this state, or says which has it (`locked`): two would
    /// make every run twice, or skip each other's.
    pub fn lock_daemon(&self) -> Result<Lock> {
        let path = self.directory().join("daemon.lock");
        take(&path, &format!("process {}", std::process::id()))?.map_err(|holder| {
            Error::new(
                Reason::Locked,
                format!(
                    "another daemon uses {} ({holder}); stop it, or give this one a daemon.state_dir of its own",
                    self.directory().display()
                ),
            )
        })
    }
}

/// [`State::lock`] for what is no job and does without a state, so that no job runs meanwhile. `None` where there is no
/// state directory: no litekeeper works here.
pub fn lock_without_state(directory: &Path, database: &str, who: &str) -> Result<Option<Lock>> {
    match directory.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        _ => lock_database(directory, database, who).map(Some),
    }
}

fn lock_database(directory: &Path, database: &str, who: &str) -> Result<Lock> {
    let directory = directory.join("locks");
    super::create_directory(&directory)?;
    give_to_owner_of_directory(&directory)?;
    take(&directory.join(format!("{database}.lock")), &format!("{who} (process {})", std::process::id()))?
        .map_err(|holder| {
            Error::new(Reason::Locked, format!("database {database} is in use by {holder}; try again later"))
        })
}

/// Locks the file, which is made where it is missing, and writes our own words into it; or gives what its holder
/// wrote.
fn take(path: &Path, ours: &str) -> Result<Result<Lock, String>> {
    let failed = |e| Error::io(format!("cannot lock {}", path.display()), &e);
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(path)
        .map_err(failed)?;
    if is_new {
        give_to_owner_of_directory(path)?;
    }
    match file.try_lock() {
        Ok(()) => {
            // Only for the message of whoever comes next; the lock holds without it.
            let _ = file.set_len(0).and_then(|()| writeln!(file, "{ours}"));
            Ok(Ok(Lock { _file: file }))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.rewind().and_then(|()| file.read_to_string(&mut holder));
            let holder = holder.trim();
            Ok(Err(if holder.is_empty() { String::from("another run") } else { holder.to_owned() }))
        }
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}
