//! A schedule that restricts both the day of the month and the day of the week: cron takes either,
//! and people often mean both. Says on which days it fires, and what to write instead.

use super::Schedule;
use super::cron::{Cron, LAST};

/// What such a schedule does, and its remedy; completes "the schedule …". `None` where one of the
/// two is open.
pub(in crate::config) fn doubt(schedule: &Schedule) -> Option<String> {
    let cron = schedule.cron().filter(|cron| !cron.both_days)?;
    let text = schedule.to_string();
    let fires = format!(
        "fires on {} and also on {} of the month: of two restricted days cron takes either",
        cron.weekdays_in_words(),
        cron.days_in_words()
    );
    let remedy = match meant(&text, cron) {
        Some((day, instead)) => format!("for {day} only, write \"{instead}\""),
        None => "where one of them is meant, write * for the other".to_owned(),
    };
    Some(format!("{fires}; {remedy}"))
}

/// The weekdays of one week of a month, and the schedule that says so, where the days of the month
/// are a week's.
fn meant(text: &str, cron: &Cron) -> Option<(String, String)> {
    let week = cron.week().filter(|_| !cron.has_places())?;
    let place = if week == LAST { "L".to_owned() } else { week.to_string() };
    let mut words: Vec<String> = text.split_whitespace().map(ToOwned::to_owned).collect();
    let [.., day, _, weekday] = words.as_mut_slice() else { return None };
    // A range has no week: each of its days is named.
    let items = if weekday.contains('-') { cron.weekdays_as_names() } else { weekday.clone() };
    *weekday = items.split(',').map(|item| format!("{item}#{place}")).collect::<Vec<_>>().join(",");
    "*".clone_into(day);
    let instead = words.join(" ");
    let schedule = Schedule::parse(&instead).ok()?;
    Some((schedule.cron()?.weekdays_in_words(), instead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<String> {
        doubt(&Schedule::parse(text).unwrap())
    }

    #[test]
    fn a_weekday_beside_days_of_one_week_is_proposed_as_that_week_s() {
        assert_eq!(
            said("0 3 1-7 * MON").unwrap(),
            "fires on each Monday and also on days 1 to 7 of the month: of two restricted days cron takes either; \
             for the first Monday only, write \"0 3 * * MON#1\""
        );
        let instead = |text| said(text).unwrap().split_once("write \"").unwrap().1.to_owned();
        assert_eq!(instead("0 3 8-14 * 1"), "0 3 * * 1#2\"");
        assert_eq!(instead("30 0 3 22-28 JAN MON,FRI"), "30 0 3 * JAN MON#4,FRI#4\"");
        assert_eq!(instead("0 3 15-21 * SAT-SUN"), "0 3 * * SUN#3,SAT#3\"");
        assert_eq!(instead("0 3 25-31 * FRI"), "0 3 * * FRI#L\"");
    }

    #[test]
    fn of_other_days_only_what_happens_is_said() {
        let fires = |text| said(text).unwrap().split_once(':').unwrap().0.to_owned();
        assert_eq!(fires("0 3 13 * FRI"), "fires on each Friday and also on day 13 of the month");
        assert_eq!(
            fires("0 3 1,2,5-8,L * MON#1,FRI,WED"),
            "fires on each Wednesday and Friday and the first Monday and also on days 1, 2, 5 to 8 and the last day \
             of the month"
        );
        assert!(said("0 3 13 * FRI").unwrap().ends_with("where one of them is meant, write * for the other"));
    }

    #[test]
    fn one_restricted_day_is_clear() {
        for text in ["0 3 * * MON", "0 3 1-7 * *", "0 3 */2 * MON", "0 3 L * *", "@monthly", "never"] {
            assert_eq!(said(text), None, "{text}");
        }
    }
}
