//! A backup that somebody has changed: damaged it is called, and of the database it says nothing
//! (HAZARDS H27).

use super::processes::ended;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::backups::{directory, file, manifests, sha256sum};
use crate::support::sandbox::{Sandbox, program, said};
use crate::support::sql::edit;
use serde_json::Value;

/// Two backups. Changes the file and the manifest of the newest.
fn tampered(sandbox: &Sandbox, change: impl FnOnce(&Path, &mut Value)) -> String {
    for _ in 0..2 {
        assert!(ended(sandbox, &["backup", "attendance"]).status.success());
        edit(&sandbox.database(), "CREATE TABLE IF NOT EXISTS more (a); INSERT INTO more VALUES (1)");
    }
    let mut newest = manifests(sandbox).pop().unwrap();
    let backup = file(sandbox, &newest);
    change(&backup, &mut newest);
    let name = backup.file_name().unwrap().to_str().unwrap().to_owned();
    let manifest = directory(sandbox).join(name.replace(".sqlite.gz", ".json"));
    assert!(manifest.exists());
    fs::write(manifest, newest.to_string()).unwrap();
    name
}

/// The newest backup is found damaged, so that the one before it is the newest good one; and
/// nothing is said of the database, which goes on being maintained.
fn assert_only_the_backup_is_bad(sandbox: &Sandbox, name: &str, verified: &Output, words: &str) {
    let told = said(verified);
    assert!(told.contains(words) && !verified.status.success(), "{told}");
    let of_database = sandbox.database().display().to_string();
    assert!(!told.contains(&of_database), "{told}");
    let list = sandbox.litekeeper(&["backups", "attendance", "--json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert!(list.to_string().contains(words), "{list}");
    let good = crate::support::backups::catalogue(sandbox).latest().unwrap().unwrap();
    assert_ne!(good.name, name);
    for args in [&["health", "attendance", "--deep"][..], &["maintain", "attendance"]] {
        let output = ended(sandbox, args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    }
}

#[test]
fn h27_a_backup_that_unpacks_to_more_than_its_manifest_says_is_damaged_and_fills_no_disk() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let name = tampered(&sandbox, |backup, manifest| {
        let zeros =
            Command::new("sh").arg("-c").arg("head -c 1G /dev/zero | gzip -1 > \"$0\"").arg(backup).status();
        assert!(zeros.unwrap().success());
        manifest["stored_bytes"] = fs::metadata(backup).unwrap().len().into();
        manifest["stored_sha256"] = sha256sum(backup).into();
    });
    // A file of more than 16 MiB ends the command with SIGXFSZ.
    let mut command = Command::new("prlimit");
    command.arg("--fsize=16777216").arg(program().get_program()).arg("--config").arg(sandbox.configuration());
    let verified = command.args(["verify", "attendance"]).output().unwrap();
    assert_only_the_backup_is_bad(&sandbox, &name, &verified, "more bytes than its manifest says");
}

#[test]
fn h27_a_backup_whose_file_is_another_is_damaged_though_it_holds_the_same() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let name = tampered(&sandbox, |_, manifest| manifest["stored_sha256"] = "0".repeat(64).into());
    let verified = ended(&sandbox, &["verify", "attendance"]);
    assert_only_the_backup_is_bad(&sandbox, &name, &verified, "is not the one that its manifest describes");
}

#[test]
fn h27_a_manifest_says_nothing_of_the_database() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 3] = [
        ("and its manifest says 7", |manifest| manifest["tables"]["attendance"] = 7.into()),
        ("has no table ghost", |manifest| manifest["tables"]["ghost"] = 7.into()),
        ("its schema is not the one in its manifest", |manifest| {
            manifest["schema_sha256"] = "0".repeat(64).into();
        }),
    ];
    for (words, change) in changes {
        let sandbox = Sandbox::new();
        sandbox.configure("");
        let name = tampered(&sandbox, |_, manifest| change(manifest));
        let verified = ended(&sandbox, &["verify", "attendance"]);
        assert_only_the_backup_is_bad(&sandbox, &name, &verified, words);
        // The database is not even asked, and the backup is none of a damaged one.
        assert!(!said(&verified).contains("the database itself"), "{}", said(&verified));
        assert!(manifests(&sandbox).pop().unwrap()["damage"].is_null(), "{words}");
    }
}

#[test]
fn h27_a_damaged_file_put_in_the_place_of_a_backup_says_nothing_of_the_database() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\ncompression = \"none\"\n");
    for _ in 0..2 {
        assert!(ended(&sandbox, &["backup", "attendance"]).status.success());
        edit(&sandbox.database(), "CREATE TABLE IF NOT EXISTS more (a); INSERT INTO more VALUES (1)");
    }
    let mut newest = manifests(&sandbox).pop().unwrap();
    let backup = file(&sandbox, &newest);
    let mut bytes = fs::read(&backup).unwrap();
    let page = usize::try_from(newest["page_size"].as_u64().unwrap()).unwrap();
    for leaf in bytes.chunks_mut(page).skip(2) {
        leaf.fill(0xA5);
    }
    fs::write(&backup, bytes).unwrap();
    for sum in ["raw_sha256", "stored_sha256"] {
        newest[sum] = sha256sum(&backup).into();
    }
    let manifest = backup.to_str().unwrap().replace(".sqlite", ".json");
    fs::write(manifest, newest.to_string()).unwrap();
    let verified = ended(&sandbox, &["verify", "attendance"]);
    let name = backup.file_name().unwrap().to_str().unwrap();
    assert_only_the_backup_is_bad(&sandbox, name, &verified, "integrity_check says");
}
