//! Disks that are full: that of the backups, at the start and in the middle; that of litekeeper's
//! own state; that of the database. Each is a real filesystem of its own, which takes root.

use crate::scene::{KEPT, Scene, said};
use crate::support::backups::{directory, unfinished};
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::disk::Disk;
use crate::support::history::{newest, wait_for_run};
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::{skip, wait_until};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;

/// A scene with a disk of its own at one of the sandbox's places.
fn scene_on(place: fn(&Sandbox) -> PathBuf) -> Option<(Scene, Disk)> {
    let mut disk = None;
    let probe = Sandbox::empty();
    Disk::memory(&probe.backups(), "200m")?;
    let scene = Scene::with("", |sandbox| {
        // What was made before the disk came lies under it; the database is made anew on it.
        let files: Vec<_> =
            fs::read_dir(place(sandbox)).unwrap().map(|entry| entry.unwrap().path()).collect();
        let kept: Vec<_> = files.iter().map(|file| (file, fs::read(file).unwrap())).collect();
        disk = Disk::memory(&place(sandbox), "200m");
        for (file, bytes) in kept {
            fs::write(file, bytes).unwrap();
        }
    });
    Some((scene, disk?))
}

#[test]
fn a_disk_of_any_size_holds_a_whole_new_backup_or_the_old_ones_alone() {
    let Some((mut scene, disk)) = scene_on(Sandbox::backups) else {
        return skip("only root can mount a small filesystem");
    };
    let place = scene.sandbox.backups().display().to_string();
    let (mut made, mut failed) = (0, 0);
    for pages in (0..).step_by(3) {
        let before = scene.before();
        disk.limit(&format!("size={}k", disk.used_bytes() / 1024 + 4 * pages));
        let output = scene.sandbox.litekeeper(&["backup", "attendance"]);
        disk.limit("size=200m");
        let new = scene.assert_nothing_lost(&before);
        scene.assert_clean();
        if output.status.success() {
            assert!(new.is_some());
            made += 1;
            if made == 3 {
                break;
            }
            continue;
        }
        failed += 1;
        assert_eq!(new, None, "{}", said(&output));
        scene.assert_loud(&output, &place);
        assert_eq!(scene.last_run("backup").reason, "no_space", "{}", said(&output));
    }
    assert!(failed >= 3, "{failed} failed");
    drop(disk);
    scene.end();
}

/// Room for bytes, and none for one more file: no look at the free space tells.
#[test]
fn a_disk_that_takes_no_more_files_fails_the_run_and_leaves_nothing() {
    let Some((mut scene, disk)) = scene_on(Sandbox::backups) else {
        return skip("only root can mount a small filesystem");
    };
    let place = scene.sandbox.backups().display().to_string();
    let mut failed = 0;
    for more in 0.. {
        let before = scene.before();
        disk.limit(&format!("nr_inodes={}", disk.used_files() + more));
        let output = scene.sandbox.litekeeper(&["backup", "attendance"]);
        disk.limit("nr_inodes=10000");
        let new = scene.assert_nothing_lost(&before);
        scene.assert_clean();
        if output.status.success() {
            assert!(new.is_some());
            break;
        }
        failed += 1;
        assert_eq!(new, None, "{}", said(&output));
        scene.assert_loud(&output, &place);
        assert_eq!(scene.last_run("backup").reason, "no_space", "{}", said(&output));
    }
    // At least for the data and for the manifest.
    assert!(failed >= 2, "{failed} failed");
    drop(disk);
    scene.end();
}

#[test]
fn a_disk_that_another_program_fills_in_the_middle_fails_the_run_and_is_told() {
    let Some((mut scene, disk)) = scene_on(Sandbox::backups) else {
        return skip("only root can mount a small filesystem");
    };
    scene.ballast(15);
    let place = directory(&scene.sandbox);
    let before = scene.before();
    let mut after = newest(&scene.sandbox);
    let daemon =
        Daemon::start(&scene.sandbox.configure(&format!("{BACKUP_EACH_SECOND}keep_last = {KEPT}\n")));
    let begun = || {
        unfinished(&scene.sandbox)
            .iter()
            .any(|name| fs::metadata(place.join(name)).is_ok_and(|file| (1..10 << 20).contains(&file.len())))
    };
    let run = loop {
        wait_until("a backup is being written", || begun().then_some(()));
        daemon.signal(Signal::STOP);
        let caught = begun();
        if caught {
            disk.fill();
        }
        daemon.signal(Signal::CONT);
        if caught {
            break wait_for_run(&scene.sandbox, "backup", after, "failure");
        }
        after = wait_for_run(&scene.sandbox, "backup", after, "success").id;
    };
    assert_eq!(run.reason, "no_space", "{run:?}");
    assert!(run.summary.contains(scene.sandbox.backups().to_str().unwrap()), "{run:?}");
    let labels = [("database", "attendance"), ("task", "backup"), ("outcome", "failure")];
    daemon.wait_for_metrics("it counts", |metrics| {
        (metrics.get("litekeeper_job_runs_total", &labels)? >= 1.0).then_some(())
    });
    wait_until("nothing is left", || unfinished(&scene.sandbox).is_empty().then_some(()));
    assert!(daemon.stop().success());
    let listed = scene.listed();
    assert_eq!(listed.len(), before.backups.len());
    disk.free();
    for backup in &listed {
        scene.prove(&backup.name);
    }
    scene.sandbox.configure(&format!("[backup]\nkeep_last = {KEPT}\n"));
    scene.backup();
    drop(disk);
    scene.end();
}

/// Without its state the command makes no backup, and says why; a run that gets further says that
/// its history is lost.
#[test]
fn a_full_disk_of_our_own_state_is_told_and_loses_no_backup() {
    let Some((mut scene, disk)) = scene_on(Sandbox::state) else {
        return skip("only root can mount a small filesystem");
    };
    disk.fill();
    let before = scene.before();
    let output = scene.sandbox.litekeeper(&["backup", "attendance"]);
    let made = scene.assert_nothing_lost(&before);
    scene.assert_clean();
    assert!(
        said(&output).contains(scene.sandbox.state().to_str().unwrap()) && said(&output).contains("full"),
        "it does not say where and what: {}",
        said(&output)
    );
    match output.status.code() {
        Some(1) => assert_eq!(made, None, "{}", said(&output)),
        other => assert!(made.is_some() && other == Some(3), "{}", said(&output)),
    }
    disk.free();
    scene.backup();
    drop(disk);
    scene.end();
}

/// While the application has it open, a reader needs no room. Nobody's sidecars must be made, for
/// which there is none.
#[test]
fn a_full_disk_of_the_database_itself_harms_neither_it_nor_the_backups() {
    let Some((mut scene, disk)) = scene_on(Sandbox::data) else {
        return skip("only root can mount a small filesystem");
    };
    scene.application.pause();
    let before = scene.before_nothing_new();
    disk.fill();
    let output = scene.sandbox.litekeeper(&["backup", "attendance"]);
    assert!(output.status.success(), "{}", said(&output));
    scene.assert_nothing_lost(&before);

    let Scene { sandbox, application, .. } = scene;
    disk.free();
    let last = application.stop().last();
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(sandbox.data()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.retain(|name| name != "filler");
        names
    };
    assert_eq!(names(), ["attendance.sqlite"]);
    disk.fill();
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(sandbox.database().to_str().unwrap()) && said.contains("full"), "{said}");
    disk.free();
    assert_eq!(assert_sound(&sandbox.database()), last);
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names(), ["attendance.sqlite"]);
    drop(disk);
}
