//! Health tells what is wrong with a database, and only that: run as the daemon runs it, beside an
//! application in a process of its own.

use super::fixture::{
    ARTICLES, HEALTH_CHECKS, INTEGRITY_CHECKS, assert_verdict, declare, findings, number, problems,
};
use crate::support::application::Application;
use crate::support::calls::OnThread as _;
use crate::support::keeper::Keeper;
use crate::support::sandbox::Sandbox;
use crate::support::sql::edit;
use litekeeper::clock;
use litekeeper::error::Reason;
use litekeeper::jobs::health::Health;
use litekeeper::jobs::integrity::Integrity;
use litekeeper::pool::Call;
use litekeeper::state::facts::{INDEX_PROBLEMS, SPACE, Space, TABLES};
use litekeeper::state::slow::{self, Execution};
use litekeeper::state::status::TableStatus;
use litekeeper::terms::{Outcome, Verdict};
use rusqlite::Connection;
use std::sync::mpsc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

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
    let space: Space = keeper.fact(SPACE).unwrap().unwrap();
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
    let call = Call::new("health", &CancellationToken::new(), None);
    let (lent, is_lent) = tokio::sync::oneshot::channel();
    let (release, released) = mpsc::channel::<()>();
    let holder = tokio::spawn({
        let (pool, call) = (pool.clone(), call.clone());
        async move {
            pool.on_thread(&call, move |_| {
                lent.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
            .await
        }
    });
    is_lent.await.unwrap();
    assert_eq!(pool.on_thread(&call, |_| Ok(())).await.unwrap_err().reason, Reason::PoolTimeout);
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
