//! How long the application's writers are kept out: from the moment a lock is had to the moment it is let go, waiting
//! for it not counted. Every transaction that writes to a database of the application goes through here, and every read
//! that its writers wait for.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::Serialize;

use crate::error::Result;

/// Holds that were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Held {
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
    since_taken: Mutex<Held>,
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
    pub fn take(&self) -> Held {
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

/// One transaction that has the write lock from its beginning (BEGIN IMMEDIATE). It is committed where `work` goes well,
/// and rolled back otherwise; noted either way.
///
/// A COMMIT that makes SQLite's automatic checkpoint is counted with it, though that holds nobody up.
pub fn write<T>(
    connection: &mut Connection,
    holds: &Holds,
    work: impl FnOnce(&Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let _hold = holds.begin();
    let done = work(&transaction);
    // Over before the hold is: on an error the closure is dropped with the transaction, which rolls it back.
    done.and_then(move |value| Ok(transaction.commit().map(|()| value)?))
}

/// A statement that SQLite lets run outside transactions only (VACUUM), counted from its beginning: how long it waited
/// for the lock cannot be told.
pub fn alone(connection: &Connection, holds: &Holds, sql: &str) -> Result<()> {
    let _hold = holds.begin();
    Ok(connection.execute_batch(sql)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Reason};
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
        connection.execute_batch("INSERT INTO a VALUES (1)").unwrap();

        let told = told.lock().unwrap();
        let held = holds.take();
        assert_eq!(held.times, 3);
        assert_eq!(told.len(), 3);
        let longest = told.iter().max().unwrap().as_secs_f64();
        assert!((held.longest_seconds - longest).abs() < 1e-9 && held.total_seconds >= longest, "{held:?}");
        assert_eq!(holds.take(), Held::default());
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
}
