//! Offsets that spread jobs.

use super::fixtures::at;
use chrono::{DateTime, TimeDelta};
use litekeeper::schedule::jitter;
use litekeeper::terms::JobKind;
use proptest::prelude::*;
use std::time::Duration;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lie_within_the_jitter_and_stay_the_same(
        name in "[a-z]{1,8}", due in 0..4_000_000_000_i64, millis in 0..10_000_000_u64,
    ) {
        let due = DateTime::from_timestamp(due, 0).unwrap();
        let jitter = Duration::from_millis(millis);
        let offset = jitter::offset(&name, JobKind::Backup, due, jitter);
        prop_assert!(offset >= TimeDelta::zero());
        prop_assert!(millis == 0 || offset.to_std().unwrap() < jitter);
        prop_assert_eq!(offset, jitter::offset(&name, JobKind::Backup, due, jitter));
    }
}

#[test]
fn spread_databases_jobs_and_days_apart() {
    let jitter = Duration::from_secs(600);
    let day = at("2027-01-01T00:00:00Z");
    let mut tenths = [0_u32; 10];
    for n in 0..1000_i32 {
        let name = format!("db{}", n % 10);
        let kind = if n % 20 < 10 { JobKind::Backup } else { JobKind::Cleanup };
        let offset = jitter::offset(&name, kind, day + TimeDelta::days(i64::from(n / 20)), jitter);
        tenths[usize::try_from(offset.num_milliseconds() / 60_000).unwrap()] += 1;
    }
    // 100 are expected in each; 60 to 140 is four standard deviations, and the draw is the same
    // each time.
    assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
}
