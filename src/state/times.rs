//! How long something took, counted in buckets whose bounds grow by the same factor: enough to tell
//! any quantile within ±10 % from a few bytes, and two of them add up to one. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far a quantile may be from the exact one, as a share of it.
pub const ERROR: f64 = 0.1;

/// From one bound to the next: a value between the two that is off by no more than [`ERROR`] from
/// both ends exists for every bucket (Masson, Rim, Lee: DDSketch, 2019).
const GROWTH: f64 = (1.0 + ERROR) / (1.0 - ERROR);

/// The last bucket, which has all that took longer: its bound is some 15 days.
const LAST: u8 = 139;

/// Counts by bucket. Bucket `n` has what took more than `GROWTH^(n-1)` and at most `GROWTH^n`
/// microseconds, bucket 0 all that took a microsecond or less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Times {
    counts: BTreeMap<u8, u64>,
}

impl Times {
    /// Counts one more.
    pub fn add(&mut self, duration: Duration) {
        *self.counts.entry(bucket(duration)).or_default() += 1;
    }

    /// Counts all that another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The shortest time, in seconds, that at least this share of all did not exceed, within
    /// [`ERROR`] of it. `None` where nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, and not negative"
        )]
        let rank = ((share.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut passed = 0;
        let (bucket, _) = self.counts.iter().find(|(_, count)| {
            passed += **count;
            passed >= rank
        })?;
        Some(2.0 * GROWTH.powi(i32::from(*bucket)) / (GROWTH + 1.0) / 1e6)
    }
}

fn bucket(duration: Duration) -> u8 {
    let micros = duration.as_secs_f64() * 1e6;
    let bucket = (micros.max(1.0).ln() / GROWTH.ln()).ceil().min(f64::from(LAST));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and LAST")]
    let bucket = bucket as u8;
    bucket
}
