//! Copies in another place of which a part is gone: what is left there is in nobody's way.

use crate::support::restoring::commits;
use crate::support::sandbox::{Sandbox, said};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Two backups, each copied to `away`.
fn with_copies() -> Sandbox {
    let sandbox = Sandbox::new();
    let away = sandbox.path().join("away");
    sandbox.configure(&format!(
        "[[database.attendance.backup.copy]]\nname = \"away\"\ndir = \"{}\"\n",
        away.display()
    ));
    for _ in 0..2 {
        let run = backed_up(&sandbox);
        assert_eq!(run["detail"]["copies"][0]["brought"].as_array().unwrap().len(), 1, "{run}");
    }
    sandbox
}

/// One more, of one more commit.
fn backed_up(sandbox: &Sandbox) -> Value {
    commits(sandbox, 1);
    json(sandbox, &["backup", "attendance"])
}

fn json(sandbox: &Sandbox, args: &[&str]) -> Value {
    let output = sandbox.litekeeper(&[&["--json"], args].concat());
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The copies' files with this at the end of their names, the oldest first.
fn copies(sandbox: &Sandbox, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.path().join("away/attendance")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_str().unwrap().ends_with(end));
    files.sort();
    files
}

fn name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

fn is_brought(run: &Value, file: &Path) -> bool {
    run["detail"]["copies"][0]["brought"].as_array().unwrap().iter().any(|brought| brought == name(file))
}

/// All that is listed there is good, as far as is known and when it is unpacked.
fn assert_all_good(sandbox: &Sandbox) {
    for backup in json(sandbox, &["backups", "attendance", "--from", "away"]).as_array().unwrap() {
        assert_eq!(backup["state"], "good", "{backup}");
        json(sandbox, &["verify", "attendance", backup["name"].as_str().unwrap(), "--from", "away"]);
    }
}

#[test]
fn a_copy_whose_file_is_gone_and_whose_manifest_is_left_is_brought_again() {
    let sandbox = with_copies();
    let gone = copies(&sandbox, ".gz").pop().unwrap();
    fs::remove_file(&gone).unwrap();
    let run = backed_up(&sandbox);
    assert!(is_brought(&run, &gone) && gone.exists(), "{run}");
    assert_all_good(&sandbox);
    // Of a manifest that nobody can read, the same.
    fs::remove_file(&gone).unwrap();
    fs::write(gone.to_str().unwrap().replace(".sqlite.gz", ".json"), "{").unwrap();
    let run = backed_up(&sandbox);
    assert!(is_brought(&run, &gone), "{run}");
    assert_all_good(&sandbox);
}

#[test]
fn a_manifest_of_another_machine_whose_file_may_be_on_its_way_is_left_alone() {
    let sandbox = with_copies();
    let gone = copies(&sandbox, ".gz").pop().unwrap();
    fs::remove_file(&gone).unwrap();
    let manifest = copies(&sandbox, ".json").pop().unwrap();
    let mut other: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    other["stored_sha256"] = "0".repeat(64).into();
    fs::write(&manifest, other.to_string()).unwrap();
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("is the manifest of another backup"), "{}", said(&output));
    assert_eq!(fs::read_to_string(&manifest).unwrap(), other.to_string());
}

#[test]
fn a_copy_that_lost_its_manifest_is_completed_where_it_is_whole_and_replaced_where_it_is_not() {
    let sandbox = with_copies();
    let files = copies(&sandbox, ".gz");
    for manifest in copies(&sandbox, ".json") {
        fs::remove_file(manifest).unwrap();
    }
    let whole = fs::metadata(&files[0]).unwrap().ino();
    // As a copy that was interrupted leaves it.
    fs::OpenOptions::new().write(true).open(&files[1]).unwrap().set_len(100).unwrap();
    let run = backed_up(&sandbox);
    assert!(files.iter().all(|file| is_brought(&run, file)), "{run}");
    assert_eq!(fs::metadata(&files[0]).unwrap().ino(), whole, "it came over the network again");
    assert_all_good(&sandbox);

    // Of the right length, with other bytes.
    fs::remove_file(&copies(&sandbox, ".json")[0]).unwrap();
    let length = usize::try_from(fs::metadata(&files[0]).unwrap().len()).unwrap();
    fs::write(&files[0], vec![0; length]).unwrap();
    let run = backed_up(&sandbox);
    assert!(is_brought(&run, &files[0]), "{run}");
    assert_all_good(&sandbox);
}

#[test]
fn a_damaged_copy_that_is_pinned_is_brought_again_and_stays_pinned() {
    let sandbox = with_copies();
    let file = copies(&sandbox, ".gz").pop().unwrap();
    let output = sandbox.litekeeper(&["pin", "attendance", name(&file), "--from", "away"]);
    assert!(output.status.success(), "{}", said(&output));
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(100).unwrap();
    let run = backed_up(&sandbox);
    assert!(is_brought(&run, &file), "{run}");
    assert_all_good(&sandbox);
    let listed = json(&sandbox, &["backups", "attendance", "--from", "away"]);
    let pinned = listed.as_array().unwrap().iter().find(|backup| backup["name"] == name(&file)).unwrap();
    assert_eq!(pinned["pinned"], true, "{listed}");
}
