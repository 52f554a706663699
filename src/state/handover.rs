//! A database handed over by the daemon to a restore in place in another process, and back. Each
//! side shows what it does by locks, which are gone with its process, so that none waits for one
//! that is dead. Three files per database:
//!
//! - `NAME.lock`: one run at a time, as ever. The restore counts as one.
//! - `NAME.wanted`: held by a restore that wants the database. The daemon only looks at it, every
//!   now and then.
//! - `NAME.open`: held by whoever may open the database, the daemon or the restore. The daemon lets
//!   go of it when it has closed its last connection, and opens none until it has it again.
//!
//! Says nothing of other processes, which ask nobody: who has the file open must still be looked
//! for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::State;
use super::locks::{self, Lock, OPEN, RUN, WANTED};
use crate::commands;
use crate::error::{Error, Reason, Result};
use crate::words;

/// Who holds `NAME.open`, when it is not a restore.
const DAEMON: &str = "the daemon";

/// Between two tries of a restore.
const TRY_EVERY: Duration = Duration::from_millis(50);

impl State {
    /// Who wants the database for himself; `None`: nobody.
    pub fn wanted(&self, database: &str) -> Result<Option<String>> {
        locks::holder(self.directory(), database, WANTED)
    }

    /// Gives the daemon leave to open the database, for as long as the lock lives; or says who has
    /// it.
    pub fn lock_open(&self, database: &str) -> Result<std::result::Result<Lock, String>> {
        if let Some(by) = self.wanted(database)? {
            return Ok(Err(by));
        }
        locks::take_file(self.directory(), database, OPEN, DAEMON)
    }
}

/// What a restore in place holds of a database, to its end.
#[derive(Debug)]
pub struct Handover {
    /// `None` where there is no state directory: no litekeeper works here.
    directory: Option<PathBuf>,
    database: String,
    daemon: Option<u32>,
    run: Option<Lock>,
    wanted: Option<Lock>,
    open: Option<Lock>,
}

impl Handover {
    /// Begins, and changes nothing for the daemon yet.
    ///
    /// Errors: `locked` where a run of another process than the daemon is at work.
    pub fn begin(directory: &Path, database: &str) -> Result<Self> {
        let is_there =
            !matches!(directory.symlink_metadata(), Err(e) if e.kind() == std::io::ErrorKind::NotFound);
        let mut this = Self {
            directory: is_there.then(|| directory.to_owned()),
            database: database.to_owned(),
            daemon: None,
            run: None,
            wanted: None,
            open: None,
        };
        let Some(directory) = &this.directory else { return Ok(this) };
        this.daemon = locks::holder(directory, database, OPEN)?
            .filter(|holder| holder.starts_with(DAEMON))
            .as_deref()
            .and_then(locks::process);
        match this.take(RUN)? {
            Ok(run) => this.run = Some(run),
            Err(holder) if this.is_of_daemon(&holder) => {}
            Err(holder) => return Err(locks::in_use(database, &holder)),
        }
        Ok(this)
    }

    /// The process that has the database open and will let go of it.
    pub const fn daemon(&self) -> Option<u32> {
        self.daemon
    }

    fn is_of_daemon(&self, holder: &str) -> bool {
        self.daemon.is_some() && locks::process(holder) == self.daemon
    }

    /// Has the daemon let go of the database, and waits until it has, for `patience` at most.
    /// `waiting` is told whom it waits for, again and again, and asked whether to go on.
    ///
    /// Errors: those of `waiting`; `locked` where the time was not enough.
    pub fn complete(
        &mut self,
        patience: Duration,
        waiting: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        if self.directory.is_none() {
            return Ok(());
        }
        let until = Instant::now() + patience;
        let mut take = |ending| loop {
            match self.take(ending)? {
                Ok(lock) => return Ok(Some(lock)),
                Err(holder) if Instant::now() >= until => return Err(self.too_late(&holder, patience)),
                Err(holder) => waiting(&holder)?,
            }
            std::thread::sleep(TRY_EVERY);
        };
        let wanted = take(WANTED)?;
        let run = if self.run.is_none() { take(RUN)? } else { None };
        let open = take(OPEN)?;
        self.run = self.run.take().or(run);
        (self.wanted, self.open) = (wanted, open);
        Ok(())
    }

    fn take(&self, ending: &str) -> Result<std::result::Result<Lock, String>> {
        let directory = self.directory.as_deref().unwrap_or(Path::new("/"));
        locks::take_file(directory, &self.database, ending, "restore")
    }

    fn too_late(&self, holder: &str, patience: Duration) -> Error {
        if !self.is_of_daemon(holder) {
            return locks::in_use(&self.database, holder);
        }
        let waited = words::duration(patience.as_secs_f64());
        Error::new(
            Reason::Locked,
            format!(
                "database {name} is in use by {holder}, which was asked to let go of it and did not within {waited}: \
                 wait until what it does has ended ({status}), or stop the daemon, restore, and start \
                 it again",
                name = self.database,
                status = commands::litekeeper(format_args!("status {}", self.database))
            ),
        )
    }
}
