//! Man pages, completions and the names of the JSON: what a package and the reference say of the
//! command line.

use super::fixture::{backed_up, text};
use crate::support::sandbox::litekeeper;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_documents_of_a_package_have_every_command_and_none_that_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let output = litekeeper(&["documents", dir.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let help = litekeeper(&["--help"]);
    let commands = text(&help.stdout).split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let is_new = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let verbs = commands.lines().filter(is_new).filter_map(|line| line.split_whitespace().next());
    let verbs: BTreeSet<&str> = verbs.filter(|verb| *verb != "help").collect();
    assert!(verbs.len() > 10, "{verbs:?}");

    let mut pages: BTreeSet<String> = verbs.iter().map(|verb| format!("litekeeper-{verb}.1")).collect();
    pages.insert("litekeeper.1".to_owned());
    let names = |dir: &Path| -> BTreeSet<String> {
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(&dir.path().join("man1")), pages);
    for page in &pages {
        let page = fs::read_to_string(dir.path().join("man1").join(page)).unwrap();
        for part in [".SH NAME", ".SH SYNOPSIS", ".SH NOTES\n.nf\n", "Exit codes:"] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }
    for file in ["litekeeper.bash", "_litekeeper", "litekeeper.fish"] {
        let completions = fs::read_to_string(dir.path().join("completions").join(file)).unwrap();
        for verb in &verbs {
            assert!(completions.contains(verb), "{file} does not know {verb}");
        }
        for hidden in ["inspect", "watch-locks", "documents"] {
            assert!(!completions.contains(hidden), "{file} offers {hidden}");
        }
    }
    // What they say to the shells that are here is not wrong.
    let script = dir.path().join("completions/litekeeper.bash");
    let check = Command::new("bash").arg("-n").arg(script).output().unwrap();
    assert!(check.status.success(), "{}", text(&check.stderr));
}

#[test]
fn documents_that_cannot_be_written_are_an_error_that_names_the_place() {
    let output = litekeeper(&["documents", "/dev/null/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/dev/null/nowhere/man1"), "{}", text(&output.stderr));
}

/// The names in a value, wherever they are in it.
fn fields_of(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.keys().cloned());
            fields.values().for_each(|field| fields_of(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| fields_of(item, into)),
        _ => {}
    }
}

#[test]
fn every_name_in_json_is_in_the_reference() {
    let sandbox = backed_up();
    sandbox.configure(
        "[[database.attendance.backup.copy]]\nname = \"second\"\ndir = \"/tmp/litekeeper-nowhere\"\n\
         [[database.attendance.cleanup.rule]]\ntable = \"attendance\"\nkeep_rows = 1000000\n\
         [[database.attendance.index]]\nname = \"i\"\ntable = \"attendance\"\ncolumns = [\"user_id\"]\n\
         [database.attendance.watch.q]\nsql = \"SELECT count(*) FROM attendance\"\n",
    );
    let restored = sandbox.path().join("restored.sqlite");
    let salvaged = sandbox.path().join("salvaged.sqlite");
    let restore = ["restore", "attendance", "--to", restored.to_str().unwrap()];
    let recover = ["recover", "attendance", "--always", "--to", salvaged.to_str().unwrap()];
    let mut names = BTreeSet::new();
    for args in [
        &["check", "--environment"][..],
        &["backup", "attendance", "--dry-run"],
        &["backup", "attendance"],
        &["verify", "attendance"],
        &["cleanup", "attendance", "--dry-run"],
        &["cleanup", "attendance"],
        &["maintain", "attendance", "--dry-run"],
        &["maintain", "attendance"],
        &["health", "attendance", "--deep"],
        &["backups", "attendance"],
        &["pin", "attendance", "latest"],
        &restore,
        &["restore", "attendance", "--in-place", "--dry-run"],
        &recover,
        &["history"],
        &["slow"],
        &["advise", "attendance"],
        &["status"],
        &["status", "nothing"],
    ] {
        let output = sandbox.litekeeper(&[args, &["--json"]].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        fields_of(&value, &mut names);
    }
    assert!(names.len() > 60, "only {names:?} were printed");
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/json.md")).unwrap();
    let words: BTreeSet<&str> = page.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let missing: Vec<&String> = names.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "names that docs/reference/json.md does not have: {missing:?}");
}
