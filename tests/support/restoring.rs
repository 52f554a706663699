//! A database with a backup of an earlier state, to be restored in place; what is there before and
//! after, and a restore that is stopped or killed at a system call of our choice.

use super::application::{Application, Owner};
use super::sandbox::{Sandbox, program};
use super::soundness::assert_sound;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Wherever the tests run, in a container or not as root: what they are about can be seen there.
pub const IN_PLACE: [&str; 4] = ["restore", "attendance", "--in-place", "--accept-unseen"];
/// Only where all processes can be seen.
pub const ALL_SEEN: [&str; 3] = ["restore", "attendance", "--in-place"];

/// The last commit in the newest backup, and the last one in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States {
    pub backup: u64,
    pub now: u64,
}

/// A database made with `options`, backed up, and written to since by an application that ended
/// well.
pub fn moved_on(options: &[&str]) -> (Sandbox, States) {
    let sandbox = Sandbox::with_database(options);
    sandbox.configure("");
    let backup = commits(&sandbox, 3);
    backed_up(&sandbox);
    let now = commits(&sandbox, 4);
    assert!(now > backup && backup > 0);
    (sandbox, States { backup, now })
}

/// The same, but the application was killed: its last commits are in the `-wal` alone.
pub fn killed_in_wal_mode() -> (Sandbox, States) {
    let (sandbox, mut states) = moved_on(&[]);
    let mut application = Application::start(&sandbox.database());
    application.write_every(Duration::from_millis(1));
    application.wait_for_commits(5);
    states.now = application.kill().last();
    assert!(fs::metadata(beside(&sandbox.database(), "-wal")).unwrap().len() > 0);
    (sandbox, states)
}

/// The same in rollback mode: a transaction was half written to the file, and is undone from the
/// `-journal` alone.
pub fn killed_in_rollback_mode() -> (Sandbox, States) {
    let (sandbox, states) = moved_on(&["--journal-mode", "delete"]);
    let program = "
import os, signal, sqlite3, sys
if os.fork() == 0:
    c = sqlite3.connect(sys.argv[1], isolation_level=None)
    c.execute('PRAGMA cache_size = 1')
    c.execute('BEGIN IMMEDIATE')
    c.execute(\"UPDATE attendance SET time_in = 'half written', source = NULL\")
    c.execute(\"UPDATE face_samples SET embedding = 'half written'\")
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
";
    super::application::script(&sandbox.database(), program);
    assert!(fs::metadata(beside(&sandbox.database(), "-journal")).unwrap().len() > 0);
    (sandbox, states)
}

/// Commits by an application that ends well; gives the number of the last.
pub fn commits(sandbox: &Sandbox, count: usize) -> u64 {
    commits_as(sandbox, count, None)
}

pub fn commits_as(sandbox: &Sandbox, count: usize, user: Option<Owner>) -> u64 {
    let mut application = Application::start_with(&sandbox.database(), &[], user);
    application.write_every(Duration::from_millis(1));
    application.wait_for_commits(count);
    let last = application.pause();
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    last
}

pub fn backed_up(sandbox: &Sandbox) {
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command that must end with `code`; gives what it prints as JSON.
pub fn json(sandbox: &Sandbox, code: i32, args: &[&str]) -> Value {
    let output = sandbox.litekeeper(&[&["--json"], args].concat());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Names, inodes, sizes, owners and modes of everything beside the database, itself included.
pub fn look(sandbox: &Sandbox) -> BTreeSet<String> {
    let entries = fs::read_dir(sandbox.data()).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let file = entry.metadata().unwrap();
            let name = entry.file_name().into_string().unwrap();
            format!("{name} {} {} {} {:o} {}", file.ino(), file.len(), file.uid(), file.mode(), file.nlink())
        })
        .collect()
}

/// The old databases that are kept, without the files beside them.
pub fn kept(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.data()).unwrap().map(|entry| entry.unwrap().path());
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.contains(".before-restore-") && name.ends_with('Z')
    };
    let mut kept: Vec<_> = entries.filter(is_one).collect();
    kept.sort();
    kept
}

/// Hidden files that a restore which was killed leaves.
pub fn unfinished(sandbox: &Sandbox) -> Vec<String> {
    let names =
        fs::read_dir(sandbox.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

/// The database is the backup's state, and the one old set is all that there was.
pub fn assert_restored(sandbox: &Sandbox, states: States) {
    assert_eq!(assert_sound(&sandbox.database()), states.backup);
    let kept = kept(sandbox);
    assert_eq!(kept.len(), 1, "{:?}", look(sandbox));
    assert_eq!(assert_sound(&kept[0]), states.now);
    assert_eq!(unfinished(sandbox), Vec::<String>::new());
}

/// Whether strace is there and may trace.
pub fn can_trace() -> bool {
    Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
}

/// The command under strace, as our own child, with these options of strace's; it writes to
/// `trace`.
pub fn traced(sandbox: &Sandbox, trace: &Path, options: &[&str], args: &[&str]) -> Child {
    let litekeeper = program();
    let mut strace = Command::new("strace");
    // -D: the command itself is our child.
    strace.args(["-D", "-f", "-qq"]).args(options).arg("-o").arg(trace);
    strace.arg(litekeeper.get_program()).arg("--config").arg(sandbox.configuration()).args(args);
    for (name, value) in litekeeper.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}
