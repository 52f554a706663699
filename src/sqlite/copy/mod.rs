//! The pages of a database that SQLite may call damaged, as one consistent state, its write-ahead
//! log included: nothing of its content is looked at. Must never write to it, and never read it but
//! through SQLite (HAZARDS H1, H4).

mod sink;
pub(in crate::sqlite) mod steps;
pub mod snapshot;

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::Backup;

use self::sink::Sink;
use self::snapshot::Bounds;
use self::steps::{OnLock, to_the_end};
use super::files::paths::wal_bytes;
use super::look::facts::is_wal;
use super::open::exclusive;
use super::write::hold;
use crate::error::{Error, Reason, Result};
use crate::terms::progress::{Unit, Watch};
use crate::words;

/// Pages pulled between two looks at the limits: at most some megabytes.
const STEP: i32 = 64;

/// Gives the pages of the database at `path` to `out`, each with its offset in the file, in no
/// certain order.
///
/// Errors: `not_a_database` and `damaged` where its header is so broken that SQLite reads nothing
/// of it; `deadline` past `bounds`; `busy`; what `out` and `watch` return.
pub fn pages(
    path: &Path,
    busy_timeout: Duration,
    bounds: Bounds,
    out: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    watch: &dyn Watch,
) -> Result<()> {
    let source = exclusive::opened(path, busy_timeout)?;
    hold::read_only(&source)?;
    // Neither reads the schema, which may be damaged as well; the second one takes hold of the
    // present state.
    source.execute_batch("BEGIN; PRAGMA schema_version")?;
    let held = ReadLimits {
        path,
        blocks_writers: !is_wal(&source)?,
        bounds,
        began: Instant::now(),
        log: wal_bytes(path),
    };
    let copied = copied(&source, &held, out, watch);
    // Read only: nothing to lose, and the next error would hide the first.
    let _ = source.execute_batch("ROLLBACK");
    copied
}

fn copied(
    source: &Connection,
    held: &ReadLimits<'_>,
    out: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    watch: &dyn Watch,
) -> Result<()> {
    let mut sink = Sink::new()?;
    let (target, written) = sink.parts();
    let backup = Backup::new(source, target)?;
    let before = || {
        let progress = backup.progress();
        let total = u64::try_from(progress.pagecount).unwrap_or(0);
        let done = total.saturating_sub(u64::try_from(progress.remaining).unwrap_or(0));
        watch.step(done, total, Unit::Steps)?;
        held.within_bounds()?;
        Ok(true)
    };
    to_the_end(&backup, STEP, OnLock::Again, before, || written.each(&mut *out)).map(drop)
}

/// The state that is held while it is read.
struct ReadLimits<'p> {
    path: &'p Path,
    blocks_writers: bool,
    bounds: Bounds,
    began: Instant,
    log: u64,
}

impl ReadLimits<'_> {
    fn within_bounds(&self) -> Result<()> {
        let Bounds { longest_block, longest_read, most_wal_growth } = self.bounds;
        let (limit, key) = if self.blocks_writers {
            (longest_block, "maintain.max_block")
        } else {
            (longest_read, "backup.max_snapshot")
        };
        let grown = wal_bytes(self.path).saturating_sub(self.log);
        let why = if self.began.elapsed() > limit {
            format!("it took longer than {key} = {} allows", words::duration(limit.as_secs_f64()))
        } else if grown > most_wal_growth {
            format!(
                "its write-ahead log grew by more than maintain.max_wal = {}",
                words::bytes(most_wal_growth)
            )
        } else {
            return Ok(());
        };
        let text = format!(
            "copying {} was given up, because {why}; raise it, or stop the application and try again",
            self.path.display()
        );
        Err(Error::new(Reason::Deadline, text))
    }
}
