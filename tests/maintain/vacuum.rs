//! A whole VACUUM: when it is refused, what it needs, how long it may take, and what it leaves as
//! it was.

use std::process::Command;
use std::time::{Duration, Instant};

use litekeeper::config::{Analyze, Database, Reindex, RowidPolicy, Vacuum};
use litekeeper::error::Reason;
use litekeeper::jobs::maintain::{Maintain, StepName};
use litekeeper::jobs::runner::{self, Order};
use litekeeper::pool::Pool;
use litekeeper::sqlite::files::space::disk_free;
use litekeeper::sqlite::files::space::temp_directory;
use litekeeper::sqlite::upkeep::vacuum::{AutoVacuum, into, vacuum};
use litekeeper::sqlite::write::hold::Holds;
use litekeeper::state::State;
use litekeeper::state::facts::{self, Content, SPEEDS, Speeds};
use litekeeper::terms::Outcome;
use rusqlite::Connection;
use rusqlite::types::Value as RowValue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Small, as_application, database, fill, fill_with_rows, maintain, number, state, text};
use crate::support::PATIENCE;
use crate::support::application::{self, Application};
use crate::support::keeper::order;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::sql::wal_bytes;

#[tokio::test(flavor = "multi_thread")]
async fn h09_a_vacuum_that_is_expected_to_take_longer_than_max_block_is_refused() {
    for (vacuum, auto_vacuum) in [
        (Vacuum::Always, "none"),
        (Vacuum::Auto, "none"),
        (Vacuum::Incremental, "none"),
        (Vacuum::Always, "full"),
    ] {
        let sandbox = Sandbox::with_database(&["--auto-vacuum", auto_vacuum]);
        let path = sandbox.database();
        fill(&path, 4);
        let before = number(&path, "PRAGMA page_count");
        let state = state(&sandbox);
        let slow = Speeds { vacuum: Some(1000.0), overwrite: Some(2000.0) };
        pretend(&state, slow);
        let database = database(&path, |d| {
            d.maintain.vacuum = vacuum;
            d.maintain.vacuum_min_free = 0.0;
            d.maintain.vacuum_min_size = 0;
        });
        let ran = maintain(&state, &database).await;
        assert_eq!(ran.decision("vacuum"), "refused", "{:?}", ran.finished.result);
        let problems = ran.problems();
        let [(Reason::Refused, message)] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(message.contains("maintain.max_block = 2m allows"), "{message}");
        assert!(message.contains("1000 B a second, as measured in an earlier run"), "{message}");
        assert!(!ran.ran("VACUUM"), "{:?}", ran.statements);
        assert_eq!(number(&path, "PRAGMA page_count"), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_speed_of_a_vacuum_is_measured_for_the_next() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 4);
    let state = state(&sandbox);
    maintain(&state, &database(&path, |d| d.maintain.vacuum = Vacuum::Always)).await;
    let known = |state: &State| state.now(|c| facts::recall(c, "attendance", SPEEDS)).unwrap();
    assert!(known(&state).vacuum.is_some_and(|speed| speed > 1e3), "{:?}", known(&state));
    assert_eq!(known(&state).overwrite, None);
    fill_again(&path);
    maintain(&state, &database(&path, |d| d.maintain.vacuum = Vacuum::Auto)).await;
    assert!(known(&state).overwrite.is_some_and(|speed| speed > 1e3), "{:?}", known(&state));
}

fn fill_again(path: &std::path::Path) {
    as_application(path, "c.execute('DELETE FROM filler WHERE id % 3 <> 0')");
}

fn pretend(state: &State, speeds: Speeds) {
    state.now(|c| facts::remember(c, "attendance", SPEEDS, &speeds)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn h07_vacuum_is_skipped_where_it_would_renumber_rowids() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    as_application(
        &path,
        "c.executescript('''CREATE TABLE notes (body);
         CREATE VIRTUAL TABLE found USING fts5 (body, content = 'notes');
         INSERT INTO notes VALUES ('one'), ('two'), ('three');
         INSERT INTO found (rowid, body) SELECT rowid, body FROM notes;
         INSERT INTO found (found, rowid, body) VALUES ('delete', 1, 'one');
         DELETE FROM notes WHERE rowid = 1;''')",
    );
    let hit = "SELECT n.body FROM found AS f JOIN notes AS n ON n.rowid = f.rowid WHERE found MATCH 'three'";
    let always = |d: &mut Database| d.maintain.vacuum = Vacuum::Always;

    let ran = maintain(&state(&sandbox), &database(&path, always)).await;
    assert_eq!(ran.decision("vacuum"), "skipped");
    assert!(ran.why("vacuum").contains("rowids of notes, which"), "{}", ran.why("vacuum"));
    assert_eq!(ran.finished.outcome, Outcome::Success);
    assert_eq!(text(&path, hit), "three");

    let renumber = |d: &mut Database| {
        always(d);
        d.maintain.vacuum_rowids = RowidPolicy::Renumber;
    };
    let ran = maintain(&state(&sandbox), &database(&path, renumber)).await;
    assert_eq!(ran.decision("vacuum"), "done");
    // The hazard itself: were it not so, there would be nothing to guard against.
    assert_eq!(number(&path, "SELECT min(rowid) FROM notes"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn h08_vacuum_is_refused_without_room_for_the_wal_or_journal() {
    let Some(small) = Small::new(24) else { return };
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::empty();
        let path = small.path().join(format!("{journal_mode}.sqlite"));
        application::create_database(&path, &["--journal-mode", journal_mode]);
        fill(&path, 4);
        as_application(&path, "c.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()");
        let filler_path = small.path().join("filler");
        let filler = usize::try_from(disk_free(small.path()).unwrap() - (1 << 20)).unwrap();
        std::fs::write(&filler_path, vec![0; filler]).unwrap();
        let before = number(&path, "PRAGMA page_count");

        // There is room beside the link, but the file lies elsewhere.
        let link = sandbox.path().join(format!("{journal_mode}.sqlite"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let always = database(&link, |d| d.maintain.vacuum = Vacuum::Always);
        let ran = maintain(&state(&sandbox), &always).await;
        assert_eq!(ran.decision("vacuum"), "refused", "{:?}", ran.finished.result);
        let problems = ran.problems();
        let [(Reason::NoSpace, message)] = problems.as_slice() else { panic!("{problems:?}") };
        let place = format!("on the filesystem of {}, which has", small.path().display());
        assert!(message.contains(&place), "{message}");
        assert!(!ran.ran("VACUUM"));
        // The hazard itself: it would not have fitted.
        let error = Connection::open(&path).unwrap().execute_batch("VACUUM").unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
        // Even to open a database takes room, for its -shm file, which the VACUUM has not left.
        std::fs::remove_file(&filler_path).unwrap();
        assert_eq!(number(&path, "PRAGMA page_count"), before);

        let ran = maintain(&state(&sandbox), &always).await;
        assert_eq!(ran.decision("vacuum"), "done", "{:?}", ran.finished.result);
        assert!(number(&path, "PRAGMA page_count") < before);
        std::fs::remove_file(&path).unwrap();
    }
}

/// Where SQLite puts its temporary files is in its process's environment: this test runs itself in
/// another.
#[tokio::test(flavor = "multi_thread")]
async fn h08_vacuum_is_refused_without_room_for_its_temporary_file() {
    let name = "vacuum::h08_vacuum_is_refused_without_room_for_its_temporary_file";
    if std::env::var_os("SQLITE_TMPDIR").is_none() {
        let Some(small) = Small::new(3) else { return };
        let mut inner = Command::new(std::env::current_exe().unwrap());
        inner.args([name, "--exact", "--nocapture"]).env("SQLITE_TMPDIR", small.path());
        let output = inner.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 16);
    let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.vacuum = Vacuum::Always)).await;
    assert_eq!(ran.decision("vacuum"), "refused", "{:?}", ran.finished.result);
    let place = format!("on the filesystem of {}, which has", temp_directory().display());
    assert!(ran.problems()[0].1.contains(&place), "{:?}", ran.problems());
    // The hazard itself: SQLite does look there.
    let error = Connection::open(&path).unwrap().execute_batch("VACUUM").unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
}

#[tokio::test(flavor = "multi_thread")]
async fn h08_the_wal_is_emptied_after_vacuum() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    fill(&path, 4);
    // As long as it is open nobody but a checkpoint empties the log.
    let application = Application::start(&path);
    let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.vacuum = Vacuum::Always)).await;
    assert_eq!(ran.decision("vacuum"), "done");
    assert_eq!(ran.step("checkpoint")["wal_bytes"], 0);
    assert_eq!(wal_bytes(&path), 0);
    assert!(ran.finished.result.as_ref().unwrap().summary.ends_with("WAL 0 B"), "{:?}", ran.finished.result);
    application.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn h09_a_vacuum_past_max_block_is_rolled_back_and_reported() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        let path = sandbox.database();
        fill_with_rows(&path, 400_000);
        let before = number(&path, "PRAGMA freelist_count");
        let mut application = Application::start_with(&path, &["--busy-timeout", "60000"], None);
        let state = state(&sandbox);
        // On a busy machine a short time may be over before the statement begins.
        let mut is_begun = false;
        for millis in [20, 60, 180] {
            let database = database(&path, |d| {
                d.maintain.vacuum = Vacuum::Always;
                d.maintain.max_block = Duration::from_millis(millis);
            });
            // Not foretold: it would be refused.
            pretend(&state, Speeds { vacuum: Some(1e12), overwrite: Some(1e12) });
            let ran = maintain(&state, &database).await;
            assert_eq!(ran.finished.outcome, Outcome::Failure);
            assert_eq!(ran.decision("vacuum"), "interrupted", "{:?}", ran.finished.result);
            let problems = ran.problems();
            let [(Reason::Deadline, message)] = problems.as_slice() else { panic!("{problems:?}") };
            assert!(message.contains(&format!("maintain.max_block = {millis}ms")), "{message}");
            assert_eq!(number(&path, "PRAGMA freelist_count"), before);
            is_begun = ran.ran("VACUUM");
            if is_begun {
                break;
            }
        }
        assert!(is_begun, "there was never time to begin it");
        application.write_every(Duration::ZERO);
        application.wait_for_commits(3);
        application.pause();
        let seen = application.stop();
        assert_eq!(seen.errors, Vec::<String>::new());
        assert_eq!(assert_sound(&path), seen.last());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h19_what_persists_in_the_file_stays_as_it_was() {
    let kept = ["journal_mode", "auto_vacuum", "page_size", "encoding", "user_version", "application_id"];
    for (journal_mode, auto_vacuum) in
        [("wal", "none"), ("wal", "full"), ("delete", "incremental"), ("delete", "none"), ("persist", "full")]
    {
        let sandbox = Sandbox::with_database(&[
            "--journal-mode",
            journal_mode,
            "--auto-vacuum",
            auto_vacuum,
            "--page-size",
            "8192",
        ]);
        let path = sandbox.database();
        as_application(&path, "c.execute('PRAGMA user_version = 7'); c.execute('PRAGMA application_id = 9')");
        let application = Application::start(&path);
        // Through a new connection each time: one that is open knows some of them from when it was
        // opened.
        let values = || {
            let connection = Connection::open(&path).unwrap();
            kept.map(|name| {
                connection.pragma_query_value(None, name, |row| row.get::<_, RowValue>(0)).unwrap()
            })
        };
        let before = values();
        for vacuum in [Vacuum::Always, Vacuum::Incremental, Vacuum::Auto] {
            if vacuum == Vacuum::Incremental && auto_vacuum == "none" {
                continue; // That asks for a change.
            }
            let database = database(&path, |d| {
                d.maintain.vacuum = vacuum;
                d.maintain.vacuum_min_free = 0.0;
                d.maintain.vacuum_min_size = 0;
                d.maintain.analyze = Analyze::Always;
                d.maintain.reindex = Reindex::Always;
                d.maintain.max_wal = 0;
            });
            let ran = maintain(&state(&sandbox), &database).await;
            assert_eq!(ran.finished.outcome, Outcome::Success, "{:?}", ran.finished.result);
        }
        assert_eq!(values(), before);
        // `persist` is a setting of a connection; of the file, only whether it is WAL.
        assert_eq!(before[0] == RowValue::Text("wal".into()), journal_mode == "wal");
        application.stop();
        assert_sound(&path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_vacuum_lets_the_applications_writers_through() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        let path = sandbox.database();
        fill_with_rows(&path, 1_500_000);
        let before = number(&path, "PRAGMA freelist_count");
        // It does not wait for the lock, so its first error says that the VACUUM has it.
        let mut application = Application::start_with(&path, &["--busy-timeout", "0"], None);
        application.write_every(Duration::from_millis(1));
        application.wait_for_commits(1);
        let cancel = CancellationToken::new();
        let always = database(&path, |d| d.maintain.vacuum = Vacuum::Always);
        let pool = Pool::new(&always, litekeeper::pool::slow_statements(1).0).unwrap();
        let (progress, mut watched) = watch::channel(None);
        let order = Order { cancel: cancel.clone(), progress, ..order(Maintain, &always, &pool) };
        let run = tokio::spawn({
            let state = state(&sandbox);
            async move { runner::run(&state, order).await }
        });
        // The steps before only read; in rollback mode that may fail a write of the application as
        // well.
        let vacuum = StepName::ALL.iter().position(|step| *step == StepName::Vacuum).unwrap() as u64;
        watched.wait_for(|at| at.is_some_and(|at| at.done == vacuum)).await.unwrap();
        for _ in 0..5 {
            assert!(application.wait_for_error().contains("locked"));
        }
        cancel.cancel();
        let finished = run.await.unwrap();
        assert_eq!(finished.outcome, Outcome::Interrupted, "{:?}", finished.result);
        let error = finished.result.unwrap_err();
        assert!(error.message.starts_with("VACUUM: stopped"), "{error}");
        application.wait_for_commits(3);
        let last = application.pause();
        application.stop();
        pool.close();
        drop(pool);
        // The application's rows went to some of the free pages; a VACUUM leaves none.
        assert!(number(&path, "PRAGMA freelist_count") > before / 2);
        assert_eq!(assert_sound(&path), last);
    }
}

/// What the application chose since the run looked is not undone.
#[test]
fn h19_a_mode_that_the_application_has_chosen_meanwhile_stays() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let connection = Connection::open(&path).unwrap();
    connection.query_row("SELECT count(*) FROM users", [], |_| Ok(())).unwrap();
    as_application(&path, "c.executescript('PRAGMA auto_vacuum = incremental; VACUUM')");
    let refused = [
        vacuum(&connection, &Holds::new(|_| {}), AutoVacuum::None, AutoVacuum::None).unwrap_err(),
        into(&connection, &sandbox.path().join("compact")).unwrap_err(),
    ];
    assert_eq!(refused.map(|error| error.reason), [Reason::Refused; 2]);
    assert_eq!(number(&path, "PRAGMA auto_vacuum"), 2);
    vacuum(&connection, &Holds::new(|_| {}), AutoVacuum::Incremental, AutoVacuum::Incremental).unwrap();
    assert_eq!(number(&path, "PRAGMA auto_vacuum"), 2);
}

/// Of a file that holds less than half of what it held, the next backup would take that for a loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_vacuum_that_is_done_before_it_could_be_cancelled_is_remembered() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    as_application(
        &path,
        "c.executescript('''PRAGMA synchronous = OFF; CREATE TABLE filler (id INTEGER PRIMARY KEY, content BLOB);\n\
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)\n\
         INSERT INTO filler SELECT i, randomblob(900) FROM n; DELETE FROM filler WHERE id % 4;\n\
         PRAGMA wal_checkpoint(TRUNCATE)''')",
    );
    let application = Application::start(&path);
    let (state, cancel) = (state(&sandbox), CancellationToken::new());
    let used = |free: &str| number(&path, "PRAGMA page_count") - number(&path, free);
    let before = u64::try_from(used("PRAGMA freelist_count")).unwrap() * 4096;
    let content = Some(Content { place: sandbox.backups(), bytes: before, tables: Vec::new() });
    state.now(|c| facts::remember(c, "attendance", facts::CONTENT, &content)).unwrap();
    let always = database(&path, |d| d.maintain.vacuum = Vacuum::Always);
    let pool = Pool::new(&always, litekeeper::pool::slow_statements(1).0).unwrap();
    let order = Order { cancel: cancel.clone(), ..order(Maintain, &always, &pool) };
    let run = tokio::spawn({
        let state = state.clone();
        async move { runner::run(&state, order).await }
    });
    // The part that nothing can interrupt, at whose end the disk is waited for.
    let began = Instant::now();
    while wal_bytes(&path) < 1 << 20 {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    cancel.cancel();
    let finished = run.await.unwrap();
    assert_eq!(finished.outcome, Outcome::Interrupted, "{:?}", finished.result);
    assert!(finished.result.unwrap_err().message.contains("VACUUM freed"));
    let after = u64::try_from(used("PRAGMA freelist_count")).unwrap() * 4096;
    assert!(after < before, "{after} of {before}");
    let content = state.now(|c| facts::recall(c, "attendance", facts::CONTENT)).unwrap().unwrap();
    assert_eq!(content.bytes, after);
    application.stop();
}
