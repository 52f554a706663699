//! Places that are read-only here: a backup medium after a disaster, a mount of the application's
//! data. What reads works, what writes is skipped and says why. Takes root, for the mounts.

use crate::support::application::Application;
use crate::support::daemon::Daemon;
use crate::support::disk::Disk;
use crate::support::history::wait_for_run;
use crate::support::sandbox::{Sandbox, said};
use crate::support::skip;
use crate::support::soundness::assert_sound;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// Mounts `directory` read-only at `at`; itself, or somewhere else.
fn read_only(directory: &Path, at: &Path) -> Option<Disk> {
    let disk = Disk::mount(at, &["--bind", "-o", "ro", directory.to_str().unwrap()]);
    if disk.is_none() {
        skip("needs the right to mount");
    }
    disk
}

fn ok(sandbox: &Sandbox, args: &[&str]) -> Output {
    let output = sandbox.litekeeper(args);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    output
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn backups_on_a_read_only_medium_are_listed_verified_and_restored() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    ok(&sandbox, &["backup", "attendance"]);
    let Some(_medium) = read_only(&sandbox.backups(), &sandbox.backups()) else { return };
    let listed = told(&ok(&sandbox, &["--json", "backups", "attendance"]));
    assert_eq!((&listed[0]["state"], &listed[0]["keep"]), (&"good".into(), &true.into()), "{listed}");
    let verified = told(&ok(&sandbox, &["--json", "verify", "attendance"]));
    assert_eq!(verified["detail"]["ok"], true, "{verified}");
    let summary = verified["summary"].as_str().unwrap();
    assert!(summary.contains("not noted") && summary.contains("read-only"), "{summary}");
    let target = sandbox.path().join("restored.sqlite");
    ok(&sandbox, &["restore", "attendance", "--to", target.to_str().unwrap()]);
    assert_sound(&target);
    ok(&sandbox, &["status", "attendance"]);
    // What writes there fails, with the reason.
    let output = sandbox.litekeeper(&["--json", "pin", "attendance", listed[0]["name"].as_str().unwrap()]);
    assert_eq!((output.status.code(), &told(&output)["error"]["reason"]), (Some(1), &"read_only".into()));
}

#[test]
fn a_rollback_database_on_a_read_only_mount_is_backed_up_and_checked_and_jobs_that_write_are_skipped() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let Some(_mount) = read_only(&sandbox.data(), &sandbox.data()) else { return };
    sandbox.configure("");
    let checked = said(&ok(&sandbox, &["check", "--environment"]));
    assert!(checked.contains("read-only here") && !checked.contains("problem"), "{checked}");
    ok(&sandbox, &["backup", "attendance"]);
    ok(&sandbox, &["verify", "attendance"]);
    ok(&sandbox, &["health", "attendance", "--deep"]);
    let target = sandbox.path().join("restored.sqlite");
    ok(&sandbox, &["restore", "attendance", "--to", target.to_str().unwrap()]);
    assert_sound(&target);
    for args in [&["maintain", "attendance"][..], &["maintain", "attendance", "--dry-run"]] {
        let output = sandbox.litekeeper(&[&["--json"], args].concat());
        let told = told(&output);
        assert_eq!((&told["outcome"], &told["reason"]), (&"skipped".into(), &"read_only".into()), "{told}");
        assert!(told["summary"].as_str().unwrap().contains("read-only here"), "{told}");
    }
    // By schedule: no failure each night.
    let rule = "[maintain]\nschedule = \"* * * * * *\"\n[cleanup]\nschedule = \"* * * * * *\"\n\
                [[database.attendance.cleanup.rule]]\ntable = \"attendance\"\nkeep_rows = 10\n";
    let daemon = Daemon::start(&sandbox.configure(rule));
    for job in ["maintain", "cleanup"] {
        let run = wait_for_run(&sandbox, job, 0, "skipped");
        assert_eq!(run.reason, "read_only", "{run:?}");
    }
    assert!(daemon.stop().success());
}

#[test]
fn h04_a_wal_database_on_a_read_only_mount_is_read_with_its_log_and_refused_without() {
    let sandbox = Sandbox::new();
    let seen_at = sandbox.path().join("seen");
    std::fs::create_dir(&seen_at).unwrap();
    let Some(_mount) = read_only(&sandbox.data(), &seen_at) else { return };
    let path = seen_at.join("attendance.sqlite");
    sandbox.configure(&format!("[database.attendance]\npath = \"{}\"\n", path.display()));
    // Its application writes by the other mount, and its last commits are in the log alone.
    let mut application = Application::start(&sandbox.database());
    application.write_every(std::time::Duration::from_millis(2));
    application.wait_for_commits(5);
    let last = application.pause();
    ok(&sandbox, &["backup", "attendance"]);
    let target = sandbox.path().join("restored.sqlite");
    ok(&sandbox, &["restore", "attendance", "--to", target.to_str().unwrap()]);
    assert_eq!(assert_sound(&target), last);
    assert_eq!(application.stop().errors, Vec::<String>::new());

    let output = sandbox.litekeeper(&["--json", "backup", "attendance"]);
    let told = told(&output);
    assert_eq!((output.status.code(), &told["reason"]), (Some(1), &"read_only".into()), "{told}");
    let summary = told["summary"].as_str().unwrap();
    assert!(summary.contains("in WAL mode") && summary.contains("journal_mode = DELETE"), "{summary}");
}
