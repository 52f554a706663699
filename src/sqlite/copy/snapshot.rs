//! One consistent snapshot of a live database as a stream of its pages, while its application
//! writes (HAZARDS H10, H11).
//!
//! A single read transaction spans the whole snapshot, so that the backup API reads one state and
//! has nothing to restart (<https://www.sqlite.org/backup.html>). In WAL mode writers do not
//! notice; in rollback mode they wait. How long that may last, and how far the write-ahead log may
//! grow meanwhile, is bounded by [`Bounds`].

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::Backup;
use rusqlite::{Connection, Transaction};

use super::sink::{self, Sink};
use super::steps::{OnLock, to_the_end};
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::paths::{file_bytes, wal_bytes};
use crate::sqlite::look::facts::Facts;
use crate::sqlite::look::schema;
use crate::sqlite::write::checkpoint::Backlog;
use crate::terms::progress::{Unit, Watch};
use crate::words;

/// Bytes pulled between two looks at the limits: some milliseconds, and all that is held of the
/// database here.
const STEP: u64 = 1 << 20;

/// The page that holds the byte at 1 GiB is never written: it is where locks lie
/// (<https://www.sqlite.org/fileformat2.html#the_lock_byte_page>).
const LOCK_BYTE: u64 = 1 << 30;

/// The schema cookie in the first page, to which the backup API gives a value of its own
/// (<https://www.sqlite.org/fileformat2.html#schema_cookie>).
const SCHEMA_COOKIE: std::ops::Range<usize> = 40..44;

/// Where a snapshot gives up.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// In rollback mode: how long writers may be kept waiting.
    pub longest_block: Duration,
    /// In WAL mode: how long the read transaction may be open …
    pub longest_read: Duration,
    /// … and by how many bytes the write-ahead log may grow while it is.
    pub most_wal_growth: u64,
}

/// A state of the database, held by an open read transaction.
pub struct Snapshot<'c> {
    transaction: Transaction<'c>,
    path: &'c Path,
    bounds: Bounds,
    began: Instant,
    is_over: Cell<bool>,
    wal_before: u64,
    file_before: u64,
    backlog: Backlog,
    /// Numbers of the state.
    pub facts: Facts,
    /// Its schema, as [`schema::text`] gives it.
    pub schema: String,
}

impl<'c> Snapshot<'c> {
    /// Takes hold of the present state of `source`, whose file is `path`. `shrunken` for an empty
    /// database.
    pub fn begin(source: &'c mut Connection, path: &'c Path, bounds: Bounds) -> Result<Self> {
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
        let (wal_before, file_before) = (wal_bytes(path), file_bytes(path));
        let backlog = Backlog::before(&transaction)?;
        let is_over = Cell::new(false);
        Ok(Self {
            transaction,
            path,
            bounds,
            began,
            is_over,
            wal_before,
            file_before,
            backlog,
            facts,
            schema,
        })
    }

    /// To read the state by SQL.
    pub fn connection(&self) -> &Connection {
        &self.transaction
    }

    /// Whether writers wait for us: not in WAL mode.
    pub fn blocks_writers(&self) -> bool {
        self.facts.journal_mode != "wal"
    }

    /// Gives the file's bytes from first to last to `out`, a few pages at a time.
    ///
    /// They are those of the database but for three fields of the header: the file change counter
    /// and the version that it is valid for begin anew, and the size is that of the snapshot.
    ///
    /// `watch` is told the bytes done, and ends the stream with its error.
    pub fn pages(&self, out: &mut dyn FnMut(&[u8]) -> Result<()>, watch: &dyn Watch) -> Result<()> {
        let mut first = sink::first_page(&self.transaction, self.facts.user_version)?;
        let cookie: u32 = self.transaction.pragma_query_value(None, "schema_version", |row| row.get(0))?;
        let cookie = cookie.to_be_bytes();
        let page_size = usize::try_from(self.facts.page_size).unwrap_or(0);
        if page_size < SCHEMA_COOKIE.end || first.len() != page_size {
            return Err(out_of_order("the first page is missing"));
        }
        first[SCHEMA_COOKIE].copy_from_slice(&cookie);
        out(&first)?;
        let mut order = Order { first, cookie, seen_first: false, next: self.facts.page_size };

        let mut sink = Sink::new()?;
        let (target, written) = sink.parts();
        let backup = Backup::new(&self.transaction, target)?;
        let step = i32::try_from(STEP / self.facts.page_size).unwrap_or(1).max(1);
        let before = || {
            watch.go_on()?;
            self.within_bounds()?;
            Ok(true)
        };
        to_the_end(&backup, step, OnLock::Again, before, || {
            written.each(&mut |offset, bytes| order.take(offset, bytes, out))?;
            watch.at(order.next, self.facts.bytes(), Unit::Bytes);
            Ok(())
        })?;
        order.end(self.facts.bytes())?;
        self.still_whole()
    }

    /// SQLite reads zeros behind the end of a file that somebody cuts short, and takes them for
    /// pages. In WAL mode the last pages may be in the log alone, so that the file is as long as it
    /// was, or as long as the state needs.
    fn still_whole(&self) -> Result<()> {
        let now = file_bytes(self.path);
        if now >= self.file_before.min(self.facts.bytes()) {
            return Ok(());
        }
        Err(Error::new(
            Reason::Shrunken,
            format!(
                "{} was cut short while it was read, from {} to {}: the backup is given up",
                self.path.display(),
                words::bytes(self.file_before),
                words::bytes(now)
            ),
        ))
    }

    /// Lets go of the state; how long it was held. Then moves what was committed meanwhile out of
    /// the log, but into a file that `is_damaged` nothing is written.
    pub fn end(&self, is_damaged: bool) -> Result<Duration> {
        // Not by `Transaction::rollback`, after which the connection is no longer ours to use.
        self.transaction.execute_batch("ROLLBACK")?;
        let held = self.began.elapsed();
        self.is_over.set(true);
        if !is_damaged {
            self.backlog.settle(&self.transaction, self.path);
        }
        Ok(held)
    }

    /// Whether it was let go of.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// An error when the state has been held for too long.
    pub fn within_bounds(&self) -> Result<()> {
        if self.is_over.get() {
            return Ok(());
        }
        let held = self.began.elapsed();
        let Bounds { longest_block, longest_read, most_wal_growth } = self.bounds;
        let given_up =
            |why: String| Err(Error::new(Reason::Deadline, format!("the snapshot was given up: {why}")));
        if self.blocks_writers() && held > longest_block {
            return given_up(format!(
                "in {} mode writers wait for it, and after {} it was not done, so there is no new backup; raise \
                 maintain.max_block where they may wait for longer, let the application use WAL mode, or where the place of the backups is slow, back up to a local disk and copy \
                 from there ([[database.NAME.backup.copy]])",
                self.facts.journal_mode,
                words::duration(longest_block.as_secs_f64())
            ));
        }
        if held > longest_read {
            return given_up(format!(
                "the database was not read after {}, and the write-ahead log cannot be reused while it is; raise \
                 backup.max_snapshot, or find out what is slow",
                words::duration(longest_read.as_secs_f64())
            ));
        }
        if wal_bytes(self.path).saturating_sub(self.wal_before) > most_wal_growth {
            return given_up(format!(
                "the write-ahead log grew by more than {} while it was made; raise maintain.max_wal, or take backups \
                 at a quieter time",
                words::bytes(most_wal_growth)
            ));
        }
        Ok(())
    }
}

/// Puts what the backup API writes into the order of the file. It writes the pages in their order
/// but for the first one, which comes before the last few; that is had already, and compared.
struct Order {
    first: Vec<u8>,
    cookie: [u8; 4],
    seen_first: bool,
    /// Bytes given on so far.
    next: u64,
}

impl Order {
    fn take(&mut self, offset: u64, bytes: &[u8], out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let page = self.first.len();
        if offset == 0 {
            let (first, rest) = bytes.split_at_checked(page).ok_or_else(|| out_of_order("half a page"))?;
            self.compare(first)?;
            return if rest.is_empty() { Ok(()) } else { self.take(page as u64, rest, out) };
        }
        if self.next == LOCK_BYTE && offset == LOCK_BYTE + page as u64 {
            out(&vec![0; page])?;
            self.next = offset;
        }
        if offset != self.next {
            return Err(out_of_order(&format!("byte {offset} after byte {}", self.next)));
        }
        out(bytes)?;
        self.next += bytes.len() as u64;
        Ok(())
    }

    fn compare(&mut self, first: &[u8]) -> Result<()> {
        let mut first = first.to_vec();
        first[SCHEMA_COOKIE].copy_from_slice(&self.cookie);
        if first != self.first {
            return Err(out_of_order("the first page is not the one that it was"));
        }
        self.seen_first = true;
        Ok(())
    }

    fn end(&self, bytes: u64) -> Result<()> {
        if self.seen_first && self.next == bytes {
            return Ok(());
        }
        Err(out_of_order(&format!("{} bytes instead of {bytes}", self.next)))
    }
}

fn out_of_order(what: &str) -> Error {
    Error::new(
        Reason::Sqlite,
        format!("the pages of the snapshot did not come as expected: {what}; the backup is given up"),
    )
}
