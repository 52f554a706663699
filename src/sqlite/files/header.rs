//! What a file is that SQLite takes for no database, told by its first page. Must never open the
//! file itself, which may be live all the same for another program (HAZARDS H1): another process
//! reads it, whose closing ends none of our locks.

use std::path::Path;
use std::process::{Command, Stdio};

use super::place::Place;
use crate::error::{Error, Reason};

/// Bytes that are looked at: SQLite's default page.
const LOOKED_AT: usize = 4096;

/// The newest file format that our SQLite reads and writes
/// (<https://www.sqlite.org/fileformat2.html#file_format_version_numbers>).
const NEWEST_FORMAT: u8 = WAL;

/// The format of a database in WAL mode.
const WAL: u8 = 2;

/// Bits of information in a byte, over [`LOOKED_AT`] bytes. Random ones have 7.955 (8 less 255 / (2
/// n ln 2)), with a spread of 0.004; pages, text and programs have less than 7.5.
const RANDOM: f64 = 7.93;

/// Every page size in bytes is a multiple of this
/// (<https://www.sqlite.org/fileformat2.html#pages>).
pub const SMALLEST_PAGE: u64 = 512;

/// What SQLite's databases begin with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Bytes of the header.
const HEADER: usize = 100;

/// What the root of the schema begins with, which follows the header: a table's inner page, or its
/// leaf (<https://www.sqlite.org/fileformat2.html#b_tree_pages>).
const TABLE_PAGES: [u8; 2] = [5, 13];

/// Other files that get into the place of a database, by what they begin with.
const OTHERS: [(&[u8], &str); 7] = [
    (
        &[0x37, 0x7F, 0x06, 0x82],
        "the write-ahead log of a database; path must name the database, without -wal",
    ),
    (
        &[0x37, 0x7F, 0x06, 0x83],
        "the write-ahead log of a database; path must name the database, without -wal",
    ),
    (
        &[0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7],
        "the rollback journal of a database; path must name the database, without -journal",
    ),
    (&[0x1F, 0x8B], "a gzip file; unpack it to another name first, or restore a backup"),
    (&[0x28, 0xB5, 0x2F, 0xFD], "a zstd file; unpack it to another name first, or restore a backup"),
    (b"** This file contains an SQLite 2", "a database of SQLite 2; convert it (sqlite .dump | sqlite3 NEW)"),
    (b"PK\x03\x04", "a zip file; correct path, or restore a backup"),
];

/// What is wrong with a file that SQLite refuses as `not a database`, and what to do.
pub fn explain(path: &Path) -> Error {
    let shown = path.display();
    match first_page(path).map(|(page, bytes)| judge(&page, bytes)) {
        Some((reason, text)) => Error::new(reason, format!("{shown} {text}")),
        None => Error::new(
            Reason::NotADatabase,
            format!("{shown} is not a database, or an encrypted one; correct path, or restore a backup"),
        ),
    }
    .of(path)
}

/// Why a database can be read and not be written, where its format is the cause.
pub fn not_writable(path: &Path) -> Option<Error> {
    let (page, _) = first_page(path)?;
    let (reason, text) = format(&page)?;
    Some(Error::new(reason, format!("{} {text}", path.display())).of(path))
}

/// Whether the file says that the database is in WAL mode; `None` where it cannot be read.
pub fn is_wal(path: &Path) -> Option<bool> {
    let (page, _) = first_page(path)?;
    Some(page.starts_with(MAGIC) && page.get(18..20).is_some_and(|versions| versions.contains(&WAL)))
}

/// And how many bytes the file has. `None` where `head` is missing or may not read it.
fn first_page(path: &Path) -> Option<(Vec<u8>, u64)> {
    // What it reads is what was looked at, and no FIFO: it opens the descriptor that it is given,
    // by which nothing can be read, anew.
    let (file, bytes) = Place::of(path).ok()?.regular()?;
    let mut head = Command::new("head");
    head.args(["-c", &LOOKED_AT.to_string(), "--", "/proc/self/fd/0"]);
    let read = head.stdin(Stdio::from(file)).stderr(Stdio::null()).output().ok()?;
    read.status.success().then_some((read.stdout, bytes))
}

/// The reason, and what follows the file's name; of damage, what to do is the caller's to say.
/// `bytes`: of the whole file.
fn judge(page: &[u8], bytes: u64) -> (Reason, String) {
    if let Some(format) = format(page) {
        return format;
    }
    if page.starts_with(MAGIC) {
        return (Reason::Damaged, String::from("begins as a database, and its header is broken"));
    }
    if bytes.is_multiple_of(SMALLEST_PAGE) && has_lost_its_header(page) {
        return (Reason::Damaged, String::from("was a database, and its header is gone"));
    }
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| page.starts_with(magic)) {
        return (Reason::NotADatabase, format!("is not a database but {what}"));
    }
    if page.len() == LOOKED_AT && bytes.is_multiple_of(SMALLEST_PAGE) && information(page) > RANDOM {
        let text = "is encrypted, as by SQLCipher or SEE: its first page has no structure. litekeeper has no key and \
                    cannot keep it; take it out of the configuration, and let the application back it up";
        return (Reason::Encrypted, text.to_owned());
    }
    let text = "is not a database: it begins with something else; correct path, or restore a backup";
    (Reason::NotADatabase, text.to_owned())
}

/// Whether zeros are where the header was: alone, before the root of the schema, or over all of the
/// page.
fn has_lost_its_header(page: &[u8]) -> bool {
    let Some((header, rest)) = page.split_at_checked(HEADER) else { return false };
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    is_zero(header) && (is_zero(rest) || TABLE_PAGES.contains(&rest[0]))
}

/// A database of a format that is newer than ours.
fn format(page: &[u8]) -> Option<(Reason, String)> {
    let (write, read) = (*page.get(18)?, *page.get(19)?);
    (page.starts_with(MAGIC) && read.max(write) > NEWEST_FORMAT).then(|| {
        let text = format!(
            "has file format {} for reading and {} for writing; SQLite {} in litekeeper knows formats up to \
             {NEWEST_FORMAT}: install a newer litekeeper",
            read,
            write,
            rusqlite::version()
        );
        (Reason::NewerFormat, text)
    })
}

/// Bits of information in a byte, by how often each value occurs (Shannon's entropy).
fn information(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let all = bytes.len() as f64;
    let shares = counts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count) / all);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}
