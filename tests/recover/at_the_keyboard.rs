//! What somebody meets who runs `litekeeper recover`: Ctrl-C, a full disk, the line that tells how
//! far it is, and paths that lead elsewhere than meant.

use super::commands::{
    bytes, configured, expect, leaves, left_over, overwrite, recover, rows, table, target,
};
use crate::support::disk::Disk;
use crate::support::restoring::{beside, can_trace, stderr, traced};
use crate::support::sandbox::{Sandbox, copy_for_all, litekeeper, program};
use crate::support::{skip, wait_until};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A configured database with a page of a table lost, and so large that a signal comes before its end.
fn damaged() -> Sandbox {
    let sandbox = configured(&["--rows", "50000", "--journal-mode", "delete"]);
    overwrite(&sandbox.database(), leaves(&sandbox.database(), "attendance")[3], 0);
    sandbox
}

/// Both ways to name what is to be recovered.
fn both(sandbox: &Sandbox) -> [Vec<String>; 2] {
    let file = sandbox.database().to_str().unwrap().to_owned();
    [vec!["attendance".to_owned()], vec!["--file".to_owned(), file]]
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn assert_stopped(output: &Output, at: &str) {
    assert_eq!(output.status.code(), Some(1), "{at}: {}", stderr(output));
    assert!(stderr(output).contains("stopped"), "{at}: {}", stderr(output));
}

/// At a few of its system calls: before the run begins, while it copies, and among the rows.
#[test]
fn ctrl_c_stops_it_with_a_word_and_leaves_nothing() {
    if !can_trace() {
        return skip("strace cannot trace here");
    }
    let sandbox = damaged();
    let before = bytes(&sandbox.database());
    let to = target(&sandbox);
    for which in both(&sandbox) {
        for n in [3, 40] {
            let (trace, signal) =
                (sandbox.path().join("trace"), format!("inject=pwrite64:signal=INT:when={n}"));
            let options = ["-e", "trace=pwrite64", "-e", &signal];
            let args = [&["recover", "--to", to.to_str().unwrap()], &strs(&which)[..]].concat();
            let output = traced(&sandbox, &trace, &options, &args).wait_with_output().unwrap();
            assert_stopped(&output, &format!("{which:?} at write {n}"));
            assert_eq!(left_over(&sandbox), [""; 0], "{which:?} at write {n}");
        }
    }
    assert_eq!(bytes(&sandbox.database()), before);
    let history = sandbox.litekeeper(&["--json", "history", "attendance"]);
    let history: serde_json::Value = serde_json::from_slice(&history.stdout).unwrap();
    let outcomes: Vec<_> = history.as_array().unwrap().iter().map(|run| &run["outcome"]).collect();
    assert!(!outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome == "interrupted"), "{history:#}");
}

/// An index whose every entry takes a millisecond: an hour in all.
#[test]
fn ctrl_c_stops_the_building_of_an_index() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("slow.sqlite");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE t (a, b);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
             INSERT INTO t SELECT i, 'a row of some length, so that there are many pages of them' FROM n;
             PRAGMA writable_schema = on;
             INSERT INTO sqlite_schema VALUES ('index', 'i', 't', 0, 'CREATE INDEX i ON t (length(hex(zeroblob(1000000 + a))))');",
        )
        .unwrap();
    let pages: u64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    drop(connection);
    let to = target(&sandbox);
    let child = program()
        .args(["recover", "--to", to.to_str().unwrap(), "--file", path.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("all rows are in the new file", || {
        let new = left_over(&sandbox).into_iter().find(|name| name.starts_with('.'))?;
        let length = fs::metadata(sandbox.path().join(new)).ok()?.len();
        (length >= (pages - 2) * 4096).then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_stopped(&child.wait_with_output().unwrap(), "in the index");
    assert_eq!(left_over(&sandbox), [""; 0]);
}

/// The indexes lay in the part that is cut off: the new file needs more than twice what is left of
/// the old one.
#[test]
fn a_disk_of_any_size_holds_a_whole_new_file_or_nothing() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("indexed.sqlite");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE t (a INTEGER PRIMARY KEY, b, c);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO t SELECT i, hex(randomblob(40)), hex(randomblob(40)) FROM n;
             CREATE INDEX one ON t (b); CREATE INDEX two ON t (c); CREATE INDEX three ON t (b, c);",
        )
        .unwrap();
    let table_pages = leaves(&path, "t").into_iter().max().unwrap() + 1;
    File::options().write(true).open(&path).unwrap().set_len(table_pages * 4096).unwrap();
    let before = bytes(&path);
    let place = sandbox.path().join("disk");
    let (mut refused, mut failed) = (0, 0);
    fs::create_dir_all(&place).unwrap();
    for kilobytes in (table_pages * 4..).step_by(500) {
        let Some(disk) = Disk::memory(&place, &format!("{kilobytes}k")) else {
            return skip("only root can mount a small filesystem");
        };
        let to = place.join("new.sqlite");
        let output = litekeeper(&[
            "--json",
            "recover",
            "--to",
            to.to_str().unwrap(),
            "--file",
            path.to_str().unwrap(),
        ]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let names: Vec<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        if to.exists() {
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            assert_eq!((names.len(), rows(&to, "t")), (1, 5000));
            drop(disk);
            break;
        }
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert_eq!(json["reason"], "no_space", "{json:#}");
        assert!(names.is_empty(), "{names:?}");
        let text = stderr(&output);
        if text.contains("a copy of the database beside the new one needs") {
            refused += 1;
        } else {
            failed += 1;
        }
        assert!(text.contains(place.to_str().unwrap()), "{text}");
    }
    assert!(refused >= 1 && failed >= 2, "{refused} refused, {failed} failed in the middle");
    assert_eq!(bytes(&path), before);
}

#[test]
fn how_far_it_is_is_shown_on_a_terminal_and_not_in_a_pipe() {
    let sandbox = damaged();
    let to = target(&sandbox);
    for which in both(&sandbox) {
        let config = sandbox.configuration();
        let args = [
            &["--config", config.to_str().unwrap(), "recover", "--to", to.to_str().unwrap()],
            &strs(&which)[..],
        ]
        .concat();
        let piped = litekeeper(&args);
        assert_eq!(piped.status.code(), Some(3), "{}", stderr(&piped));
        let text = stderr(&piped) + &String::from_utf8_lossy(&piped.stdout);
        assert!(!text.contains(['\r', '\x1b']) && !text.contains("[#"), "{text:?}");
        fs::remove_file(&to).unwrap();

        let words: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
        let command = format!("'{}' {}", program().get_program().to_str().unwrap(), words.join(" "));
        let shown =
            Command::new("script").args(["--quiet", "--return", "--command", &command, "/dev/null"]).output();
        let Ok(shown) = shown else { return skip("there is no script to make a terminal") };
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert_eq!(shown.status.code(), Some(3), "{text}");
        // A path is too long for the line, and is cut.
        let what: String = which.last().unwrap().chars().take(10).collect();
        assert!(text.contains(&format!("\r\x1b[Krecover of {what}")), "{text:?}");
        // The line is gone before the report.
        let report = text.rfind("saved ").unwrap();
        assert!(text[..report].ends_with("\r\x1b[K"), "{text:?}");
        fs::remove_file(&to).unwrap();
    }
}

/// Names of the source, of links to it, and of what SQLite would take for a part of it.
#[test]
fn the_new_file_never_takes_the_place_of_anything() {
    let sandbox = damaged();
    let data = sandbox.data();
    let source = sandbox.database();
    symlink(&source, data.join("link")).unwrap();
    fs::hard_link(&source, data.join("hard")).unwrap();
    symlink("nowhere", data.join("dangling")).unwrap();
    symlink(&data, sandbox.path().join("alias")).unwrap();
    fs::create_dir(data.join("directory")).unwrap();
    let before = bytes(&source);
    let look = || {
        let mut names: Vec<_> =
            fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let names = look();
    let alias = sandbox.path().join("alias/attendance.sqlite");
    let parts = ["-wal", "-shm", "-journal"].map(|suffix| beside(&source, suffix));
    let taken = [
        &source,
        &data.join("link"),
        &data.join("hard"),
        &data.join("dangling"),
        &data.join("directory"),
        &alias,
    ];
    for to in taken.into_iter().chain(&parts).chain([&beside(&alias, "-wal")]) {
        for which in both(&sandbox) {
            let args = [&["recover", "--to", to.to_str().unwrap()], &strs(&which)[..]].concat();
            let output = sandbox.litekeeper(&args);
            assert_eq!(output.status.code(), Some(1), "{}: {}", to.display(), stderr(&output));
            let word = if parts.contains(to) || to.ends_with("attendance.sqlite-wal") {
                "a part of"
            } else {
                "exists"
            };
            assert!(stderr(&output).contains(word), "{}: {}", to.display(), stderr(&output));
            assert_eq!(look(), names, "{}", to.display());
            assert_eq!(bytes(&source), before);
        }
    }
    // The source by another name is the source.
    for (name, code) in [("link", 3), ("hard", 3)] {
        let outcome = recover(&sandbox, &["--file", data.join(name).to_str().unwrap()]);
        expect(&outcome, code, "salvaged");
        assert_eq!(table(&outcome.1, "attendance")["pages_lost"], 1);
        fs::remove_file(target(&sandbox)).unwrap();
    }
    assert_eq!(bytes(&source), before);
}

#[test]
fn what_cannot_be_a_database_is_refused_by_what_it_is() {
    let sandbox = configured(&[]);
    let data = sandbox.data();
    fs::write(data.join("empty"), "").unwrap();
    fs::create_dir(data.join("directory")).unwrap();
    let status = Command::new("mkfifo").arg(data.join("pipe")).status().unwrap();
    assert!(status.success());
    let cases = [
        ("missing", 10, "not_found", "No such file"),
        ("empty", 1, "shrunken", "is empty"),
        ("directory", 1, "not_a_database", "is a directory"),
        ("pipe", 1, "not_a_database", "pipe"),
    ];
    for (name, code, reason, words) in cases {
        for always in [&[][..], &["--always"]] {
            let path = data.join(name);
            let (output, json) = recover(&sandbox, &[&["--file", path.to_str().unwrap()], always].concat());
            assert_eq!(output.status.code(), Some(code), "{name}: {}", stderr(&output));
            assert_eq!(json["reason"], reason, "{name}: {json:#}");
            assert!(stderr(&output).contains(words), "{name}: {}", stderr(&output));
            assert_eq!(left_over(&sandbox), [""; 0]);
        }
    }
    fs::write(sandbox.database(), "").unwrap();
    let (output, json) = recover(&sandbox, &["attendance"]);
    assert_eq!((output.status.code(), &json["reason"]), (Some(1), &"shrunken".into()), "{}", stderr(&output));
    assert!(stderr(&output).contains("is empty"), "{}", stderr(&output));
}

#[test]
fn what_may_not_be_read_or_written_is_named() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can run the program as another user");
    }
    let sandbox = damaged();
    fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (ours, theirs) = (sandbox.path().join("ours"), sandbox.path().join("theirs"));
    for (dir, mode) in [(&ours, 0o755), (&theirs, 0o777)] {
        fs::create_dir(dir).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
    }
    let copy = sandbox.path().join("litekeeper");
    copy_for_all(Path::new(program().get_program()), &copy);
    let as_another = |to: &Path| {
        let file = sandbox.database();
        let args = ["--json", "recover", "--to", to.to_str().unwrap(), "--file", file.to_str().unwrap()];
        let output = Command::new(&copy).args(args).uid(4712).gid(4712).output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), json["reason"].clone(), stderr(&output))
    };
    for (mode, dir, named) in [(0o600, &theirs, sandbox.database()), (0o644, &ours, ours.clone())] {
        fs::set_permissions(sandbox.database(), fs::Permissions::from_mode(mode)).unwrap();
        let (code, reason, text) = as_another(&dir.join("new"));
        assert_eq!((code, reason), (Some(1), "permission".into()), "{text}");
        assert!(text.contains(named.to_str().unwrap()), "{text}");
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    }
    let (code, reason, text) = as_another(&theirs.join("new"));
    assert_eq!((code, reason), (Some(3), "shrunken".into()), "{text}");
}
