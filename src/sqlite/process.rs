//! This program once more, in a process of its own, for what the one that has SQLite's connections
//! must not do. It is asked on its input and answers on its output, a line each, and ends when its
//! input does, so that none outlives a process that died. Must never leave one behind.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::commands;

/// No answer is longer: messages are clipped, and names and the schema's text are bounded by the
/// process's memory.
const LONGEST_ANSWER: usize = 256 << 20;

/// The program that runs, and not its path: an upgrade may have replaced that.
pub(super) const THIS_PROGRAM: &str = "/proc/self/exe";

/// What names the configuration of a program that is not told by an argument.
const CONFIGURATION: &str = "LITEKEEPER_CONFIG";

/// A process of ours. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Closed, the process ends.
    questions: Option<ChildStdin>,
    answers: ChildStdout,
    /// What it has said of its next line.
    begun: Vec<u8>,
    to_end: Duration,
}

impl Process {
    /// Starts `program` with `--flag`; its `errors` go there. Told to end, it has `to_end` for that
    /// until it is killed. The name is a flag, and no verb, because a test of ours in the program's
    /// place would take a verb for the name of a test, and run it.
    pub(super) fn start<A: AsRef<OsStr>>(
        program: &Path,
        flag: &str,
        arguments: impl IntoIterator<Item = A>,
        errors: Stdio,
        to_end: Duration,
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg0("litekeeper").arg(format!("--{flag}")).args(arguments).env_clear();
        // What it tells to do is to be done with our configuration.
        command.envs(commands::configuration().map(|path| (CONFIGURATION, path)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn()?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        Ok(Self {
            child,
            questions,
            answers: answers.ok_or(ErrorKind::BrokenPipe)?,
            begun: Vec::new(),
            to_end,
        })
    }

    /// Sends it a line.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        let questions = self.questions.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        questions.write_all(format!("{line}\n").as_bytes())
    }

    /// Its next line; `None` where none has come within `most`, and an error where none will come.
    pub(super) fn hear(&mut self, most: Duration) -> io::Result<Option<String>> {
        let until = Instant::now() + most;
        let mut buffer = [0; 16 << 10];
        loop {
            if !self.has_said(until.saturating_duration_since(Instant::now()))? {
                return Ok(None);
            }
            let read = match self.answers.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => &buffer[..count],
            };
            // It says nothing more until it is asked again.
            let Some(line) = read.strip_suffix(b"\n") else {
                self.begun.extend_from_slice(read);
                if self.begun.len() > LONGEST_ANSWER {
                    return Err(ErrorKind::InvalidData.into());
                }
                continue;
            };
            let mut said = std::mem::take(&mut self.begun);
            said.extend_from_slice(line);
            return String::from_utf8(said).map(Some).map_err(|_| ErrorKind::InvalidData.into());
        }
    }

    /// Whether there is something to read, waited for.
    fn has_said(&self, most: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(most).map_err(|_| ErrorKind::InvalidInput)?;
        let until = Instant::now() + most;
        loop {
            let mut polled = [PollFd::new(&self.answers, PollFlags::IN)];
            match poll(&mut polled, Some(&timeout)) {
                Err(rustix::io::Errno::INTR) if Instant::now() < until => {}
                Err(rustix::io::Errno::INTR) => return Ok(false),
                Err(error) => return Err(error.into()),
                Ok(ready) => return Ok(ready > 0),
            }
        }
    }

    /// Has it end, waits for that, and says how it ended.
    pub(super) fn end(&mut self) -> Option<ExitStatus> {
        drop(self.questions.take());
        let until = Instant::now() + self.to_end;
        loop {
            match self.hear(until.saturating_duration_since(Instant::now())) {
                Ok(Some(_)) => {}
                // Its output ends with it.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Ok(None) | Err(_) => {
                    // It may have ended in this moment.
                    let _ = self.child.kill();
                    break;
                }
            }
        }
        self.child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
