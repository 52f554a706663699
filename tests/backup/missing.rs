//! What is there and what is not: backups that vanished, are damaged, or came back.

use crate::support::backups::*;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use std::fs;
use std::os::unix::fs::FileExt;

#[test]
fn backups_that_vanished_with_their_disk_are_missed_and_not_silently_begun_anew() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nskip_unchanged = false\n");
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    let away = sandbox.path().join("unmounted");
    fs::rename(sandbox.backups(), &away).unwrap();
    fs::create_dir(sandbox.backups()).unwrap();
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("mount its disk"), "{output:?}");
    assert_eq!(fs::read_dir(sandbox.backups()).unwrap().count(), 0, "begun anew");
    let status = sandbox.litekeeper(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("is the disk mounted"), "{status:?}");

    fs::remove_dir(sandbox.backups()).unwrap();
    fs::rename(&away, sandbox.backups()).unwrap();
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    assert_eq!(manifests(&sandbox).len(), 2);
}

#[test]
fn the_backup_of_a_damaged_database_says_so_and_removes_no_older_one() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    sandbox.configure("[backup]\nkeep_last = 1\n");
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    // No process has the file open now. The root page of a table becomes none.
    let root: u64 = {
        let connection = rusqlite::Connection::open(sandbox.database()).unwrap();
        connection
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'", [], |row| row.get(0))
            .unwrap()
    };
    let file = fs::OpenOptions::new().write(true).open(sandbox.database()).unwrap();
    file.write_all_at(&[0xFF; 4096], (root - 1) * 4096).unwrap();
    drop(file);
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert_eq!(output.status.code(), Some(12), "{output:?}");
    assert_eq!(manifests(&sandbox).len(), 2, "keep_last = 1 must not take the one before the damage");
}

#[test]
fn a_restore_that_meets_damage_marks_the_backup_and_the_next_takes_the_one_before_with_a_word() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nskip_unchanged = false\n");
    for _ in 0..2 {
        assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    }
    let newest = manifests(&sandbox).into_iter().max_by_key(|m| m["sequence"].as_u64()).unwrap();
    let stored = fs::OpenOptions::new().write(true).open(file(&sandbox, &newest)).unwrap();
    let middle = stored.metadata().unwrap().len() / 2;
    stored.write_all_at(&[0x55; 64], middle).unwrap();
    let target = sandbox.path().join("restored.sqlite");
    let restore = ["restore", "attendance", "--to", target.to_str().unwrap()];
    let output = sandbox.litekeeper(&restore);
    assert_eq!(output.status.code(), Some(12), "{output:?}");
    assert!(!target.exists());
    let output = sandbox.litekeeper(&restore);
    assert!(output.status.success(), "{output:?}");
    let name = newest["file"].as_str().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("passed over") && said.contains(name), "{said}");
    assert_sound(&target);
}

#[test]
fn a_backup_that_somebody_brought_back_without_its_manifest_is_not_removed() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nkeep_last = 1\n");
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    let brought = directory(&sandbox).join("attendance_20200101T000000Z.sqlite.gz");
    fs::copy(file(&sandbox, &manifests(&sandbox)[0]), &brought).unwrap();
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    assert!(brought.exists());
    assert_eq!(manifests(&sandbox).len(), 1);
}
