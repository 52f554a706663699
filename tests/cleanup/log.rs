//! The write-ahead log during a cleanup: kept short, and left to whoever else owns or needs it.

use super::fixture::{Place, Rule, database, day, detail, message, rule};
use crate::support::application::{Application, create_database};
use crate::support::backups::sha256sum;
use crate::support::soundness::assert_sound;
use litekeeper::config::Database;
use litekeeper::error::Reason;
use litekeeper::terms::Outcome;
use std::time::Duration;

fn place() -> Place {
    let place = Place { directory: tempfile::tempdir().unwrap() };
    create_database(&place.path(), &["--rows", "20000"]);
    place
}

fn by_date(place: &Place) -> Database {
    let by = Rule { column: Some("date".into()), keep: Some(day(100)), ..rule("attendance") };
    let mut database = database(&place.path(), vec![by]);
    database.cleanup.batch_target = Duration::from_micros(500);
    database
}

/// Of a log that is moved into the file as it comes, also where a batch or a checkpoint takes its
/// time. What is removed here makes several times as much.
const LONGEST: u64 = 8 << 20;

fn attendance(place: &Place) -> i64 {
    place.number("SELECT count(*) FROM attendance")
}

#[tokio::test(flavor = "multi_thread")]
async fn h11_a_reader_that_keeps_the_log_from_being_emptied_ends_the_run_and_the_next_one_goes_on() {
    let place = place();
    let mut application = Application::start(&place.path());
    application.hold_read();
    let before = attendance(&place);
    let mut limited = by_date(&place);
    limited.maintain.max_wal = 1 << 20;
    limited.pool.busy_timeout = Duration::from_millis(1);
    let (reason, message) = message(&place.run_as(limited.clone(), false).await);
    assert_eq!(reason, Reason::Deadline, "{message}");
    for part in [
        "write-ahead log",
        "maintain.max_wal = 1.0 MiB",
        "another connection",
        "the next run goes on",
        "had been removed",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let left = attendance(&place);
    assert!(left < before, "none of {before} was removed");
    application.release();
    let finished = place.run_as(limited, false).await;
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    assert_eq!(detail(&finished)["matched"], detail(&finished)["removed"]);
    application.stop();
    assert_sound(&place.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn h13_moves_no_page_out_of_a_log_that_a_replicator_owns_and_ends_when_it_is_too_long() {
    let place = place();
    place.open().execute_batch("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)").unwrap();
    // Open all the time, so that no connection of a test's is the last one, which would move the
    // log when it closes.
    let replicator = place.open();
    replicator.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let before = sha256sum(&place.path());
    let mut limited = by_date(&place);
    limited.maintain.max_wal = 1 << 20;
    limited.pool.busy_timeout = Duration::from_millis(1);
    let (reason, message) = message(&place.run_as(limited, false).await);
    assert_eq!(reason, Reason::Deadline, "{message}");
    assert!(message.contains("the replicator that owns it"), "{message}");
    assert_eq!(sha256sum(&place.path()), before);
    let finished = place.run_as(by_date(&place), false).await;
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    assert_eq!(sha256sum(&place.path()), before);
    let space = finished.result.unwrap().detail["space"].as_str().unwrap().to_owned();
    assert!(space.contains("a replicator owns"), "{space}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_in_the_file_after_each_batch_while_the_application_writes() {
    let place = place();
    let mut application = Application::start(&place.path());
    // So that it makes no checkpoint for us.
    application.sql("PRAGMA wal_autocheckpoint = 0");
    application.write_every(Duration::from_millis(5));
    application.wait_for_commits(5);
    let finished = place.run_as(by_date(&place), false).await;
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    application.wait_for_commits(5);
    let last = application.pause();
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&place.path()), last);
    let peak = detail(&finished)["wal_peak_bytes"].as_u64().unwrap();
    assert!(peak > 0 && peak < LONGEST, "{peak}");
}
