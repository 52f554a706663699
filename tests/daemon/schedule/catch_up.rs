//! Which missed runs are caught up.

use super::fixtures::{at, database, every, spread};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use litekeeper::config::When;
use litekeeper::schedule::catch_up::{self, LastStart};
use litekeeper::schedule::jitter;
use litekeeper::terms::JobKind;
use std::time::Duration;

fn missed(jobs: &[(JobKind, When)], started: &[(JobKind, &str)], now: &str) -> Vec<(JobKind, DateTime<Utc>)> {
    let last = |kind| started.iter().find(|(of, _)| *of == kind).map(|(_, time)| LastStart::At(at(time)));
    catch_up::missed(&database("x", jobs), &JobKind::SCHEDULED, Tz::UTC, last, at(now))
}

#[test]
fn are_caught_up_once_with_the_latest_due_time() {
    let jobs = [(JobKind::Backup, every("@hourly")), (JobKind::Maintain, every("0 3 * * *"))];
    let started = [(JobKind::Backup, "2027-01-01T10:00:01Z"), (JobKind::Maintain, "2027-01-01T03:00:01Z")];
    let expected =
        [(JobKind::Backup, at("2027-01-03T12:00:00Z")), (JobKind::Maintain, at("2027-01-03T03:00:00Z"))];
    assert_eq!(missed(&jobs, &started, "2027-01-03T12:30:00Z"), expected);
}

#[test]
fn are_none_when_nothing_was_due_meanwhile() {
    let jobs = [(JobKind::Backup, every("@hourly"))];
    assert_eq!(missed(&jobs, &[(JobKind::Backup, "2027-01-01T10:00:01Z")], "2027-01-01T10:59:59Z"), []);
}

#[test]
fn are_none_for_a_job_that_has_never_run() {
    assert_eq!(missed(&[(JobKind::Maintain, every("* * * * *"))], &[], "2027-01-01T00:00:00Z"), []);
}

#[test]
fn are_none_when_the_last_run_lies_in_the_future() {
    let jobs = [(JobKind::Backup, every("@hourly"))];
    assert_eq!(missed(&jobs, &[(JobKind::Backup, "2099-01-01T00:00:00Z")], "2027-01-01T00:30:00Z"), []);
}

#[test]
fn are_made_good_where_nobody_knows_when_the_last_one_was() {
    let jobs = [(JobKind::Maintain, every("0 3 29 2 *"))];
    let missed = |last: Option<LastStart>, now| {
        catch_up::missed(&database("x", &jobs), &[JobKind::Maintain], Tz::UTC, |_| last, at(now))
    };
    let due = [(JobKind::Maintain, at("2024-02-29T03:00:00Z"))];
    assert_eq!(missed(Some(LastStart::Unknown), "2027-12-31T00:00:00Z"), due);
    assert_eq!(missed(None, "2027-12-31T00:00:00Z"), []);
}

#[test]
fn are_left_alone_without_catch_up() {
    let jobs = [(JobKind::Backup, When { catch_up: false, ..every("@hourly") })];
    assert_eq!(missed(&jobs, &[(JobKind::Backup, "2027-01-01T10:00:01Z")], "2027-01-03T00:30:00Z"), []);
}

#[test]
fn are_not_those_whose_jitter_has_yet_to_pass() {
    let jitter = Duration::from_secs(3600);
    let due_at = at("2027-01-03T03:00:00Z");
    let starts_at = due_at + jitter::offset("x", JobKind::Backup, due_at, jitter);
    let jobs = [(JobKind::Backup, spread("0 3 * * *", jitter))];
    let at_time = |now: DateTime<Utc>, last| missed(&jobs, &[(JobKind::Backup, last)], &now.to_rfc3339());
    let just_before = starts_at - TimeDelta::milliseconds(1);
    assert_eq!(at_time(just_before, "2027-01-02T04:00:00Z"), []);
    assert_eq!(at_time(starts_at, "2027-01-02T04:00:00Z"), [(JobKind::Backup, due_at)]);
    let day_before = at("2027-01-02T03:00:00Z");
    assert_eq!(at_time(just_before, "2027-01-01T12:00:00Z"), [(JobKind::Backup, day_before)]);
}
