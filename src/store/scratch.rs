//! A database file of our own that lives as long as one piece of work: a backup unpacked to be checked, a copy to
//! compute from. Must never be taken for a backup: its name starts with a dot.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sqlite::facts::SIDECARS;
use crate::sqlite::inspector::{GoOn, Inspector};
use crate::sqlite::open;

const PREFIX: &str = ".scratch-";

/// A scratch file without a name, so that nothing is ever left of it: only for the moment in which SQLite opens it, it
/// has one, as SQLite opens by path and follows `/proc/self/fd` to a path that does not exist. Where the filesystem
/// makes no files without names, it has one until then.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    path: PathBuf,
    named: bool,
}

impl Scratch {
    /// Makes one in `directory`. What a process that no longer lives left there is removed.
    pub fn create(directory: &Path, purpose: &str) -> Result<Self> {
        remove_those_of_dead_processes(directory)?;
        let path = next_path(directory, purpose);
        let failed = |e: io::Error| Error::io(format!("cannot make a file in {}", directory.display()), &e);
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let (file, named) = match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => (File::from(fd), false),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create_new(true).mode(0o600);
                (options.open(&path).map_err(failed)?, true)
            }
            Err(e) => return Err(failed(e.into())),
        };
        Ok(Self { file, path, named })
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
        if !self.named {
            let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            rustix::fs::linkat(CWD, link, CWD, &self.path, AtFlags::SYMLINK_FOLLOW)
                .map_err(|e| Error::io(format!("cannot name {}", self.path.display()), &e.into()))?;
            self.named = true;
        }
        Ok(&self.path)
    }
}

/// A name for a scratch database that SQLite opens with what lies beside it. All of it is removed when this is dropped.
#[derive(Debug)]
pub struct Named {
    path: PathBuf,
}

impl Named {
    /// Makes an empty one in `directory`. What a process that no longer lives left there is removed.
    pub fn create(directory: &Path, purpose: &str) -> Result<Self> {
        remove_those_of_dead_processes(directory)?;
        let path = next_path(directory, purpose);
        let this = Self { path };
        this.beside("")?;
        Ok(this)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file beside it that has this at the end of its name, to be written.
    pub fn beside(&self, suffix: &str) -> Result<File> {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        options
            .open(&name)
            .map_err(|e| Error::io(format!("cannot make the file {}", Path::new(&name).display()), &e))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        for suffix in std::iter::once("").chain(SIDECARS) {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            remove(Path::new(&name));
        }
    }
}

fn next_path(directory: &Path, purpose: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("{PREFIX}{}-{purpose}-{number}", std::process::id()))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.named {
            remove(&self.path);
        }
    }
}

fn remove_those_of_dead_processes(directory: &Path) -> Result<()> {
    let failed = |e| Error::io(format!("cannot read the directory {}", directory.display()), &e);
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse().ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = owner
            && rustix::process::test_kill_process(pid) == Err(Errno::SRCH)
        {
            remove(&entry.path());
        }
    }
    Ok(())
}

/// One that cannot be removed is in the way of nothing; two runs may find the same one.
fn remove(path: &Path) {
    if let Err(e) = std::fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), "cannot remove a scratch file: {e}");
    }
}
