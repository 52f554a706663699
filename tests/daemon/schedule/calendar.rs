//! Due instants that were worked out by hand.

use super::fixtures::{at, schedule, zone};
use chrono::TimeDelta;
use litekeeper::schedule::calendar;
use litekeeper::zone::Zone;

/// The first due instants after a moment, as far as the expected ones go.
#[track_caller]
fn assert_due(expression: &str, in_zone: &str, after: &str, expected: &[&str]) {
    let (expression, in_zone) = (schedule(expression), zone(in_zone));
    let mut now = at(after);
    for expected in expected {
        let due = calendar::next(&expression, in_zone, now).expect("never due");
        assert_eq!(due, at(expected), "{expression} after {now}");
        now = due;
    }
}

#[test]
fn runs_a_fixed_time_that_spring_skips_right_after_the_gap() {
    // 02:00 CET becomes 03:00 CEST at 01:00Z.
    let expected = ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"];
    assert_due("30 2 * * *", "Europe/Berlin", "2027-03-26T12:00:00Z", &expected);
}

#[test]
fn runs_fixed_times_that_meet_after_the_gap_once() {
    let expected = ["2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z", "2027-03-29T00:00:00Z"];
    assert_due("0,30 2,3 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z", &expected);
}

#[test]
fn runs_a_fixed_time_of_the_repeated_hour_the_first_time_only() {
    // 03:00 CEST becomes 02:00 CET at 01:00Z.
    let expected = ["2027-10-30T00:30:00Z", "2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"];
    assert_due("30 2 * * *", "Europe/Berlin", "2027-10-29T12:00:00Z", &expected);
}

#[test]
fn does_not_run_a_fixed_time_again_when_asked_within_the_second_pass() {
    assert_due("30 2 * * *", "Europe/Berlin", "2027-10-31T01:10:00Z", &["2027-11-01T01:30:00Z"]);
}

#[test]
fn keeps_the_quarters_of_a_real_hour_through_both_changes() {
    for (zone, start) in [
        ("Europe/Berlin", "2027-10-30T22:00:00Z"),
        ("Europe/Berlin", "2027-03-27T22:00:00Z"),
        ("America/New_York", "2027-11-07T04:00:00Z"),
        ("America/New_York", "2027-03-14T05:00:00Z"),
        ("Australia/Lord_Howe", "2027-04-03T13:00:00Z"),
        ("Australia/Lord_Howe", "2027-10-02T13:00:00Z"),
    ] {
        let quarters: Vec<_> =
            (1..=24).map(|n| (at(start) + TimeDelta::minutes(15 * n)).to_rfc3339()).collect();
        let quarters: Vec<_> = quarters.iter().map(String::as_str).collect();
        assert_due("*/15 * * * *", zone, start, &quarters);
    }
}

#[test]
fn runs_hourly_each_real_hour_of_a_repeated_hour() {
    let expected = ["2027-10-31T00:00:00Z", "2027-10-31T01:00:00Z", "2027-10-31T02:00:00Z"];
    assert_due("@hourly", "Europe/Berlin", "2027-10-30T23:00:00Z", &expected);
    assert_due("0 0-23 * * *", "Europe/Berlin", "2027-10-30T23:00:00Z", &expected);
}

#[test]
fn handles_a_change_of_half_an_hour() {
    // Spring: 02:00 (+10:30) becomes 02:30 (+11) at 15:30Z. Autumn: 02:00 (+11) becomes 01:30 at
    // 15:00Z.
    assert_due("15 2 * * *", "Australia/Lord_Howe", "2027-10-02T12:00:00Z", &["2027-10-02T15:30:00Z"]);
    let autumn = ["2027-04-03T14:45:00Z", "2027-04-04T15:15:00Z"];
    assert_due("45 1 * * *", "Australia/Lord_Howe", "2027-04-03T12:00:00Z", &autumn);
}

#[test]
fn runs_at_a_midnight_that_does_not_exist() {
    assert_due("@daily", "America/Sao_Paulo", "2018-11-03T12:00:00Z", &["2018-11-04T03:00:00Z"]);
    assert_due("@daily", "Asia/Beirut", "2022-03-26T12:00:00Z", &["2022-03-26T22:00:00Z"]);
}

#[test]
fn runs_once_in_an_hour_before_midnight_that_is_repeated() {
    // 00:00 (-2) of 17 February becomes 23:00 (-3) of the 16th at 02:00Z.
    let expected = ["2019-02-17T01:30:00Z", "2019-02-18T02:30:00Z"];
    assert_due("30 23 * * *", "America/Sao_Paulo", "2019-02-16T12:00:00Z", &expected);
}

#[test]
fn runs_what_falls_on_a_day_that_does_not_exist_at_its_end() {
    // Samoa went from the end of 29 December (-10) to the start of the 31st (+14) at 10:00Z.
    let daily = ["2011-12-29T13:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T13:00:00Z"];
    assert_due("0 3 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", &daily);
    assert_due("0 3 30 * *", "Pacific/Apia", "2011-12-29T12:00:00Z", &["2011-12-30T10:00:00Z"]);
}

#[test]
fn takes_seconds() {
    let expected = ["2027-01-01T00:00:20Z", "2027-01-01T00:00:40Z", "2027-01-01T00:01:00Z"];
    assert_due("*/20 * * * * *", "UTC", "2027-01-01T00:00:00.500Z", &expected);
}

#[test]
fn is_strictly_after_and_on_whole_seconds() {
    assert_due("0 3 * * *", "UTC", "2027-01-01T02:59:59.999Z", &["2027-01-01T03:00:00Z"]);
    assert_due("0 3 * * *", "UTC", "2027-01-01T03:00:00Z", &["2027-01-02T03:00:00Z"]);
}

#[test]
fn takes_a_day_of_the_month_or_of_the_week() {
    // 1 January 2027 is a Friday.
    let expected = ["2027-01-04T00:00:00Z", "2027-01-10T00:00:00Z", "2027-01-11T00:00:00Z"];
    assert_due("0 0 10 * 1", "UTC", "2027-01-01T12:00:00Z", &expected);
}

#[test]
fn finds_a_leap_day_over_a_century_that_has_none() {
    assert_due("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", &["2104-02-29T00:00:00Z"]);
}

#[test]
fn has_no_next_run_for_what_never_comes() {
    let never = schedule("never");
    assert_eq!(calendar::next(&never, Zone::UTC, at("2027-01-01T00:00:00Z")), None);
    let (after, until) = (at("1970-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
    assert_eq!(calendar::latest(&never, Zone::UTC, after, until), None);
}

#[test]
fn finds_the_latest_due_instant_of_a_long_absence() {
    let daily = schedule("30 2 * * *");
    let latest = |after, until| calendar::latest(&daily, zone("Europe/Berlin"), at(after), at(until));
    let due = at("2027-03-28T01:00:00Z");
    assert_eq!(latest("1990-01-01T00:00:00Z", "2027-03-28T12:00:00Z"), Some(due));
    assert_eq!(latest("2027-03-28T00:59:59Z", "2027-03-28T01:00:00Z"), Some(due));
    assert_eq!(latest("2027-03-28T01:00:00Z", "2027-03-28T12:00:00Z"), None);
    assert_eq!(latest("2027-03-29T12:00:00Z", "2027-03-28T12:00:00Z"), None);
}
