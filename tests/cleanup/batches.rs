//! A run that fails, is stopped or is killed leaves whole batches; and what an application beside
//! one notices.

use super::fixture::{ORDERS, Place, assert_whole_batches, cascade, database, detail, message};
use std::path::Path;
use std::time::Duration;

use crate::support::application::{Application, create_database};
pub(crate) use crate::support::configured::rule;
use crate::support::process::child::{self, Child};
use crate::support::soundness::assert_sound;
pub(crate) use litekeeper::config::Rule;
use litekeeper::config::{Database, Triggers};
use litekeeper::terms::Outcome;
use litekeeper::terms::progress::Progress;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_failing_batch_is_rolled_back_as_a_whole_and_the_ones_before_stay() {
    // Row 130 of 200 cannot go: the first batch has 100 rows, in the order of the index.
    let place = Place::new(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX i ON log(at); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) \
         INSERT INTO log SELECT i, 1000000000 + i FROM n; \
         CREATE TRIGGER guard BEFORE DELETE ON log WHEN old.id = 130 BEGIN SELECT RAISE(ABORT, 'kept'); END;",
    );
    let allowed = Rule { triggers: Triggers::Allow, ..rule("log") };
    let mut database = database(&place.path(), vec![allowed]);
    // So long that the second batch takes all that is left.
    database.cleanup.batch_target = Duration::from_secs(60);
    let finished = place.run_as(database, false).await;
    assert_eq!(finished.outcome, Outcome::Failure);
    assert_eq!(place.numbers("SELECT id FROM log ORDER BY id"), (101..=200).collect::<Vec<_>>());
    let report = finished.result.unwrap();
    assert!(report.problems[0].message.contains("a trigger refuses"), "{:?}", report.problems);
    assert_eq!(report.detail["rules"][0]["removed"], 100);
}

/// The orders' rule in thousands of batches, so that whoever stops the run is in time.
pub(crate) fn in_small_batches(path: &Path) -> Database {
    let mut database = database(path, vec![cascade("orders")]);
    database.cleanup.batch_target = Duration::from_nanos(1);
    database
}

#[tokio::test]
async fn cancelled_in_the_middle_it_leaves_whole_batches_and_the_next_run_goes_on() {
    let place = Place::new(ORDERS);
    let finished = place
        .run_watched(in_small_batches(&place.path()), false, |progress, cancel| {
            if progress.done > 0 {
                cancel.cancel();
            }
        })
        .await;
    assert_eq!(finished.outcome, Outcome::Interrupted);
    assert!(message(&finished).1.contains("rows had been removed before"), "{:?}", finished.result);
    assert_whole_batches(&place);
    let finished = place.run(vec![cascade("orders")]).await;
    assert_eq!(finished.outcome, Outcome::Success);
    assert_eq!(place.number("SELECT count(*) FROM orders") + place.number("SELECT count(*) FROM item"), 0);
}

/// Cleans a database up, until it is killed.
#[tokio::test]
#[ignore = "the other process in the tests of this file"]
async fn victim() {
    let Some(path) = child::argument() else { return };
    let place = Place { directory: tempfile::tempdir().unwrap() };
    let say = |progress: Progress, _: &CancellationToken| {
        if progress.done > 0 {
            child::say("removed some");
        }
    };
    place.run_watched(in_small_batches(&path), false, say).await;
}

#[tokio::test]
async fn killed_in_the_middle_it_leaves_whole_batches() {
    let place = Place::new(ORDERS);
    let mut victim = Child::start("batches::victim", &place.path());
    victim.said("removed some");
    victim.kill();
    assert_whole_batches(&place);
    assert_eq!(place.run(vec![cascade("orders")]).await.outcome, Outcome::Success);
    assert_eq!(place.number("SELECT count(*) FROM item"), 0);
}

#[tokio::test]
async fn an_application_that_writes_all_the_time_sees_no_error_and_loses_nothing() {
    for mode in ["wal", "delete"] {
        let place = Place { directory: tempfile::tempdir().unwrap() };
        create_database(&place.path(), &["--rows", "5000", "--journal-mode", mode]);
        let old = place.number("SELECT count(*) FROM attendance WHERE date < date('now', '-365 days')");
        let mut application = Application::start(&place.path());
        application.write_every(Duration::from_millis(5));
        application.wait_for_commits(5);
        let by_date = Rule { column: Some("date".into()), ..rule("attendance") };
        let finished = place.run(vec![by_date]).await;
        application.wait_for_commits(5);
        let last = application.pause();
        let seen = application.stop();
        assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        assert_eq!(detail(&finished)["removed"], old, "{mode}");
        assert!(detail(&finished)["batches"].as_u64().unwrap() > 1);
        assert_eq!(seen.errors, Vec::<String>::new(), "{mode}");
        assert_eq!(assert_sound(&place.path()), last, "{mode}");
    }
}

#[tokio::test]
async fn a_preview_writes_nothing_and_waits_for_no_writer() {
    let place = Place { directory: tempfile::tempdir().unwrap() };
    create_database(&place.path(), &["--rows", "500"]);
    let mut application = Application::start(&place.path());
    application.hold_write();
    let watcher = place.open();
    let version = || watcher.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).unwrap();
    let before = version();
    let mut database =
        database(&place.path(), vec![Rule { column: Some("date".into()), ..rule("attendance") }]);
    // A write would find the lock taken, and fail.
    database.pool.busy_timeout = Duration::ZERO;
    let finished = place.run_as(database, true).await;
    let old = place.number("SELECT count(*) FROM attendance WHERE date < date('now', '-365 days')");
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    assert_eq!(detail(&finished)["removed"], old);
    assert!(finished.result.unwrap().summary.starts_with("would remove "));
    assert_eq!(version(), before);
    application.release();
    assert_eq!(place.number("SELECT count(*) FROM attendance"), 500);
}
