//! How large the slices of a piece of work are, so that each lasts about as long as it should: rows
//! of a batch, pages of an incremental VACUUM. Pure.

use std::time::Duration;

/// No hold that is shorter than this gets anything done.
pub const LEAST: Duration = Duration::from_micros(500);

/// The size of slices, so that the work of one transaction lasts about `target`. Its COMMIT is not
/// counted: that is the disk's time, which a smaller slice does not shorten; on a slow disk slices
/// would shrink to single rows, and the application would wait for more commits, not for shorter
/// ones. Where all of it has to fit into the application's pauses, it is smaller.
#[derive(Debug)]
pub struct Pace {
    target: Duration,
    /// What all of a transaction may last; `None` where nobody is in a hurry.
    fits: Option<Duration>,
    size: u64,
    largest: u64,
    /// Of the last slice: what one row or page took, and what they all took beside.
    known: Option<(Duration, Duration)>,
}

impl Pace {
    /// Begins with `first`, few, while it is not known how long one takes; no slice is larger than
    /// `largest`.
    pub const fn new(target: Duration, first: u64, largest: u64) -> Self {
        Self { target, fits: None, size: first, largest, known: None }
    }

    /// Of the next slice.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How long a transaction with so many will last.
    pub fn expected(&self, size: u64) -> Duration {
        match self.known {
            Some((each, beside)) => {
                (each * u32::try_from(size).unwrap_or(u32::MAX)).saturating_add(beside).max(LEAST)
            }
            None => self.fits.map_or(self.target, |fits| fits.min(self.target)),
        }
    }

    /// What the next transactions may last. They become smaller at once, and larger as they are
    /// learned from.
    pub fn fit(&mut self, fits: Option<Duration>) {
        self.fits = fits;
        if let (Some(fits), Some((each, beside))) = (fits, self.known) {
            let fitting = fits.saturating_sub(beside).as_nanos() / each.as_nanos().max(1);
            self.size = u64::try_from(fitting).unwrap_or(self.largest).clamp(1, self.size);
        }
    }

    /// The last one was in the way.
    pub fn shrink(&mut self) {
        self.size = (self.size / 2).max(1);
    }

    /// Learns from the last slice, and for how much of the time it worked: at most twice as many
    /// next time, at least half as many.
    pub fn learn(&mut self, worked: Duration, lasted: Duration) {
        let beside = lasted.saturating_sub(worked);
        let each = worked.as_nanos() / u128::from(self.size);
        self.known = Some((Duration::from_nanos(u64::try_from(each).unwrap_or(u64::MAX)), beside));
        let target = self.fits.map_or(self.target, |fits| fits.saturating_sub(beside).min(self.target));
        let fitting = u128::from(self.size) * target.as_nanos() / worked.as_nanos().max(1);
        let fitting = u64::try_from(fitting).unwrap_or(self.largest);
        self.size = fitting.clamp(self.size / 2, self.size * 2).clamp(1, self.largest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 50_000;

    fn worked(pace: &mut Pace, worked: Duration) {
        pace.learn(worked, worked);
    }

    #[test]
    fn slices_come_to_last_as_long_as_they_should() {
        for rows_in_a_millisecond in [1, 7, 300] {
            let mut pace = Pace::new(Duration::from_millis(50), 100, MOST);
            for _ in 0..20 {
                let took = Duration::from_micros(pace.size() * 1000 / rows_in_a_millisecond);
                worked(&mut pace, took);
            }
            let fitting = 50 * rows_in_a_millisecond;
            assert!(pace.size().abs_diff(fitting) <= 1, "{} for {fitting}", pace.size());
        }
    }

    #[test]
    fn a_slice_has_at_least_one_and_at_most_so_many_whatever_the_clock_says() {
        let mut pace = Pace::new(Duration::from_millis(5), 100, MOST);
        for (took, size) in [(Duration::ZERO, MOST), (Duration::MAX, 1)] {
            (0..100).for_each(|_| worked(&mut pace, took));
            assert_eq!(pace.size(), size);
        }
    }

    #[test]
    fn slices_fit_into_pauses_with_what_does_not_depend_on_their_size() {
        let (each, beside) = (Duration::from_micros(10), Duration::from_millis(2));
        let mut pace = Pace::new(Duration::from_millis(5), 100, MOST);
        let go_on = |pace: &mut Pace, fits: u64| {
            for _ in 0..20 {
                let took = each * u32::try_from(pace.size()).unwrap();
                pace.learn(took, took + beside);
                pace.fit(Some(Duration::from_millis(fits)));
            }
            pace.expected(pace.size())
        };
        assert_eq!(go_on(&mut pace, 3), Duration::from_millis(3));
        assert_eq!(
            go_on(&mut pace, 100),
            Duration::from_millis(7),
            "its work lasts no longer than it should"
        );
        pace.fit(Some(Duration::from_millis(4)));
        assert_eq!(pace.size(), 200, "at once");
        pace.fit(Some(beside));
        assert_eq!(pace.size(), 1);
    }
}
