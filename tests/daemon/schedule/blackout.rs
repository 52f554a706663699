//! When a blackout begins and ends, against a walk over all minutes.

use super::fixtures::{at, zone};
use chrono::{DateTime, Offset, TimeDelta, TimeZone, Utc};
use litekeeper::config::Blackout;
use litekeeper::schedule::blackout::{ends, holds, next_change};
use litekeeper::zone::Zone;
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
    assert_eq!(next_change(&Blackout::default(), Zone::UTC, at("2026-11-23T00:00:00Z")), None);
    assert!(!holds(&Blackout::default(), Zone::UTC, at("2026-11-23T00:00:00Z")));
}

/// Half an hour of daylight saving, a skipped day, saving in the south and around Ramadan among
/// them.
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Santiago",
    "Africa/Casablanca",
];

/// The hours of 2011 to 2014 in which the clock is put forward or back; some hour where it never
/// is.
fn shifts(zone: Zone) -> Vec<DateTime<Utc>> {
    let hour = |n: i64| at("2011-01-01T00:00:00Z") + TimeDelta::hours(n);
    let offset = |n: i64| zone.offset_from_utc_datetime(&hour(n).naive_utc()).fix();
    let days = (1..365 * 4).filter(|day| offset(24 * day) != offset(24 * (day - 1)));
    let hours = days.filter_map(|day| (24 * day - 23..=24 * day).find(|n| offset(*n) != offset(n - 1)));
    let found: Vec<_> = hours.map(hour).collect();
    if found.is_empty() { vec![hour(99)] } else { found }
}

fn window() -> impl Strategy<Value = String> {
    let days = prop::sample::select(vec!["", " Sun", " Mon-Fri", " Sat,Sun", " Fri-Mon"]);
    ((0..24_u32, 0..4_u32), (0..24_u32, 0..4_u32), days).prop_map(|((h, m), (to_h, to_m), days)| {
        let to =
            if (h, m) == (to_h, to_m) { "24:00".to_owned() } else { format!("{to_h:02}:{:02}", 15 * to_m) };
        format!("{h:02}:{:02}-{to}{days}", 15 * m)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changes_where_the_walk_over_all_minutes_does(
        windows in prop::collection::vec(window(), 0..3),
        name in prop::sample::select(ZONES.to_vec()),
        shift in any::<prop::sample::Index>(), before in 0..60_i64 * 72,
    ) {
        let windows: Vec<&str> = windows.iter().map(String::as_str).collect();
        let blackout = blackout(&windows);
        let zone = zone(name);
        // From up to three days before a change of the clock, of which there is one in nearly every
        // case.
        let shifts = shifts(zone);
        let start = *shift.get(&shifts) - TimeDelta::minutes(before);
        let inside = |at: DateTime<Utc>| blackout.covers(at.with_timezone(&zone).naive_local());
        let first = inside(start);
        let naive = (1..=60 * 24 * 9).map(|n| start + TimeDelta::minutes(n)).find(|at| inside(*at) != first);
        prop_assert_eq!(next_change(&blackout, zone, start), naive);
        prop_assert_eq!(ends(&blackout, zone, start), naive.filter(|_| inside(start)));
    }
}
