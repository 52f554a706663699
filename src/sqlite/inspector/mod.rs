//! Checks that evaluate what a schema says (CHECK constraints, generated columns, expressions in
//! indexes), in another process: one expression may take hours in a single function of SQLite's,
//! which nothing interrupts, or gigabytes. That process is ended instead, and its locks and its
//! read of the log end with it (HAZARDS H27). It has no other connection to the file, and so no
//! locks that could be lost (H1). Must never leave one behind.

mod process;
mod question;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use process::answer;
pub use question::FLAG;

use super::checks::{Depth, Found, References};
use super::files::access::Identity;
use super::process::{Process, THIS_PROGRAM};
use crate::error::{Error, Reason, Result};
use crate::terms::progress::Watch;
use question::{Answer, Question, Refusal, Subject};

/// Between two looks at whether to go on.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a process that was told to end may take, before it is killed: to close its connection
/// takes milliseconds.
const TO_END: Duration = Duration::from_secs(1);

/// The program that is started; the one that runs, unless a test harness embeds this library.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Names the litekeeper that is started for checks, where this process is none. Only the first call
/// counts.
pub fn set_program(program: &Path) {
    let _ = PROGRAM.set(program.to_owned());
}

/// One file that is inspected. The process is started with the first question, and again after one
/// that was given up. Dropped, it ends.
#[derive(Debug)]
pub struct Inspector {
    file: Subject,
    process: Option<Process>,
}

impl Inspector {
    /// Of a database that may be in use, which is opened by the same rules as by the pool. Waits
    /// for locks for `busy_timeout`.
    pub fn of_database(path: &Path, identity: Option<Identity>, busy_timeout: Duration) -> Self {
        Self { file: Subject::Live { path: path.to_owned(), identity, busy_timeout }, process: None }
    }

    /// Of a file of our own that nobody changes. Its name is needed only until [`Self::open`] has
    /// returned.
    pub fn of_copy(path: &Path) -> Self {
        Self { file: Subject::Copy { path: elsewhere(path) }, process: None }
    }

    /// Opens the file now.
    pub fn open(&mut self, watch: &dyn Watch) -> Result<()> {
        self.ask(&Question::Open, watch)
    }

    /// [`super::checks::tables`].
    pub fn tables(&mut self, watch: &dyn Watch) -> Result<Vec<String>> {
        self.ask(&Question::Tables, watch)
    }

    /// [`super::checks::integrity`].
    pub fn integrity(&mut self, depth: Depth, table: Option<&str>, watch: &dyn Watch) -> Result<Found> {
        self.ask(&Question::Integrity { depth, table: table.map(str::to_owned) }, watch)
    }

    /// [`super::checks::references`]; `None` where the table has no foreign keys.
    pub fn references(&mut self, table: &str, watch: &dyn Watch) -> Result<Option<References>> {
        self.ask(&Question::References { table: table.to_owned() }, watch)
    }

    /// [`crate::sqlite::look::schema::text`].
    pub fn schema(&mut self, watch: &dyn Watch) -> Result<String> {
        self.ask(&Question::Schema, watch)
    }

    /// The rows of a table.
    pub fn rows(&mut self, table: &str, watch: &dyn Watch) -> Result<u64> {
        self.ask(&Question::Rows { table: table.to_owned() }, watch)
    }

    fn ask<T: DeserializeOwned>(&mut self, question: &Question, watch: &dyn Watch) -> Result<T> {
        watch.go_on()?;
        match self.answer(question, watch) {
            Ok(line) => match serde_json::from_str(&line).map_err(|e| broken(&e))? {
                Answer::Found(value) => Ok(value),
                Answer::Failed(Refusal { reason, message, sqlite, file }) => {
                    Err(Error { reason, message, sqlite, file })
                }
            },
            Err(error) => {
                self.process = None;
                Err(error)
            }
        }
    }

    fn answer(&mut self, question: &Question, watch: &dyn Watch) -> Result<String> {
        let process = match self.process.take() {
            Some(process) => process,
            None => started(&self.file)?,
        };
        let process = self.process.insert(process);
        send(process, question)?;
        loop {
            match process.hear(LOOK_EVERY) {
                Ok(Some(line)) => return Ok(line),
                Ok(None) => watch.go_on()?,
                Err(_) => return Err(ended(process)),
            }
        }
    }
}

fn started(file: &Subject) -> Result<Process> {
    let program = PROGRAM.get().map_or(Path::new(THIS_PROGRAM), PathBuf::as_path);
    let started = Process::start(program, FLAG, [] as [&str; 0], Stdio::inherit(), TO_END);
    let mut process =
        started.map_err(|e| Error::io("cannot start the process that checks the database", &e))?;
    send(&mut process, file)?;
    Ok(process)
}

fn send(process: &mut Process, what: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(what).map_err(|e| broken(&e))?;
    process.say(&line).map_err(|_| ended(process))
}

/// What is said of a process that ended by itself. The file is not to blame by that: it is not
/// checked.
fn ended(process: &mut Process) -> Error {
    let how = match process.end() {
        Some(status) if status.signal() == Some(rustix::process::Signal::KILL.as_raw()) => {
            String::from("was killed, perhaps for the memory that it took")
        }
        Some(status) => format!("ended unexpectedly ({status})"),
        None => String::from("ended unexpectedly"),
    };
    Error::new(Reason::Sqlite, format!("the process that checked it {how}"))
}

/// The path as another process has it: what lies behind our own descriptors lies elsewhere for that
/// one.
fn elsewhere(path: &Path) -> PathBuf {
    match path.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc").join(std::process::id().to_string()).join(rest),
        Err(_) => path.to_owned(),
    }
}

fn broken(cause: &serde_json::Error) -> Error {
    Error::new(
        Reason::Sqlite,
        format!("the process that checks it and this one do not understand each other: {cause}"),
    )
}
