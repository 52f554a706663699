//! When a blackout begins and ends, against a walk over all minutes.

use crate::fixtures::{at, zone};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use litekeeper::config::Blackout;
use litekeeper::schedule::blackout::{ends, holds, next_change};
use proptest::prelude::*;

fn blackout(windows: &[&str]) -> Blackout {
    let mut blackout = Blackout::default();
    for window in windows {
        blackout.add(window).unwrap_or_else(|fault| panic!("{window}: {}", fault.message));
    }
    blackout
}

#[test]
fn holds_in_the_hours_of_the_zone() {
    let work = blackout(&["08:00-18:00 Mon-Fri"]);
    let berlin = zone("Europe/Berlin");
    // A Monday in winter: Berlin is an hour ahead.
    assert!(!holds(&work, berlin, at("2026-11-23T06:59:59Z")));
    assert!(holds(&work, berlin, at("2026-11-23T07:00:00Z")));
    assert_eq!(ends(&work, berlin, at("2026-11-23T12:00:00.5Z")), Some(at("2026-11-23T17:00:00Z")));
    assert_eq!(ends(&work, berlin, at("2026-11-23T17:00:00Z")), None);
    // From Friday evening to Monday morning.
    assert_eq!(next_change(&work, berlin, at("2026-11-27T17:00:00Z")), Some(at("2026-11-30T07:00:00Z")));
}

#[test]
fn a_window_in_a_repeated_hour_holds_twice_and_one_in_a_gap_not_at_all() {
    let night = blackout(&["02:15-02:45"]);
    let berlin = zone("Europe/Berlin");
    let mut seen = vec![at("2026-10-24T12:00:00Z")];
    for _ in 0..4 {
        seen.push(next_change(&night, berlin, seen[seen.len() - 1]).unwrap());
    }
    let times =
        ["2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z", "2026-10-25T01:45:00Z"];
    assert_eq!(seen[1..], times.map(at));
    assert_eq!(next_change(&night, berlin, at("2027-03-28T00:00:00Z")), Some(at("2027-03-29T00:15:00Z")));
}

#[test]
fn without_windows_nothing_ever_changes() {
    assert_eq!(next_change(&Blackout::default(), Tz::UTC, at("2026-11-23T00:00:00Z")), None);
    assert!(!holds(&Blackout::default(), Tz::UTC, at("2026-11-23T00:00:00Z")));
}

/// Half an hour of daylight saving, a skipped day, saving in the south and around Ramadan among them.
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Santiago",
    "Africa/Casablanca",
];

fn window() -> impl Strategy<Value = String> {
    let days = prop::sample::select(vec!["", " Sun", " Mon-Fri", " Sat,Sun", " Fri-Mon"]);
    ((0..24_u32, 0..4_u32), (0..24_u32, 0..4_u32), days).prop_map(|((h, m), (to_h, to_m), days)| {
        let to =
            if (h, m) == (to_h, to_m) { "24:00".to_owned() } else { format!("{to_h:02}:{:02}", 15 * to_m) };
        format!("{h:02}:{:02}-{to}{days}", 15 * m)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_where_the_walk_over_all_minutes_does(
        windows in prop::collection::vec(window(), 0..3),
        name in prop::sample::select(ZONES.to_vec()),
        // Around the clock changes of 2011, when Samoa skipped a day, and later; some at the very hour.
        hour in 0..24_i64 * 365 * 8, minute in 0..60_i64,
    ) {
        let windows: Vec<&str> = windows.iter().map(String::as_str).collect();
        let blackout = blackout(&windows);
        let zone = zone(name);
        let start: DateTime<Utc> = at("2011-01-01T00:00:00Z") + TimeDelta::minutes(60 * hour + minute);
        let inside = |at: DateTime<Utc>| blackout.covers(at.with_timezone(&zone).naive_local());
        let naive = (1..=60 * 24 * 14).map(|n| start + TimeDelta::minutes(n)).find(|at| inside(*at) != inside(start));
        prop_assert_eq!(next_change(&blackout, zone, start), naive);
        prop_assert_eq!(ends(&blackout, zone, start), naive.filter(|_| inside(start)));
    }
}
