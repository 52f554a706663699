//! When a run may commit, so that no transaction of the application fails for it (HAZARDS H35): in
//! a pause between its transactions that is long enough, or while it is quiet. Slices become
//! smaller where pauses are short; what has one size is left for another time.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Run;
use super::pace::{LEAST, Pace};
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::pool::wait_for_locks;
use crate::sqlite::look::facts::is_wal;
use crate::sqlite::pauses::{Locks, Moment, Pauses};

/// Attempts in a row, outside WAL mode, at which somebody read when it came to the COMMIT: then
/// that waits for them, and nobody else gets in, as always with SQLite.
pub const STARVED: u32 = 10;

/// Between two looks at whether the run must stop, and at what else could be done with the pauses
/// there are.
const PIECE: Duration = Duration::from_millis(250);

/// How long a run that has given up one part waits for a moment for each of the others, which may
/// be shorter.
const ONCE_MORE: Duration = Duration::from_secs(1);

/// How long the end of a transaction is waited for, where no pause is long enough.
const FOR_AN_END: Duration = Duration::from_secs(1);

/// One slice's wait, with all its attempts.
#[derive(Debug)]
pub struct Patience {
    since: Instant,
    until: Instant,
}

impl Run {
    /// Where the application's locks are. Reads the database.
    pub fn locks(&self) -> Result<Locks> {
        let wal = self.sql(|c| {
            c.pragma_query_value(None, "schema_version", |_| Ok(()))?;
            is_wal(c)
        });
        Ok(if wal? { Locks::Log } else { Locks::File })
    }

    /// Begins to look at the application's transactions, so that something is known of them when a
    /// moment is needed.
    pub fn watch_pauses(&self) -> Result<Locks> {
        let locks = self.locks()?;
        if !self.waits_for_none() {
            self.pauses.watch(locks);
        }
        Ok(locks)
    }

    /// Waits a little for a moment at which writers can be held for `least`. Where there is none,
    /// [`Moment::None`], and the caller may try a shorter hold, up to the end of its patience.
    ///
    /// Errors: `no_pause` when that is over.
    pub fn moment(&self, locks: Locks, least: Duration, patience: &Patience) -> Result<Moment> {
        self.go_on()?;
        let moment = self.wait(locks, least, PIECE);
        if matches!(moment, Moment::None(_)) {
            self.waits.say(&self.database.name, self.kind);
            self.go_on()?;
            patience.check(self)?;
        }
        Ok(moment)
    }

    /// How long one slice may wait for its moment.
    pub fn patience(&self) -> Patience {
        let (since, most) = (Instant::now(), self.database.pool.pause_timeout);
        let gave_up = self.waits.has_given_up.load(Ordering::Relaxed);
        Patience { since, until: since + if gave_up { most.min(ONCE_MORE) } else { most } }
    }

    /// Whether the operator wants nobody waited for.
    fn waits_for_none(&self) -> bool {
        self.database.pool.pause_timeout.is_zero()
    }

    /// Before what holds writers for about `lasts`, and cannot be made shorter: waits for a pause
    /// that is long enough, or for the application to be quiet.
    ///
    /// Errors: `no_pause` where there is neither within `pool.pause_timeout`; after the first time
    /// that a run has met with, within [`ONCE_MORE`].
    pub fn before_hold(&self, lasts: Duration) -> Result<()> {
        let locks = self.locks()?;
        let patience = self.patience();
        while let Moment::None(_) = self.moment(locks, lasts, &patience)? {}
        Ok(())
    }

    /// Runs `attempt`, which holds writers for about `lasts`, in such a pause, within `limit`; and
    /// again where a transaction of the application came first: it gives `None` then. It is told of
    /// the pauses where it is not to wait for a lock.
    ///
    /// Errors: `no_pause`, and its own.
    pub fn in_pause<T>(
        &self,
        lasts: Duration,
        limit: Duration,
        mut attempt: impl FnMut(&mut Connection, Option<&Pauses>) -> Result<Option<T>>,
    ) -> Result<T> {
        let (locks, patience) = (self.locks()?, self.patience());
        let mut taken = 0;
        loop {
            let moment = self.moment(locks, lasts, &patience)?;
            if matches!(moment, Moment::None(_)) {
                continue;
            }
            let is_timed = moment != Moment::Unseen && (locks == Locks::Log || taken < STARVED);
            let done = self.sql_within(limit, |connection| {
                wait_for_locks(!is_timed);
                let done = attempt(connection, is_timed.then_some(&self.pauses));
                wait_for_locks(true);
                done
            });
            self.pauses.over();
            if let Some(done) = done? {
                return Ok(done);
            }
            taken += 1;
            patience.check(self)?;
        }
    }

    /// Before what cannot be left for another time, as the repair of what is wrong in the database:
    /// where the application leaves no such pause, waits for the end of a transaction, and where
    /// there is none to be seen, no longer.
    pub fn before_repair(&self, lasts: Duration) -> Result<()> {
        match self.before_hold(lasts) {
            Err(error) if error.reason == Reason::NoPause => {}
            done => return done,
        }
        let locks = self.locks()?;
        let until = Instant::now() + FOR_AN_END;
        while Instant::now() < until && matches!(self.wait(locks, Duration::ZERO, PIECE), Moment::None(_)) {
            self.go_on()?;
        }
        Ok(())
    }

    fn wait(&self, locks: Locks, least: Duration, most: Duration) -> Moment {
        if self.waits_for_none() {
            return Moment::Unseen;
        }
        self.pauses.wait(locks, least, most)
    }
}

impl Patience {
    /// Errors: `no_pause` when it is over.
    pub fn check(&self, run: &Run) -> Result<()> {
        if Instant::now() < self.until {
            return Ok(());
        }
        if run.waits.has_given_up.swap(true, Ordering::Relaxed) {
            let text = "gave up for now, too: the application left no pause that is long enough for it";
            return Err(Error::new(Reason::NoPause, text));
        }
        let kind = run.kind;
        Err(Error::new(
            Reason::NoPause,
            format!(
                "gave up for now: for {} the application left no pause between its transactions in which writers could be \
                 held without making one fail; the next run goes on. Schedule {kind} for a quieter hour, or raise pool.pause_timeout",
                show_duration(
                    Duration::from_secs(self.since.elapsed().as_secs()).max(Duration::from_secs(1))
                )
            ),
        ))
    }
}

/// Work in slices, each in a pause of its own, and each as large as the pauses that there are
/// allow.
pub struct Slices<'r> {
    run: &'r Run,
    locks: Locks,
    pace: Pace,
    patience: Patience,
    /// Attempts at the present slice that a transaction of the application came before.
    taken: u32,
}

impl<'r> Slices<'r> {
    /// Begins to look at the application's transactions.
    pub fn begin(run: &'r Run, pace: Pace) -> Result<Self> {
        Ok(Self { locks: run.watch_pauses()?, patience: run.patience(), run, pace, taken: 0 })
    }

    /// How many rows or pages the next slice has.
    pub const fn size(&self) -> u64 {
        self.pace.size()
    }

    /// Waits for a moment for so many: whether it was chosen, and is not to be missed by waiting
    /// for a lock. `None` where the pauses are too short for them, and [`Self::size`] is smaller
    /// now.
    ///
    /// Errors: `no_pause`.
    pub fn moment(&mut self, size: u64) -> Result<Option<bool>> {
        let moment = self.run.moment(self.locks, self.pace.expected(size), &self.patience)?;
        self.pace.fit(match moment {
            Moment::None(longest) => Some(longest).filter(|longest| *longest >= LEAST),
            Moment::Pause(lasts) => Some(lasts),
            Moment::Quiet | Moment::Unseen => None,
        });
        Ok(match moment {
            Moment::None(_) => None,
            Moment::Unseen => Some(false),
            Moment::Pause(_) | Moment::Quiet => Some(self.locks == Locks::Log || self.taken < STARVED),
        })
    }

    /// A transaction of the application came first, and nothing was changed.
    ///
    /// Errors: `no_pause`.
    pub fn taken(&mut self) -> Result<()> {
        self.taken += 1;
        self.pace.shrink();
        self.patience.check(self.run)
    }

    /// Learns from a slice that was done: for how much of its time it worked.
    pub fn done(&mut self, worked: Duration, lasted: Duration) {
        self.pace.learn(worked, lasted);
        self.renew();
    }

    /// Begins another slice, which is waited for as long as any.
    pub fn renew(&mut self) {
        (self.taken, self.patience) = (0, self.run.patience());
    }
}
