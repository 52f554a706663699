//! A database handed over by the daemon to a restore in place in another process, and back. Each
//! side shows what it does by locks, which are gone with its process, so that none waits for one
//! that is dead. Two files per database, and one for all:
//!
//! - `NAME.lock`: one run at a time, as ever. The restore counts as one.
//! - `NAME.wanted`: held by a restore that wants the database. The daemon only looks at it, every
//!   now and then.
//! - `open`: a byte of it for each database ([`super::ranges`]), held by whoever may open the
//!   database, the daemon or the restore. The daemon lets go of it when it has closed its last
//!   connection, and opens none until it has it again.
//!
//! Says nothing of other processes, which ask nobody: who has the file open must still be looked
//! for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::State;
use super::locks::{self, Lock, RUN, WANTED};
use super::ranges::{ByteLock, Bytes};
use crate::error::{Error, Reason, Result};
use crate::words;

/// Who has a database's byte, when it cannot be told.
const SOMEBODY: &str = "another run";

/// Between two tries of a restore.
const TRY_EVERY: Duration = Duration::from_millis(50);

impl State {
    /// Who wants the database for himself; `None`: nobody.
    pub fn wanted(&self, database: &str) -> Result<Option<String>> {
        locks::holder(self.directory(), database, WANTED)
    }

    /// Gives the daemon leave to open the database, for as long as the lock lives; or says who has
    /// it.
    ///
    /// Not for a second one of this process while there is a first.
    pub fn lock_open(&self, database: &str) -> Result<std::result::Result<ByteLock, String>> {
        if let Some(by) = self.wanted(database)? {
            return Ok(Err(by));
        }
        let bytes = match self.open.get() {
            Some(bytes) => bytes,
            None => {
                let opened = locks::open_file(self.directory())?;
                self.open.get_or_init(|| opened)
            }
        };
        take_byte(bytes, database).map(|lock| lock.ok_or_else(|| SOMEBODY.to_owned()))
    }
}

fn take_byte(bytes: &Bytes, database: &str) -> Result<Option<ByteLock>> {
    bytes.take(database).map_err(|e| Error::io(format!("cannot lock the place of {database}"), &e))
}

/// The daemon that works with this state.
fn daemon_of(directory: &Path) -> Result<Option<u32>> {
    let words = locks::of_daemon(directory)?;
    Ok(words.and_then(|words| words.lines().next()?.strip_prefix("process ")?.parse().ok()))
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
    open: Option<ByteLock>,
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
        let has_it = locks::open_file(directory)?
            .is_held(database)
            .map_err(|e| Error::io(format!("cannot look who has {database} open"), &e))?;
        this.daemon = if has_it { daemon_of(directory)? } else { None };
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
        let Some(directory) = &self.directory else { return Ok(()) };
        let bytes = locks::open_file(directory)?;
        let until = Instant::now() + patience;
        let mut wait = |holder: &str| {
            if Instant::now() >= until {
                return Err(self.too_late(holder, patience));
            }
            waiting(holder)?;
            std::thread::sleep(TRY_EVERY);
            Ok(())
        };
        let mut take = |ending| -> Result<Option<Lock>> {
            loop {
                match self.take(ending)? {
                    Ok(lock) => return Ok(Some(lock)),
                    Err(holder) => wait(&holder)?,
                }
            }
        };
        let wanted = take(WANTED)?;
        let run = if self.run.is_none() { take(RUN)? } else { None };
        let open = loop {
            if let Some(lock) = take_byte(&bytes, &self.database)? {
                break Some(lock);
            }
            match self.daemon {
                Some(process) => wait(&format!("the daemon (process {process})"))?,
                None => wait(SOMEBODY)?,
            }
        };
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
                 wait until what it does has ended (litekeeper status {name}), or stop the daemon, restore, and start \
                 it again",
                name = self.database
            ),
        )
    }
}
