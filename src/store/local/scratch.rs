//! A database file of our own that lives as long as one piece of work: a backup unpacked to be
//! checked, a copy to compute from. Must never be taken for a backup: its name starts with a dot.
//! Must never be removed under whoever uses it: that a process lives is told by a lock, which the
//! kernel lets go of when it ends, and not by its number, which means nothing in another container.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::directory::Directory;
use super::temp::{is_abandoned, is_linked};
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::paths::SIDECARS;
use crate::sqlite::files::place;
use crate::sqlite::inspector::Inspector;
use crate::sqlite::open;
use crate::terms::progress::Watch;

const PREFIX: &str = ".scratch-";

/// The end of the name of the file whose lock says that the files of that name are in use. SQLite
/// opens those itself, and on a network filesystem a lock of ours on one would be in the way of its
/// own.
const LOCK: &str = "-lock";

/// A scratch file without a name, so that nothing is ever left of it, and nobody can put another in
/// its place: SQLite opens it by its descriptor.
#[derive(Debug)]
pub struct Scratch {
    file: File,
}

impl Scratch {
    /// Makes one in `directory`. What a process that no longer lives left there is removed.
    pub fn create(directory: &Path, purpose: &str) -> Result<Self> {
        let directory = Directory::open_any(directory)?;
        remove_what_nobody_uses(&directory)?;
        if let Some(file) = directory.create_nameless()? {
            return Ok(Self { file });
        }
        // Where the filesystem makes no files without names, it has one for a moment.
        loop {
            let name = next_name(purpose);
            let Some(file) = directory.create_private(&name)? else { continue };
            // Whoever sweeps may have been faster.
            if directory.stat(&name)?.is_some() {
                directory.remove(&name)?;
            }
            return Ok(Self { file });
        }
    }

    /// To be written.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Opens the database in it, for reading.
    pub fn open(self) -> Result<Connection> {
        Ok(open::immutable(&self.path())?)
    }

    /// Has the database in it opened by the process that checks it.
    pub fn inspected(self, watch: &dyn Watch) -> Result<Inspector> {
        let mut inspector = Inspector::of_copy(&self.path());
        inspector.open(watch)?;
        Ok(inspector)
    }

    /// Opens the database in it, which must be in no WAL mode, for changes that go with it.
    pub fn open_to_change(self) -> Result<Connection> {
        Ok(open::throwaway(&self.path())?)
    }

    /// Its path, for SQLite to write to, as long as this lives.
    pub fn path(&self) -> PathBuf {
        place::of_descriptor(&self.file)
    }
}

/// A place for a scratch database that SQLite opens with what lies beside it: a directory of ours
/// alone. All of it is removed when this is dropped.
pub struct ScratchDirectory {
    inside: Directory,
    // Dropped last, it removes the directory.
    _in_use: InUse,
}

/// The name of the database in its directory.
const DATABASE: &str = "database";

impl ScratchDirectory {
    /// Makes an empty one in `directory`. What a process that no longer lives left there is
    /// removed.
    pub fn create(directory: &Path, purpose: &str) -> Result<Self> {
        let directory = Directory::open_any(directory)?;
        remove_what_nobody_uses(&directory)?;
        let in_use = InUse::mark(directory, purpose)?;
        let Some(inside) = in_use.directory.create_private_below(&in_use.name)? else {
            let text = format!("{} exists already; see who made it", in_use.directory.shown(&in_use.name));
            return Err(Error::new(Reason::Refused, text));
        };
        let this = Self { inside, _in_use: in_use };
        this.beside("")?;
        Ok(this)
    }

    /// Where SQLite finds it.
    pub fn path(&self) -> PathBuf {
        self.inside.by_descriptor(DATABASE)
    }

    /// Makes the file beside it that has this at the end of its name, to be written; the database
    /// itself without one.
    pub fn beside(&self, suffix: &str) -> Result<File> {
        let name = format!("{DATABASE}{suffix}");
        self.inside.create_private(&name)?.ok_or_else(|| {
            Error::new(Reason::Refused, format!("{} exists already", self.inside.shown(&name)))
        })
    }

    /// Opens the database itself, to be written.
    pub fn database(&self) -> Result<File> {
        self.inside.open_file(DATABASE, true)
    }
}

/// What has a name for long: others see by a lock on the file beside it that it is in use. Dropped,
/// all of it is removed, the lock last.
struct InUse {
    directory: Directory,
    /// Its name in the directory.
    name: String,
    lock: File,
}

impl InUse {
    /// Finds a free name, and marks it before there is anything else of it.
    fn mark(directory: Directory, purpose: &str) -> Result<Self> {
        loop {
            let name = next_name(purpose);
            let with_lock = format!("{name}{LOCK}");
            let Some(mut lock) = directory.create_private(&with_lock)? else { continue };
            match lock.try_lock() {
                Ok(()) => {}
                // Whoever sweeps has taken it for dead between its making and its locking.
                Err(TryLockError::WouldBlock) => continue,
                // On a filesystem without locks nobody is to judge by one: what is killed there
                // stays.
                Err(TryLockError::Error(_)) => lock
                    .write_all(b"cannot be locked\n")
                    .map_err(|e| directory.failed("cannot write", &with_lock, e))?,
            }
            if is_linked(&lock) {
                return Ok(Self { directory, name, lock });
            }
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        remove_all_of(&self.directory, &self.name);
        let _ = self.lock.unlock();
    }
}

/// One that no other process has either: in another container one may have our number.
fn next_name(purpose: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static FIRST: OnceLock<u32> = OnceLock::new();
    let first = FIRST.get_or_init(|| clock::now().timestamp_subsec_nanos());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{first:09}-{purpose}-{number}", std::process::id())
}

/// Removes what no living process has locked.
fn remove_what_nobody_uses(directory: &Directory) -> Result<()> {
    let mut all = BTreeSet::new();
    for name in directory.names()?.iter().filter(|name| name.starts_with(PREFIX)) {
        let end = SIDECARS.into_iter().chain([LOCK]).find(|end| name.ends_with(end)).unwrap_or_default();
        all.insert(name.strip_suffix(end).unwrap_or(name).to_owned());
    }
    for name in all {
        // By name, not by what was listed: a list may lack the lock that was made before the file
        // it has.
        let is_free = if let Ok(lock) = directory.open_file(&format!("{name}{LOCK}"), true) {
            let is_judge = lock.metadata().is_ok_and(|file| file.len() == 0);
            is_judge && is_abandoned(&lock)
        } else {
            // Of an older litekeeper.
            let file = directory.open_file(&name, true);
            file.is_ok_and(|file| is_abandoned(&file))
        };
        if is_free {
            remove_all_of(directory, &name);
        }
    }
    Ok(())
}

fn remove_all_of(directory: &Directory, name: &str) {
    if let Ok(inside) = directory.open_below(name) {
        let names = inside.names().unwrap_or_default();
        names.iter().filter(|name| name.starts_with(DATABASE)).for_each(|name| remove(&inside, name));
        told(directory, name, directory.remove_directory(name));
    }
    for end in std::iter::once("").chain(SIDECARS).chain([LOCK]) {
        remove(directory, &format!("{name}{end}"));
    }
}

fn remove(directory: &Directory, name: &str) {
    if let Ok(Some(_)) = directory.stat(name) {
        told(directory, name, directory.remove(name));
    }
}

/// One that cannot be removed is in the way of nothing; two runs may find the same one.
fn told(directory: &Directory, name: &str, removed: Result<()>) {
    if let Err(error) = removed
        && error.reason != Reason::NotFound
    {
        tracing::warn!(path = directory.shown(name), "a scratch file stays: {error}");
    }
}
