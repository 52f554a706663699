//! Spreads jobs that are due at the same moment. The same database, job and due time always give
//! the same offset, on every machine and after every restart; must never draw random numbers.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::terms::JobKind;

/// How long after `due_at` the job starts: at least zero and below `jitter`, in milliseconds.
pub fn offset(database: &str, kind: JobKind, due_at: DateTime<Utc>, jitter: Duration) -> TimeDelta {
    let Ok(bound @ 1..) = u64::try_from(jitter.as_millis()) else { return TimeDelta::zero() };
    let mut hash = Sha256::new();
    // The zero byte keeps ("ab", "c") and ("a", "bc") apart.
    for part in [database.as_bytes(), &[0], kind.as_str().as_bytes(), &due_at.timestamp().to_be_bytes()] {
        hash.update(part);
    }
    let draw = hash.finalize().iter().take(8).fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    i64::try_from(draw % bound).map_or(TimeDelta::zero(), TimeDelta::milliseconds)
}
