//! Scratch files: of use to one process, left alone by all others, and removed when it has died.

use super::commands::{left_over, target};
use crate::support::process::child::{self, Child};
use crate::support::restoring::{can_trace, killed_in_wal_mode, stderr, traced};
use crate::support::soundness::assert_sound;
use crate::support::{skip, wait_until};
use litekeeper::store::scratch::{Scratch, ScratchDirectory};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn listed(directory: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
#[ignore = "the other process in the tests of this file"]
fn uses_scratch_files_until_it_is_told_to_end() {
    let Some(directory) = child::argument() else { return };
    let named = ScratchDirectory::create(&directory, "recover").unwrap();
    named.beside("-wal").unwrap();
    let _scratch = Scratch::create(&directory, "verify").unwrap();
    child::say("has them");
    child::wait();
}

#[test]
fn what_a_process_of_another_container_uses_is_left_alone_until_it_has_died() {
    let base = tempfile::tempdir().unwrap();
    // There its number is one that no process has here.
    let free = (300..30_000).find(|number| !Path::new(&format!("/proc/{number}")).exists()).unwrap();
    let script = format!("echo {} > /proc/sys/kernel/ns_last_pid; \"$@\"; exit $?", free - 1);
    let container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script, "sh"];
    if !Command::new("unshare").args(["--pid", "--fork", "true"]).status().is_ok_and(|s| s.success()) {
        return skip("no container can be made here");
    }
    let part = "scratch::uses_scratch_files_until_it_is_told_to_end";
    let mut other = Child::start_as(part, base.path(), &std::env::current_exe().unwrap(), &container);
    other.said("has them");
    let before = listed(base.path());
    assert_eq!(before.len(), 2, "a directory with a database and its log, and their lock: {before:?}");
    assert!(before.iter().any(|path| path.to_str().unwrap().contains(&format!("-{free}-"))), "{before:?}");
    drop(Scratch::create(base.path(), "verify").unwrap());
    drop(ScratchDirectory::create(base.path(), "recover").unwrap());
    assert_eq!(listed(base.path()), before, "somebody else's files");
    other.kill();
    // Its locks end with the last process of the container, which is not our child.
    wait_until("what it left is gone", || {
        drop(Scratch::create(base.path(), "verify").unwrap());
        listed(base.path()).is_empty().then_some(())
    });
}

/// As on some network filesystems.
#[test]
fn where_nothing_can_be_locked_a_file_is_recovered_and_nothing_is_judged_dead() {
    if !can_trace() {
        return skip("strace cannot trace here");
    }
    let (sandbox, states) = killed_in_wal_mode();
    let (database, to, trace) = (sandbox.database(), target(&sandbox), sandbox.path().join("trace"));
    let beside = sandbox.path().join(".scratch-1-recover-0");
    fs::write(&beside, "somebody's").unwrap();
    let options = ["-e", "trace=flock", "-e", "inject=flock:error=ENOLCK"];
    let paths = [&database, &to].map(|path| path.to_str().unwrap());
    let args = ["recover", "--always", "--file", paths[0], "--to", paths[1]];
    let output = traced(&sandbox, &trace, &options, &args).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let calls = fs::read_to_string(&trace).unwrap();
    assert!(calls.contains("(INJECTED)"), "{calls}");
    assert_eq!(left_over(&sandbox), [".scratch-1-recover-0", "recovered.sqlite"], "the first may be in use");
    assert_eq!(assert_sound(&to), states.now);
}
