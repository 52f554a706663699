//! What a restore checks of a backup that was verified, and of one that was not.

use crate::support::backups::{file, manifests};
use crate::support::restoring::{can_trace, json, stderr, traced};
use crate::support::sandbox::Sandbox;
use crate::support::skip;
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Restores to a new file; what is told, and whether the file is there.
fn restored(sandbox: &Sandbox, code: i32, options: &[&str]) -> (Value, bool) {
    let to = target(sandbox);
    let args = [&["restore", "attendance", "--to", to.to_str().unwrap()], options].concat();
    let told = json(sandbox, code, &args);
    let left: Vec<_> = to.parent().unwrap().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    let is_there = to.exists();
    assert_eq!(left.len(), usize::from(is_there), "nothing else is left: {left:?}");
    (told, is_there)
}

fn target(sandbox: &Sandbox) -> PathBuf {
    let directory = sandbox.path().join("target");
    fs::create_dir_all(&directory).unwrap();
    directory.join("restored.sqlite")
}

fn state(sandbox: &Sandbox) -> Value {
    json(sandbox, 0, &["backups", "attendance"])[0]["state"].clone()
}

/// Backed up, of a database whose only index does not agree with its table: its bytes are whole,
/// and integrity_check says so.
fn with_an_index_that_disagrees() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let connection = Connection::open(sandbox.database()).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE marks (a, b); CREATE INDEX by_mark ON marks (a);
             INSERT INTO marks VALUES (1, 2), (3, 4);
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = 'CREATE INDEX by_mark ON marks (b)' WHERE name = 'by_mark';",
        )
        .unwrap();
    drop(connection);
    json(&sandbox, 0, &["backup", "attendance"]);
    sandbox
}

/// Writes into the newest manifest that a verification found the backup good.
fn call_it_verified(sandbox: &Sandbox) {
    let mut manifest = manifests(sandbox).pop().unwrap();
    manifest["verification"] = serde_json::json!({
        "started": "2026-11-23T04:30:00Z", "at": "2026-11-23T04:30:10Z", "ok": true, "message": "restored, checked, good",
    });
    let path = file(sandbox, &manifest);
    let name = path.file_name().unwrap().to_str().unwrap().replace(".sqlite.gz", ".json");
    fs::write(path.with_file_name(name), manifest.to_string()).unwrap();
}

#[test]
fn a_backup_that_was_never_verified_is_checked_before_it_gets_its_name() {
    let sandbox = with_an_index_that_disagrees();
    let (told, is_there) = restored(&sandbox, 12, &[]);
    assert!(told["error"]["message"].as_str().unwrap().contains("by_mark"), "{told}");
    assert!(!is_there);
    assert_eq!(state(&sandbox), "damaged");
}

#[test]
fn a_backup_that_was_found_damaged_is_checked_again_whoever_names_it() {
    let sandbox = with_an_index_that_disagrees();
    json(&sandbox, 12, &["verify", "attendance"]);
    assert_eq!(state(&sandbox), "damaged");
    let name = manifests(&sandbox)[0]["file"].as_str().unwrap().to_owned();
    let (told, is_there) = restored(&sandbox, 12, &[&name]);
    assert!(told["error"]["message"].as_str().unwrap().contains("by_mark"), "{told}");
    assert!(!is_there);
}

#[test]
fn bytes_that_verify_found_good_are_not_checked_again() {
    let sandbox = with_an_index_that_disagrees();
    call_it_verified(&sandbox);
    let (told, is_there) = restored(&sandbox, 0, &[]);
    let check = told["check"].as_str().unwrap();
    assert!(check.contains("2026-11-23 04:30") && check.contains("restored, checked, good"), "{told}");
    assert!(is_there);
    assert_eq!(state(&sandbox), "good");
}

#[test]
fn a_full_check_checks_them_all_the_same() {
    let sandbox = with_an_index_that_disagrees();
    call_it_verified(&sandbox);
    let (told, is_there) = restored(&sandbox, 12, &["--full-check"]);
    assert!(told["error"]["message"].as_str().unwrap().contains("by_mark"), "{told}");
    assert!(!is_there);
    assert_eq!(state(&sandbox), "damaged");
}

#[test]
fn a_verified_backup_whose_bytes_changed_since_is_damaged() {
    let sandbox = Sandbox::with_database(&[]);
    // So that nothing but our own checksum can see it.
    sandbox.configure("[backup]\ncompression = \"none\"");
    json(&sandbox, 0, &["backup", "attendance"]);
    json(&sandbox, 0, &["verify", "attendance"]);
    let (told, is_there) = restored(&sandbox, 0, &[]);
    assert!(told["check"].as_str().unwrap().contains("verified"), "{told}");
    assert!(is_there);
    fs::remove_file(target(&sandbox)).unwrap();

    let backup = file(&sandbox, &manifests(&sandbox)[0]);
    let mut bytes = fs::read(&backup).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&backup, bytes).unwrap();
    let (told, is_there) = restored(&sandbox, 12, &[]);
    assert_eq!(told["error"]["reason"], "damaged");
    assert!(!is_there);
    assert_eq!(state(&sandbox), "damaged");
}

#[test]
fn in_place_the_bytes_that_verify_found_good_are_not_checked_again_either() {
    let sandbox = with_an_index_that_disagrees();
    call_it_verified(&sandbox);
    let in_place = ["restore", "attendance", "--in-place", "--accept-unseen"];
    json(&sandbox, 12, &[&in_place[..], &["--full-check"]].concat());
    assert_eq!(state(&sandbox), "damaged");
    call_it_verified(&sandbox);
    let told = json(&sandbox, 0, &in_place);
    assert!(told["check"].as_str().unwrap().contains("2026-11-23 04:30"), "{told}");
}

/// The disk is told of its bytes as they come: what it says then, it does not say again at the end.
/// The disk is told to write after each 8 MiB: here twice, and the second time nothing is written
/// behind it.
#[test]
fn a_disk_that_fails_while_the_bytes_come_ends_the_restore() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    for when in ["1", "2"] {
        let sandbox = Sandbox::new();
        sandbox.configure("");
        let connection = Connection::open(sandbox.database()).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE images (image BLOB); INSERT INTO images VALUES (zeroblob(20 << 20));",
            )
            .unwrap();
        drop(connection);
        json(&sandbox, 0, &["backup", "attendance"]);
        let to = target(&sandbox);
        let args = ["restore", "attendance", "--to", to.to_str().unwrap()];
        let inject = format!("inject=fdatasync:error=EIO:when={when}");
        let options = ["-e", "trace=fdatasync", "-e", inject.as_str()];
        let trace = sandbox.path().join("trace");
        let output = traced(&sandbox, &trace, &options, &args).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("restored.sqlite"), "{}", stderr(&output));
        let left: Vec<_> = to.parent().unwrap().read_dir().unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(fs::read_to_string(&trace).unwrap().contains("INJECTED"));
        // It says nothing of the backup.
        assert_eq!(state(&sandbox), "good");
    }
}
