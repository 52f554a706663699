//! The calendar against a model that watches a clock on the wall through every kind of change.

use super::fixtures::{at, schedule, zone};
use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use litekeeper::schedule::calendar;
use litekeeper::zone::Zone;
use proptest::prelude::*;

/// Zones with the UTC days on which their clocks change.
const CHANGES: [(&str, &str); 16] = [
    ("Europe/Berlin", "2027-03-28T01:00:00Z"),
    ("Europe/Berlin", "2027-10-31T01:00:00Z"),
    ("America/New_York", "2027-03-14T07:00:00Z"),
    ("America/New_York", "2027-11-07T06:00:00Z"),
    ("Australia/Lord_Howe", "2027-04-03T15:00:00Z"),
    ("Australia/Lord_Howe", "2027-10-02T15:30:00Z"),
    ("Pacific/Apia", "2010-09-26T11:00:00Z"),
    ("Pacific/Apia", "2011-04-02T14:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("America/Sao_Paulo", "2019-02-17T02:00:00Z"),
    ("Asia/Beirut", "2022-03-26T22:00:00Z"),
    ("Asia/Beirut", "2022-10-29T21:00:00Z"),
    ("Antarctica/Troll", "2027-03-28T01:00:00Z"),
    ("Antarctica/Troll", "2027-10-31T01:00:00Z"),
    ("Asia/Kathmandu", "2027-03-28T00:00:00Z"),
];

#[derive(Debug, Clone)]
enum Field {
    Any,
    Every(u32),
    Only(Vec<u32>),
}

impl Field {
    fn text(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Every(step) => format!("*/{step}"),
            Self::Only(values) => values.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        }
    }

    fn has(&self, value: u32) -> bool {
        match self {
            Self::Any => true,
            Self::Every(step) => value.is_multiple_of(*step),
            Self::Only(values) => values.contains(&value),
        }
    }

    fn is_wild(&self) -> bool {
        !matches!(self, Self::Only(_))
    }
}

fn field(max: u32) -> impl Strategy<Value = Field> {
    prop_oneof![
        Just(Field::Any),
        (2..=max / 2).prop_map(Field::Every),
        prop::collection::vec(0..=max, 1..4).prop_map(Field::Only),
    ]
}

#[derive(Debug, Clone)]
struct Expression {
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    weekday: Field,
}

impl Expression {
    fn text(&self) -> String {
        let Self { second, minute, hour, day, weekday } = self;
        let [second, minute, hour, day, weekday] = [second, minute, hour, day, weekday].map(Field::text);
        format!("{second} {minute} {hour} {day} * {weekday}")
    }

    fn matches(&self, wall: NaiveDateTime) -> bool {
        let day = self.day.has(wall.day());
        let weekday = self.weekday.has(wall.weekday().num_days_from_sunday());
        let date = match (&self.day, &self.weekday) {
            (Field::Only(_), Field::Only(_)) => day || weekday,
            _ => day && weekday,
        };
        let time = self.hour.has(wall.hour()) && self.minute.has(wall.minute());
        date && time && self.second.has(wall.second())
    }

    /// Watches the clock through `[start, end]`, step by step, and notes when a run is due.
    fn watch(
        &self,
        zone: Zone,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        step: TimeDelta,
    ) -> Vec<DateTime<Utc>> {
        let wall = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
        let wild = self.hour.is_wild() || self.minute.is_wild();
        let mut due = Vec::new();
        let mut shown = wall(start);
        let mut now = start;
        while now < end {
            now += step;
            if wild {
                if self.matches(wall(now)) {
                    due.push(now);
                }
                continue;
            }
            // Every reading that the clock passes for the first time, shown or jumped over.
            let mut passed = false;
            while shown < wall(now) {
                shown += step;
                passed |= self.matches(shown);
            }
            if passed {
                due.push(now);
            }
        }
        due
    }
}

fn assert_agrees(expression: &Expression, change: (&str, &str), around: TimeDelta, step: TimeDelta) {
    let (in_zone, middle) = (zone(change.0), at(change.1));
    let (start, end) = (middle - around, middle + around);
    let expected = expression.watch(in_zone, start, end, step);
    let parsed = schedule(&expression.text());
    let mut found = Vec::new();
    let mut now = start;
    while let Some(due) = calendar::next(&parsed, in_zone, now).filter(|due| *due <= end) {
        assert!(due > now, "{parsed}: {due} is not after {now}");
        found.push(due);
        now = due;
    }
    assert_eq!(found, expected, "{parsed} in {in_zone} around {middle}");
    assert_eq!(calendar::latest(&parsed, in_zone, start, end), expected.last().copied(), "{parsed}");
    // From within, too: the answer does not depend on where the question starts.
    for pair in expected.windows(2) {
        let between = pair[0] + (pair[1] - pair[0]) / 2;
        assert_eq!(calendar::next(&parsed, in_zone, between), Some(pair[1]), "{parsed} after {between}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_minute_by_minute(
        change in prop::sample::select(CHANGES.to_vec()),
        minute in field(59),
        hour in prop_oneof![field(23), prop::collection::vec(prop_oneof![0..=4_u32, 22..=23_u32], 1..4).prop_map(Field::Only)],
        day in prop_oneof![3 => Just(Field::Any), 1 => prop::collection::vec(1..=31_u32, 1..5).prop_map(Field::Only)],
        weekday in prop_oneof![3 => Just(Field::Any), 1 => prop::collection::vec(0..=6_u32, 1..3).prop_map(Field::Only)],
    ) {
        let expression = Expression { second: Field::Only(vec![0]), minute, hour, day, weekday };
        assert_agrees(&expression, change, TimeDelta::hours(49), TimeDelta::minutes(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_second_by_second(
        change in prop::sample::select(CHANGES.to_vec()),
        second in prop_oneof![(15..=30_u32).prop_map(Field::Every), prop::collection::vec(0..=59_u32, 1..3).prop_map(Field::Only)],
        minute in field(59),
        hour in prop_oneof![Just(Field::Any), prop::collection::vec(prop_oneof![0..=4_u32, 22..=23_u32], 1..4).prop_map(Field::Only)],
    ) {
        let expression = Expression { second, minute, hour, day: Field::Any, weekday: Field::Any };
        assert_agrees(&expression, change, TimeDelta::minutes(100), TimeDelta::seconds(1));
    }
}
