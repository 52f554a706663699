//! `restore --in-place` beside the running daemon: it lets go of the database, opens it at no
//! moment of the restore, and goes on with whichever file is there afterwards, however the restore
//! ended.

use super::fixture::{
    Traced, assert_backs_up_what_is_there, assert_done, assert_undisturbed, at_work, busy, handed_over,
    has_open, in_place, missed, scene, status, wait_for_next, wait_until_open,
};
use crate::support::application::Application;
use crate::support::daemon::{Daemon, database};
use crate::support::history::{newest, runs, wait_for_run};
use crate::support::process::lines::Lines;
use crate::support::restoring::{IN_PLACE, assert_restored, can_trace, json, kept, stderr, unfinished};
use crate::support::sandbox::{Sandbox, program};
use crate::support::soundness::assert_sound;
use crate::support::{skip, wait_until};
use litekeeper::sqlite::files::paths::wal_bytes;
use litekeeper::terms::JobKind;
use rustix::process::Signal;
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;

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
            .find(|job| job["task"] == "backup" && job["queued"] == true)
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
    kill_one_that_waits(&sandbox, &backup, &daemon);
    assert_eq!(at_work(), Some(backing_up), "the other jobs need not wait for its end");
    for job in ["health", "watch", "backup"] {
        wait_for_next(&sandbox, job);
    }
    assert_undisturbed(&sandbox, &daemon);
    assert_eq!(assert_sound(&sandbox.database()), states.now);
    assert!(daemon.stop().success());
}

#[test]
fn a_checkpoint_that_waits_for_its_turn_when_a_restore_comes_is_made_when_it_is_due_again() {
    let (sandbox, states, backup) = scene(&[]);
    let grow_log = |application: &mut Application, to: u64| {
        application.write_every(Duration::from_millis(1));
        wait_until("the log grows", || (wal_bytes(&sandbox.database()) > to).then_some(()));
        application.pause();
    };
    let mut application = Application::start(&sandbox.database());
    // While it is read it may grow by as much as it may have.
    grow_log(&mut application, 800 << 10);
    let daemon = Daemon::start(&sandbox.configure(
        "[daemon]\nshutdown_grace = \"0s\"\n[maintain]\nmax_wal = \"1MiB\"\n\
         [backup]\nschedule = \"* * * * * *\"\ncatch_up = false\nmax_rate = \"2KiB\"\n",
    ));
    let backing_up = || runs(&sandbox, "attendance", "backup").iter().any(|run| run.outcome == "running");
    wait_until("a backup is at work", || backing_up().then_some(()));
    grow_log(&mut application, 1200 << 10);
    let seen_at = |before: &Value| {
        wait_until("the log is seen", || {
            let told = daemon.status();
            let is_seen = database(&told, "attendance")?["wal_bytes"].as_u64()? > 1 << 20;
            (is_seen && told["now"] != *before).then(|| told["now"].clone())
        })
    };
    // Asked for in the turn after the first look, a checkpoint waits for the backup.
    (0..3).fold(Value::Null, |before, _| seen_at(&before));
    assert!(backing_up());
    assert_eq!(runs(&sandbox, "attendance", "checkpoint"), []);
    // A restore would not begin beside it.
    application.stop();
    kill_one_that_waits(&sandbox, &backup, &daemon);
    assert!(backing_up());

    let mut application = Application::start(&sandbox.database());
    grow_log(&mut application, 1200 << 10);
    wait_until("the log is looked after", || runs(&sandbox, "attendance", "checkpoint").pop());
    assert!(daemon.stop().success());
    application.stop();
    assert!(assert_sound(&sandbox.database()) > states.now);
}

/// A restore in place that waits for a backup is killed, and the daemon knows both.
fn kill_one_that_waits(sandbox: &Sandbox, backup: &str, daemon: &Daemon) {
    let mut command = program();
    command.arg("--config").arg(sandbox.configuration()).args(in_place(backup));
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
}

#[test]
fn a_check_that_takes_too_long_is_interrupted_for_a_restore_and_made_again_afterwards() {
    let (sandbox, states, backup) = scene(&[]);
    let before = missed(&sandbox, JobKind::Watch);
    // Not ended by its own limit before the restore does that.
    let endless = "[maintain]\nmax_block = \"60s\"\n[watch]\nschedule = \"@yearly\"\ncatch_up = true\n\
                   [database.attendance.watch.endless]\n\
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
