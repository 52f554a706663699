//! Rotation: by example, against a naive model, and the promises that hold whatever the policy.

use chrono::{DateTime, Datelike, Offset, TimeDelta, Timelike, Utc};
use litekeeper::config::Keep;
use litekeeper::store::State;
use litekeeper::store::rotation::{Candidate, Decision, plan};
use litekeeper::zone::Zone;
use proptest::prelude::*;
use std::collections::HashSet;

const NOTHING: Keep = Keep { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };

fn at(text: &str) -> DateTime<Utc> {
    format!("{text}Z").parse().unwrap()
}

fn good(sequence: u64, time: &str) -> Candidate {
    Candidate {
        name: format!("app_{sequence}"),
        time: at(time),
        sequence: Some(sequence),
        state: State::Good,
        verified: false,
        of_damaged_database: false,
        pinned: false,
        in_use: false,
    }
}

/// What stays, as `name: reason, reason`.
fn berlin() -> Zone {
    Zone::named("Europe/Berlin").unwrap()
}

fn kept(backups: &[Candidate], keep: &Keep, zone: Zone) -> Vec<String> {
    plan(backups, keep, zone).into_iter().filter(|d| d.keep).map(|d| shown(&d)).collect()
}

fn gone(backups: &[Candidate], keep: &Keep) -> Vec<String> {
    plan(backups, keep, Zone::UTC).into_iter().filter(|d| !d.keep).map(|d| shown(&d)).collect()
}

fn shown(decision: &Decision) -> String {
    let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
    format!("{}: {}", decision.name, reasons.join(", "))
}

#[test]
fn keeps_the_newest_and_says_why() {
    let backups: Vec<_> = (1..=5).map(|n| good(n, &format!("2026-11-23T0{n}:00:00"))).rev().collect();
    let keep = Keep { last: 2, ..NOTHING };
    assert_eq!(kept(&backups, &keep, Zone::UTC), ["app_5: last 1 of 2, newest good", "app_4: last 2 of 2"]);
    assert_eq!(gone(&backups, &keep)[0], "app_3: past keep_last = 2");
}

#[test]
fn keeps_the_newest_of_each_of_the_last_periods_that_have_one() {
    let backups = [
        good(6, "2026-11-23T05:50:00"),
        good(5, "2026-11-23T05:10:00"),
        good(4, "2026-11-23T03:00:00"),
        good(3, "2026-11-22T23:00:00"),
        good(2, "2026-11-01T12:00:00"),
        good(1, "2025-12-31T12:00:00"),
    ];
    let only = |keep: &Keep| kept(&backups, keep, Zone::UTC);
    assert_eq!(
        only(&Keep { hourly: 3, ..NOTHING }),
        [
            "app_6: hourly 2026-11-23 05h, newest good",
            "app_4: hourly 2026-11-23 03h",
            "app_3: hourly 2026-11-22 23h"
        ]
    );
    assert_eq!(
        only(&Keep { daily: 3, ..NOTHING }),
        ["app_6: daily 2026-11-23, newest good", "app_3: daily 2026-11-22", "app_2: daily 2026-11-01"]
    );
    // The 23rd is a Monday.
    assert_eq!(
        only(&Keep { weekly: 2, ..NOTHING }),
        ["app_6: weekly 2026-W48, newest good", "app_3: weekly 2026-W47"]
    );
    assert_eq!(
        only(&Keep { monthly: 9, yearly: 9, ..NOTHING }),
        ["app_6: monthly 2026-11, yearly 2026, newest good", "app_1: monthly 2025-12, yearly 2025"]
    );
    assert_eq!(
        gone(&backups, &Keep { last: 1, daily: 7, ..NOTHING })[0],
        "app_5: past keep_last = 1, keep_daily = 7"
    );
}

#[test]
fn days_are_those_of_the_zone_and_both_hours_of_one_name_count() {
    // In Berlin the first is on the 24th already.
    let backups = [good(2, "2026-11-23T23:30:00"), good(1, "2026-11-23T12:00:00")];
    let keep = Keep { daily: 2, ..NOTHING };
    assert_eq!(kept(&backups, &keep, Zone::UTC).len(), 1);
    assert_eq!(kept(&backups, &keep, berlin()).len(), 2);
    // 2026-10-25 in Berlin has 02:30 twice, an hour apart.
    let backups = [good(2, "2026-10-25T01:30:00"), good(1, "2026-10-25T00:30:00")];
    assert_eq!(kept(&backups, &Keep { hourly: 2, ..NOTHING }, berlin()).len(), 2);
}

#[test]
fn h26_never_removes_the_newest_good_or_verified_a_pinned_or_a_used_one() {
    let mut backups: Vec<_> = (1..=6).map(|n| good(n, &format!("2026-11-23T0{n}:00:00"))).rev().collect();
    backups[2].verified = true;
    backups[3].verified = true;
    backups[4].pinned = true;
    backups[5].in_use = true;
    assert_eq!(
        kept(&backups, &NOTHING, Zone::UTC),
        ["app_6: newest good", "app_4: newest verified", "app_2: pinned", "app_1: in use"]
    );
    assert_eq!(gone(&backups, &NOTHING)[0], "app_5: every keep_* is 0");
}

#[test]
fn bad_ones_count_for_nothing_and_stay_until_a_good_one_is_newer() {
    let mut backups: Vec<_> = (1..=5).map(|n| good(n, &format!("2026-11-23T0{n}:00:00"))).rev().collect();
    backups[0].state = State::Incomplete;
    backups[0].sequence = None;
    backups[1].state = State::Damaged("it has 1 bytes, not 2".into());
    backups[3].state = State::Damaged("it has 3 bytes, not 4".into());
    backups[4].state = State::Incomplete;
    backups[4].sequence = None;
    assert_eq!(
        kept(&backups, &Keep { last: 2, ..NOTHING }, Zone::UTC),
        [
            "app_5: it has no manifest; remove it by hand if nobody needs it",
            "app_4: damaged: it has 1 bytes, not 2, and no good one was made after it",
            "app_3: last 1 of 2, newest good",
            "app_1: it has no manifest; remove it by hand if nobody needs it",
        ]
    );
    assert_eq!(
        gone(&backups, &Keep { last: 2, ..NOTHING }),
        ["app_2: damaged: it has 3 bytes, not 4, and a good one was made after it",]
    );
}

#[test]
fn of_the_copies_of_a_damaged_database_the_newest_three_stay_beside_all_others() {
    let mut backups: Vec<_> = (1..=8).map(|n| good(n, &format!("2026-11-23T0{n}:00:00"))).rev().collect();
    for backup in &mut backups[..5] {
        backup.state = State::Damaged("malformed".into());
        backup.of_damaged_database = true;
    }
    // Damaged by what it lies on: nothing like it is made again.
    backups[5].state = State::Damaged("short".into());
    let keep = Keep { last: 9, ..NOTHING };
    let kept: Vec<_> =
        plan(&backups, &keep, Zone::UTC).into_iter().filter(|d| d.keep).map(|d| d.name).collect();
    assert_eq!(kept, ["app_8", "app_7", "app_6", "app_3", "app_2", "app_1"]);
    let why = "a copy of a damaged database, of which 3 newer ones are kept";
    assert_eq!(gone(&backups, &keep), [format!("app_5: {why}"), format!("app_4: {why}")]);
}

#[test]
fn what_it_cannot_judge_it_leaves_alone() {
    let mut backups = vec![good(2, "2026-11-23T02:00:00"), good(1, "2026-11-23T01:00:00")];
    backups[1].state = State::Unknown("the manifest has format 2".into());
    backups[1].sequence = None;
    assert_eq!(kept(&backups, &NOTHING, Zone::UTC)[1], "app_1: the manifest has format 2");
}

#[test]
fn backups_made_after_the_clock_was_set_back_are_not_taken_for_old_ones() {
    let mut backups: Vec<_> = (1..=3).map(|n| good(n, &format!("2099-01-01T0{n}:00:00"))).collect();
    backups.push(good(4, "2026-11-23T05:00:00"));
    backups.push(good(5, "2026-11-23T06:00:00"));
    let keep = Keep { last: 2, ..NOTHING };
    assert_eq!(kept(&backups, &keep, Zone::UTC), ["app_4: last 2 of 2", "app_5: last 1 of 2, newest good"]);
    let keep = Keep { daily: 1, ..NOTHING };
    assert_eq!(kept(&backups, &keep, Zone::UTC), ["app_5: daily 2026-11-23, newest good"]);
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let state = prop_oneof![
        6 => Just(State::Good),
        1 => Just(State::Incomplete),
        1 => Just(State::Unconfirmed),
        3 => Just(State::Damaged("short".into())),
        1 => Just(State::Unknown("newer".into())),
    ];
    // Minutes over three years, clustered so that periods are shared; the order of making is the
    // list's.
    let minute = prop_oneof![0..180_i64, 0..20_000_i64, 0..1_600_000_i64];
    let one = (minute, state, any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    prop::collection::vec(one, 0..25).prop_map(|all| {
        let made =
            |(n, (minute, state, verified, pinned, in_use)): (usize, (i64, State, bool, bool, bool))| {
                let unread = matches!(state, State::Incomplete | State::Unknown(_));
                Candidate {
                    name: format!("app_{n}"),
                    time: at("2024-12-30T00:00:00") + TimeDelta::minutes(minute),
                    sequence: (!unread).then_some(n as u64 + 1),
                    verified: verified && state == State::Good,
                    of_damaged_database: verified && matches!(state, State::Damaged(_)),
                    state,
                    pinned,
                    in_use,
                }
            };
        all.into_iter().enumerate().map(made).collect()
    })
}

prop_compose! {
    fn policies()(last in 0..5_u32, hourly in 0..5_u32, daily in 0..5_u32, weekly in 0..4_u32,
                  monthly in 0..4_u32, yearly in 0..3_u32) -> Keep {
        Keep { last, hourly, daily, weekly, monthly, yearly }
    }
}

fn stays(backups: &[Candidate], keep: &Keep) -> Vec<bool> {
    plan(backups, keep, berlin()).into_iter().map(|d| d.keep).collect()
}

/// Whether one backup stays, from the words of the policy alone, by counting the good ones made
/// after it.
fn naive(backups: &[Candidate], this: &Candidate, keep: &Keep) -> bool {
    let untold = matches!(this.state, State::Unknown(_) | State::Incomplete | State::Unconfirmed);
    if this.pinned || this.in_use || untold {
        return true;
    }
    let all_good: Vec<&Candidate> = backups.iter().filter(|b| b.state == State::Good).collect();
    if this.state != State::Good {
        let later = |g: &&Candidate| match this.sequence {
            Some(n) => g.sequence.unwrap() > n,
            None => g.time > this.time,
        };
        let newer = |b: &&Candidate| b.of_damaged_database && b.sequence > this.sequence;
        let is_enough = this.of_damaged_database && backups.iter().filter(newer).count() >= 3;
        return !is_enough && !all_good.iter().any(later);
    }
    let later: Vec<&Candidate> = all_good.into_iter().filter(|b| b.sequence > this.sequence).collect();
    let newest_of = |n: u32, period: &dyn Fn(&Candidate) -> Vec<i32>| {
        let periods: HashSet<Vec<i32>> = later.iter().map(|b| period(b)).collect();
        !periods.contains(&period(this)) && periods.len() < n as usize
    };
    let local = |b: &Candidate| b.time.with_timezone(&berlin());
    later.is_empty()
        || (this.verified && !later.iter().any(|b| b.verified))
        || later.len() < keep.last as usize
        || newest_of(keep.hourly, &|b| {
            let t = local(b);
            vec![t.num_days_from_ce(), t.hour().cast_signed(), t.offset().fix().local_minus_utc()]
        })
        || newest_of(keep.daily, &|b| vec![local(b).num_days_from_ce()])
        // Day 1 of the common era was a Monday.
        || newest_of(keep.weekly, &|b| vec![(local(b).num_days_from_ce() - 1) / 7])
        || newest_of(keep.monthly, &|b| vec![local(b).year(), local(b).month().cast_signed()])
        || newest_of(keep.yearly, &|b| vec![local(b).year()])
}

proptest! {
    #[test]
    fn agrees_with_the_words_of_the_policy(backups in candidates(), keep in policies()) {
        let expected: Vec<bool> = backups.iter().map(|b| naive(&backups, b, &keep)).collect();
        prop_assert_eq!(stays(&backups, &keep), expected);
    }

    #[test]
    fn a_larger_policy_never_removes_more(backups in candidates(), keep in policies(), more in policies()) {
        let larger = Keep {
            last: keep.last + more.last,
            hourly: keep.hourly + more.hourly,
            daily: keep.daily + more.daily,
            weekly: keep.weekly + more.weekly,
            monthly: keep.monthly + more.monthly,
            yearly: keep.yearly + more.yearly,
        };
        for (small, large) in stays(&backups, &keep).into_iter().zip(stays(&backups, &larger)) {
            prop_assert!(large || !small);
        }
    }

    #[test]
    fn a_second_rotation_removes_nothing_more(backups in candidates(), keep in policies()) {
        let mut once = stays(&backups, &keep).into_iter();
        let mut left = backups;
        left.retain(|_| once.next().unwrap());
        prop_assert!(stays(&left, &keep).into_iter().all(|s| s));
    }

    #[test]
    fn every_decision_has_a_reason_and_the_order_of_the_list_does_not_matter(
        backups in candidates(), keep in policies(),
    ) {
        let mut there = plan(&backups, &keep, Zone::UTC);
        prop_assert!(there.iter().all(|d| !d.reasons.is_empty()));
        let mut back = backups;
        back.reverse();
        there.reverse();
        prop_assert_eq!(plan(&back, &keep, Zone::UTC), there);
    }
}
