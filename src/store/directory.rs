//! A directory held open. Every operation is relative to its descriptor and follows no link, so that whoever
//! may write there cannot lead a privileged process elsewhere (H27). Knows nothing of backups.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use crate::error::{Error, Reason, Result};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK`: a FIFO that somebody put there must not make us wait for its other end.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// An open directory.
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    /// Who gets the files made here, where that is not the process itself: root gives them to the directory's
    /// owner, so that a command run by root leaves nothing that the daemon cannot read or rotate.
    heir: Option<(Uid, Gid)>,
}

impl Directory {
    /// Opens `path`; its last component must be a directory and not a link to one.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // Taken apart and put together again: with a slash at the end, a link would be followed.
        let path: PathBuf = path.components().collect();
        let opened = fs::open(&path, DIRECTORY, Mode::empty());
        Self::opened(opened, fs::CWD, &path, path.clone())
    }

    /// Like [`Directory::open`], and makes the last component (0750) where it is missing.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let path: PathBuf = path.components().collect();
        match fs::mkdirat(fs::CWD, &path, Mode::from(0o750)) {
            Ok(()) => {
                if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                    Self::open_any(parent)?.sync()?;
                }
                tracing::info!(path = %path.display(), "made the directory for backups");
            }
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => {
                let parent = path.parent().unwrap_or(Path::new("/")).display();
                return Err(Error::new(
                    Reason::NotFound,
                    format!(
                        "cannot make {}: {parent} does not exist; make it, or mount it if it is a disk of its own",
                        path.display()
                    ),
                ));
            }
            Err(e) => return Err(failed(format!("cannot make {}", path.display()), e, &path)),
        }
        Self::open(&path)
    }

    /// Opens the directory `name` in this one.
    pub(super) fn open_below(&self, name: &str) -> Result<Self> {
        let opened = fs::openat(&self.fd, name, DIRECTORY, Mode::empty());
        Self::opened(opened, self.fd.as_fd(), Path::new(name), self.path.join(name))
    }

    /// Like [`Directory::open_below`], and makes it (0750, owned like this one) where it is missing.
    pub(super) fn create_below(&self, name: &str) -> Result<Self> {
        let made = match fs::mkdirat(&self.fd, name, Mode::from(0o750)) {
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
            self.sync()?;
        }
        Ok(below)
    }

    /// A directory whose path may be a link: only ever synced.
    fn open_any(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self::opened(fs::open(path, flags, Mode::empty()), fs::CWD, path, path.to_owned())
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
        let heir =
            (root && stat.st_uid != 0).then(|| (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)));
        Ok(Self { fd, path, heir })
    }

    /// Where it was when it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, for messages.
    pub(super) fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// An error about a file in it, with what to do where that is known.
    pub(super) fn failed(&self, doing: &str, name: &str, cause: impl Into<io::Error>) -> Error {
        failed(format!("{doing} {}", self.shown(name)), cause, &self.path)
    }

    /// Makes a new file (0640) for reading and writing; `None` when the name is taken.
    pub(super) fn create_file(&self, name: &str) -> Result<Option<File>> {
        let mode = Mode::from(0o640);
        let flags = FILE | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let fd = match fs::openat(&self.fd, name, flags, mode) {
            Ok(fd) => fd,
            Err(Errno::EXIST) => return Ok(None),
            Err(e) => return Err(self.failed("cannot make", name, e)),
        };
        // The umask took bits away: a group that may read backups must be able to, however we were started.
        let settled = fs::fchmod(&fd, mode).map_err(|e| self.failed("cannot set the mode of", name, e));
        let settled = settled.and_then(|()| self.heir.map_or(Ok(()), |heir| self.give(&fd, heir)));
        if let Err(e) = settled {
            self.remove(name)?;
            return Err(e);
        }
        Ok(Some(File::from(fd)))
    }

    /// Makes a new file (0600) for reading and writing that stays its maker's; `None` when the name is taken.
    pub(super) fn create_private(&self, name: &str) -> Result<Option<File>> {
        let flags = FILE | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        match fs::openat(&self.fd, name, flags, Mode::from(0o600)) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::EXIST) => Ok(None),
            Err(e) => Err(self.failed("cannot make", name, e)),
        }
    }

    /// Gives a file in it a second name; `false`, and nothing changed, when that is taken.
    pub(super) fn link(&self, from: &str, to: &str) -> Result<bool> {
        match fs::linkat(&self.fd, from, &self.fd, to, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(self.failed("cannot make the hard link", to, e)),
        }
    }

    /// Opens a regular file for reading, and for writing too if `write`.
    pub(super) fn open_file(&self, name: &str, write: bool) -> Result<File> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        let fd = fs::openat(&self.fd, name, FILE | access, Mode::empty())
            .map_err(|e| self.failed("cannot open", name, e))?;
        let stat = fs::fstat(&fd).map_err(|e| self.failed("cannot stat", name, e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(Reason::Refused, format!("{} is not a regular file", self.shown(name))));
        }
        Ok(File::from(fd))
    }

    /// The names in it, those that are not UTF-8 left out.
    pub(super) fn names(&self) -> Result<Vec<String>> {
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
    pub(super) fn stat(&self, name: &str) -> Result<Option<fs::Stat>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.failed("cannot stat", name, e)),
        }
    }

    /// Renames within it, over what is there.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<()> {
        fs::renameat(&self.fd, from, &self.fd, to).map_err(|e| self.failed("cannot make", to, e))
    }

    /// Renames within it; `false`, and nothing changed, when `to` is taken.
    pub(super) fn rename_new(&self, from: &str, to: &str) -> Result<bool> {
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
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(|e| self.failed("cannot remove", name, e))
    }

    /// Makes what was made, renamed and removed in it survive a power cut.
    pub(super) fn sync(&self) -> Result<()> {
        match fs::fsync(&self.fd) {
            // Some network filesystems know no such thing for a directory.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(e) => Err(failed(format!("cannot flush {} to disk", self.path.display()), e, &self.path)),
        }
    }

    /// Bytes that an unprivileged process may still write.
    pub(super) fn free_bytes(&self) -> Result<u64> {
        let doing = || format!("cannot read the free space of {}", self.path.display());
        let stat = fs::fstatvfs(&self.fd).map_err(|e| failed(doing(), e, &self.path))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn give(&self, fd: impl AsFd, (uid, gid): (Uid, Gid)) -> Result<()> {
        fs::fchown(fd, Some(uid), Some(gid)).map_err(|e| {
            let doing = format!(
                "cannot give a file in {} to uid {}, who owns that directory; run as that user",
                self.path.display(),
                uid.as_raw()
            );
            Error::io(doing, &e.into())
        })
    }
}

/// An error of the operating system about something in `dir`, with what to do.
fn failed(doing: String, cause: impl Into<io::Error>, dir: &Path) -> Error {
    let cause = cause.into();
    let mut error = Error::io(doing, &cause);
    let dir = dir.display();
    let remedy = match cause.kind() {
        io::ErrorKind::PermissionDenied => format!("; the user that litekeeper runs as must own {dir}"),
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("; if {dir} is writable elsewhere, add it to ReadWritePaths= of the systemd unit")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space there, or keep fewer backups".to_owned()
        }
        _ => String::new(),
    };
    error.message.push_str(&remedy);
    error
}
