//! Moves commits from the write-ahead log into the database file (HAZARDS H12). Must not be called
//! where a replicator owns the log; only [`Backlog`] looks for that itself.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use crate::error::Result;
use crate::sqlite::files::replicator;
use crate::sqlite::look::facts;

/// How hard to try (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not at all: only says what is in the log.
    Noop,
    /// As much as nobody else uses now; holds up no one.
    Passive,
    /// All, and the file is cut to 0 bytes. While it waits for readers it keeps writers out.
    Truncate,
}

/// What a checkpoint came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// A reader, a writer or another checkpoint stood in the way of the whole.
    pub busy: bool,
    /// Pages in the log.
    pub log_pages: u64,
    /// Those of them that are in the database file now.
    pub moved_pages: u64,
}

impl Checkpoint {
    /// Whether all that was in the log is in the database file.
    pub const fn is_complete(&self) -> bool {
        !self.busy && self.moved_pages == self.log_pages
    }
}

/// Makes a checkpoint; `None` where the database has no write-ahead log. Where another connection
/// makes one at this moment (as an application does with each commit while a reader keeps a long
/// log), `busy`, and what is in the log.
pub fn checkpoint(connection: &Connection, mode: Mode) -> Result<Option<Checkpoint>> {
    let sql = match mode {
        Mode::Noop => "PRAGMA main.wal_checkpoint(NOOP)",
        Mode::Passive => "PRAGMA main.wal_checkpoint(PASSIVE)",
        Mode::Truncate => "PRAGMA main.wal_checkpoint(TRUNCATE)",
    };
    let (busy, log, moved): (bool, i64, i64) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    // -1 both without a log and where the log could not be looked at for a lock, which NOOP does
    // not take.
    match (u64::try_from(log), u64::try_from(moved)) {
        (Ok(log_pages), Ok(moved_pages)) => Ok(Some(Checkpoint { busy, log_pages, moved_pages })),
        _ if busy && mode != Mode::Noop => {
            Ok(checkpoint(connection, Mode::Noop)?.map(|seen| Checkpoint { busy, ..seen }))
        }
        _ => Ok(None),
    }
}

/// Checkpoints in a row by which [`settle`] follows an application that writes meanwhile.
const ROUNDS: usize = 4;

/// Pages in the log from which on it is to be emptied: SQLite's automatic checkpoint comes with the
/// commit that takes it to 1000, which may be the application's. Not sooner: the first commit after
/// the log was emptied begins it anew, and waits for the disk while it has the lock
/// (`walWriteOneFrame` of the header in SQLite's wal.c).
const DUE: u64 = 800;

/// Pages kept in memory by a connection that [`ByHand`] holds, in KiB, as SQLite counts them below
/// zero: a batch's own, which would otherwise be written to the log twice.
const CACHE: i64 = -16 * 1024;

/// PASSIVE checkpoints until the whole log is in the file. During the first, which takes longest,
/// the application commits again. The first then does not reach the end of the log, and it is
/// whoever does that waits for the disk (`walCheckpoint` in SQLite's wal.c): without the further
/// ones that would be the application, and the log, which SQLite begins anew only when nothing is
/// left in it, would grow as long as somebody writes. `None` where the database has no write-ahead
/// log.
pub fn settle(connection: &Connection) -> Result<Option<Checkpoint>> {
    let mut made = checkpoint(connection, Mode::Passive)?;
    for _ in 1..ROUNDS {
        // What a checkpoint says of the log is from when it began: another look.
        if made.is_none_or(|last| last.busy)
            || checkpoint(connection, Mode::Noop)?.is_none_or(|log| log.is_complete())
        {
            break;
        }
        made = checkpoint(connection, Mode::Passive)?;
    }
    Ok(made)
}

/// [`settle`] where the log is long enough for it; says what is in it otherwise.
pub fn settle_when_due(connection: &Connection) -> Result<Option<Checkpoint>> {
    let now = checkpoint(connection, Mode::Noop)?;
    match now {
        Some(log) if log.log_pages >= DUE && !log.is_complete() => settle(connection),
        _ => Ok(now),
    }
}

/// The checkpoint that SQLite makes by itself with a COMMIT once the log is that long
/// (`PRAGMA wal_autocheckpoint`; 0: none), for a COMMIT that could make none. As SQLite's own it
/// fails in silence: whoever commits next makes it.
pub(super) fn automatic(connection: &Connection) {
    let made = || -> Result<()> {
        let pages: i64 = connection.pragma_query_value(None, "wal_autocheckpoint", |row| row.get(0))?;
        let due = u64::try_from(pages).ok().filter(|pages| *pages > 0);
        let log = due.map(|_| checkpoint(connection, Mode::Noop)).transpose()?.flatten();
        if due.zip(log).is_some_and(|(due, log)| log.log_pages >= due) {
            checkpoint(connection, Mode::Passive)?;
        }
        Ok(())
    };
    if let Err(error) = made() {
        tracing::debug!("no checkpoint was made after a commit: {error}");
    }
}

/// What others commit while a connection reads for long, and which stays in the log until then.
/// Their first commit afterwards would have to take all of it to the file, and would wait for the
/// disk, which is the longest that an application is kept waiting by such a read: 42 to 65 ms after
/// seven seconds with a small commit each 5 ms (`tests/bench/run beside`; without a read its own
/// checkpoints take 8 to 13 ms).
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// `None` where there is no log: to ask for it may take as long as a writer takes.
    version: Option<i64>,
}

impl Backlog {
    /// Before the read, or at any time in its transaction.
    pub fn before(connection: &Connection) -> Result<Self> {
        let version = facts::is_wal(connection)?.then(|| facts::data_version(connection)).transpose()?;
        Ok(Self { version })
    }

    /// Takes it to the file now, if there is one. At once after the read, and not where the file is
    /// known to be damaged.
    pub fn settle(self, connection: &Connection, path: &Path) {
        let Some(before) = self.version else { return };
        let settled = || -> Result<()> {
            if facts::data_version(connection)? != before && !replicator::owns(connection, path) {
                settle_when_due(connection)?;
            }
            Ok(())
        };
        if let Err(error) = settled() {
            // Of no harm: the application's own checkpoint comes next.
            tracing::debug!("the log was not settled after a read: {error}");
        }
    }
}

/// A connection to a database in WAL mode for many small transactions in a row: it makes no
/// checkpoint by itself, and waits for the disk in checkpoints only (`synchronous = NORMAL`, which
/// keeps the database sound: a power cut may take back the last transactions,
/// <https://www.sqlite.org/pragma.html#pragma_synchronous>). When this is dropped, also by an error
/// or a panic, it is as it was.
#[derive(Debug)]
pub struct ByHand<'a> {
    connection: &'a mut Connection,
    before: Vec<(&'static str, i64)>,
}

impl<'a> ByHand<'a> {
    /// Changes the settings; in a journal mode other than WAL, none: there `NORMAL` would be a
    /// risk.
    pub fn new(connection: &'a mut Connection) -> Result<Self> {
        let mut this = Self { connection, before: Vec::new() };
        if facts::is_wal(this.connection)? {
            for (pragma, value) in [("wal_autocheckpoint", 0), ("synchronous", 1), ("cache_size", CACHE)] {
                let before = this.connection.pragma_query_value(None, pragma, |row| row.get(0))?;
                this.before.push((pragma, before));
                this.connection.pragma_update(None, pragma, value)?;
            }
        }
        Ok(this)
    }

    /// Whether the database has a write-ahead log.
    pub const fn is_wal(&self) -> bool {
        !self.before.is_empty()
    }
}

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        for (pragma, value) in self.before.drain(..) {
            // A run that is told to stop interrupts one statement at most.
            let again = || self.connection.pragma_update(None, pragma, value);
            if again().or_else(|_| again()).is_err() {
                tracing::error!(pragma, "a setting of a connection could not be put back");
            }
        }
    }
}

impl Deref for ByHand<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl DerefMut for ByHand<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use rusqlite::trace::{TraceEvent, TraceEventCodes};

    use super::*;

    fn settings(connection: &Connection) -> [i64; 3] {
        ["wal_autocheckpoint", "synchronous", "cache_size"]
            .map(|pragma| connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap())
    }

    #[test]
    fn the_log_is_emptied_when_it_is_long_enough_and_left_alone_before() {
        let base = tempfile::tempdir().unwrap();
        let mut connection = Connection::open(base.path().join("a.db")).unwrap();
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (b)").unwrap();
        let connection = ByHand::new(&mut connection).unwrap();
        let grow = |pages: u64| {
            connection.execute("INSERT INTO a VALUES (zeroblob(?1 * 4096))", [pages]).unwrap();
            settle_when_due(&connection).unwrap().unwrap()
        };
        let short = grow(DUE / 2);
        assert!((1..DUE).contains(&short.log_pages) && short.moved_pages == 0, "{short:?}");
        let long = grow(DUE);
        assert!(long.log_pages > DUE && long.is_complete(), "{long:?}");
        let anew = grow(1);
        assert!(anew.log_pages < 10 && anew.moved_pages == 0, "{anew:?}");
    }

    /// As an application commits while a checkpoint is under way: when it has moved all that it
    /// knows of.
    #[test]
    fn what_is_committed_during_the_first_checkpoint_is_moved_as_well() {
        thread_local! {
            static OTHER: RefCell<Option<Connection>> = const { RefCell::new(None) };
            static HAS_COMMITTED: Cell<bool> = const { Cell::new(false) };
        }
        fn commit(_: TraceEvent<'_>) {
            if !HAS_COMMITTED.replace(true) {
                OTHER.with_borrow(|other| {
                    other.as_ref().unwrap().execute("INSERT INTO a VALUES (1)", []).unwrap()
                });
            }
        }
        let base = tempfile::tempdir().unwrap();
        let connection = Connection::open(base.path().join("a.db")).unwrap();
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (b)").unwrap();
        OTHER.set(Some(Connection::open(base.path().join("a.db")).unwrap()));
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(commit));
        settle(&connection).unwrap();
        connection.trace_v2(TraceEventCodes::empty(), None);
        let left = checkpoint(&connection, Mode::Noop).unwrap().unwrap();
        assert!(HAS_COMMITTED.get() && left.is_complete(), "{left:?}");
    }

    #[test]
    fn settings_are_put_back_also_after_a_panic_and_left_alone_outside_wal_mode() {
        let base = tempfile::tempdir().unwrap();
        let mut connection = Connection::open(base.path().join("a.db")).unwrap();
        let before = settings(&connection);
        assert_eq!(settings(&ByHand::new(&mut connection).unwrap()), before);
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let by_hand = ByHand::new(&mut connection).unwrap();
            assert_eq!(settings(&by_hand), [0, 1, CACHE]);
            assert!(!by_hand.is_wal(), "a panic");
        }));
        assert!(panicked.is_err());
        assert_eq!(settings(&connection), before);
    }
}
