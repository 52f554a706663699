//! Who may start, against the rules put as plainly as they can be.

use litekeeper::schedule::admission::{Admission, Claim, Decision, Ticket, Width};
use litekeeper::terms::JobKind;
use proptest::prelude::*;
use std::collections::BTreeSet;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The first two databases share a disk; nobody knows that of the last.
fn claim(database: &str, kind: JobKind) -> Claim {
    Claim {
        exclusive: !matches!(kind, JobKind::Health | JobKind::Watch | JobKind::Verify | JobKind::Integrity),
        heavy: kind.is_heavy(),
        disk: match database {
            "a" | "b" => Some(1),
            "c" => Some(2),
            _ => None,
        },
    }
}

fn ticket(database: &str, kind: JobKind) -> Ticket {
    Ticket { database: database.to_owned(), kind, claim: claim(database, kind) }
}

fn width(all: usize) -> Width {
    Width { all, per_disk: 0 }
}

fn request(admission: &mut Admission, database: &str, kind: JobKind) -> Decision {
    admission.request(database, kind, claim(database, kind))
}

#[test]
fn queues_a_second_exclusive_job_of_a_database() {
    let mut admission = Admission::new(width(2));
    assert_eq!(request(&mut admission, "a", JobKind::Backup), Decision::Start);
    assert_eq!(request(&mut admission, "a", JobKind::Maintain), Decision::Queued);
    assert_eq!(request(&mut admission, "b", JobKind::Backup), Decision::Start);
    assert_eq!(admission.finished("b", JobKind::Backup), []);
    assert_eq!(admission.finished("a", JobKind::Backup), [ticket("a", JobKind::Maintain)]);
}

#[test]
fn skips_a_job_that_runs_or_waits() {
    let mut admission = Admission::new(width(1));
    assert_eq!(request(&mut admission, "a", JobKind::Backup), Decision::Start);
    assert_eq!(request(&mut admission, "a", JobKind::Backup), Decision::Skipped);
    assert_eq!(request(&mut admission, "a", JobKind::Cleanup), Decision::Queued);
    assert_eq!(request(&mut admission, "a", JobKind::Cleanup), Decision::Skipped);
    assert_eq!(request(&mut admission, "a", JobKind::Health), Decision::Start);
    assert_eq!(request(&mut admission, "a", JobKind::Health), Decision::Skipped);
}

#[test]
fn never_makes_a_light_job_wait() {
    let mut admission = Admission::new(Width { all: 1, per_disk: 1 });
    assert_eq!(request(&mut admission, "a", JobKind::Maintain), Decision::Start);
    assert_eq!(request(&mut admission, "a", JobKind::Watch), Decision::Start);
    assert_eq!(request(&mut admission, "b", JobKind::Health), Decision::Start);
    assert_eq!(request(&mut admission, "b", JobKind::Backup), Decision::Queued);
}

#[test]
fn makes_an_exclusive_job_that_is_light_wait_for_its_database_alone() {
    let mut admission = Admission::new(Width { all: 1, per_disk: 1 });
    assert_eq!(request(&mut admission, "a", JobKind::Backup), Decision::Start);
    assert_eq!(request(&mut admission, "a", JobKind::Checkpoint), Decision::Queued);
    assert_eq!(request(&mut admission, "b", JobKind::Checkpoint), Decision::Start);
    assert_eq!(request(&mut admission, "b", JobKind::Maintain), Decision::Queued);
    assert_eq!(admission.finished("a", JobKind::Backup), [ticket("a", JobKind::Checkpoint)]);
    assert_eq!(admission.finished("b", JobKind::Checkpoint), [ticket("b", JobKind::Maintain)]);
}

#[test]
fn does_not_hold_up_other_databases_behind_one_that_is_busy() {
    let mut admission = Admission::new(width(2));
    request(&mut admission, "a", JobKind::Backup);
    request(&mut admission, "b", JobKind::Backup);
    assert_eq!(request(&mut admission, "a", JobKind::Cleanup), Decision::Queued);
    assert_eq!(request(&mut admission, "c", JobKind::Backup), Decision::Queued);
    assert_eq!(admission.finished("b", JobKind::Backup), [ticket("c", JobKind::Backup)]);
    assert_eq!(admission.finished("a", JobKind::Backup), [ticket("a", JobKind::Cleanup)]);
}

#[test]
fn starts_no_second_heavy_job_on_a_disk_and_those_of_other_disks_at_once() {
    let mut admission = Admission::new(Width { all: 4, per_disk: 1 });
    assert_eq!(request(&mut admission, "a", JobKind::Backup), Decision::Start);
    assert_eq!(request(&mut admission, "b", JobKind::Verify), Decision::Queued);
    assert_eq!(request(&mut admission, "c", JobKind::Backup), Decision::Start);
    // Of a file that is missing nobody knows the disk; its run will say so.
    assert_eq!(request(&mut admission, "d", JobKind::Backup), Decision::Start);
    assert_eq!(admission.finished("c", JobKind::Backup), []);
    assert_eq!(admission.finished("a", JobKind::Backup), [ticket("b", JobKind::Verify)]);
}

#[test]
fn starts_more_when_a_reload_widens_it() {
    let mut admission = Admission::new(width(1));
    for name in ["a", "b", "c"] {
        request(&mut admission, name, JobKind::Backup);
    }
    assert_eq!(admission.set_width(width(3)), [ticket("b", JobKind::Backup), ticket("c", JobKind::Backup)]);
}

#[derive(Debug, Clone)]
enum Step {
    Request(usize, JobKind),
    Finish(prop::sample::Index),
    SetWidth(usize, usize),
    Remove(usize),
}

fn kind() -> impl Strategy<Value = JobKind> {
    prop::sample::select([&JobKind::SCHEDULED[..], &[JobKind::Checkpoint]].concat())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..NAMES.len(), kind()).prop_map(|(n, k)| Step::Request(n, k)),
        5 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => (0..4_usize, 0..3_usize).prop_map(|(all, disk)| Step::SetWidth(all, disk)),
        1 => (0..NAMES.len()).prop_map(Step::Remove),
    ]
}

/// The rules as plainly as they can be put: after each event, while anyone in the line may start,
/// the first who may does.
struct Model {
    width: Width,
    running: Vec<Ticket>,
    line: Vec<Ticket>,
}

impl Model {
    fn settle(&mut self) -> Vec<Ticket> {
        let mut started = Vec::new();
        loop {
            let heavy: Vec<_> = self.running.iter().filter(|t| t.claim.heavy).cloned().collect();
            let may_start = |t: &Ticket| {
                let rival = |other: &Ticket| other.claim.exclusive && other.database == t.database;
                if t.claim.exclusive && self.running.iter().any(rival) {
                    return false;
                }
                let on_disk = heavy.iter().filter(|other| other.claim.disk == t.claim.disk).count();
                let disk_has_room =
                    t.claim.disk.is_none() || self.width.per_disk == 0 || on_disk < self.width.per_disk;
                !t.claim.heavy || heavy.len() < self.width.all.max(1) && disk_has_room
            };
            let Some(first) = self.line.iter().position(may_start) else { return started };
            let ticket = self.line.remove(first);
            self.running.push(ticket.clone());
            started.push(ticket);
        }
    }

    fn request(&mut self, ticket: Ticket) -> Decision {
        if self.running.contains(&ticket) || self.line.contains(&ticket) {
            return Decision::Skipped;
        }
        self.line.push(ticket);
        if self.settle().is_empty() { Decision::Queued } else { Decision::Start }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_plain_rules_and_starves_nobody(
        all in 1..4_usize, per_disk in 0..3_usize, steps in prop::collection::vec(step(), 1..80),
    ) {
        let width = Width { all, per_disk };
        let mut admission = Admission::new(width);
        let mut model = Model { width, running: Vec::new(), line: Vec::new() };
        for step in steps {
            let busy_before = admission.running().filter(|&(_, kind)| kind.is_heavy()).count();
            match step {
                Step::Request(n, kind) => {
                    let verdict = request(&mut admission, NAMES[n], kind);
                    prop_assert_eq!(verdict, model.request(ticket(NAMES[n], kind)));
                }
                Step::Finish(_) if model.running.is_empty() => {}
                Step::Finish(index) => {
                    let done = model.running.remove(index.index(model.running.len()));
                    prop_assert_eq!(admission.finished(&done.database, done.kind), model.settle());
                }
                Step::SetWidth(all, per_disk) => {
                    model.width = Width { all, per_disk };
                    prop_assert_eq!(admission.set_width(model.width), model.settle());
                }
                Step::Remove(n) => {
                    let (gone, stay): (Vec<_>, Vec<_>) =
                        model.line.drain(..).partition(|t| t.database == NAMES[n]);
                    model.line = stay;
                    prop_assert_eq!(admission.remove_database(NAMES[n]), gone);
                }
            }
            let exclusive: Vec<_> = admission
                .running()
                .filter(|&(name, kind)| claim(name, kind).exclusive)
                .map(|(name, _)| name)
                .collect();
            let distinct: BTreeSet<_> = exclusive.iter().collect();
            prop_assert_eq!(exclusive.len(), distinct.len(), "two exclusive jobs on one database");
            // A narrower width stops nobody, but nobody starts beyond it.
            let busy = admission.running().filter(|&(_, kind)| kind.is_heavy()).count();
            prop_assert!(busy <= model.width.all.max(1).max(busy_before));
            prop_assert_eq!(admission.running().count(), model.running.len());
            let line: Vec<_> = model.line.iter().map(|t| (t.database.as_str(), t.kind)).collect();
            prop_assert_eq!(admission.queued().collect::<Vec<_>>(), line);
        }
        // When runs only end and none are asked for, all that waited get their turn.
        let mut ends = 0;
        let one = |admission: &Admission| {
            admission.running().next().map(|(database, kind)| (database.to_owned(), kind))
        };
        while let Some((database, kind)) = one(&admission) {
            admission.finished(&database, kind);
            ends += 1;
            prop_assert!(ends <= NAMES.len() * (JobKind::SCHEDULED.len() + 1));
        }
        prop_assert_eq!(admission.queued().count(), 0);
    }
}
