//! When a job is due, when it may not start, and for how long it may run.

mod blackout;
mod cron;
mod cron_text;
mod either_day;
mod schedule;

use std::time::Duration;

pub use self::blackout::Blackout;
pub use self::cron::Cron;
pub use self::cron_text::Fault;
pub(in crate::config) use self::either_day::doubt;
pub use self::schedule::Schedule;

/// When a job runs and for how long: the keys that every job's table has.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// The cron expression.
    pub schedule: Schedule,
    /// A run missed while the daemon was down happens once, at start.
    pub catch_up: bool,
    /// Up to this much is added to each due time, the same for the same database, job and time.
    pub jitter: Duration,
    /// A run that takes longer is stopped and fails.
    pub timeout: Duration,
    /// When it does not start; only heavy jobs have any.
    pub blackout: Blackout,
}
