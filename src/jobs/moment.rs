//! When a run may commit, so that no transaction of the application fails for it (HAZARDS H35). Short slices ask for a pause
//! that is long enough; what holds writers for longer than any pause waits for the application to be quiet, and not for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Context, blocking};
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::sqlite::facts::is_wal;
use crate::sqlite::pauses::{Locks, Moment};

/// No hold that is shorter than this gets anything done.
pub const LEAST: Duration = Duration::from_micros(500);

/// Attempts in a row, outside WAL mode, at which somebody read when it came to the COMMIT: then that waits for them, and nobody
/// else gets in, as always with SQLite.
pub const STARVED: u32 = 10;

/// Between two looks at whether the run must stop, and at what else could be done with the pauses there are.
const PIECE: Duration = Duration::from_millis(250);

/// How long a quiet moment is waited for, and then the end of a transaction.
const FOR_QUIET: Duration = Duration::from_secs(3);
const FOR_AN_END: Duration = Duration::from_secs(1);

/// One slice's wait, with all its attempts.
#[derive(Debug)]
pub struct Patience {
    since: Instant,
    until: Instant,
}

impl Context {
    /// Where the application's locks are. Reads the database.
    pub async fn locks(&self) -> Result<Locks> {
        let wal = self.sql(|c| {
            c.pragma_query_value(None, "schema_version", |_| Ok(()))?;
            is_wal(c)
        });
        Ok(if wal.await? { Locks::Log } else { Locks::File })
    }

    /// Begins to look at the application's transactions, so that something is known of them when a moment is needed.
    pub async fn watch_pauses(&self) -> Result<Locks> {
        let (locks, pauses) = (self.locks().await?, Arc::clone(&self.pauses));
        if self.waits_for_none() {
            return Ok(locks);
        }
        blocking(move || {
            pauses.watch(locks);
            Ok(locks)
        })
        .await
    }

    /// Waits a little for a moment at which writers can be held for `least`. Where there is none, [`Moment::None`], and the
    /// caller may try a shorter hold, up to the end of its patience.
    ///
    /// Errors: `no_pause` when that is over.
    pub async fn moment(&self, locks: Locks, least: Duration, patience: &Patience) -> Result<Moment> {
        self.go_on()?;
        let moment = self.wait(locks, least, PIECE).await?;
        if matches!(moment, Moment::None(_)) {
            self.waits.say(self);
            self.go_on()?;
            patience.check(self)?;
        }
        Ok(moment)
    }

    /// How long one slice may wait for its moment.
    pub fn patience(&self) -> Patience {
        let since = Instant::now();
        Patience { since, until: since + self.database.pool.pause_timeout }
    }

    /// Whether the operator wants nobody waited for.
    fn waits_for_none(&self) -> bool {
        self.database.pool.pause_timeout.is_zero()
    }

    /// Before what holds writers for long, or for nobody knows how long: waits for the application to be quiet; where it is
    /// not, for the end of a transaction; and where there is none to be seen, no longer. How it went is told by
    /// [`Waits::unquiet`].
    pub async fn before_hold(&self) -> Result<()> {
        let locks = self.locks().await?;
        // Who was never quiet for so long is not waited for before each part.
        if !self.waits.has_met() {
            let until = Instant::now() + FOR_QUIET;
            while Instant::now() < until {
                match self.wait(locks, Duration::MAX, PIECE).await? {
                    Moment::Quiet | Moment::Unseen => return Ok(()),
                    Moment::Pause(_) | Moment::None(_) => {
                        self.waits.say(self);
                        self.go_on()?;
                    }
                }
            }
        }
        self.waits.meet();
        let until = Instant::now() + FOR_AN_END;
        while Instant::now() < until {
            match self.wait(locks, Duration::ZERO, PIECE).await? {
                Moment::None(_) => self.go_on()?,
                Moment::Quiet | Moment::Unseen | Moment::Pause(_) => break,
            }
        }
        Ok(())
    }

    async fn wait(&self, locks: Locks, least: Duration, most: Duration) -> Result<Moment> {
        if self.waits_for_none() {
            return Ok(Moment::Unseen);
        }
        let pauses = Arc::clone(&self.pauses);
        blocking(move || Ok(pauses.wait(locks, least, most))).await
    }
}

impl Patience {
    /// Errors: `no_pause` when it is over.
    pub fn check(&self, context: &Context) -> Result<()> {
        if Instant::now() < self.until {
            return Ok(());
        }
        let kind = context.kind;
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

/// What a run has met of the application while it waited.
#[derive(Debug, Default)]
pub struct Waits {
    said: AtomicBool,
    met: AtomicBool,
    unquiet: AtomicU64,
}

impl Waits {
    /// Once a run: it may last long, and nothing else would show why.
    fn say(&self, context: &Context) {
        if !self.said.swap(true, Ordering::Relaxed) {
            let database = &context.database.name;
            tracing::info!(database, job = %context.kind, "waiting for a pause between the application's transactions");
        }
    }

    fn has_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    fn meet(&self) {
        self.met.store(true, Ordering::Relaxed);
        self.unquiet.fetch_add(1, Ordering::Relaxed);
    }

    /// How many holds began although the application was not quiet, since this was last asked.
    pub fn unquiet(&self) -> u64 {
        self.unquiet.swap(0, Ordering::Relaxed)
    }
}
