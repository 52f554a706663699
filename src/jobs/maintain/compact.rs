//! The space of a file without auto_vacuum, at a quiet moment: a compact copy is made beside it by
//! VACUUM INTO, which only reads, and put in its place under the write lock, if nobody has
//! committed meanwhile (`sqlite::overwrite`).
//!
//! Measured on 1 GiB (half of it rows with three indexes, half blobs) with 156 MiB of free pages,
//! WAL mode, two cores that others used too: VACUUM holds writers for 6.5 to 7.5 s, and cannot be
//! interrupted in its second half; this way holds them for 3.1 to 3.6 s, and can be given up each
//! 25 ms.

use std::time::{Duration, Instant};

use super::speed::for_pages;
use crate::error::{Reason, Result};
use crate::jobs::Run;
use crate::jobs::reading::Reader;
use crate::sqlite::files::space::temp_directory;
use crate::sqlite::open;
use crate::sqlite::upkeep::overwrite::{OverwriteOutcome, Watcher, overwrite};
use crate::sqlite::upkeep::vacuum;
use crate::store::scratch::ScratchDirectory;

/// Copies that are made before the application's writes are taken to be there to stay.
const ATTEMPTS: u32 = 3;

/// A moment is quiet when nobody has committed for so long …
const QUIET: Duration = Duration::from_millis(300);

/// … and is waited for no longer than this. Who writes on so long is not waited for again: that
/// would keep the steps after this one waiting, too.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// What came of it.
pub(super) enum Compaction {
    /// The file is compact; writers were held for so long, and it is the attempt of this number.
    Done(Duration, u32),
    /// Nothing was changed, and why.
    NotNow(String),
    /// It was rolled back, for it would have held writers for longer than it may.
    TooLong,
}

/// Writers are held for about as long as is `expected`.
pub(super) fn run(run: &Run, expected: Duration) -> Result<Compaction> {
    let mut why = String::new();
    for number in 1..=ATTEMPTS {
        let Some(watcher) = quiet(run)? else {
            why = String::from("the application wrote all the time");
            break;
        };
        match attempt(run, &watcher, expected) {
            Ok(OverwriteOutcome::Done(held)) => return Ok(Compaction::Done(held, number)),
            Ok(OverwriteOutcome::TooLong) => return Ok(Compaction::TooLong),
            Ok(OverwriteOutcome::Outdated) => {
                why = format!("the application wrote during each of {ATTEMPTS} attempts");
            }
            // Somebody kept the lock, or the copy took longer to read than a read may.
            Err(error) if matches!(error.reason, Reason::Busy | Reason::Deadline) => {
                run.go_on()?;
                why = error.message;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Compaction::NotNow(why))
}

/// A watcher that has seen no commit for a while; none where the application does not stop writing.
fn quiet(run: &Run) -> Result<Option<Watcher>> {
    let watcher = run.sql(|_| Watcher::new(&run.database.path))?;
    let began = Instant::now();
    let mut since = began;
    while began.elapsed() < LONGEST_WAIT {
        run.pause(QUIET / 3)?;
        if watcher.has_changed()? {
            since = Instant::now();
        } else if since.elapsed() >= QUIET {
            return Ok(Some(watcher));
        }
    }
    Ok(None)
}

fn attempt(run: &Run, watcher: &Watcher, expected: Duration) -> Result<OverwriteOutcome> {
    let longest = run.database.backup.max_snapshot;
    let copy = Reader::new(run)?.read_within(longest, |connection| {
        let named = ScratchDirectory::create(&temp_directory(), "compact")?;
        vacuum::into(connection, &named.path())?;
        Ok(open::immutable(&named.path())?)
    })?;
    let limit = for_pages(run.database.maintain.max_block);
    run.before_hold(expected)?;
    let done = run.sql(|c| overwrite(c, &copy, watcher, limit, &run.holds, run));
    run.pauses.over();
    done
}
