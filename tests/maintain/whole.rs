//! All steps of a run together.

use std::time::Duration;

use litekeeper::config::{Analyze, Reindex, Vacuum};
use litekeeper::error::Reason;
use litekeeper::terms::Outcome;
use serde_json::json;

use crate::fixture::{as_application, database, fill, maintain, number, state};
use crate::support::application::Application;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::sql::wal_bytes;

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_done_while_the_application_writes() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 4);
    let before = number(&path, "PRAGMA page_count");
    let mut application = Application::start_with(&path, &["--busy-timeout", "60000"], None);
    application.write_every(Duration::from_millis(1));
    application.wait_for_commits(5);
    let database = database(&path, |d| {
        d.maintain.vacuum = Vacuum::Auto;
        d.maintain.analyze = Analyze::Always;
        d.maintain.reindex = Reindex::Always;
    });
    let ran = maintain(&state(&sandbox), &database).await;
    application.wait_for_commits(5);
    assert_eq!(ran.finished.outcome, Outcome::Success, "{:?}", ran.finished.result);
    assert_eq!(["reindex", "vacuum", "analyze", "checkpoint"].map(|step| ran.decision(step)), ["done"; 4]);
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&path), seen.last());
    let after = number(&path, "PRAGMA page_count");
    assert!(after < before * 8 / 10, "{before} pages before, {after} after");
    // What the application adds meanwhile is small beside the 4 MiB and more that were free.
    let freed = ran.step("vacuum")["freed_bytes"].as_i64().unwrap();
    assert!((freed - (before - after) * 4096).abs() < 1 << 20, "{freed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h13_a_replicated_database_is_neither_vacuumed_nor_checkpointed() {
    for marked_by in ["table", "directory"] {
        let sandbox = Sandbox::new();
        let path = sandbox.database();
        fill(&path, 2);
        match marked_by {
            "table" => {
                as_application(
                    &path,
                    "c.execute('CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq)')",
                );
            }
            _ => std::fs::create_dir(sandbox.data().join(".attendance.sqlite-litestream")).unwrap(),
        }
        let mut application = Application::start(&path);
        application.write_every(Duration::ZERO);
        application.wait_for_commits(3);
        application.pause();
        let (pages, log) = (number(&path, "PRAGMA page_count"), wal_bytes(&path));
        for vacuum in [Vacuum::Always, Vacuum::Auto, Vacuum::Incremental] {
            let database = database(&path, |d| {
                d.maintain.vacuum = vacuum;
                d.maintain.max_wal = 0;
            });
            let ran = maintain(&state(&sandbox), &database).await;
            assert_eq!(ran.finished.outcome, Outcome::Success);
            for step in ["vacuum", "checkpoint"] {
                assert_eq!(ran.decision(step), "skipped");
                assert!(ran.why(step).contains("a replicator owns"), "{}", ran.why(step));
            }
            assert!(!ran.ran("VACUUM") && !ran.ran("wal_checkpoint"), "{:?}", ran.statements);
        }
        assert_eq!((number(&path, "PRAGMA page_count"), wal_bytes(&path)), (pages, log));
        application.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h16_what_only_the_application_can_do_is_said_and_the_rest_is_done() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    as_application(
        &path,
        "c.executescript('''CREATE TABLE own (id INTEGER PRIMARY KEY, name COLLATE app_order, size);
         CREATE INDEX idx_own_name ON own (name);
         CREATE INDEX idx_own_size ON own (app_function(size));
         INSERT INTO own (name, size) VALUES ('a', 1), ('b', 2);''')",
    );
    let database = database(&path, |d| {
        d.maintain.reindex = Reindex::Always;
        d.maintain.vacuum = Vacuum::Always;
        d.maintain.analyze = Analyze::Always;
    });
    let ran = maintain(&state(&sandbox), &database).await;
    assert_eq!(ran.finished.outcome, Outcome::Success);
    assert_eq!(ran.problems(), []);
    let left_out = |step: &str| ran.step(step)["left_out"].as_array().unwrap().clone();
    let [order, function] = left_out("reindex").try_into().unwrap();
    assert!(order.as_str().unwrap().starts_with("REINDEX idx_own_name of table own: "), "{order}");
    assert!(order.as_str().unwrap().contains("app_order"), "{order}");
    assert!(function.as_str().unwrap().contains("app_function"), "{function}");
    let [own] = left_out("analyze").try_into().unwrap();
    assert!(own.as_str().unwrap().starts_with("ANALYZE of own: "), "{own}");
    let [vacuum] = left_out("vacuum").try_into().unwrap();
    assert!(vacuum.as_str().unwrap().contains("app_order"), "{vacuum}");
    assert!(vacuum.as_str().unwrap().contains("index idx_own_size: "), "{vacuum}");
    assert!(
        !ran.ran("VACUUM") && !ran.ran("REINDEX main.\"idx_own"),
        "known before it is tried: {:?}",
        ran.statements
    );
    let treated = |step: &str| ran.step(step)["treated"].as_array().unwrap().clone();
    assert!(treated("reindex").contains(&json!("idx_users_name")));
    assert_eq!(treated("analyze"), ["attendance", "face_samples", "journal", "ledger", "users"]);
    assert_eq!(ran.decision("vacuum"), "left_out");
    assert_eq!(ran.decision("checkpoint"), "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_the_application_keeps_fails_the_step_and_not_the_next_one() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let mut application = Application::start(&path);
    application.hold_write();
    let database = database(&path, |d| {
        d.maintain.vacuum = Vacuum::Always;
        d.pool.busy_timeout = Duration::from_millis(1);
    });
    let ran = maintain(&state(&sandbox), &database).await;
    assert_eq!(ran.finished.outcome, Outcome::Failure);
    let problems = ran.problems();
    let [(Reason::Busy, message)] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(
        message.starts_with("VACUUM: ") && message.contains("the application held the lock"),
        "{message}"
    );
    assert_eq!(ran.decision("checkpoint"), "done");
    application.release();
    application.stop();
}
