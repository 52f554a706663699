//! The state directory, held open: what lies in it is opened and made beneath it, and follows no
//! link, because a command of root meets there what the daemon's user has put there (HAZARDS H32).
//! Must never act on a path.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::fs::{chmod, fchown, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::io::{Errno, Result as Tried};

use crate::error::{Error, Reason, Result};
use crate::rights::{self, Owner};
use crate::sqlite::files::paths::SIDECARS;
use crate::sqlite::files::place;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK`: a FIFO that somebody put there must not make us wait for its other end.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// The directory, or one in it.
pub(super) struct StateFiles {
    fd: OwnedFd,
    path: PathBuf,
    owner: Owner,
}

impl StateFiles {
    /// Opens the directory, which must exist.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (found, real) = place::directory(path)?;
        Self::opened(openat(&found, ".", DIRECTORY, Mode::empty()), real)
    }

    /// Opens the directory, and makes it where the one above exists.
    pub(super) fn create(path: &Path) -> Result<Self> {
        if let (Some(above), Some(name)) = (path.parent(), path.file_name()) {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            let made = place::directory(above).and_then(|(above, _)| {
                match mkdirat(&above, name, Mode::from(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => Ok(()),
                    Err(e) => Err(failed("cannot create the state directory", path, e)),
                }
            });
            made.map_err(|error| match error.reason {
                // Not what is meant by a database or backup that does not exist.
                Reason::NotFound => {
                    let text = format!("cannot create the state directory {}: {error}", path.display());
                    Error::new(Reason::Io, text)
                }
                _ => error,
            })?;
        }
        Self::open(path)
    }

    /// Opens the directory `name` in it, and makes it where it is missing.
    pub(super) fn below(&self, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        let result = self.by_owner(|| mkdirat(&self.fd, name, Mode::from(0o777)));
        match result {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed("cannot make", &path, e)),
        }
        let below = Self::opened(openat(&self.fd, name, DIRECTORY, Mode::empty()), path)?;
        if result.is_err() || below.owner == self.owner {
            return Ok(below);
        }
        self.give(&below.fd, &below.path)?;
        Ok(Self { owner: self.owner, ..below })
    }

    /// A file in it, for reading, and for writing where its filesystem can be written; `None` where
    /// it is missing.
    fn existing(&self, name: &str) -> Result<Option<File>> {
        let path = self.path.join(name);
        let open = |how| openat(&self.fd, name, FILE | how, Mode::empty());
        match open(OFlags::RDWR).or_else(|e| if e == Errno::ROFS { open(OFlags::RDONLY) } else { Err(e) }) {
            Ok(fd) => self.judged(fd, &path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(refused(&path, "a link")),
            Err(e) => Err(failed("cannot open", &path, e)),
        }
    }

    /// Opens a file in the directory `below` for reading; `None` where either is missing.
    pub(super) fn look(&self, below: &str, name: &str) -> Result<Option<File>> {
        let (above, path) = (self.path.join(below), self.path.join(below).join(name));
        let directory = match openat(&self.fd, below, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            opened => Self::opened(opened, above)?,
        };
        match openat(&directory.fd, name, FILE | OFlags::RDONLY, Mode::empty()) {
            Ok(fd) => directory.judged(fd, &path).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(refused(&path, "a link")),
            Err(e) => Err(failed("cannot open", &path, e)),
        }
    }

    /// Opens a file in it for reading and writing, and makes it (0640) where it is missing.
    pub(super) fn file(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        let flags = FILE | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let make = || openat(&self.fd, name, flags, Mode::from(0o640));
        loop {
            if let Some(file) = self.existing(name)? {
                return Ok(file);
            }
            match self.by_owner(make) {
                // Another process was faster.
                Err(Errno::EXIST) => {}
                Ok(fd) => {
                    self.give(&fd, &path)?;
                    return Ok(File::from(fd));
                }
                Err(e) => return Err(failed("cannot make", &path, e)),
            }
        }
    }

    /// Sees to it that a database in it, which is made where it is missing, and what lies beside it
    /// are its owner's alone. Opens none of them: closing one would end SQLite's locks (H1).
    pub(super) fn keep_private(&self, name: &str) -> Result<()> {
        let flags = FILE | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let made = self.by_owner(|| openat(&self.fd, name, flags, Mode::from(0o600)));
        match made {
            Ok(fd) => return self.give(&fd, &self.path.join(name)),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(failed("cannot make", &self.path.join(name), e)),
        }
        for suffix in SIDECARS.iter().copied().chain([""]) {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(found) = openat(&self.fd, format!("{name}{suffix}"), flags, Mode::empty()) else {
                continue;
            };
            let is_wide = |file: Stat| {
                FileType::from_raw_mode(file.st_mode) == FileType::RegularFile && file.st_mode & 0o077 != 0
            };
            if fstat(&found).is_ok_and(is_wide) {
                let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
                // Where that is not allowed it is no reason to go without a history.
                let _ = self.by_owner(|| chmod(&itself, Mode::from(0o600)));
            }
        }
        Ok(())
    }

    /// Gives a file in it, where there is one, another name.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<()> {
        match self.by_owner(|| renameat(&self.fd, from, &self.fd, to)) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(failed("cannot rename", &self.path.join(from), e)),
        }
    }

    /// Removes a file in it, where there is one.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        match self.by_owner(|| unlinkat(&self.fd, name, AtFlags::empty())) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(failed("cannot remove", &self.path.join(name), e)),
        }
    }

    /// The names in it that are text.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let read = |e| failed("cannot read", &self.path, e);
        let entries = Dir::read_from(&self.fd).map_err(read)?;
        let name = |entry: Tried<DirEntry>| Ok(entry?.file_name().to_str().map(str::to_owned).ok());
        entries.filter_map(|entry| name(entry).transpose()).collect::<Tried<_>>().map_err(read)
    }

    /// With the rights of the owner, or with ours where he has not enough.
    fn by_owner<T>(&self, work: impl Fn() -> Tried<T>) -> Tried<T> {
        match rights::of(self.owner, self.owner.gid, &work) {
            Err(Errno::ACCESS | Errno::PERM) => work(),
            done => done,
        }
    }

    /// A command run as root must not leave files that the daemon, under its own user, cannot
    /// write: what it has just made goes to the owner of the directory.
    fn give(&self, made: &OwnedFd, path: &Path) -> Result<()> {
        let is_roots = |file: Stat| file.st_uid == 0;
        if self.owner.uid == 0 || !rustix::process::geteuid().is_root() || !fstat(made).is_ok_and(is_roots) {
            return Ok(());
        }
        fchown(made, Some(Uid::from_raw(self.owner.uid)), Some(Gid::from_raw(self.owner.gid)))
            .map_err(|e| failed("cannot give to the owner of its directory", path, e))
    }

    fn judged(&self, fd: OwnedFd, path: &Path) -> Result<File> {
        let file = fstat(&fd).map_err(|e| failed("cannot look at", path, e))?;
        if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile {
            return Err(refused(path, "no regular file"));
        }
        if file.st_nlink > 1 && file.st_uid != self.owner.uid {
            return Err(refused(path, "another name of somebody else's file"));
        }
        Ok(File::from(fd))
    }

    fn opened(opened: Tried<OwnedFd>, path: PathBuf) -> Result<Self> {
        let fd = opened.map_err(|e| match e {
            Errno::LOOP | Errno::NOTDIR => refused(&path, "no directory, or a link to one"),
            e => failed("cannot open", &path, e),
        })?;
        let stat = fstat(&fd).map_err(|e| failed("cannot look at", &path, e))?;
        Ok(Self { fd, path, owner: Owner { uid: stat.st_uid, gid: stat.st_gid } })
    }
}

fn refused(path: &Path, what: &str) -> Error {
    let text = format!("{} is {what}, and is not used: remove it, and see who put it there", path.display());
    Error::new(Reason::Refused, text)
}

fn failed(doing: &str, path: &Path, cause: Errno) -> Error {
    Error::io(format!("{doing} {}", path.display()), &cause.into())
}
