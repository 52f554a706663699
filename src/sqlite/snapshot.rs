//! One consistent copy of a live database, taken while its application writes (HAZARDS H10, H11).
//!
//! A single read transaction spans the whole copy, so that the backup API reads one state and has nothing to
//! restart (<https://www.sqlite.org/backup.html>). In WAL mode writers do not notice; in rollback mode they wait,
//! which `Bounds::longest_block` limits.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::facts::{Facts, wal_bytes};
use super::schema;
use crate::error::{Error, Reason, Result};
use crate::words;

/// Pages copied between two looks at the limits: 4 MiB at the usual page size, some milliseconds.
const PAGES_A_STEP: i32 = 1024;

/// Where a copy gives up.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// In rollback mode: how long writers may be kept waiting.
    pub longest_block: Duration,
    /// In WAL mode: by how many bytes the write-ahead log may grow while our transaction pins it.
    pub most_wal_growth: u64,
}

/// What was copied.
#[derive(Debug, Clone)]
pub struct Copied {
    /// Numbers of the copied state.
    pub facts: Facts,
    /// Its schema, as [`schema::text`] gives it.
    pub schema: String,
    /// How long the read transaction was open.
    pub held: Duration,
}

/// Copies the database behind `source` (whose file is `path`) into a new file `target`.
///
/// `go_on` is asked between steps and ends the copy with its error; `progress` is told the pages done and their
/// total. Errors: those, `deadline` past `bounds`, `not_found` for an empty database, `no_space`.
pub fn copy(
    source: &mut Connection,
    path: &Path,
    target: &Path,
    bounds: Bounds,
    go_on: &dyn Fn() -> Result<()>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied> {
    let mut scratch = new_database(target)?;
    // A copy that is cut short is thrown away: it needs neither a journal nor a sync of its own.
    scratch.pragma_update(None, "journal_mode", "off")?;
    scratch.pragma_update(None, "synchronous", "off")?;

    let transaction = source.transaction()?;
    let schema = schema::text(&transaction)?;
    let began = Instant::now();
    let facts = Facts::read(&transaction)?;
    if facts.pages == 0 || schema.is_empty() {
        return Err(Error::new(
            Reason::Shrunken,
            format!("{} is an empty database: there is nothing to back up", path.display()),
        ));
    }
    let wal_before = wal_bytes(path);
    let in_wal_mode = facts.journal_mode == "wal";
    {
        let backup = Backup::new(&transaction, &mut scratch)?;
        loop {
            go_on()?;
            if !in_wal_mode && began.elapsed() > bounds.longest_block {
                return Err(Error::new(
                    Reason::Deadline,
                    format!(
                        "the copy was given up: in {} mode writers wait for it, and after {} it was not done; raise \
                         maintain.max_block, or let the application use WAL mode",
                        facts.journal_mode,
                        words::duration(bounds.longest_block.as_secs_f64())
                    ),
                ));
            }
            if wal_bytes(path).saturating_sub(wal_before) > bounds.most_wal_growth {
                return Err(Error::new(
                    Reason::Deadline,
                    format!(
                        "the copy was given up: the write-ahead log grew by more than {} while it was taken; \
                         raise maintain.max_wal, or take backups at a quieter time",
                        words::bytes(bounds.most_wal_growth)
                    ),
                ));
            }
            let step = backup.step(PAGES_A_STEP).map_err(|e| beside(target, e.into()))?;
            let at = backup.progress();
            let pages = |n: i32| u64::try_from(n).unwrap_or(0);
            progress(pages(at.pagecount - at.remaining), pages(at.pagecount));
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // Inside our own read transaction nobody can stand in the way but a rollback that is being
                // recovered; it does not last.
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
    let held = began.elapsed();
    transaction.rollback()?;
    Ok(Copied { facts, schema, held })
}

/// SQLite would follow a link that somebody put there, and let everybody read the copy.
fn new_database(path: &Path) -> Result<Connection> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io(format!("cannot make {}", path.display()), &e))?;
    Ok(Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?)
}

/// SQLite says "database or disk is full", and not which.
fn beside(target: &Path, error: Error) -> Error {
    match error.reason {
        Reason::NoSpace => Error::new(
            Reason::NoSpace,
            format!("there was no room left to write {}; free some space there", target.display()),
        ),
        _ => error,
    }
}
