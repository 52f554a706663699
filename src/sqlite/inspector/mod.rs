//! Checks that evaluate what a schema says (CHECK constraints, generated columns, expressions in
//! indexes), in another process: one expression may take hours in a single function of SQLite's,
//! which nothing interrupts, or gigabytes. That process is ended instead, and its locks and its
//! read of the log end with it (HAZARDS H27). It has no other connection to the file, and so no
//! locks that could be lost (H1). Must never leave one behind.

mod process;
mod question;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use process::answer;
pub use question::VERB;

use super::checks::{Depth, Found, References};
use super::files::access::Identity;
use crate::error::{Error, Reason, Result};
use crate::terms::progress::Watch;
use question::{Answer, Question, Refusal, Subject};

/// Between two looks at whether to go on.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a process that was told to end may take, before it is killed: to close its connection
/// takes milliseconds.
const TO_END: Duration = Duration::from_secs(1);

/// No answer is longer: messages are clipped, and names and the schema's text are bounded by the
/// process's memory.
const LONGEST_ANSWER: u64 = 256 << 20;

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

    /// [`super::schema::text`].
    pub fn schema(&mut self, watch: &dyn Watch) -> Result<String> {
        self.ask(&Question::Schema, watch)
    }

    /// The rows of a table.
    pub fn rows(&mut self, table: &str, watch: &dyn Watch) -> Result<u64> {
        self.ask(&Question::Rows { table: table.to_owned() }, watch)
    }

    fn ask<T: DeserializeOwned>(&mut self, question: &Question, watch: &dyn Watch) -> Result<T> {
        watch.go_on()?;
        let answer = self.process().and_then(|process| process.ask(question, watch));
        match answer {
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

    fn process(&mut self) -> Result<&mut Process> {
        let process = match self.process.take() {
            Some(process) => process,
            None => Process::start(&self.file)?,
        };
        Ok(self.process.insert(process))
    }
}

/// The path as another process has it: what lies behind our own descriptors lies elsewhere for that
/// one.
fn elsewhere(path: &Path) -> PathBuf {
    match path.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc").join(std::process::id().to_string()).join(rest),
        Err(_) => path.to_owned(),
    }
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// Closed, the process ends: also where this one dies.
    questions: Option<ChildStdin>,
    answers: Receiver<std::io::Result<String>>,
}

impl Process {
    fn start(file: &Subject) -> Result<Self> {
        let cannot = |e| Error::io("cannot start the process that checks the database", &e);
        // Not by its path: the program that runs may have been replaced by an upgrade.
        let program = PROGRAM.get().map_or(Path::new("/proc/self/exe"), PathBuf::as_path);
        let mut command = Command::new(program);
        command.arg0("litekeeper").arg(VERB).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(cannot)?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        let mut this = Self { child, questions, answers: read(answers).map_err(cannot)? };
        this.send(file)?;
        Ok(this)
    }

    fn send(&mut self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what).map_err(|e| broken(&e))?;
        line.push(b'\n');
        match self.questions.as_mut().map(|questions| questions.write_all(&line)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.ended()),
        }
    }

    fn ask(&mut self, question: &Question, watch: &dyn Watch) -> Result<String> {
        self.send(question)?;
        loop {
            match self.answers.recv_timeout(LOOK_EVERY) {
                Ok(Ok(line)) => return Ok(line),
                Err(RecvTimeoutError::Timeout) => watch.go_on()?,
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
            }
        }
    }

    /// What is said of a process that ended by itself. The file is not to blame by that: it is not
    /// checked.
    fn ended(&mut self) -> Error {
        let how = match self.end() {
            Some(status) if status.signal() == Some(rustix::process::Signal::KILL.as_raw()) => {
                String::from("was killed, perhaps for the memory that it took")
            }
            Some(status) => format!("ended unexpectedly ({status})"),
            None => String::from("ended unexpectedly"),
        };
        Error::new(Reason::Sqlite, format!("the process that checked it {how}"))
    }

    /// Has it end, and waits for that.
    fn end(&mut self) -> Option<ExitStatus> {
        drop(self.questions.take());
        let since = Instant::now();
        // Its output ends with it.
        while since.elapsed() < TO_END {
            match self.answers.recv_timeout(LOOK_EVERY) {
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
        if since.elapsed() >= TO_END {
            // It may have ended in this moment.
            let _ = self.child.kill();
        }
        self.child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The lines of `output`, on a thread that ends with it.
fn read(output: Option<ChildStdout>) -> std::io::Result<Receiver<std::io::Result<String>>> {
    let (lines, receiver) = sync_channel(1);
    let mut output = BufReader::new(output.ok_or(std::io::ErrorKind::BrokenPipe)?);
    std::thread::Builder::new().name("inspector".into()).spawn(move || {
        loop {
            let mut line = String::new();
            let read = (&mut output).take(LONGEST_ANSWER).read_line(&mut line);
            if matches!(read, Ok(0)) {
                return;
            }
            let is_broken = read.is_err();
            if lines.send(read.map(|_| line)).is_err() || is_broken {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn broken(cause: &serde_json::Error) -> Error {
    Error::new(
        Reason::Sqlite,
        format!("the process that checks it and this one do not understand each other: {cause}"),
    )
}
