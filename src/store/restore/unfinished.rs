//! A restored database on its way to its name: a hidden file beside it, `.NAME.restoring-PID`. Must
//! never be left behind: dropped, it is removed; that of a killed process, the next restore to the
//! same name removes.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Reason, Result};
use crate::sqlite::files::place;
use crate::store::local::directory::Directory;
use crate::store::local::temp::{Behind, FlushingWriter, is_held, sweep};

/// The hidden file. Locked by `flock` while it lives, which tells it from one of a dead process.
pub(in crate::store) struct HiddenFile<'a> {
    dir: &'a Directory,
    name: String,
    file: Arc<File>,
    /// Still under its hidden name.
    pending: bool,
}

impl<'a> HiddenFile<'a> {
    /// Makes one (0600, of this process) for the file `target`, after removing those of dead
    /// processes.
    pub(in crate::store) fn create(dir: &'a Directory, target: &str) -> Result<Self> {
        let prefix = format!(".{target}.restoring-");
        let name = format!("{prefix}{}", std::process::id());
        loop {
            sweep(dir, &prefix)?;
            let Some(file) = dir.create_private(&name)? else {
                // Of a process in another container that has our number, and lives.
                return Err(Error::new(
                    Reason::Locked,
                    format!("{} belongs to another restore that is at work", dir.shown(&name)),
                ));
            };
            let unfinished = Self { dir, name: name.clone(), file: Arc::new(file), pending: true };
            if is_held(dir, &name, &unfinished.file)? {
                return Ok(unfinished);
            }
        }
    }

    /// By what SQLite opens it: this file, whatever has its name by now.
    pub(in crate::store) fn by_descriptor(&self) -> PathBuf {
        place::of_descriptor(&self.file)
    }

    /// Where it lies, for messages.
    pub(in crate::store) fn path(&self) -> PathBuf {
        self.dir.path().join(&self.name)
    }

    /// Has `write` write it, and sends it to disk meanwhile.
    pub(in crate::store) fn write<T>(&self, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
        let mut out = FlushingWriter::new(Arc::clone(&self.file), Behind::Keep);
        let outcome = write(&mut out);
        match out.finish() {
            // What the disk said explains more than what the writer made of it.
            Some(e) => Err(self.dir.failed("cannot write", &self.name, e)),
            None => outcome,
        }
    }

    /// The open file.
    pub(in crate::store) fn file(&self) -> &File {
        &self.file
    }

    /// What was written, its owner and its mode survive a power cut.
    pub(in crate::store) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.dir.failed("cannot flush", &self.name, e))
    }

    /// Gives it a name that nothing has; `false` where something has.
    pub(super) fn publish_new(mut self, name: &str) -> Result<bool> {
        let published = self.dir.rename_new(&self.name, name)?;
        self.pending = !published;
        if published && let Err(error) = self.dir.sync() {
            // It might not survive a power cut, so it must not be seen now.
            self.dir.remove(name)?;
            return Err(error);
        }
        Ok(published)
    }

    /// Gives it a name in place of what has it. Not yet durable: the directory is to be synced.
    pub(super) fn publish_over(&mut self, name: &str) -> Result<()> {
        self.dir.rename(&self.name, name)?;
        self.pending = false;
        Ok(())
    }
}

impl Drop for HiddenFile<'_> {
    fn drop(&mut self) {
        if self.pending {
            // Gone already, or beyond our reach: the next restore removes it.
            let _ = self.dir.remove(&self.name);
        }
        let _ = self.file.unlock();
    }
}
