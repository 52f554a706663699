//! Commits of ours beside a checkpoint of the application, whose SQLite is older than 3.51.3: one
//! that has read the index of a write-ahead log which is in the file as a whole, and then finds
//! that log begun anew, copies by what it has read (HAZARDS H29). A library stops the application
//! at that place, where otherwise a busy machine might.

use crate::support::application::{Application, script};
use crate::support::process::lines::Lines;
use crate::support::sandbox::{Sandbox, program};
use crate::support::soundness::check;
use crate::support::{skip, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// Before the lock for checkpoints is given back SQLite calls munmap once, in memory-mapped mode,
/// if others have committed since the connection last looked: after it has read the index's header,
/// and before it compares with it. There it stops the process, where all of the log is in the file;
/// and says afterwards whether the log is another one. Of the index: `[4]` frames, `[8]` salt,
/// `[24]` frames that are in the file.
const STOP: &str = r#"
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
enum { CHECKPOINT = 121 };
static int index_file = -1;
static int locked(const char *name, int fd, int command, struct flock *lock) {
    int failed = ((int (*)(int, int, ...))dlsym(RTLD_NEXT, name))(fd, command, lock);
    if (command == F_SETLK && lock->l_start == CHECKPOINT && lock->l_len == 1)
        index_file = lock->l_type == F_WRLCK && !failed ? fd : -1;
    return failed;
}
#define WRAP(name) int name(int fd, int command, ...) { \
    va_list rest; va_start(rest, command); void *lock = va_arg(rest, void *); va_end(rest); \
    return locked(#name, fd, command, lock); }
WRAP(fcntl)
WRAP(fcntl64)
static void say(const char *line) { if (write(1, line, strlen(line)) < 0) _exit(1); }
int munmap(void *address, size_t length) {
    unsigned was[25], is[25];
    if (index_file >= 0 && pread(index_file, was, sizeof was, 0) == sizeof was && was[4] && was[24] == was[4]) {
        say("held up\n");
        raise(SIGSTOP);
        if (pread(index_file, is, sizeof is, 0) != sizeof is) _exit(1);
        say(is[8] == was[8] ? "the same log\n" : "another log\n");
    }
    return ((int (*)(void *, size_t))dlsym(RTLD_NEXT, "munmap"))(address, length);
}
"#;

/// Whether the application's SQLite has the fault; otherwise the test is skipped.
fn is_older(sandbox: &Sandbox) -> bool {
    let version = script(&sandbox.database(), "import sqlite3; print(sqlite3.sqlite_version)");
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    let is_older =
        numbers[..] < [3, 51, 3][..] && ![[3, 50, 7], [3, 44, 6]].contains(&numbers[..].try_into().unwrap());
    if !is_older {
        skip(&format!("Python's SQLite is {version}, in which a checkpoint is right"));
    }
    is_older
}

/// Two processes of the application: one that writes, and one that makes a checkpoint and is
/// stopped within it.
struct Beside {
    writer: Application,
    checkpointer: Application,
    /// Of the command that is not finished.
    asked: usize,
}

impl Beside {
    /// `before` are the application's own statements.
    fn start(sandbox: &Sandbox, before: &[&str]) -> Self {
        let mut writer = Application::start(&sandbox.database());
        writer.sql("PRAGMA wal_autocheckpoint = 0");
        for sql in before {
            writer.sql(sql);
        }
        let mut checkpointer = Application::start_preloaded(&sandbox.database(), &library(sandbox.path()));
        checkpointer.sql("PRAGMA mmap_size = 268435456");
        let mut this = Self { writer, checkpointer, asked: 0 };
        this.hold_up();
        this
    }

    /// A log of some hundred frames that are all in the file, and the other process just before it
    /// would find that out.
    fn hold_up(&mut self) {
        self.checkpointer.sql("SELECT count(*) FROM attendance");
        self.writer.write_every(Duration::ZERO);
        self.writer.wait_for_commits(100);
        self.writer.pause();
        assert_eq!(self.writer.sql("PRAGMA wal_checkpoint(PASSIVE)")[0], 0);
        self.asked = self.checkpointer.begin("sql PRAGMA wal_checkpoint(PASSIVE)");
        self.checkpointer.wait_for_one_of(&["held up"], self.asked);
    }

    /// Lets it go on; whether it finds the log that it has looked at.
    fn go_on(&mut self) -> bool {
        self.checkpointer.signal(Signal::CONT);
        let found = self.checkpointer.wait_for_one_of(&["the same log", "another log"], self.asked);
        self.checkpointer.answer(self.asked).unwrap();
        found == "the same log"
    }

    /// Commits on and ends; what is wrong with the database then, if anything.
    fn end(mut self, sandbox: &Sandbox) -> Result<(), String> {
        self.writer.command("sql UPDATE ledger SET balance = balance")?;
        self.writer.write_every(Duration::ZERO);
        self.writer.wait_for_commits(20);
        self.writer.pause();
        self.checkpointer.stop();
        let seen = self.writer.stop();
        assert_eq!(seen.errors, Vec::<String>::new());
        let acknowledged = seen.commits.last().unwrap().seq;
        match check(&sandbox.database())? {
            last if last == acknowledged => Ok(()),
            last => Err(format!("{last} commits are there of {acknowledged}")),
        }
    }
}

fn library(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("stop.c"), dir.join("stop.so"));
    fs::write(&source, STOP).unwrap();
    let mut compiler = Command::new("gcc");
    compiler
        .args(["-D_GNU_SOURCE", "-O", "-Wall", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl");
    assert!(compiler.status().expect("gcc is needed to stop the application").success());
    library
}

/// `litekeeper ARGS`, that says when it waits.
struct Ours {
    child: std::process::Child,
    lines: Lines,
}

impl Ours {
    fn start(sandbox: &Sandbox, args: &[&str]) -> Self {
        let mut command = program();
        command.arg("--config").arg(sandbox.configuration()).args(["--log-level", "debug"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Lines::default();
        lines.read(child.stdout.take().unwrap());
        lines.read(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// Until it finds a checkpoint in its way, or ends without having found one; whether it has.
    fn waits(&self) -> bool {
        let waits = |line: &String| line.contains("waits until a checkpoint");
        wait_until("litekeeper waits or ends", || {
            let found = self.lines.all().iter().any(waits);
            (found || !self.lines.is_open()).then_some(found)
        })
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// How it ended, and all that it printed.
    fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        assert!(self.lines.wait_for_end());
        (status, self.lines.all().join("\n"))
    }
}

/// Stands for a path to a new file.
const NEW: &str = "NEW";

/// Waits for no pause of the application's: in none a checkpoint is under way, but where we do not
/// see it in time, and then the lock alone keeps us off.
const AT_ONCE: &str = "[pool]\npause_timeout = '0s'\n";

const NOTHING: &str = "[maintain]\nvacuum = 'never'\nanalyze = 'never'\nreindex = 'never'\n";

const INDEX: &str = "[[database.attendance.index]]\nname = 'idx_new'\ntable = 'attendance'\n\
                     columns = ['time_in']\nmissing = 'create'\n";

/// Old rows of some MiB, and gone again: free pages.
const FILL: [&str; 2] = [
    "INSERT INTO face_samples SELECT NULL, 1, randomblob(3000), 'x' FROM attendance a, (VALUES (1), (2), (3), (4))",
    "DELETE FROM face_samples WHERE captured_at = 'x'",
];

/// Runs `litekeeper ARGS` while the application is stopped within a checkpoint, and lets it go on
/// when we wait for it. The run must then do its work: `done` has a value of 1 in the database.
fn runs_beside_a_checkpoint(options: &[&str], before: &[&str], more: &str, args: &[&str], done: &str) {
    let sandbox = Sandbox::with_database(options);
    if !is_older(&sandbox) {
        return;
    }
    sandbox.configure(&format!("{AT_ONCE}{more}"));
    let mut beside = Beside::start(&sandbox, before);
    let new = sandbox.path().join("new.sqlite").display().to_string();
    let args: Vec<&str> = args.iter().map(|arg| if *arg == NEW { &new } else { *arg }).collect();
    let ours = Ours::start(&sandbox, &args);
    let waits = ours.waits();
    let same = beside.go_on();
    let (status, said) = ours.end();
    let is_done = beside.writer.command(&format!("sql {done}"));
    let wrong = beside.end(&sandbox);
    assert!(
        same && wrong == Ok(()),
        "a commit of ours began the log anew beneath a checkpoint: {wrong:?}\n{said}"
    );
    assert!(waits && status.success(), "{waits} {status}\n{said}");
    assert_eq!(is_done.as_deref(), Ok("[1]"), "{said}");
}

#[test]
fn h29_cleanup_begins_no_log_anew_beside_a_checkpoint() {
    let rule = "[[database.attendance.cleanup.rule]]\ntable = 'attendance'\ncolumn = 'date'\nkeep = '730d'\n";
    let done = "SELECT count(*) BETWEEN 600 AND 700 FROM attendance WHERE source IS NULL";
    runs_beside_a_checkpoint(&[], &[], rule, &["cleanup", "attendance"], done);
}

#[test]
fn h29_incremental_vacuum_begins_no_log_anew_beside_a_checkpoint() {
    let slices = NOTHING.replace("vacuum = 'never'", "vacuum = 'incremental'");
    let options = ["--auto-vacuum", "incremental"];
    let done = "SELECT freelist_count = 0 FROM pragma_freelist_count";
    runs_beside_a_checkpoint(&options, &FILL, &slices, &["maintain", "attendance"], done);
}

#[test]
fn h29_vacuum_begins_no_log_anew_beside_a_checkpoint() {
    let always = NOTHING.replace("vacuum = 'never'", "vacuum = 'always'");
    let done = "SELECT freelist_count = 0 FROM pragma_freelist_count";
    runs_beside_a_checkpoint(&[], &FILL, &always, &["maintain", "attendance"], done);
}

#[test]
fn h29_a_compact_copy_begins_no_log_anew_beside_a_checkpoint() {
    let auto = NOTHING.replace("vacuum = 'never'", "vacuum = 'auto'\nvacuum_min_size = '1MiB'");
    let done = "SELECT freelist_count = 0 FROM pragma_freelist_count";
    runs_beside_a_checkpoint(&[], &FILL, &auto, &["maintain", "attendance"], done);
}

#[test]
fn h29_analyze_begins_no_log_anew_beside_a_checkpoint() {
    for policy in ["auto", "always"] {
        let analyze = NOTHING.replace("analyze = 'never'", &format!("analyze = '{policy}'"));
        let done = "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'sqlite_stat1'";
        runs_beside_a_checkpoint(&[], &[], &analyze, &["maintain", "attendance"], done);
    }
}

#[test]
fn h29_reindex_begins_no_log_anew_beside_a_checkpoint() {
    let reindex = NOTHING.replace("reindex = 'never'", "reindex = 'always'");
    runs_beside_a_checkpoint(&[], &[], &reindex, &["maintain", "attendance"], "SELECT 1");
}

#[test]
fn h29_a_missing_index_is_created_without_beginning_a_log_anew_beside_a_checkpoint() {
    let done = "SELECT count(*) FROM sqlite_schema WHERE name = 'idx_new'";
    runs_beside_a_checkpoint(&[], &[], &format!("{NOTHING}{INDEX}"), &["maintain", "attendance"], done);
}

/// Rows that came while an index was out of the schema are missing from it.
#[test]
fn h29_recover_rebuilds_an_index_without_beginning_a_log_anew_beside_a_checkpoint() {
    let before = [
        "CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'idx_users_name'",
        "PRAGMA writable_schema = ON",
        "DELETE FROM sqlite_schema WHERE name = 'idx_users_name'",
        "PRAGMA writable_schema = RESET",
        "INSERT INTO users VALUES (1000, 'x', 'y', 'z')",
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_schema SELECT * FROM kept",
        "PRAGMA writable_schema = RESET",
    ];
    let done = "SELECT count(*) FROM users INDEXED BY idx_users_name WHERE name = 'x'";
    runs_beside_a_checkpoint(&[], &before, "", &["recover", "attendance", "--to", NEW], done);
}

#[test]
fn h29_a_checkpoint_that_does_not_end_is_an_error_that_says_so_and_the_next_run_does_the_work() {
    let sandbox = Sandbox::new();
    if !is_older(&sandbox) {
        return;
    }
    sandbox.configure(&format!("{AT_ONCE}{NOTHING}{INDEX}"));
    let mut beside = Beside::start(&sandbox, &[]);
    let (status, said) = Ours::start(&sandbox, &["maintain", "attendance"]).end();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("CREATE INDEX idx_new: somebody has been making a checkpoint for 4 s"), "{said}");
    assert!(beside.go_on(), "{said}");
    let (status, said) = Ours::start(&sandbox, &["maintain", "attendance"]).end();
    assert!(status.success(), "{said}");
    assert_eq!(beside.end(&sandbox), Ok(()));
}

#[test]
fn h29_a_run_that_waits_for_a_checkpoint_ends_when_it_is_told_to() {
    let sandbox = Sandbox::new();
    if !is_older(&sandbox) {
        return;
    }
    let rule = "[[database.attendance.cleanup.rule]]\ntable = 'attendance'\ncolumn = 'date'\nkeep = '730d'\n";
    sandbox.configure(&format!("{AT_ONCE}{rule}"));
    let mut beside = Beside::start(&sandbox, &[]);
    let ours = Ours::start(&sandbox, &["cleanup", "attendance"]);
    assert!(ours.waits());
    ours.interrupt();
    let (status, said) = ours.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("stopped before it was finished"), "{said}");
    assert!(beside.go_on(), "{said}");
    assert_eq!(beside.end(&sandbox), Ok(()));
}
