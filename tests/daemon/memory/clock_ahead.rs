//! A clock that was ahead for a while, as that of a machine without a battery is until it has found
//! the time: what was written down meanwhile must neither hide nor hold up what comes after it.
#![allow(clippy::float_cmp, reason = "gauges of whole numbers")]

use crate::fixture::EACH_SECOND;
use crate::support::backups;
use crate::support::daemon::{Daemon, database, job, run_until};
use crate::support::history::{self, wait_for_run};
use crate::support::sandbox::Sandbox;
use chrono::{DateTime, TimeDelta, Utc};
use litekeeper::clock;
use litekeeper::state::State;
use litekeeper::state::slow::{self, Execution};
use litekeeper::terms::JobKind;
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::time::Duration;

const TEN_YEARS: i64 = 10 * 365 * 86_400_000;
const YEARLY: &str = "[backup]\nschedule = \"@yearly\"\n";

/// Writes into the run history what a clock would have that was wrong by so much.
fn shift(sandbox: &Sandbox, which: &str, millis: i64) {
    let connection = Connection::open(sandbox.state().join("state.db")).unwrap();
    let sql = format!("UPDATE run SET started = started + ?1, finished = finished + ?1 WHERE {which}");
    assert!(connection.execute(&sql, [millis]).unwrap() > 0);
}

fn history(sandbox: &Sandbox) -> Vec<Value> {
    let output = sandbox.litekeeper(&["--json", "history"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn after_a_run_under_a_clock_that_was_ahead_missed_runs_are_caught_up_and_no_time_lies_ahead() {
    let sandbox = Sandbox::new();
    let earlier = run_until(&sandbox, EACH_SECOND, "backup", "success");
    let ahead = run_until(&sandbox, EACH_SECOND, "backup", "success");
    // Three years ago by a clock that was right, and then ten years ahead.
    shift(&sandbox, &format!("id < {}", ahead.id), -3 * 366 * 86_400_000);
    shift(&sandbox, &format!("id >= {}", ahead.id), TEN_YEARS);
    let newest = history::newest(&sandbox);
    for run in history(&sandbox) {
        let is_ahead = run["id"].as_i64().unwrap() >= ahead.id;
        assert_eq!((run["started"].is_null(), run["finished"].is_null()), (is_ahead, is_ahead), "{run}");
    }

    // Nothing is caught up: the last success whose time is known is what is exported.
    let daemon = Daemon::start(&sandbox.configure(&format!("{YEARLY}catch_up = false\n")));
    let labels = [("database", "attendance"), ("task", "backup")];
    let gauge = "litekeeper_job_last_success_timestamp_seconds";
    let known = daemon.wait_for_metrics("the last success", |m| m.get(gauge, &labels));
    let latest = Utc::now() - TimeDelta::days(2 * 366);
    assert!(known < latest.timestamp() as f64, "{known} is that of run {}", earlier.id);
    let status = daemon.status();
    let shown = job(&status, "attendance", "backup").unwrap();
    assert_eq!((&shown["last"]["id"], &shown["last"]["finished"]), (&newest.into(), &Value::Null));
    assert!(daemon.stop().success());
    assert_eq!(history::newest(&sandbox), newest, "catch_up is off");

    let daemon = Daemon::start(&sandbox.configure(YEARLY));
    let caught_up = wait_for_run(&sandbox, "backup", newest, "success");
    assert_eq!(caught_up.cause, "catch_up");
    let now =
        daemon.wait_for_metrics("the new last success", |m| m.get(gauge, &labels).filter(|at| *at > known));
    assert!(now <= Utc::now().timestamp_millis() as f64 / 1000.0);
    let status = daemon.status();
    let last = &job(&status, "attendance", "backup").unwrap()["last"];
    assert!(time(&last["finished"]) <= Utc::now(), "{last}");
    let said = |line: &&String| line.contains("the clock was ahead");
    assert_eq!(daemon.log().iter().filter(said).count(), 1, "said once");
    assert!(daemon.stop().success());
    let daemon = Daemon::start(&sandbox.configuration());
    assert_eq!(daemon.log().iter().filter(said).count(), 0, "a newer run has a time that is known");
    assert!(daemon.stop().success());
    assert_eq!(history::newest(&sandbox), caught_up.id, "once is enough");
}

/// Gives the newest backup the name and the times that it would have by a clock ten years ahead.
fn make_ahead(sandbox: &Sandbox) -> String {
    let mut manifest = backups::manifests(sandbox).pop().unwrap();
    let data = backups::file(sandbox, &manifest);
    let old = manifest["file"].as_str().unwrap().to_owned();
    let stem = old.split('.').next().unwrap().to_owned();
    let later = |at: &Value| time(at) + TimeDelta::milliseconds(TEN_YEARS);
    let started = later(&manifest["started"]);
    let new_stem = format!("attendance_{}", started.format("%Y%m%dT%H%M%SZ"));
    let new = old.replace(&stem, &new_stem);
    for key in ["started", "finished"] {
        manifest[key] = later(&manifest[key]).to_rfc3339().into();
    }
    manifest["file"] = new.clone().into();
    manifest["sequence"] = started.timestamp().into();
    let directory = backups::directory(sandbox);
    fs::rename(data, directory.join(&new)).unwrap();
    fs::remove_file(directory.join(format!("{stem}.json"))).unwrap();
    fs::write(directory.join(format!("{new_stem}.json")), manifest.to_string()).unwrap();
    new
}

#[test]
fn a_backup_named_by_a_clock_that_was_ahead_is_of_an_unknown_time_and_the_next_one_is_the_newest() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nskip_unchanged = false\n");
    let back_up = || assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    back_up();
    let first = backups::manifests(&sandbox).pop().unwrap();
    back_up();
    let ahead = make_ahead(&sandbox);
    let listed = sandbox.litekeeper(&["--json", "backups", "attendance"]);
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["time"]), (&ahead.clone().into(), &Value::Null), "{listed:?}");
    let text = sandbox.litekeeper(&["backups", "attendance"]);
    assert!(String::from_utf8(text.stdout).unwrap().contains("at an unknown time"));

    let daemon = Daemon::start(&sandbox.configuration());
    let labels = [("database", "attendance")];
    let gauge = "litekeeper_backup_newest_timestamp_seconds";
    // What is exported is what is known: the one before it.
    let known = daemon.wait_for_metrics("the newest backup", |m| m.get(gauge, &labels));
    assert_eq!(known.floor(), time(&first["started"]).timestamp() as f64);
    let status = daemon.status();
    let newest = &database(&status, "attendance").unwrap()["newest_backup"];
    let times = [&newest["taken"], &newest["current"], &newest["finished"]];
    assert_eq!((&newest["name"], times), (&ahead.into(), [&Value::Null; 3]));
    back_up();
    let next = backups::manifests(&sandbox).pop().unwrap();
    daemon.wait_for_metrics("the next one", |m| {
        let shown = m.get(gauge, &labels)?;
        (shown.floor() == time(&next["started"]).timestamp() as f64).then_some(())
    });
    assert!(daemon.stop().success());
}

#[test]
fn slow_statements_of_a_clock_that_was_ahead_neither_stay_slow_nor_push_newer_ones_out() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path()).unwrap();
    state.now(|c| Ok(c.pragma_update(None, "synchronous", "off")?)).unwrap();
    let (now, ahead) = (clock::now(), clock::now() + TimeDelta::milliseconds(TEN_YEARS));
    let record = |shape: String, at| {
        let execution = Execution {
            database: "a".to_owned(),
            job: JobKind::Watch.as_str(),
            shape,
            at,
            duration: Duration::from_secs(2),
            vm_steps: 0,
            full_scan_steps: 0,
            sorts: 0,
            automatic_indexes: 0,
            plan: None,
        };
        state.now(|c| slow::record(c, &execution)).unwrap();
    };
    let slow_since = |at| state.now(|c| slow::worst(c, "a", at, u32::MAX)).unwrap();
    for number in 0..600 {
        record(format!("SELECT {number}"), ahead);
    }
    assert_eq!(slow_since(now - TimeDelta::hours(1)), [], "nobody knows that they were slow of late");
    let all = slow_since(DateTime::UNIX_EPOCH);
    assert!(!all.is_empty() && all.iter().all(|shape| shape.last_seen.is_none()));
    record(String::from("DELETE"), now);
    record(String::from("UPDATE"), now + TimeDelta::milliseconds(1));
    let found = slow_since(now - TimeDelta::hours(1));
    for shape in ["DELETE", "UPDATE"] {
        assert!(found.iter().any(|known| known.shape == shape), "{shape} was pushed out");
    }
}
