//! One exclusive job per database, over all processes: the daemon and each command line take the same lock file
//! before they start. The kernel lets go of it when its process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use super::{State, give_to_owner_of_directory};
use crate::config::JobKind;
use crate::error::{Error, Reason, Result};

/// Held as long as it lives.
#[derive(Debug)]
pub struct DatabaseLock {
    _file: File,
}

impl State {
    /// Takes the lock of a database, or says who holds it (`locked`).
    pub fn lock(&self, database: &str, job: JobKind) -> Result<DatabaseLock> {
        let directory = self.directory().join("locks");
        super::create_directory(&directory)?;
        give_to_owner_of_directory(&directory)?;
        let path = directory.join(format!("{database}.lock"));
        let failed = |e| Error::io(format!("cannot lock {}", path.display()), &e);
        let is_new = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
            .open(&path)
            .map_err(failed)?;
        if is_new {
            give_to_owner_of_directory(&path)?;
        }
        match file.try_lock() {
            Ok(()) => {
                // Only for the message of whoever comes next; the lock holds without it.
                let _ =
                    file.set_len(0).and_then(|()| writeln!(file, "{job} (process {})", std::process::id()));
                Ok(DatabaseLock { _file: file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.rewind().and_then(|()| file.read_to_string(&mut holder));
                let holder = if holder.trim().is_empty() { "another run" } else { holder.trim() };
                Err(Error::new(
                    Reason::Locked,
                    format!("database {database} is in use by {holder}; try again later"),
                ))
            }
            Err(TryLockError::Error(e)) => Err(failed(e)),
        }
    }
}
