//! One exclusive job per database and one daemon per state directory, over all processes: each
//! takes the same lock file before it starts. The kernel lets go of it when its process dies. Must
//! never wait for the end of what holds a lock, only for its name.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use super::State;
use super::files::StateFiles;
use super::ranges::Bytes;
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

impl Lock {
    /// Writes anew what whoever finds it held reads: a line for messages, and more below it.
    pub fn tell(&self, words: &str) -> Result<()> {
        let mut file = &self.file;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{words}"))
            .map_err(|e| Error::io("cannot write beside a lock", &e))
    }
}

/// Lets go of a lock at once. Closing the file does not do that where a thread has just begun
/// another process: until that runs its own program it has the file as well, and with it the lock
/// (flock(2)).
fn release(file: &File) {
    // It is closed in any case.
    let _ = file.unlock();
}

/// Tries for a lock whose holder says nothing, and the time between two. One who has just taken it
/// or is about to let go of it may wait for the processor in between, at low priority for long.
const TRIES: u32 = 200;
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// More than a holder ever writes.
const MOST_WORDS: u64 = 64 << 10;

impl State {
    /// Takes the lock of a database, or says who holds it (`locked`).
    pub fn lock(&self, database: &str, job: JobKind) -> Result<Lock> {
        take_file(self.directory(), database, RUN, job.as_str())?.map_err(|holder| in_use(database, &holder))
    }

    /// Takes the place of the one daemon that may work with this state, or says which has it
    /// (`locked`): two would make every run twice, or skip each other's.
    pub fn lock_daemon(&self) -> Result<Lock> {
        let directory = StateFiles::open(self.directory())?;
        take(&directory, DAEMON, &format!("process {}", std::process::id()))?.map_err(|holder| {
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

/// The endings of a database's lock files: one run at a time; and for [`super::handover`], who wants
/// it.
pub(super) const RUN: &str = "lock";
pub(super) const WANTED: &str = "wanted";

/// The file of the one daemon, in the state directory itself.
pub const DAEMON: &str = "daemon.lock";

/// All that the daemon which works with this state wrote beside its lock; `None`: none does.
pub fn of_daemon(directory: &Path) -> Result<Option<String>> {
    let Some(mut file) = StateFiles::open(directory)?.look(".", DAEMON)? else { return Ok(None) };
    let holder = try_for(&mut file, File::try_lock_shared)
        .map_err(|e| Error::io(format!("cannot look at {DAEMON}"), &e))?;
    if holder.is_none() {
        release(&file);
    }
    Ok(holder)
}

/// The file of [`super::ranges`] beside them: who may have a database open.
pub(super) fn open_file(directory: &Path) -> Result<Bytes> {
    Ok(Bytes::new(StateFiles::open(directory)?.below(DIRECTORY)?.file("open")?))
}

/// The directory of the others, and their names in it.
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
    let holder = try_for(&mut file, File::try_lock_shared)
        .map_err(|e| Error::io(format!("cannot look at the lock {name}"), &e))?;
    if holder.is_none() {
        release(&file);
    }
    Ok(holder)
}

/// Locks the file, which is made where it is missing, and writes our own words into it; or gives
/// what its holder wrote.
fn take(directory: &StateFiles, name: &str, ours: &str) -> Result<Result<Lock, String>> {
    let mut file = directory.file(name)?;
    let holder =
        try_for(&mut file, File::try_lock).map_err(|e| Error::io(format!("cannot lock {name}"), &e))?;
    if let Some(holder) = holder {
        let first = holder.lines().next().unwrap_or_default();
        return Ok(Err(first.to_owned()));
    }
    // Only for the message of whoever comes next; the lock holds without it.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{ours}"));
    Ok(Ok(Lock { file }))
}

/// What the holder of a lock wrote; `None`: the lock is ours. Who has written nothing has just
/// taken it, lets go of it at this moment, or only looks who has it.
fn try_for(
    file: &mut File,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> std::io::Result<Option<String>> {
    for again in 0..TRIES {
        match try_lock(file) {
            Ok(()) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(e),
        }
        let mut holder = String::new();
        let _ = file.rewind().and_then(|()| file.take(MOST_WORDS).read_to_string(&mut holder));
        // The end of the line is written with it.
        if let Some(holder) = holder.strip_suffix('\n') {
            return Ok(Some(holder.to_owned()));
        }
        if again + 1 < TRIES {
            std::thread::sleep(BETWEEN_TRIES);
        }
    }
    Ok(Some(String::from("another run")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// As a lock is free whose holder was about to let go of it, or only looked.
    #[test]
    fn a_holder_without_words_is_none_once_he_is_gone() {
        let mut file = tempfile::tempfile().unwrap();
        let tries = Cell::new(0);
        let third = |_: &File| {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(TryLockError::WouldBlock) } else { Ok(()) }
        };
        assert_eq!(try_for(&mut file, third).unwrap(), None);
        tries.set(0);
        writeln!(file, "backup (process 1)").unwrap();
        assert_eq!(try_for(&mut file, third).unwrap().unwrap(), "backup (process 1)");
    }
}
