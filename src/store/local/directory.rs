//! A directory held open. Every operation is relative to its descriptor and follows no link, so
//! that whoever may write there cannot lead a privileged process elsewhere (H27). Knows nothing of
//! backups.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use crate::error::{Error, Reason, Result};
use crate::rights::{self, Owner, sandbox};
use crate::sqlite::files::place;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK`: a FIFO that somebody put there must not make us wait for its other end.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// An open directory.
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    /// Who gets the files made here, where that is not the process itself: root gives them to the
    /// directory's owner, so that a command run by root leaves nothing that the daemon cannot read
    /// or rotate.
    heir: Option<Owner>,
}

/// Bits of a directory's mode that say that its group may put files there, and that they are the
/// group's.
const SHARED: u32 = 0o2020;

impl Directory {
    /// Opens `path`; its last component must be a directory and not a link to one.
    pub fn open(path: &Path) -> Result<Self> {
        let (above, name) = above(path)?;
        Self::opened(fs::openat(&above, name, DIRECTORY, Mode::empty()), &above, name, path.to_owned())
    }

    /// Opens the directory that `path` leads to, over links too of those who may lead us there.
    pub fn open_any(path: &Path) -> Result<Self> {
        let (fd, real) = place::directory(path)?;
        let here = Path::new(".");
        Self::opened(fs::openat(&fd, here, DIRECTORY, Mode::empty()), &fd, here, real)
    }

    /// Like [`Directory::open`], and makes the last component (0750) where it is missing.
    pub fn create(path: &Path) -> Result<Self> {
        let (above, name) = match above(path) {
            Err(error) if error.reason == Reason::NotFound => {
                let parent = path.parent().unwrap_or(Path::new("/")).display();
                return Err(Error::new(
                    Reason::NotFound,
                    format!(
                        "cannot make {}: {parent} does not exist; make it, or mount it if it is a disk of its own",
                        path.display()
                    ),
                ));
            }
            above => above?,
        };
        match fs::mkdirat(&above, name, Mode::from(0o750)) {
            Ok(()) => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                let here = Path::new(".");
                let opened = fs::openat(&above, here, DIRECTORY, Mode::empty());
                Self::opened(opened, &above, here, parent.to_owned())?.sync()?;
                tracing::info!(path = %path.display(), "made the directory for backups");
            }
            Err(Errno::EXIST) => {}
            Err(e) => return Err(failed(format!("cannot make {}", path.display()), e, path)),
        }
        Self::opened(fs::openat(&above, name, DIRECTORY, Mode::empty()), &above, name, path.to_owned())
    }

    /// Opens the directory `name` in this one.
    pub fn open_below(&self, name: &str) -> Result<Self> {
        let opened = fs::openat(&self.fd, name, DIRECTORY, Mode::empty());
        Self::opened(opened, self.fd.as_fd(), Path::new(name), self.path.join(name))
    }

    /// Like [`Directory::open_below`], and makes it (0750, owned like this one) where it is
    /// missing. In one that a group shares, the group may remove what is in it.
    pub fn create_below(&self, name: &str) -> Result<Self> {
        let made = match self.as_heir(|| fs::mkdirat(&self.fd, name, Mode::from(0o750))) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => {
                let path = self.path.join(name);
                return Err(failed(format!("cannot make {}", path.display()), e, &self.path));
            }
        };
        let mut below = self.open_below(name)?;
        if made {
            if let Some(heir) = self.heir {
                below.give(&below.fd, heir)?;
                below.heir = Some(heir);
            }
            let bits = |fd: &OwnedFd| fs::fstat(fd).map(|stat| stat.st_mode);
            if let (Ok(ours), Ok(own)) = (bits(&self.fd), bits(&below.fd))
                && ours & SHARED == SHARED
            {
                // Without it, the operator removes what is in it.
                let _ = fs::fchmod(&below.fd, Mode::from_raw_mode(own | SHARED));
            }
            self.sync()?;
        }
        Ok(below)
    }

    /// A new one in this one for ourselves alone (0700); `None` when the name is taken.
    pub(super) fn create_private_below(&self, name: &str) -> Result<Option<Self>> {
        match fs::mkdirat(&self.fd, name, Mode::from(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(e) => return Err(self.failed("cannot make", name, e)),
        }
        let below = self.open_below(name)?;
        let stat = fs::fstat(&below.fd).map_err(|e| self.failed("cannot look at", name, e))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
            // Whoever owns this one has put another in its place.
            return Err(Error::new(
                Reason::WrongOwner,
                format!(
                    "{} was made, and belongs to user {} now; see what that user does there",
                    self.shown(name),
                    stat.st_uid
                ),
            ));
        }
        Ok(Some(below))
    }

    fn opened(
        opened: rustix::io::Result<OwnedFd>,
        parent: impl AsFd,
        name: &Path,
        path: PathBuf,
    ) -> Result<Self> {
        let shown = path.display();
        let fd = opened.map_err(|e| {
            let kind = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map(|s| FileType::from_raw_mode(s.st_mode));
            match kind {
                Ok(FileType::Symlink) => Error::new(
                    Reason::Refused,
                    format!(
                        "{shown} is a symbolic link, which is not followed here, as whoever may change it could \
                         lead backups elsewhere; put the real directory into backup.dir"
                    ),
                ),
                Ok(FileType::Directory) | Err(_) => failed(format!("cannot open {shown}"), e, &path),
                Ok(_) => Error::new(Reason::Refused, format!("{shown} is not a directory")),
            }
        })?;
        let stat =
            fs::fstat(&fd).map_err(|e| failed(format!("cannot read the owner of {shown}"), e, &path))?;
        let root = rustix::process::geteuid().is_root();
        let heir = (root && stat.st_uid != 0).then_some(Owner { uid: stat.st_uid, gid: stat.st_gid });
        Ok(Self { fd, path, heir })
    }

    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, for messages.
    pub fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// An error about a file in it, with what to do where that is known.
    pub fn failed(&self, doing: &str, name: &str, cause: impl Into<io::Error>) -> Error {
        failed(format!("{doing} {}", self.shown(name)), cause, &self.path)
    }

    /// Makes a new file (0640) for reading and writing; `None` when the name is taken.
    pub fn create_file(&self, name: &str) -> Result<Option<File>> {
        let mode = Mode::from(0o640);
        let flags = FILE | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let fd = match self.as_heir(|| fs::openat(&self.fd, name, flags, mode)) {
            Ok(fd) => fd,
            Err(Errno::EXIST) => return Ok(None),
            Err(e) => return Err(self.failed("cannot make", name, e)),
        };
        // The umask took bits away: a group that may read backups must be able to, however we were
        // started.
        let settled = fs::fchmod(&fd, mode).map_err(|e| self.failed("cannot set the mode of", name, e));
        let settled = settled.and_then(|()| self.heir.map_or(Ok(()), |heir| self.give(&fd, heir)));
        if let Err(e) = settled {
            self.remove(name)?;
            return Err(e);
        }
        Ok(Some(File::from(fd)))
    }

    /// Makes a new file (0600) for reading and writing that stays its maker's; `None` when the name
    /// is taken.
    pub(in crate::store) fn create_private(&self, name: &str) -> Result<Option<File>> {
        let flags = FILE | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        match fs::openat(&self.fd, name, flags, Mode::from(0o600)) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::EXIST) => Ok(None),
            Err(e) => Err(self.failed("cannot make", name, e)),
        }
    }

    /// Makes a file in it (0600) that has no name, for reading and writing; `None` where the
    /// filesystem has no such files.
    pub(super) fn create_nameless(&self) -> Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match fs::openat(&self.fd, ".", flags, Mode::from(0o600)) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
            Err(e) => Err(failed(format!("cannot make a file in {}", self.path.display()), e, &self.path)),
        }
    }

    /// Gives a file in it a second name; `false`, and nothing changed, when that is taken.
    pub(in crate::store) fn link(&self, from: &str, to: &str) -> Result<bool> {
        match fs::linkat(&self.fd, from, &self.fd, to, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(self.failed("cannot make the hard link", to, e)),
        }
    }

    /// Opens a regular file for reading, and for writing too if `write`. What it is, is known
    /// before: opened and closed, a database of somebody else that was given a name here would lose
    /// the locks that we have on it (H1).
    pub(super) fn open_file(&self, name: &str, write: bool) -> Result<File> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        let failed = |e| self.failed("cannot open", name, e);
        let found = place::look(&self.fd, name.as_ref()).map_err(failed)?;
        let (file, above) = (fs::fstat(&found).map_err(failed)?, fs::fstat(&self.fd).map_err(failed)?);
        let refused =
            |what: &str| Err(Error::new(Reason::Refused, format!("{} is {what}", self.shown(name))));
        if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile {
            return refused("not a regular file");
        }
        if place::has_foreign_name(&above, &file) {
            return refused("another name of a file that is not the directory's owner's");
        }
        Ok(File::from(place::reopened(&found, access).map_err(failed)?))
    }

    /// The names in it, those that are not UTF-8 left out.
    pub(in crate::store) fn names(&self) -> Result<Vec<String>> {
        let failed = |e: Errno| failed(format!("cannot list {}", self.path.display()), e, &self.path);
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.fd).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// What `name` is, links not followed; `None` when it is gone.
    pub(in crate::store) fn stat(&self, name: &str) -> Result<Option<fs::Stat>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.failed("cannot stat", name, e)),
        }
    }

    /// Renames within it, over what is there.
    pub(in crate::store) fn rename(&self, from: &str, to: &str) -> Result<()> {
        fs::renameat(&self.fd, from, &self.fd, to).map_err(|e| self.failed("cannot make", to, e))
    }

    /// Renames within it; `false`, and nothing changed, when `to` is taken.
    pub(in crate::store) fn rename_new(&self, from: &str, to: &str) -> Result<bool> {
        match fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // NFS and others lack the flag; a hard link refuses a taken name everywhere.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                match fs::linkat(&self.fd, from, &self.fd, to, AtFlags::empty()) {
                    Ok(()) => self.remove(from).map(|()| true),
                    Err(Errno::EXIST) => Ok(false),
                    Err(e) => Err(self.failed("cannot make", to, e)),
                }
            }
            Err(e) => Err(self.failed("cannot make", to, e)),
        }
    }

    /// Removes a file.
    pub(in crate::store) fn remove(&self, name: &str) -> Result<()> {
        fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(|e| self.failed("cannot remove", name, e))
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&self, name: &str) -> Result<()> {
        fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR).map_err(|e| self.failed("cannot remove", name, e))
    }

    /// Makes what was made, renamed and removed in it survive a power cut.
    pub fn sync(&self) -> Result<()> {
        match fs::fsync(&self.fd) {
            // Some network filesystems know no such thing for a directory.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(e) => Err(failed(format!("cannot flush {} to disk", self.path.display()), e, &self.path)),
        }
    }

    /// Bytes that an unprivileged process may still write.
    pub fn free_bytes(&self) -> Result<u64> {
        let doing = || format!("cannot read the free space of {}", self.path.display());
        let stat = fs::fstatvfs(&self.fd).map_err(|e| failed(doing(), e, &self.path))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Makes something with the rights of whom it will belong to; where he may not, with ours.
    fn as_heir<T>(&self, make: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
        match self.heir.map(|heir| rights::of(heir, heir.gid, &make)) {
            None | Some(Err(Errno::ACCESS | Errno::PERM)) => make(),
            Some(done) => done,
        }
    }

    /// The path of a file in it for whoever opens by name, SQLite above all, and as long as this is
    /// open: it leads here, whatever is done to the names of directories.
    pub fn by_descriptor(&self, name: &str) -> PathBuf {
        place::of_descriptor(&self.fd).join(name)
    }

    fn give(&self, fd: impl AsFd, Owner { uid, gid }: Owner) -> Result<()> {
        if fs::fstat(&fd).is_ok_and(|made| made.st_uid == uid) {
            return Ok(());
        }
        fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(|e| {
            let doing = format!(
                "cannot give a file in {} to user {}, who owns that directory; run as that user",
                self.path.display(),
                rights::user(uid)
            );
            Error::io(doing, &e.into())
        })
    }
}

/// The directory above, held, and the name in it. Taken apart: with a slash at the end, a last link
/// would be followed.
fn above(path: &Path) -> Result<(OwnedFd, &Path)> {
    let held = |path: &Path| place::directory(path).map(|(held, _)| held);
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => {
            Ok((held(Path::new("."))?, name.as_ref()))
        }
        (Some(parent), Some(name)) => Ok((held(parent)?, name.as_ref())),
        _ => Ok((held(path)?, Path::new("."))),
    }
}

/// An error of the operating system about something in `dir`, with what to do.
fn failed(doing: String, cause: impl Into<io::Error>, dir: &Path) -> Error {
    let cause = cause.into();
    let mut error = Error::io(doing, &cause);
    let (path, dir) = (dir, dir.display());
    let remedy = match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            let us = rights::us();
            format!("; user {us}, as whom litekeeper runs, must own {dir}")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            let in_sandbox = sandbox::read_only(path).map(|remedy| format!("; {remedy}"));
            in_sandbox.unwrap_or_else(|| String::from("; mount that filesystem writable"))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space there, or keep fewer backups".to_owned()
        }
        _ => String::new(),
    };
    error.message.push_str(&remedy);
    error
}
