//! The sample database: a face-recognition attendance system with three years of rows. The same
//! `now` gives the same rows. Must never write to a file that exists: it turns off what protects
//! data while it writes.

use std::path::Path;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc, Weekday};
use rusqlite::{Connection, OpenFlags, Transaction, params};

use super::people;
use super::random::Random;
use crate::error::Result;

/// An embedding is 128 numbers of four bytes.
pub(super) const EMBEDDING_BYTES: usize = 512;
/// Pictures that one enrolment takes.
pub(super) const SAMPLES_PER_ENROLMENT: u32 = 8;

/// Users that were there when the sample begins …
const STAFF: usize = 90;
/// … and those who join while it lasts.
const JOINERS: usize = 15;
const MONTHS: u32 = 36;
/// Shown on how many of a hundred working days.
const PRESENCE: u32 = 94;
const SEED: u64 = 0x6174_7465_6e64;

const TABLES: &str = "
    CREATE TABLE users (
        id         INTEGER PRIMARY KEY,
        name       TEXT NOT NULL,
        email      TEXT,
        created_at TEXT NOT NULL
    );
    CREATE TABLE face_samples (
        id          INTEGER PRIMARY KEY,
        user_id     INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
        embedding   BLOB NOT NULL,
        captured_at TEXT NOT NULL
    );
    CREATE TABLE attendance (
        id         INTEGER PRIMARY KEY,
        user_id    INTEGER NOT NULL REFERENCES users(id),
        date       TEXT NOT NULL,
        time_in    TEXT NOT NULL,
        time_out   TEXT,
        confidence REAL NOT NULL
    );";

const INDEXES: &str = "
    CREATE INDEX idx_users_name ON users(name);
    CREATE INDEX idx_users_created_at ON users(created_at);
    CREATE INDEX idx_face_samples_user_id ON face_samples(user_id);
    CREATE INDEX idx_attendance_user_date ON attendance(user_id, date);
    CREATE INDEX idx_attendance_date ON attendance(date);";

/// What the sample holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleSummary {
    /// Rows of `users`.
    pub users: usize,
    /// Rows of `attendance`.
    pub attendance: usize,
}

/// Writes the sample to a file that does not exist yet: weekdays of the three years up to the day
/// before `now`, in WAL mode, on disk when this returns.
pub(super) fn write(path: &Path, now: DateTime<Utc>) -> Result<SampleSummary> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    // Nobody needs the file if we are stopped half-way, so nothing is kept to roll back to.
    connection
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON;")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    let end = now.date_naive();
    let start = end.checked_sub_months(Months::new(MONTHS)).unwrap_or(end);
    let mut random = Random::new(SEED);
    let joined = users(&transaction, &mut random, start, end)?;
    let attendance = attendance(&transaction, &mut random, &joined, end)?;
    transaction.execute_batch(INDEXES)?;
    // After all else, which would fill the pages that this leaves free.
    replace_face_samples(&transaction, &mut random, &joined, end)?;
    transaction.commit()?;
    // The change of mode writes the header with an fsync, which takes all that was written before
    // to the disk.
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL;")?;
    connection.close().map_err(|(_, cause)| cause)?;
    Ok(SampleSummary { users: joined.len(), attendance })
}

/// Users with their face samples; gives the first day of each.
fn users(
    transaction: &Transaction<'_>,
    random: &mut Random,
    start: NaiveDate,
    end: NaiveDate,
) -> Result<Vec<NaiveDate>> {
    let mut insert =
        transaction.prepare("INSERT INTO users (name, email, created_at) VALUES (?1, ?2, ?3)")?;
    let mut joined = Vec::with_capacity(STAFF + JOINERS);
    let length = u32::try_from((end - start).num_days()).unwrap_or(0);
    for n in 0..STAFF + JOINERS {
        let first_day =
            if n < STAFF { back(start, random.below(1000)) } else { back(end, random.below(length)) };
        let (name, email) = identity(n, random);
        let at = format!("{first_day}T08:{:02}:{:02}Z", random.below(60), random.below(60));
        insert.execute(params![name, email, at])?;
        enrol(transaction, random, transaction.last_insert_rowid(), &at)?;
        joined.push(first_day.max(start));
    }
    Ok(joined)
}

/// The n-th user's name and, for nine of ten, an address.
pub(super) fn identity(n: usize, random: &mut Random) -> (String, Option<String>) {
    let (given, family) = people::name(n);
    let email = format!("{given}.{family}@example.com").to_lowercase();
    (format!("{given} {family}"), (random.below(10) > 0).then_some(email))
}

/// The face samples of one enrolment.
pub(super) fn enrol(
    connection: &Connection,
    random: &mut Random,
    user: i64,
    at: &str,
) -> rusqlite::Result<()> {
    let mut insert = connection
        .prepare_cached("INSERT INTO face_samples (user_id, embedding, captured_at) VALUES (?1, ?2, ?3)")?;
    let mut embedding = [0; EMBEDDING_BYTES];
    for _ in 0..SAMPLES_PER_ENROLMENT {
        random.fill(&mut embedding);
        insert.execute(params![user, embedding, at])?;
    }
    Ok(())
}

/// Everybody was enrolled anew when the cameras were replaced, and again when the software was, and
/// the earlier samples deleted: the free pages that a real database of this age has.
fn replace_face_samples(
    transaction: &Transaction<'_>,
    random: &mut Random,
    joined: &[NaiveDate],
    end: NaiveDate,
) -> Result<()> {
    let mut earlier: i64 = 0;
    for (days_ago, hour) in [(300, 9), (200, 10)] {
        earlier = transaction.query_row("SELECT max(id) FROM face_samples", [], |row| row.get(0))?;
        for (user, joined) in (1..).zip(joined) {
            let day = back(end, days_ago).max(*joined);
            enrol(transaction, random, user, &format!("{day}T{hour:02}:00:00Z"))?;
        }
    }
    transaction.execute("DELETE FROM face_samples WHERE id <= ?1", [earlier])?;
    Ok(())
}

/// One row for each user and working day on which the user came; gives how many.
fn attendance(
    transaction: &Transaction<'_>,
    random: &mut Random,
    joined: &[NaiveDate],
    end: NaiveDate,
) -> Result<usize> {
    let mut insert = transaction.prepare(
        "INSERT INTO attendance (user_id, date, time_in, time_out, confidence) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut rows = 0;
    let first = joined.iter().min().copied().unwrap_or(end);
    for day in first.iter_days().take_while(|day| *day < end) {
        if matches!(day.weekday(), Weekday::Sat | Weekday::Sun) {
            continue;
        }
        let date = day.to_string();
        for (id, _) in (1_i64..).zip(joined).filter(|(_, joined)| **joined <= day) {
            if random.below(100) >= PRESENCE {
                continue;
            }
            // In between half past seven and half past nine, there for seven to nine hours.
            let came = 27_000 + random.below(7_200);
            let went = came + 25_200 + random.below(7_200);
            insert.execute(params![id, date, clock(came), clock(went), confidence(random)])?;
            rows += 1;
        }
    }
    Ok(rows)
}

/// How sure the camera was.
pub(super) fn confidence(random: &mut Random) -> f64 {
    f64::from(800 + random.below(200)) / 1000.0
}

/// `HH:MM:SS` of a second of the day.
fn clock(second: u32) -> String {
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

fn back(day: NaiveDate, days: u32) -> NaiveDate {
    day.checked_sub_days(Days::new(days.into())).unwrap_or(day)
}
