//! A database file of our own that lives as long as one piece of work: a backup unpacked to be checked, a copy to
//! compute from. Must never be taken for a backup: its name starts with a dot. Must never be removed under whoever uses
//! it: that a process lives is told by a lock, which the kernel lets go of when it ends, and not by its number, which
//! means nothing in another container.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::clock;
use crate::error::{Error, Result};
use crate::sqlite::facts::SIDECARS;
use crate::sqlite::inspector::{GoOn, Inspector};
use crate::sqlite::open;
use crate::store::temp::is_linked;

const PREFIX: &str = ".scratch-";

/// The end of the name of the file whose lock says that the files of that name are in use. SQLite opens those itself, and
/// on a network filesystem a lock of ours on one would be in the way of its own.
const LOCK: &str = "-lock";

/// A scratch file without a name, so that nothing is ever left of it: only for the moment in which SQLite opens it, it
/// has one, as SQLite opens by path and follows `/proc/self/fd` to a path that does not exist. Where the filesystem
/// makes no files without names, it has one until then.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    path: PathBuf,
    name: Name,
}

/// Whether it has its name.
#[derive(Debug)]
enum Name {
    /// Not yet. The file itself is locked.
    Free,
    /// For a moment. The file itself is locked.
    Linked,
    /// From the beginning.
    Lasting { _in_use: InUse },
}

impl Scratch {
    /// Makes one in `directory`. What a process that no longer lives left there is removed.
    pub fn create(directory: &Path, purpose: &str) -> Result<Self> {
        remove_what_nobody_uses(directory)?;
        let failed = |e: io::Error| Error::io(format!("cannot make a file in {}", directory.display()), &e);
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => {
                let file = File::from(fd);
                if file.try_lock().is_ok() {
                    return Ok(Self { file, path: next_path(directory, purpose), name: Name::Free });
                }
            }
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(e) => return Err(failed(e.into())),
        }
        let in_use = InUse::mark(directory, purpose)?;
        let (file, path) = (made(&in_use.path).map_err(failed)?, in_use.path.clone());
        Ok(Self { file, path, name: Name::Lasting { _in_use: in_use } })
    }

    /// To be written.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Opens the database in it, for reading. Afterwards it has no name.
    pub fn open(mut self) -> Result<Connection> {
        Ok(open::immutable(self.named()?)?)
    }

    /// Has the database in it opened by the process that checks it. Afterwards it has no name.
    pub fn inspected(mut self, go_on: GoOn<'_>) -> Result<Inspector> {
        let mut inspector = Inspector::of_copy(self.named()?);
        inspector.open(go_on)?;
        Ok(inspector)
    }

    /// Opens the database in it, which must be in no WAL mode, for changes that go with it. Afterwards it has no name.
    pub fn open_to_change(mut self) -> Result<Connection> {
        Ok(open::throwaway(self.named()?)?)
    }

    /// Its path, for SQLite to write to. From then on it has a name, until it is opened or dropped.
    pub fn named(&mut self) -> Result<&Path> {
        if matches!(self.name, Name::Free) {
            let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            rustix::fs::linkat(CWD, link, CWD, &self.path, AtFlags::SYMLINK_FOLLOW)
                .map_err(|e| Error::io(format!("cannot name {}", self.path.display()), &e.into()))?;
            self.name = Name::Linked;
        }
        Ok(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if matches!(self.name, Name::Linked) {
            remove(&self.path);
        }
    }
}

/// A name for a scratch database that SQLite opens with what lies beside it. All of it is removed when this is dropped.
#[derive(Debug)]
pub struct Named(InUse);

impl Named {
    /// Makes an empty one in `directory`. What a process that no longer lives left there is removed.
    pub fn create(directory: &Path, purpose: &str) -> Result<Self> {
        remove_what_nobody_uses(directory)?;
        let this = Self(InUse::mark(directory, purpose)?);
        this.beside("")?;
        Ok(this)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Makes the file beside it that has this at the end of its name, to be written.
    pub fn beside(&self, suffix: &str) -> Result<File> {
        let path = with_end(&self.0.path, suffix);
        made(&path).map_err(|e| Error::io(format!("cannot make the file {}", path.display()), &e))
    }
}

/// Files that have a name for long: others see by a lock on the file beside them that they are in use. Dropped, all of them
/// are removed, the lock last.
#[derive(Debug)]
struct InUse {
    /// The name that the others begin with.
    path: PathBuf,
    lock: File,
}

impl InUse {
    /// Finds a free name, and marks it before there is anything else of it.
    fn mark(directory: &Path, purpose: &str) -> Result<Self> {
        loop {
            let path = next_path(directory, purpose);
            let name = with_end(&path, LOCK);
            let failed = |e: io::Error| Error::io(format!("cannot make the file {}", name.display()), &e);
            let mut lock = made(&name).map_err(failed)?;
            match lock.try_lock() {
                Ok(()) => {}
                // Whoever sweeps has taken it for dead between its making and its locking.
                Err(TryLockError::WouldBlock) => continue,
                // On a filesystem without locks nobody is to judge by one: what is killed there stays.
                Err(TryLockError::Error(_)) => lock.write_all(b"cannot be locked\n").map_err(failed)?,
            }
            if is_linked(&lock) {
                return Ok(Self { path, lock });
            }
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        remove_all_of(&self.path);
        let _ = self.lock.unlock();
    }
}

/// One that no other process has either: in another container one may have our number.
fn next_path(directory: &Path, purpose: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static FIRST: OnceLock<u32> = OnceLock::new();
    let first = FIRST.get_or_init(|| clock::now().timestamp_subsec_nanos());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("{PREFIX}{}-{first:09}-{purpose}-{number}", std::process::id()))
}

fn made(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Removes what no living process has locked.
fn remove_what_nobody_uses(directory: &Path) -> Result<()> {
    let failed = |e| Error::io(format!("cannot read the directory {}", directory.display()), &e);
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let end = SIDECARS.into_iter().chain([LOCK]).find(|end| name.ends_with(end)).unwrap_or_default();
        all.insert(directory.join(name.strip_suffix(end).unwrap_or(name)));
    }
    for path in all {
        // By name, not by what was listed: a list may lack the lock that was made before the file it has.
        let is_free = match opened(&with_end(&path, LOCK)) {
            Some(lock) => {
                let is_judge = lock.metadata().is_ok_and(|file| file.len() == 0);
                is_judge && lock.try_lock().is_ok() && is_linked(&lock)
            }
            None => opened(&path).is_some_and(|file| file.try_lock().is_ok() && is_linked(&file)),
        };
        if is_free {
            remove_all_of(&path);
        }
    }
    Ok(())
}

/// A regular file that is ours to open. In a directory that all may write to, the name may be anything.
fn opened(path: &Path) -> Option<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    file.metadata().is_ok_and(|file| file.is_file()).then_some(file)
}

fn remove_all_of(path: &Path) {
    for end in std::iter::once("").chain(SIDECARS).chain([LOCK]) {
        remove(&with_end(path, end));
    }
}

/// One that cannot be removed is in the way of nothing; two runs may find the same one.
fn remove(path: &Path) {
    if let Err(e) = std::fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), "cannot remove a scratch file: {e}");
    }
}
