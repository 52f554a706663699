//! Restores to a new file: what comes back, of which time, and what is refused.

use super::fixture::{assert_has_fields, backed_up, backup_files, json, kept, names_in, run, start, text};
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::wait_until;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Every table with every row, in order.
fn content(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut tables =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let tables: Vec<(String, String)> =
        tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let mut content = Vec::new();
    for (name, sql) in tables {
        content.push(sql);
        let mut rows = connection.prepare(&format!("SELECT * FROM \"{name}\" ORDER BY rowid")).unwrap();
        let columns = rows.column_count();
        let rows = rows.query_map([], |row| {
            Ok((0..columns).map(|n| format!("{:?}", row.get_ref(n).unwrap())).collect::<Vec<_>>().join("|"))
        });
        content.extend(rows.unwrap().map(Result::unwrap));
    }
    content
}

#[test]
fn what_is_restored_equals_what_was_backed_up() {
    let sandbox = backed_up();
    let to = sandbox.path().join("restored.sqlite");
    fs::set_permissions(sandbox.database(), fs::Permissions::from_mode(0o640)).unwrap();
    let told = json(&sandbox, 0, &["restore", "attendance", "--to", to.to_str().unwrap()]);
    assert_has_fields(&told, "database backup begun to bytes dry_run check warnings next");
    assert_eq!((&told["to"], &told["dry_run"]), (&to.to_str().unwrap().into(), &false.into()));
    let file = fs::metadata(&to).unwrap();
    assert_eq!(told["bytes"], file.len());
    assert!(told["check"].is_string() && told["warnings"] == Value::Array(Vec::new()), "{told}");
    assert_eq!(file.permissions().mode() & 0o7777, 0o600, "who else may read it is not known");
    let chmod = format!("chmod 0640 {}", to.display());
    assert!(told["next"].as_array().unwrap().contains(&chmod.as_str().into()), "{told}");

    assert_sound(&to);
    let content_now = content(&to);
    assert!(content_now.len() > 1000, "{} rows", content_now.len());
    assert!(content_now == content(&sandbox.database()));
}

#[test]
fn after_a_disaster_the_configuration_and_the_backups_are_enough() {
    let sandbox = backed_up();
    let before = content(&sandbox.database());
    fs::remove_dir_all(sandbox.data()).unwrap();
    fs::remove_dir_all(sandbox.state()).unwrap();
    fs::create_dir(sandbox.data()).unwrap();
    run(&sandbox, 0, &["restore", "attendance", "--to", sandbox.database().to_str().unwrap()]);
    assert!(content(&sandbox.database()) == before);
    assert!(!sandbox.state().exists());
}

#[test]
fn a_dry_run_of_a_restore_writes_nothing() {
    let sandbox = backed_up();
    let to = sandbox.path().join("restored.sqlite");
    let told = json(&sandbox, 0, &["restore", "attendance", "--to", to.to_str().unwrap(), "--dry-run"]);
    assert_eq!((&told["dry_run"], &told["next"]), (&true.into(), &Value::Array(Vec::new())));
    assert!(!to.exists());
}

#[test]
fn the_state_of_a_time_is_that_of_the_newest_backup_before_it() {
    let sandbox = Sandbox::new();
    sandbox.configure("[daemon]\ntimezone = \"Europe/Berlin\"");
    run(&sandbox, 0, &["backup", "attendance"]);
    // The same backup under the name of another time.
    let now = backup_files(&sandbox).pop().unwrap();
    let then = now.with_file_name("attendance_20260701T100000Z.sqlite.gz");
    fs::copy(&now, &then).unwrap();
    let stem = |path: &Path| path.to_str().unwrap().trim_end_matches(".sqlite.gz").to_owned();
    let manifest = fs::read_to_string(format!("{}.json", stem(&now))).unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    fs::write(format!("{}.json", stem(&then)), manifest.replace(&name(&now), &name(&then))).unwrap();

    let at = |code, time: &str| {
        let to = sandbox.path().join("restored.sqlite");
        json(
            &sandbox,
            code,
            &["restore", "attendance", "--at", time, "--to", to.to_str().unwrap(), "--dry-run"],
        )
    };
    // Noon in Berlin is ten o'clock UTC in summer.
    assert_eq!(at(0, "2026-07-01 12:00")["backup"], name(&then).as_str());
    assert_eq!(at(10, "2026-07-01 11:59:59")["error"]["reason"], "not_found");
    assert_eq!(at(0, "2026-07-01T11:00:00+01:00")["backup"], name(&then).as_str());
    assert_eq!(at(0, "2099-01-01 00:00")["backup"], name(&now).as_str());
    let to = "/nonexistent/restored.sqlite";
    let twice = run(&sandbox, 2, &["restore", "attendance", "--at", "2026-10-25 02:30", "--to", to]);
    assert!(text(&twice.stderr).contains("2026-10-25T02:30:00+02:00"), "{}", text(&twice.stderr));
}

#[test]
fn h17_a_restore_refuses_a_target_that_exists_or_has_sidecars() {
    let sandbox = backed_up();
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let dir = sandbox.path().join(format!("target{suffix}"));
        fs::create_dir(&dir).unwrap();
        let to = dir.join("restored.sqlite");
        let occupied = dir.join(format!("restored.sqlite{suffix}"));
        fs::write(&occupied, "precious").unwrap();
        let refused = run(&sandbox, 1, &["restore", "attendance", "--to", to.to_str().unwrap()]);
        assert!(text(&refused.stderr).contains(occupied.to_str().unwrap()), "{}", text(&refused.stderr));
        assert_eq!(fs::read_to_string(&occupied).unwrap(), "precious");
        assert_eq!(names_in(&dir).len(), 1, "{:?}", names_in(&dir));
    }
}

#[test]
fn h16_what_only_the_application_can_check_is_restored_with_a_warning() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let connection = Connection::open(sandbox.database()).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE names (name TEXT COLLATE NOCASE); CREATE INDEX by_name ON names (name);
             INSERT INTO names VALUES ('a'), ('b');
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'theirs') WHERE name = 'names';",
        )
        .unwrap();
    drop(connection);
    run(&sandbox, 0, &["backup", "attendance"]);
    let to = sandbox.path().join("restored.sqlite");
    let told = json(&sandbox, 0, &["restore", "attendance", "--to", to.to_str().unwrap()]);
    assert_eq!(told["check"], Value::Null);
    assert!(told["warnings"][0].as_str().unwrap().contains("theirs"), "{told}");
    assert!(to.exists());
}

#[test]
fn a_damaged_backup_is_not_restored_and_leaves_nothing() {
    let sandbox = backed_up();
    let backup = backup_files(&sandbox).pop().unwrap();
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&backup, bytes).unwrap();
    let dir = sandbox.path().join("target");
    fs::create_dir(&dir).unwrap();
    let to = dir.join("restored.sqlite");
    let told = json(&sandbox, 12, &["restore", "attendance", "--to", to.to_str().unwrap()]);
    assert_has_fields(&told, "error");
    assert_eq!(told["error"]["reason"], "damaged");
    assert_eq!(names_in(&dir), BTreeSet::new());

    let verified = json(&sandbox, 12, &["verify", "attendance"]);
    assert_eq!((&verified["outcome"], &verified["reason"]), (&"failure".into(), &"damaged".into()));
    // Known as damaged from now on, it is no longer the newest good one.
    assert_eq!(json(&sandbox, 0, &["backups", "attendance"])[0]["state"], "damaged");
    run(&sandbox, 10, &["restore", "attendance", "--to", to.to_str().unwrap()]);
}

#[test]
fn a_restore_that_is_stopped_leaves_nothing() {
    let sandbox = kept();
    // Large enough that the signal comes before the end.
    let sql = "CREATE TABLE noise (x); INSERT INTO noise SELECT randomblob(1 << 20) FROM attendance LIMIT 48";
    Connection::open(sandbox.database()).unwrap().execute_batch(sql).unwrap();
    run(&sandbox, 0, &["backup", "attendance"]);
    let dir = sandbox.path().join("target");
    fs::create_dir(&dir).unwrap();
    let child =
        start(&sandbox, &["restore", "attendance", "--to", dir.join("restored.sqlite").to_str().unwrap()]);
    wait_until("the restore has begun", || (!names_in(&dir).is_empty()).then_some(()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("stopped"), "{}", text(&output.stderr));
    assert_eq!(names_in(&dir), BTreeSet::new());
}
