//! Which files are opened, and what holds on every connection to them.

use super::fixture::{Fixture, call, hold};
use crate::support::application::create_database;
use crate::support::calls::OnThread as _;
use crate::support::sandbox::Sandbox;
use crate::support::sql::wal_bytes;
use litekeeper::error::Reason;
use std::fs;
use std::path::Path;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn h05_a_missing_database_is_an_error_and_not_a_new_file_and_is_opened_once_it_is_there() {
    let fixture = Fixture::on(Sandbox::empty(), |_| ());
    let error = fixture.sql("CREATE TABLE t (x)").await.unwrap_err();
    assert_eq!(error.reason, Reason::Vanished);
    assert!(error.message.contains(fixture.database.path.to_str().unwrap()), "{error}");
    assert_eq!(fs::read_dir(fixture.sandbox.data()).unwrap().count(), 0);
    create_database(&fixture.database.path, &["--rows", "10"]);
    assert_eq!(fixture.number("SELECT count(*) FROM attendance").await.unwrap(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn h06_a_database_that_is_removed_while_its_connections_are_open_is_an_error() {
    let fixture = Fixture::new(|_| ());
    fixture.sql("SELECT 1").await.unwrap();
    fs::remove_file(&fixture.database.path).unwrap();
    assert_eq!(fixture.sql("SELECT 1").await.unwrap_err().reason, Reason::Vanished);
    assert!(!fixture.database.path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_refused_by_its_path() {
    let path = |sandbox: &Sandbox| sandbox.database();
    let text = Sandbox::empty();
    fs::write(path(&text), "no database at all, but long enough to be one. ".repeat(100)).unwrap();
    let directory = Sandbox::empty();
    fs::create_dir(path(&directory)).unwrap();
    for (sandbox, what) in [(text, "not a database"), (directory, "not a regular file")] {
        let fixture = Fixture::on(sandbox, |_| ());
        let error = fixture.sql("SELECT * FROM sqlite_schema").await.unwrap_err();
        assert_eq!(error.reason, Reason::NotADatabase);
        assert!(error.message.contains(what), "{error}");
        assert!(error.message.contains(fixture.database.path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_stays_empty_when_it_is_read() {
    let sandbox = Sandbox::empty();
    fs::write(sandbox.database(), "").unwrap();
    let fixture = Fixture::on(sandbox, |_| ());
    assert_eq!(fixture.number("SELECT count(*) FROM sqlite_schema").await.unwrap(), 0);
    assert_eq!(fs::metadata(&fixture.database.path).unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_put_in_place_is_the_one_that_the_next_call_sees() {
    let fixture = Fixture::new(|d| (d.pool.size, d.pool.max_overflow) = (3, 0));
    let rows = "SELECT count(*) FROM attendance";
    assert_eq!(fixture.number(rows).await.unwrap(), 1000);
    let lent = hold(&fixture.pool).await;
    let other = fixture.sandbox.path().join("other.sqlite");
    create_database(&other, &["--rows", "7"]);
    fs::rename(&other, &fixture.database.path).unwrap();
    assert_eq!(fixture.number(rows).await.unwrap(), 7);
    // Its connection belongs to the file before.
    lent.give_back().await;
    for _ in 0..3 {
        assert_eq!(fixture.number(rows).await.unwrap(), 7);
    }
    let held = [hold(&fixture.pool).await, hold(&fixture.pool).await];
    assert_eq!(fixture.number(rows).await.unwrap(), 7);
    for one in held {
        one.give_back().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_works_on_one_file() {
    let fixture = Fixture::new(|_| ());
    let run = call();
    let rows = |c: &mut rusqlite::Connection| {
        Ok(c.query_row("SELECT count(*) FROM attendance", [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(fixture.pool.on_thread(&run, rows).await.unwrap(), 1000);
    let other = fixture.sandbox.path().join("other.sqlite");
    create_database(&other, &["--rows", "7"]);
    fs::rename(&other, &fixture.database.path).unwrap();
    for part in [run.clone(), run.apart(), run.within(super::fixture::LONG)] {
        let error = fixture.pool.on_thread(&part, rows).await.unwrap_err();
        assert_eq!(error.reason, Reason::Replaced);
    }
    assert_eq!(fixture.pool.on_thread(&call(), rows).await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_got_no_connection_has_not_begun_with_any_file() {
    let fixture = Fixture::new(|d| {
        (d.pool.size, d.pool.max_overflow, d.pool.retries) = (1, 0, 1);
        d.pool.timeout = Duration::from_millis(20);
    });
    let held = hold(&fixture.pool).await;
    let run = call();
    let rows = |c: &mut rusqlite::Connection| {
        Ok(c.query_row("SELECT count(*) FROM attendance", [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(fixture.pool.on_thread(&run, rows).await.unwrap_err().reason, Reason::PoolTimeout);
    let other = fixture.sandbox.path().join("other.sqlite");
    create_database(&other, &["--rows", "7"]);
    fs::rename(&other, &fixture.database.path).unwrap();
    held.give_back().await;
    assert_eq!(fixture.pool.on_thread(&run, rows).await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn h14_deletes_cascade_only_where_a_job_says_so() {
    let fixture = Fixture::new(|d| (d.pool.size, d.pool.max_overflow) = (1, 1));
    fixture
        .sql(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (1); CREATE TABLE child \
             (parent REFERENCES parent ON DELETE CASCADE); INSERT INTO child VALUES (1)",
        )
        .await
        .unwrap();
    // On each connection, the overflow included.
    let held = hold(&fixture.pool).await;
    assert_eq!(fixture.number("PRAGMA foreign_keys").await.unwrap(), 0);
    fixture.sql("DELETE FROM parent").await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM child").await.unwrap(), 1);
    held.give_back().await;
    assert_eq!(fixture.number("PRAGMA foreign_keys").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn h27_a_schema_cannot_use_what_is_unsafe_nor_be_edited_by_hand() {
    let fixture = Fixture::new(|_| ());
    // Python's SQLite trusts the schema, as the application of an attacker would.
    let mut application = crate::support::application::Application::start(&fixture.database.path);
    for sql in [
        "CREATE VIEW tables AS SELECT name FROM pragma_table_list",
        "CREATE TRIGGER unsafe AFTER INSERT ON users BEGIN SELECT load_extension('/tmp/evil.so'); END",
    ] {
        application.sql(sql);
    }
    for sql in [
        "SELECT * FROM tables",
        "INSERT INTO users (name, created_at) VALUES ('x', '')",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = NULL",
    ] {
        let error = fixture.sql(sql).await.unwrap_err();
        let refused =
            ["unsafe use of", "may not be modified"].iter().any(|text| error.message.contains(text));
        assert!(refused, "{sql}: {error}");
    }
    assert_eq!(fixture.number("PRAGMA trusted_schema").await.unwrap(), 0);
}

/// 3000 pages into the write-ahead log, in transactions of about 30.
async fn write_much(fixture: &Fixture) {
    fixture.sql("CREATE TABLE much (x)").await.unwrap();
    let call = call();
    let writes = fixture.pool.on_thread(&call, |c| {
        for _ in 0..100 {
            c.execute("INSERT INTO much VALUES (zeroblob(30 * 4096))", [])?;
        }
        Ok(())
    });
    writes.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn h13_the_write_ahead_log_is_left_to_the_replicator_that_owns_it() {
    let by_directory: fn(&Path) = |path| {
        fs::create_dir(path.with_file_name(".attendance.sqlite-litestream")).unwrap();
    };
    let by_table: fn(&Path) = |path| {
        let c = rusqlite::Connection::open(path).unwrap();
        c.execute_batch("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)").unwrap();
    };
    let nobody: fn(&Path) = |_| ();
    for (mark, owned) in [(by_directory, true), (by_table, true), (nobody, false)] {
        let sandbox = Sandbox::new();
        mark(&sandbox.database());
        let fixture = Fixture::on(sandbox, |d| d.pool.size = 1);
        write_much(&fixture).await;
        let bytes = wal_bytes(&fixture.sandbox.database());
        // SQLite's own checkpoint comes after 1000 pages; the log is then written again from its
        // start.
        assert_eq!(bytes > 2000 * 4096, owned, "{bytes}");
        fixture.pool.close();
        crate::support::wait_until("it is closed", || {
            (super::fixture::times_open(&fixture.database.path) == 0).then_some(())
        });
        assert_eq!(wal_bytes(&fixture.sandbox.database()), if owned { bytes } else { 0 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h13_a_replicator_that_begins_later_owns_the_log_from_then_on() {
    let by_directory: fn(&Path) = |path| {
        fs::create_dir(path.with_file_name(".attendance.sqlite-litestream")).unwrap();
    };
    let by_table: fn(&Path) = |path| {
        let c = rusqlite::Connection::open(path).unwrap();
        c.execute_batch("CREATE TABLE _litestream_lock (id INTEGER)").unwrap();
    };
    for begins in [by_directory, by_table] {
        let fixture = Fixture::new(|d| d.pool.size = 1);
        fixture.sql("CREATE TABLE before (x)").await.unwrap();
        assert_eq!(super::fixture::times_open(&fixture.database.path), 1, "the connection stays open");
        begins(&fixture.database.path);

        write_much(&fixture).await;
        let bytes = wal_bytes(&fixture.sandbox.database());
        assert!(bytes > 2000 * 4096, "{bytes}");
        fixture.pool.close();
        crate::support::wait_until("it is closed", || {
            (super::fixture::times_open(&fixture.database.path) == 0).then_some(())
        });
        assert_eq!(wal_bytes(&fixture.sandbox.database()), bytes);
    }
}
