//! Our own code in another process, where the process itself is what matters: its user, its locks,
//! its death. The test binary starts itself again for one `#[ignore]`d test, which plays the part.

use super::lines::Lines;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};

const VARIABLE: &str = "LITEKEEPER_TEST_PART";

/// A process that plays a part. Dropped, it is killed.
pub struct Child {
    process: Process,
    stdin: Option<ChildStdin>,
    lines: Lines,
}

impl Child {
    /// Starts the ignored test `part` with `argument`.
    pub fn start(part: &str, argument: &Path) -> Self {
        Self::start_as(part, argument, &std::env::current_exe().unwrap(), &[])
    }

    /// The same from another copy of the test binary, after `prefix` (`setpriv` and its options,
    /// for example).
    pub fn start_as(part: &str, argument: &Path, binary: &Path, prefix: &[&str]) -> Self {
        let mut words: Vec<PathBuf> = prefix.iter().map(PathBuf::from).collect();
        words.push(binary.to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args([part, "--exact", "--ignored", "--nocapture"]).env(VARIABLE, argument);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = Lines::default();
        lines.read(process.stdout.take().unwrap());
        lines.read(process.stderr.take().unwrap());
        let stdin = process.stdin.take();
        Self { process, stdin, lines }
    }

    /// What follows `> word` in the first line that says so.
    pub fn said(&self, word: &str) -> String {
        let prefix = format!("> {word}");
        self.lines.wait_for(word, 0, |line| line.strip_prefix(&prefix).map(|rest| rest.trim().to_owned()))
    }

    /// Lets it go on past [`wait`], to its end.
    pub fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.process.wait().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only where it ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the child: its argument. `None` where the test was started by hand.
pub fn argument() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// In the child: tells its parent.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub fn say(line: &str) {
    // The test harness may have begun a line of its own.
    println!("\n> {line}");
}

/// In the child: waits for [`Child::end`].
pub fn wait() {
    let _ = std::io::stdin().read_line(&mut String::new());
}
