//! The daemon's life, from outside: start, reload, overlap, stop, crash; with real signals, and an application in
//! another process whose lock holds a job up for as long as a test needs.
#![allow(clippy::float_cmp, reason = "gauges and counters of whole numbers")]

use crate::support::application::{Application, create_database};
use crate::support::daemon::Daemon;
use crate::support::history::{self, runs, wait_for_run};
use crate::support::sandbox::{Sandbox, copy_for_all};
use crate::support::soundness::assert_sound;
use crate::support::{PATIENCE, wait_until};
use chrono::Datelike;
use rusqlite::Connection;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

/// A backup each second, and a wait for the application's lock that outlasts every test.
const EACH_SECOND: &str =
    "[backup]\nschedule = \"* * * * * *\"\ncatch_up = false\n[pool]\nbusy_timeout = \"10m\"\n";

/// A database whose application locks everybody out, so that each job on it waits until it is released.
fn held_up() -> (Sandbox, Application) {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let mut application = Application::start(&sandbox.database());
    application.hold_exclusive();
    (sandbox, application)
}

fn wait_until_running(daemon: &Daemon, job: &str) {
    daemon.wait_for_metrics(&format!("{job} is running"), |metrics| {
        let running = metrics.get("litekeeper_job_running", &[("database", "attendance"), ("job", job)]);
        (running == Some(1.0)).then_some(())
    });
}

fn count(daemon: &Daemon, database: &str, job: &str, outcome: &str) -> f64 {
    let labels = [("database", database), ("job", job), ("outcome", outcome)];
    daemon.metrics().get("litekeeper_job_runs_total", &labels).unwrap_or(0.0)
}

/// HUP, and what the log says from then until the daemon has finished with it.
fn reload(daemon: &Daemon, outcome: &str) -> String {
    let total = |daemon: &Daemon, outcome: &str| {
        daemon.metrics().get("litekeeper_config_reloads_total", &[("outcome", outcome)]).unwrap()
    };
    let (mark, before) = (daemon.mark(), total(daemon, outcome));
    let other = if outcome == "success" { "failure" } else { "success" };
    let others = total(daemon, other);
    daemon.signal(Signal::HUP);
    wait_until(&format!("a reload ends with {outcome}"), || {
        assert!(total(daemon, other) <= others, "the reload was a {other}");
        (total(daemon, outcome) > before).then_some(())
    });
    let word = if outcome == "success" { "reloaded" } else { "rejected" };
    daemon.wait_for_log_from(mark, word, |line| line.contains("configuration"));
    daemon.log()[mark..].join("\n")
}

fn successful(daemon: &Daemon) -> f64 {
    daemon.metrics().get("litekeeper_config_last_reload_successful", &[]).unwrap()
}

fn status(daemon: &Daemon) -> serde_json::Value {
    serde_json::from_str(&daemon.get("/api/status").unwrap().body).unwrap()
}

fn database<'a>(status: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    status["databases"].as_array().unwrap().iter().find(|db| db["name"] == name).unwrap()
}

fn job<'a>(status: &'a serde_json::Value, name: &str, kind: &str) -> &'a serde_json::Value {
    database(status, name)["jobs"].as_array().unwrap().iter().find(|job| job["kind"] == kind).unwrap()
}

fn second_database(sandbox: &Sandbox) -> String {
    let path = sandbox.data().join("library.sqlite");
    if !path.exists() {
        create_database(&path, &[]);
    }
    format!("[database.library]\npath = {:?}\n", path.display().to_string())
}

// --- start

#[test]
fn a_daemon_answers_that_it_is_ready_and_ends_with_success() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(""));
    assert_eq!(daemon.get("/healthz").unwrap().status, 200);
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
    assert_eq!(successful(&daemon), 1.0);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_configuration_without_databases_runs_and_takes_one_in_by_a_reload() {
    let sandbox = Sandbox::new();
    let complete = fs::read_to_string(sandbox.configure(EACH_SECOND)).unwrap();
    let mut table: toml::Table = complete.parse().unwrap();
    table.remove("database");
    let daemon = Daemon::start(&sandbox.configure_as(&table.to_string()));
    assert_eq!(status(&daemon)["databases"].as_array().unwrap().len(), 0);
    sandbox.configure_as(&complete);
    let log = reload(&daemon, "success");
    assert!(log.contains("added attendance"), "{log}");
    wait_for_run(&sandbox, "backup", 0, "success");
    assert!(daemon.stop().success());
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on() {
    let sandbox = Sandbox::new();
    let configuration = sandbox.configure(EACH_SECOND);
    let first = Daemon::start(&configuration);
    let (status, log) = Daemon::spawn(&configuration, |_| ()).wait();
    let log = log.join("\n");
    assert_eq!(status.code(), Some(11), "{log}");
    assert!(
        log.contains("another daemon uses") && log.contains(&sandbox.state().display().to_string()),
        "{log}"
    );
    assert!(log.contains(&format!("process {}", first.pid().as_raw_nonzero())), "{log}");
    wait_for_run(&sandbox, "backup", history::newest(&sandbox), "success");
    assert!(first.stop().success());
    // The lock died with its holder, though its file is still there.
    assert!(Daemon::start(&configuration).stop().success());
}

#[test]
fn an_address_that_is_in_use_is_named_and_ends_the_start() {
    let (one, other) = (Sandbox::new(), Sandbox::new());
    let first = Daemon::start(&one.configure(""));
    let address = first.address();
    let configuration = other.configure(&format!("[daemon]\nlisten = \"{address}\"\n"));
    let (status, log) = Daemon::spawn(&configuration, |_| ()).wait();
    assert_eq!(status.code(), Some(1), "{log:?}");
    let last = log.last().unwrap();
    assert!(last.contains(&address.to_string()) && last.contains("another process has that port"), "{last}");
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named_and_ends_the_start() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let missing = sandbox.path().join("missing/state");
    for state in [&file, &missing] {
        let text = format!("[daemon]\nstate_dir = {:?}\n", state.display().to_string());
        let (status, log) = Daemon::spawn(&sandbox.configure(&text), |_| ()).wait();
        assert_eq!(status.code(), Some(1), "{log:?}");
        let last = log.last().unwrap();
        assert!(last.contains(&state.display().to_string()), "{last}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a directory");

    // Not writable: for root, by another user who may read it; for others, by its mode.
    let program = sandbox.path().join("litekeeper");
    copy_for_all(Path::new(env!("CARGO_BIN_EXE_litekeeper")), &program);
    for (path, mode) in [(sandbox.path().to_owned(), 0o755), (sandbox.state(), 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let configuration = sandbox.configure("");
    let (status, log) = Daemon::spawn(&configuration, |command| {
        let mut as_other = Command::new(&program);
        as_other.arg("--config").arg(&configuration).arg("run");
        as_other.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        if rustix::process::geteuid().is_root() {
            as_other.uid(65534).gid(65534);
        }
        *command = as_other;
    })
    .wait();
    assert_eq!(status.code(), Some(1), "{log:?}");
    let last = log.last().unwrap();
    assert!(last.contains(&sandbox.state().display().to_string()), "{last}");
}

// --- reload

#[test]
fn a_reload_takes_databases_in_and_lets_them_go_with_all_their_series() {
    let sandbox = Sandbox::new();
    let library = second_database(&sandbox);
    let series_of =
        |daemon: &Daemon, database: &str| daemon.get("/metrics").unwrap().body.matches(database).count();

    sandbox.configure(EACH_SECOND);
    let daemon = Daemon::start(&sandbox.configuration());
    assert_eq!(series_of(&daemon, "library"), 0);
    sandbox.configure(&format!("{EACH_SECOND}{library}"));
    let log = reload(&daemon, "success");
    assert!(log.contains("added library"), "{log}");
    assert!(series_of(&daemon, "database=\"library\"") > 10);
    wait_until("a backup of the new database", || {
        (count(&daemon, "library", "backup", "success") > 0.0).then_some(())
    });
    let of_attendance = count(&daemon, "attendance", "backup", "success");

    sandbox.configure(EACH_SECOND);
    let log = reload(&daemon, "success");
    assert!(log.contains("removed library"), "{log}");
    assert_eq!(series_of(&daemon, "library"), 0, "at the first scrape after the reload");
    assert!(
        count(&daemon, "attendance", "backup", "success") >= of_attendance,
        "a counter of the other was reset"
    );
    wait_for_run(&sandbox, "backup", history::newest(&sandbox), "success");
    assert_eq!(series_of(&daemon, "library"), 0, "and later");
    assert!(!daemon.get("/").unwrap().body.contains("library"));
    assert!(daemon.stop().success());
}

#[test]
fn a_removed_database_has_its_running_job_interrupted() {
    let (sandbox, mut application) = held_up();
    let library = second_database(&sandbox);
    sandbox.configure(&format!("{EACH_SECOND}{library}"));
    let daemon = Daemon::start(&sandbox.configuration());
    wait_until_running(&daemon, "backup");

    let mut table: toml::Table = fs::read_to_string(sandbox.configuration()).unwrap().parse().unwrap();
    table["database"].as_table_mut().unwrap().remove("attendance");
    sandbox.configure_as(&table.to_string());
    let log = reload(&daemon, "success");
    assert!(log.contains("removed attendance"), "{log}");
    let run = wait_for_run(&sandbox, "backup", 0, "interrupted");
    assert_eq!(run.reason, "cancelled");
    // The end of its last run must not bring its series back.
    assert!(!daemon.get("/metrics").unwrap().body.contains("attendance"));
    application.release();
    assert!(daemon.stop().success());
}

#[test]
fn a_reload_leaves_running_jobs_alone_of_unchanged_and_of_changed_databases() {
    let (sandbox, mut application) = held_up();
    let library = second_database(&sandbox);
    let configure = |more: &str| sandbox.configure(&format!("{EACH_SECOND}{library}{more}"));
    configure("");
    let daemon = Daemon::start(&sandbox.configuration());
    wait_until_running(&daemon, "backup");
    let run =
        runs(&sandbox, "attendance", "backup").into_iter().find(|run| run.outcome == "running").unwrap();

    configure("[database.library.backup]\nkeep_last = 3\n");
    let log = reload(&daemon, "success");
    // Each second a backup of the other one is skipped, which is said as well.
    let reloaded = log.lines().find(|line| line.contains("reloaded")).unwrap();
    assert!(reloaded.contains("changed library") && !reloaded.contains("attendance"), "{log}");
    configure("[database.library.backup]\nkeep_last = 3\n[database.attendance.backup]\nkeep_last = 4\n");
    let log = reload(&daemon, "success");
    assert!(log.contains("changed attendance"), "{log}");
    wait_until_running(&daemon, "backup");

    application.release();
    let ended = wait_for_run(&sandbox, "backup", run.id - 1, "success");
    assert_eq!(ended.id, run.id);
    assert!(daemon.stop().success());
}

#[test]
fn connections_survive_a_reload_unless_the_pool_itself_changes() {
    // Nothing is scheduled when it matters: no job opens a connection behind our back.
    let sandbox = Sandbox::new();
    let library = second_database(&sandbox);
    let configure = |more: &str| sandbox.configure(&format!("{library}{more}"));
    configure(&format!("{EACH_SECOND}idle = \"10m\"\n"));
    let daemon = Daemon::start(&sandbox.configuration());
    wait_for_run(&sandbox, "backup", 0, "success");
    let idle_of =
        |status: &serde_json::Value| database(status, "attendance")["pool"]["idle"].as_u64().unwrap();
    let idle_after_reload = |changes: &str| {
        let before = status(&daemon)["config"]["loaded_at"].clone();
        let log = reload(&daemon, "success");
        assert!(log.contains(changes), "{log}");
        wait_until("the status shows the new configuration", || {
            let status = status(&daemon);
            (status["config"]["loaded_at"] != before).then(|| idle_of(&status))
        })
    };
    configure("[pool]\nidle = \"10m\"\nbusy_timeout = \"10m\"\n");
    idle_after_reload("changed attendance, library");
    wait_until("its connection is idle", || (idle_of(&status(&daemon)) == 1).then_some(()));
    configure("[pool]\nidle = \"10m\"\nbusy_timeout = \"10m\"\n[database.library.backup]\nkeep_last = 3\n");
    assert_eq!(idle_after_reload("changed library"), 1, "another database changed");
    configure("[pool]\nidle = \"10m\"\nbusy_timeout = \"10m\"\n[backup]\nkeep_last = 3\n");
    assert_eq!(idle_after_reload("changed attendance"), 1, "something else of the same database changed");
    configure("[pool]\nidle = \"10m\"\nbusy_timeout = \"9m\"\n[backup]\nkeep_last = 3\n");
    assert_eq!(idle_after_reload("changed attendance"), 0, "a new pool has no connection yet");
    assert!(daemon.stop().success());
}

#[test]
fn a_wrong_file_leaves_the_old_one_in_force_and_the_log_points_at_the_place() {
    let sandbox = Sandbox::new();
    let good = fs::read_to_string(sandbox.configure(EACH_SECOND)).unwrap();
    let daemon = Daemon::start(&sandbox.configuration());
    assert!(reload(&daemon, "success").contains("nothing changed"));

    sandbox.configure_as(&format!("{good}\n[maintain]\n"));
    let log = reload(&daemon, "failure");
    assert!(log.contains("litekeeper.toml:"), "{log}");

    let wrong = good.replace("listen = ", "litsen = ");
    assert_ne!(wrong, good);
    sandbox.configure_as(&wrong);
    let log = reload(&daemon, "failure");
    let line = wrong.lines().position(|line| line.starts_with("litsen")).unwrap() + 1;
    assert!(log.contains(&format!("litekeeper.toml:{line}:1")), "{log}");
    assert!(log.contains("^^^^^^") && log.contains("listen"), "{log}");
    assert_eq!(successful(&daemon), 0.0);
    // The old one is in force: its schedule goes on.
    wait_for_run(&sandbox, "backup", history::newest(&sandbox), "success");

    fs::remove_file(sandbox.configuration()).unwrap();
    let log = reload(&daemon, "failure");
    assert!(log.contains("there is no such file"), "{log}");
    assert_eq!(successful(&daemon), 0.0);

    sandbox.configure_as(&good);
    reload(&daemon, "success");
    assert_eq!(successful(&daemon), 1.0);
    assert!(daemon.stop().success());
}

#[test]
fn keys_that_need_a_restart_are_refused_by_name_with_all_else_in_the_file() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let daemon = Daemon::start(&sandbox.configuration());
    let elsewhere = sandbox.path().join("elsewhere");
    for (key, value) in [
        ("listen", "off".to_owned()),
        ("state_dir", elsewhere.display().to_string()),
        ("log_format", "json".to_owned()),
    ] {
        sandbox.configure(&format!("[daemon]\n{key} = {value:?}\n{}", second_database(&sandbox)));
        let log = reload(&daemon, "failure");
        assert!(log.contains(&format!("daemon.{key} (from")) && log.contains("restart"), "{log}");
        assert_eq!(successful(&daemon), 0.0);
        assert!(
            !daemon.get("/metrics").unwrap().body.contains("library"),
            "a part of a refused file took effect"
        );
    }
    assert!(!elsewhere.exists());
    assert!(daemon.stop().success());
}

// --- scheduling

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
        let status = status(&daemon);
        (job(&status, "library", "backup")["queued"] == true
            && !job(&status, "attendance", "backup")["running"].is_null())
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
    let labels = [("database", "attendance"), ("job", "backup")];
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
    let job = [("database", "attendance"), ("job", "backup")];
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

// --- stop

#[test]
fn a_stop_waits_for_a_running_job_within_its_grace() {
    for signal in [Signal::TERM, Signal::INT] {
        let (sandbox, mut application) = held_up();
        let daemon =
            Daemon::start(&sandbox.configure(&format!("[daemon]\nshutdown_grace = \"10m\"\n{EACH_SECOND}")));
        wait_until_running(&daemon, "backup");
        daemon.signal(signal);
        daemon.wait_for_log("the stop", |line| line.contains("stopping"));
        wait_until("it says that it is not ready", || {
            (daemon.get("/readyz").unwrap().status == 503).then_some(())
        });
        application.release();
        assert_eq!(daemon.wait().0.code(), Some(0));
        let run = &runs(&sandbox, "attendance", "backup")[0];
        assert_eq!(run.outcome, "success", "{run:?}");
    }
}

#[test]
fn a_stop_interrupts_what_outlasts_its_grace() {
    let (sandbox, mut application) = held_up();
    let daemon =
        Daemon::start(&sandbox.configure(&format!("[daemon]\nshutdown_grace = \"100ms\"\n{EACH_SECOND}")));
    wait_until_running(&daemon, "backup");
    let (status, log) = {
        daemon.signal(Signal::TERM);
        daemon.wait()
    };
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(log.iter().any(|line| line.contains("shutdown_grace is over")), "{log:?}");
    let all = runs(&sandbox, "attendance", "backup");
    let interrupted: Vec<_> = all.iter().filter(|run| run.outcome == "interrupted").collect();
    assert_eq!(interrupted.len(), 1, "{all:?}");
    assert!(all.iter().all(|run| run.outcome != "running"), "{all:?}");
    assert_eq!(hidden(&sandbox), Vec::<String>::new());
    application.release();
    assert_sound(&sandbox.database());
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)]
    {
        let (sandbox, _application) = held_up();
        let daemon =
            Daemon::start(&sandbox.configure(&format!("[daemon]\nshutdown_grace = \"10m\"\n{EACH_SECOND}")));
        wait_until_running(&daemon, "backup");
        daemon.signal(first);
        daemon.wait_for_log("the stop", |line| line.contains("stopping"));
        daemon.signal(second);
        assert_eq!(code(daemon.wait().0), 1);
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().expect("it was killed")
}

/// Unfinished files beside the backups.
fn hidden(sandbox: &Sandbox) -> Vec<String> {
    let Ok(entries) = fs::read_dir(sandbox.backups().join("attendance")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') && name != ".lock").collect()
}

// --- systemd

/// What systemd hears. With a running job, so that the stop takes a while.
#[test]
fn systemd_hears_of_the_start_the_reload_the_stop_and_each_heartbeat() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = |what: &str, pick: &dyn Fn(&str) -> bool| {
        let mut buffer = [0; 4096];
        let mut all = Vec::new();
        let start = Instant::now();
        loop {
            let length =
                systemd.recv(&mut buffer).unwrap_or_else(|e| panic!("no {what} ({e}); heard {all:?}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if pick(&message) {
                return (message, all);
            }
            all.push(message);
            assert!(start.elapsed() < PATIENCE, "no {what}; heard {all:?}");
        }
    };
    let daemon = Daemon::spawn(&sandbox.configure("[backup]\nschedule = \"@yearly\"\n"), |command| {
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "2000000");
    });
    let line = |wanted: &'static str| move |message: &str| message.lines().any(|line| line == wanted);
    heard("READY", &line("READY=1"));
    heard("WATCHDOG", &line("WATCHDOG=1"));
    daemon.signal(Signal::HUP);
    let (message, _) = heard("RELOADING", &line("RELOADING=1"));
    let monotonic =
        message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap_or_else(|| {
            panic!("RELOADING=1 and MONOTONIC_USEC must come in one message, not {message:?}");
        });
    assert!(monotonic.parse::<u64>().unwrap() > 0);
    heard("READY after the reload", &line("READY=1"));
    let (_, before) = heard("another WATCHDOG", &line("WATCHDOG=1"));
    assert!(before.iter().all(|message| !message.contains("STOPPING")));

    // A wrong file must not leave systemd waiting for the end of the reload.
    let mark = daemon.mark();
    sandbox.configure_as("nonsense");
    daemon.signal(Signal::HUP);
    heard("RELOADING", &line("RELOADING=1"));
    heard("READY after the refused reload", &line("READY=1"));
    daemon.wait_for_log_from(mark, "the reason", |line| line.contains("nonsense"));

    sandbox.configure("[backup]\nschedule = \"0 0 2 1 *\"\n");
    daemon.signal(Signal::HUP);
    let (status, _) = heard("STATUS", &|message: &str| message.starts_with("STATUS="));
    assert!(status.contains("1 database") && status.contains("backup of attendance"), "{status}");
    daemon.signal(Signal::TERM);
    let (stopping, _) = heard("STOPPING", &line("STOPPING=1"));
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
    assert_eq!(daemon.wait().0.code(), Some(0));
}

#[test]
fn a_reload_during_the_stop_is_passed_over() {
    let (sandbox, mut application) = held_up();
    let daemon =
        Daemon::start(&sandbox.configure(&format!("[daemon]\nshutdown_grace = \"10m\"\n{EACH_SECOND}")));
    wait_until_running(&daemon, "backup");
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("the stop", |line| line.contains("stopping"));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the answer", |line| line.contains("no reload"));
    application.release();
    assert_eq!(daemon.wait().0.code(), Some(0));
}
