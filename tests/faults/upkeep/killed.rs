//! SIGKILL in the middle of maintenance and cleanup, ten times in each chore. Where it falls
//! follows from the number of the case, not from a clock: at the entry of a system call that strace
//! counts.

use super::chores::{self, Chore};
use super::{CALLS, Upkeep};
use crate::scene::said;
use crate::seeds::{below, cases};
use crate::support::skip;
use crate::tracer::{self, Tracer};

/// Of each chore.
const KILLS: u64 = 10;

fn kills(chore: &'static Chore) {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    let mut upkeep = Upkeep::new(chore, "normal", |_| ());
    let places = [upkeep.files(), Vec::new()];
    // A first look at what there is to be killed in: among the calls on the database's files, and
    // among all.
    let kinds = [0, 1].map(|place| {
        let before = upkeep.make_due();
        let strace = Tracer::new(CALLS).of(places[place].clone());
        let (traced, most) = strace.count(&upkeep.sandbox, &upkeep.arguments());
        assert!(traced.output.status.success(), "{}", said(&traced.output));
        assert!(said(&traced.output).contains(chore.says), "{}", said(&traced.output));
        assert!(upkeep.is_done(), "{}", said(&traced.output));
        upkeep.assert_unharmed(&before);
        most.into_iter().collect::<Vec<_>>()
    });
    let cases = cases(chore.first_case, KILLS);
    let (mut killed, mut unfinished) = (0, 0);
    for case in &cases {
        // One third anywhere: before, between and after what is done to the database.
        let place = usize::from(case % 3 == 2);
        let (kind, most) = &kinds[place][below(*case, 0, kinds[place].len())];
        let mut nth = 1 + below(*case, 1, *most);
        loop {
            let before = upkeep.make_due();
            println!(
                "{}, case {case}: {kind} number {nth}, {}",
                chore.name,
                ["on the database", "anywhere"][place]
            );
            let strace = Tracer::new(CALLS).of(places[place].clone()).inject(kind, "signal=KILL", nth);
            let traced = strace.run(&upkeep.sandbox, &upkeep.arguments());
            upkeep.assert_unharmed(&before);
            upkeep.assert_honest(&before);
            if traced.was_killed() {
                killed += 1;
                unfinished += u32::from(!upkeep.is_done());
            } else {
                assert_eq!(traced.output.status.code(), Some(0), "{}", said(&traced.output));
                assert!(upkeep.is_done(), "{}", said(&traced.output));
            }
            upkeep.assert_next_run_finishes(&before);
            if traced.was_killed() || nth == 1 {
                break;
            }
            // It took fewer calls than the first look: batches and slices adapt to the speed of the
            // moment.
            nth /= 2;
        }
    }
    println!("{}: {killed} of {} killed, {unfinished} with something left to do", chore.name, cases.len());
    // The others never made a call of that kind.
    assert!(cases.len() < 10 || (killed >= 8 && unfinished >= 1), "{killed} killed, {unfinished} unfinished");
    upkeep.end();
}

#[test]
fn a_kill_while_an_index_is_created_harms_nothing_and_the_next_run_creates_it() {
    kills(&chores::INDEX);
}

#[test]
fn a_kill_while_indexes_are_rebuilt_harms_nothing_and_the_next_run_rebuilds_them() {
    kills(&chores::REINDEX);
}

#[test]
fn a_kill_in_a_vacuum_harms_nothing_and_the_next_run_frees_the_pages() {
    kills(&chores::VACUUM);
}

#[test]
fn a_kill_in_a_vacuum_in_rollback_mode_harms_nothing_and_the_next_run_frees_the_pages() {
    kills(&chores::VACUUM_WITH_JOURNAL);
}

#[test]
fn a_kill_while_a_compact_copy_is_put_in_place_harms_nothing_and_the_next_run_frees_the_pages() {
    kills(&chores::COMPACTION);
}

#[test]
fn a_kill_in_an_incremental_vacuum_harms_nothing_and_the_next_run_goes_on() {
    kills(&chores::INCREMENTAL);
}

#[test]
fn a_kill_while_statistics_are_made_harms_nothing_and_the_next_run_makes_them() {
    kills(&chores::ANALYZE);
}

#[test]
fn a_kill_in_a_checkpoint_harms_nothing_and_the_next_run_empties_the_log() {
    kills(&chores::CHECKPOINT);
}

#[test]
fn a_kill_in_a_cleanup_removes_whole_batches_and_nothing_else_and_the_next_run_goes_on() {
    kills(&chores::CLEAN_UP);
}

#[test]
fn a_kill_in_a_cleanup_in_rollback_mode_removes_whole_batches_and_nothing_else_and_the_next_run_goes_on() {
    kills(&chores::CLEAN_UP_WITH_JOURNAL);
}

#[test]
fn a_kill_anywhere_in_maintenance_harms_nothing_and_the_next_run_does_what_is_left() {
    kills(&chores::ALL);
}
