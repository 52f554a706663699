//! The stream of a live database's pages: whole, in order, one state, whatever the page size and
//! the journal mode, and the same bytes each time for the same state.

use crate::support::application::Application;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use litekeeper::error::{Error, Reason};
use litekeeper::sqlite::copy::snapshot::{Bounds, Snapshot};
use litekeeper::sqlite::write::checkpoint::{Checkpoint, Mode, checkpoint};
use litekeeper::terms::progress::{Stop, Unit, Watch};
use rusqlite::Connection;
use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const WIDE: Bounds =
    Bounds { longest_block: Duration::MAX, longest_read: Duration::MAX, most_wal_growth: u64::MAX };

/// The file change counter, and the version for which it and the number of SQLite after it are
/// valid.
const ANEW: [std::ops::Range<usize>; 2] = [24..28, 92..100];

/// Told between two steps how many bytes are done.
struct Between<'b>(RefCell<&'b mut dyn FnMut(u64)>);

impl Watch for Between<'_> {
    fn go_on(&self) -> litekeeper::error::Result<()> {
        Ok(())
    }

    fn at(&self, done: u64, _: u64, _: Unit) {
        (self.0.borrow_mut())(done);
    }

    fn stop(&self) -> Stop {
        Arc::new(|| false)
    }
}

fn stream(path: &Path, between: &mut dyn FnMut(u64)) -> Vec<u8> {
    let mut source = Connection::open(path).unwrap();
    let snapshot = Snapshot::begin(&mut source, path, WIDE).unwrap();
    let mut bytes = Vec::new();
    let out = &mut |part: &[u8]| {
        bytes.extend_from_slice(part);
        Ok(())
    };
    snapshot.pages(out, &Between(RefCell::new(between))).unwrap();
    snapshot.end(false).unwrap();
    bytes
}

fn make(path: &Path, pragmas: &str, rows: u32) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(pragmas).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA user_version = 7; PRAGMA application_id = 4711;
             CREATE TABLE t (id INTEGER PRIMARY KEY, a, b); CREATE INDEX i ON t (a);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO t SELECT i, random(), randomblob(i % 3000) FROM n;
             DELETE FROM t WHERE id % 3 = 0"
        ))
        .unwrap();
    connection
}

#[test]
fn the_bytes_are_those_of_the_file_but_for_its_change_counter() {
    for page_size in [512, 1024, 4096, 32768, 65536] {
        for more in [
            "",
            "PRAGMA auto_vacuum = FULL",
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA encoding = 'UTF-16be'",
        ] {
            for (mode, rows) in [("delete", 0), ("delete", 700), ("wal", 700), ("wal", 3)] {
                let sandbox = Sandbox::new();
                let path = sandbox.path().join("any.sqlite");
                let pragmas = format!("PRAGMA page_size = {page_size}; {more}; PRAGMA journal_mode = {mode}");
                let application = make(&path, &pragmas, rows);
                let mut streamed = stream(&path, &mut |_| {});
                application.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
                let mut expected = fs::read(&path).unwrap();
                for range in ANEW {
                    streamed[range.clone()].fill(0);
                    expected[range].fill(0);
                }
                assert!(streamed == expected, "{pragmas}, {rows} rows");
            }
        }
    }
}

#[test]
fn the_same_state_gives_the_same_bytes_whoever_asks_and_wherever_its_pages_lie() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("any.sqlite");
    let application = make(&path, "PRAGMA journal_mode = wal", 2000);
    let in_the_log = stream(&path, &mut |_| {});
    application.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(stream(&path, &mut |_| {}) == in_the_log);
    application.execute_batch("UPDATE t SET a = 1 WHERE id = 1").unwrap();
    assert!(stream(&path, &mut |_| {}) != in_the_log);
}

#[test]
fn what_is_committed_meanwhile_is_not_in_it() {
    for mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", mode]);
        let mut application = Application::start(&sandbox.database());
        application.sql("CREATE TABLE ballast (bytes BLOB)");
        application.sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8) \
             INSERT INTO ballast SELECT randomblob(1000000) FROM n",
        );
        application.write_every(Duration::from_millis(1));
        let before = application.wait_for_commits(20);
        let mut steps = 0;
        let bytes = stream(&sandbox.database(), &mut |_| {
            steps += 1;
            // A writer in rollback mode waits for us: there it is we who would wait for ever.
            if mode == "wal" {
                application.wait_for_commits(3);
            }
        });
        let after = application.wait_for_commits(1);
        assert!(steps > 5, "{steps} steps");
        let copy = sandbox.path().join("copy.sqlite");
        fs::write(&copy, bytes).unwrap();
        let last = assert_sound(&copy);
        assert!((before..=after).contains(&last), "{mode}: {last} is not in {before}..={after}");
        if mode == "wal" {
            assert!(after >= last + 15, "nothing was committed meanwhile: {last}, {after}");
        }
        assert_eq!(application.stop().errors, Vec::<String>::new());
    }
}

/// More pages than SQLite leaves in a log before its own checkpoint.
const MANY: &str = "INSERT INTO ballast VALUES (zeroblob(8000000))";

/// What is in the log after a snapshot, with these statements of another process before it and
/// during it.
fn left_in_log(before: &[&str], during: &[&str], is_damaged: bool) -> Checkpoint {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let mut application = Application::start(&path);
    // Nobody but the snapshot moves what it commits.
    application.sql("PRAGMA wal_autocheckpoint = 0");
    application.sql("CREATE TABLE ballast (bytes BLOB)");
    for sql in before {
        application.sql(sql);
    }
    let mut source = Connection::open(&path).unwrap();
    let snapshot = Snapshot::begin(&mut source, &path, WIDE).unwrap();
    for sql in during {
        application.sql(sql);
    }
    snapshot.end(is_damaged).unwrap();
    drop(snapshot);
    let left = checkpoint(&source, Mode::Noop).unwrap().unwrap();
    application.stop();
    left
}

#[test]
fn what_is_committed_meanwhile_is_out_of_the_log_when_it_ends() {
    let left = left_in_log(&[], &[MANY], false);
    assert!(left.log_pages > 1900 && left.is_complete(), "{left:?}");
}

#[test]
fn a_log_in_which_it_kept_nothing_is_left_to_the_application() {
    // Long before it began; short.
    for (before, during) in
        [(&[MANY][..], &[][..]), (&[], &["INSERT INTO ballast VALUES (zeroblob(800000))"])]
    {
        let left = left_in_log(before, during, false);
        assert!(left.log_pages > 100 && left.moved_pages == 0, "{left:?}");
    }
}

#[test]
fn nothing_is_moved_into_a_file_that_is_damaged() {
    let left = left_in_log(&[], &[MANY], true);
    assert!(left.log_pages > 1900 && left.moved_pages == 0, "{left:?}");
}

#[test]
fn h13_the_log_is_left_to_a_replicator_that_came_meanwhile() {
    let left = left_in_log(
        &[],
        &[MANY, "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)"],
        false,
    );
    assert!(left.log_pages > 1900 && left.moved_pages == 0, "{left:?}");
}

/// The page at 1 GiB is none of the database's pages, and SQLite never writes it.
#[test]
fn the_page_of_the_lock_byte_is_zeros_and_what_follows_it_is_in_its_place() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("large.sqlite");
    let application = make(&path, "PRAGMA page_size = 65536; PRAGMA synchronous = off", 10);
    for _ in 0..3 {
        application.execute_batch("INSERT INTO t (a, b) VALUES (1, zeroblob(400000000))").unwrap();
    }
    application.execute_batch("INSERT INTO t (a, b) VALUES (2, randomblob(1000000))").unwrap();
    assert!(fs::metadata(&path).unwrap().len() > 1 << 30);
    let live = File::open(&path).unwrap();
    let mut source = Connection::open(&path).unwrap();
    let snapshot = Snapshot::begin(&mut source, &path, WIDE).unwrap();
    let (mut at, mut buffer) = (0, Vec::new());
    let out = &mut |part: &[u8]| {
        buffer.resize(part.len(), 0);
        live.read_exact_at(&mut buffer, at).unwrap();
        // The first page has its change counter anew.
        assert!(at == 0 || buffer == part, "another content at byte {at}");
        at += part.len() as u64;
        Ok(())
    };
    snapshot.pages(out, &|| Ok(())).unwrap();
    assert_eq!(at, fs::metadata(&path).unwrap().len());
}

#[test]
fn an_error_of_the_receiver_ends_it_and_lets_go_of_the_database() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let mut application = Application::start(&sandbox.database());
    application.sql("CREATE TABLE ballast AS SELECT randomblob(5000000) AS bytes");
    let path = sandbox.database();
    let mut source = Connection::open(&path).unwrap();
    for fails_after in [0, 1, 2_000_000] {
        let snapshot = Snapshot::begin(&mut source, &path, WIDE).unwrap();
        let mut taken = 0;
        let out = &mut |part: &[u8]| {
            taken += part.len();
            if taken > fails_after { Err(Error::new(Reason::NoSpace, "full")) } else { Ok(()) }
        };
        let error = snapshot.pages(out, &|| Ok(())).unwrap_err();
        assert_eq!(error.reason, Reason::NoSpace);
        drop(snapshot);
        // Nobody holds a lock any more.
        application.sql("INSERT INTO ballast VALUES (x'00')");
    }
    assert_eq!(application.stop().errors, Vec::<String>::new());
}

#[test]
fn bounds_end_it() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("any.sqlite");
    for (mode, bounds, word) in [
        ("delete", Bounds { longest_block: Duration::ZERO, ..WIDE }, "max_block"),
        ("delete", Bounds { longest_read: Duration::ZERO, ..WIDE }, "max_snapshot"),
        ("wal", Bounds { longest_read: Duration::ZERO, ..WIDE }, "max_snapshot"),
    ] {
        let application = make(&path, &format!("PRAGMA journal_mode = {mode}"), 3000);
        let mut source = Connection::open(&path).unwrap();
        let snapshot = Snapshot::begin(&mut source, &path, bounds).unwrap();
        let error = snapshot.pages(&mut |_| Ok(()), &|| Ok(())).unwrap_err();
        assert_eq!(error.reason, Reason::Deadline);
        assert!(error.message.contains(word), "{error}");
        drop(snapshot);
        drop((application, source));
        fs::remove_file(&path).unwrap();
    }
    // In WAL mode nobody waits, so that `longest_block` says nothing.
    let application = make(&path, "PRAGMA journal_mode = wal", 3000);
    application.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let mut source = Connection::open(&path).unwrap();
    let bounds = Bounds { longest_block: Duration::ZERO, most_wal_growth: 1_000_000, ..WIDE };
    let snapshot = Snapshot::begin(&mut source, &path, bounds).unwrap();
    snapshot.pages(&mut |_| Ok(()), &|| Ok(())).unwrap();
    application.execute_batch("INSERT INTO t (b) VALUES (randomblob(2000000))").unwrap();
    let error = snapshot.within_bounds().unwrap_err();
    assert!(error.message.contains("max_wal"), "{error}");
}
