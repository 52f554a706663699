//! Who may start, against the rules put as plainly as they can be.

use litekeeper::config::JobKind;
use litekeeper::schedule::admission::{Admission, Ticket, Verdict};
use proptest::prelude::*;
use std::collections::BTreeSet;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn exclusive(kind: JobKind) -> bool {
    !matches!(kind, JobKind::Health | JobKind::Watch)
}

fn ticket(database: &str, kind: JobKind) -> Ticket {
    Ticket { database: database.to_owned(), kind, exclusive: exclusive(kind) }
}

#[test]
fn queues_a_second_exclusive_job_of_a_database() {
    let mut admission = Admission::new(2);
    assert_eq!(admission.request("a", JobKind::Backup, true), Verdict::Start);
    assert_eq!(admission.request("a", JobKind::Maintain, true), Verdict::Queued);
    assert_eq!(admission.request("b", JobKind::Backup, true), Verdict::Start);
    assert_eq!(admission.finished("b", JobKind::Backup), []);
    assert_eq!(admission.finished("a", JobKind::Backup), [ticket("a", JobKind::Maintain)]);
}

#[test]
fn skips_a_job_that_runs_or_waits() {
    let mut admission = Admission::new(1);
    assert_eq!(admission.request("a", JobKind::Backup, true), Verdict::Start);
    assert_eq!(admission.request("a", JobKind::Backup, true), Verdict::Skipped);
    assert_eq!(admission.request("a", JobKind::Cleanup, true), Verdict::Queued);
    assert_eq!(admission.request("a", JobKind::Cleanup, true), Verdict::Skipped);
    assert_eq!(admission.request("a", JobKind::Health, false), Verdict::Start);
    assert_eq!(admission.request("a", JobKind::Health, false), Verdict::Skipped);
}

#[test]
fn never_makes_a_shared_job_wait() {
    let mut admission = Admission::new(1);
    assert_eq!(admission.request("a", JobKind::Maintain, true), Verdict::Start);
    assert_eq!(admission.request("a", JobKind::Watch, false), Verdict::Start);
    assert_eq!(admission.request("b", JobKind::Health, false), Verdict::Start);
    assert_eq!(admission.request("b", JobKind::Backup, true), Verdict::Queued);
}

#[test]
fn does_not_hold_up_other_databases_behind_one_that_is_busy() {
    let mut admission = Admission::new(2);
    admission.request("a", JobKind::Backup, true);
    admission.request("b", JobKind::Backup, true);
    assert_eq!(admission.request("a", JobKind::Cleanup, true), Verdict::Queued);
    assert_eq!(admission.request("c", JobKind::Backup, true), Verdict::Queued);
    assert_eq!(admission.finished("b", JobKind::Backup), [ticket("c", JobKind::Backup)]);
    assert_eq!(admission.finished("a", JobKind::Backup), [ticket("a", JobKind::Cleanup)]);
}

#[test]
fn starts_more_when_a_reload_widens_it() {
    let mut admission = Admission::new(1);
    admission.request("a", JobKind::Backup, true);
    admission.request("b", JobKind::Backup, true);
    admission.request("c", JobKind::Backup, true);
    assert_eq!(admission.set_width(3), [ticket("b", JobKind::Backup), ticket("c", JobKind::Backup)]);
}

#[derive(Debug, Clone)]
enum Step {
    Request(usize, JobKind),
    Finish(prop::sample::Index),
    SetWidth(usize),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..NAMES.len(), prop::sample::select(JobKind::ALL.to_vec())).prop_map(|(n, k)| Step::Request(n, k)),
        5 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => (0..4_usize).prop_map(Step::SetWidth),
        1 => (0..NAMES.len()).prop_map(Step::Remove),
    ]
}

/// The rules as plainly as they can be put: after each event, while anyone in the line may start, the
/// first who may does.
#[derive(Default)]
struct Model {
    width: usize,
    running: Vec<Ticket>,
    line: Vec<Ticket>,
}

impl Model {
    fn settle(&mut self) -> Vec<Ticket> {
        let mut started = Vec::new();
        loop {
            let takes_place: Vec<_> = self.running.iter().filter(|t| t.exclusive).cloned().collect();
            let may_start = |t: &Ticket| {
                let free = takes_place.iter().all(|other| other.database != t.database);
                !t.exclusive || free && takes_place.len() < self.width
            };
            let Some(first) = self.line.iter().position(may_start) else { return started };
            let ticket = self.line.remove(first);
            self.running.push(ticket.clone());
            started.push(ticket);
        }
    }

    fn request(&mut self, ticket: Ticket) -> Verdict {
        if self.running.contains(&ticket) || self.line.contains(&ticket) {
            return Verdict::Skipped;
        }
        self.line.push(ticket);
        if self.settle().is_empty() { Verdict::Queued } else { Verdict::Start }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_plain_rules_and_starves_nobody(
        width in 1..4_usize, steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut admission = Admission::new(width);
        let mut model = Model { width, ..Model::default() };
        for step in steps {
            let busy_before = admission.running().filter(|&(_, kind)| exclusive(kind)).count();
            match step {
                Step::Request(n, kind) => {
                    let verdict = admission.request(NAMES[n], kind, exclusive(kind));
                    prop_assert_eq!(verdict, model.request(ticket(NAMES[n], kind)));
                }
                Step::Finish(_) if model.running.is_empty() => {}
                Step::Finish(index) => {
                    let done = model.running.remove(index.index(model.running.len()));
                    prop_assert_eq!(admission.finished(&done.database, done.kind), model.settle());
                }
                Step::SetWidth(width) => {
                    model.width = width.max(1);
                    prop_assert_eq!(admission.set_width(width), model.settle());
                }
                Step::Remove(n) => {
                    let (gone, stay): (Vec<_>, Vec<_>) =
                        model.line.drain(..).partition(|t| t.database == NAMES[n]);
                    model.line = stay;
                    prop_assert_eq!(admission.remove_database(NAMES[n]), gone);
                }
            }
            let busy: Vec<_> =
                admission.running().filter(|&(_, kind)| exclusive(kind)).map(|(name, _)| name).collect();
            let distinct: BTreeSet<_> = busy.iter().collect();
            prop_assert_eq!(busy.len(), distinct.len(), "two exclusive jobs on one database");
            // A narrower width stops nobody, but nobody starts beyond it.
            prop_assert!(busy.len() <= model.width.max(busy_before));
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
            prop_assert!(ends <= NAMES.len() * JobKind::ALL.len());
        }
        prop_assert_eq!(admission.queued().count(), 0);
    }
}
