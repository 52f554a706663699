//! WATCH-LOCKS: what litekeeper starts for itself beside a run that commits, to see when the
//! application is in a transaction. Not for users, and hidden from them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::exit;
use crate::error::Result;
use crate::sqlite::pauses::{Locks, watcher};

/// Tells a run of litekeeper when the application is in a transaction; started by litekeeper
/// itself.
#[derive(Debug, Args)]
pub(in crate::cli) struct WatchLocks {
    /// Of a write-ahead log (log) or of a database file (file).
    locks: Locks,
    /// The file that holds them.
    path: PathBuf,
    /// Its device.
    device: u64,
    /// Its inode.
    inode: u64,
    /// Microseconds for which somebody who reads is waited for.
    longest: u64,
}

impl WatchLocks {
    pub(in crate::cli) fn run(self) -> Result<u8> {
        let longest = Duration::from_micros(self.longest);
        watcher::serve(&self.path, self.locks, (self.device, self.inode), longest)?;
        Ok(exit::OK)
    }
}
