//! When a value says that it was: an instant, or what a clock showed of which it does not say how far
//! it is from UTC. Pure; knows no format.

use chrono::{DateTime, NaiveDate};

/// What a value says of when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Microseconds since 1970 in UTC.
    Instant(i64),
    /// The same by a clock of which the value does not say how far it is from UTC.
    Clock(i64),
    /// A whole day by such a clock.
    Day(NaiveDate),
}

impl Moment {
    /// Whether it lies before a cutoff beyond doubt. A whole day does when it had ended by the
    /// cutoff's day.
    pub(super) fn is_before(self, cutoff: i64, by_the_clock: i64) -> bool {
        match self {
            Self::Instant(at) => at < cutoff,
            Self::Clock(at) => at < by_the_clock,
            Self::Day(day) => {
                DateTime::from_timestamp_micros(by_the_clock).is_some_and(|cutoff| day < cutoff.date_naive())
            }
        }
    }

    /// The day, as it is written where it comes from.
    pub(super) fn day(self) -> Option<NaiveDate> {
        match self {
            Self::Instant(at) | Self::Clock(at) => {
                DateTime::from_timestamp_micros(at).map(|at| at.date_naive())
            }
            Self::Day(day) => Some(day),
        }
    }
}
