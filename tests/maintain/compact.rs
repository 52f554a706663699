//! A compact copy that is put in place at a quiet moment.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use litekeeper::config::{Database, Vacuum};
use litekeeper::error::Reason;
use litekeeper::sqlite::upkeep::overwrite::{OverwriteOutcome, Watcher, overwrite};
use litekeeper::sqlite::upkeep::vacuum;
use litekeeper::sqlite::write::hold::Holds;
use litekeeper::state::facts::{self, SPEEDS, Speeds};
use rusqlite::Connection;

use crate::fixture::{Ran, as_application, database, fill, maintain, number, state, text};
use crate::support::application::{self, Application};
use crate::support::sandbox::{Sandbox, program};
use crate::support::soundness::assert_sound;
use crate::support::sql::wal_bytes;
use crate::support::{PATIENCE, wait_until};

fn auto(d: &mut Database) {
    d.maintain.vacuum = Vacuum::Auto;
}

fn put_in_place(ran: &Ran) -> bool {
    ran.why("vacuum").contains("by a compact copy that was put in place")
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_quiet_moment_a_compact_copy_is_put_in_place() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 4);
    as_application(
        &path,
        "c.executescript('PRAGMA user_version = 7; PRAGMA application_id = 9; CREATE VIEW seen AS SELECT id FROM filler')",
    );
    let before = number(&path, "PRAGMA page_count");
    let content = "SELECT count(*) || ' ' || total(id) || ' ' || sum(length(content)) FROM filler";
    let rows = text(&path, content);
    let mut application = Application::start_with(&path, &["--busy-timeout", "60000"], None);
    let ran = maintain(&state(&sandbox), &database(&path, auto)).await;
    assert_eq!(ran.decision("vacuum"), "done", "{:?}", ran.finished.result);
    assert!(put_in_place(&ran), "{}", ran.why("vacuum"));
    assert_eq!(ran.step("vacuum")["held"]["times"], 1);
    assert_eq!(ran.step("checkpoint")["wal_bytes"], 0);

    // A connection that is open since before sees the new file, and writes to it.
    assert_eq!(application.sql(content)[0], rows);
    application.write_every(Duration::ZERO);
    application.wait_for_commits(5);
    application.pause();
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&path), seen.last());
    assert!(number(&path, "PRAGMA page_count") < before * 8 / 10);
    assert_eq!((number(&path, "PRAGMA user_version"), number(&path, "PRAGMA application_id")), (7, 9));
    assert_eq!(
        (number(&path, "PRAGMA auto_vacuum"), text(&path, "PRAGMA journal_mode").as_str()),
        (0, "wal")
    );
    assert_eq!(number(&path, "SELECT count(*) FROM seen"), number(&path, "SELECT count(*) FROM filler"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_application_writes_vacuum_is_taken_and_says_why() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 2);
    let mut application = Application::start_with(&path, &["--busy-timeout", "60000"], None);
    application.write_every(Duration::from_millis(1));
    application.wait_for_commits(3);
    let ran = maintain(&state(&sandbox), &database(&path, auto)).await;
    assert_eq!(ran.decision("vacuum"), "done", "{:?}", ran.finished.result);
    assert!(!put_in_place(&ran) && ran.ran("VACUUM"), "{}", ran.why("vacuum"));
    assert!(ran.why("vacuum").contains("the application wrote"), "{}", ran.why("vacuum"));
    application.wait_for_commits(3);
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&path), seen.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_wal_mode_it_is_vacuum_that_is_taken() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let path = sandbox.database();
    fill(&path, 2);
    let ran = maintain(&state(&sandbox), &database(&path, auto)).await;
    assert_eq!(ran.decision("vacuum"), "done", "{:?}", ran.finished.result);
    assert!(!put_in_place(&ran), "{}", ran.why("vacuum"));
    assert_sound(&path);
}

/// A compact copy of the database as a connection; its file goes with the sandbox.
fn compact(live: &Connection, sandbox: &Sandbox) -> Connection {
    let file = sandbox.path().join("compact");
    let _ = std::fs::remove_file(&file);
    vacuum::into(live, &file).unwrap();
    Connection::open(&file).unwrap()
}

/// Broken on purpose by asking the watcher before the lock is had, or not at all, this loses
/// commits.
#[test]
fn a_commit_at_any_moment_is_never_lost() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let mut application = Application::start_with(&path, &["--busy-timeout", "60000"], None);
    let holds = Holds::new(|_| {});
    let mut live = Connection::open(&path).unwrap();
    live.busy_timeout(PATIENCE).unwrap();
    let (mut done, mut outdated, mut round) = (0_u32, 0_u32, 0_u64);
    let began = Instant::now();
    while done < 12 || outdated < 12 {
        assert!(began.elapsed() < PATIENCE, "put in place {done} times, outdated {outdated} times");
        // From many commits for each copy to fewer than one.
        round += 1;
        application.write_every(Duration::from_millis(round * 7 % 60));
        application.wait_for_commits(1);
        let watcher = Watcher::new(&path).unwrap();
        let copy = compact(&live, &sandbox);
        match overwrite(&mut live, &copy, &watcher, PATIENCE, &holds, &|| Ok(())).unwrap() {
            OverwriteOutcome::Done(_) => done += 1,
            OverwriteOutcome::Outdated => outdated += 1,
            OverwriteOutcome::TooLong => panic!("nothing limits it"),
        }
        application.wait_for_commits(1);
        let last = application.pause();
        assert_eq!(assert_sound(&path), last, "round {round}");
        assert_eq!(application.seen().last(), last, "round {round}");
    }
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    drop(live);
    assert_eq!(assert_sound(&path), seen.last());
}

static WAITS: AtomicBool = AtomicBool::new(false);

/// The lock is waited for, and what is committed meanwhile counts.
#[test]
fn a_commit_while_the_lock_is_waited_for_is_seen() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let mut application = Application::start(&path);
    let mut live = Connection::open(&path).unwrap();
    let watcher = Watcher::new(&path).unwrap();
    let copy = compact(&live, &sandbox);
    live.busy_handler(Some(|attempt| {
        WAITS.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1));
        attempt < 60_000
    }))
    .unwrap();
    application.sql("BEGIN IMMEDIATE");
    application.sql("INSERT INTO users VALUES (4711, 'late', 'late@example.com', '2026-01-01')");
    let waits = std::thread::spawn(move || {
        overwrite(&mut live, &copy, &watcher, PATIENCE, &Holds::new(|_| {}), &|| Ok(())).unwrap()
    });
    wait_until("the lock is waited for", || WAITS.load(Ordering::SeqCst).then_some(()));
    application.sql("COMMIT");
    assert_eq!(waits.join().unwrap(), OverwriteOutcome::Outdated);
    assert_eq!(number(&path, "SELECT count(*) FROM users WHERE id = 4711"), 1);
    application.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn h09_what_takes_longer_than_max_block_is_rolled_back_and_refused_the_next_time() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 16);
    let before = (number(&path, "PRAGMA page_count"), number(&path, "PRAGMA freelist_count"));
    let state = state(&sandbox);
    let fast = Speeds { vacuum: Some(1e12), overwrite: Some(1e12) };
    state.now(|c| facts::remember(c, "attendance", SPEEDS, &fast)).unwrap();
    let database = database(&path, |d| {
        auto(d);
        d.maintain.max_block = Duration::from_millis(2);
    });
    let mut application = Application::start_with(&path, &["--busy-timeout", "60000"], None);
    let ran = maintain(&state, &database).await;
    assert_eq!(ran.decision("vacuum"), "interrupted", "{:?}", ran.finished.result);
    let problems = ran.problems();
    let [(Reason::Deadline, message)] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(message.contains("maintain.max_block = 2ms"), "{message}");
    assert_eq!(before, (number(&path, "PRAGMA page_count"), number(&path, "PRAGMA freelist_count")));
    application.write_every(Duration::ZERO);
    application.wait_for_commits(3);
    application.pause();

    let again = maintain(&state, &database).await;
    assert_eq!(again.decision("vacuum"), "refused", "{:?}", again.finished.result);
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&path), seen.last());
}

/// A commit that comes while the first copy is made costs that copy, and nothing else.
#[test]
fn it_is_tried_again_after_the_application_wrote() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 48);
    let (start, scratch) = command(&sandbox);
    let mut application = Application::start(&path);
    let run = start();
    wait_until("a copy is made", || {
        let made = std::fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().path().join("database"));
        let sizes = made.filter_map(|copy| Some(copy.metadata().ok()?.len()));
        sizes.into_iter().any(|size| size > 0).then_some(())
    });
    application.sql("INSERT INTO users VALUES (4711, 'late', 'late@example.com', '2026-01-01')");
    let output = run.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("put in place, at attempt 2"), "{text}");
    assert_eq!(number(&path, "SELECT count(*) FROM users WHERE id = 4711"), 1);
    application.stop();
    assert_sound(&path);
}

/// Starts the command that maintains the database; and where it makes its copies.
fn command(sandbox: &Sandbox) -> (impl Fn() -> Child + use<>, PathBuf) {
    let configuration = sandbox.configure(
        "[maintain]\nvacuum = \"auto\"\nvacuum_min_size = \"1MiB\"\nanalyze = \"never\"\nreindex = \"never\"",
    );
    let scratch = sandbox.path().join("tmp");
    std::fs::create_dir(&scratch).unwrap();
    let directory = scratch.clone();
    let start = move || {
        let mut command = program();
        command.env("SQLITE_TMPDIR", &directory).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.arg("--config").arg(&configuration).args(["maintain", "attendance"]).spawn().unwrap()
    };
    (start, scratch)
}

/// The kill comes while pages are written to the log under the lock.
#[test]
fn killed_in_the_middle_it_leaves_the_database_as_it_was() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 48);
    let (start, scratch) = command(&sandbox);
    let before = number(&path, "PRAGMA page_count");
    let mut application = Application::start(&path);
    application.sql("PRAGMA wal_autocheckpoint = 0");
    as_application(&path, "c.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()");
    let mut first = start();
    wait_until("pages are written", || (wal_bytes(&path) > 1 << 20).then_some(()));
    first.kill().unwrap();
    first.wait().unwrap();
    assert_sound(&path);
    assert_eq!(number(&path, "PRAGMA page_count"), before);
    application.write_every(Duration::ZERO);
    application.wait_for_commits(3);
    application.pause();

    let second = start().wait_with_output().unwrap();
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    assert!(String::from_utf8_lossy(&second.stdout).contains("put in place"), "{second:?}");
    assert!(number(&path, "PRAGMA page_count") < before * 8 / 10);
    assert_eq!(files(&scratch), Vec::<String>::new());
    let seen = application.stop();
    assert_eq!(assert_sound(&path), seen.last());
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Everything in the database that an application can see, as one number.
const CONTENT: &str = "\
    import hashlib, sqlite3, sys\n\
    c = sqlite3.connect(sys.argv[1])\n\
    h = hashlib.sha256(repr([c.execute('PRAGMA ' + p).fetchone() for p in ('encoding', 'page_size', 'auto_vacuum', \
    'journal_mode', 'user_version', 'application_id', 'foreign_key_check')]).encode())\n\
    for name, sql in c.execute('SELECT name, sql FROM sqlite_master ORDER BY type, name').fetchall():\n    \
        h.update(repr((name, sql)).encode())\n\
    for (name,) in c.execute(\"SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name\").fetchall():\n    \
        h.update(repr(sorted(map(repr, c.execute(f'SELECT * FROM \"{name}\"').fetchall()))).encode())\n\
    print(h.hexdigest(), c.execute('PRAGMA integrity_check').fetchone()[0])\n";

/// With a reader that keeps the old state, and statements of the application that were prepared
/// before.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_file_is_the_same_afterwards_and_a_reader_keeps_its_state() {
    for (encoding, page_size) in [("UTF-8", 512), ("UTF-16le", 4096), ("UTF-16be", 65536), ("UTF-8", 1024)] {
        let sandbox = Sandbox::empty();
        let path = sandbox.database();
        as_application(
            &path,
            &format!(
                "c.executescript('''PRAGMA encoding = '{encoding}'; PRAGMA page_size = {page_size};\n\
                 PRAGMA journal_mode = wal; PRAGMA synchronous = OFF; PRAGMA user_version = 3;\n\
                 PRAGMA application_id = 5; CREATE TABLE users (id INTEGER PRIMARY KEY);\n\
                 CREATE TABLE journal (seq INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, n,\n\
                 twice AS (n * 2) STORED); CREATE INDEX part ON journal (t COLLATE NOCASE DESC, n) WHERE n > 5;\n\
                 CREATE INDEX expr ON journal (n % 7);\n\
                 WITH RECURSIVE i (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 9000)\n\
                 INSERT INTO journal (t, n) SELECT 'žluť ' || hex(randomblob(100 + i % 900)), i FROM i;\n\
                 CREATE TABLE keyed (a TEXT COLLATE NOCASE, b INT, c BLOB, PRIMARY KEY (b DESC, a)) WITHOUT ROWID;\n\
                 INSERT INTO keyed SELECT t, n, randomblob(3000) FROM journal WHERE n % 9 = 1;\n\
                 CREATE VIRTUAL TABLE words USING fts5 (t, content = 'journal', content_rowid = 'seq');\n\
                 INSERT INTO words (words) VALUES ('rebuild');\n\
                 CREATE TRIGGER counted AFTER INSERT ON journal BEGIN UPDATE keyed SET c = new.t WHERE b = new.n; END;\n\
                 CREATE VIEW seen AS SELECT t FROM journal; ANALYZE;\n\
                 DELETE FROM journal WHERE n % 2; PRAGMA wal_checkpoint(TRUNCATE)''')"
            ),
        );
        let before = application::script(&path, CONTENT);
        assert!(before.ends_with(" ok"), "{before}");
        let pages = number(&path, "PRAGMA page_count");
        let mut application = Application::start(&path);
        let reads = "SELECT count(*) || ' ' || total(n) || ' ' || max(t) FROM journal";
        let rows = application.sql(reads);
        let mut reader = Application::start(&path);
        reader.hold_read();
        let database = database(&path, |d| {
            auto(d);
            d.maintain.vacuum_min_free = 0.0;
            d.maintain.vacuum_min_size = 0;
        });
        let ran = maintain(&state(&sandbox), &database).await;
        assert!(put_in_place(&ran), "{:?}", ran.finished.result);
        // The reader needs the log: nothing of it was moved under its feet.
        reader.release();
        reader.stop();
        assert_eq!(application.sql(reads), rows);
        application.sql("INSERT INTO journal (t, n) VALUES ('žluť new', 9001)");
        assert_eq!(application.sql("SELECT seq FROM journal WHERE t = 'žluť new'")[0], 9001);
        application.sql("DELETE FROM journal WHERE seq = 9001");
        application.sql("UPDATE sqlite_sequence SET seq = 9000");
        application.stop();
        assert!(number(&path, "PRAGMA page_count") < pages);
        assert_eq!(application::script(&path, CONTENT), before, "{encoding} {page_size}");
    }
}
