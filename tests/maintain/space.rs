//! When free pages are given back: from which share on, in slices, and in a file that is converted
//! once.

use std::time::Duration;

use litekeeper::config::Vacuum;
use litekeeper::error::Reason;
use litekeeper::jobs::maintain::Maintain;
use litekeeper::jobs::runner;
use litekeeper::pool::Pool;
use litekeeper::sqlite::upkeep::incremental::IncrementalVacuum;
use litekeeper::sqlite::upkeep::vacuum::{AutoVacuum, vacuum};
use litekeeper::sqlite::write::hold::Holds;
use litekeeper::terms::Outcome;
use rusqlite::Connection;

use crate::fixture::{as_application, database, fill, maintain, number, state};
use crate::support::application::Application;
use crate::support::keeper::order;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::sql::wal_bytes;
use crate::support::wait_until;

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_is_not_done_below_the_share_or_the_size() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 2);
    let before = number(&path, "PRAGMA page_count");
    for (min_free, min_size) in [(0.99, 0), (0.0, 1 << 30)] {
        let database = database(&path, |d| {
            d.maintain.vacuum = Vacuum::Auto;
            d.maintain.vacuum_min_free = min_free;
            d.maintain.vacuum_min_size = min_size;
        });
        let ran = maintain(&state(&sandbox), &database).await;
        assert_eq!(ran.decision("vacuum"), "skipped");
        assert!(ran.why("vacuum").starts_with("VACUUM not needed: "), "{}", ran.why("vacuum"));
        assert_eq!(ran.finished.outcome, Outcome::Success);
    }
    assert_eq!(number(&path, "PRAGMA page_count"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_vacuum_frees_all_in_slices() {
    for vacuum in [Vacuum::Incremental, Vacuum::Auto] {
        let sandbox = Sandbox::with_database(&["--auto-vacuum", "incremental"]);
        let path = sandbox.database();
        fill(&path, 8);
        let free = number(&path, "PRAGMA freelist_count");
        assert!(free > 2000);
        // As long as it is open nobody but a checkpoint empties the log.
        let mut application = Application::start_with(&path, &["--busy-timeout", "60000"], None);
        application.sql("PRAGMA wal_autocheckpoint = 0");
        as_application(&path, "c.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()");
        let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.vacuum = vacuum)).await;
        assert_eq!(ran.decision("vacuum"), "done", "{:?}", ran.finished.result);
        assert!(!ran.ran("VACUUM"), "{:?}", ran.statements);
        assert_eq!(number(&path, "PRAGMA freelist_count"), 0);
        let step = ran.step("vacuum");
        assert!(step["freed_pages"].as_i64().unwrap() >= free, "{step}");
        let slices = step["held"]["times"].as_u64().unwrap();
        assert!(slices > 2, "{slices}");
        assert!(ran.why("vacuum").ends_with(&format!("in {slices} slices")), "{}", ran.why("vacuum"));
        // Each slice's pages were moved before the next: the log never held them all.
        assert!(wal_bytes(&path) < 4 << 20, "{}", wal_bytes(&path));
        application.stop();
        assert_sound(&path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blackout_ends_incremental_vacuum_between_two_slices() {
    let sandbox = Sandbox::with_database(&["--auto-vacuum", "incremental"]);
    let path = sandbox.database();
    fill(&path, 8);
    let free = number(&path, "PRAGMA freelist_count");
    // Slices of a page, so that there are thousands.
    let database = database(&path, |d| {
        d.maintain.vacuum = Vacuum::Incremental;
        d.cleanup.batch_target = Duration::from_nanos(1);
    });
    let pool = Pool::new(&database, litekeeper::pool::slow_statements(1).0).unwrap();
    let order = order(Maintain, &database, &pool);
    let blackout = order.blackout.clone();
    let state = state(&sandbox);
    let run = tokio::spawn(async move { runner::run(&state, order).await });
    wait_until("some pages are freed", || (number(&path, "PRAGMA freelist_count") < free).then_some(()));
    blackout.cancel();
    let finished = run.await.unwrap();
    assert_eq!(finished.outcome, Outcome::Interrupted, "{:?}", finished.result);
    assert_eq!(finished.result.unwrap_err().reason, Reason::Blackout);
    assert!(number(&path, "PRAGMA freelist_count") > 0);
    assert_sound(&path);
}

#[test]
fn a_slice_that_must_stop_is_rolled_back_and_a_replicator_ends_them_all() {
    let sandbox = Sandbox::with_database(&["--auto-vacuum", "incremental"]);
    let path = sandbox.database();
    fill(&path, 2);
    let holds = Holds::new(|_| {});
    let free = number(&path, "PRAGMA freelist_count");
    let mut freeing = IncrementalVacuum::begin(&path, Duration::ZERO).unwrap();
    assert_eq!(freeing.slice(&holds, None, 500, || true).unwrap_err().reason, Reason::Cancelled);
    assert_eq!(number(&path, "PRAGMA freelist_count"), free);
    freeing.slice(&holds, None, 10, || false).unwrap();
    assert!(number(&path, "PRAGMA freelist_count") < free);
    std::fs::create_dir(sandbox.data().join(".attendance.sqlite-litestream")).unwrap();
    assert_eq!(freeing.slice(&holds, None, 10, || false).unwrap_err().reason, Reason::Refused);
    assert_eq!(holds.take().times, 2);
    // The last connection that closes moves the log into the file, but for what is the
    // replicator's.
    drop(freeing);
    assert!(wal_bytes(&path) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn h19_a_file_is_converted_once_and_only_where_the_setting_asks_for_it() {
    for vacuum in [Vacuum::Auto, Vacuum::Always, Vacuum::Incremental] {
        let asked = vacuum == Vacuum::Incremental;
        let sandbox = Sandbox::new();
        let path = sandbox.database();
        fill(&path, 2);
        let application = Application::start(&path);
        let (state, database) = (state(&sandbox), database(&path, |d| d.maintain.vacuum = vacuum));
        let ran = maintain(&state, &database).await;
        assert_eq!(ran.decision("vacuum"), "done", "{:?}", ran.finished.result);
        assert_eq!(ran.why("vacuum").contains("converted the file to auto_vacuum = INCREMENTAL"), asked);
        assert_eq!(number(&path, "PRAGMA auto_vacuum"), if asked { 2 } else { 0 });
        if asked {
            let again = maintain(&state, &database).await;
            assert_eq!(again.why("vacuum"), "VACUUM not needed: no page is free");
        }
        application.stop();
        assert_sound(&path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h19_a_conversion_that_failed_is_not_made_later_by_the_same_connection() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 2);
    let connection = Connection::open(&path).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    let holds = Holds::new(|_| {});
    let mut application = Application::start(&path);
    application.hold_write();
    vacuum(&connection, &holds, AutoVacuum::None, AutoVacuum::Incremental).unwrap_err();
    application.release();
    vacuum(&connection, &holds, AutoVacuum::None, AutoVacuum::None).unwrap();
    assert_eq!(number(&path, "PRAGMA auto_vacuum"), 0);
    application.stop();
}
