//! Power cuts on the filesystem of the backups. Takes root, loop devices and both filesystems: the
//! stage `faults` of tests/run.

use crate::image::{EXT4, Filesystem, Image, XFS};
use crate::scene::{Scene, said};
use crate::seeds::below;
use crate::tracer::{CHANGING, Tracer};

/// Cuts in the middle of a run, for each filesystem.
const CUTS: u64 = 12;

struct Machine {
    image: Option<Image>,
    scene: Scene,
}

impl Machine {
    fn new(filesystem: &Filesystem) -> Self {
        let mut image = None;
        let scene = Scene::with("", |sandbox| image = Some(Image::new(filesystem, &sandbox.backups())));
        Self { image, scene }
    }

    fn cut_power(&mut self) {
        self.image.as_mut().unwrap().cut_power();
    }
}

fn power_cuts(filesystem: &Filesystem) {
    let mut machine = Machine::new(filesystem);
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
    machine.image = None;
    machine.scene.end();
}

#[test]
#[ignore = "needs root and a loop device: tests/run faults"]
fn a_power_cut_on_ext4_leaves_every_backup_that_was_acknowledged_and_only_such_that_restore() {
    power_cuts(&EXT4);
}

#[test]
#[ignore = "needs root and a loop device: tests/run faults"]
fn a_power_cut_on_xfs_leaves_every_backup_that_was_acknowledged_and_only_such_that_restore() {
    power_cuts(&XFS);
}
