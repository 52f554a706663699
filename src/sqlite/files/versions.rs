//! Which SQLite the processes have that use a database, told from the programs and libraries that
//! they have mapped: SQLite has the name of its source in it, with a date. Only reads `/proc` and
//! what is mapped to be run. Must never open a database or what lies beside it (HAZARDS H1), wait
//! for a pipe or a device, or call sound what it cannot see.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use memchr::{memchr_iter, memmem};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::access::Identity;
use super::holders::{self, FileSelection, Holder};
use super::paths::resolved;
use crate::error::Result;
use crate::terms::progress::Watch;

/// The sources from which on, and before which, a checkpoint goes on with a log that was begun anew
/// meanwhile: 3.7.0, and what mended it in 3.51.3, 3.50.7 and 3.44.6, all of March 2026
/// (<https://www.sqlite.org/wal.html#walresetbug>).
const FAULTY: (&str, &str) = ("2010-07-21", "2026-03-01");

/// What the fault means, and what to do.
pub const FAULT: &str = "a checkpoint of SQLite 3.7.0 to 3.51.2 can lose commits or damage the file where another \
                         connection begins the log anew meanwhile (mended in 3.51.3, 3.50.7 and 3.44.6): in WAL mode it \
                         takes two connections of the applications', as litekeeper begins no log anew beside a \
                         checkpoint; let the application use a newer SQLite";

/// When `3.N.0` was released, from N = 7 on, as a year and month
/// (<https://www.sqlite.org/changes.html>): tells SQLite's number from others of the same form.
const RELEASED: [u32; 47] = [
    201_007, 201_308, 201_510, 201_601, 201_602, 201_603, 201_605, 201_608, 201_610, 201_701, 201_702,
    201_703, 201_705, 201_708, 201_710, 201_801, 201_804, 201_806, 201_809, 201_812, 201_902, 201_904,
    201_907, 201_910, 202_001, 202_005, 202_008, 202_012, 202_103, 202_106, 202_111, 202_202, 202_206,
    202_211, 202_302, 202_305, 202_308, 202_311, 202_401, 202_405, 202_410, 202_501, 202_502, 202_505,
    202_511, 202_603, 202_604,
];

/// Bounds of one look at one process: bytes of its list, files, and bytes of those.
const LIST: u64 = 4 << 20;
const MOST_FILES: usize = 64;
const MOST_BYTES: u64 = 256 << 20;

/// Files that are remembered.
const KNOWN: usize = 1024;

/// Files that were opened and are no programs. They stay open: closing one that is a database after
/// all would end our locks on it. Past so many nothing more is opened.
const MOST_OTHERS: usize = 16;

/// Bytes read at a time, and of the last that are looked at again.
const CHUNK: usize = 1 << 20;
const OVERLAP: usize = 96;

/// `2022-12-28 14:03:47`.
const STAMP: &[u8] = b"dddd-dd-dd dd:dd:dd ";
/// Where its first colon is: few bytes of a program are one.
const COLON: usize = 13;
/// Hexadecimal digits behind it, at least: those of altered sources end otherwise.
const DIGITS: usize = 36;

/// An SQLite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Its number; `None` where only its source is known.
    number: Option<String>,
    /// The day of its source.
    date: String,
}

impl Library {
    /// Whether it is one with the [`FAULT`].
    pub fn is_faulty(&self) -> bool {
        (FAULTY.0..FAULTY.1).contains(&self.date.as_str())
    }
}

impl std::fmt::Display for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.number {
            Some(number) => write!(f, "SQLite {number}"),
            None => write!(f, "an SQLite of {}", self.date),
        }
    }
}

/// A process that has a database open.
#[derive(Debug, Clone)]
pub struct User {
    /// Which.
    pub process: Holder,
    /// What it has; `None`: it cannot be told.
    pub sqlite: Option<Library>,
}

impl User {
    /// Whether its SQLite is known to have the fault.
    pub fn is_faulty(&self) -> bool {
        self.sqlite.as_ref().is_some_and(Library::is_faulty)
    }

    /// Which SQLite it has, in words, the process called so.
    pub fn in_words(&self, who: &str) -> String {
        match &self.sqlite {
            Some(sqlite) => format!("{who} uses {sqlite}"),
            None => format!("which SQLite {who} uses cannot be seen"),
        }
    }
}

/// Those who have a database open, and why there may be others.
#[derive(Debug, Clone)]
pub struct Users {
    /// Those that can be seen, this process left out.
    pub seen: Vec<User>,
    /// Why there may be others.
    pub unseen: Option<String>,
}

/// Looks for those who have the database open, and for what they run, which is read to its end the
/// first time. Errors: those of `watch`.
pub fn of_users(path: &Path, watch: &dyn Watch) -> Result<Users> {
    let (_, there) = holders::set(&resolved(path));
    let found = holders::of(FileSelection { there: &there, removed: &[] });
    let user = |process: Holder| Ok(User { sqlite: of(process.pid, &there, watch)?, process });
    let seen = found.holders.into_iter().map(user).collect::<Result<_>>()?;
    Ok(Users { seen, unseen: found.unseen })
}

/// A file that a process has mapped to be run.
struct Mapped {
    range: String,
    inode: u64,
    path: PathBuf,
}

/// The SQLite of a process, in the file whose name says it, in its program, or in what else it
/// runs. `never`: not to be opened whatever the process has done with them.
fn of(pid: u32, never: &[Identity], watch: &dyn Watch) -> Result<Option<Library>> {
    let Some(mut mapped) = mapped(pid) else { return Ok(None) };
    // The program itself comes first in the list.
    mapped.sort_by_key(|file| {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        !name.contains("sqlite")
    });
    let mut left = MOST_BYTES;
    for file in mapped.iter().take(MOST_FILES) {
        let Some((place, key)) = to_be_read(pid, file, never, left) else { continue };
        let library = in_file(&place, key, &mut left, watch)?;
        if library.is_some() {
            return Ok(library);
        }
    }
    Ok(None)
}

/// Lines such as `7f00-7f80 r-xp 00001000 fe:00 1234    /usr/lib/libsqlite3.so.0`.
fn mapped(pid: u32) -> Option<Vec<Mapped>> {
    let mut list = Vec::new();
    File::open(format!("/proc/{pid}/maps")).ok()?.take(LIST).read_to_end(&mut list).ok()?;
    let mut known = BTreeSet::new();
    let line = |line: &[u8]| {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let (range, rights) = (fields.next()?, fields.next()?);
        let inode = std::str::from_utf8(fields.nth(2)?).ok()?.parse().ok().filter(|inode| *inode != 0)?;
        let path = fields.next()?.trim_ascii_start();
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(path));
        let is_run = rights.get(2) == Some(&b'x') && path.is_absolute() && known.insert(inode);
        is_run.then(|| Some(Mapped { range: std::str::from_utf8(range).ok()?.to_owned(), inode, path }))?
    };
    Some(list.split(|byte| *byte == b'\n').filter_map(line).collect())
}

/// What a file is remembered by: another content has another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    identity: Identity,
    length: u64,
    modified: (i64, i64),
}

/// The file, not open yet, where it is one to be read.
fn to_be_read(pid: u32, mapped: &Mapped, never: &[Identity], left: u64) -> Option<(File, Key)> {
    let place = place(pid, mapped)?;
    let file = place.metadata().ok().filter(|file| file.is_file() && file.ino() == mapped.inode)?;
    let (identity, length) = ((file.dev(), file.ino()), file.len());
    let key = Key { identity, length, modified: (file.mtime(), file.mtime_nsec()) };
    (!never.contains(&identity) && length <= left).then_some((place, key))
}

fn in_file(place: &File, key: Key, left: &mut u64, watch: &dyn Watch) -> Result<Option<Library>> {
    static FOUND: LazyLock<Mutex<HashMap<Key, Option<Library>>>> = LazyLock::new(Mutex::default);
    static OTHERS: Mutex<Vec<File>> = Mutex::new(Vec::new());
    // Whoever panicked was only looking or adding.
    let found = || FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let others = || OTHERS.lock().unwrap_or_else(PoisonError::into_inner);

    if let Some(known) = found().get(&key) {
        return Ok(known.clone());
    }
    if others().len() >= MOST_OTHERS {
        return Ok(None);
    }
    *left -= key.length;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let Ok(opened) = rustix::fs::open(path, flags, Mode::empty()) else { return Ok(None) };
    let mut opened = File::from(opened);
    let mut magic = [0; 4];
    if opened.read_exact(&mut magic).is_err() || &magic != b"\x7fELF" {
        others().push(opened);
        found().insert(key, None);
        return Ok(None);
    }
    let library = search(&mut opened, key.length, watch)?;
    let mut found = found();
    if found.len() >= KNOWN {
        found.clear();
    }
    found.insert(key, library.clone());
    Ok(library)
}

/// What is mapped, without opening it: by the mapping itself, which also leads to a file that was
/// removed, or by its path in the directory tree of the process, without following links.
fn place(pid: u32, mapped: &Mapped) -> Option<File> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mapping = format!("/proc/{pid}/map_files/{}", mapped.range);
    if let Ok(fd) = rustix::fs::open(mapping, flags, Mode::empty()) {
        return Some(File::from(fd));
    }
    let root = rustix::fs::openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty()).ok()?;
    let beneath = mapped.path.strip_prefix("/").ok()?;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
    openat2(root, beneath, flags | OFlags::NOFOLLOW, Mode::empty(), resolve).ok().map(File::from)
}

/// Reads the file for the name of SQLite's source, and for a number of the same time.
fn search(file: &mut File, length: u64, watch: &dyn Watch) -> Result<Option<Library>> {
    let (mut dates, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let (mut buffer, mut kept) = (vec![0; OVERLAP + CHUNK], 0);
    let mut source = file.take(length);
    loop {
        watch.go_on()?;
        let Ok(read) = source.read(&mut buffer[kept..]) else { return Ok(None) };
        if read == 0 {
            break;
        }
        let bytes = &buffer[..kept + read];
        let stamps = memchr_iter(b':', bytes).filter_map(|colon| bytes.get(colon.checked_sub(COLON)?..));
        dates.extend(stamps.filter_map(date));
        for at in memmem::find_iter(bytes, b"3.") {
            // Texts of other languages have no zero between them and what follows. What the first
            // of those that are looked at again follows was seen before.
            let is_begin = if at == 0 { kept == 0 } else { !is_of_number(bytes[at - 1]) };
            numbers.extend(number(&bytes[at..]).filter(|_| is_begin));
        }
        let end = kept + read;
        kept = OVERLAP.min(end);
        buffer.copy_within(end - kept..end, 0);
    }
    Ok(library(dates, numbers))
}

/// The SQLite of these days of sources, and these that may be its numbers.
fn library(dates: BTreeSet<String>, numbers: BTreeSet<(usize, u32)>) -> Option<Library> {
    // Of two the older: it is the one to know of.
    let date = dates.into_iter().next()?;
    let month: u32 = date.get(..7)?.replace('-', "").parse().ok()?;
    let is_of_then = |(minor, _): &(usize, u32)| {
        let released = minor.checked_sub(7).map(|at| RELEASED.get(at).or(RELEASED.last()).copied());
        released.flatten().is_some_and(|released| released <= month)
    };
    let number = numbers.into_iter().rfind(is_of_then);
    Some(Library { number: number.map(|(minor, patch)| format!("3.{minor}.{patch}")), date })
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.'
}

/// The day in the name of a source: `2022-12-28 14:03:47 df5c253c…`.
fn date(bytes: &[u8]) -> Option<String> {
    let (stamp, rest) = bytes.split_at_checked(STAMP.len())?;
    let fits = |(byte, form): (&u8, &u8)| if *form == b'd' { byte.is_ascii_digit() } else { byte == form };
    let is_one = stamp.iter().zip(STAMP).all(fits)
        && rest.get(..DIGITS)?.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_one.then(|| std::str::from_utf8(stamp.get(..10)?).ok().map(str::to_owned))?
}

/// The two last parts of a number such as `3.40.1`, with the zero that ends a text of C.
fn number(bytes: &[u8]) -> Option<(usize, u32)> {
    let rest = bytes.strip_prefix(b"3.")?;
    let end = rest.iter().take(7).position(|byte| *byte == 0)?;
    let (minor, patch) = std::str::from_utf8(rest.get(..end)?).ok()?.split_once('.')?;
    let is_short =
        |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    (is_short(minor) && is_short(patch)).then(|| Some((minor.parse().ok()?, patch.parse().ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Reason};
    use std::io::{Seek as _, Write as _};

    fn found(parts: &[&[u8]]) -> Option<String> {
        let mut file = tempfile::tempfile().unwrap();
        for part in parts {
            file.write_all(part).unwrap();
        }
        file.rewind().unwrap();
        let length = file.metadata().unwrap().len();
        let library = search(&mut file, length, &|| Ok(())).unwrap()?;
        Some(format!("{library}{}", if library.is_faulty() { ", faulty" } else { "" }))
    }

    const HASH: &str = "df5c253c0b3dd24916e4ec7cf77d3db5294cc9fd";

    #[test]
    fn a_library_is_known_by_its_source_and_a_number_of_its_time() {
        let of = |date: &str, numbers: &str| {
            let id = format!("{date} 14:03:47 {HASH}45ae7b9c5e82ad8197f3alt1\0");
            found(&[b"\x7fELF", &vec![b'2'; CHUNK - 30], id.as_bytes(), b"\x01", numbers.as_bytes()]).unwrap()
        };
        // Put together here, so that they are not found in this very program as numbers of its own
        // SQLite.
        let (far, ahead) = (["3", "99", "1"].join("."), ["3", "60", "2"].join("."));
        // Python's own number has the same form, and is not of that time.
        let numbers = format!("3.11.7\x003.40.1\x00{far}\0");
        assert_eq!(of("2022-12-28", &numbers), "SQLite 3.40.1, faulty");
        assert_eq!(of("2026-01-09", "3.51.2\0"), "SQLite 3.51.2, faulty");
        assert_eq!(of("2026-03-13", "3.44.6\0"), "SQLite 3.44.6");
        assert_eq!(of("2026-03-13", "13.40.1\x003.40.1x\0"), "an SQLite of 2026-03-13");
        assert_eq!(of("2026-06-03", "error_len3.53.2\0"), "SQLite 3.53.2");
        assert_eq!(of("2026-06-03", "3.53.2\0"), "SQLite 3.53.2");
        assert_eq!(of("2027-06-03", &format!("{ahead}\0")), format!("SQLite {ahead}"));
        assert_eq!(of("2009-01-01", "3.6.9\0"), "an SQLite of 2009-01-01");
    }

    #[test]
    fn a_number_is_not_found_in_the_end_of_a_longer_one_where_two_reads_meet() {
        let id = format!("2026-06-03 14:03:47 {HASH}45ae7b9c5e82ad8197f3alt1\0");
        // The second buffer begins with the byte behind its first digit.
        let before = vec![b'x'; CHUNK - 1 - 4 - id.len()];
        let longer = ["13", "53", "2\0"].join(".");
        let parts = [b"\x7fELF", id.as_bytes(), &before, longer.as_bytes(), &[b'x'; 200]];
        assert_eq!(found(&parts).unwrap(), "an SQLite of 2026-06-03");
    }

    #[test]
    fn a_long_search_ends_when_it_is_told_to() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0; 3 * CHUNK]).unwrap();
        file.rewind().unwrap();
        let asked = std::cell::Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            if asked.get() < 2 { Ok(()) } else { Err(Error::new(Reason::Cancelled, "told to stop")) }
        };
        assert_eq!(search(&mut file, 3 << 20, &stop).unwrap_err().reason, Reason::Cancelled);
        assert!(file.stream_position().unwrap() < 3 << 20);
    }

    #[test]
    fn what_is_no_source_of_sqlite_names_none() {
        assert_eq!(found(&[b"3.40.1\0"]), None);
        assert_eq!(found(&[b"2022-12-28 14:03:47 UTC\0", b"3.40.1\0"]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn our_own_program_has_the_sqlite_that_is_linked() {
        // Its number is beside those of the tests above.
        let library = of(std::process::id(), &[], &|| Ok(())).unwrap().unwrap();
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let source: String = connection.query_row("SELECT sqlite_source_id()", [], |row| row.get(0)).unwrap();
        assert_eq!((library.date.as_str(), library.is_faulty()), (&source[..10], false));
    }
}
