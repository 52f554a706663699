//! Damage and what is none: pages, indexes, constraints, foreign keys; found beside an application
//! that writes.

use super::fixture::{assert_verdict, findings, number, overwrite_page, problems, python};
use crate::support::application::Application;
use crate::support::keeper::Keeper;
use crate::support::sandbox::Sandbox;
use crate::support::sql::edit;
use litekeeper::config;
use litekeeper::error::Reason;
use litekeeper::jobs::health::Health;
use litekeeper::jobs::integrity::Integrity;
use litekeeper::sqlite::write::checkpoint::{Mode, checkpoint};
use litekeeper::state::facts::{DAMAGED_INDEXES, INDEX_PROBLEMS, TABLES};
use litekeeper::state::status::TableStatus;
use litekeeper::terms::{Outcome, Verdict};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

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
    keeper.pretend(DAMAGED_INDEXES, &vec!["idx_users_name".to_owned()]);
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
    let words = ["people", "the collation german", "towns", "the function fold"];
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
