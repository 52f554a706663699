//! The time of day. Everything that decides by the wall clock takes the time as an argument; only
//! the outermost callers ask here, so that pure parts stay pure.

use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// By how much a clock may be set back, or differ from another machine's, without a word.
const DISCIPLINED: TimeDelta = TimeDelta::minutes(1);

/// Now, in UTC, to the millisecond (what the run history and the manifests keep).
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

/// A time at which something happened, as far as that can be true: one that is later than now was
/// written down under a clock that was ahead, and nobody knows when it was. What is given is never
/// later than `now`.
pub fn past(at: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (at <= latest(now)).then(|| at.min(now))
}

/// The latest time that [`past`] takes for true, for a question to a database.
pub fn latest(now: DateTime<Utc>) -> DateTime<Utc> {
    now.checked_add_signed(DISCIPLINED).unwrap_or(now)
}

/// A moment of this process by two clocks: its time stays true where the machine's clock is set
/// meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    at: DateTime<Utc>,
    instant: Instant,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { at: now(), instant: Instant::now() }
    }

    /// For how long it has passed.
    pub fn elapsed(self) -> Duration {
        self.instant.elapsed()
    }

    /// When it was, by the clock that says `now`.
    pub fn by(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(self.instant.elapsed()).unwrap_or(TimeDelta::MAX);
        let Some(reckoned) = now.checked_sub_signed(passed) else { return self.at };
        // As it was read, where nobody has set the clock: the same each time.
        if (reckoned - self.at).abs() <= DISCIPLINED { self.at } else { reckoned }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_still_to_come_is_unknown_and_a_little_ahead_it_is_now() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let ahead = |seconds| past(now + TimeDelta::seconds(seconds), now);
        assert_eq!(ahead(-5), Some(now - TimeDelta::seconds(5)));
        assert_eq!(ahead(30), Some(now));
        assert_eq!(ahead(61), None);
        assert_eq!(past(DateTime::<Utc>::MAX_UTC, now), None);
        assert_eq!(past(now, DateTime::<Utc>::MAX_UTC), Some(now));
    }

    #[test]
    fn a_moment_follows_a_clock_that_is_set() {
        let moment = Moment::now();
        let second = TimeDelta::seconds(5);
        assert_eq!(moment.by(now()), moment.at);
        let years_back = now() - TimeDelta::days(3650);
        assert!((moment.by(years_back) - years_back).abs() < second);
    }
}
