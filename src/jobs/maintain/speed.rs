//! For how long a rewrite of the database will hold writers: foretold from its size and from how
//! fast the earlier ones were. Pure.

use std::time::Duration;

use crate::state::facts::Speeds;
use crate::words;

/// Before the first one: a third of what was measured of VACUUM on two slow cores (1 GiB, half of
/// it rows with indexes, half blobs: 100 MiB a second), for a disk that turns.
const VACUUM_AT_FIRST: f64 = 32.0 * MIB;

/// Likewise of putting a compact copy in place, which was measured at 200 MiB a second.
const OVERWRITE_AT_FIRST: f64 = 64.0 * MIB;

const MIB: f64 = 1_048_576.0;

/// Of the time that a rewrite may take, this share is for its pages, and the rest for the disk to
/// take them.
const FOR_PAGES: f64 = 0.75;

/// VACUUM first writes the live pages to a temporary file, and then copies them back over the
/// database and commits, which looks at no limit. The first part takes a fifth of the time or more
/// (measured on 336 MiB, WAL and rollback mode, disk and tmpfs), so it may have a fifth of
/// `max_block`.
const PARTS: u32 = 5;

impl Speeds {
    /// Seconds that a VACUUM of so many bytes would take.
    pub fn of_vacuum(&self, used: u64) -> f64 {
        // It ends with what the other way does alone.
        (used as f64 / self.vacuum.unwrap_or(VACUUM_AT_FIRST))
            .max(self.overwrite.map_or(0.0, |s| used as f64 / s))
    }

    /// Seconds that it would take to put a compact copy of so many bytes in place.
    pub fn of_overwrite(&self, used: u64) -> f64 {
        used as f64 / self.overwrite.unwrap_or(OVERWRITE_AT_FIRST)
    }

    /// How VACUUM's speed is known, in words.
    pub fn vacuum_basis(&self) -> String {
        let speed = |bytes: f64| words::bytes(whole(bytes));
        match self.vacuum {
            Some(measured) => format!("{} a second, as measured in an earlier run", speed(measured)),
            None => format!("{} a second, a careful guess before the first one", speed(VACUUM_AT_FIRST)),
        }
    }

    /// Learns from a VACUUM.
    pub(super) fn learn_vacuum(&mut self, used: u64, took: Duration) {
        self.vacuum = Some(speed(used, took));
    }

    /// Learns that a VACUUM takes longer than this.
    pub(super) fn learn_vacuum_is_slower(&mut self, used: u64, than: Duration) {
        let most = speed(used, than) * 0.99;
        self.vacuum = Some(self.vacuum.map_or(most, |known| known.min(most)));
    }

    /// Learns from a copy that was put in place.
    pub(super) fn learn_overwrite(&mut self, used: u64, took: Duration) {
        self.overwrite = Some(speed(used, took));
    }

    /// Learns that putting one in place takes longer than this.
    pub(super) fn learn_overwrite_is_slower(&mut self, used: u64, than: Duration) {
        let most = speed(used, than) * 0.99;
        self.overwrite = Some(self.overwrite.map_or(most, |known| known.min(most)));
    }
}

/// How long the part of VACUUM may take that can be interrupted, so that the whole keeps within
/// `max_block`.
pub(super) fn interruptible(max_block: Duration, used: u64, speeds: &Speeds, has_log: bool) -> Duration {
    let least = max_block / PARTS;
    // The part that cannot be interrupted does what was measured of the other way, which is only
    // gone in WAL mode.
    let rest = Duration::try_from_secs_f64(speeds.of_overwrite(used)).unwrap_or(Duration::MAX);
    if has_log { max_block.saturating_sub(rest).max(least) } else { least }
}

/// How long the pages of a compact copy may take to be put in place.
pub(super) fn for_pages(max_block: Duration) -> Duration {
    max_block.mul_f64(FOR_PAGES)
}

fn speed(used: u64, took: Duration) -> f64 {
    used as f64 / took.as_secs_f64().max(1e-3)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and no speed comes near 2^53"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn foretells_what_was_measured_and_no_more_than_was_found_too_slow() {
        let mut speeds = Speeds::default();
        assert!((speeds.of_vacuum(64 << 20) - 2.0).abs() < 1e-9);
        speeds.learn_vacuum(100, SECOND);
        assert!((speeds.of_vacuum(1000) - 10.0).abs() < 1e-9);
        speeds.learn_vacuum_is_slower(100, 2 * SECOND);
        assert!(speeds.of_vacuum(100) > 2.0 && speeds.of_vacuum(100) < 2.1);
        // Known to be slower already: not made faster by a shorter try.
        speeds.learn_vacuum_is_slower(100, SECOND);
        assert!(speeds.of_vacuum(100) > 2.0);
        speeds.learn_overwrite(100, 10 * SECOND);
        assert!((speeds.of_vacuum(100) - 10.0).abs() < 1e-9, "VACUUM does that too");
    }

    #[test]
    fn leaves_the_part_of_vacuum_that_nothing_can_interrupt_its_time() {
        let speeds = Speeds { vacuum: None, overwrite: Some(100.0) };
        assert_eq!(interruptible(10 * SECOND, 600, &speeds, true), 4 * SECOND);
        assert_eq!(interruptible(10 * SECOND, 990, &speeds, true), 2 * SECOND);
        assert_eq!(interruptible(10 * SECOND, 600, &speeds, false), 2 * SECOND);
    }
}
