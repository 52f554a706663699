//! The application: `application.py` in a process of its own, with an SQLite library of its own, as
//! the daemon meets it in life. Its commands and what it prints are described at the top of that
//! file.

use super::process::lines::Lines;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// Given to Python as an argument, so that an application of another user need not be able to read
/// our directory.
const PROGRAM: &str = include_str!("application.py");

/// The user and group of a process or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// The user of an application that is not ours; to play him takes root.
pub const APPLICATION: Owner = Owner { uid: 4711, gid: 4711 };

/// Writes a database with the attendance schema; `options` as `application.py create` has them, for
/// example `["--rows", "5000", "--journal-mode", "delete"]`.
pub fn create_database(path: &Path, options: &[&str]) {
    let output = python("create", path, options).output().expect("python3 is needed to play the application");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a program of the test's own on a database, given as `sys.argv[1]`; gives what it prints.
pub fn script(path: &Path, program: &str) -> String {
    let output = Command::new("python3").args(["-I", "-c", program]).arg(path).output();
    let output = output.expect("python3 is needed to play the application");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn python(mode: &str, path: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-I", "-c", PROGRAM, mode]).arg(path).args(options);
    command
}

/// A commit that SQLite acknowledged to the application.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Commit {
    pub seq: u64,
    /// How long the transaction took, its wait for the lock included.
    pub took: Duration,
}

/// What an application saw in its life so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub commits: Vec<Commit>,
    pub errors: Vec<String>,
}

impl Seen {
    /// The highest acknowledged number; 0 for none. As the numbers have no gap, a sound database
    /// that reaches it has every commit. The application takes the next number from the database,
    /// so that one which comes twice is that of a commit which was lost: fails the test.
    pub fn last(&self) -> u64 {
        let twice = self.commits.windows(2).find(|pair| pair[1].seq <= pair[0].seq);
        assert!(twice.is_none(), "a commit was lost: after number {twice:?}");
        self.commits.last().map_or(0, |commit| commit.seq)
    }

    pub fn worst_wait(&self) -> Duration {
        self.commits.iter().map(|commit| commit.took).max().unwrap_or_default()
    }
}

/// A running application. Dropped, it is killed.
pub struct Application {
    child: Child,
    commands: ChildStdin,
    lines: Lines,
}

impl Application {
    /// Starts on a database that exists and returns when it is open.
    pub fn start(path: &Path) -> Self {
        Self::start_with(path, &[], None)
    }

    /// With options of `application.py serve`, as another user (which takes root).
    pub fn start_with(path: &Path, options: &[&str], user: Option<Owner>) -> Self {
        let mut command = python("serve", path, options);
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
        Self::spawn(command)
    }

    /// With a library of the test's own between it and the system.
    pub fn start_preloaded(path: &Path, library: &Path) -> Self {
        let mut command = python("serve", path, &[]);
        command.env("LD_PRELOAD", library);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("python3 is needed to play the application");
        let lines = Lines::default();
        lines.read(child.stdout.take().unwrap());
        lines.read(child.stderr.take().unwrap());
        let commands = child.stdin.take().unwrap();
        let this = Self { child, commands, lines };
        this.lines.wait_for("the application to be ready", 0, |line| (line == "ready").then_some(()));
        this
    }

    /// Gives a command and waits for its answer: what follows `ok`, or the error that follows
    /// `failed`.
    pub fn command(&mut self, command: &str) -> Result<String, String> {
        let mark = self.begin(command);
        self.answer(mark)
    }

    /// Gives a command, and does not wait; what to give [`Self::answer`] for its answer.
    pub fn begin(&mut self, command: &str) -> usize {
        let mark = self.lines.count();
        writeln!(self.commands, "{command}").unwrap();
        mark
    }

    /// Waits for the answer to a command: what follows `ok`, or the error that follows `failed`.
    pub fn answer(&self, mark: usize) -> Result<String, String> {
        self.lines.wait_for("the answer to a command", mark, |line| {
            let (verdict, rest) = line.split_once(' ').unwrap_or((line, ""));
            match verdict {
                "ok" => Some(Ok(rest.to_owned())),
                "failed" => Some(Err(rest.to_owned())),
                _ => None,
            }
        })
    }

    fn must(&mut self, command: &str) -> String {
        self.command(command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Begins to commit, with this pause after each commit.
    pub fn write_every(&mut self, pause: Duration) {
        self.must(&format!("write {}", pause.as_secs_f64() * 1000.0));
    }

    /// Begins to commit as many frameworks do, with this pause after each transaction: it reads,
    /// and writes only when it has thought for a while, with a lock to read from but none to write
    /// all that time.
    pub fn transact_every(&mut self, pause: Duration, thinks: Duration) {
        let [pause, thinks] = [pause, thinks].map(|time| time.as_secs_f64() * 1000.0);
        self.must(&format!("transact {pause} {thinks}"));
    }

    /// Commits no more; gives the number of its last commit.
    pub fn pause(&mut self) -> u64 {
        self.must("pause").parse().unwrap()
    }

    /// Begins to read and to commit by turns, in transactions of their own and without a pause.
    /// Each that reads lasts for `reads`.
    pub fn browse(&mut self, reads: Duration) {
        self.must(&format!("browse {}", reads.as_secs_f64() * 1000.0));
    }

    /// Opens a transaction that reads and keeps its state of the database.
    pub fn hold_read(&mut self) {
        self.must("hold read");
    }

    /// Writes and commits in the transaction that [`Self::hold_read`] began: the number of the
    /// commit, or why SQLite refuses.
    pub fn upgrade(&mut self) -> Result<u64, String> {
        self.command("upgrade").map(|seq| seq.parse().unwrap())
    }

    /// Keeps everybody else from writing.
    pub fn hold_write(&mut self) {
        self.must("hold write");
    }

    /// `BEGIN EXCLUSIVE`: outside WAL mode, keeps everybody else from reading too.
    pub fn hold_exclusive(&mut self) {
        self.must("hold exclusive");
    }

    /// Ends what one of the above began.
    pub fn release(&mut self) {
        self.must("release");
    }

    /// Runs a statement by itself; its first row as a JSON array, `null` for none.
    pub fn sql(&mut self, sql: &str) -> serde_json::Value {
        serde_json::from_str(&self.must(&format!("sql {sql}"))).unwrap()
    }

    /// Waits until so many more commits were acknowledged; gives the number of the last of them.
    pub fn wait_for_commits(&self, more: usize) -> u64 {
        let mut left = more;
        self.lines.wait_for(&format!("{more} commits"), self.lines.count(), |line| {
            let commit = commit(line)?;
            left -= 1;
            (left == 0).then_some(commit.seq)
        })
    }

    /// Waits for one of the lines that a library of the test's own prints; gives it.
    pub fn wait_for_one_of(&self, lines: &[&str], from: usize) -> String {
        self.lines
            .wait_for(&format!("{lines:?}"), from, |line| lines.contains(&line).then(|| line.to_owned()))
    }

    /// Waits for a write that fails from now on; gives its error.
    pub fn wait_for_error(&self) -> String {
        let mark = self.lines.count();
        self.lines.wait_for("an error", mark, |line| line.strip_prefix("error ").map(str::to_owned))
    }

    /// What it saw so far.
    pub fn seen(&self) -> Seen {
        let lines = self.lines.all();
        Seen {
            commits: lines.iter().filter_map(|line| commit(line)).collect(),
            errors: lines.iter().filter_map(|line| line.strip_prefix("error ")).map(str::to_owned).collect(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGSTOP and SIGCONT, for example.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as a well-behaved program ends.
    pub fn stop(mut self) -> Seen {
        self.must("quit");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the application ended with {status}: {:?}", self.lines.all());
        self.seen()
    }

    /// Ends it as a crash does; gives all that was acknowledged before.
    pub fn kill(mut self) -> Seen {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        assert!(self.lines.wait_for_end());
        self.seen()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // Fails only where it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `committed SEQ MILLISECONDS`; a line that a kill cut off is none.
fn commit(line: &str) -> Option<Commit> {
    let (seq, took) = line.strip_prefix("committed ")?.split_once(' ')?;
    let took = Duration::from_secs_f64(took.parse::<f64>().ok()? / 1000.0);
    Some(Commit { seq: seq.parse().ok()?, took })
}
