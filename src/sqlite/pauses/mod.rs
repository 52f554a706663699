//! When a commit of ours makes no transaction of the application fail (HAZARDS H35): at the end of
//! one, for as long as the application's pauses last, or when it is not at work. [`watcher`] looks
//! at its locks, in a process of its own; `turns` and `beginnings` learn from what it sees; this is
//! the side that asks.
//!
//! Must never keep a run from going on for lack of an answer: where nothing can be seen (no `-shm`,
//! a process that cannot be started) it says so, and the run goes on as if nobody read.

mod beginnings;
mod process;
mod protocol;
mod turns;
pub mod watcher;

pub use protocol::Locks;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::files::access::{self, Identity};
use super::files::descriptor;
use super::files::paths::{resolved, sidecar};
use super::process::{Process, THIS_PROGRAM};
use crate::error::{Error, Reason, Result};
use protocol::{Answer, Question, micros};

/// The flag of this program under which [`watcher`] runs; nobody is shown it.
pub const FLAG: &str = "watch-locks";

/// What an answer may take beyond the time that was given for it. Then the process hangs, and is
/// ended.
const LATE: Duration = Duration::from_secs(2);

/// The same while writers wait for us.
const LATE_WITH_LOCK: Duration = Duration::from_millis(200);

/// Processes that a run starts; each next one because the one before has ended, or the file was
/// replaced.
const MOST_STARTS: u32 = 20;

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A transaction has just ended; the next one will not begin for so long.
    Pause(Duration),
    /// The application is not at work.
    Quiet,
    /// It cannot be seen.
    Unseen,
    /// There was none; the longest pause that could have been used, if any.
    None(Duration),
}

/// The pauses of one database's application, for one run of ours.
pub struct Pauses {
    database: PathBuf,
    longest: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watch: Option<Watch>,
    starts: u32,
}

/// The process that looks.
struct Watch {
    process: Process,
    path: PathBuf,
    identity: Identity,
}

impl Pauses {
    /// Of the database at this path. Whoever reads for longer than `longest` is not waited for.
    /// Nothing is started yet.
    pub fn new(database: &Path, longest: Duration) -> Self {
        Self { database: database.to_owned(), longest, state: Mutex::default() }
    }

    /// Begins to look, if it has not begun, so that something is known when it is asked for. By a
    /// caller who has read the database, in its present journal mode.
    pub fn watch(&self, locks: Locks) {
        self.state().watching(&self.database, locks, self.longest);
    }

    /// Waits for a moment that will last for `least`, `most` at most. On a thread that may wait.
    pub fn wait(&self, locks: Locks, least: Duration, most: Duration) -> Moment {
        let mut state = self.state();
        let Some(watch) = state.watching(&self.database, locks, self.longest) else { return Moment::Unseen };
        match watch.ask(&Question::Wait { most, least }, most + LATE) {
            Some(Answer::Pause(lasts)) => Moment::Pause(lasts),
            Some(Answer::Quiet) => Moment::Quiet,
            Some(Answer::None(longest)) => Moment::None(longest),
            // It has ended; another one is started by the next question.
            _ => {
                state.watch = None;
                if state.starts < MOST_STARTS { Moment::None(Duration::ZERO) } else { Moment::Unseen }
            }
        }
    }

    /// For looks at who else reads while a transaction on this connection lasts, which has the
    /// write lock.
    pub fn beside<'a>(&'a self, connection: &'a Connection) -> Contention<'a> {
        Contention { pauses: self, log: descriptor::of_log(connection, &self.database) }
    }

    /// The lock that was taken at the moment is let go.
    pub fn over(&self) {
        if let Some(watch) = &mut self.state().watch {
            // One that has ended is seen by the next question.
            let _ = watch.process.say(&Question::Over.to_string());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who read while we write.
pub struct Contention<'a> {
    pauses: &'a Pauses,
    log: Option<BorrowedFd<'a>>,
}

impl Contention<'_> {
    /// Whether who reads can be seen: in WAL mode.
    pub const fn sees_log(&self) -> bool {
        self.log.is_some()
    }

    /// To be asked between the statements of a transaction, and last before its commit: an error
    /// where somebody has begun to read whom the commit would make fail. Only looks in WAL mode;
    /// otherwise SQLite's own COMMIT finds who reads.
    ///
    /// Errors: `busy`.
    pub fn check(&self) -> Result<()> {
        let Some(log) = self.log else { return Ok(()) };
        // What cannot be asked for is not waited for.
        let readers = watcher::others(log).unwrap_or_default();
        if readers.is_empty() {
            return Ok(());
        }
        let mut state = self.pauses.state();
        let Some(watch) = &mut state.watch else { return Ok(()) };
        let answer = watch.ask(&Question::IsFree(readers), LATE_WITH_LOCK);
        if answer.is_none() {
            state.watch = None;
        }
        if answer == Some(Answer::Free) {
            return Ok(());
        }
        Err(Error::new(Reason::Busy, "a transaction of the application has begun meanwhile"))
    }
}

impl fmt::Debug for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pauses").field("database", &self.database).finish_non_exhaustive()
    }
}

impl State {
    /// The process that looks at the file which is there now.
    fn watching(&mut self, database: &Path, locks: Locks, longest: Duration) -> Option<&mut Watch> {
        let path = match locks {
            Locks::Log => sidecar(database, "-shm"),
            Locks::File => resolved(database),
        };
        // None in exclusive locking mode, where nobody else reads.
        let identity = access::identity(&path)?;
        if !self.watch.as_ref().is_some_and(|watch| watch.path == path && watch.identity == identity) {
            self.watch = None;
            if self.starts >= MOST_STARTS {
                return None;
            }
            self.starts += 1;
            match Watch::start(&path, locks, identity, longest) {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => {
                    self.starts = MOST_STARTS;
                    tracing::warn!(
                        "the application's transactions cannot be seen, and are not waited for: {error}"
                    );
                }
            }
        }
        self.watch.as_mut()
    }
}

impl Watch {
    fn start(path: &Path, locks: Locks, identity: Identity, longest: Duration) -> Result<Self> {
        let failed = |e: std::io::Error| Error::io("cannot start a process of litekeeper's own", &e);
        let numbers = [identity.0, identity.1, micros(longest)].map(|number| number.to_string().into());
        let arguments = [locks.as_str().into(), path.as_os_str().to_owned()].into_iter().chain(numbers);
        // Another program in its place, such as one of our tests, knows no such flag, and ends.
        let program = Path::new(THIS_PROGRAM);
        // It would end with its input by itself; killed it is gone at once, for writers may wait
        // for us.
        let started = Process::start(program, FLAG, arguments, Stdio::null(), Duration::ZERO);
        let mut this = Self { process: started.map_err(failed)?, path: path.to_owned(), identity };
        match this.answer(LATE) {
            Some(Answer::Ready) => Ok(this),
            _ => Err(Error::new(Reason::Io, "a process of litekeeper's own does not answer")),
        }
    }

    fn ask(&mut self, question: &Question, most: Duration) -> Option<Answer> {
        self.process.say(&question.to_string()).ok()?;
        self.answer(most)
    }

    fn answer(&mut self, most: Duration) -> Option<Answer> {
        Answer::read(&self.process.hear(most).ok()??)
    }
}
