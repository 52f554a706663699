//! A store that is a directory of this machine: one below `backup.dir` for each database. Must
//! never act on a path: everything goes through the open [`Directory`].

pub(super) mod directory;
pub mod scratch;
pub(super) mod temp;

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use self::directory::Directory;
use self::temp::{FileLock, LockKind, PassingReader, Temp};
use super::files::{Content, Entry, Lock, Put, Store, check_name};
use crate::error::{Error, Reason, Result};

/// The file that [`Store::edit`] locks.
const EDIT_LOCK: &str = ".lock";
/// How long to wait for another that is about to remove a file, or that edits.
const PATIENCE: Duration = Duration::from_secs(30);

/// The directory of one database's backups.
pub struct Local {
    dir: Directory,
}

impl Local {
    /// Opens `<base>/<name>`. A missing one is an error with [`Reason::NotFound`]: no backup was
    /// made yet.
    pub fn open(base: &Path, name: &str) -> Result<Self> {
        check_name(name)?;
        Ok(Self { dir: Directory::open(base)?.open_below(name)? })
    }

    /// Opens `<base>/<name>` and makes both (0750) where they are missing; the directory above
    /// `base` must exist, so that a mistyped path makes no tree. What killed runs left is removed,
    /// before anybody asks whether there is room.
    pub fn create(base: &Path, name: &str) -> Result<Self> {
        check_name(name)?;
        let dir = Directory::create(base)?.create_below(name)?;
        temp::sweep(&dir, temp::PREFIX)?;
        Ok(Self { dir })
    }

    fn write(
        &self,
        name: &str,
        new: bool,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<Content>,
    ) -> Result<Put> {
        let temp = Temp::create(&self.dir, name)?;
        let mut out = BufWriter::with_capacity(256 << 10, temp.writer());
        let outcome = write(&mut out);
        let flushed = out.flush();
        let (mut out, _) = out.into_parts();
        // What the disk said explains more than what the writer made of it, and counts even if it
        // made nothing.
        if let Some(e) = out.finish().or(flushed.err()) {
            return Err(self.dir.failed("cannot write", name, e));
        }
        if outcome? == Content::Same {
            return Ok(Put::Same);
        }
        let size = out.written();
        temp.publish(name, new)?;
        Ok(Put::Made(size))
    }

    fn locked(&self, file: File, name: &str, kind: LockKind, limit: Duration) -> Result<Option<Lock>> {
        if !temp::lock(&file, kind, limit).map_err(|e| self.dir.failed("cannot lock", name, e))? {
            return Ok(None);
        }
        self.must_be_linked(&file, name)?;
        Ok(Some(Lock::new(FileLock(file))))
    }

    fn must_be_linked(&self, file: &File, name: &str) -> Result<()> {
        if temp::is_linked(file) {
            return Ok(());
        }
        Err(Error::new(Reason::NotFound, format!("{} was removed just now", self.dir.shown(name))))
    }

    /// For writing, as NFS grants an exclusive lock on nothing less; a reader of listings may have
    /// less, and on a medium that is read-only there is no more.
    fn to_be_claimed(&self, name: &str) -> Result<File> {
        match self.dir.open_file(name, true) {
            Err(e) if matches!(e.reason, Reason::Permission | Reason::ReadOnly | Reason::Io) => {
                self.dir.open_file(name, false)
            }
            other => other,
        }
    }
}

impl Store for Local {
    fn place(&self) -> String {
        self.dir.path().display().to_string()
    }

    fn put(&self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> Result<Content>) -> Result<Put> {
        check_name(name)?;
        // Said before the work, not after it; decided by the rename.
        if self.dir.stat(name)?.is_some() {
            return Err(temp::taken(&self.dir, name));
        }
        self.write(name, true, write)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        let doing = || format!("cannot write {}", self.dir.shown(name));
        let mut write = |out: &mut dyn Write| {
            out.write_all(bytes).map(|()| Content::New).map_err(|e| Error::io(doing(), &e))
        };
        self.write(name, false, &mut write).map(drop)
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        check_name(name)?;
        Ok(Box::new(PassingReader::new(self.dir.open_file(name, false)?)))
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for name in self.dir.names()? {
            if check_name(&name).is_ok() {
                entries.extend(self.entry(&name)?);
            }
        }
        Ok(entries)
    }

    fn entry(&self, name: &str) -> Result<Option<Entry>> {
        check_name(name)?;
        let stat = self.dir.stat(name)?;
        let file = stat.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Ok(file.map(|stat| Entry {
            name: name.to_owned(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: DateTime::<Utc>::from_timestamp(stat.st_mtime, 0).unwrap_or_default(),
            version: Some(version(&stat)),
        }))
    }

    fn delete(&self, name: &str) -> Result<()> {
        check_name(name)?;
        self.dir.remove(name)?;
        self.dir.sync()
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        self.dir.free_bytes().map(Some)
    }

    fn hold(&self, name: &str) -> Result<Lock> {
        check_name(name)?;
        let file = self.dir.open_file(name, false)?;
        match temp::lock(&file, LockKind::Shared, PATIENCE) {
            Ok(true) => {}
            Ok(false) => {
                let text = format!("{} is being removed by another run", self.dir.shown(name));
                return Err(Error::new(Reason::Locked, text));
            }
            // Where there are no locks nobody gets a claim either.
            Err(e) if temp::is_without_locks(&e) => {}
            Err(e) => return Err(self.dir.failed("cannot lock", name, e)),
        }
        self.must_be_linked(&file, name)?;
        Ok(Lock::new(FileLock(file)))
    }

    fn claim(&self, name: &str) -> Result<Option<Lock>> {
        check_name(name)?;
        self.locked(self.to_be_claimed(name)?, name, LockKind::Exclusive, Duration::ZERO)
    }

    fn is_held(&self, name: &str) -> Result<bool> {
        check_name(name)?;
        let file = self.to_be_claimed(name)?;
        match temp::lock(&file, LockKind::Exclusive, Duration::ZERO) {
            Ok(free) => {
                drop(FileLock(file));
                Ok(!free)
            }
            // Nothing can be removed there, or nobody can say that he reads: nothing to be shown.
            Err(e) if temp::is_without_locks(&e) || e.raw_os_error() == Some(Errno::BADF.raw_os_error()) => {
                Ok(false)
            }
            Err(e) => Err(self.dir.failed("cannot lock", name, e)),
        }
    }

    fn edit(&self) -> Result<Lock> {
        let file = match self.dir.create_file(EDIT_LOCK)? {
            Some(file) => file,
            None => self.dir.open_file(EDIT_LOCK, true)?,
        };
        self.locked(file, EDIT_LOCK, LockKind::Exclusive, PATIENCE)?.ok_or_else(|| {
            Error::new(
                Reason::Locked,
                format!(
                    "another run has been changing {} for {} s; try again",
                    self.place(),
                    PATIENCE.as_secs()
                ),
            )
        })
    }
}

/// A file is replaced by another one, never written to. The one before is there until the next one
/// has its name, so that their numbers differ. A number that was freed may be given again, to a
/// file of another time, or of the same where the clock has not moved on.
fn version(stat: &Stat) -> String {
    let (device, number, size) = (stat.st_dev, stat.st_ino, stat.st_size);
    let written = (stat.st_mtime, stat.st_mtime_nsec);
    let renamed = (stat.st_ctime, stat.st_ctime_nsec);
    format!("{device}.{number}.{size}.{}.{}.{}.{}", written.0, written.1, renamed.0, renamed.1)
}
