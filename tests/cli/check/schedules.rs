//! What cron makes of a schedule, told before the first night: when it fires next, and that it
//! fires on more days than was meant.

use crate::fixture::{json, run, text};
use crate::support::sandbox::Sandbox;
use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use litekeeper::zone::Zone;
use serde_json::Value;

const BERLIN: &str = "[daemon]\ntimezone = \"Europe/Berlin\"\n";

/// The next times of the backup's schedule.
fn next(sandbox: &Sandbox, schedule: &str) -> Vec<DateTime<Utc>> {
    sandbox.configure(&format!("{BERLIN}[backup]\nschedule = \"{schedule}\"\n"));
    let checked = json(sandbox, 0, &["check"]);
    let schedules = checked["schedules"].as_array().unwrap();
    let backup = schedules.iter().find(|schedule| schedule["task"] == "backup").unwrap();
    assert_eq!((&backup["schedule"], &backup["databases"][0]), (&schedule.into(), &"attendance".into()));
    let times = backup["next"].as_array().unwrap();
    times.iter().map(|firing| firing["at"].as_str().unwrap().parse().unwrap()).collect()
}

/// The first three readings of 3:00 in Berlin after now on days of which `is_due` is true, found
/// day by day. The test may run over midnight or over 3:00: two answers are right then.
fn naive(is_due: impl Fn(chrono::NaiveDate) -> bool) -> Vec<DateTime<Utc>> {
    let berlin = Zone::named("Europe/Berlin").unwrap();
    let now = Utc::now();
    let today = now.with_timezone(&berlin).date_naive();
    let days = today.iter_days().filter(|day| is_due(*day));
    let at_three =
        days.map(|day| day.and_hms_opt(3, 0, 0).unwrap().and_local_timezone(berlin).unwrap().to_utc());
    at_three.filter(|at| *at > now).take(3).collect()
}

#[test]
fn the_first_monday_and_the_last_day_are_computed_as_a_look_at_the_calendar_does() {
    let sandbox = Sandbox::new();
    let monday = |day: chrono::NaiveDate| day.weekday() == chrono::Weekday::Mon;
    let is_last = |day: chrono::NaiveDate| day.succ_opt().unwrap().day() == 1;
    let is_last_week = |day: chrono::NaiveDate| (day + TimeDelta::days(7)).month() != day.month();
    let first_monday = || naive(|day| monday(day) && day.day() <= 7);
    let last_monday = || naive(|day| monday(day) && is_last_week(day));
    for (schedule, model) in [
        ("0 3 * * MON#1", &first_monday as &dyn Fn() -> Vec<DateTime<Utc>>),
        ("0 3 * * 1#1", &first_monday),
        ("0 3 L * *", &|| naive(is_last)),
        ("0 3 * * MONL", &last_monday),
        ("0 3 * * 1L", &last_monday),
        ("0 3 * * MON#L", &last_monday),
        ("0 3 15,L * *", &|| naive(|day| is_last(day) || day.day() == 15)),
        ("0 3 * * MON#5", &|| naive(|day| monday(day) && day.day() > 28)),
    ] {
        let before = model();
        let told = next(&sandbox, schedule);
        assert!(told == before || told == model(), "{schedule}: {told:?}, not {before:?}");
    }
}

#[test]
fn a_check_says_in_words_when_each_schedule_fires_next() {
    let sandbox = Sandbox::new();
    let first = next(&sandbox, "0 3 * * MON#1")[0].with_timezone(&Zone::named("Europe/Berlin").unwrap());
    assert_eq!(first.hour(), 3);
    let checked = run(&sandbox, 0, &["check"]);
    let shown = text(&checked.stdout);
    assert!(shown.contains("by the clock of Europe/Berlin"), "{shown}");
    let line = shown.lines().find(|line| line.contains("0 3 * * MON#1")).unwrap();
    let words = first.format("Mon %-d %b %Y 03:00, Mon ").to_string();
    assert!(line.trim().starts_with("backup") && line.contains(&words), "{line}, not {words}");

    // A time within a blackout is when the run waits until its end.
    sandbox.configure(&format!(
        "{BERLIN}[backup]\nschedule = \"30 12 * * *\"\nblackout = [\"12:00-13:00\"]\njitter = \"5m\"\n"
    ));
    let checked = run(&sandbox, 0, &["check"]);
    let shown = text(&checked.stdout);
    let line =
        shown.lines().find(|line| line.starts_with("  backup") && line.contains("30 12 * * *")).unwrap();
    assert!(line.contains(" 12:30 (waits until "), "{line}");
    assert!(line.contains(" 13:00: blackout)") && line.contains("up to 5 min later"), "{line}");
}

#[test]
fn a_check_warns_where_day_of_month_and_day_of_week_are_both_restricted() {
    let sandbox = Sandbox::new();
    let warnings = |schedule: &str| -> Vec<String> {
        sandbox.configure(&format!("[backup]\nschedule = \"{schedule}\"\n"));
        let checked = json(&sandbox, 0, &["check"]);
        let warnings = checked["warnings"].as_array().unwrap().iter();
        let own = warnings.filter(|warning| warning.as_str().unwrap().contains("the schedule of backup"));
        own.map(|warning| Value::as_str(warning).unwrap().to_owned()).collect()
    };
    let told = warnings("0 3 1-7 * MON");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("fires on each Monday and also on days 1 to 7 of the month"), "{told:?}");
    assert!(told[0].contains("for the first Monday only, write \"0 3 * * MON#1\""), "{told:?}");
    for clear in ["0 3 * * MON", "0 3 1-7 * *", "0 3 * * MON#1", "0 3 */2 * MON", "0 3 L * *"] {
        assert_eq!(warnings(clear), Vec::<String>::new(), "{clear}");
    }
    // What is proposed does what it says.
    assert!(next(&sandbox, "0 3 * * MON#1").iter().all(|at| at.day() <= 8), "in UTC, Berlin's day 1 to 7");
}
