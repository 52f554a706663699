//! One exclusive job per database and one daemon per state directory, over all processes: each
//! takes the same lock file before it starts. The kernel lets go of it when its process dies. Must
//! never wait for a lock.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use super::State;
use super::files::StateFiles;
use crate::error::{Error, Reason, Result};
use crate::terms::JobKind;

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Our words must not be taken for those of the next holder, who has it a moment before it
        // has written its own.
        let _ = self.file.set_len(0);
        release(&self.file);
    }
}

/// Lets go of a lock at once. Closing the file does not do that where a thread has just begun
/// another process: until that runs its own program it has the file as well, and with it the lock
/// (flock(2)).
fn release(file: &File) {
    // It is closed in any case.
    let _ = file.unlock();
}

/// Looks at what a holder writes, who has just taken the lock, and the time between two.
const LOOKS: u32 = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

impl State {
    /// Takes the lock of a database, or says who holds it (`locked`).
    pub fn lock(&self, database: &str, job: JobKind) -> Result<Lock> {
        take_file(self.directory(), database, RUN, job.as_str())?.map_err(|holder| in_use(database, &holder))
    }

    /// Takes the place of the one daemon that may work with this state, or says which has it
    /// (`locked`): two would make every run twice, or skip each other's.
    pub fn lock_daemon(&self) -> Result<Lock> {
        let directory = StateFiles::open(self.directory())?;
        take(&directory, "daemon.lock", &format!("process {}", std::process::id()))?.map_err(|holder| {
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

/// The endings of a database's lock files: one run at a time; and for [`super::handover`], who may
/// have it open, and who wants it.
pub(super) const RUN: &str = "lock";
pub(super) const OPEN: &str = "open";
pub(super) const WANTED: &str = "wanted";

/// The directory of those files, and their names in it.
const DIRECTORY: &str = "locks";

fn name(database: &str, ending: &str) -> String {
    format!("{database}.{ending}")
}

/// Takes one, or gives what its holder wrote.
pub(super) fn take_file(
    directory: &Path,
    database: &str,
    ending: &str,
    who: &str,
) -> Result<Result<Lock, String>> {
    let locks = StateFiles::open(directory)?.below(DIRECTORY)?;
    take(&locks, &name(database, ending), &format!("{who} (process {})", std::process::id()))
}

pub(super) fn in_use(database: &str, holder: &str) -> Error {
    Error::new(Reason::Locked, format!("database {database} is in use by {holder}; try again later"))
}

/// The number that the holder of a lock wrote into it.
pub(super) fn process(holder: &str) -> Option<u32> {
    holder.strip_suffix(')')?.rsplit_once("(process ")?.1.parse().ok()
}

/// What the holder of a lock wrote into it; `None` where nobody holds it. Two who look are not in
/// each other's way.
pub(super) fn holder(directory: &Path, database: &str, ending: &str) -> Result<Option<String>> {
    let name = name(database, ending);
    let Some(mut file) = StateFiles::open(directory)?.look(DIRECTORY, &name)? else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => {
            release(&file);
            Ok(None)
        }
        Err(TryLockError::WouldBlock) => Ok(Some(words_in(&mut file))),
        Err(TryLockError::Error(e)) => Err(Error::io(format!("cannot look at the lock {name}"), &e)),
    }
}

fn words_in(file: &mut File) -> String {
    for look in 0..LOOKS {
        let mut holder = String::new();
        let _ = file.rewind().and_then(|()| file.read_to_string(&mut holder));
        // The end of the line is written with it.
        if let Some(holder) = holder.strip_suffix('\n') {
            return holder.to_owned();
        }
        if look + 1 < LOOKS {
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
    String::from("another run")
}

/// Locks the file, which is made where it is missing, and writes our own words into it; or gives
/// what its holder wrote.
fn take(directory: &StateFiles, name: &str, ours: &str) -> Result<Result<Lock, String>> {
    let mut file = directory.file(name)?;
    match file.try_lock() {
        Ok(()) => {
            // Only for the message of whoever comes next; the lock holds without it.
            let _ = file.set_len(0).and_then(|()| writeln!(file, "{ours}"));
            Ok(Ok(Lock { file }))
        }
        Err(TryLockError::WouldBlock) => Ok(Err(words_in(&mut file))),
        Err(TryLockError::Error(e)) => Err(Error::io(format!("cannot lock {name}"), &e)),
    }
}
