//! A damaged backup of which another place has a good one: the command that restores that is said,
//! and can be run as it is printed.

use crate::support::restoring::{commits, stderr};
use crate::support::sandbox::{Sandbox, program, said};
use crate::support::soundness::assert_sound;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

/// Two backups, each copied to `away`; the last commit in each of the two.
fn with_copies() -> (Sandbox, [u64; 2]) {
    let sandbox = Sandbox::new();
    let away = sandbox.path().join("away");
    sandbox.configure(&format!(
        "[[database.attendance.backup.copy]]\nname = \"away\"\ndir = \"{}\"\n",
        away.display()
    ));
    let states = [0, 1].map(|_| {
        let last = commits(&sandbox, 2);
        let output = sandbox.litekeeper(&["backup", "attendance"]);
        assert!(output.status.success(), "{}", said(&output));
        last
    });
    (sandbox, states)
}

/// The files of the backups, the oldest first.
fn files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.backups().join("attendance")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "gz"));
    files.sort();
    files
}

/// In the middle, so that only unpacking it tells.
fn flip(file: &PathBuf) {
    let middle = fs::metadata(file).unwrap().len() / 2;
    fs::OpenOptions::new().write(true).open(file).unwrap().write_all_at(&[0xFF; 8], middle).unwrap();
}

/// Runs what is printed from `litekeeper` on, by a shell.
fn run_as_printed(text: &str) {
    let command = text.split("is good: ").nth(1).expect(text).lines().next().unwrap();
    let arguments = command.strip_prefix("litekeeper ").expect(command);
    let litekeeper = program();
    let script = format!("\"$0\" {arguments}");
    let output = Command::new("sh").args(["-c", &script]).arg(litekeeper.get_program()).output().unwrap();
    assert!(output.status.success(), "{command}: {}", said(&output));
}

#[test]
fn a_backup_found_damaged_while_it_is_restored_is_offered_from_another_place() {
    let (sandbox, [_, last]) = with_copies();
    flip(&files(&sandbox)[1]);
    let target = sandbox.path().join("it's restored.sqlite");
    let output = sandbox.litekeeper(&["restore", "attendance", "--to", target.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    assert!(said(&output).contains("--from away"), "{}", said(&output));
    run_as_printed(&stderr(&output));
    assert_eq!(assert_sound(&target), last);
}

#[test]
fn an_older_good_one_is_restored_with_word_of_the_newer_one_elsewhere_but_not_in_place() {
    let (sandbox, [first, last]) = with_copies();
    fs::OpenOptions::new().write(true).open(&files(&sandbox)[1]).unwrap().set_len(100).unwrap();
    let target = sandbox.path().join("older.sqlite");
    let output = sandbox.litekeeper(&["restore", "attendance", "--to", target.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("passed over") && said(&output).contains("--from away"),
        "{}",
        said(&output)
    );
    assert_eq!(assert_sound(&target), first);

    let now = commits(&sandbox, 2);
    let output = sandbox.litekeeper(&["restore", "attendance", "--in-place", "--accept-unseen"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(assert_sound(&sandbox.database()), now, "nothing is done");
    run_as_printed(&stderr(&output));
    assert_eq!(assert_sound(&sandbox.database()), last);
}

#[test]
fn where_no_backup_is_left_another_place_is_named() {
    let (sandbox, [_, last]) = with_copies();
    fs::remove_dir_all(sandbox.backups()).unwrap();
    let target = sandbox.path().join("restored.sqlite");
    let output = sandbox.litekeeper(&["restore", "attendance", "--to", target.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(10), "{}", said(&output));
    run_as_printed(&stderr(&output));
    assert_eq!(assert_sound(&target), last);
    // A mistyped name of a copy is that alone.
    let output = sandbox.litekeeper(&["restore", "attendance", "--from", "nowhere", "--to", "/tmp/x"]);
    assert!(!said(&output).contains("is good"), "{}", said(&output));
}
