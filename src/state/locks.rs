//! One exclusive job per database and one daemon per state directory, over all processes: each takes the same lock
//! file before it starts. The kernel lets go of it when its process dies. Must never wait for a lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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
        take_file(self.directory(), database, RUN, job.as_str())?.map_err(|holder| in_use(database, &holder))
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

/// The endings of a database's lock files: one run at a time; and for [`super::handover`], who may have it open, and
/// who wants it.
pub(super) const RUN: &str = "lock";
pub(super) const OPEN: &str = "open";
pub(super) const WANTED: &str = "wanted";

/// A lock file of a database.
pub(super) fn path(directory: &Path, database: &str, ending: &str) -> PathBuf {
    directory.join("locks").join(format!("{database}.{ending}"))
}

/// Takes one, or gives what its holder wrote.
pub(super) fn take_file(
    directory: &Path,
    database: &str,
    ending: &str,
    who: &str,
) -> Result<Result<Lock, String>> {
    let locks = directory.join("locks");
    super::create_directory(&locks)?;
    give_to_owner_of_directory(&locks)?;
    take(&path(directory, database, ending), &format!("{who} (process {})", std::process::id()))
}

pub(super) fn in_use(database: &str, holder: &str) -> Error {
    Error::new(Reason::Locked, format!("database {database} is in use by {holder}; try again later"))
}

/// The number that the holder of a lock wrote into it.
pub(super) fn process(holder: &str) -> Option<u32> {
    holder.strip_suffix(')')?.rsplit_once("(process ")?.1.parse().ok()
}

/// What the holder of a lock wrote into it; `None` where nobody holds it. Two who look are not in each other's way.
pub(super) fn holder(path: &Path) -> Result<Option<String>> {
    let failed = |e| Error::io(format!("cannot look at the lock {}", path.display()), &e);
    let mut file = match File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(words_in(&mut file))),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

fn words_in(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut holder));
    let holder = holder.trim();
    if holder.is_empty() { String::from("another run") } else { holder.to_owned() }
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
        Err(TryLockError::WouldBlock) => Ok(Err(words_in(&mut file))),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}
