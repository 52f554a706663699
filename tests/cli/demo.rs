//! The demo's directory, its sample database and its application, without the daemon.

use chrono::{DateTime, Utc};
use litekeeper::demo::{self, Demo, Player};
use litekeeper::error::{Reason, Result};
use rusqlite::Connection;
use std::fs;
use std::path::Path;

const LISTEN: &str = "127.0.0.1:9742";

fn prepare(dir: &Path) -> Result<Demo> {
    prepare_on(dir, LISTEN)
}

fn prepare_on(dir: &Path, listen: &str) -> Result<Demo> {
    // A Wednesday.
    let now: DateTime<Utc> = "2025-06-18T12:00:00Z".parse().unwrap();
    demo::prepare(dir, listen.parse().unwrap(), now)
}

fn number(database: &Path, sql: &str) -> i64 {
    Connection::open(database).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn text(database: &Path, sql: &str) -> String {
    Connection::open(database).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn writes_three_years_of_weekdays_that_a_caretaker_finds_work_in() {
    let dir = tempfile::tempdir().unwrap();
    let demo = prepare(dir.path()).unwrap();
    let database = demo.database.as_path();

    let rows = number(database, "SELECT count(*) FROM attendance");
    let written = demo.written.unwrap();
    assert_eq!(i64::try_from(written.attendance).unwrap(), rows);
    assert_eq!(i64::try_from(written.users).unwrap(), number(database, "SELECT count(*) FROM users"));
    assert!((65_000..80_000).contains(&rows), "{rows} rows of attendance");

    // Three years before a Wednesday was a Saturday, so the first working day is the Monday after
    // it.
    assert_eq!(text(database, "SELECT min(date) FROM attendance"), "2022-06-20");
    assert_eq!(text(database, "SELECT max(date) FROM attendance"), "2025-06-17");
    assert_eq!(
        number(database, "SELECT count(*) FROM attendance WHERE strftime('%w', date) IN ('0', '6')"),
        0
    );
    let early = "SELECT count(*) FROM attendance a JOIN users u ON u.id = a.user_id
                 WHERE a.date < substr(u.created_at, 1, 10)";
    assert_eq!(number(database, early), 0, "somebody came before they joined");
    // What the demo's max_share of 80% must allow.
    let old =
        number(database, "SELECT count(*) FROM attendance WHERE date < date('2025-06-18', '-365 days')");
    assert!((rows * 60 / 100..rows * 70 / 100).contains(&old), "{old} of {rows} rows are older than a year");

    let free = number(database, "PRAGMA freelist_count") * 100 / number(database, "PRAGMA page_count");
    assert!(free >= 5, "{free}% of the pages are free");
    assert!(number(database, "PRAGMA freelist_count") * number(database, "PRAGMA page_size") > 1 << 19);
    assert_eq!(text(database, "PRAGMA journal_mode"), "wal");
    assert_eq!(text(database, "PRAGMA integrity_check"), "ok");
    assert_eq!(number(database, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

#[test]
fn the_sample_has_every_index_that_the_configuration_declares() {
    let dir = tempfile::tempdir().unwrap();
    let demo = prepare(dir.path()).unwrap();
    let configuration: toml::Table = fs::read_to_string(&demo.configuration).unwrap().parse().unwrap();
    let mut declared: Vec<(String, String)> = configuration["database"]["attendance"]["index"]
        .as_array()
        .unwrap()
        .iter()
        .map(|index| {
            let columns: Vec<&str> =
                index["columns"].as_array().unwrap().iter().map(|column| column.as_str().unwrap()).collect();
            let on = format!("{}({})", index["table"].as_str().unwrap(), columns.join(", "));
            (index["name"].as_str().unwrap().to_owned(), on)
        })
        .collect();
    declared.sort();
    let expected = [
        ("idx_attendance_date", "attendance(date)"),
        ("idx_attendance_user_date", "attendance(user_id, date)"),
        ("idx_face_samples_user_id", "face_samples(user_id)"),
        ("idx_users_created_at", "users(created_at)"),
        ("idx_users_name", "users(name)"),
    ]
    .map(|(name, on)| (name.to_owned(), on.to_owned()));
    assert_eq!(declared, expected);
    for (name, on) in declared {
        let sql = format!("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = '{name}'");
        assert_eq!(text(&demo.database, &sql), format!("CREATE INDEX {name} ON {on}"));
    }
}

#[test]
fn the_same_day_gives_the_same_rows() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let databases = [&one, &other].map(|dir| prepare(dir.path()).unwrap().database);
    for (table, row) in [
        ("users", "concat_ws('|', id, name, email, created_at)"),
        ("face_samples", "concat_ws('|', id, user_id, hex(embedding), captured_at)"),
        ("attendance", "concat_ws('|', id, user_id, date, time_in, time_out, confidence)"),
    ] {
        let sql = format!("SELECT group_concat({row}, char(10) ORDER BY id) FROM {table}");
        let [rows, others] = [0, 1].map(|n| text(&databases[n], &sql));
        assert!(rows == others, "{table} differs");
    }
}

#[test]
fn refuses_a_directory_that_holds_anything_else_and_leaves_it_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("attendance.sqlite"), "precious").unwrap();
    let refused = prepare(dir.path()).unwrap_err();
    assert_eq!(refused.reason, Reason::Refused);
    assert!(refused.message.contains(&dir.path().display().to_string()), "{refused}");
    fs::write(dir.path().join("litekeeper.toml"), "[daemon]\n").unwrap();
    assert_eq!(prepare(dir.path()).unwrap_err().reason, Reason::Refused, "a configuration of somebody's own");
    assert_eq!(fs::read_to_string(dir.path().join("attendance.sqlite")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(dir.path().join("litekeeper.toml")).unwrap(), "[daemon]\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_second_demo_keeps_the_rows_and_an_edited_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let first = prepare(dir.path()).unwrap();
    let insert =
        "INSERT INTO attendance (user_id, date, time_in, confidence) VALUES (1, '2025-06-18', '07:00:00', 1)";
    Connection::open(&first.database).unwrap().execute(insert, []).unwrap();
    let unedited = fs::read_to_string(&first.configuration).unwrap();
    let edited = unedited.replace("keep_last = 5", "keep_last = 7");
    assert_ne!(edited, unedited);
    fs::write(&first.configuration, &edited).unwrap();

    let second = prepare_on(dir.path(), "127.0.0.1:9999").unwrap();
    assert_eq!(second.written, None);
    assert_eq!(number(&second.database, "SELECT count(*) FROM attendance WHERE date = '2025-06-18'"), 1);
    assert_eq!(
        fs::read_to_string(&second.configuration).unwrap(),
        unedited.replace("127.0.0.1:9742", "127.0.0.1:9999")
    );
    assert_eq!(fs::read_to_string(dir.path().join("litekeeper.toml.old")).unwrap(), edited);
}

#[test]
fn a_demo_stopped_while_it_wrote_the_sample_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = prepare(dir.path()).unwrap();
    fs::remove_file(&first.database).unwrap();
    fs::write(dir.path().join("attendance.sqlite.part"), "half a sample").unwrap();
    let second = prepare(dir.path()).unwrap();
    assert_eq!(second.written, first.written);
    assert!(!dir.path().join("attendance.sqlite.part").exists());
}

#[test]
fn the_application_writes_until_it_is_stopped_and_counts_what_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let database = prepare(dir.path()).unwrap().database;
    let watch = Connection::open(&database).unwrap();
    let today = |sql: &str| watch.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let before = today("PRAGMA data_version");
    let player = Player::start(&database).unwrap();
    while today("PRAGMA data_version") == before {
        std::thread::yield_now();
    }
    let wrote = player.stop().unwrap();
    assert!(wrote.commits >= 1);
    assert_eq!((wrote.errors, wrote.first_error), (0, None));
    let new = today("SELECT count(*) FROM attendance WHERE date > '2025-06-18'");
    assert!(
        (1..=i64::try_from(wrote.commits).unwrap()).contains(&new),
        "{new} rows by {} writes",
        wrote.commits
    );
    let after = today("PRAGMA data_version");
    assert_eq!(today("PRAGMA data_version"), after, "it still writes");
}

#[test]
fn the_application_says_which_database_it_cannot_open() {
    let refused = Player::start(Path::new("/nonexistent/attendance.sqlite")).unwrap_err();
    assert!(refused.message.contains("/nonexistent/attendance.sqlite"), "{refused}");
}
