//! A state directory that cannot be written, or is gone: the runs are worth more than their
//! history, and whoever asks is told.

use crate::support::backups::manifests;
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::disk::Disk;
use crate::support::history::{self, runs, wait_for_run};
use crate::support::process::child::{self, Child};
use crate::support::sandbox::Sandbox;
use crate::support::{skip, wait_until};
use litekeeper::error::Reason;
use litekeeper::state::State;
use litekeeper::terms::JobKind;
use std::fs;
use std::path::Path;

fn not_ready(daemon: &Daemon, why: &str) {
    let answer =
        wait_until("it is not ready", || daemon.get("/readyz").ok().filter(|answer| answer.status == 503));
    let told = wait_until(why, || {
        let body = daemon.get("/readyz").map_or(answer.body.clone(), |answer| answer.body);
        body.contains(why).then_some(body)
    });
    assert!(told.contains("the state cannot be written"), "{told}");
}

fn ready(daemon: &Daemon) {
    wait_until("it is ready", || (daemon.get("/readyz").ok()?.status == 200).then_some(()));
}

fn goes_on(sandbox: &Sandbox) {
    let newest = || manifests(sandbox).last().map(|manifest| manifest["sequence"].as_u64());
    let before = newest();
    wait_until("another backup", || (newest() > before).then_some(()));
}

#[test]
fn with_a_full_state_disk_a_command_and_a_starting_daemon_make_their_backups() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::memory(&sandbox.state(), "2m") else { return skip("needs to mount") };
    sandbox.configure(BACKUP_EACH_SECOND);
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    let with_history = runs(&sandbox, "attendance", "backup").len();
    disk.fill();
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("the run history cannot be kept") && told.contains("is full"), "{told}");
    assert_eq!(manifests(&sandbox).len(), 2);

    let daemon = Daemon::spawn(&sandbox.configuration(), |_| ());
    not_ready(&daemon, "full");
    goes_on(&sandbox);
    let said = |line: &&String| line.contains("the run history cannot be kept");
    assert_eq!(daemon.log().iter().filter(said).count(), 1, "said once");
    disk.free();
    ready(&daemon);
    goes_on(&sandbox);
    assert!(daemon.stop().success());
    assert!(runs(&sandbox, "attendance", "backup").len() > with_history + 1, "those of meanwhile as well");
}

#[test]
fn where_the_state_disk_fills_up_under_the_daemon_it_is_not_ready_until_there_is_room_and_loses_nothing() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::memory(&sandbox.state(), "2m") else { return skip("needs to mount") };
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    wait_for_run(&sandbox, "backup", 0, "success");
    disk.fill();
    not_ready(&daemon, "full");
    let before = history::newest(&sandbox);
    goes_on(&sandbox);
    goes_on(&sandbox);
    disk.free();
    ready(&daemon);
    assert!(daemon.stop().success());
    let kept = runs(&sandbox, "attendance", "backup");
    let meanwhile = kept.iter().filter(|run| run.id > before + 500).count();
    assert!(meanwhile >= 2, "what was done without a history is in it afterwards: {kept:?}");
    assert!(kept.iter().all(|run| run.outcome == "success" || run.outcome == "skipped"), "{kept:?}");
}

#[test]
fn a_state_directory_that_is_moved_away_is_missed_and_is_used_again_when_it_is_back() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    let last = wait_for_run(&sandbox, "backup", 0, "success");
    let away = sandbox.path().join("moved");
    fs::rename(sandbox.state(), &away).unwrap();
    not_ready(&daemon, "is gone");
    goes_on(&sandbox);
    assert!(!sandbox.state().exists(), "whoever brings it back finds its place free");
    fs::rename(&away, sandbox.state()).unwrap();
    ready(&daemon);
    wait_for_run(&sandbox, "backup", last.id, "success");
    assert!(daemon.stop().success());
    assert_eq!(runs(&sandbox, "attendance", "backup")[0].id, last.id);
}

fn remove_state(sandbox: &Sandbox) {
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        fs::remove_file(sandbox.state().join(name)).unwrap();
    }
}

#[test]
fn a_history_that_is_deleted_under_the_daemon_is_missed_and_written_anew() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    let first = wait_for_run(&sandbox, "backup", 0, "success");
    remove_state(&sandbox);
    not_ready(&daemon, "was deleted while it was in use");
    ready(&daemon);
    let kept = runs(&sandbox, "attendance", "backup");
    assert_eq!(kept.first(), Some(&first), "what it held is there again");
    wait_for_run(&sandbox, "backup", kept.last().unwrap().id, "success");
    assert!(daemon.stop().success());
}

#[test]
fn a_history_that_is_put_in_place_of_the_daemons_is_taken_over() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    for (sandbox, times) in [(&sandbox, 1), (&other, 3)] {
        sandbox.configure(BACKUP_EACH_SECOND);
        for _ in 0..times {
            assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
        }
    }
    let theirs = runs(&other, "attendance", "backup");
    let daemon = Daemon::start(&sandbox.configuration());
    remove_state(&sandbox);
    fs::rename(other.state().join("state.db"), sandbox.state().join("state.db")).unwrap();
    not_ready(&daemon, "was replaced while it was in use");
    ready(&daemon);
    goes_on(&sandbox);
    assert!(daemon.stop().success());
    let kept = runs(&sandbox, "attendance", "backup");
    assert_eq!(kept[..3], theirs[..], "theirs are untouched");
    assert!(kept.len() > 3);
}

/// Tries for the lock of a database, and says what came of it.
#[test]
#[ignore = "the other process of the next test"]
fn other() {
    let Some(directory) = child::argument() else { return };
    let state = State::open(&directory).unwrap();
    let taken = state.lock("a", JobKind::Backup).map(drop);
    child::say(taken.map_or_else(|error| error.reason.as_str(), |()| "free"));
    child::wait();
}

fn other_says(directory: &Path, word: &str) {
    let other = Child::start("memory::out_of_reach::other", directory);
    other.said(word);
    other.end();
}

#[test]
fn two_runs_never_work_on_a_database_at_once_though_the_files_of_the_locks_are_gone() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("state");
    let state = State::open(&directory).unwrap();
    fs::rename(&directory, place.path().join("moved")).unwrap();
    let held = state.lock("a", JobKind::Backup).unwrap();
    let other_database = state.lock("b", JobKind::Backup).unwrap();
    assert_eq!(state.lock("a", JobKind::Health).unwrap_err().reason, Reason::Locked);
    // Another process makes the directory anew, and finds a lock that nobody has.
    other_says(&directory, "locked");
    drop(held);
    other_says(&directory, "locked");
    drop(other_database);
    other_says(&directory, "free");
    drop(state.lock("a", JobKind::Health).unwrap());
}

#[test]
fn on_a_read_only_state_directory_runs_go_on_and_exclude_each_other_by_the_files_there() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::memory(&sandbox.state(), "2m") else { return skip("needs to mount") };
    sandbox.configure(BACKUP_EACH_SECOND);
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    disk.limit("ro");
    let held = fs::File::open(sandbox.state().join("locks/attendance.lock")).unwrap();
    held.lock().unwrap();
    let skipped = sandbox.litekeeper(&["backup", "attendance"]);
    assert!(!skipped.status.success());
    drop(held);
    let made = sandbox.litekeeper(&["backup", "attendance"]);
    let told = String::from_utf8(made.stderr).unwrap();
    assert!(made.status.success() && told.contains("the run history cannot be kept"), "{told}");
    let daemon = Daemon::spawn(&sandbox.configuration(), |_| ());
    not_ready(&daemon, "state.db");
    goes_on(&sandbox);
    disk.limit("rw");
    ready(&daemon);
    assert!(daemon.stop().success());
}
