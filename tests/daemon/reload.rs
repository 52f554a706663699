//! A reload: databases come and go, running jobs and connections stay, and a wrong file changes
//! nothing.
#![allow(clippy::float_cmp, reason = "gauges and counters of whole numbers")]

use super::fixture::{EACH_SECOND, count, held_up, reload, second_database, successful, wait_until_running};
use crate::support::daemon::{Daemon, database};
use crate::support::history::{self, runs, wait_for_run};
use crate::support::sandbox::Sandbox;
use crate::support::wait_until;
use std::fs;

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
    let idle_of = |status: &serde_json::Value| {
        database(status, "attendance").unwrap()["pool"]["idle"].as_u64().unwrap()
    };
    let idle_after_reload = |changes: &str| {
        let before = daemon.status()["config"]["loaded_at"].clone();
        let log = reload(&daemon, "success");
        assert!(log.contains(changes), "{log}");
        wait_until("the status shows the new configuration", || {
            let status = daemon.status();
            (status["config"]["loaded_at"] != before).then(|| idle_of(&status))
        })
    };
    configure("[pool]\nidle = \"10m\"\nbusy_timeout = \"10m\"\n");
    idle_after_reload("changed attendance, library");
    wait_until("its connection is idle", || (idle_of(&daemon.status()) == 1).then_some(()));
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
