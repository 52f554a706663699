//! Runs beside runs: skipped, bounded, made good, and known to all processes.
#![allow(clippy::float_cmp, reason = "gauges and counters of whole numbers")]

use super::fixture::{EACH_SECOND, count, held_up, reload, second_database, wait_until_running};
use crate::support::application::Application;
use crate::support::daemon::{Daemon, job};
use crate::support::history::{self, runs, wait_for_run};
use crate::support::sandbox::Sandbox;
use crate::support::wait_until;
use chrono::Datelike;
use rusqlite::Connection;
use rustix::process::Signal;
use std::fs;

#[test]
fn a_run_whose_predecessor_has_not_ended_is_skipped_and_counted() {
    let (sandbox, mut application) = held_up();
    let daemon = Daemon::start(&sandbox.configure(EACH_SECOND));
    wait_until("two runs are skipped", || {
        (count(&daemon, "attendance", "backup", "skipped") >= 2.0).then_some(())
    });
    let now = runs(&sandbox, "attendance", "backup");
    assert_eq!(now.iter().filter(|run| run.outcome == "running").count(), 1, "{now:?}");
    assert_eq!(now[0].outcome, "running", "the first one");
    let skipped = now.iter().find(|run| run.outcome == "skipped").unwrap();
    assert_eq!(skipped.reason, "locked");
    assert!(skipped.summary.contains("has not ended"), "{skipped:?}");
    application.release();
    assert_eq!(wait_for_run(&sandbox, "backup", 0, "success").id, now[0].id);
    assert!(daemon.stop().success());
}

#[test]
fn a_job_that_only_reads_backups_runs_beside_a_backup_where_the_disk_may_have_both() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let each_second = format!("[daemon]\njobs_per_disk = 0\n{EACH_SECOND}");
    sandbox.configure(&each_second);
    let daemon = Daemon::start(&sandbox.configuration());
    wait_for_run(&sandbox, "backup", 0, "success");
    let mut application = Application::start(&sandbox.database());
    application.hold_exclusive();
    let before = history::newest(&sandbox);
    wait_until("a backup waits for the application", || {
        runs(&sandbox, "attendance", "backup")
            .iter()
            .any(|run| run.id > before && run.outcome == "skipped")
            .then_some(())
    });
    sandbox.configure(&format!("{each_second}[verify]\nschedule = \"* * * * * *\"\n"));
    reload(&daemon, "success");
    wait_for_run(&sandbox, "verify", 0, "success");
    wait_until_running(&daemon, "backup");
    application.release();
    assert!(daemon.stop().success());
}

#[test]
fn a_run_of_another_process_on_the_same_database_makes_ours_skip() {
    let sandbox = Sandbox::new();
    let locks = sandbox.state().join("locks");
    fs::create_dir(&locks).unwrap();
    fs::write(locks.join("attendance.lock"), "maintain (process 1)\n").unwrap();
    let held = fs::File::open(locks.join("attendance.lock")).unwrap();
    held.lock().unwrap();
    let daemon = Daemon::start(&sandbox.configure(EACH_SECOND));
    let skipped = wait_for_run(&sandbox, "backup", 0, "skipped");
    assert!(skipped.summary.contains("in use by maintain (process 1)"), "{skipped:?}");
    drop(held);
    wait_for_run(&sandbox, "backup", skipped.id, "success");
    assert!(daemon.stop().success());
}

#[test]
fn parallel_jobs_bounds_runs_over_all_databases_and_grows_by_a_reload() {
    let (sandbox, mut application) = held_up();
    let library = second_database(&sandbox);
    let configure = |places: u32| {
        sandbox.configure(&format!(
            "[daemon]\nparallel_jobs = {places}\njobs_per_disk = 0\n{EACH_SECOND}{library}"
        ))
    };
    configure(1);
    let daemon = Daemon::start(&sandbox.configuration());
    wait_until("the second database waits", || {
        let status = daemon.status();
        (job(&status, "library", "backup")?["queued"] == true
            && !job(&status, "attendance", "backup")?["running"].is_null())
        .then_some(())
    });
    let done = count(&daemon, "library", "backup", "success");
    let skipped = count(&daemon, "library", "backup", "skipped");
    wait_until("two more of its times pass", || {
        (count(&daemon, "library", "backup", "skipped") >= skipped + 2.0).then_some(())
    });
    assert_eq!(count(&daemon, "library", "backup", "success"), done);
    configure(2);
    assert!(reload(&daemon, "success").contains("daemon.parallel_jobs from 1 to 2"));
    wait_until("it runs", || (count(&daemon, "library", "backup", "success") > done).then_some(()));
    wait_until_running(&daemon, "backup");
    application.release();
    assert!(daemon.stop().success());
}

#[test]
fn a_missed_run_is_made_good_once_and_the_next_is_known() {
    const YEARLY: &str = "[backup]\nschedule = \"@yearly\"\n";
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(EACH_SECOND));
    wait_for_run(&sandbox, "backup", 0, "success");
    assert!(daemon.stop().success());

    let connection = Connection::open(sandbox.state().join("state.db")).unwrap();
    let three_years = 3 * 366 * 86_400_000_i64;
    connection
        .execute("UPDATE run SET started = started - ?1, finished = finished - ?1", [three_years])
        .unwrap();
    drop(connection);
    let before = history::newest(&sandbox);
    let daemon = Daemon::start(&sandbox.configure(&format!("{YEARLY}catch_up = false\n")));
    let labels = [("database", "attendance"), ("task", "backup")];
    let next = daemon
        .wait_for_metrics("the next run", |m| m.get("litekeeper_job_next_run_timestamp_seconds", &labels));
    let year = chrono::Utc::now().year() + 1;
    let new_year =
        chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
    assert_eq!(next, new_year.timestamp() as f64);
    assert!(daemon.stop().success());
    assert_eq!(history::newest(&sandbox), before, "catch_up is off");

    let daemon = Daemon::start(&sandbox.configure(YEARLY));
    let caught_up = wait_for_run(&sandbox, "backup", before, "success");
    assert_eq!(caught_up.cause, "catch_up");
    assert!(daemon.stop().success());
    let daemon = Daemon::start(&sandbox.configuration());
    assert!(daemon.stop().success());
    assert_eq!(history::newest(&sandbox), caught_up.id, "three were missed, one is made");
}

#[test]
fn a_run_whose_daemon_was_killed_counts_as_interrupted_after_the_next_start() {
    let (sandbox, mut application) = held_up();
    let daemon = Daemon::start(&sandbox.configure(EACH_SECOND));
    wait_until_running(&daemon, "backup");
    let run = wait_until("its row", || runs(&sandbox, "attendance", "backup").into_iter().next());
    daemon.signal(Signal::KILL);
    assert!(!daemon.wait().0.success());
    assert_eq!(runs(&sandbox, "attendance", "backup")[0].outcome, "running");

    let daemon = Daemon::start(&sandbox.configure(""));
    let ended = wait_for_run(&sandbox, "backup", run.id - 1, "interrupted");
    assert_eq!(ended.id, run.id);
    assert!(ended.summary.contains("its process ended"), "{ended:?}");
    application.release();
    assert!(daemon.stop().success());
}

#[test]
fn a_run_that_the_stop_of_the_daemon_cut_short_is_made_again_at_the_next_start() {
    let (sandbox, mut application) = held_up();
    let no_grace = "[daemon]\nshutdown_grace = \"0s\"\n";
    let daemon = Daemon::start(&sandbox.configure(&format!("{no_grace}{EACH_SECOND}")));
    wait_until_running(&daemon, "backup");
    assert!(daemon.stop().success());
    application.release();
    let cut_short = wait_for_run(&sandbox, "backup", 0, "interrupted");

    let daemon = Daemon::start(&sandbox.configure(""));
    let again = wait_for_run(&sandbox, "backup", cut_short.id, "success");
    assert_eq!(again.cause, "catch_up");
    assert!(daemon.stop().success());
    let daemon = Daemon::start(&sandbox.configuration());
    assert!(daemon.stop().success());
    assert_eq!(history::newest(&sandbox), again.id, "once is enough");
}

#[test]
fn a_daemon_whose_history_cannot_be_written_is_not_ready_until_it_can() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(""));
    let readyz = || daemon.get("/readyz").unwrap();
    wait_until("it is ready", || (readyz().status == 200).then_some(()));
    let somebody = Connection::open(sandbox.state().join("state.db")).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = wait_until("it is not ready", || Some(readyz()).filter(|answer| answer.status == 503));
    assert!(answer.body.contains("state cannot be written"), "{}", answer.body);
    somebody.execute_batch("ROLLBACK").unwrap();
    wait_until("it is ready again", || (readyz().status == 200).then_some(()));
    assert!(daemon.stop().success());
}

#[test]
fn a_check_that_keeps_failing_is_logged_once_and_again_when_it_is_good() {
    let sandbox = Sandbox::new();
    let health = "[health]\nschedule = \"* * * * * *\"\n[[database.attendance.index]]\nname = \"wanted\"\ntable = \"users\"\ncolumns = [\"email\"]\n";
    let daemon = Daemon::start(&sandbox.configure(health));
    let mut last = 0;
    for _ in 0..3 {
        last = wait_for_run(&sandbox, "health", last, "success").id;
    }
    let lines = |what: &str| daemon.log().into_iter().filter(|line| line.contains(what)).count();
    assert_eq!(lines("check failed: "), 1, "{:?}", daemon.log());
    let mut application = Application::start(&sandbox.database());
    application.sql("CREATE INDEX wanted ON users (email)");
    daemon.wait_for_log("the solution", |line| line.contains("check is good again"));
    assert!(daemon.stop().success());
}

#[test]
fn what_a_command_did_is_in_the_daemons_metrics() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(""));
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    let of = [("database", "attendance")];
    daemon.wait_for_metrics("the backup", |m| (m.get("litekeeper_backups", &of) == Some(1.0)).then_some(()));
    let job = [("database", "attendance"), ("task", "backup")];
    daemon.wait_for_metrics("its success", |m| m.get("litekeeper_job_last_success_timestamp_seconds", &job));
    assert!(daemon.stop().success());
}

#[test]
fn a_database_file_that_disappears_fails_its_runs_and_nothing_else() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(EACH_SECOND));
    wait_for_run(&sandbox, "backup", 0, "success");
    let away = sandbox.path().join("away.sqlite");
    fs::rename(sandbox.database(), &away).unwrap();
    let failed = wait_until("a run fails", || {
        runs(&sandbox, "attendance", "backup").into_iter().find(|run| run.outcome == "failure")
    });
    assert_eq!(failed.reason, "vanished");
    assert!(failed.summary.contains(&sandbox.database().display().to_string()), "{failed:?}");
    assert!(!sandbox.database().exists(), "it was created");
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
    fs::rename(&away, sandbox.database()).unwrap();
    wait_until("it recovers", || {
        runs(&sandbox, "attendance", "backup")
            .into_iter()
            .find(|run| run.id > failed.id && run.outcome == "success")
    });
    assert!(daemon.stop().success());
}
