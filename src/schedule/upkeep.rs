//! When a write-ahead log that has grown too large is looked after. Takes the time as an argument;
//! must never look itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Pause after the first attempt. Each further one that leaves the log too large doubles it.
const FIRST: Duration = Duration::from_secs(15);

/// Longest pause.
const LONGEST: Duration = Duration::from_secs(3600);

/// The attempts by database.
#[derive(Debug, Default)]
pub struct Upkeep(BTreeMap<String, Attempt>);

#[derive(Debug)]
struct Attempt {
    next: Instant,
    pause: Duration,
}

impl Upkeep {
    /// Whether to make an attempt now, which then counts as made.
    pub fn is_due(&mut self, database: &str, is_too_large: bool, now: Instant) -> bool {
        let attempt = self.0.get(database);
        // One that fills again at once waits as well.
        let rests = attempt.is_some_and(|attempt| now < attempt.next);
        if rests {
            return false;
        }
        if !is_too_large {
            self.0.remove(database);
            return false;
        }
        let pause = attempt.map_or(FIRST, |attempt| (attempt.pause * 2).min(LONGEST));
        self.0.insert(database.to_owned(), Attempt { next: now + pause, pause });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds after the start at which attempts are made, with a look each second.
    fn attempts(seconds: u64, is_too_large: impl Fn(u64) -> bool) -> Vec<u64> {
        let (start, mut upkeep) = (Instant::now(), Upkeep::default());
        let at = |second: u64| start + Duration::from_secs(second);
        (0..seconds).filter(|second| upkeep.is_due("a", is_too_large(*second), at(*second))).collect()
    }

    #[test]
    fn attempts_that_do_not_help_come_ever_more_seldom_but_once_an_hour() {
        let all = attempts(30_000, |_| true);
        assert_eq!(all[..4], [0, 15, 45, 105]);
        let last: Vec<u64> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(last[last.len() - 3..], [3600; 3]);
    }

    #[test]
    fn one_that_helped_begins_anew_with_the_shortest_pause() {
        assert_eq!(attempts(300, |second| !(50..=200).contains(&second)), [0, 15, 45, 201, 216, 246]);
        // Emptied, and too large again after seven seconds.
        assert_eq!(attempts(50, |second| second % 7 == 0), [0, 21, 42]);
    }
}
