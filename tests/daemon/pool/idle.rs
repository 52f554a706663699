//! What is held on a database while nobody uses its connections, and what is left alone where its
//! files were moved, removed or replaced under an open connection (HAZARDS H30). The application is
//! another process.

use super::fixture::{Fixture, LONG, call, hold, soon, times_open};
use crate::support::application::{Application, create_database, script};
use crate::support::calls::OnThread as _;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::wait_until;
use litekeeper::error::Reason;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROWS: &str = "SELECT count(*) FROM journal";

fn beside(fixture: &Fixture, suffix: &str) -> PathBuf {
    let mut name = fixture.database.path.clone().into_os_string();
    name.push(suffix);
    name.into()
}

fn log_bytes(fixture: &Fixture) -> u64 {
    fs::metadata(beside(fixture, "-wal")).map_or(0, |log| log.len())
}

/// Commits of an application that opens the database, and ends.
fn commits(path: &Path, count: usize) -> u64 {
    let mut application = Application::start(path);
    application.write_every(Duration::ZERO);
    application.wait_for_commits(count);
    application.pause();
    application.stop().last()
}

/// A pool with a connection that has the log open, and an application that has written to it and
/// ended meanwhile.
async fn left_with_a_log(adapt: impl FnOnce(&mut litekeeper::config::Database)) -> (Fixture, u64) {
    let fixture = Fixture::new(adapt);
    assert_eq!(fixture.number(ROWS).await.unwrap(), 0);
    let last = commits(&fixture.database.path, 20);
    (fixture, last)
}

fn let_go(fixture: &Fixture) {
    fixture.pool.let_go();
    wait_until("all is closed", || (times_open(&fixture.database.path) == 0).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_an_idle_connection_is_closed_and_then_the_one_file_is_the_whole_database() {
    let fixture = Fixture::new(|d| d.pool.idle = LONG);
    let other = litekeeper::config::Database {
        pool: litekeeper::config::Pool { idle: Duration::from_millis(300), ..fixture.database.pool.clone() },
        ..fixture.database.clone()
    };
    let pool = litekeeper::pool::Pool::new(&other, litekeeper::pool::slow_statements(1).0).unwrap();
    let held = hold(&pool).await;
    let last = commits(&fixture.database.path, 20);
    assert!(log_bytes(&fixture) > 0, "a connection in use keeps the log");
    held.give_back().await;
    wait_until("the log is emptied", || (!beside(&fixture, "-wal").exists()).then_some(()));
    assert!(!beside(&fixture, "-shm").exists());
    // SQLite removes the log before it closes the file.
    wait_until("the file is closed", || (times_open(&fixture.database.path) == 0).then_some(()));
    assert_eq!(pool.state().idle, 0);
    let copy = fixture.sandbox.path().join("copy.sqlite");
    fs::copy(&fixture.database.path, &copy).unwrap();
    assert_eq!(assert_sound(&copy), last);
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_of_several_that_are_closed_at_once_one_is_the_last() {
    let fixture = Fixture::new(|d| (d.pool.size, d.pool.idle) = (8, Duration::from_millis(200)));
    for _ in 0..5 {
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(hold(&fixture.pool).await);
        }
        commits(&fixture.database.path, 3);
        for one in held {
            one.give_back().await;
        }
        wait_until("the log is emptied", || (!beside(&fixture, "-wal").exists()).then_some(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_a_connection_in_use_is_not_closed_however_long_that_lasts() {
    let fixture = Fixture::new(|d| (d.pool.size, d.pool.idle) = (3, Duration::from_millis(1)));
    let held = hold(&fixture.pool).await;
    for _ in 0..3 {
        fixture.sql("SELECT 1").await.unwrap();
        wait_until("the other one is closed", || (fixture.pool.state().idle == 0).then_some(()));
        assert_eq!(fixture.pool.state().in_use, 1);
    }
    held.give_back().await;
    wait_until("it is closed as well", || (times_open(&fixture.database.path) == 0).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_the_log_of_a_replicator_that_came_since_is_not_emptied() {
    let (fixture, last) = left_with_a_log(|d| d.pool.idle = LONG).await;
    let log = fs::read(beside(&fixture, "-wal")).unwrap();
    fs::create_dir(fixture.sandbox.data().join(".attendance.sqlite-litestream")).unwrap();
    let_go(&fixture);
    fixture.pool.end().await;
    assert!(fs::read(beside(&fixture, "-wal")).unwrap() == log, "as it was");
    assert_eq!(assert_sound(&fixture.database.path), last);
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_the_log_of_a_database_that_is_known_to_be_damaged_is_not_emptied() {
    let (fixture, _) = left_with_a_log(|d| d.pool.idle = LONG).await;
    let before = fs::read(&fixture.database.path).unwrap();
    fixture.pool.set_damaged(true);
    fixture.pool.end().await;
    assert!(log_bytes(&fixture) > 0 && fs::read(&fixture.database.path).unwrap() == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn h31_the_log_of_a_database_that_has_got_a_second_name_is_not_emptied() {
    let (fixture, _) = left_with_a_log(|d| d.pool.idle = LONG).await;
    let before = fs::read(&fixture.database.path).unwrap();
    fs::hard_link(&fixture.database.path, fixture.sandbox.path().join("alias.sqlite")).unwrap();
    let error = fixture.number(ROWS).await.unwrap_err();
    assert_eq!(error.reason, Reason::SecondName);
    assert!(error.message.contains("2 hard links") && error.message.contains("remove"), "{error}");
    fixture.pool.end().await;
    assert!(log_bytes(&fixture) > 0 && fs::read(&fixture.database.path).unwrap() == before);
}

/// `rm NAME-wal NAME-shm` under us, and the application begins a log of its own. Our close would
/// move the old log over its commits, and remove the new one.
#[tokio::test(flavor = "multi_thread")]
async fn h30_a_log_that_was_removed_is_not_moved_into_the_file_and_the_new_one_is_not_removed() {
    for at_next_use in [false, true] {
        let (fixture, _) = left_with_a_log(|d| d.pool.idle = LONG).await;
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(beside(&fixture, suffix)).unwrap();
        }
        // The commits of the log that was removed are gone, as its remover wanted.
        let last = commits(&fixture.database.path, 30);
        let log = fs::read(beside(&fixture, "-wal")).unwrap();
        assert!(!log.is_empty(), "our connection has kept its log");
        if at_next_use {
            assert_eq!(u64::try_from(fixture.number(ROWS).await.unwrap()).unwrap(), last);
        } else {
            let_go(&fixture);
            assert!(fs::read(beside(&fixture, "-wal")).unwrap() == log, "nothing was written");
        }
        fixture.pool.end().await;
        assert_eq!(assert_sound(&fixture.database.path), last, "at the next use: {at_next_use}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_beside_a_connection_in_use_whose_log_was_removed_none_is_opened() {
    let (fixture, _) = left_with_a_log(|d| d.pool.idle = LONG).await;
    let held = hold(&fixture.pool).await;
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(beside(&fixture, suffix)).unwrap();
    }
    let last = commits(&fixture.database.path, 30);
    for _ in 0..2 {
        assert_eq!(soon(fixture.number(ROWS)).await.unwrap_err().reason, Reason::Replaced);
    }
    held.give_back().await;
    assert_eq!(u64::try_from(soon(fixture.number(ROWS)).await.unwrap()).unwrap(), last);
    fixture.pool.end().await;
    assert_eq!(assert_sound(&fixture.database.path), last);
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_a_run_ends_where_the_log_was_replaced_between_two_of_its_steps() {
    let (fixture, _) = left_with_a_log(|d| d.pool.idle = LONG).await;
    let run = call();
    fixture.pool.on_thread(&run, |_| Ok(())).await.unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(beside(&fixture, suffix)).unwrap();
    }
    commits(&fixture.database.path, 1);
    let error = fixture.pool.on_thread(&run, |_| Ok(())).await.unwrap_err();
    assert_eq!(error.reason, Reason::Replaced);
    fixture.pool.on_thread(&call(), |_| Ok(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_a_run_goes_on_where_its_connection_was_idle_for_too_long_meanwhile() {
    let fixture = Fixture::new(|d| d.pool.idle = Duration::from_millis(1));
    let run = call();
    for _ in 0..3 {
        fixture.pool.on_thread(&run, |_| Ok(())).await.unwrap();
        wait_until("it is closed", || (times_open(&fixture.database.path) == 0).then_some(()));
        commits(&fixture.database.path, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_a_database_that_was_moved_is_not_written_under_its_old_name_nor_under_its_new_one() {
    let (fixture, last_before) = left_with_a_log(|d| d.pool.idle = LONG).await;
    let moved = fixture.sandbox.data().join("moved.sqlite");
    fs::rename(&fixture.database.path, &moved).unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::rename(beside(&fixture, suffix), fixture.sandbox.data().join(format!("moved.sqlite{suffix}")))
            .unwrap();
    }
    assert_eq!(fixture.number(ROWS).await.unwrap_err().reason, Reason::Vanished);
    create_database(&fixture.database.path, &["--rows", "7"]);
    let last = commits(&fixture.database.path, 5);
    let before = fs::read(&moved).unwrap();
    assert_eq!(u64::try_from(fixture.number(ROWS).await.unwrap()).unwrap(), last);
    fixture.pool.end().await;
    assert!(fs::read(&moved).unwrap() == before);
    assert_eq!(assert_sound(&fixture.database.path), last);
    assert_eq!(assert_sound(&moved), last_before, "with its log, which went with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_an_application_may_change_the_journal_mode_between_two_uses() {
    let fixture = Fixture::new(|d| d.pool.idle = Duration::from_millis(50));
    for mode in ["delete", "wal", "truncate", "wal"] {
        fixture.number(ROWS).await.unwrap();
        wait_until("it is closed", || (times_open(&fixture.database.path) == 0).then_some(()));
        let program = format!(
            "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)\n\
             print(c.execute('PRAGMA journal_mode = {mode}').fetchone()[0])"
        );
        assert_eq!(script(&fixture.database.path, &program), mode);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h30_an_idle_connection_outside_wal_mode_sees_the_log_that_the_application_begins() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let fixture = Fixture::on(sandbox, |d| d.pool.idle = LONG);
    fixture.number(ROWS).await.unwrap();
    let program = "import sqlite3, sys\nprint(sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode = wal').fetchone()[0])";
    assert_eq!(script(&fixture.database.path, program), "wal");
    let mut application = Application::start(&fixture.database.path);
    application.write_every(Duration::ZERO);
    let last = application.wait_for_commits(5);
    assert!(u64::try_from(fixture.number(ROWS).await.unwrap()).unwrap() >= last);
    application.pause();
    let last = application.stop().last();
    fixture.pool.end().await;
    assert!(!beside(&fixture, "-wal").exists());
    assert_eq!(assert_sound(&fixture.database.path), last);
}
