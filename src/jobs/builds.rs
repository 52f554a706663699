//! How long writers were held while one index was built, and which builds are known to take longer
//! than they may: tried each night, they would hold the application up each night, and in vain.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Transaction;

use super::Run;
use super::limits::{part, write_now};
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::sqlite::look::facts::Facts;
use crate::state::facts::{BUILDS, Build};

/// A file that is smaller by this share than at an attempt that failed is worth another one.
const SMALLER: f64 = 0.1;

/// Of `max_block`; the rest of it went by in waiting for the lock.
const NEARLY_ALL: f64 = 0.9;

/// Why an index is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The configuration says so; it can be left for another time.
    Policy,
    /// It gives wrong answers.
    Damage,
}

/// What is known, by the name of the index.
pub struct Builds {
    known: BTreeMap<String, Build>,
    used: u64,
    limit: Duration,
}

impl Builds {
    /// What earlier runs kept, and how large the database is now.
    pub fn recall(run: &Run) -> Result<Self> {
        let used = run.sql(|c| Ok(Facts::read(c)?.used_bytes()))?;
        Ok(Self { known: run.recall(BUILDS)?, used, limit: run.database.maintain.max_block })
    }

    /// For how long writers would be held: unless it was built before, for longer than any pause.
    fn hold(&self, index: &str) -> Duration {
        let known = self.expected(index).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        known.unwrap_or(self.limit)
    }

    /// For how many seconds writers would be held; `None` for an index that was never built here.
    pub fn expected(&self, index: &str) -> Option<f64> {
        let build = self.known.get(index).filter(|build| build.is_built)?;
        Some(build.seconds * self.used as f64 / build.used.max(1) as f64)
    }

    /// Whether there is anything to be won by trying `what`. Where the last attempt was
    /// interrupted, and nothing speaks for another end of this one, there is not, and `problems`
    /// has why.
    pub fn may_try(&self, index: &str, what: &str, problems: &mut Vec<Error>) -> bool {
        let Some(build) = self.known.get(index).filter(|build| !build.is_built) else { return true };
        let is_smaller = (self.used as f64) < build.used as f64 * (1.0 - SMALLER);
        if is_smaller || self.limit.as_secs_f64() > build.seconds {
            return true;
        }
        let text = format!(
            "{what} would hold the application's writers for longer than maintain.max_block = {} allows: the last attempt \
             was interrupted after {}. It is left undone, and tried again once max_block is longer than that, or the database smaller \
             by a tenth; where the application may wait at this time, raise max_block",
            show_duration(self.limit),
            show_duration(Duration::try_from_secs_f64(build.seconds).unwrap_or(self.limit)),
        );
        problems.push(Error::new(Reason::Refused, text));
        false
    }

    /// Waits for a moment, does `work`, which builds `index`, within `max_block`, and remembers how
    /// long it took at once: the run may end before the next one. The outer error ends the run, the
    /// inner one is this index's alone.
    pub fn attempt<T>(
        &mut self,
        run: &Run,
        index: &str,
        what: &str,
        why: Why,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<Result<T>> {
        let hold = self.hold(index);
        let waited = match why {
            Why::Policy => run.before_hold(hold),
            Why::Damage => run.before_repair(hold),
        };
        if let Err(problem) = part(run, what, waited)? {
            return Ok(Err(problem));
        }
        let (done, had_lock) = write_now(run, what, work)?;
        let (took, is_built) = match &done {
            Ok(_) => (had_lock, true),
            // Only what had the lock nearly all the time is known to be too slow.
            Err(error) if error.reason == Reason::Deadline && had_lock >= self.limit.mul_f64(NEARLY_ALL) => {
                (self.limit, false)
            }
            Err(_) => return Ok(done),
        };
        let build = Build { seconds: took.as_secs_f64(), used: self.used, is_built };
        self.known.insert(index.to_owned(), build);
        run.update(BUILDS, |known| known.insert(index.to_owned(), build))?;
        Ok(done)
    }
}
