//! SIGKILL at a hundred points of a run, removals among them. Where it falls follows from the
//! number of the case, not from a clock: at the entry of a system call that strace counts.

use crate::scene::{Before, Scene, said};
use crate::seeds::below;
use crate::support::backups::directory;
use crate::support::history;
use crate::support::skip;
use crate::tracer::{self, CHANGING, Tracer};
use std::collections::BTreeSet;
use std::path::PathBuf;

const KILLS: u64 = 100;

/// Where a kill is looked for: among all calls, among those in the directory of the backups, among
/// those on the backup that is about to be removed.
fn places(scene: &Scene, before: &Before) -> [Vec<PathBuf>; 3] {
    let directory = directory(&scene.sandbox);
    let oldest = before.backups.first().unwrap();
    let stem = oldest.split('.').next().unwrap();
    let names = [oldest.clone(), format!("{stem}.json")];
    let oldest = names.iter().flat_map(|name| [PathBuf::from(name), directory.join(name)]).collect();
    [Vec::new(), vec![directory], oldest]
}

#[test]
fn a_hundred_kills_anywhere_in_a_run_leave_only_backups_that_restore_and_lose_none() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    let mut scene = Scene::new();
    // A first look at what there is to be killed in.
    let kinds = [0, 1, 2].map(|place| {
        let before = scene.before();
        let strace = Tracer::new(CHANGING).of(places(&scene, &before)[place].clone());
        let (traced, most) = strace.count(&scene.sandbox, &["backup", "attendance"]);
        assert!(traced.output.status.success(), "{}", said(&traced.output));
        scene.assert_nothing_lost(&before);
        most.into_iter().collect::<Vec<_>>()
    });
    let mut sites = BTreeSet::new();
    let (mut killed, mut published, mut half_removed) = (0, 0, 0);
    for case in 0..KILLS {
        let place = usize::try_from(case % 3).unwrap();
        let (kind, most) = &kinds[place][below(case, 0, kinds[place].len())];
        let nth = 1 + below(case, 1, *most);
        let before = scene.before();
        let strace = Tracer::new(CHANGING).of(places(&scene, &before)[place].clone());
        let traced = strace.inject(kind, "signal=KILL", nth).run(&scene.sandbox, &["backup", "attendance"]);
        println!(
            "case {case}: {kind} number {nth}, {}",
            ["anywhere", "in the directory", "on the oldest"][place]
        );
        let made = scene.assert_nothing_lost(&before);
        if traced.was_killed() {
            killed += 1;
            published += u32::from(made.is_some());
            let last = traced.calls.iter().rfind(|call| call.is_the_last()).expect("it ended in no call");
            half_removed += u32::from(last.name() == "unlinkat" && last.text.contains(".json\""));
            sites.insert((place, kind, nth));
        } else {
            assert_eq!(traced.output.status.code(), Some(0), "{}", said(&traced.output));
        }
        // The next one succeeds, and clears up.
        scene.backup();
        let runs = history::runs(&scene.sandbox, "attendance", "backup");
        let open: Vec<_> = runs.iter().filter(|run| run.outcome == "running").collect();
        assert!(open.is_empty(), "{open:?}");
    }
    println!(
        "{killed} killed, {published} after the new one had its name; {half_removed} half removed; {sites:?}"
    );
    assert!(killed >= 80 && sites.len() >= 40, "{killed} killed at {} places", sites.len());
    assert!(
        published >= 5 && half_removed >= 1,
        "{published} after the new one had its name, {half_removed}"
    );
    scene.end();
}
