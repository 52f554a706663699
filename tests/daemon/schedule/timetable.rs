//! Next runs, and what is due.

use super::fixtures::{at, database, every, spread, zone};
use chrono::TimeDelta;
use litekeeper::config::When;
use litekeeper::schedule::jitter;
use litekeeper::schedule::timetable::Timetable;
use litekeeper::terms::JobKind;
use litekeeper::zone::Zone;
use std::time::Duration;

fn table(jobs: &[(JobKind, When)], now: &str) -> Timetable {
    let mut table = Timetable::new(Zone::UTC);
    table.set_database(&database("x", jobs), &JobKind::SCHEDULED, at(now));
    table
}

fn due(table: &mut Timetable, now: &str) -> Vec<(JobKind, String)> {
    let due = table.due(at(now));
    due.into_iter().map(|due| (due.kind, due.due_at.format("%F %T").to_string())).collect()
}

#[test]
fn gives_each_job_when_it_is_due() {
    let jobs = [(JobKind::Backup, every("@hourly")), (JobKind::Health, every("*/15 * * * *"))];
    let mut table = table(&jobs, "2027-01-01T00:50:00Z");
    assert_eq!(due(&mut table, "2027-01-01T00:59:59Z"), []);
    let both = [JobKind::Backup, JobKind::Health].map(|kind| (kind, "2027-01-01 01:00:00".to_owned()));
    assert_eq!(due(&mut table, "2027-01-01T01:00:00Z"), both);
    assert_eq!(due(&mut table, "2027-01-01T01:00:01Z"), []);
    assert_eq!(table.next_run("x", JobKind::Backup), Some(at("2027-01-01T02:00:00Z")));
    assert_eq!(table.next_run("x", JobKind::Maintain), None);
}

#[test]
fn runs_once_what_came_due_many_times_while_the_machine_slept() {
    let mut table = table(&[(JobKind::Backup, every("@hourly"))], "2027-01-01T00:30:00Z");
    assert_eq!(due(&mut table, "2027-01-05T07:20:00Z").len(), 1);
    assert_eq!(due(&mut table, "2027-01-05T07:20:01Z"), []);
    assert_eq!(table.next_run("x", JobKind::Backup), Some(at("2027-01-05T08:00:00Z")));
}

#[test]
fn goes_on_when_a_wrong_clock_is_set_back() {
    let mut table = table(&[(JobKind::Backup, every("@hourly"))], "2099-01-01T00:30:00Z");
    assert_eq!(due(&mut table, "2099-01-01T00:30:01Z"), []);
    assert_eq!(due(&mut table, "2027-01-01T00:30:00Z"), []);
    assert_eq!(table.next_run("x", JobKind::Backup), Some(at("2027-01-01T01:00:00Z")));
    assert_eq!(due(&mut table, "2027-01-01T01:00:00Z").len(), 1);
}

#[test]
fn does_not_run_twice_when_the_clock_is_disciplined_by_a_second() {
    let mut table = table(&[(JobKind::Backup, every("@hourly"))], "2027-01-01T00:30:00Z");
    assert_eq!(due(&mut table, "2027-01-01T01:00:00Z").len(), 1);
    assert_eq!(due(&mut table, "2027-01-01T00:59:59Z"), []);
    assert_eq!(due(&mut table, "2027-01-01T01:00:00Z"), []);
}

#[test]
fn keeps_what_a_reload_did_not_change() {
    let backup = (JobKind::Backup, every("@hourly"));
    let mut table = table(&[backup.clone(), (JobKind::Health, every("0 * * * *"))], "2027-01-01T00:30:00Z");
    // The reload comes between the due time and the tick that would have seen it.
    let changed = database("x", &[backup, (JobKind::Health, every("30 * * * *"))]);
    table.set_database(&changed, &JobKind::SCHEDULED, at("2027-01-01T01:00:00.400Z"));
    assert_eq!(
        due(&mut table, "2027-01-01T01:00:01Z"),
        [(JobKind::Backup, "2027-01-01 01:00:00".to_owned())]
    );
    assert_eq!(table.next_run("x", JobKind::Health), Some(at("2027-01-01T01:30:00Z")));
}

#[test]
fn forgets_removed_jobs_and_databases() {
    let mut table = table(&[(JobKind::Backup, every("@hourly"))], "2027-01-01T00:30:00Z");
    let other = database("y", &[(JobKind::Backup, every("@hourly"))]);
    table.set_database(&other, &JobKind::SCHEDULED, at("2027-01-01T00:30:00Z"));
    table.set_database(&other, &[JobKind::Health], at("2027-01-01T00:30:00Z"));
    assert_eq!(table.next_run("y", JobKind::Backup), None);
    assert!(table.next_run("x", JobKind::Backup).is_some());
    table.remove_database("x");
    assert_eq!(table.next_run("x", JobKind::Backup), None);
    assert_eq!(due(&mut table, "2027-01-02T00:00:00Z"), []);
}

#[test]
fn reads_schedules_in_a_new_zone_after_a_reload() {
    let mut table = table(&[(JobKind::Backup, every("0 3 * * *"))], "2027-01-01T00:30:00Z");
    table.set_zone(zone("Europe/Berlin"), at("2027-01-01T00:30:00Z"));
    assert_eq!(table.next_run("x", JobKind::Backup), Some(at("2027-01-01T02:00:00Z")));
}

#[test]
fn keeps_a_run_that_waits_for_its_jitter_over_a_restart() {
    let jitter = Duration::from_secs(3600);
    let due_at = at("2027-01-01T03:00:00Z");
    let starts_at = due_at + jitter::offset("x", JobKind::Backup, due_at, jitter);
    let jobs = [(JobKind::Backup, spread("0 3 * * *", jitter))];
    let restarted = (due_at + (starts_at - due_at) / 2).to_rfc3339();
    let mut table = table(&jobs, &restarted);
    assert_eq!(table.next_run("x", JobKind::Backup), Some(starts_at));
    assert_eq!(table.due(starts_at - TimeDelta::milliseconds(1)), []);
    assert_eq!(table.due(starts_at)[0].due_at, due_at);
    assert!(table.next_run("x", JobKind::Backup) >= Some(at("2027-01-02T03:00:00Z")));
}
