//! How often manifests are opened, by the system calls of the program: each again only where it has
//! changed.

use crate::support::backups::directory;
use crate::support::process::lines::Lines;
use crate::support::process::trace::opened_and_closed;
use crate::support::restoring::{can_trace, traced};
use crate::support::sandbox::Sandbox;
use crate::support::{skip, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// With so many backups there.
const OTHERS: usize = 20;

const CALLS: [&str; 3] = ["-y", "-e", "trace=open,openat,openat2,close,getdents64"];

fn many_backups() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nschedule = \"never\"\nskip_unchanged = false\nkeep_last = 100\n");
    for _ in 0..OTHERS {
        let output = sandbox.litekeeper(&["backup", "attendance"]);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(manifests(&sandbox).len(), OTHERS);
    sandbox
}

fn manifests(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory(sandbox)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "json")).collect()
}

/// How often each manifest that is there was opened to be read.
fn opened(sandbox: &Sandbox, trace: &Path) -> BTreeMap<PathBuf, usize> {
    let trace = fs::read_to_string(trace).unwrap_or_default();
    let count = |file: PathBuf| {
        let opens = opened_and_closed(&trace, &file).0.len();
        (file, opens)
    };
    manifests(sandbox).into_iter().map(count).collect()
}

#[test]
fn a_backup_opens_the_manifest_of_each_other_once() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let sandbox = many_backups();
    let (before, trace) = (manifests(&sandbox), sandbox.path().join("trace"));
    let output = traced(&sandbox, &trace, &CALLS, &["backup", "attendance"]).wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let opened = opened(&sandbox, &trace);
    assert_eq!(opened.len(), OTHERS + 1);
    for (file, times) in opened {
        if before.contains(&file) {
            assert_eq!(times, 1, "{}", file.display());
        } else {
            assert!((1..=2).contains(&times), "its own, {}: {times}", file.display());
        }
    }
}

#[test]
fn an_idle_daemon_opens_a_manifest_again_when_it_has_changed_and_no_other() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let sandbox = many_backups();
    let trace = sandbox.path().join("trace");
    let mut daemon = traced(&sandbox, &trace, &CALLS, &["run"]);
    let log = Lines::default();
    log.read(daemon.stdout.take().unwrap());
    log.read(daemon.stderr.take().unwrap());
    // Each look lists the directory: until none is left, which the kernel says in a call of its own.
    let listed = format!("<{}>, ", directory(&sandbox).display());
    let looks = || {
        let text = fs::read_to_string(&trace).unwrap_or_default();
        let ends =
            |line: &&str| line.contains("getdents64(") && line.contains(&listed) && line.ends_with(" = 0");
        text.lines().filter(ends).count()
    };
    let wait_for_looks = |more: usize| {
        let before = looks();
        wait_until("the daemon has looked at the backups", || {
            assert!(log.is_open(), "the daemon ended:\n{}", log.all().join("\n"));
            (looks() >= before + more).then_some(())
        });
    };
    wait_for_looks(5);
    assert_eq!(opened(&sandbox, &trace).into_values().collect::<Vec<_>>(), [1; OTHERS]);

    let changed = manifests(&sandbox).swap_remove(OTHERS / 2);
    let name = changed.with_extension("sqlite.gz");
    let output = sandbox.litekeeper(&["pin", "attendance", name.file_name().unwrap().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    wait_for_looks(3);
    for (file, times) in opened(&sandbox, &trace) {
        assert_eq!(times, if file == changed { 2 } else { 1 }, "{}", file.display());
    }

    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success(), "{}", log.all().join("\n"));
}
