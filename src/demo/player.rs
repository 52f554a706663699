//! The demo's application: one thread that writes check-ins through its own plain connection, as
//! any well-behaved program would. Must never use the daemon's pool or learn of its jobs: it is
//! what they must not disturb.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::random::Random;
use super::sample;
use crate::clock;
use crate::error::{Error, Reason, Result};

/// From the end of one write to the next.
const PACE: Duration = Duration::from_millis(50);
/// What the application waits for a lock before it shows its user an error.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// One of so many writes is a new user.
const WRITES_PER_NEW_USER: u64 = 100;

/// The application at work; it ends when this is stopped or dropped.
#[derive(Debug)]
pub struct Player {
    stop: Sender<()>,
    thread: JoinHandle<Played>,
}

/// What the application saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Played {
    /// Writes that were committed.
    pub commits: u64,
    /// Longest time that one write took, its wait for the lock included.
    pub worst_wait: Duration,
    /// Writes that failed.
    pub errors: u64,
    /// Why the first of them failed.
    pub first_error: Option<String>,
}

impl Player {
    /// Opens the demo's database and begins to write. Fails where the database cannot be opened.
    pub fn start(path: &Path) -> Result<Self> {
        let doing = || format!("the demo's application cannot use {}", path.display());
        let application = Application::open(path).map_err(|e| Error::from(e).context(doing()))?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("application".to_owned())
            .spawn(move || application.play(&stopped))
            .map_err(|e| Error::io("cannot start the demo's application", &e))?;
        Ok(Self { stop, thread })
    }

    /// Stops at once; a write that waits for a lock ends first, within the application's busy
    /// timeout of 5 s.
    pub fn stop(self) -> Result<Played> {
        drop(self.stop);
        self.thread.join().map_err(|_| Error::new(Reason::Panic, "the demo's application panicked"))
    }
}

struct Application {
    connection: Connection,
    random: Random,
    users: u32,
}

impl Application {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;",
        )?;
        let users = connection.query_row("SELECT count(*) FROM users", [], |row| row.get(0))?;
        Ok(Self { connection, random: Random::new(u64::from(users)), users })
    }

    fn play(mut self, stopped: &Receiver<()>) -> Played {
        let mut played = Played::default();
        while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            let start = Instant::now();
            let enrols = (played.commits + 1).is_multiple_of(WRITES_PER_NEW_USER);
            match if enrols { self.enrol() } else { self.check_in() } {
                Ok(()) => played.commits += 1,
                Err(cause) => {
                    played.errors += 1;
                    played.first_error.get_or_insert_with(|| Error::from(cause).message);
                }
            }
            played.worst_wait = played.worst_wait.max(start.elapsed());
        }
        played
    }

    /// A camera saw somebody: the first time that day is when they came, the last when they left.
    fn check_in(&mut self) -> rusqlite::Result<()> {
        let now = clock::now();
        let (date, time) = (now.format("%Y-%m-%d").to_string(), now.format("%H:%M:%S").to_string());
        let confidence = sample::confidence(&mut self.random);
        let somebody = 1 + self.random.below(self.users);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seen = transaction.execute(
            "UPDATE attendance SET time_out = ?3, confidence = ?4 WHERE user_id = ?1 AND date = ?2",
            params![somebody, date, time, confidence],
        )?;
        if seen == 0 {
            transaction.execute(
                "INSERT INTO attendance (user_id, date, time_in, confidence) VALUES (?1, ?2, ?3, ?4)",
                params![somebody, date, time, confidence],
            )?;
        }
        transaction.commit()
    }

    /// Somebody new, with face samples.
    fn enrol(&mut self) -> rusqlite::Result<()> {
        let at = clock::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let (name, email) = sample::identity(self.users as usize, &mut self.random);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO users (name, email, created_at) VALUES (?1, ?2, ?3)",
            params![name, email, at],
        )?;
        sample::enrol(&transaction, &mut self.random, transaction.last_insert_rowid(), &at)?;
        transaction.commit()?;
        self.users += 1;
        Ok(())
    }
}
