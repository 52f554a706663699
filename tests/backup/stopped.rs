//! A backup that is killed, stopped, or meets a full disk: nothing unfinished is left, and what
//! there was restores.

use super::fixture::{ballast, in_the_middle_of_a_copy};
use crate::support::application::Application;
use crate::support::backups::*;
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon, run_until};
use crate::support::disk::Disk;
use crate::support::history::{self, runs};
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::{skip, wait_until};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::time::Duration;

const KILLS: u64 = 24;

#[test]
fn a_daemon_killed_anywhere_in_a_backup_leaves_only_backups_that_restore() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 6);
    application.write_every(Duration::from_millis(5));
    let configuration = sandbox.configure(&format!("{BACKUP_EACH_SECOND}keep_last = 3\n"));
    run_until(&sandbox, &format!("{BACKUP_EACH_SECOND}keep_last = 3\n"), "backup", "success");
    let (size, stored) = (
        fs::metadata(sandbox.database()).unwrap().len(),
        manifests(&sandbox)[0]["stored_bytes"].as_u64().unwrap(),
    );
    for kill in 0..KILLS {
        // From the first byte of the copy to beyond the last of the packed file, where rotation
        // works.
        let daemon = Daemon::spawn(&configuration, |_| ());
        daemon.wait_for_log("a backup begins", |line| line.contains("job started"));
        let (at_start, begun) = (bytes_in_directory(&sandbox), history::newest(&sandbox));
        let threshold = (size + stored + size / 4) * kill / KILLS;
        wait_until("it is far enough", || {
            let written = bytes_in_directory(&sandbox).saturating_sub(at_start);
            let ended = || {
                runs(&sandbox, "attendance", "backup").iter().any(|r| r.id >= begun && r.outcome != "running")
            };
            (written >= threshold || ended()).then_some(())
        });
        daemon.signal(Signal::KILL);
        daemon.wait();
    }
    run_until(&sandbox, &format!("{BACKUP_EACH_SECOND}keep_last = 3\n"), "backup", "success");
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
    let mut last = 0;
    // A run killed between the two leaves a manifest without its file, never a file without its
    // manifest.
    let mut all = manifests(&sandbox);
    all.retain(|manifest| file(&sandbox, manifest).exists());
    assert!((1..=3).contains(&all.len()), "{all:?}");
    let stored =
        files(&sandbox).into_iter().filter(|name| Path::new(name).extension() == Some("gz".as_ref()));
    assert_eq!(stored.count(), all.len(), "{:?}", files(&sandbox));
    for manifest in &all {
        let name = manifest["file"].as_str().unwrap();
        let target = sandbox.path().join(format!("{name}.restored"));
        restored(&sandbox, name, &target).unwrap();
        let this = assert_sound(&target);
        assert!(this >= last, "{name} is newer and holds less");
        last = this;
    }
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&sandbox.database()), seen.last());
}

#[test]
fn a_stop_in_the_middle_leaves_nothing() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 30);
    let daemon = Daemon::start(
        &sandbox.configure(&format!("[daemon]\nshutdown_grace = \"0s\"\n{BACKUP_EACH_SECOND}")),
    );
    in_the_middle_of_a_copy(&sandbox, &daemon, || {
        daemon.signal(Signal::TERM);
    });
    assert_eq!(daemon.wait().0.code(), Some(0));
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
    let all = runs(&sandbox, "attendance", "backup");
    assert_eq!(all.last().unwrap().outcome, "interrupted", "{all:?}");
    for manifest in manifests(&sandbox) {
        assert!(file(&sandbox, &manifest).exists());
    }
}

#[test]
fn a_full_disk_fails_the_run_leaves_nothing_and_is_survived() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::memory(&sandbox.backups(), "200m") else {
        return skip("only root can mount a small filesystem");
    };
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 30);
    application.write_every(Duration::from_millis(5));
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    in_the_middle_of_a_copy(&sandbox, &daemon, || {
        disk.fill();
    });
    let failed = wait_until("it fails", || {
        runs(&sandbox, "attendance", "backup").into_iter().find(|run| run.outcome == "failure")
    });
    assert_eq!(failed.reason, "no_space", "{failed:?}");
    assert!(
        failed.summary.contains(sandbox.backups().to_str().unwrap()),
        "it does not say where: {failed:?}"
    );
    // Now there is not even room to begin.
    let refused = wait_until("the next does not begin", || {
        runs(&sandbox, "attendance", "backup")
            .into_iter()
            .find(|run| run.id > failed.id && run.outcome == "failure")
    });
    assert_eq!(refused.reason, "no_space");
    wait_until("nothing is left", || unfinished(&sandbox).is_empty().then_some(()));
    disk.free();
    wait_until("there is room again", || {
        runs(&sandbox, "attendance", "backup")
            .into_iter()
            .find(|run| run.id > refused.id && run.outcome == "success")
    });
    assert!(daemon.stop().success());
    assert_eq!(application.stop().errors, Vec::<String>::new());
    assert_sound(&sandbox.database());
}

#[test]
fn what_a_killed_run_left_does_not_take_the_room_of_the_next() {
    let sandbox = Sandbox::new();
    let Some(_disk) = Disk::memory(&sandbox.backups(), "20m") else {
        return skip("only root can mount a small filesystem");
    };
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 5);
    fs::create_dir(directory(&sandbox)).unwrap();
    // Of a process that lives no more: no process has so high a number.
    let left = directory(&sandbox).join(".tmp-attendance_20200101T000000Z.sqlite.gz-4194305-0");
    fs::write(left, vec![1; 12 << 20]).unwrap();
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
}
