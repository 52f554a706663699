//! A restore in place that is killed, at each of its steps and anywhere else: the name always has a
//! whole database, the old one with all its commits or the restored one, and the next try succeeds.

use crate::support::process::trace::whole;
use crate::support::restoring::{
    IN_PLACE, States, beside, can_trace, kept, killed_in_rollback_mode, killed_in_wal_mode, look, moved_on,
    stderr, traced, unfinished,
};
use crate::support::sandbox::Sandbox;
use crate::support::skip;
use crate::support::soundness::{assert_sound, check};
use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

/// A sandbox whose data can be what it was, again and again.
struct Scene {
    sandbox: Sandbox,
    states: States,
    before: PathBuf,
    what: &'static str,
}

impl Scene {
    fn new(what: &'static str, (sandbox, states): (Sandbox, States)) -> Self {
        let before = sandbox.path().join("before");
        copy(&sandbox.data(), &before);
        Self { sandbox, states, before, what }
    }

    /// Restores, killed at the `n`th of these system calls; whether it came so far.
    fn is_killed_at(&self, calls: &str, n: usize) -> bool {
        copy(&self.before, &self.sandbox.data());
        let (trace, kill) =
            (self.sandbox.path().join("trace"), format!("inject={calls}:signal=KILL:when={n}"));
        let child = traced(&self.sandbox, &trace, &["-e", &format!("trace={calls}"), "-e", &kill], &IN_PLACE);
        let output = child.wait_with_output().unwrap();
        let at = format!("{}, killed at {calls} number {n}", self.what);
        match output.status.signal() {
            Some(9) => {}
            None if output.status.success() => return false,
            // strace counts by process: the one that checks the file came to its own call of that
            // number first.
            None if stderr(&output).contains("the process that checked it was killed") => {}
            _ => panic!("{at}: {} {}", output.status, stderr(&output)),
        }
        // As the application meets it; on a copy, so that the next try meets it, too.
        let seen = self.sandbox.path().join("seen");
        copy(&self.sandbox.data(), &seen);
        let found = check(&seen.join("attendance.sqlite"));
        let is_whole = matches!(found, Ok(last) if last == self.states.now || last == self.states.backup);
        assert!(is_whole, "{at}: {found:?}, {:?}", look(&self.sandbox));
        if found == Ok(self.states.backup) {
            let old = kept(&self.sandbox);
            assert_eq!(assert_sound(old.last().unwrap()), self.states.now, "{at}");
        }

        let output = self.sandbox.litekeeper(&IN_PLACE);
        assert!(output.status.success(), "{at}, then: {}", stderr(&output));
        assert_eq!(assert_sound(&self.sandbox.database()), self.states.backup, "{at}");
        let kept = kept(&self.sandbox);
        assert!(
            kept.iter().any(|old| assert_sound(old) == self.states.now),
            "{at}: {:?}",
            look(&self.sandbox)
        );
        assert!(kept.len() <= 2 && unfinished(&self.sandbox).is_empty(), "{at}: {:?}", look(&self.sandbox));
        for suffix in ["-wal", "-journal"] {
            assert!(!beside(&self.sandbox.database(), suffix).exists(), "{at}");
        }
        true
    }

    /// What it asks of the system from the making of its hidden file on, but for the looks at
    /// others' files, each as its name and how often that was asked before.
    fn calls(&self) -> Vec<(String, usize)> {
        copy(&self.before, &self.sandbox.data());
        let trace = self.sandbox.path().join("trace");
        let child = traced(&self.sandbox, &trace, &["-e", "trace=all"], &IN_PLACE);
        let main = child.id().to_string();
        assert!(child.wait_with_output().unwrap().status.success());
        let (mut calls, mut counts, mut has_begun) = (Vec::new(), HashMap::new(), false);
        for line in whole(&fs::read_to_string(trace).unwrap()) {
            let Some((pid, call)) = line.split_once(' ') else { continue };
            let Some((name, arguments)) = call.trim().split_once('(') else { continue };
            if pid != main {
                continue;
            }
            let count = counts.entry(name.to_owned()).and_modify(|count| *count += 1).or_insert(1);
            has_begun |= arguments.contains(".restoring-");
            if has_begun && !matches!(name, "statx" | "exit_group") && !arguments.contains("/proc/") {
                calls.push((name.to_owned(), *count));
            }
        }
        calls
    }
}

/// As it is, links and holes and modes included.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

fn killed_at_each_step(scene: &Scene) {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let mut steps = 0;
    for calls in [
        "linkat",
        "unlink,unlinkat",
        "renameat,renameat2",
        "fsync,fdatasync",
        "ftruncate",
        "fchown",
        "fchmod",
    ] {
        let mut n = 1;
        while scene.is_killed_at(calls, n) {
            n += 1;
            steps += 1;
        }
    }
    // Two of the data, of the directory after each change; the second name, the rename.
    assert!(steps >= 8, "{}: only {steps}", scene.what);
}

#[test]
fn killed_at_each_step_of_replacing_a_database_whose_commits_are_in_its_log() {
    killed_at_each_step(&Scene::new("with a -wal", killed_in_wal_mode()));
}

#[test]
fn killed_at_each_step_of_replacing_a_database_with_a_half_written_transaction() {
    killed_at_each_step(&Scene::new("with a -journal", killed_in_rollback_mode()));
}

#[test]
fn killed_at_each_step_of_replacing_a_database_that_was_closed() {
    killed_at_each_step(&Scene::new("closed", moved_on(&["--journal-mode", "persist"])));
}

/// At whatever the process asks of the system, anywhere between its start and its end.
#[test]
fn killed_anywhere_a_hundred_times_over() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let scenes = [
        Scene::new("with a -wal", killed_in_wal_mode()),
        Scene::new("with a -journal", killed_in_rollback_mode()),
    ];
    let mut killed = 0;
    for scene in &scenes {
        let calls = scene.calls();
        assert!(calls.len() > 100, "{calls:?}");
        // Spread over the whole run without a pattern that could fall in step with it: by the
        // golden ratio.
        for n in 0..50 {
            let (name, count) = &calls[n * 618_034 % 1_000_000 * calls.len() / 1_000_000];
            killed += usize::from(scene.is_killed_at(name, *count));
        }
    }
    // How many processes others have just then, and so the number of some calls, is not the same
    // each time.
    assert!(killed >= 80, "only {killed}");
}
