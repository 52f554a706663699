//! Health and integrity tell what is wrong with a database, and only that: run as the daemon runs them, on real
//! files, sound and damaged, beside an application in a process of its own.

use crate::support::application::{self, Application};
use crate::support::keeper::Keeper;
use crate::support::sandbox::Sandbox;
use crate::support::sql::{self, edit};
use litekeeper::clock;
use litekeeper::config::{self, Index, Missing};
use litekeeper::error::{Error, Reason};
use litekeeper::jobs::health::Health;
use litekeeper::jobs::integrity::Integrity;
use litekeeper::jobs::runner::Finished;
use litekeeper::pool::Call;
use litekeeper::sqlite::checkpoint::{Mode, checkpoint};
use litekeeper::state::facts::{DAMAGED_INDEXES, INDEX_PROBLEMS, SPACE, Space, TABLES};
use litekeeper::state::runs::Outcome;
use litekeeper::state::slow::{self, Execution};
use litekeeper::state::status::{TableStatus, Verdict};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const HEALTH_CHECKS: [&str; 4] = ["pool", "indexes", "table_sizes", "query_performance"];
const INTEGRITY_CHECKS: [&str; 2] = ["integrity", "foreign_keys"];

fn number(path: &Path, sql: &str) -> u64 {
    sql::value(path, sql)
}

/// The application as a program that brings its own collation and functions.
fn python(path: &Path, script: &str) {
    let setup = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.create_collation('german', lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
db.create_function('fold', 1, lambda text: text.lower(), deterministic=True)
";
    application::script(path, &format!("{setup}{script}\ndb.commit()"));
}

/// Bytes that are no page, over a page of a file that is closed.
fn overwrite_page(path: &Path, page: u64) {
    let size = number(path, "PRAGMA page_size");
    edit(path, "PRAGMA wal_checkpoint(TRUNCATE)");
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0xA5; usize::try_from(size).unwrap()], (page - 1) * size).unwrap();
}

fn findings(finished: &Finished) -> &[Error] {
    &finished.result.as_ref().unwrap().findings
}

fn problems(finished: &Finished) -> &[Error] {
    &finished.result.as_ref().unwrap().problems
}

#[track_caller]
fn assert_verdict(keeper: &Keeper, name: &str, expected: Verdict, words: &[&str]) {
    let (verdict, detail) = keeper.check(name);
    assert_eq!(verdict, expected, "{name}: {detail}");
    for word in words {
        assert!(detail.contains(word), "{word:?} is not in {detail:?}");
    }
}

fn declare(keeper: &mut Keeper, name: &str, table: &str, columns: &[&str]) {
    keeper.database.indexes.push(Index {
        name: name.to_owned(),
        table: table.to_owned(),
        columns: columns.iter().map(|&c| c.to_owned()).collect(),
        missing: Missing::Report,
    });
}

#[tokio::test]
async fn a_sound_database_is_good_in_every_check() {
    for mode in ["wal", "delete"] {
        let mut keeper = Keeper::new(Sandbox::with_database(&["--journal-mode", mode]));
        declare(&mut keeper, "idx_attendance_user_date", "attendance", &["user_id", "date"]);
        for finished in [keeper.run(Health).await, keeper.run(Integrity).await] {
            assert_eq!(finished.outcome, Outcome::Success, "{finished:?}");
            assert!(findings(&finished).is_empty(), "{finished:?}");
        }
        for check in HEALTH_CHECKS.iter().chain(&INTEGRITY_CHECKS) {
            assert_verdict(&keeper, check, Verdict::Good, &[]);
        }
    }
}

#[tokio::test]
async fn the_sizes_of_the_tables_add_up_to_the_file() {
    let keeper = Keeper::new(Sandbox::new());
    let path = keeper.sandbox.database();
    edit(&path, "CREATE TABLE gone (a); INSERT INTO gone VALUES (zeroblob(20000)); DROP TABLE gone");
    keeper.run(Health).await;
    let tables: Vec<TableStatus> = keeper.fact(TABLES).unwrap();
    let space: Space = keeper.fact(SPACE).unwrap();
    assert!(space.free_bytes >= 20_000);
    // The schema has one page; every other one is a table's, an index's or free.
    let page = number(&path, "PRAGMA page_size");
    let sizes: u64 = tables.iter().map(|table| table.size_bytes.unwrap()).sum();
    assert_eq!(sizes + space.free_bytes + page, page * number(&path, "PRAGMA page_count"));
    let mut names: Vec<&str> = tables.iter().map(|table| table.table.as_str()).collect();
    assert!(tables.is_sorted_by(|a, b| a.size_bytes >= b.size_bytes), "{tables:?}");
    names.sort_unstable();
    assert_eq!(names, ["attendance", "face_samples", "journal", "ledger", "users"]);
    let rows = |name: &str| tables.iter().find(|table| table.table == name).unwrap().rows;
    assert_eq!((rows("attendance"), rows("users"), rows("journal")), (Some(1000), Some(20), Some(0)));
}

#[tokio::test]
async fn a_file_is_measured_again_only_when_it_has_changed() {
    let keeper = Keeper::new(Sandbox::new());
    let mut application = Application::start(&keeper.sandbox.database());
    keeper.run(Health).await;
    let marker = vec![TableStatus { table: "marker".to_owned(), size_bytes: Some(1), rows: None }];
    keeper.pretend(TABLES, &marker);
    keeper.run(Health).await;
    assert_eq!(keeper.fact::<Vec<TableStatus>>(TABLES).unwrap(), marker);
    // Into the write-ahead log: the file itself stays as it is.
    application.sql("INSERT INTO users (name, created_at) VALUES ('New', '2025-01-01')");
    keeper.run(Health).await;
    let tables: Vec<TableStatus> = keeper.fact(TABLES).unwrap();
    assert_eq!(tables.iter().find(|table| table.table == "users").unwrap().rows, Some(21));
}

/// 500 articles, and an index of their words beside them.
const ARTICLES: &str = "
    CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO articles SELECT i, 'running title ' || i FROM n;
    CREATE VIRTUAL TABLE words USING fts5 (title, tokenize = ascii, content = articles, content_rowid = id);
    INSERT INTO words (words) VALUES ('rebuild');";

/// The application holds the write lock meanwhile: nobody waits for anybody.
#[tokio::test]
async fn h34_a_full_text_table_that_is_out_of_step_with_its_content_is_found_without_the_write_lock() {
    let keeper = Keeper::new(Sandbox::with_database(&["--journal-mode", "wal"]));
    let path = keeper.sandbox.database();
    edit(&path, ARTICLES);
    let mut application = Application::start(&path);
    for (change, verdict, words) in [
        ("SELECT 1", Verdict::Good, &[][..]),
        ("DELETE FROM articles WHERE id = 7", Verdict::Bad, &["full-text table words", "'rebuild'"]),
        ("INSERT INTO words (words) VALUES ('rebuild')", Verdict::Good, &[]),
        ("UPDATE articles SET title = 'other' WHERE id = 8", Verdict::Bad, &["full-text table words"]),
    ] {
        application.sql(change);
        application.hold_write();
        let finished = keeper.run(Integrity).await;
        application.release();
        assert_verdict(&keeper, "integrity", verdict, words);
        assert!(problems(&finished).is_empty(), "{finished:?}");
        assert!(findings(&finished).iter().all(|found| found.reason == Reason::Sqlite), "{finished:?}");
    }
}

#[tokio::test]
async fn h34_a_full_text_table_that_another_tokenizer_made_is_neither_good_nor_bad() {
    let keeper = Keeper::new(Sandbox::new());
    let path = keeper.sandbox.database();
    for name in ["trigram", "not_known"] {
        edit(&path, "DROP TABLE IF EXISTS words; DROP TABLE IF EXISTS articles");
        edit(&path, ARTICLES);
        edit(
            &path,
            &format!(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(sql, 'ascii', '{name}') WHERE name = 'words'"
            ),
        );
        let finished = keeper.run(Integrity).await;
        assert_verdict(&keeper, "integrity", Verdict::Unknown, &["words"]);
        assert!(findings(&finished).is_empty() && problems(&finished).is_empty(), "{finished:?}");
    }
}

#[tokio::test]
async fn declared_indexes_that_are_not_as_declared_are_named_with_their_statement() {
    let mut keeper = Keeper::new(Sandbox::new());
    edit(&keeper.sandbox.database(), "CREATE INDEX partial ON users (email) WHERE email IS NOT NULL");
    declare(&mut keeper, "IDX_USERS_NAME", "Users", &["NAME"]);
    declare(&mut keeper, "absent", "users", &["name", "email"]);
    declare(&mut keeper, "idx_attendance_user_date", "attendance", &["date", "user_id"]);
    declare(&mut keeper, "idx_users_created_at", "face_samples", &["captured_at"]);
    declare(&mut keeper, "partial", "users", &["email"]);
    declare(&mut keeper, "no_column", "users", &["shoe_size"]);
    declare(&mut keeper, "no_table", "nowhere", &["a"]);
    let finished = keeper.run(Health).await;
    assert_eq!(finished.outcome, Outcome::Success, "the run itself went well");
    assert_eq!(findings(&finished).iter().map(|e| e.reason).collect::<Vec<_>>(), [Reason::NotFound]);
    let problems: Vec<(String, String)> = keeper.fact(INDEX_PROBLEMS).unwrap();
    let problems: Vec<_> = problems.iter().map(|(index, word)| (index.as_str(), word.as_str())).collect();
    assert_eq!(
        problems,
        [
            ("absent", "missing"),
            ("idx_attendance_user_date", "different"),
            ("idx_users_created_at", "different"),
            ("partial", "different"),
            ("no_column", "missing"),
            ("no_table", "missing"),
        ]
    );
    let (_, detail) = keeper.check("indexes");
    let connection = Connection::open(keeper.sandbox.database()).unwrap();
    for statement in [
        r#"CREATE INDEX "absent" ON "users" ("name", "email")"#,
        r#"DROP INDEX "idx_attendance_user_date"; CREATE INDEX "idx_attendance_user_date" ON "attendance" ("date", "user_id")"#,
    ] {
        assert!(detail.contains(statement), "{detail}");
        connection.execute_batch(statement).unwrap();
    }
    drop(connection);
    keeper.run(Health).await;
    let mut problems: Vec<(String, String)> = keeper.fact(INDEX_PROBLEMS).unwrap();
    // The rest is advice.
    problems.retain(|(_, word)| word == "missing" || word == "different");
    assert_eq!(problems.len(), 4, "what it said to do solves what it said was wrong: {problems:?}");
}

#[tokio::test]
async fn slow_statements_of_the_application_are_bad_until_they_are_fast_again() {
    let keeper = Keeper::new(Sandbox::new());
    let record = |job, shape: &str| {
        let execution = Execution {
            database: keeper.database.name.clone(),
            job,
            shape: shape.to_owned(),
            at: clock::now(),
            duration: Duration::from_millis(1500),
            vm_steps: 1,
            full_scan_steps: 1,
            sorts: 0,
            automatic_indexes: 0,
            plan: None,
        };
        keeper.state.now(|connection| slow::record(connection, &execution)).unwrap();
    };
    record("maintain", "VACUUM");
    keeper.run(Health).await;
    assert_verdict(&keeper, "query_performance", Verdict::Good, &[]);
    record("watch", "SELECT * FROM t WHERE a = ?");
    let finished = keeper.run(Health).await;
    assert_eq!(findings(&finished).len(), 1);
    assert_verdict(
        &keeper,
        "query_performance",
        Verdict::Bad,
        &["SELECT * FROM t WHERE a = ?", "up to 1.5 s"],
    );
    keeper.run(Health).await;
    assert_verdict(&keeper, "query_performance", Verdict::Good, &[]);
}

#[tokio::test]
async fn callers_that_waited_in_vain_make_the_pool_bad_once() {
    let mut keeper = Keeper::new(Sandbox::new());
    keeper.database.pool.size = 1;
    keeper.database.pool.max_overflow = 0;
    keeper.database.pool.timeout = Duration::from_millis(50);
    let pool = keeper.pool();
    let call = Call::new("health", CancellationToken::new(), None);
    let (lent, is_lent) = tokio::sync::oneshot::channel();
    let (release, released) = mpsc::channel::<()>();
    let holder = tokio::spawn({
        let (pool, call) = (pool.clone(), call.clone());
        async move {
            pool.run(&call, move |_| {
                lent.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
            .await
        }
    });
    is_lent.await.unwrap();
    assert_eq!(pool.run(&call, |_| Ok(())).await.unwrap_err().reason, Reason::PoolTimeout);
    release.send(()).unwrap();
    holder.await.unwrap().unwrap();
    let finished = keeper.run_over(&pool, Health).await;
    assert_eq!(findings(&finished)[0].reason, Reason::PoolTimeout);
    assert_verdict(&keeper, "pool", Verdict::Bad, &["1 calls got no connection"]);
    assert_verdict(&keeper, "table_sizes", Verdict::Good, &[]);
    keeper.run_over(&pool, Health).await;
    assert_verdict(&keeper, "pool", Verdict::Good, &[]);
}

#[tokio::test]
async fn h21_an_application_that_never_lets_go_is_told_of_as_such() {
    let mut keeper = Keeper::new(Sandbox::new());
    keeper.database.pool.busy_timeout = Duration::from_millis(50);
    let mut application =
        Application::start_with(&keeper.sandbox.database(), &["--locking-mode", "exclusive"], None);
    let finished = keeper.run(Health).await;
    assert_eq!(finished.outcome, Outcome::Success, "the run is done, and not tried again: {finished:?}");
    assert_eq!(findings(&finished).iter().map(|e| e.reason).collect::<Vec<_>>(), [Reason::Held]);
    assert_verdict(&keeper, "pool", Verdict::Bad, &["locking_mode = EXCLUSIVE"]);
    // Not asked for: each would have waited for the lock once more.
    assert_verdict(&keeper, "indexes", Verdict::Unknown, &["see the check pool"]);
    assert_verdict(&keeper, "table_sizes", Verdict::Unknown, &["see the check pool"]);
    application.write_every(Duration::from_millis(1));
    application.wait_for_commits(5);
    assert!(application.stop().errors.is_empty());
    keeper.run(Health).await;
    assert_verdict(&keeper, "pool", Verdict::Good, &[]);
}

#[tokio::test]
async fn what_is_no_database_is_called_so_and_ends_no_job() {
    let keeper = Keeper::new(Sandbox::empty());
    let path = keeper.sandbox.database();

    assert_eq!(findings(&keeper.run(Health).await)[0].reason, Reason::Vanished);
    assert_verdict(&keeper, "pool", Verdict::Bad, &[path.to_str().unwrap()]);
    let finished = keeper.run(Integrity).await;
    assert_eq!(finished.outcome, Outcome::Failure, "nothing was checked");
    assert_verdict(&keeper, "integrity", Verdict::Unknown, &[path.to_str().unwrap()]);
    assert!(!path.exists());

    fs::write(&path, "no database, however one looks at it\n".repeat(500)).unwrap();
    assert_eq!(findings(&keeper.run(Health).await)[0].reason, Reason::NotADatabase);
    assert_verdict(&keeper, "pool", Verdict::Bad, &["is not a database"]);
    assert_eq!(findings(&keeper.run(Integrity).await)[0].reason, Reason::NotADatabase);
}

#[tokio::test]
async fn a_truncated_file_is_damaged() {
    for mode in ["wal", "delete"] {
        let keeper = Keeper::new(Sandbox::with_database(&["--journal-mode", mode]));
        let path = keeper.sandbox.database();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        drop(file);
        assert_eq!(findings(&keeper.run(Health).await)[0].reason, Reason::Damaged);
        assert_eq!(findings(&keeper.run(Integrity).await)[0].reason, Reason::Damaged);
        assert_verdict(&keeper, "pool", Verdict::Bad, &["litekeeper restore attendance"]);
        assert_verdict(&keeper, "integrity", Verdict::Bad, &["litekeeper restore attendance"]);
        assert_verdict(&keeper, "foreign_keys", Verdict::Unknown, &[]);
    }
}

#[tokio::test]
async fn a_page_that_is_none_is_damage_of_the_table_that_has_it() {
    for level in [config::Integrity::Quick, config::Integrity::Full] {
        let mut keeper = Keeper::new(Sandbox::new());
        keeper.database.health.integrity = level;
        let path = keeper.sandbox.database();
        edit(&path, "DROP INDEX idx_users_name; CREATE INDEX idx_users_name ON users (name) WHERE id < 10");
        edit(
            &path,
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = 'CREATE INDEX idx_users_name ON users(name)' WHERE name = 'idx_users_name'",
        );
        let page = number(&path, "SELECT rootpage FROM sqlite_schema WHERE name = 'face_samples'");
        overwrite_page(&path, page);
        let finished = keeper.run(Integrity).await;
        assert_eq!(findings(&finished)[0].reason, Reason::Damaged, "{finished:?}");
        assert_verdict(
            &keeper,
            "integrity",
            Verdict::Bad,
            &["face_samples", "idx_users_name", "litekeeper restore"],
        );
        // A rebuild would write into a damaged file.
        assert_eq!(keeper.fact::<Vec<String>>(DAMAGED_INDEXES).unwrap(), [""; 0]);
    }
}

const UNUSED_PAGES: &str =
    "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'idx_users_name'";

#[tokio::test]
async fn pages_that_nothing_uses_are_found_though_no_table_has_them() {
    for mode in ["wal", "delete"] {
        let keeper = Keeper::new(Sandbox::with_database(&["--journal-mode", mode]));
        let path = keeper.sandbox.database();
        edit(&path, UNUSED_PAGES);
        let finished = keeper.run(Integrity).await;
        assert_eq!(findings(&finished)[0].reason, Reason::Damaged, "{finished:?}");
        assert_verdict(&keeper, "integrity", Verdict::Bad, &["never used"]);
    }
}

#[tokio::test]
async fn what_is_committed_during_a_check_is_out_of_the_log_afterwards_unless_the_file_is_damaged() {
    for (is_damaged, before) in [(false, "SELECT 1"), (true, UNUSED_PAGES)] {
        let keeper = Keeper::new(Sandbox::new());
        let path = keeper.sandbox.database();
        edit(&path, before);
        let mut application = Application::start(&path);
        // Nobody but litekeeper moves what it commits.
        application.sql("PRAGMA wal_autocheckpoint = 0");
        application.sql("CREATE TABLE ballast (bytes BLOB)");
        application.sql("INSERT INTO ballast VALUES (zeroblob(8000000))");
        application.write_every(Duration::ZERO);
        let looks = Connection::open(&path).unwrap();
        let mut moved = 0;
        for _ in 0..20 {
            keeper.run(Integrity).await;
            moved = checkpoint(&looks, Mode::Noop).unwrap().unwrap().moved_pages;
            // None where a check was over before the next commit.
            if moved > 0 {
                break;
            }
        }
        assert_eq!(moved == 0, is_damaged, "{moved}");
        application.stop();
    }
}

#[tokio::test]
async fn an_index_found_wrong_stays_so_until_it_is_right() {
    let mut keeper = Keeper::new(Sandbox::new());
    let path = keeper.sandbox.database();
    // As many entries as rows, but of another column: only the full check compares them.
    edit(
        &path,
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX idx_users_name ON users(email)' WHERE name = 'idx_users_name'",
    );
    keeper.run(Integrity).await;
    assert_verdict(&keeper, "integrity", Verdict::Good, &[]);

    keeper.database.health.integrity = config::Integrity::Full;
    let finished = keeper.run(Integrity).await;
    assert_eq!(findings(&finished).iter().map(|e| e.reason).collect::<Vec<_>>(), [Reason::Damaged]);
    let damaged = || keeper.fact::<Vec<String>>(DAMAGED_INDEXES).unwrap();
    assert_eq!(damaged(), ["idx_users_name"]);
    let problems: Vec<(String, String)> = keeper.fact(INDEX_PROBLEMS).unwrap();
    assert_eq!(problems, [("idx_users_name".to_owned(), "damaged".to_owned())]);
    assert_verdict(&keeper, "integrity", Verdict::Bad, &["idx_users_name", "litekeeper maintain attendance"]);
    keeper.run(Health).await;
    assert_verdict(&keeper, "indexes", Verdict::Bad, &["idx_users_name"]);
}

#[tokio::test]
async fn the_quick_check_looks_closely_at_an_index_that_was_wrong() {
    let keeper = Keeper::new(Sandbox::new());
    let path = keeper.sandbox.database();
    edit(
        &path,
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX idx_users_name ON users(email)' WHERE name = 'idx_users_name'",
    );
    keeper.pretend(DAMAGED_INDEXES, &["idx_users_name"]);
    keeper.run(Integrity).await;
    let damaged = || keeper.fact::<Vec<String>>(DAMAGED_INDEXES).unwrap();
    assert_eq!(damaged(), ["idx_users_name"]);
    assert_verdict(&keeper, "integrity", Verdict::Bad, &["idx_users_name"]);
    edit(&path, "REINDEX idx_users_name");
    keeper.run(Integrity).await;
    assert_eq!(damaged(), [""; 0]);
    assert_verdict(&keeper, "integrity", Verdict::Good, &[]);
    assert_eq!(keeper.fact::<Vec<(String, String)>>(INDEX_PROBLEMS).unwrap(), []);
}

#[tokio::test]
async fn rows_that_break_a_constraint_are_bad_but_no_damage() {
    let keeper = Keeper::new(Sandbox::new());
    let path = keeper.sandbox.database();
    edit(
        &path,
        "CREATE TABLE limited (a CHECK (a > 0)); PRAGMA ignore_check_constraints = ON; INSERT INTO limited VALUES (-1)",
    );
    let finished = keeper.run(Integrity).await;
    assert_eq!(findings(&finished).iter().map(|e| e.reason).collect::<Vec<_>>(), [Reason::Sqlite]);
    assert_verdict(&keeper, "integrity", Verdict::Bad, &["limited"]);
}

#[tokio::test]
async fn broken_foreign_keys_are_counted_by_table_and_parent() {
    let keeper = Keeper::new(Sandbox::new());
    let path = keeper.sandbox.database();
    let orphans = number(&path, "SELECT count(*) FROM attendance WHERE user_id IN (1, 2)");
    edit(
        &path,
        "DELETE FROM users WHERE id IN (1, 2);
         CREATE TABLE lost (a REFERENCES nowhere (x)); INSERT INTO lost VALUES (1), (2);
         CREATE TABLE loose (n REFERENCES users (name)); INSERT INTO loose VALUES ('x')",
    );
    let finished = keeper.run(Integrity).await;
    assert_eq!(findings(&finished).len(), 1, "{finished:?}");
    let rows = format!("{orphans} rows of attendance refer to rows of users");
    let words = [
        rows.as_str(),
        "2 rows of face_samples refer to rows of users",
        "lost refers to the table nowhere, which does not exist",
        "loose refers to columns that are neither a primary key nor unique",
    ];
    assert_verdict(&keeper, "foreign_keys", Verdict::Bad, &words);
    let (_, detail) = keeper.check("foreign_keys");
    assert!(!detail.contains("rows of lost"), "a missing table is one problem: {detail}");
    assert_verdict(&keeper, "integrity", Verdict::Good, &[]);
}

#[tokio::test]
async fn h16_what_only_the_application_can_check_is_unknown_and_the_rest_is_checked() {
    let mut keeper = Keeper::new(Sandbox::new());
    // The quick check has no need of functions in indexes.
    keeper.database.health.integrity = config::Integrity::Full;
    let path = keeper.sandbox.database();
    python(
        &path,
        "db.execute('CREATE TABLE people (name TEXT COLLATE german, notes TEXT, photo BLOB, more TEXT)')
db.execute('CREATE INDEX people_name ON people (name)')
db.execute('CREATE TABLE towns (name TEXT)')
db.execute('CREATE INDEX towns_fold ON towns (fold(name))')
db.execute('CREATE TABLE parents (name TEXT COLLATE german PRIMARY KEY)')
db.execute('CREATE TABLE children (parent TEXT REFERENCES parents (name))')
for table in ['people', 'towns', 'parents', 'children']:
    column = 'parent' if table == 'children' else 'name'
    db.executemany(f'INSERT INTO {table} ({column}) VALUES (?)', [('Anna',), ('Otto',)])",
    );
    let finished = keeper.run(Integrity).await;
    assert_eq!(finished.outcome, Outcome::Success, "{finished:?}");
    assert!(findings(&finished).is_empty(), "it is not damaged: {finished:?}");
    let words = ["people", "no such collation sequence: german", "towns", "fold"];
    assert_verdict(&keeper, "integrity", Verdict::Unknown, &words);
    assert_verdict(&keeper, "foreign_keys", Verdict::Unknown, &["children", "german"]);

    // Nothing of that is needed to measure and count.
    keeper.run(Health).await;
    assert_verdict(&keeper, "table_sizes", Verdict::Good, &[]);
    let tables: Vec<TableStatus> = keeper.fact(TABLES).unwrap();
    for name in ["people", "towns", "parents"] {
        assert_eq!(tables.iter().find(|t| t.table == name).unwrap().rows, Some(2), "{name}");
    }

    edit(&path, "DELETE FROM users WHERE id = 1; INSERT INTO journal VALUES (1, 1, 1)");
    overwrite_page(&path, number(&path, "SELECT rootpage FROM sqlite_schema WHERE name = 'journal'"));
    let finished = keeper.run(Integrity).await;
    assert_eq!(findings(&finished).len(), 2, "{finished:?}");
    assert_verdict(&keeper, "integrity", Verdict::Bad, &["journal", "cannot check", "table people: no such"]);
    assert_verdict(
        &keeper,
        "foreign_keys",
        Verdict::Bad,
        &["refer to rows of users", "cannot check table children"],
    );
}

#[tokio::test]
async fn h09_a_check_that_would_hold_up_writers_for_too_long_is_stopped() {
    let mut keeper = Keeper::new(Sandbox::with_database(&["--journal-mode", "delete"]));
    let mut application =
        Application::start_with(&keeper.sandbox.database(), &["--busy-timeout", "10000"], None);
    application.write_every(Duration::from_millis(1));
    application.wait_for_commits(5);
    keeper.database.maintain.max_block = Duration::ZERO;
    let finished = keeper.run(Integrity).await;
    assert_eq!(finished.outcome, Outcome::Failure, "{finished:?}");
    assert!(problems(&finished).iter().all(|e| e.reason == Reason::Deadline), "{finished:?}");
    assert!(findings(&finished).is_empty(), "{finished:?}");
    assert_verdict(&keeper, "integrity", Verdict::Unknown, &["attendance", "maintain.max_block"]);
    application.wait_for_commits(5);
    assert!(application.stop().errors.is_empty());
}

#[tokio::test]
async fn h09_an_application_that_writes_all_the_time_is_checked_without_an_error_of_its_own() {
    for mode in ["wal", "delete"] {
        let keeper = Keeper::new(Sandbox::with_database(&["--journal-mode", mode]));
        let mut application = Application::start(&keeper.sandbox.database());
        application.write_every(Duration::from_millis(1));
        application.wait_for_commits(5);
        for finished in [keeper.run(Integrity).await, keeper.run(Health).await] {
            assert_eq!(finished.outcome, Outcome::Success, "{finished:?}");
            assert!(findings(&finished).is_empty(), "{finished:?}");
        }
        application.wait_for_commits(5);
        assert!(application.stop().errors.is_empty());
        assert_verdict(&keeper, "integrity", Verdict::Good, &[]);
    }
}

#[tokio::test]
async fn a_file_that_is_whole_but_cannot_be_read_here_is_said_once_and_nobody_is_told_to_restore_it() {
    let keeper = Keeper::new(Sandbox::new());
    let database = keeper.sandbox.database();
    edit(&database, "PRAGMA journal_mode = delete");
    // A format of the future: the application reads it, and only litekeeper does not.
    fs::OpenOptions::new().write(true).open(&database).unwrap().write_all_at(&[5, 5], 18).unwrap();
    keeper.run(Integrity).await;
    let (verdict, detail) = keeper.check("integrity");
    assert_eq!(verdict, Verdict::Bad);
    assert!(detail.contains("install a newer litekeeper"), "{detail}");
    assert!(!detail.contains("restore") && !detail.contains("recover"), "{detail}");
    assert_eq!(detail.matches(database.to_str().unwrap()).count(), 1, "{detail}");
    let (verdict, detail) = keeper.check("foreign_keys");
    assert_eq!(verdict, Verdict::Unknown);
    assert_eq!(detail, "the database cannot be read; see the check integrity");
}
