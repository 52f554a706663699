//! The facts worth telling: one struct each, with one `emit` that writes the log line and the
//! metric. A fact that comes by the thousand (a statement's time) has no log line. Must never
//! decide anything, and never put SQL text, a path or an error text into a label.
//!
//! Failures are logged as errors, refusals and slowness as warnings, the rest as information.

mod backup;
mod config;
mod database;
mod gauges;
mod jobs;
mod pool;
mod queries;

pub use backup::{BackupCopy, BackupCopyFailed, Backups, Cleaned, Reclaimed};
pub use config::{ConfigInForce, ConfigLoaded, ConfigRejected, ConfigReloaded, StateKept};
pub use database::{
    Check, CheckChanged, DatabaseDamaged, DiskFree, Growth, IndexProblems, LogFreed, LogPinned, LogPinnedFor,
    Sizes, TableSize,
};
pub use jobs::{JobFinished, JobScheduled, JobSkipped, JobStarted, JobSucceededBefore, LeftOut};
pub use pool::{BusyRetry, PoolGauges, PoolRecycled, PoolTimedOut, PoolWaited};
pub use queries::{PlanChanged, QueryTimed, SlowQueriesDropped, SlowQuery, WatchTimed, WritersHeld};

/// The target of the log lines: the program, not the file that happens to write them.
const LOG: &str = "litekeeper";
