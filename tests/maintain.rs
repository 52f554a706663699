//! Maintenance of a database that another process uses: what it does, what it leaves alone, and what the
//! application notices of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use litekeeper::config::{Analyze, Database, Index, Maintain, Missing, Reindex, RowidPolicy, Vacuum};
use litekeeper::error::Reason;
use litekeeper::jobs::maintain::{Maintain as Job, StepName};
use litekeeper::jobs::runner::{self, Finished, Order};
use litekeeper::pool::Pool;
use litekeeper::sqlite::facts::disk_free;
use litekeeper::sqlite::space::temp_directory;
use litekeeper::state::State;
use litekeeper::state::facts::{self, DAMAGED_INDEXES};
use litekeeper::state::runs::Outcome;
use rusqlite::Connection;
use rusqlite::types::Value as RowValue;
use serde_json::{Value, json};
use support::application::{self, Application};
use support::configured;
use support::keeper::order;
use support::sandbox::Sandbox;
use support::soundness::assert_sound;
use support::sql;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A database with every step off, and limits that no test reaches by chance.
fn database(path: &Path, change: impl FnOnce(&mut Database)) -> Database {
    let mut database = configured::database("attendance", path);
    database.pool.busy_timeout = Duration::from_secs(30);
    database.maintain = Maintain {
        when: database.maintain.when,
        vacuum: Vacuum::Never,
        vacuum_min_free: 0.2,
        vacuum_min_size: 1 << 20,
        vacuum_rowids: RowidPolicy::Keep,
        analyze: Analyze::Never,
        reindex: Reindex::Never,
        max_block: Duration::from_secs(120),
        max_wal: 1 << 40,
    };
    database.maintain.when.timeout = Duration::from_secs(600);
    // Every statement is slow, so that a test can see which were run.
    database.watch.slow_threshold = Duration::ZERO;
    change(&mut database);
    database
}

struct Ran {
    finished: Finished,
    /// The statements that were run, in their order.
    statements: Vec<String>,
}

impl Ran {
    fn detail(&self) -> &Value {
        &self.finished.result.as_ref().unwrap().detail
    }

    fn step(&self, name: &str) -> &Value {
        let steps = self.detail()["steps"].as_array().unwrap();
        steps.iter().find(|s| s["step"] == name).unwrap()
    }

    fn decision(&self, name: &str) -> &str {
        self.step(name)["decision"].as_str().unwrap()
    }

    fn why(&self, name: &str) -> &str {
        self.step(name)["why"].as_str().unwrap()
    }

    fn problems(&self) -> Vec<(Reason, &str)> {
        let problems = &self.finished.result.as_ref().unwrap().problems;
        problems.iter().map(|p| (p.reason, p.message.as_str())).collect()
    }

    fn ran(&self, part: &str) -> bool {
        self.statements.iter().any(|s| s.contains(part))
    }
}

async fn maintain(state: &State, database: &Database) -> Ran {
    let (slow, mut heard) = mpsc::unbounded_channel();
    let pool = Pool::new(database, slow).unwrap();
    let finished = runner::run(state, order(Job, database, &pool)).await;
    pool.close();
    drop(pool);
    let mut statements = Vec::new();
    while let Ok(statement) = heard.try_recv() {
        statements.push(statement.sql);
    }
    Ran { finished, statements }
}

fn state(sandbox: &Sandbox) -> State {
    State::open(&sandbox.state()).unwrap()
}

/// Changes the database from a process that is not ours, with what the application alone has: `app_order`, a
/// collation, and `app_function`.
fn as_application(path: &Path, python: &str) {
    let program = format!(
        "import sqlite3, sys\n\
         c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.create_collation('app_order', lambda a, b: (a > b) - (a < b))\n\
         c.create_function('app_function', 1, lambda x: x, deterministic=True)\n\
         {python}\n\
         c.close()\n"
    );
    application::script(path, &program);
}

/// Adds about `mib` MiB in a table of its own, and as much again that is then freed.
fn fill(path: &Path, mib: u32) {
    as_application(
        path,
        &format!(
            "c.executescript('''PRAGMA synchronous = OFF; BEGIN;\n\
             CREATE TABLE filler (id INTEGER PRIMARY KEY, content BLOB);\n\
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {mib} * 1024 * 2)\n\
             INSERT INTO filler SELECT i, randomblob(900) FROM n;\n\
             DELETE FROM filler WHERE id % 8 < 4;\n\
             DELETE FROM filler WHERE id > {mib} * 1024; COMMIT;''')"
        ),
    );
}

/// Adds so many small rows, and half as many that are then freed: VACUUM copies row by row, so that it is busy with
/// them for long, and the last part of it, which nothing can interrupt, is short beside that.
fn fill_with_rows(path: &Path, rows: u32) {
    as_application(
        path,
        &format!(
            "c.executescript('''PRAGMA synchronous = OFF; BEGIN;\n\
             CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER);\n\
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows} * 3 / 2)\n\
             INSERT INTO numbers SELECT i, i % 7 FROM n;\n\
             DELETE FROM numbers WHERE id > {rows}; COMMIT;''')"
        ),
    );
}

fn number(path: &Path, sql: &str) -> i64 {
    sql::value(path, sql)
}

fn text(path: &Path, sql: &str) -> String {
    sql::value(path, sql)
}

fn wal(path: &Path) -> u64 {
    std::fs::metadata(format!("{}-wal", path.display())).map_or(0, |wal| wal.len())
}

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
async fn incremental_vacuum_frees_all_in_slices_and_converts_nothing() {
    for (auto_vacuum, decision) in [("incremental", "done"), ("none", "skipped")] {
        let sandbox = Sandbox::with_database(&["--auto-vacuum", auto_vacuum]);
        let path = sandbox.database();
        fill(&path, 4);
        assert!(number(&path, "PRAGMA freelist_count") > 1000);
        let before = number(&path, "PRAGMA auto_vacuum");
        let ran =
            maintain(&state(&sandbox), &database(&path, |d| d.maintain.vacuum = Vacuum::Incremental)).await;
        assert_eq!(ran.decision("vacuum"), decision, "{}", ran.why("vacuum"));
        assert_eq!(number(&path, "PRAGMA freelist_count") == 0, decision == "done");
        assert_eq!(number(&path, "PRAGMA auto_vacuum"), before);
        assert_eq!(ran.why("vacuum").contains("PRAGMA auto_vacuum = INCREMENTAL"), decision == "skipped");
        assert_sound(&path);
    }
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

/// A small filesystem of its own, unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new(mib: u32) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            support::skip("only root can mount a tmpfs");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}M"), "tmpfs"]).arg(dir.path());
        if !mount.status().unwrap().success() {
            support::skip("a tmpfs cannot be mounted");
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // The test has its verdict already.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h08_vacuum_is_refused_without_room_for_the_wal_or_journal() {
    let Some(small) = Tmpfs::new(24) else { return };
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::empty();
        let path = small.0.path().join(format!("{journal_mode}.sqlite"));
        application::create_database(&path, &["--journal-mode", journal_mode]);
        fill(&path, 4);
        as_application(&path, "c.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()");
        let filler_path = small.0.path().join("filler");
        let filler = usize::try_from(disk_free(small.0.path()).unwrap() - (1 << 20)).unwrap();
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
        let place = format!("on the filesystem of {}, which has", small.0.path().display());
        assert!(message.contains(&place), "{message}");
        assert!(!ran.ran("VACUUM"));
        // The hazard itself: it would not have fitted.
        let error = Connection::open(&path).unwrap().execute_batch("VACUUM").unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
        assert_eq!(number(&path, "PRAGMA page_count"), before);

        std::fs::remove_file(&filler_path).unwrap();
        let ran = maintain(&state(&sandbox), &always).await;
        assert_eq!(ran.decision("vacuum"), "done", "{:?}", ran.finished.result);
        assert!(number(&path, "PRAGMA page_count") < before);
        std::fs::remove_file(&path).unwrap();
    }
}

/// Where SQLite puts its temporary files is in its process's environment: this test runs itself in another.
#[tokio::test(flavor = "multi_thread")]
async fn h08_vacuum_is_refused_without_room_for_its_temporary_file() {
    let name = "h08_vacuum_is_refused_without_room_for_its_temporary_file";
    if std::env::var_os("SQLITE_TMPDIR").is_none() {
        let Some(small) = Tmpfs::new(3) else { return };
        let mut inner = Command::new(std::env::current_exe().unwrap());
        inner.args([name, "--exact", "--nocapture"]).env("SQLITE_TMPDIR", small.0.path());
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
    assert_eq!(wal(&path), 0);
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
        let database = database(&path, |d| {
            d.maintain.vacuum = Vacuum::Always;
            d.maintain.max_block = Duration::from_millis(20);
        });
        let ran = maintain(&state(&sandbox), &database).await;
        assert_eq!(ran.finished.outcome, Outcome::Failure);
        assert_eq!(ran.decision("vacuum"), "interrupted", "{:?}", ran.finished.result);
        let problems = ran.problems();
        let [(Reason::Deadline, message)] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(message.contains("maintain.max_block = 20ms"), "{message}");
        assert!(ran.ran("VACUUM"), "{:?}", ran.statements);
        assert_eq!(number(&path, "PRAGMA freelist_count"), before);
        application.write_every(Duration::ZERO);
        application.wait_for_commits(3);
        application.pause();
        let seen = application.stop();
        assert_eq!(seen.errors, Vec::<String>::new());
        assert_eq!(assert_sound(&path), seen.last());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h09_reindex_rebuilds_one_index_at_a_time() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    as_application(&path, "c.execute('CREATE TABLE pairs (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID')");
    let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.reindex = Reindex::Always)).await;
    let mut indexes = [
        "idx_attendance_date",
        "idx_attendance_user_date",
        "idx_face_samples_user_id",
        "idx_users_created_at",
        "idx_users_name",
        "sqlite_autoindex_ledger_1",
    ];
    indexes.sort_unstable();
    let mut treated = ran.step("reindex")["treated"].as_array().unwrap().clone();
    treated.sort_by_key(ToString::to_string);
    assert_eq!(treated, indexes);
    let mut run: Vec<_> = ran.statements.iter().filter(|s| s.starts_with("REINDEX")).collect();
    run.sort_unstable();
    assert_eq!(run, indexes.map(|i| format!("REINDEX main.\"{i}\"")).iter().collect::<Vec<_>>());
    assert_sound(&path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_rebuilt_verified_and_forgotten() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    // Rows that came while an index was out of the schema are missing from it.
    as_application(
        &path,
        "old = c.execute(\"SELECT * FROM sqlite_master WHERE tbl_name = 'users' AND type = 'index'\").fetchall()\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         c.execute(\"DELETE FROM sqlite_master WHERE tbl_name = 'users' AND type = 'index'\")\n\
         c.close(); c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.execute(\"INSERT INTO users VALUES (1000, 'x', 'y', 'z')\")\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         c.executemany('INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)', old)",
    );
    assert_ne!(text(&path, "PRAGMA integrity_check"), "ok");
    let state = state(&sandbox);
    let auto = database(&path, |d| d.maintain.reindex = Reindex::Auto);
    let ran = maintain(&state, &auto).await;
    assert_eq!((ran.decision("reindex"), ran.why("reindex")), ("skipped", "no index needed rebuilding"));

    let found = ["idx_users_name", "idx_users_created_at", "dropped_since"];
    state.now(|c| facts::remember(c, "attendance", DAMAGED_INDEXES, &found)).unwrap();
    let ran = maintain(&state, &auto).await;
    assert_eq!(ran.finished.outcome, Outcome::Success, "{:?}", ran.finished.result);
    assert_eq!(ran.step("reindex")["treated"], json!(["idx_users_created_at", "idx_users_name"]));
    assert_eq!(text(&path, "PRAGMA integrity_check"), "ok");
    let left =
        state.now(|c| facts::recall::<Vec<String>>(c, "attendance", DAMAGED_INDEXES)).unwrap().unwrap();
    assert_eq!(left.0, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_cannot_be_rebuilt_stays_on_the_list() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    as_application(
        &path,
        "c.executescript('''CREATE TABLE pair (a, b);
         CREATE UNIQUE INDEX idx_pair ON pair (a); INSERT INTO pair VALUES (1, 1);''')\n\
         old = c.execute(\"SELECT * FROM sqlite_master WHERE name = 'idx_pair'\").fetchall()\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         c.execute(\"DELETE FROM sqlite_master WHERE name = 'idx_pair'\")\n\
         c.close(); c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.execute('INSERT INTO pair VALUES (1, 2)')\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         c.executemany('INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)', old)",
    );
    let state = state(&sandbox);
    state
        .now(|c| facts::remember(c, "attendance", DAMAGED_INDEXES, &["idx_pair", "idx_users_name"]))
        .unwrap();
    let ran = maintain(&state, &database(&path, |d| d.maintain.reindex = Reindex::Auto)).await;
    assert_eq!(ran.finished.outcome, Outcome::Failure);
    assert_eq!(ran.step("reindex")["treated"], json!(["idx_users_name"]));
    let problems = ran.problems();
    let [(Reason::Sqlite, message)] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(message.starts_with("REINDEX idx_pair of table pair: UNIQUE"), "{message}");
    let left =
        state.now(|c| facts::recall::<Vec<String>>(c, "attendance", DAMAGED_INDEXES)).unwrap().unwrap();
    assert_eq!(left.0, ["idx_pair"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_indexes_are_created_where_the_configuration_says_so() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let index = |name: &str, table: &str, columns: &[&str], missing| Index {
        name: name.into(),
        table: table.into(),
        columns: columns.iter().map(ToString::to_string).collect(),
        missing,
    };
    let database = database(&path, |d| {
        d.indexes = vec![
            index("wanted", "face_samples", &["user_id", "captured_at"], Missing::Create),
            index("only_reported", "users", &["email"], Missing::Report),
            index("idx_users_name", "users", &["name"], Missing::Create),
            index("astray", "users", &["nmae"], Missing::Create),
            index("lost", "nowhere", &["a"], Missing::Create),
        ];
    });
    let ran = maintain(&state(&sandbox), &database).await;
    assert_eq!(ran.step("indexes")["treated"], json!(["wanted"]));
    assert_eq!(
        ran.problems(),
        [
            (Reason::NotFound, "CREATE INDEX astray: table users has no column nmae"),
            (Reason::NotFound, "CREATE INDEX lost: there is no table nowhere"),
        ]
    );
    let names =
        "SELECT group_concat(name, ' ') FROM (SELECT name FROM pragma_index_info('wanted') ORDER BY seqno)";
    assert_eq!(text(&path, names), "user_id captured_at");
    let others = "SELECT count(*) FROM sqlite_schema WHERE name IN ('only_reported', 'astray', 'lost')";
    assert_eq!(number(&path, others), 0);
    // The steps after it were looked at all the same.
    assert_eq!(ran.decision("checkpoint"), "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn h12_a_truncating_checkpoint_is_tried_past_max_wal_alone() {
    for (max_wal, truncates) in [(1 << 40, false), (0, true)] {
        let sandbox = Sandbox::new();
        let path = sandbox.database();
        let mut application = Application::start(&path);
        application.write_every(Duration::ZERO);
        application.wait_for_commits(3);
        application.pause();
        assert!(wal(&path) > 0);
        let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.max_wal = max_wal)).await;
        assert_eq!(ran.decision("checkpoint"), "done");
        assert!(ran.ran("wal_checkpoint(PASSIVE)"));
        assert_eq!(ran.ran("wal_checkpoint(TRUNCATE)"), truncates);
        assert_eq!(wal(&path) == 0, truncates);
        application.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h12_a_slow_reader_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let mut writer = Application::start_with(&path, &["--busy-timeout", "10000"], None);
    writer.write_every(Duration::from_millis(1));
    writer.wait_for_commits(2);
    let mut reader = Application::start(&path);
    reader.hold_read();
    writer.wait_for_commits(2);
    let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.max_wal = 0)).await;
    assert_eq!(ran.finished.outcome, Outcome::Success, "{:?}", ran.finished.result);
    assert_eq!(ran.step("checkpoint")["checkpoint"]["busy"], true, "{:?}", ran.step("checkpoint"));
    let why = ran.why("checkpoint");
    assert!(why.contains("because of an open transaction of the application"), "{why}");
    assert!(why.contains(&format!("process {} (", reader.pid())), "{why}");
    writer.wait_for_commits(2);
    let seen = writer.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    reader.release();
    reader.stop();
    assert_eq!(assert_sound(&path), seen.last());
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
        let (pages, log) = (number(&path, "PRAGMA page_count"), wal(&path));
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
        assert_eq!((number(&path, "PRAGMA page_count"), wal(&path)), (pages, log));
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
    assert_eq!(ran.finished.outcome, Outcome::Failure);
    let problems = ran.problems();
    assert!(problems.iter().all(|(reason, _)| *reason == Reason::Unsupported), "{problems:?}");
    let begins: Vec<_> = problems.iter().map(|(_, text)| text.split(':').next().unwrap()).collect();
    assert_eq!(
        begins,
        ["REINDEX idx_own_name of table own", "REINDEX idx_own_size of table own", "VACUUM", "ANALYZE own"]
    );
    assert!(problems[0].1.contains("app_order; only the application has that"), "{problems:?}");
    assert!(problems[1].1.contains("app_function"), "{problems:?}");
    let treated = |step: &str| ran.step(step)["treated"].as_array().unwrap().clone();
    assert!(treated("reindex").contains(&json!("idx_users_name")));
    assert_eq!(treated("analyze"), ["attendance", "face_samples", "journal", "ledger", "users"]);
    assert_eq!(ran.decision("vacuum"), "failed");
    assert_eq!(ran.decision("checkpoint"), "done");
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
        // Through a new connection each time: one that is open knows some of them from when it was opened.
        let values = || {
            let connection = Connection::open(&path).unwrap();
            kept.map(|name| {
                connection.pragma_query_value(None, name, |row| row.get::<_, RowValue>(0)).unwrap()
            })
        };
        let before = values();
        for vacuum in [Vacuum::Always, Vacuum::Incremental, Vacuum::Auto] {
            let database = database(&path, |d| {
                d.maintain.vacuum = vacuum;
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
async fn h25_analyze_adds_no_kind_of_statistics_that_was_not_there() {
    for analyze in [Analyze::Auto, Analyze::Always] {
        let sandbox = Sandbox::new();
        let path = sandbox.database();
        let mut application = Application::start(&path);
        let statistics = "SELECT group_concat(name) FROM sqlite_master WHERE name LIKE 'sqlite_stat%'";
        assert_eq!(application.sql(statistics), json!([null]));
        let database = database(&path, |d| d.maintain.analyze = analyze);
        let ran = maintain(&state(&sandbox), &database).await;
        assert_eq!(ran.decision("analyze"), "done", "{:?}", ran.finished.result);
        assert_eq!(application.sql(statistics), json!(["sqlite_stat1"]));
        let known =
            "SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'attendance' AND idx = 'idx_attendance_date'";
        assert_eq!(application.sql(known), json!([1]));
        application.stop();
        assert_sound(&path);
        if analyze == Analyze::Auto {
            let again = maintain(&state(&sandbox), &database).await;
            assert_eq!((again.decision("analyze"), again.why("analyze")), ("skipped", "ANALYZE not needed"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h25_samples_that_the_application_has_are_kept_up_to_date() {
    for analyze in [Analyze::Auto, Analyze::Always] {
        let sandbox = Sandbox::new();
        let path = sandbox.database();
        // Ours makes sqlite_stat4, as an application's SQLite with STAT4 does.
        Connection::open(&path).unwrap().execute_batch("ANALYZE").unwrap();
        let samples = "SELECT count(*) FROM sqlite_stat4 WHERE idx = 'idx_attendance_date'";
        assert!(number(&path, samples) > 0);
        // Ten times as many rows, so that the statistics are off.
        as_application(
            &path,
            "c.execute('INSERT INTO attendance (user_id, date, time_in, confidence) SELECT a.user_id, a.date, \
             a.time_in, a.confidence FROM attendance AS a JOIN (SELECT id FROM users LIMIT 20)')",
        );
        let before = text(&path, "SELECT stat FROM sqlite_stat1 WHERE idx = 'idx_attendance_date'");
        let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.analyze = analyze)).await;
        assert_eq!(ran.decision("analyze"), "done", "{:?}", ran.finished.result);
        assert!(number(&path, samples) > 0);
        assert_ne!(text(&path, "SELECT stat FROM sqlite_stat1 WHERE idx = 'idx_attendance_date'"), before);
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
        let pool = Pool::new(&always, mpsc::unbounded_channel().0).unwrap();
        let (progress, mut watched) = watch::channel(None);
        let order = Order { cancel: cancel.clone(), progress, ..order(Job, &always, &pool) };
        let run = tokio::spawn({
            let state = state(&sandbox);
            async move { runner::run(&state, order).await }
        });
        // The steps before only read; in rollback mode that may fail a write of the application as well.
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
