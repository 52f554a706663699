//! A limit on the bytes that are written in a second. Must never keep a run from ending: it sleeps
//! in short naps and asks after each whether to go on.

use std::io::{self, Write};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::terms::progress::Watch;

/// What may be written at once after a pause, as the time in which it would have been written.
const BURST: Duration = Duration::from_millis(250);

/// The longest sleep between two looks at whether to go on.
const NAP: Duration = Duration::from_millis(50);

/// How much may be written when. Pure: times are since any one moment.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    rate: NonZeroU64,
    /// When what has been written would have been written at exactly the rate.
    due: Duration,
}

impl Allowance {
    /// Notes bytes that were written, and says how long to wait before the next.
    fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.get());
        // A pause is not made up for, but for a moment's worth.
        let from = self.due.max(now.saturating_sub(BURST));
        self.due = from.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        self.due.saturating_sub(now)
    }

    /// Bytes to write at a time, so that the waits between them are short.
    fn piece(&self) -> usize {
        usize::try_from(self.rate.get() / 20).unwrap_or(usize::MAX).clamp(1 << 10, 256 << 10)
    }
}

/// A writer that writes no faster than it may, and not at all once it must stop.
pub(super) struct PacedWriter<'a, W> {
    out: W,
    allowance: Option<Allowance>,
    begun: Instant,
    watch: &'a dyn Watch,
    stopped: &'a mut Option<Error>,
}

impl<'a, W: Write> PacedWriter<'a, W> {
    /// Before `out`, with at most `rate` bytes a second, if that is limited. Where `watch` has an
    /// error, so has the next write, and `stopped` is what it was.
    pub(super) fn new(
        out: W,
        rate: Option<NonZeroU64>,
        watch: &'a dyn Watch,
        stopped: &'a mut Option<Error>,
    ) -> Self {
        let allowance = rate.map(|rate| Allowance { rate, due: Duration::ZERO });
        Self { out, allowance, begun: Instant::now(), watch, stopped }
    }

    fn check(&mut self) -> io::Result<()> {
        self.watch.go_on().map_err(|error| {
            let told = io::Error::other(error.message.clone());
            *self.stopped = Some(error);
            told
        })
    }

    fn wait(&mut self, mut rest: Duration) -> io::Result<()> {
        while !rest.is_zero() {
            self.check()?;
            let nap = rest.min(NAP);
            std::thread::sleep(nap);
            rest -= nap;
        }
        Ok(())
    }
}

impl<W: Write> Write for PacedWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        let Some(mut allowance) = self.allowance else { return self.out.write(bytes) };
        let written = self.out.write(&bytes[..bytes.len().min(allowance.piece())])?;
        let wait = allowance.take(self.begun.elapsed(), written as u64);
        self.allowance = Some(allowance);
        self.wait(wait)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use proptest::prelude::*;
    use std::cell::Cell;

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_holds_more_than_its_share_and_a_burst(
            rate in 1_u64..10_000_000,
            steps in prop::collection::vec((0_u64..5_000, 0_u64..2_000_000), 1..60),
        ) {
            let mut allowance = Allowance { rate: NonZeroU64::new(rate).unwrap(), due: Duration::ZERO };
            let (mut now, mut written) = (Duration::ZERO, Vec::new());
            for (pause, bytes) in steps {
                now += millis(pause);
                written.push((now, bytes));
                now += allowance.take(now, bytes);
            }
            // Each stretch that begins and ends with a write; what ends it is not waited for yet.
            for from in 0..written.len() {
                let mut sum = 0_u128;
                for to in from..written.len() {
                    let stretch = (written[to].0 + BURST).saturating_sub(written[from].0);
                    prop_assert!(sum * 1_000 <= u128::from(rate) * (stretch.as_millis() + 1), "{from} to {to}");
                    sum += u128::from(written[to].1);
                }
            }
        }
    }

    #[test]
    fn whoever_never_pauses_writes_at_exactly_the_rate() {
        let mut allowance = Allowance { rate: NonZeroU64::new(1000).unwrap(), due: Duration::ZERO };
        let mut now = Duration::ZERO;
        for _ in 0..100 {
            now += allowance.take(now, 500);
        }
        assert_eq!(now, Duration::from_secs(50));
        // A pause gives a quarter of a second's worth, not its own length's.
        now += Duration::from_secs(3600);
        assert_eq!(allowance.take(now, 250), Duration::ZERO);
        assert_eq!(allowance.take(now, 1), millis(1));
    }

    #[test]
    fn a_wait_of_hours_ends_when_the_run_must_stop() {
        let looks = Cell::new(0);
        let go_on = || {
            looks.set(looks.get() + 1);
            if looks.get() < 3 { Ok(()) } else { Err(Error::new(Reason::Cancelled, "stopped")) }
        };
        let (mut out, mut stopped) = (Vec::new(), None);
        let mut paced = PacedWriter::new(&mut out, NonZeroU64::new(1), &go_on, &mut stopped);
        assert!(paced.write_all(&[7; 10_000]).is_err());
        assert_eq!(stopped.map(|error| error.reason), Some(Reason::Cancelled));
        assert_eq!(out.len(), 1 << 10);
    }
}
