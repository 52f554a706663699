//! Power cuts in the middle of maintenance and cleanup, on the filesystem of all of it: the
//! database, litekeeper's state and its configuration. The process is stopped at a system call that
//! follows from the number of the case, and nothing that it or the application had not flushed by
//! then is there afterwards. Takes root and loop devices: the stage `faults` of tests/run.

use super::chores::{Chore, EACH};
use super::{CALLS, Upkeep};
use crate::image::{EXT4, Filesystem, Image, XFS};
use crate::scene::said;
use crate::seeds::{below, cases};
use crate::tracer::{Disturbed, Stopped, Tracer};
use std::process::Command;

/// Of each chore, on each filesystem.
const CUTS: u64 = 2;

/// How many of them came in the middle.
fn power_cuts(chore: &'static Chore, filesystem: &Filesystem, first_case: u64) -> u64 {
    let cases = cases(chore.first_case + first_case, CUTS);
    if cases.is_empty() {
        return 0;
    }
    let mut image = None;
    // A journal's removal is a commit, which FULL does not wait for
    // (https://www.sqlite.org/pragma.html#pragma_synchronous).
    let synchronous = if chore.journal_mode == "delete" { "extra" } else { "full" };
    let mut upkeep =
        Upkeep::new(chore, synchronous, |sandbox| image = Some(Image::new(filesystem, sandbox.path())));
    let mut image = image.unwrap();
    upkeep.make_due();
    let (traced, kinds) = Tracer::new(CALLS).of(upkeep.files()).count(&upkeep.sandbox, &upkeep.arguments());
    assert!(traced.output.status.success(), "{}", said(&traced.output));
    let kinds: Vec<_> = kinds.into_iter().collect();
    // The schema and the configuration are no commits of the application's.
    assert!(Command::new("sync").arg("-f").arg(upkeep.sandbox.path()).status().unwrap().success());
    let mut cut_short = 0;
    for case in cases {
        let (kind, most) = &kinds[below(case, 0, kinds.len())];
        let nth = 1 + below(case, 1, *most);
        let before = upkeep.make_due();
        println!("{}, case {case}: {kind} number {nth}", chore.name);
        let strace = Tracer::new(CALLS).of(upkeep.files()).inject(kind, "signal=STOP", nth);
        let stopped = strace.stop(&upkeep.sandbox, &upkeep.arguments());
        // Stopped first: an fsync that is under way while a filesystem is shut down may say that it
        // went well.
        upkeep.stop_application();
        image.shut_down();
        let stopped = stopped.and_then(|stopped| stopped.map(Stopped::kill).transpose());
        let acknowledged = upkeep.kill_application();
        image.start_again();
        upkeep.assert_has(&before, acknowledged);
        match stopped {
            Ok(stopped) => {
                upkeep.assert_honest(&before);
                upkeep.start_application();
                upkeep.assert_next_run_finishes(&before);
                cut_short += u64::from(stopped.is_some());
            }
            // Its run was told to end, and has said so.
            Err(Disturbed(by)) => {
                println!("  no cut in the middle: {by}");
                upkeep.start_application();
                assert!(upkeep.run().status.success());
                upkeep.assert_unharmed(&before);
            }
        }
    }
    upkeep.end_on(image);
    cut_short
}

fn each(filesystem: &Filesystem, first_case: u64) {
    let cut_short: u64 = EACH.iter().map(|chore| power_cuts(chore, filesystem, first_case)).sum();
    let all = CUTS * EACH.len() as u64;
    println!("{cut_short} of {all} in the middle of a run");
    assert!(std::env::var_os("LITEKEEPER_CASE").is_some() || cut_short >= all / 2, "{cut_short} of {all}");
}

#[test]
#[ignore = "needs root and a loop device: tests/run faults"]
fn a_power_cut_on_ext4_in_the_middle_of_upkeep_loses_no_commit_and_no_row_and_the_next_run_finishes() {
    each(&EXT4, 20);
}

#[test]
#[ignore = "needs root and a loop device: tests/run faults"]
fn a_power_cut_on_xfs_in_the_middle_of_upkeep_loses_no_commit_and_no_row_and_the_next_run_finishes() {
    each(&XFS, 40);
}
