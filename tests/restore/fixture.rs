//! A restore by the operator, and what it refuses; a daemon at work, and a restore beside it that
//! is stopped where a test wants it.

use crate::support::application::create_database;
use crate::support::backups::{catalogue, manifests, restored};
use crate::support::daemon::{Daemon, database};
use crate::support::history::{Run, newest, runs, wait_for_run};
use crate::support::process::lines::Lines;
use crate::support::restoring::{IN_PLACE, States, commits, look, moved_on, stderr, traced};
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::{skip, wait_until};
use chrono::{TimeDelta, Utc};
use litekeeper::state::runs::Ending;
use litekeeper::state::{State, runs as history};
use litekeeper::terms::{Cause, JobKind, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Output};

pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("only root can play several users");
    }
    is_root
}

/// Refused as locked, with these words, and nothing changed.
pub(crate) fn assert_refused(sandbox: &Sandbox, code: i32, words: &[&str]) {
    let before = look(sandbox);
    let output = sandbox.litekeeper(&IN_PLACE);
    let said = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    assert_eq!(look(sandbox), before);
}

pub(crate) fn assert_restores(sandbox: &Sandbox) {
    let output = sandbox.litekeeper(&IN_PLACE);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// All that is short, each second, of the database and of another one.
pub(crate) fn busy(sandbox: &Sandbox) -> String {
    let other = sandbox.path().join("other.sqlite");
    if !other.exists() {
        create_database(&other, &[]);
    }
    format!(
        "[daemon]\nparallel_jobs = 4\n[backup]\nschedule = \"* * * * * *\"\ncatch_up = false\nskip_unchanged = false\n\
         [health]\nschedule = \"* * * * * *\"\n[watch]\nschedule = \"* * * * * *\"\n\
         [database.attendance.watch.users]\nsql = \"SELECT count(*) FROM users\"\n\
         [database.other]\npath = \"{}\"\n[database.other.watch.users]\nsql = \"SELECT count(*) FROM users\"\n",
        other.display()
    )
}

/// A database that has moved on since the backup that is restored, the one with this name, which is
/// not rotated away.
pub(crate) fn scene(options: &[&str]) -> (Sandbox, States, String) {
    let (sandbox, states) = moved_on(options);
    let name = manifests(&sandbox)[0]["file"].as_str().unwrap().to_owned();
    assert!(sandbox.litekeeper(&["pin", "attendance", &name]).status.success());
    (sandbox, states, name)
}

pub(crate) fn in_place(backup: &str) -> [&str; 5] {
    ["restore", "attendance", backup, "--in-place", "--accept-unseen"]
}

pub(crate) fn has_open(daemon: &Daemon, path: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid().as_raw_nonzero())).unwrap();
    descriptors.filter_map(Result::ok).any(|fd| fs::read_link(fd.path()).is_ok_and(|file| file == path))
}

pub(crate) fn wait_until_open(daemon: &Daemon, sandbox: &Sandbox) {
    wait_until("the daemon has the database open", || has_open(daemon, &sandbox.database()).then_some(()));
}

/// A busy daemon that has the database open.
pub(crate) fn at_work(sandbox: &Sandbox) -> Daemon {
    let daemon = Daemon::start(&sandbox.configure(&busy(sandbox)));
    wait_until_open(&daemon, sandbox);
    daemon
}

pub(crate) fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// A run of this job that began after all that there are now.
pub(crate) fn wait_for_next(sandbox: &Sandbox, job: &str) -> Run {
    wait_for_run(sandbox, job, newest(sandbox), "success")
}

/// None of the daemon's runs went wrong, and it took no restored file for one that somebody put
/// there.
pub(crate) fn assert_undisturbed(sandbox: &Sandbox, daemon: &Daemon) {
    for job in ["backup", "health", "watch"] {
        for database in ["attendance", "other"] {
            for run in runs(sandbox, database, job) {
                let is_well = matches!(&*run.outcome, "success" | "skipped" | "running");
                assert!(is_well, "{job} of {database}: {run:?}");
            }
        }
    }
    let alarms = ["another file was put", "the database was moved", "ERROR"];
    let log = daemon.log();
    let bad = log.iter().any(|line| alarms.iter().any(|alarm| line.contains(alarm)));
    assert!(!bad, "{}", log.join("\n"));
}

/// The newest backup of the daemon, made after now, is what the application wrote into the restored
/// file just now.
pub(crate) fn assert_backs_up_what_is_there(sandbox: &Sandbox) {
    let now = commits(sandbox, 2);
    // The first one may have begun before those commits.
    wait_for_next(sandbox, "backup");
    wait_for_next(sandbox, "backup");
    let copy = sandbox.path().join("newest.sqlite");
    let newest = catalogue(sandbox).find("latest").unwrap().name;
    restored(sandbox, &newest, &copy).unwrap();
    assert_eq!(assert_sound(&copy), now);
}

/// A restore under strace, stopped or killed by it.
pub(crate) struct Traced {
    pub(crate) child: Child,
    pub(crate) said: Lines,
}

impl Traced {
    /// `at`: what strace does at which call, as in its `inject=`.
    pub(crate) fn start(sandbox: &Sandbox, backup: &str, at: &str) -> Self {
        let calls = at.split(':').next().unwrap();
        let trace = sandbox.path().join("trace");
        let options = ["-e", &format!("trace={calls}"), "-e", &format!("inject={at}")];
        let mut child = traced(sandbox, &trace, &options, &in_place(backup));
        let said = Lines::default();
        said.read(child.stderr.take().unwrap());
        Self { child, said }
    }

    /// Stopped when it has the database and has unpacked the backup, just before it looks who else
    /// has it open.
    pub(crate) fn stopped_before_the_lock(sandbox: &Sandbox, backup: &str) -> Self {
        let this = Self::start(sandbox, backup, "fsync:signal=STOP:when=1");
        this.wait_until_stopped(sandbox);
        this
    }

    pub(crate) fn wait_until_stopped(&self, sandbox: &Sandbox) {
        let trace = sandbox.path().join("trace");
        wait_until("the restore is stopped", || {
            assert!(self.said.is_open(), "it ended: {:?}", self.said.all());
            fs::read_to_string(&trace).unwrap_or_default().contains("stopped by").then_some(())
        });
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its exit code, and what it said.
    pub(crate) fn go_on(mut self) -> (Option<i32>, String) {
        kill_process(self.pid(), Signal::CONT).unwrap();
        let status = self.child.wait().unwrap();
        assert!(self.said.wait_for_end());
        (status.code(), self.said.all().join(" "))
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Fails only where it ended already.
        let _ = self.child.kill();
    }
}

pub(crate) fn status(daemon: &Daemon) -> Option<Value> {
    database(&daemon.status(), "attendance").cloned()
}

/// Has a job that is due once a year been last done two years ago; gives the number of that run.
pub(crate) fn missed(sandbox: &Sandbox, kind: JobKind) -> i64 {
    let then = Utc::now() - TimeDelta::days(730);
    let ending =
        Ending { outcome: Outcome::Success, reason: None, summary: String::new(), detail: Value::Null };
    let state = State::open(&sandbox.state()).unwrap();
    let written = state.now(|c| {
        let id = history::begin(c, "attendance", kind, Cause::Schedule, then)?;
        history::end(c, id, then, &ending).map(|()| id)
    });
    written.unwrap()
}

/// Who has the database instead of the daemon, as the status tells it.
pub(crate) fn handed_over(daemon: &Daemon) -> Option<String> {
    Some(status(daemon)?["handed_over"]["by"].as_str()?.to_owned())
}
