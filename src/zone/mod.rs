//! A time zone by its IANA name, with the rules that this machine has for it, as chrono asks for
//! them. What was read once never changes: other rules under the same name are another zone. Must
//! never guess an offset: a fixed one is wrong after the next change of daylight saving.

mod rules;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime};
use chrono::{Offset, TimeZone, Timelike, Utc};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{self, AmbiguousOffset};

use self::rules::Rules;
pub use self::rules::Source;

/// A zone. Equal to another of the same name and the same rules.
#[derive(Clone, Copy)]
pub struct Zone(Option<&'static Rules>);

impl Zone {
    /// Which needs no rules.
    pub const UTC: Self = Self(None);

    /// The zone of this name, with the rules that the machine has for it now; `None` where neither
    /// the machine nor this program knows it.
    pub fn named(name: &str) -> Option<Self> {
        if name == "UTC" {
            return Some(Self::UTC);
        }
        rules::read(name).map(|rules| Self(Some(rules)))
    }

    /// Every name that this program knows.
    pub fn names() -> impl Iterator<Item = String> {
        rules::names()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.map_or("UTC", |rules| &rules.name)
    }

    /// Where its rules are from; `None` for UTC, which has none.
    pub fn source(self) -> Option<&'static Source> {
        self.0.map(|rules| &rules.source)
    }

    /// The first instant after the readings that its clock skips around this one; `None` where it
    /// shows this one.
    pub fn end_of_gap(self, reading: NaiveDateTime) -> Option<DateTime<Utc>> {
        let rules = &self.0?.zone;
        let AmbiguousOffset::Gap { before, after } = rules.to_ambiguous_timestamp(civil(reading)).offset()
        else {
            return None;
        };
        let still_before = (reading - fixed(before)).and_utc().timestamp();
        // Each change lies before the instant that is asked for.
        let mut changes = rules.preceding(timestamp(still_before + 1));
        let change = changes.find(|change| {
            let until = timestamp(change.timestamp().as_second() - 1);
            change.offset() == after && rules.to_offset(until) == before
        })?;
        DateTime::from_timestamp(change.timestamp().as_second(), 0)
    }

    fn with(self, offset: FixedOffset) -> ZoneOffset {
        ZoneOffset { zone: self, offset }
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::named(name).ok_or_else(|| format!("{name:?} is not an IANA name"))
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (None, None) => true,
            // The same rules are read into the same place.
            (Some(one), Some(other)) => std::ptr::eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a zone's clock is from UTC at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ZoneOffset {
    zone: Zone,
    offset: FixedOffset,
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.offset
    }
}

impl fmt::Display for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.offset.fmt(f)
    }
}

impl fmt::Debug for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.offset.fmt(f)
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let Some(rules) = self.0 else { return MappedLocalTime::Single(self.with(Utc.fix())) };
        match rules.zone.to_ambiguous_timestamp(civil(*local)).offset() {
            AmbiguousOffset::Unambiguous { offset } => MappedLocalTime::Single(self.with(fixed(offset))),
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
            AmbiguousOffset::Fold { before, after } => {
                MappedLocalTime::Ambiguous(self.with(fixed(before)), self.with(fixed(after)))
            }
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        let offset = self.0.map(|rules| rules.zone.to_offset(timestamp(utc.and_utc().timestamp())));
        self.with(offset.map_or_else(|| Utc.fix(), fixed))
    }
}

/// Both know every offset that a clock has had; a day's length, which only jiff takes, none had.
fn fixed(offset: tz::Offset) -> FixedOffset {
    FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| Utc.fix())
}

/// Beyond the year 9999, which only chrono goes, an offset is that of the last day.
fn timestamp(seconds: i64) -> Timestamp {
    let nearest = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(nearest)
}

fn civil(reading: NaiveDateTime) -> civil::DateTime {
    let small = |number: u32| i8::try_from(number).unwrap_or_default();
    let (date, time) = (reading.date(), reading.time());
    let nearest = if date.year() < 0 { civil::DateTime::MIN } else { civil::DateTime::MAX };
    let Ok(year) = i16::try_from(date.year()) else { return nearest };
    let (hour, minute, second) = (small(time.hour()), small(time.minute()), small(time.second()));
    // Changes are at whole seconds.
    civil::DateTime::new(year, small(date.month()), small(date.day()), hour, minute, second, 0)
        .unwrap_or(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn berlin() -> Zone {
        Zone::named("Europe/Berlin").unwrap()
    }

    fn reading(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_skipped_reading_has_no_instant_and_its_gap_an_end() {
        let skipped = reading("2026-03-29T02:30:00");
        assert_eq!(berlin().from_local_datetime(&skipped), MappedLocalTime::None);
        assert_eq!(berlin().end_of_gap(skipped).unwrap().to_rfc3339(), "2026-03-29T01:00:00+00:00");
        assert_eq!(berlin().end_of_gap(reading("2026-03-29T03:00:00")), None);
        let samoa = Zone::named("Pacific/Apia").unwrap();
        let lost_day = samoa.end_of_gap(reading("2011-12-30T12:00:00"));
        assert_eq!(lost_day.unwrap().to_rfc3339(), "2011-12-30T10:00:00+00:00");
    }

    #[test]
    fn a_repeated_reading_has_two_instants_the_earlier_first() {
        let twice = berlin().from_local_datetime(&reading("2026-10-25T02:30:00"));
        let MappedLocalTime::Ambiguous(first, second) = twice else { panic!("{twice:?}") };
        assert_eq!(first.to_rfc3339(), "2026-10-25T02:30:00+02:00");
        assert_eq!(second.to_rfc3339(), "2026-10-25T02:30:00+01:00");
    }

    #[test]
    fn times_that_no_calendar_reaches_have_an_offset_all_the_same() {
        for time in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            let offset = berlin().offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc();
            assert!((0..=7200).contains(&offset), "{time}: {offset}");
            let _ = berlin().offset_from_local_datetime(&time.naive_utc());
        }
        let far = DateTime::<Utc>::MAX_UTC - TimeDelta::days(400);
        assert_eq!(far.with_timezone(&Zone::UTC).naive_local(), far.naive_utc());
    }

    #[test]
    fn the_same_rules_are_the_same_zone() {
        assert_eq!(berlin(), berlin());
        assert_ne!(berlin(), Zone::named("Europe/Paris").unwrap());
        assert_ne!(berlin(), Zone::UTC);
        assert_eq!(Zone::named("UTC"), Some(Zone::UTC));
    }
}
