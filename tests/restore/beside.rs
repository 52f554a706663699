//! `restore --in-place` beside the running daemon: it lets go of the database, opens it at no moment of the restore, and
//! goes on with whichever file is there afterwards, however the restore ended.

use crate::support::application::{Application, Owner, create_database};
use crate::support::backups::{catalogue, manifests, restored};
use crate::support::daemon::Daemon;
use crate::support::history::{Run, newest, runs, wait_for_run};
use crate::support::process::lines::Lines;
use crate::support::restoring::{
    IN_PLACE, States, assert_restored, can_trace, commits, json, kept, moved_on, stderr, traced, unfinished,
};
use crate::support::sandbox::{Sandbox, copy_for_all, program};
use crate::support::soundness::assert_sound;
use crate::support::{PATIENCE, skip, wait_until};
use chrono::{TimeDelta, Utc};
use litekeeper::config::JobKind;
use litekeeper::error::Reason;
use litekeeper::state::State;
use litekeeper::state::handover::Handover;
use litekeeper::state::runs::{self as history, Cause, Ending, Outcome};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// All that is short, each second, of the database and of another one.
fn busy(sandbox: &Sandbox) -> String {
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

/// A database that has moved on since the backup that is restored, the one with this name, which is not rotated away.
fn scene(options: &[&str]) -> (Sandbox, States, String) {
    let (sandbox, states) = moved_on(options);
    let name = manifests(&sandbox)[0]["file"].as_str().unwrap().to_owned();
    assert!(sandbox.litekeeper(&["pin", "attendance", &name]).status.success());
    (sandbox, states, name)
}

fn in_place(backup: &str) -> [&str; 5] {
    ["restore", "attendance", backup, "--in-place", "--accept-unseen"]
}

fn has_open(daemon: &Daemon, path: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid().as_raw_nonzero())).unwrap();
    descriptors.filter_map(Result::ok).any(|fd| fs::read_link(fd.path()).is_ok_and(|file| file == path))
}

fn wait_until_open(daemon: &Daemon, sandbox: &Sandbox) {
    wait_until("the daemon has the database open", || has_open(daemon, &sandbox.database()).then_some(()));
}

/// A busy daemon that has the database open.
fn at_work(sandbox: &Sandbox) -> Daemon {
    let daemon = Daemon::start(&sandbox.configure(&busy(sandbox)));
    wait_until_open(&daemon, sandbox);
    daemon
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

/// A run of this job that began after all that there are now.
fn wait_for_next(sandbox: &Sandbox, job: &str) -> Run {
    wait_for_run(sandbox, job, newest(sandbox), "success")
}

/// None of the daemon's runs went wrong, and it took no restored file for one that somebody put there.
fn assert_undisturbed(sandbox: &Sandbox, daemon: &Daemon) {
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

/// The newest backup of the daemon, made after now, is what the application wrote into the restored file just now.
fn assert_backs_up_what_is_there(sandbox: &Sandbox) {
    let now = commits(sandbox, 2);
    // The first one may have begun before those commits.
    wait_for_next(sandbox, "backup");
    wait_for_next(sandbox, "backup");
    let copy = sandbox.path().join("newest.sqlite");
    let newest = catalogue(sandbox).find("latest").unwrap().name;
    restored(sandbox, &newest, &copy).unwrap();
    assert_eq!(assert_sound(&copy), now);
}

/// Restores as often as this, each time while the daemon has the database open.
fn again_and_again(times: usize, journal_mode: &str) {
    let (sandbox, states, backup) = scene(&["--journal-mode", journal_mode]);
    let daemon = Daemon::start(&sandbox.configure(&busy(&sandbox)));
    for n in 1..=times {
        wait_until_open(&daemon, &sandbox);
        assert_done(&sandbox.litekeeper(&in_place(&backup)));
        assert_eq!(assert_sound(&sandbox.database()), states.backup);
        assert_eq!(kept(&sandbox).len(), n);
    }
    assert_backs_up_what_is_there(&sandbox);
    assert_undisturbed(&sandbox, &daemon);
    assert_eq!(assert_sound(&kept(&sandbox)[0]), states.now);
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
    assert!(daemon.stop().success());
}

#[test]
fn twenty_restores_in_wal_mode_go_through_beside_a_busy_daemon_which_backs_up_the_last_one() {
    again_and_again(20, "wal");
}

#[test]
fn restores_in_rollback_mode_go_through_beside_a_busy_daemon_which_backs_up_the_last_one() {
    again_and_again(5, "delete");
}

/// A restore under strace, stopped or killed by it.
struct Traced {
    child: Child,
    said: Lines,
}

impl Traced {
    /// `at`: what strace does at which call, as in its `inject=`.
    fn start(sandbox: &Sandbox, backup: &str, at: &str) -> Self {
        let calls = at.split(':').next().unwrap();
        let trace = sandbox.path().join("trace");
        let options = ["-e", &format!("trace={calls}"), "-e", &format!("inject={at}")];
        let mut child = traced(sandbox, &trace, &options, &in_place(backup));
        let said = Lines::default();
        said.read(child.stderr.take().unwrap());
        Self { child, said }
    }

    /// Stopped when it has the database and has unpacked the backup, just before it looks who else has it open.
    fn stopped_before_the_lock(sandbox: &Sandbox, backup: &str) -> Self {
        let this = Self::start(sandbox, backup, "fsync:signal=STOP:when=1");
        this.wait_until_stopped(sandbox);
        this
    }

    fn wait_until_stopped(&self, sandbox: &Sandbox) {
        let trace = sandbox.path().join("trace");
        wait_until("the restore is stopped", || {
            assert!(self.said.is_open(), "it ended: {:?}", self.said.all());
            fs::read_to_string(&trace).unwrap_or_default().contains("stopped by").then_some(())
        });
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its exit code, and what it said.
    fn go_on(mut self) -> (Option<i32>, String) {
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

fn status(daemon: &Daemon) -> Option<Value> {
    let all: Value = serde_json::from_str(&daemon.get("/api/status").ok()?.body).unwrap();
    all["databases"].as_array()?.iter().find(|database| database["name"] == "attendance").cloned()
}

/// Has a job that is due once a year been last done two years ago; gives the number of that run.
fn missed(sandbox: &Sandbox, kind: JobKind) -> i64 {
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
fn handed_over(daemon: &Daemon) -> Option<String> {
    Some(status(daemon)?["handed_over"]["by"].as_str()?.to_owned())
}

#[test]
fn while_a_restore_has_a_database_its_jobs_wait_the_status_says_why_and_other_databases_go_on() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let (sandbox, states, backup) = scene(&[]);
    let daemon = at_work(&sandbox);
    let restore = Traced::stopped_before_the_lock(&sandbox, &backup);
    let before = newest(&sandbox);
    let others = runs(&sandbox, "other", "watch").len();
    let by = wait_until("the status tells it", || handed_over(&daemon));
    assert_eq!(by, format!("restore (process {})", restore.pid().as_raw_nonzero()));
    for job in ["backup", "health", "watch"] {
        daemon.wait_for_log("a job to come due", |line| {
            line.contains("it runs afterwards")
                && line.contains(&format!("job={job} "))
                && line.contains("attendance")
        });
    }
    wait_until("the other database is watched", || {
        (runs(&sandbox, "other", "watch").len() >= others + 3).then_some(())
    });
    wait_until("the status tells what waits", || {
        let shown = status(&daemon)?;
        shown["jobs"]
            .as_array()?
            .iter()
            .find(|job| job["kind"] == "backup" && job["queued"] == true)
            .map(|_| ())
    });
    assert!(!has_open(&daemon, &sandbox.database()));
    assert_eq!(newest(&sandbox), before, "a run began beside the restore");
    // A second restore is not kept waiting for the first.
    let second = sandbox.litekeeper(&in_place(&backup));
    assert_eq!(second.status.code(), Some(11), "{}", stderr(&second));
    assert!(stderr(&second).contains("in use by restore (process"), "{}", stderr(&second));
    assert!(!stderr(&second).contains("waiting"), "{}", stderr(&second));
    let said = format!("{by} replaces the database");
    assert!(daemon.get("/").unwrap().body.contains(&said));
    // The command asks the address in the file, which had port 0.
    let listen = format!("[daemon]\nlisten = \"{}\"", daemon.address());
    sandbox.configure(&busy(&sandbox).replace("[daemon]", &listen));
    let shown = String::from_utf8(sandbox.litekeeper(&["status"]).stdout).unwrap();
    assert!(shown.split_whitespace().collect::<Vec<_>>().join(" ").contains(&said), "{shown}");

    assert_eq!(restore.go_on().0, Some(0));
    assert_restored(&sandbox, states);
    // What came due meanwhile was neither skipped nor lost.
    for job in ["backup", "health", "watch"] {
        let run = wait_for_run(&sandbox, job, before, "success");
        assert!(!runs(&sandbox, "attendance", job).iter().any(|r| r.id > before && r.id < run.id));
    }
    assert_eq!(
        wait_until("the status is as before", || Some(handed_over(&daemon)).filter(Option::is_none)),
        None
    );
    assert_backs_up_what_is_there(&sandbox);
    assert_undisturbed(&sandbox, &daemon);
    assert!(daemon.stop().success());
}

#[test]
fn a_restore_that_is_killed_when_it_has_the_database_gives_it_back() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let (sandbox, states, backup) = scene(&[]);
    let daemon = Daemon::start(&sandbox.configure(&busy(&sandbox)));
    // Before the lock; with SQLite's lock, before the rename; when all is done but its end.
    for (at, left) in [
        ("fsync:signal=KILL:when=1", states.now),
        ("renameat:signal=KILL:when=1", states.now),
        ("exit_group:signal=KILL:when=1", states.backup),
    ] {
        wait_until_open(&daemon, &sandbox);
        let mark = daemon.mark();
        let mut killed = Traced::start(&sandbox, &backup, at);
        assert!(!killed.child.wait().unwrap().success());
        daemon.wait_for_log_from(mark, "it goes on", |line| line.contains("the restore has ended"));
        for job in ["backup", "health", "watch"] {
            wait_for_next(&sandbox, job);
        }
        assert_eq!(assert_sound(&sandbox.database()), left, "{at}");
        assert_undisturbed(&sandbox, &daemon);
    }
    assert_backs_up_what_is_there(&sandbox);
    assert!(daemon.stop().success());
}

#[test]
fn a_restore_that_is_killed_while_a_backup_keeps_it_waiting_leaves_the_daemon_as_it_was() {
    let (sandbox, states, backup) = scene(&[]);
    let slow = busy(&sandbox).replace("[backup]\n", "[backup]\nmax_rate = \"8KiB\"\n");
    let daemon = Daemon::start(&sandbox.configure(&slow));
    let at_work = || runs(&sandbox, "attendance", "backup").into_iter().find(|run| run.outcome == "running");
    let backing_up = wait_until("a backup is at work", at_work);
    let mut command = program();
    command.arg("--config").arg(sandbox.configuration()).args(in_place(&backup));
    let mut restore =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = Lines::default();
    said.read(restore.stderr.take().unwrap());
    said.wait_for("whom it waits for", 0, |line| {
        line.contains("waiting until backup (process").then_some(())
    });
    daemon.wait_for_log("the daemon to know", |line| line.contains("a restore wants the database"));
    restore.kill().unwrap();
    restore.wait().unwrap();
    daemon.wait_for_log("it goes on", |line| line.contains("the restore has ended"));
    assert_eq!(at_work(), Some(backing_up), "the other jobs need not wait for its end");
    for job in ["health", "watch", "backup"] {
        wait_for_next(&sandbox, job);
    }
    assert_undisturbed(&sandbox, &daemon);
    assert_eq!(assert_sound(&sandbox.database()), states.now);
    assert!(daemon.stop().success());
}

#[test]
fn a_check_that_takes_too_long_is_interrupted_for_a_restore_and_made_again_afterwards() {
    let (sandbox, states, backup) = scene(&[]);
    let before = missed(&sandbox, JobKind::Watch);
    let endless = "[watch]\nschedule = \"@yearly\"\ncatch_up = true\n[database.attendance.watch.endless]\n\
                   sql = \"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n\"\n";
    let daemon = Daemon::start(&sandbox.configure(endless));
    let running = |after: i64| {
        wait_until("the watch is at work", || {
            let all = runs(&sandbox, "attendance", "watch");
            all.iter().find(|run| run.id > after && run.outcome == "running").map(|run| run.id)
        })
    };
    let first = running(before);
    wait_until_open(&daemon, &sandbox);
    assert_done(&sandbox.litekeeper(&in_place(&backup)));
    assert_restored(&sandbox, states);
    let again = running(first);
    let all = runs(&sandbox, "attendance", "watch");
    let ended: Vec<_> = all.iter().filter(|run| run.id > before && run.id < again).collect();
    assert!(matches!(ended[..], [run] if run.id == first && run.outcome == "interrupted"), "{ended:?}");
    drop(daemon);
}

#[test]
fn h18_an_application_that_has_the_database_open_is_named_and_the_daemon_is_not_even_asked() {
    for journal_mode in ["wal", "delete"] {
        let (sandbox, states, backup) = scene(&["--journal-mode", journal_mode]);
        let daemon = at_work(&sandbox);
        let application = Application::start(&sandbox.database());
        wait_until("no job of the daemon is in the way as well", || {
            let output = sandbox.litekeeper(&in_place(&backup));
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(11), "{said}");
            assert!(said.contains(&format!("process {} (", application.pid())), "{said}");
            assert!(!said.contains(&format!("process {} (", daemon.pid().as_raw_nonzero())), "{said}");
            Some(())
        });
        wait_for_next(&sandbox, "backup");
        assert!(!daemon.log().iter().any(|line| line.contains("a restore wants")));
        application.stop();
        assert_undisturbed(&sandbox, &daemon);
        assert_done(&sandbox.litekeeper(&in_place(&backup)));
        assert_restored(&sandbox, states);
        assert!(daemon.stop().success());
    }
}

#[test]
fn h18_an_application_that_opens_the_database_meanwhile_is_named_and_the_daemon_goes_on() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let (sandbox, states, backup) = scene(&[]);
    let daemon = at_work(&sandbox);
    let restore = Traced::stopped_before_the_lock(&sandbox, &backup);
    let application = Application::start(&sandbox.database());
    let (code, said) = restore.go_on();
    assert_eq!(code, Some(11), "{said}");
    assert!(said.contains("is locked") || said.contains(&application.pid().to_string()), "{said}");
    for job in ["backup", "health", "watch"] {
        wait_for_next(&sandbox, job);
    }
    application.stop();
    assert_eq!(assert_sound(&sandbox.database()), states.now);
    assert_undisturbed(&sandbox, &daemon);
    assert!(daemon.stop().success());
}

#[test]
fn a_daemon_that_starts_while_a_restore_has_the_database_leaves_it_alone_until_that_has_ended() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let (sandbox, states, backup) = scene(&[]);
    let before = missed(&sandbox, JobKind::Maintain);
    let restore = Traced::stopped_before_the_lock(&sandbox, &backup);
    let daemon =
        Daemon::start(&sandbox.configure(&format!("{}[maintain]\nschedule = \"@yearly\"\n", busy(&sandbox))));
    daemon.wait_for_log("the daemon to know", |line| line.contains("a restore has the database"));
    daemon.wait_for_log("a backup to come due", |line| {
        line.contains("it runs afterwards") && line.contains("job=backup ")
    });
    assert!(!has_open(&daemon, &sandbox.database()));
    assert!(
        handed_over(&daemon).is_some()
            || wait_until("the status tells it", || handed_over(&daemon)).len() > 1
    );
    assert_eq!(runs(&sandbox, "attendance", "maintain").last().unwrap().id, before);
    assert_eq!(restore.go_on().0, Some(0));
    assert_restored(&sandbox, states);
    // Due once a year, it was not lost.
    assert_eq!(wait_for_run(&sandbox, "maintain", before, "success").cause, "catch_up");
    assert_backs_up_what_is_there(&sandbox);
    assert_undisturbed(&sandbox, &daemon);
    assert!(daemon.stop().success());
}

#[test]
fn a_daemon_that_is_told_to_stop_while_a_restore_has_a_database_stops() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let (sandbox, states, backup) = scene(&[]);
    let daemon = at_work(&sandbox);
    let restore = Traced::stopped_before_the_lock(&sandbox, &backup);
    assert!(daemon.stop().success());
    assert_eq!(restore.go_on().0, Some(0));
    assert_restored(&sandbox, states);
}

#[test]
fn a_reload_while_a_restore_has_the_database_does_not_have_the_daemon_open_it() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let (sandbox, states, backup) = scene(&[]);
    let daemon = at_work(&sandbox);
    let restore = Traced::stopped_before_the_lock(&sandbox, &backup);
    let before = newest(&sandbox);
    // Another pool.
    sandbox.configure(&format!("{}[pool]\nsize = 2\n", busy(&sandbox)));
    let mark = daemon.mark();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log_from(mark, "the reload", |line| line.contains("changed attendance"));
    let others = runs(&sandbox, "other", "watch").len();
    wait_until("the other database is watched", || {
        (runs(&sandbox, "other", "watch").len() >= others + 3).then_some(())
    });
    assert_eq!(newest(&sandbox), before, "a run began beside the restore");
    assert!(!has_open(&daemon, &sandbox.database()));
    assert_eq!(restore.go_on().0, Some(0));
    assert_restored(&sandbox, states);
    assert_backs_up_what_is_there(&sandbox);
    assert_undisturbed(&sandbox, &daemon);
    assert!(daemon.stop().success());
}

#[test]
fn a_dry_run_tells_that_the_daemon_would_let_go_and_does_not_ask_it_to() {
    let (sandbox, states, backup) = scene(&[]);
    let quiet =
        busy(&sandbox).replace("[backup]\nschedule = \"* * * * * *\"", "[backup]\nschedule = \"never\"");
    let daemon = Daemon::start(&sandbox.configure(&quiet));
    wait_until_open(&daemon, &sandbox);
    let told = json(&sandbox, 0, &[&in_place(&backup)[..], &["--dry-run"]].concat());
    assert_eq!(told["refused"], serde_json::json!([]));
    let pid = daemon.pid().as_raw_nonzero();
    assert!(told["plan"][0].as_str().unwrap().contains(&format!("(process {pid})")), "{told}");
    wait_for_next(&sandbox, "watch");
    assert!(!daemon.log().iter().any(|line| line.contains("a restore wants")));
    assert!(daemon.stop().success());
    let told = json(&sandbox, 0, &[&IN_PLACE[..], &["--dry-run"]].concat());
    assert!(!told["plan"].to_string().contains("(process"), "{told}");
    assert_eq!(assert_sound(&sandbox.database()), states.now);
}

/// As a daemon that hangs.
#[test]
fn a_daemon_that_does_not_let_go_in_time_is_named_with_what_to_do() {
    let sandbox = Sandbox::empty();
    let state = State::open(&sandbox.state()).unwrap();
    let open = state.lock_open("attendance").unwrap().unwrap();
    let mut handover = Handover::begin(&sandbox.state(), "attendance").unwrap();
    assert_eq!(handover.daemon(), Some(std::process::id()));
    let mut asked = Vec::new();
    let error = handover
        .complete(Duration::from_millis(120), &mut |whom| {
            asked.push(whom.to_owned());
            // It is seen by the daemon, which may not come back while it is.
            assert!(state.wanted("attendance").unwrap().unwrap().starts_with("restore (process "));
            assert!(state.lock_open("attendance").unwrap().is_err());
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.reason, Reason::Locked);
    let daemon = format!("the daemon (process {})", std::process::id());
    assert!(error.message.contains(&daemon) && error.message.contains("stop the daemon"), "{error}");
    assert!(!asked.is_empty() && asked.iter().all(|whom| *whom == daemon), "{asked:?}");
    // The one who waits may be told not to.
    let cancelled = litekeeper::error::Error::new(Reason::Cancelled, "enough");
    let error = handover.complete(Duration::from_secs(600), &mut |_| Err(cancelled.clone())).unwrap_err();
    assert_eq!(error.reason, Reason::Cancelled);
    drop(handover);
    // A process that another test starts has our files until it is the other program.
    wait_until("nobody wants it", || state.wanted("attendance").unwrap().is_none().then_some(()));

    // A daemon that has let go does not take it back from under the one who waits.
    let mut open = Some(open);
    let mut handover = Handover::begin(&sandbox.state(), "attendance").unwrap();
    let waited = handover.complete(Duration::from_secs(600), &mut |_| {
        drop(open.take());
        assert!(state.lock_open("attendance").unwrap().is_err());
        Ok(())
    });
    waited.unwrap();
    assert!(open.is_none());
    drop(handover);

    let mut handover = wait_until("no daemon has it", || {
        let handover = Handover::begin(&sandbox.state(), "attendance").unwrap();
        handover.daemon().is_none().then_some(handover)
    });
    handover.complete(PATIENCE, &mut |_| Ok(())).unwrap();
    assert!(state.lock_open("attendance").unwrap().is_err());
    drop(handover);
    wait_until("it is free", || state.lock_open("attendance").unwrap().is_ok().then_some(()));
}

#[test]
fn a_daemon_with_a_state_of_its_own_cannot_be_asked_and_is_named() {
    let (sandbox, states, backup) = scene(&[]);
    let state = sandbox.path().join("another-state");
    let apart = format!(
        "[daemon]\nstate_dir = \"{}\"\n[watch]\nschedule = \"* * * * * *\"\n[database.attendance.watch.users]\nsql = \"SELECT 1 FROM users\"\n",
        state.display()
    );
    let daemon = Daemon::start(&sandbox.configure(&apart));
    wait_until_open(&daemon, &sandbox);
    sandbox.configure("");
    let output = sandbox.litekeeper(&in_place(&backup));
    let said = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(11), "{said}");
    assert!(said.contains(&format!("process {} (", daemon.pid().as_raw_nonzero())), "{said}");
    assert!(said.contains("litekeeper's own daemon"), "{said}");
    assert!(daemon.stop().success());
    assert_eq!(assert_sound(&sandbox.database()), states.now);
}

#[test]
fn root_restores_beside_a_daemon_of_another_user_which_goes_on() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can play several users");
    }
    let owner = Owner { uid: 4711, gid: 4711 };
    let (sandbox, states, backup) = scene(&[]);
    sandbox.give_data_to(owner);
    for place in [sandbox.state(), sandbox.backups()] {
        let chown = Command::new("chown").args(["-R", "4711:4711"]).arg(place).output().unwrap();
        assert!(chown.status.success());
    }
    let binary = sandbox.path().join("litekeeper");
    copy_for_all(Path::new(program().get_program()), &binary);
    let configuration = sandbox.configure(busy(&sandbox).split("[database.other]").next().unwrap());
    let daemon = Daemon::spawn(&configuration, |command| {
        let mut other = Command::new("setpriv");
        other.args(["--reuid=4711", "--regid=4711", "--clear-groups", "--"]).arg(&binary);
        other.arg("--config").arg(&configuration).arg("run");
        other.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = other;
    });
    for n in 1..=2 {
        wait_for_next(&sandbox, "backup");
        wait_until_open(&daemon, &sandbox);
        assert_done(&sandbox.litekeeper(&in_place(&backup)));
        assert_eq!(assert_sound(&sandbox.database()), states.backup);
        assert_eq!(kept(&sandbox).len(), n);
    }
    for job in ["backup", "health", "watch"] {
        wait_for_next(&sandbox, job);
    }
    assert_undisturbed(&sandbox, &daemon);
    assert!(daemon.stop().success());
}
