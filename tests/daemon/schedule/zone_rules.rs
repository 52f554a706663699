//! The machine's tzdata decides what a clock on the wall shows: another law is in force with the
//! next reload, and needs no other program.
#![allow(clippy::float_cmp, reason = "times in whole seconds")]

use crate::fixture::reload;
use crate::support::daemon::Daemon;
use crate::support::sandbox::{Sandbox, program};
use crate::support::skip;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rules for a zone that are so many hours ahead of UTC, compiled into `directory`. `None` without
/// the compiler.
fn compile(directory: &Path, hours: u32) -> Option<()> {
    let source = directory.join("source");
    fs::create_dir_all(directory).unwrap();
    fs::write(&source, format!("Zone Europe/Berlin {hours}:00 - LAW\n")).unwrap();
    let compiled = Command::new("zic").arg("-d").arg(directory).arg(&source).status();
    compiled.is_ok_and(|status| status.success()).then_some(())
}

fn configured(schedule: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!(
        "[daemon]\ntimezone = \"Europe/Berlin\"\n[maintain]\nschedule = \"{schedule}\"\n"
    ));
    let rules = sandbox.path().join("zoneinfo");
    (sandbox, rules)
}

fn next_maintenance(daemon: &Daemon) -> f64 {
    let labels = [("database", "attendance"), ("task", "maintain")];
    daemon.wait_for_metrics("the next maintenance", |metrics| {
        metrics.get("litekeeper_job_next_run_timestamp_seconds", &labels)
    })
}

#[test]
fn a_changed_law_moves_a_schedule_by_its_hour_at_the_next_reload() {
    // On the first of a month: no run is due between the two looks.
    let (sandbox, rules) = configured("30 12 1 1 *");
    let Some(()) = compile(&rules, 5) else { return skip("zic is not installed") };
    let configuration = sandbox.configuration();
    let daemon = Daemon::spawn(&configuration, |command| {
        command.env("TZDIR", &rules);
    });
    let at_five = next_maintenance(&daemon);
    assert_eq!(at_five.rem_euclid(86_400.0), (7.0 * 60.0 + 30.0) * 60.0, "12:30, five hours ahead of UTC");

    compile(&rules, 6).unwrap();
    let log = reload(&daemon, "success");
    assert!(log.contains("daemon.timezone from the former rules of Europe/Berlin"), "{log}");
    let moved = daemon.wait_for_metrics("the maintenance an hour earlier", |metrics| {
        let labels = [("database", "attendance"), ("task", "maintain")];
        metrics.get("litekeeper_job_next_run_timestamp_seconds", &labels).filter(|at| *at != at_five)
    });
    assert_eq!(at_five - moved, 3600.0);

    // The same rules once more are no change.
    let log = reload(&daemon, "success");
    assert!(log.contains("nothing changed"), "{log}");
    assert!(daemon.stop().success());
}

#[test]
fn the_command_reads_the_machine_s_rules_and_its_own_where_there_are_none() {
    let (sandbox, rules) = configured("30 12 1 1 *");
    let Some(()) = compile(&rules, 5) else { return skip("zic is not installed") };
    let next = |directory: &Path| -> String {
        let mut command = program();
        command.arg("--config").arg(sandbox.configuration()).args(["check", "--json"]);
        let output = command.env("TZDIR", directory).output().unwrap();
        let checked: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let schedules = checked["schedules"].as_array().unwrap();
        let maintain = schedules.iter().find(|schedule| schedule["task"] == "maintain").unwrap();
        maintain["next"][0]["at"].as_str().unwrap().to_owned()
    };
    assert!(next(&rules).ends_with("-01-01T07:30:00Z"), "{}", next(&rules));
    // Berlin's winter is an hour ahead, by the machine's own rules and by the program's.
    assert!(next(Path::new("/nonexistent")).ends_with("-01-01T11:30:00Z"));
}
