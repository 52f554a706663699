//! `litekeeper recover`, with the real binary, and the application in another process where it
//! matters.

use crate::support::application::{Application, script};
use crate::support::restoring::{can_trace, stderr, traced};
use crate::support::sandbox::{Sandbox, litekeeper};
use crate::support::skip;
use crate::support::soundness::assert_sound;
use rusqlite::Connection;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A sandbox with this database of a thousand rows, configured.
pub fn configured(options: &[&str]) -> Sandbox {
    let sandbox = Sandbox::with_database(options);
    sandbox.configure("");
    sandbox
}

pub fn target(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join("recovered.sqlite")
}

pub fn recover(sandbox: &Sandbox, more: &[&str]) -> (Output, Value) {
    let to = target(sandbox);
    let output = sandbox.litekeeper(&[&["--json", "recover", "--to", to.to_str().unwrap()], more].concat());
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, json)
}

pub fn expect(outcome: &(Output, Value), code: i32, result: &str) {
    assert_eq!(outcome.0.status.code(), Some(code), "{}\n{:#}", stderr(&outcome.0), outcome.1);
    assert_eq!(outcome.1["detail"]["result"], result, "{:#}", outcome.1);
}

/// What is in the directory of the target beside what a sandbox has.
pub fn left_over(sandbox: &Sandbox) -> Vec<String> {
    let known = ["data", "backups", "state", "litekeeper.toml", "trace"];
    let names =
        fs::read_dir(sandbox.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !known.contains(&name.as_str())).collect();
    names.sort();
    names
}

pub fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

pub fn rows(path: &Path, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM \"{table}\"");
    Connection::open(path).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
}

pub fn table<'j>(json: &'j Value, name: &str) -> &'j Value {
    let tables = json["detail"]["tables"].as_array().unwrap();
    tables.iter().find(|table| table["name"] == name).unwrap()
}

/// The leaf pages of a table, from 0.
pub fn leaves(path: &Path, table: &str) -> Vec<u64> {
    let connection = Connection::open(path).unwrap();
    connection
        .prepare("SELECT pageno - 1 FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path")
        .unwrap()
        .query_map([table], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

pub fn overwrite(path: &Path, page: u64, with: u8) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&[with; 4096], page * 4096).unwrap();
}

/// Makes the index disagree with its table: its entries are those of another column.
fn spoil_index(path: &Path) {
    script(
        path,
        "import sqlite3, sys\n\
         c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         old = c.execute(\"SELECT sql FROM sqlite_schema WHERE name = 'idx_users_name'\").fetchone()[0]\n\
         c.execute(\"UPDATE sqlite_schema SET sql = 'CREATE INDEX idx_users_name ON users(email)' WHERE name = 'idx_users_name'\")\n\
         c.close()\n\
         c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.execute('REINDEX idx_users_name')\n\
         c.execute('PRAGMA writable_schema = ON')\n\
         c.execute(\"UPDATE sqlite_schema SET sql = ? WHERE name = 'idx_users_name'\", [old])\n\
         c.close()",
    );
}

#[test]
fn a_sound_database_is_left_alone() {
    let sandbox = configured(&[]);
    let _application = Application::start(&sandbox.database());
    let outcome = recover(&sandbox, &["attendance"]);
    expect(&outcome, 0, "sound");
    assert_eq!(left_over(&sandbox), [""; 0]);
}

#[test]
fn damaged_indexes_are_rebuilt_in_place_while_the_application_writes() {
    let sandbox = configured(&[]);
    spoil_index(&sandbox.database());
    let mut application = Application::start(&sandbox.database());
    application.write_every(std::time::Duration::from_millis(1));
    let outcome = recover(&sandbox, &["attendance"]);
    expect(&outcome, 0, "reindexed");
    assert_eq!(outcome.1["detail"]["rebuilt"], serde_json::json!(["idx_users_name"]));
    assert_eq!(left_over(&sandbox), [""; 0], "no new file");
    application.pause();
    assert_eq!(application.seen().errors, [""; 0]);
    drop(application);
    assert_sound(&sandbox.database());
}

/// Names are what the application chose: a part of another's, of a message, of two, or of two
/// lines. And so many entries are missing that SQLite's check ends before it has seen them all.
#[test]
fn a_rebuilt_index_is_judged_by_its_own_entries_whatever_it_and_the_others_are_called() {
    let sandbox = configured(&[]);
    let names = [
        "visit_user",
        "visit_user_day",
        "table attendance still says",
        "x missing from index visit_user",
        "two\nlines",
        "attendance.sqlite",
        "\"quoted\"' of index y",
    ];
    script(
        &sandbox.database(),
        &format!(
            "import sqlite3, sys\n\
             names = {names:?}\n\
             c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
             c.execute('CREATE TABLE visit (id INTEGER PRIMARY KEY, user, day)')\n\
             for n in names: c.execute('CREATE INDEX \"%s\" ON visit (user, day)' % n.replace('\"', '\"\"'))\n\
             rows = c.execute(\"SELECT * FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'visit'\").fetchall()\n\
             c.execute('PRAGMA writable_schema = ON')\n\
             c.execute(\"DELETE FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'visit'\")\n\
             c.close()\n\
             c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
             c.executemany('INSERT INTO visit (user, day) VALUES (?, ?)', [(i, -i) for i in range(300)])\n\
             c.execute('PRAGMA writable_schema = ON')\n\
             c.executemany('INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)', rows)\n\
             c.close()"
        ),
    );
    let check = sandbox.litekeeper(&["--json", "health", "attendance", "--deep"]);
    assert_eq!(check.status.code(), Some(12), "{}", stderr(&check));
    for _ in 0..names.len() {
        let outcome = recover(&sandbox, &["attendance"]);
        if outcome.1["detail"]["result"] == "sound" {
            break;
        }
        expect(&outcome, 0, "reindexed");
    }
    assert_eq!(left_over(&sandbox), [""; 0], "no new file");
    assert_sound(&sandbox.database());
    let check = sandbox.litekeeper(&["--json", "health", "attendance", "--deep"]);
    assert!(check.status.success(), "{}", stderr(&check));
}

#[test]
fn damaged_indexes_of_a_file_are_built_anew_in_the_new_one() {
    let sandbox = configured(&[]);
    spoil_index(&sandbox.database());
    let before = bytes(&sandbox.database());
    let outcome = recover(&sandbox, &["--file", sandbox.database().to_str().unwrap()]);
    expect(&outcome, 0, "salvaged");
    assert_sound(&target(&sandbox));
    assert_eq!(bytes(&sandbox.database()), before);
}

#[test]
fn a_damaged_table_is_saved_but_for_the_lost_page_beside_a_running_application_and_a_backup_is_named() {
    let sandbox = configured(&["--rows", "5000"]);
    for verb in ["backup", "verify"] {
        let output = sandbox.litekeeper(&[verb, "attendance"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let backup = crate::support::backups::manifests(&sandbox)[0].clone();
    let lost = leaves(&sandbox.database(), "attendance");
    overwrite(&sandbox.database(), lost[lost.len() / 2], 0);
    let mut application = Application::start(&sandbox.database());
    application.sql("INSERT INTO users (name, created_at) VALUES ('in the log', 'now')");

    let outcome = recover(&sandbox, &["attendance"]);
    expect(&outcome, 3, "salvaged");
    let told = table(&outcome.1, "attendance");
    let kept = told["kept"].as_i64().unwrap();
    assert_eq!(told["pages_lost"], 1, "{told}");
    assert!((4800..5000).contains(&kept), "{told}");
    assert_eq!(told["expected"], 5000, "the indexes know of all of them");
    assert_eq!(rows(&target(&sandbox), "attendance"), kept);
    let in_log: i64 = Connection::open(target(&sandbox))
        .unwrap()
        .query_row("SELECT count(*) FROM users WHERE name = 'in the log'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(in_log, 1, "what is in the write-ahead log is data");
    let alternative = &outcome.1["detail"]["alternative"];
    assert_eq!(alternative["backup"], backup["file"], "{alternative}");
    assert!(alternative["loses"].as_str().unwrap().contains("committed since"), "{alternative}");
    let problem = outcome.1["problems"][0]["message"].as_str().unwrap();
    assert!(problem.contains(&format!("table attendance: {} of 5000 rows", 5000 - kept)), "{problem}");
    assert_eq!(left_over(&sandbox), ["recovered.sqlite"]);
    let history = sandbox.litekeeper(&["--json", "history", "attendance"]);
    assert!(String::from_utf8_lossy(&history.stdout).contains("\"recover\""));
}

#[test]
fn a_file_that_was_cut_short_is_saved_as_far_as_it_goes() {
    let sandbox = configured(&["--rows", "5000", "--journal-mode", "delete"]);
    let length = fs::metadata(sandbox.database()).unwrap().len();
    File::options().write(true).open(sandbox.database()).unwrap().set_len(length * 3 / 5).unwrap();
    let outcome = recover(&sandbox, &["attendance"]);
    expect(&outcome, 3, "salvaged");
    let kept = table(&outcome.1, "attendance")["kept"].as_i64().unwrap();
    assert!(kept > 500, "{kept}");
    assert_eq!(rows(&target(&sandbox), "attendance"), kept);
}

#[test]
fn h01_the_bytes_of_a_database_that_sqlite_refuses_are_taken_only_when_nobody_has_it_open() {
    let sandbox = configured(&["--journal-mode", "delete"]);
    let all = rows(&sandbox.database(), "attendance");
    let application = Application::start(&sandbox.database());
    File::options().write(true).open(sandbox.database()).unwrap().write_all_at(&[0; 100], 0).unwrap();
    for which in [&["attendance"][..], &["--file", sandbox.database().to_str().unwrap()]] {
        let (output, json) = recover(&sandbox, which);
        assert_eq!(output.status.code(), Some(11), "{json:#} {}", stderr(&output));
        assert!(stderr(&output).contains(&format!("process {}", application.pid())), "{}", stderr(&output));
        assert_eq!(left_over(&sandbox), [""; 0]);
    }
    application.kill();
    let outcome = recover(&sandbox, &["attendance"]);
    expect(&outcome, 0, "salvaged");
    assert_eq!(rows(&target(&sandbox), "attendance"), all);
    assert_sound(&target(&sandbox));
}

#[test]
fn h22_the_log_beside_a_file_with_a_broken_header_is_played_in() {
    let sandbox = configured(&[]);
    let mut application = Application::start(&sandbox.database());
    application.sql("INSERT INTO users (name, created_at) VALUES ('in the log', 'now')");
    application.kill();
    let log = sandbox.data().join("attendance.sqlite-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    File::options().write(true).open(sandbox.database()).unwrap().write_all_at(&[0xff; 100], 0).unwrap();
    let before = (bytes(&sandbox.database()), bytes(&log));
    let outcome = recover(&sandbox, &["--file", sandbox.database().to_str().unwrap()]);
    expect(&outcome, 0, "salvaged");
    let in_log: i64 = Connection::open(target(&sandbox))
        .unwrap()
        .query_row("SELECT count(*) FROM users WHERE name = 'in the log'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(in_log, 1);
    assert_eq!((bytes(&sandbox.database()), bytes(&log)), before, "the file itself is not touched");
}

#[test]
fn what_exists_is_not_overwritten() {
    let sandbox = configured(&[]);
    overwrite(&sandbox.database(), leaves(&sandbox.database(), "attendance")[0], 0);
    for name in ["recovered.sqlite", "recovered.sqlite-wal"] {
        fs::write(sandbox.path().join(name), "mine").unwrap();
        let (output, _) = recover(&sandbox, &["attendance"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("exists"), "{}", stderr(&output));
        assert_eq!(bytes(&sandbox.path().join(name)), b"mine");
        assert_eq!(left_over(&sandbox), [name]);
        fs::remove_file(sandbox.path().join(name)).unwrap();
    }
}

#[test]
fn what_is_no_database_is_refused() {
    let sandbox = configured(&[]);
    let file = sandbox.path().join("data/noise");
    fs::write(&file, vec![0xa7; 100_000]).unwrap();
    let (output, _) = recover(&sandbox, &["--file", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let (output, _) = recover(&sandbox, &["--file", "/nowhere/x"]);
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    assert_eq!(litekeeper(&["recover", "--to", "x"]).status.code(), Some(2));
    assert_eq!(left_over(&sandbox), [""; 0]);
}

/// Killed at a few of its system calls: while it copies, among the rows, before all is on disk, and
/// before the rename.
#[test]
fn h20_killed_half_way_it_leaves_nothing_that_looks_finished() {
    if !can_trace() {
        return skip("strace cannot trace here");
    }
    let sandbox = configured(&["--rows", "5000", "--journal-mode", "delete"]);
    overwrite(&sandbox.database(), leaves(&sandbox.database(), "attendance")[3], 0);
    let to = target(&sandbox);
    let args = ["recover", "attendance", "--to", to.to_str().unwrap()];
    for (calls, n) in [("pwrite64", 3), ("pwrite64", 60), ("fsync", 1), ("renameat2", 1)] {
        let (trace, kill) = (sandbox.path().join("trace"), format!("inject={calls}:signal=KILL:when={n}"));
        let child = traced(&sandbox, &trace, &["-e", &format!("trace={calls}"), "-e", &kill], &args);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "not killed at {calls} number {n}: {}", stderr(&output));
        // The signal comes before the call.
        assert!(!to.exists(), "killed at {calls} number {n}");
    }
    let outcome = recover(&sandbox, &["attendance"]);
    expect(&outcome, 3, "salvaged");
    assert_eq!(left_over(&sandbox), ["recovered.sqlite"], "what the killed ones left is gone");
}

/// Its rows can be read without it, and are kept beside the tables.
#[test]
fn h16_a_table_that_only_the_application_can_make_is_never_called_damaged_nor_lost() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("own.sqlite");
    script(
        &path,
        "import sqlite3, sys\n\
         c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.create_collation('own', lambda a, b: (a > b) - (a < b))\n\
         c.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE own UNIQUE)')\n\
         c.execute('CREATE TABLE other (a)')\n\
         c.executemany('INSERT INTO t VALUES (?, ?)', [(i, 'row %d' % i) for i in range(100)])\n\
         c.execute('INSERT INTO other VALUES (1)')\n\
         c.close()",
    );
    let file = ["--file", path.to_str().unwrap()];
    expect(&recover(&sandbox, &file), 1, "unknown");
    assert_eq!(left_over(&sandbox), [""; 0]);
    let outcome = recover(&sandbox, &[&file[..], &["--always"]].concat());
    expect(&outcome, 3, "salvaged");
    assert_eq!(rows(&target(&sandbox), "other"), 1);
    assert_eq!(rows(&target(&sandbox), "lost_and_found"), 100, "{:#}", outcome.1);
    assert!(outcome.1["detail"]["left_out"][0].as_str().unwrap().contains("own"), "{:#}", outcome.1);
}
