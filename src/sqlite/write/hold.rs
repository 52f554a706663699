//! The one door to a write: every transaction that writes to a database of the application goes
//! through here, and the connections that a run has to one write nothing otherwise. Two things are
//! seen to at the door.
//!
//! How long the application's writers are kept out: from the moment a lock is had to the moment it
//! is let go, waiting for it not counted. Reads that its writers wait for are counted as well.
//!
//! That no commit of ours begins the write-ahead log anew while somebody makes a checkpoint
//! (HAZARDS H29). In SQLite 3.7.0 to 3.51.2 a checkpoint that has read the index of a log which is
//! in the file as a whole, and then finds the log begun anew, copies by what it has read: commits
//! are lost, or the file is damaged. The application has such an SQLite, and it is our commit that
//! would begin the log anew; so the lock for checkpoints is held from before the first page is
//! written until after the commit. Checkpoints of ours begin no log anew but TRUNCATE, which has
//! that lock itself (`sqlite3WalCheckpoint` in SQLite's wal.c); the one at the last close has the
//! whole file.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::Serialize;

use super::checkpoint::automatic;
use super::checkpoint_lock::CheckpointLock;
use crate::error::{Error, Reason, Result};
use crate::sqlite::pauses::Pauses;

/// A checkpoint of somebody else is waited for so long; one of 1000 pages takes some 10 ms. Less than
/// `maintain.max_block` is by default, so that a run says what it waited for.
const PATIENCE: Duration = Duration::from_secs(4);

/// Between two looks at whether it is over: at first, and at last.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(25)];

/// Holds that were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct HoldTimes {
    /// How many.
    pub times: u64,
    /// The longest of them.
    pub longest_seconds: f64,
    /// All together.
    pub total_seconds: f64,
}

/// Collects the holds of a run, and tells each of them as it ends.
pub struct Holds {
    tell: Box<dyn Fn(Duration) + Send + Sync>,
    since_taken: Mutex<HoldTimes>,
}

impl Holds {
    /// With whom to tell.
    pub fn new(tell: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self { tell: Box::new(tell), since_taken: Mutex::default() }
    }

    /// One begins now, and lasts until what is returned is dropped.
    pub fn begin(&self) -> Hold<'_> {
        Hold { holds: self, since: Instant::now() }
    }

    fn note(&self, lasted: Duration) {
        (self.tell)(lasted);
        let mut held = self.since_taken.lock().unwrap_or_else(PoisonError::into_inner);
        held.times += 1;
        held.longest_seconds = held.longest_seconds.max(lasted.as_secs_f64());
        held.total_seconds += lasted.as_secs_f64();
    }

    /// Those since this was last asked.
    pub fn take(&self) -> HoldTimes {
        std::mem::take(&mut self.since_taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One that lasts.
#[derive(Debug)]
pub struct Hold<'a> {
    holds: &'a Holds,
    since: Instant,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.holds.note(self.since.elapsed());
    }
}

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holds").field("since_taken", &self.since_taken).finish_non_exhaustive()
    }
}

/// One transaction that has the write lock from its beginning (BEGIN IMMEDIATE). It is committed
/// where `work` goes well, and rolled back otherwise; noted either way. The checkpoint that SQLite
/// makes by itself with a COMMIT comes when all locks are let go.
///
/// Errors: `busy` where somebody has the lock, or makes a checkpoint for longer than we wait.
pub fn write<T>(
    connection: &mut Connection,
    holds: &Holds,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    write_within(connection, holds, PATIENCE, work)
}

/// The same in a `pause` between the application's transactions, which is over soon: nobody is
/// waited for, and `None` where a transaction of the application began first, or meanwhile; nothing
/// was changed then. That the lock is not waited for either is up to the connection's busy handler.
/// `work` asks between its statements whether it may go on. Where no moment was chosen,
/// [`write()`].
pub fn write_in_pause<T>(
    connection: &mut Connection,
    holds: &Holds,
    pause: Option<&Pauses>,
    work: impl FnOnce(&Transaction<'_>, &dyn Fn() -> Result<()>) -> Result<T>,
) -> Result<Option<T>> {
    let Some(pauses) = pause else {
        return write(connection, holds, |transaction| work(transaction, &|| Ok(()))).map(Some);
    };
    let done = write_within(connection, holds, Duration::ZERO, |transaction| {
        let beside = pauses.beside(transaction);
        let value = work(transaction, &|| beside.check())?;
        if beside.sees_log() {
            // What there is to write is written before the last look, so that the COMMIT comes soon
            // after it. Outside WAL mode that needs a lock as well, which nobody has who could not
            // go on afterwards.
            transaction.cache_flush()?;
            beside.check()?;
        }
        Ok(value)
    });
    match done {
        Err(error) if error.reason == Reason::Busy => Ok(None),
        done => done.map(Some),
    }
}

fn write_within<T>(
    connection: &mut Connection,
    holds: &Holds,
    patience: Duration,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let connection: &Connection = connection;
    let _writable = Writable::lend(connection)?;
    let done = {
        // Dropped last: the transaction is over before the lock is let go.
        let _no_checkpoint;
        let transaction;
        (_no_checkpoint, transaction) = outside_checkpoints(patience, || begin(connection))?;
        let _hold = holds.begin();
        let done = work(&transaction);
        // Over before the hold is: on an error the closure is dropped with the transaction, which
        // rolls it back.
        done.and_then(move |value| Ok(transaction.commit().map(|()| value)?))
    };
    if done.is_ok() {
        automatic(connection);
    }
    done
}

/// The write lock first: with it nobody else can need to recover the log, for which SQLite takes
/// the other lock too. Where a checkpoint is under way the write lock is let go at once.
fn begin(connection: &Connection) -> Result<Option<(CheckpointLock<'_>, Transaction<'_>)>> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    Ok(CheckpointLock::take(connection)?.map(|lock| (lock, transaction)))
}

/// A statement that SQLite lets run outside transactions only (VACUUM), counted from its beginning:
/// how long it waited for the lock cannot be told.
///
/// Errors: as of [`write()`].
pub fn alone(connection: &Connection, holds: &Holds, sql: &str) -> Result<()> {
    let _writable = Writable::lend(connection)?;
    {
        let _no_checkpoint = without_checkpoints(connection)?;
        let _hold = holds.begin();
        connection.execute_batch(sql)?;
    }
    automatic(connection);
    Ok(())
}

/// What reads the connection's database and writes elsewhere, to another file, of ours (VACUUM
/// INTO), or to its temporary tables, which a connection that may only read refuses as well.
pub(in crate::sqlite) fn elsewhere<T, E: Into<Error>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> std::result::Result<T, E>,
) -> Result<T> {
    let _writable = Writable::lend(connection)?;
    work(connection).map_err(Into::into)
}

/// From now until what is returned is dropped nobody makes a checkpoint; for a write that is no
/// statement, by another connection to the same database.
///
/// Errors: `busy` where somebody makes one for longer than we wait.
pub(in crate::sqlite) fn without_checkpoints(connection: &Connection) -> Result<CheckpointLock<'_>> {
    outside_checkpoints(PATIENCE, || {
        // Reads: only then the connection knows of the log.
        connection.pragma_query_value(None, "schema_version", |_| Ok(()))?;
        CheckpointLock::take(connection)
    })
}

/// Tries until nobody makes a checkpoint. Each attempt runs a statement, and so ends when the work
/// is to stop.
fn outside_checkpoints<T>(patience: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let since = Instant::now();
    let [shortest, longest] = PAUSES;
    let mut pause = shortest;
    loop {
        if let Some(done) = attempt()? {
            return Ok(done);
        }
        if since.elapsed() >= patience {
            let waited = patience.as_secs();
            let text = format!(
                "somebody has been making a checkpoint for {waited} s, and nothing is written beside one"
            );
            return Err(Error::new(Reason::Busy, text));
        }
        if pause == shortest {
            tracing::debug!("waits until a checkpoint that somebody else makes is over");
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// A connection that may write, until this is dropped: then it is as it was.
struct Writable<'c> {
    connection: &'c Connection,
    was_read_only: bool,
}

impl<'c> Writable<'c> {
    fn lend(connection: &'c Connection) -> rusqlite::Result<Self> {
        let was_read_only = connection.pragma_query_value(None, "query_only", |row| row.get(0))?;
        query_only(connection, false)?;
        Ok(Self { connection, was_read_only })
    }
}

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        if !self.was_read_only {
            return;
        }
        // A run that is told to stop interrupts one statement at most.
        if read_only(self.connection).or_else(|_| read_only(self.connection)).is_err() {
            tracing::error!("a connection could not be kept from writing again");
        }
    }
}

/// From now on the connection writes to no database, whatever its statements are, but through
/// [`write()`] and [`alone`]. It makes checkpoints as before.
pub fn read_only(connection: &Connection) -> rusqlite::Result<()> {
    query_only(connection, true)
}

/// Takes effect while it is prepared. It is not run, for it would have every statement that the
/// connection keeps prepared again, those of a batch while they hold the lock.
fn query_only(connection: &Connection, is_on: bool) -> rusqlite::Result<()> {
    connection.prepare(if is_on { "PRAGMA query_only = 1" } else { "PRAGMA query_only = 0" }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::{Mode, checkpoint};
    use super::*;
    use std::sync::Arc;

    #[test]
    fn notes_what_was_committed_and_what_was_rolled_back() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let holds = {
            let told = Arc::clone(&told);
            Holds::new(move |lasted| told.lock().unwrap().push(lasted))
        };
        let mut connection = Connection::open_in_memory().unwrap();
        write(&mut connection, &holds, |t| Ok(t.execute_batch("CREATE TABLE a (b)")?)).unwrap();
        let failed = write(&mut connection, &holds, |t| {
            t.execute_batch("DROP TABLE a")?;
            Err::<(), _>(Error::new(Reason::Refused, "no"))
        });
        assert_eq!(failed.unwrap_err().reason, Reason::Refused);
        alone(&connection, &holds, "VACUUM").unwrap();
        // The table is there: the second transaction was rolled back.
        connection.query_row("SELECT count(*) FROM a", [], |_| Ok(())).unwrap();

        let told = told.lock().unwrap();
        let held = holds.take();
        assert_eq!(held.times, 3);
        assert_eq!(told.len(), 3);
        let longest = told.iter().max().unwrap().as_secs_f64();
        assert!((held.longest_seconds - longest).abs() < 1e-9 && held.total_seconds >= longest, "{held:?}");
        assert_eq!(holds.take(), HoldTimes::default());
    }

    #[test]
    fn does_not_count_the_wait_for_the_lock() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a.db");
        let mut ours = Connection::open(&path).unwrap();
        let theirs = Connection::open(&path).unwrap();
        theirs.execute_batch("BEGIN IMMEDIATE").unwrap();
        ours.busy_timeout(Duration::ZERO).unwrap();
        let holds = Holds::new(|_| {});
        assert!(write(&mut ours, &holds, |_| Ok(())).is_err());
        assert_eq!(holds.take().times, 0);
    }

    /// Two connections to one database in WAL mode, and where it lies.
    fn two() -> (tempfile::TempDir, [Connection; 2]) {
        let base = tempfile::tempdir().unwrap();
        let open = || Connection::open(base.path().join("a.db")).unwrap();
        let both = [open(), open()];
        both[0].execute_batch("PRAGMA journal_mode = wal; CREATE TABLE a (b)").unwrap();
        (base, both)
    }

    fn is_free(theirs: &Connection) -> bool {
        without(theirs, |lock| lock.is_some())
    }

    fn without<T>(theirs: &Connection, look: impl FnOnce(Option<CheckpointLock<'_>>) -> T) -> T {
        theirs.query_row("SELECT count(*) FROM a", [], |_| Ok(())).unwrap();
        look(CheckpointLock::take(theirs).unwrap())
    }

    #[test]
    fn nobody_makes_a_checkpoint_during_a_write_and_everybody_may_afterwards_however_it_ended() {
        let (_base, [mut ours, theirs]) = two();
        let holds = Holds::new(|_| {});
        let insert = |t: &Transaction<'_>| {
            t.execute("INSERT INTO a VALUES (1)", [])?;
            assert!(!is_free(&theirs));
            Ok(())
        };
        write(&mut ours, &holds, insert).unwrap();
        assert!(is_free(&theirs));
        let failed = write(&mut ours, &holds, |t| {
            insert(t)?;
            Err::<(), _>(Error::new(Reason::Refused, "no"))
        });
        assert!(failed.is_err() && is_free(&theirs));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            write(&mut ours, &holds, |t| insert(t).map(|()| assert!(t.is_autocommit(), "a panic")))
        }));
        assert!(panicked.is_err() && is_free(&theirs));
        alone(&ours, &holds, "VACUUM").unwrap();
        assert!(alone(&ours, &holds, "nonsense").is_err() && is_free(&theirs));
        assert_eq!(ours.query_row("SELECT count(*) FROM a", [], |row| row.get(0)), Ok(1));
    }

    #[test]
    fn while_a_checkpoint_is_waited_for_writers_are_not_kept_out() {
        let (_base, [mut ours, theirs]) = two();
        let told = Arc::new(Mutex::new(0));
        let holds = {
            let told = Arc::clone(&told);
            Holds::new(move |_| *told.lock().unwrap() += 1)
        };
        without(&theirs, |lock| {
            let lock = lock.unwrap();
            let ours = std::thread::spawn(move || {
                write(&mut ours, &holds, |t| Ok(t.execute("INSERT INTO a VALUES (1)", [])?))
            });
            theirs.busy_timeout(Duration::from_secs(60)).unwrap();
            for _ in 0..100 {
                theirs.execute("INSERT INTO a VALUES (2)", []).unwrap();
            }
            assert_eq!((*told.lock().unwrap(), ours.is_finished()), (0, false));
            drop(lock);
            ours.join().unwrap().unwrap();
        });
        assert_eq!(*told.lock().unwrap(), 1);
    }

    #[test]
    fn the_checkpoint_that_a_commit_could_not_make_comes_after_it_where_it_is_wanted() {
        let (_base, [mut ours, theirs]) = two();
        let holds = Holds::new(|_| {});
        for (pages, is_made) in [(0, false), (10, true)] {
            ours.pragma_update(None, "wal_autocheckpoint", pages).unwrap();
            write(&mut ours, &holds, |t| Ok(t.execute("INSERT INTO a VALUES (zeroblob(99999))", [])?))
                .unwrap();
            let log = checkpoint(&theirs, Mode::Noop).unwrap().unwrap();
            assert_eq!(log.is_complete(), is_made, "{log:?}");
        }
    }
}
