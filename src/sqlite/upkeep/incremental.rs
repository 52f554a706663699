//! Gives free pages back a few at a time, in a database with auto_vacuum = INCREMENTAL, so that
//! neither our transaction nor the application's next one is felt. Must not be called where a
//! replicator owns the write-ahead log.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::{Error, Reason, Result};
use crate::sqlite::files::replicator;
use crate::sqlite::open;
use crate::sqlite::pauses::Pauses;
use crate::sqlite::write::checkpoint::{ByHand, settle_when_due};
use crate::sqlite::write::hold::{self, Holds};

/// Virtual machine instructions between two looks at whether it must stop: each frees a page.
const STEPS_BETWEEN_LOOKS: i32 = 100;

/// Pages between two looks at who has begun to read.
const PAGES_BETWEEN_LOOKS: u64 = 64;

/// One transaction that freed some pages.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// Pages that are still free.
    pub left: u64,
    /// How long it took to free them, without the commit, which is not shorter for fewer of them.
    pub worked: Duration,
    /// How long writers were held.
    pub held: Duration,
}

/// A connection that frees pages, and nothing else: it may be interrupted at any moment.
pub struct IncrementalVacuum {
    connection: Connection,
    path: PathBuf,
    busy_timeout: Duration,
}

impl IncrementalVacuum {
    /// Opens it. It waits so long for the application's lock.
    pub fn begin(path: &Path, busy_timeout: Duration) -> Result<Self> {
        let connection = open::another(path)?;
        Ok(Self { connection, path: path.to_owned(), busy_timeout })
    }

    /// Frees up to `pages` pages in one transaction, and then moves them out of the write-ahead
    /// log, PASSIVE, where that is long enough: the application's next commit would have to
    /// otherwise, as SQLite's automatic checkpoint. This one waits for the disk, and holds nobody
    /// up.
    ///
    /// With `timed`, the moment was chosen: `None` where a transaction of the application has begun
    /// first, or meanwhile; nothing was changed then.
    ///
    /// Errors: `cancelled` where `must_stop` says so, and all is rolled back; `refused` where a
    /// replicator has come to own the log.
    pub fn slice(
        &mut self,
        holds: &Holds,
        timed: Option<&Pauses>,
        pages: u64,
        must_stop: impl FnMut() -> bool + Send + 'static,
    ) -> Result<Option<Slice>> {
        if replicator::owns(&self.connection, &self.path) {
            return Err(Error::new(Reason::Refused, "a replicator owns the database's write-ahead log now"));
        }
        self.connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(must_stop))?;
        // What a power cut undoes is done again by the next run.
        let mut connection = ByHand::new(&mut self.connection)?;
        connection.busy_timeout(if timed.is_some() { Duration::ZERO } else { self.busy_timeout })?;
        let mut began = Instant::now();
        let done = hold::write_in_pause(&mut connection, holds, timed, |transaction, go_on| {
            began = Instant::now();
            // The statement frees a page with each row that is asked for.
            let mut statement = transaction.prepare(&format!("PRAGMA main.incremental_vacuum({pages})"))?;
            let mut rows = statement.query([])?;
            let mut asked = 0_u64;
            while rows.next()?.is_some() {
                asked += 1;
                if asked.is_multiple_of(PAGES_BETWEEN_LOOKS) {
                    go_on()?;
                }
            }
            let left = transaction.query_row("PRAGMA main.freelist_count", [], |row| row.get(0))?;
            Ok((began.elapsed(), left))
        });
        let Some((worked, left)) = done? else { return Ok(None) };
        let held = began.elapsed();
        if connection.is_wal() {
            settle_when_due(&connection)?;
        }
        Ok(Some(Slice { left, worked, held }))
    }
}
