//! INTENT: the configuration as one immutable value. Everything past this room reads [`Config`] and
//! never the file: the text becomes tables with places (`file`), defaults and tables are merged
//! (`resolve`), the result is checked (`validate`), and two of them are compared on reload
//! (`diff`). Never opens a database.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use backup::{Backup, BackupCopy, Compression, Keep, Verify};
pub use cleanup::{ArchiveFormat, Children, Cleanup, DateFormat, Rule, Triggers};
pub use daemon::{Daemon, LogFormat};
pub use database::{Database, Pool, SCRATCH};
pub use diagnostic::{Position, Problem, Rejection};
pub use diff::{Change, Diff, diff, fixed, refusal};
pub use health::{Health, Integrity};
pub use maintain::{Analyze, Index, Maintain, Missing, Reindex, RowidPolicy, Vacuum};
pub use place::{Bucket, Cloud, Place};
pub use read::load::{DEFAULT_PATH, keys};
pub use watch::{Query, Value, Watch};
pub use when::{Blackout, Cron, Fault, Schedule, When};

mod backup;
mod cleanup;
mod daemon;
mod database;
mod diagnostic;
mod diff;
mod health;
mod maintain;
mod place;
mod read;
pub mod units;
mod watch;
mod when;

/// A whole configuration, defaults merged in, every value checked. Equal when it asks for the same:
/// warnings do not count.
#[derive(Debug, Clone)]
pub struct Config {
    /// The daemon itself.
    pub daemon: Daemon,
    /// The databases by name, each complete: no further merging is needed.
    pub databases: BTreeMap<String, Arc<Database>>,
    /// What is valid and yet perhaps not meant, one sentence each, for the log.
    pub warnings: Vec<String>,
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.daemon == other.daemon && self.databases == other.databases
    }
}
