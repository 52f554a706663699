//! What is archived before it is removed: every value as it was, nothing lost whenever the run is
//! stopped.

use super::fixture::{ORDERS, Place, Rule, assert_whole_batches, cascade, database, detail, rule};
use crate::support::process::child::{self, Child};
use crate::support::sandbox::Sandbox;
use crate::support::{application, backups, keeper::order, wait_until};
use litekeeper::config::{ArchiveFormat, Database, Triggers};
use litekeeper::jobs::cleanup::Cleanup;
use litekeeper::jobs::runner;
use litekeeper::pool::Pool;
use litekeeper::state::State;
use litekeeper::terms::Outcome;
use litekeeper::terms::progress::Progress;
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn archived(rule: Rule, format: ArchiveFormat, place: &Place) -> Rule {
    Rule { archive: Some(format), archive_dir: Some(archive_dir(&place.path())), ..rule }
}

fn archive_dir(database: &Path) -> PathBuf {
    database.with_file_name("archive")
}

pub(crate) fn files(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(archive_dir(&place.path()).join("attendance")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Each value of a row with its type, exactly.
fn exactly(columns: &[&str]) -> String {
    let one = |c: &&str| {
        format!("typeof({c}) || CASE typeof({c}) WHEN 'text' THEN hex(CAST({c} AS BLOB)) ELSE quote({c}) END")
    };
    columns.iter().map(one).collect::<Vec<_>>().join(" || '|' || ")
}

fn texts(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// A file of RFC 4180 as a table `table` of values as they were, by what the README says of them.
fn read_back(file: &Path, table: &str) -> Connection {
    let bytes = fs::read(file).unwrap();
    let mut lines: Vec<Vec<(bool, Vec<u8>)>> = vec![Vec::new()];
    let (mut field, mut is_text, mut at) = (Vec::new(), false, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                is_text = true;
                at += 1;
                while bytes[at] != b'"' || bytes.get(at + 1) == Some(&b'"') {
                    at += usize::from(bytes[at] == b'"');
                    field.push(bytes[at]);
                    at += 1;
                }
            }
            b',' => lines.last_mut().unwrap().push((is_text, std::mem::take(&mut field))),
            b'\r' if bytes[at + 1] == b'\n' => {
                lines.last_mut().unwrap().push((is_text, std::mem::take(&mut field)));
                lines.push(Vec::new());
                at += 1;
            }
            other => field.push(other),
        }
        at += 1;
        is_text &= !field.is_empty() || bytes[at - 1] == b'"';
    }
    assert!(lines.pop().unwrap().is_empty(), "the last line is whole");
    let connection = Connection::open_in_memory().unwrap();
    let head: Vec<_> =
        lines.remove(0).into_iter().map(|(_, name)| String::from_utf8(name).unwrap()).collect();
    connection.execute_batch(&format!("CREATE TABLE {table} (\"{}\")", head.join("\",\""))).unwrap();
    for line in lines {
        let values: Vec<_> = line
            .into_iter()
            .map(|(is_text, bytes)| match (is_text, bytes.is_empty()) {
                (true, _) => {
                    let hex = bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().concat();
                    format!("CAST(x'{hex}' AS TEXT)")
                }
                (false, true) => "NULL".to_owned(),
                (false, false) => String::from_utf8(bytes).unwrap(),
            })
            .collect();
        connection.execute_batch(&format!("INSERT INTO {table} VALUES ({})", values.join(","))).unwrap();
    }
    connection
}

/// Values of all types, and all that a text may hold.
const VALUES: &str = "(NULL), (''), ('a,b'), ('\"quoted\" ''text'''), ('two\nlines'), ('two\r\nlines'), ('  blanks '), \
    ('žluťoučký 🐈'), ('12'), ('x''00'''), (12), (-9223372036854775808), (9223372036854775807), (0.1), (1.0), (-1e-300), \
    (1e300), (9e999), (x''), (x'00FF0D0A22'), (CAST(x'61006200' AS TEXT)), (CAST(x'FF4180' AS TEXT)), ('null'), \
    ('2020-01-01')";

#[tokio::test]
async fn every_value_is_archived_as_it_was_with_the_rows_that_pointed_at_it() {
    for (format, key) in [
        (ArchiveFormat::Sqlite, "id INTEGER PRIMARY KEY"),
        (ArchiveFormat::Csv, "id INTEGER PRIMARY KEY"),
        (ArchiveFormat::Sqlite, "id INT UNIQUE"),
        (ArchiveFormat::Csv, "id INT UNIQUE"),
    ] {
        let place = Place::new(&format!(
            "CREATE TABLE log({key}, at TEXT, \"a value\", \"from\" TEXT); WITH v(v) AS (VALUES {VALUES}) \
             INSERT INTO log(at, \"a value\", \"from\") SELECT '2001-01-01', v, v FROM v; UPDATE log SET id = rowid; \
             INSERT INTO log(id, at) VALUES (1000, date('now')); \
             CREATE TABLE child(name TEXT, log REFERENCES log(id), PRIMARY KEY (name, log)) WITHOUT ROWID; \
             INSERT INTO child SELECT 'of ' || id, id FROM log;"
        ));
        let columns = exactly(&["id", "at", "\"a value\"", "\"from\""]);
        let rows = format!("SELECT {columns} FROM log WHERE id < 1000 ORDER BY id");
        let children =
            format!("SELECT {} FROM child WHERE log < 1000 ORDER BY log", exactly(&["log", "name"]));
        let before = (texts(&place.open(), &rows), texts(&place.open(), &children));
        let finished = place.run(vec![archived(cascade("log"), format, &place)]).await;
        assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        assert_eq!(place.numbers("SELECT id FROM log"), [1000]);
        let files = files(&place);
        let archive = |table: &str| match format {
            ArchiveFormat::Sqlite => Connection::open(&files[0]).unwrap(),
            ArchiveFormat::Csv => {
                let name = |file: &&PathBuf| file.file_name().unwrap().to_string_lossy().starts_with(table);
                read_back(files.iter().find(name).unwrap(), table)
            }
        };
        assert_eq!(texts(&archive("log"), &rows), before.0, "{format:?}");
        assert_eq!(texts(&archive("child"), &children), before.1, "{format:?}");
        assert_eq!(files.len(), if format == ArchiveFormat::Sqlite { 1 } else { 2 }, "{files:?}");
        assert_eq!(detail(&finished)["archived"], before.0.len() + before.1.len());
        let named: Vec<_> = files.iter().map(|file| Value::from(file.to_str().unwrap())).collect();
        assert_eq!(detail(&finished)["archive"], Value::from(named));
    }
}

#[tokio::test]
async fn a_months_archive_takes_more_rows_and_columns_and_keeps_what_has_the_same_key_apart() {
    let place = Place::new("CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT, body)");
    let by = || vec![archived(rule("log"), ArchiveFormat::Sqlite, &place)];
    let insert = |sql: &str| place.open().execute_batch(sql).unwrap();
    insert("INSERT INTO log VALUES (1, '2001-01-01', 'first'), (2, '2001-01-01', 'second')");
    place.run(by()).await;
    // The application uses the number again; another row comes back as it was.
    insert("INSERT INTO log VALUES (1, '2001-01-01', 'other'), (2, '2001-01-01', 'second')");
    place.run(by()).await;
    insert("ALTER TABLE log ADD COLUMN more; INSERT INTO log VALUES (3, '2001-01-01', 'third', 7)");
    let finished = place.run(by()).await;
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    let [file] = files(&place).try_into().unwrap();
    let rows =
        texts(&Connection::open(file).unwrap(), "SELECT id || body || ifnull(more, '') FROM log ORDER BY 1");
    assert_eq!(rows, ["1first", "1other", "2second", "3third7"]);
}

#[tokio::test]
async fn rows_of_a_batch_that_was_rolled_back_are_cut_off_again() {
    // Row 130 cannot go, and the first batch has 100 rows.
    let place = Place::new(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX i ON log(at); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) \
         INSERT INTO log SELECT i, 1000000000 + i FROM n; \
         CREATE TRIGGER guard BEFORE DELETE ON log WHEN old.id = 130 BEGIN SELECT RAISE(ABORT, 'kept'); END;",
    );
    let by = Rule { triggers: Triggers::Allow, ..archived(rule("log"), ArchiveFormat::Csv, &place) };
    let mut database = database(&place.path(), vec![by]);
    database.cleanup.batch_target = Duration::from_secs(60);
    assert_eq!(place.run_as(database, false).await.outcome, Outcome::Failure);
    assert_eq!(place.numbers("SELECT id FROM log ORDER BY id"), (101..=200).collect::<Vec<_>>());
    let [file] = files(&place).try_into().unwrap();
    let archive = read_back(&file, "log");
    let mut statement = archive.prepare("SELECT id FROM log ORDER BY id").unwrap();
    let ids: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(ids, (1..=100).collect::<Vec<_>>());
}

/// In rollback mode a reader lets the first COMMIT fail, and the batch is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_first_batch_was_tried_twice_names_its_columns() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let path = sandbox.database();
    let archive = sandbox.path().join("archive");
    let by = Rule {
        column: Some("date".into()),
        keep: None,
        keep_rows: Some(900),
        archive: Some(ArchiveFormat::Csv),
        archive_dir: Some(archive.clone()),
        ..rule("attendance")
    };
    let mut database = database(&path, vec![by]);
    database.pool.busy_timeout = Duration::from_secs(1);
    database.maintain.max_block = Duration::from_secs(60);
    let state = State::open(&sandbox.state()).unwrap();
    let pool = Pool::new(&database, litekeeper::pool::slow_statements(1).0).unwrap();
    let mut reader = application::Application::start(&path);
    reader.hold_read();
    let run = tokio::spawn(async move { runner::run(&state, order(Cleanup, &database, &pool)).await });
    let directory = archive.join("attendance");
    let size = || {
        let file = fs::read_dir(&directory).ok()?.next()?.unwrap();
        Some((file.metadata().unwrap().len(), file.path()))
    };
    wait_until("the rows are archived", || size().filter(|(bytes, _)| *bytes > 0));
    let (_, file) = wait_until("they are taken back", || size().filter(|(bytes, _)| *bytes == 0));
    reader.release();
    let finished = run.await.unwrap();
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    assert_eq!(detail(&finished)["archived"], detail(&finished)["removed"]);
    let archive = read_back(&file, "attendance");
    let ids = texts(&archive, "SELECT CAST(id AS TEXT) FROM attendance");
    assert_eq!(detail(&finished)["removed"], ids.len());
    reader.stop();
}

fn orders(path: &Path, format: ArchiveFormat) -> Database {
    let by = Rule { archive: Some(format), archive_dir: Some(archive_dir(path)), ..cascade("orders") };
    let mut database = database(path, vec![by]);
    database.cleanup.batch_target = Duration::from_micros(100);
    database
}

/// Archives and removes, until it is killed.
#[tokio::test]
#[ignore = "the other process in the tests of this file"]
async fn archivist() {
    let Some(path) = child::argument() else { return };
    let place = Place { directory: tempfile::tempdir().unwrap() };
    let csv = path.with_file_name("csv").exists();
    let format = if csv { ArchiveFormat::Csv } else { ArchiveFormat::Sqlite };
    let say = |progress: Progress, _: &CancellationToken| {
        if progress.done > 0 {
            child::say("removed some");
        }
    };
    place.run_watched(orders(&path, format), false, say).await;
}

#[tokio::test]
async fn killed_in_the_middle_it_leaves_each_row_in_the_database_or_in_the_archive() {
    for format in [ArchiveFormat::Sqlite, ArchiveFormat::Csv] {
        let place = Place::new(ORDERS);
        if format == ArchiveFormat::Csv {
            fs::write(place.path().with_file_name("csv"), "").unwrap();
        }
        let items = "SELECT rowid || '/' || orders FROM item ORDER BY 1";
        let all = texts(&place.open(), items);
        let mut victim = Child::start("archive::archivist", &place.path());
        victim.said("removed some");
        victim.kill();
        assert_whole_batches(&place);
        let first = files(&place);
        let mut go_on = orders(&place.path(), format);
        go_on.cleanup.batch_target = Duration::from_secs(1);
        let finished = place.run_as(go_on, false).await;
        assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        let mut archived: Vec<String> = match format {
            ArchiveFormat::Sqlite => texts(&Connection::open(&first[0]).unwrap(), items),
            ArchiveFormat::Csv => files(&place)
                .iter()
                .filter(|file| file.file_name().unwrap().to_string_lossy().starts_with("item"))
                .flat_map(|file| {
                    // What a write that was killed left of its last line belongs to a row that was
                    // not removed.
                    let text = fs::read_to_string(file).unwrap();
                    let whole = &text[..text.rfind("\r\n").map_or(0, |end| end + 2)];
                    let lines: Vec<String> =
                        whole.lines().skip(1).map(|line| line.replace(',', "/")).collect();
                    lines
                })
                .collect(),
        };
        archived.sort();
        if format == ArchiveFormat::Csv {
            archived.dedup();
        }
        assert_eq!(archived, all, "{format:?}");
    }
}

#[test]
fn rotation_and_the_list_of_backups_leave_the_archive_beside_them_alone() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        "[[database.attendance.cleanup.rule]]\ntable = \"attendance\"\ncolumn = \"date\"\nkeep_rows = 100\n\
         archive = \"csv\"\n[cleanup]\nmax_share = \"100%\"\n[backup]\nkeep_last = 1\nskip_unchanged = false\n",
    );
    let run = |args: &[&str]| {
        let output = sandbox.litekeeper(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let count = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM attendance').fetchone()[0])";
    let before: usize = application::script(&sandbox.database(), count).parse().unwrap();
    run(&["backup", "attendance"]);
    let shown = run(&["cleanup", "attendance"]);
    let [file] = fs::read_dir(backups::directory(&sandbox).join("archive"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert!(shown.replace('\n', " ").contains("csv"), "{shown}");
    run(&["backup", "attendance"]);
    run(&["verify", "attendance"]);
    let listed: Value = serde_json::from_str(&run(&["--json", "backups", "attendance"])).unwrap();
    assert_eq!(listed.as_array().or_else(|| listed["backups"].as_array()).unwrap().len(), 1, "{listed}");
    let archive = read_back(&file, "attendance");
    let rows: usize = archive.query_row("SELECT count(*) FROM attendance", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, before - 100);
}
