//! Power cuts: the filesystem of the backups is shut down without flushing anything, its log neither, and mounted again.
//! Takes root, loop devices and both filesystems: the stage `faults` of tests/run.

use crate::disks::Disk;
use crate::scene::{Scene, said};
use crate::seeds::below;
use crate::tracer::{CHANGING, Tracer};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// Cuts in the middle of a run, for each filesystem.
const CUTS: u64 = 12;

fn tool(name: &str, args: &[&str], at: &Path) -> Output {
    Command::new(name).args(args).arg(at).output().unwrap_or_else(|e| panic!("{name}: {e}"))
}

struct Machine {
    disk: Option<Disk>,
    scene: Scene,
    image: TempDir,
    options: &'static str,
}

impl Machine {
    fn new(format: &[&str], size: u64, options: &'static str) -> Self {
        let image = TempDir::with_prefix("litekeeper-image-").unwrap();
        let file = image.path().join("image");
        std::fs::File::create(&file).unwrap().set_len(size).unwrap();
        let formatted = tool(format[0], &format[1..], &file);
        assert!(formatted.status.success(), "{}", said(&formatted));
        let mut disk = None;
        let scene = Scene::with("", |sandbox| {
            disk = Disk::mount(&sandbox.backups(), &["-o", options, file.to_str().unwrap()]);
            assert!(disk.is_some(), "{} cannot be mounted from a loop device", format[0]);
        });
        Self { disk, scene, image, options }
    }

    /// What was not flushed is gone; the rest is read from the image again.
    fn cut_power(&mut self) {
        let backups = self.scene.sandbox.backups();
        let down = tool("xfs_io", &["-x", "-c", "shutdown"], &backups);
        assert!(down.status.success(), "{}", said(&down));
        assert!(std::fs::write(backups.join("after"), "").is_err(), "it is still up");
        // Not lazily: nothing may be left of it in memory.
        let gone = tool("umount", &[], &backups);
        assert!(gone.status.success(), "{}", said(&gone));
        std::mem::forget(self.disk.take());
        let file = self.image.path().join("image");
        self.disk = Disk::mount(&backups, &["-o", self.options, file.to_str().unwrap()]);
        assert!(self.disk.is_some(), "it cannot be mounted again");
    }
}

/// `options`: those under which the filesystem delays most.
fn power_cuts(format: &[&str], size: u64, options: &'static str) {
    let mut machine = Machine::new(format, size, options);
    let before = machine.scene.before();
    let (traced, kinds) = Tracer::new(CHANGING).count(&machine.scene.sandbox, &["backup", "attendance"]);
    assert!(traced.output.status.success(), "{}", said(&traced.output));
    machine.scene.assert_nothing_lost(&before);
    let kinds: Vec<_> = kinds.into_iter().collect();
    let mut cut_short = 0;
    for case in 0..CUTS {
        // One that was acknowledged, and at once the cut.
        let before = machine.scene.before();
        let output = machine.scene.sandbox.litekeeper(&["backup", "attendance"]);
        assert!(output.status.success(), "{}", said(&output));
        machine.cut_power();
        assert!(machine.scene.assert_nothing_lost(&before).is_some(), "acknowledged, and gone");

        // One that was under way.
        let (kind, most) = &kinds[below(case, 0, kinds.len())];
        let nth = 1 + below(case, 1, *most);
        println!("case {case}: {kind} number {nth}");
        let before = machine.scene.before();
        let strace = Tracer::new(CHANGING).inject(kind, "signal=KILL", nth);
        let traced = strace.run(&machine.scene.sandbox, &["backup", "attendance"]);
        machine.cut_power();
        let made = machine.scene.assert_nothing_lost(&before);
        if traced.was_killed() {
            cut_short += 1;
        } else {
            assert!(made.is_some(), "acknowledged, and gone");
        }
        machine.scene.backup();
    }
    assert!(cut_short >= CUTS / 2, "{cut_short} of {CUTS} runs were cut short");
    machine.disk = None;
    machine.scene.end();
}

#[test]
#[ignore = "needs root and a loop device: tests/run faults"]
fn a_power_cut_on_ext4_leaves_every_backup_that_was_acknowledged_and_only_such_that_restore() {
    let make = ["mkfs.ext4", "-q", "-F"];
    power_cuts(&make, 64 << 20, "loop,data=writeback,noauto_da_alloc,commit=300");
}

#[test]
#[ignore = "needs root and a loop device: tests/run faults"]
fn a_power_cut_on_xfs_leaves_every_backup_that_was_acknowledged_and_only_such_that_restore() {
    power_cuts(&["mkfs.xfs", "-q"], 320 << 20, "loop");
}
