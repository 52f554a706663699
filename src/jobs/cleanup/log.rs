//! Keeps the write-ahead log short while rows are removed: the batches' pages are moved into the
//! file as they come, and where a reader or a replicator keeps them in the log past
//! `maintain.max_wal`, the run waits, and then ends. Never moves pages where a replicator owns the
//! log (HAZARDS H11, H13).

use std::time::{Duration, Instant};

use super::batch::{ATTEMPTS, BatchReport};
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::sqlite::files::paths::wal_bytes;
use crate::sqlite::files::replicator;
use crate::sqlite::write::checkpoint::settle;
use crate::words;

/// Between two looks at a log that is too long.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// How long a log that is too long is waited for, in terms of `pool.busy_timeout`: as long as for a
/// lock.
const PATIENCE: u32 = ATTEMPTS;

/// The log during one run.
#[derive(Debug)]
pub(super) struct Log {
    /// Bytes of its file that nobody minds: it keeps its size when it begins anew.
    tolerated: u64,
    /// The largest that it was seen, as bytes of its file.
    pub(super) peak: u64,
}

impl Log {
    pub(super) fn new(run: &Run) -> Self {
        let bytes = wal_bytes(&run.database.path);
        Self { tolerated: bytes.max(run.database.maintain.max_wal), peak: bytes }
    }

    /// After a batch: goes on at once, or when the log is short again. [`Reason::Deadline`] where
    /// that takes too long.
    pub(super) fn watch(&mut self, run: &Run, step: &BatchReport, page_size: u64) -> Result<()> {
        let path = &run.database.path;
        let bytes = wal_bytes(path);
        self.peak = self.peak.max(bytes);
        if bytes <= self.tolerated
            || step.moved.is_some_and(|(_, made)| is_short(run, made.log_pages, page_size))
        {
            return Ok(());
        }
        let patience = run.database.pool.busy_timeout * PATIENCE;
        let since = Instant::now();
        while since.elapsed() < patience {
            run.pause(BETWEEN_LOOKS)?;
            let owned_or_made = run.sql(|c| if replicator::owns(c, path) { Ok(None) } else { settle(c) });
            if let Some(made) = owned_or_made?
                && (made.moved_pages == made.log_pages || is_short(run, made.log_pages, page_size))
                && !made.busy
            {
                return Ok(());
            }
            // What a replicator has taken over shows only in that the file grows no more, or is
            // cut.
            if wal_bytes(path) < bytes {
                return Ok(());
            }
        }
        Err(self.too_long(run, step, patience))
    }

    fn too_long(&self, run: &Run, step: &BatchReport, patience: Duration) -> Error {
        let who = match step.moved {
            Some(_) => "a transaction of another connection, which has been reading",
            None => "the replicator that owns it, which has not taken it over",
        };
        Error::new(
            Reason::Deadline,
            format!(
                "ended early: the write-ahead log has grown to {}, past maintain.max_wal = {}, and is kept from being \
                 emptied by {who} for {} or longer; the next run goes on",
                words::bytes(self.peak),
                words::bytes(run.database.maintain.max_wal),
                show_duration(patience),
            ),
        )
    }
}

fn is_short(run: &Run, pages: u64, page_size: u64) -> bool {
    pages * page_size <= run.database.maintain.max_wal
}
