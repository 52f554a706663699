//! The copy that is worked on. Of a database that may be in use it comes through SQLite; the plain
//! bytes of a file are taken only while nobody has it open, and with what lies beside it (HAZARDS
//! H1, H22).

use std::cell::Cell;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::commands;
use crate::config::Database;
use crate::error::{Error, Reason, Result};
use crate::sqlite::copy;
use crate::sqlite::copy::snapshot::Bounds;
use crate::sqlite::files::holders::{self, FileSelection};
use crate::sqlite::files::paths::{file_bytes, sidecar, wal_bytes};
use crate::sqlite::files::place::{self, Place};
use crate::sqlite::files::space::{self, Need};
use crate::sqlite::files::{access, aliases};
use crate::sqlite::pages::{self, Bytes};
use crate::store::scratch::{Scratch, ScratchDirectory};
use crate::terms::progress::{Unit, Watch};
use crate::words;

/// Of the copy, which has no name of its own.
const UNWRITTEN: &str = "cannot write the copy of the database, which lies where the new file is to be";

/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// For a file that nobody uses: nothing waits for us.
const UNBOUNDED: Bounds =
    Bounds { longest_block: Duration::MAX, longest_read: Duration::MAX, most_wal_growth: u64::MAX };

/// A copy of the pages, without a name.
pub(super) struct SourceCopy {
    pub(super) scratch: Scratch,
    /// The file's own header was replaced in the copy, so that SQLite reads it.
    pub(super) is_mended: bool,
    /// What should be known of it.
    pub(super) warnings: Vec<String>,
}

/// The copy when it has been checked: its pages.
pub(super) struct Pages {
    pub(super) disk: Disk,
    /// What should be known of it.
    pub(super) warnings: Vec<String>,
}

/// Of a database that may be in use.
pub(super) fn of_live(database: &Database, to: &Path, watch: &dyn Watch) -> Result<SourceCopy> {
    let path = &database.path;
    access::check(path)?;
    has_content(path)?;
    let directory = directory(to)?;
    has_room(&directory, file_bytes(path) + wal_bytes(path), 2)?;
    match through_sqlite(path, &directory, database.pool.busy_timeout, Bounds::of(database), watch) {
        Err(error) if matches!(error.reason, Reason::NotADatabase | Reason::Damaged) => {
            let why = format!(
                "SQLite cannot read it at all ({error}), so that its bytes must be copied as they are"
            );
            plain(path, &directory, watch).map_err(|error| error.context(why))
        }
        Err(error) => Err(error.context(format!("cannot copy {}", path.display()))),
        Ok(mut scratch) => {
            let (copied, file) = (length(scratch.file())?, file_bytes(path));
            // In WAL mode the file shrinks later than the database.
            let more = (file > copied && wal_bytes(path) == 0).then(|| {
                format!(
                    "the file has {} behind the end of the database, by its header; to have that looked at, stop the \
                     application and use recover --file",
                    words::bytes(file - copied)
                )
            });
            Ok(SourceCopy { scratch, is_mended: false, warnings: more.into_iter().collect() })
        }
    }
}

/// Of a file that nobody uses.
pub(super) fn of_file(path: &Path, to: &Path, watch: &dyn Watch) -> Result<SourceCopy> {
    let path = Place::of(path)?.path();
    let file =
        std::fs::metadata(&path).map_err(|e| Error::io(format!("cannot read {}", path.display()), &e))?;
    access::is_regular(&path, &file)?;
    has_content(&path)?;
    let mut copied = plain(&path, &directory(to)?, watch)?;
    copied.warnings.extend(aliases::second(&path).map(|second| second.to_string()));
    Ok(copied)
}

/// SQLite takes an empty file for a sound database without tables, and removes the `-wal` beside
/// it.
fn has_content(path: &Path) -> Result<()> {
    if file_bytes(path) > 0 {
        return Ok(());
    }
    let text = format!(
        "{} is empty: there is nothing in it to recover; restore a backup ({})",
        path.display(),
        commands::litekeeper("restore DB --to PATH")
    );
    Err(Error::new(Reason::Shrunken, text))
}

/// As SQLite reads it, whoever writes meanwhile.
fn through_sqlite(
    path: &Path,
    directory: &Path,
    busy_timeout: Duration,
    bounds: Bounds,
    watch: &dyn Watch,
) -> Result<Scratch> {
    let mut scratch = Scratch::create(directory, "recover")?;
    let file = scratch.file();
    let mut out =
        |offset: u64, bytes: &[u8]| file.write_all_at(bytes, offset).map_err(|e| Error::io(UNWRITTEN, &e));
    copy::pages(path, busy_timeout, bounds, &mut out, watch)?;
    Ok(scratch)
}

/// Byte by byte.
fn plain(path: &Path, directory: &Path, watch: &dyn Watch) -> Result<SourceCopy> {
    let beside: Vec<(&str, PathBuf)> = ["-wal", "-journal"]
        .into_iter()
        .map(|suffix| (suffix, sidecar(path, suffix)))
        .filter(|(_, name)| file_bytes(name) > 0)
        .collect();
    let all = file_bytes(path) + beside.iter().map(|(_, name)| file_bytes(name)).sum::<u64>();
    has_room(directory, all, if beside.is_empty() { 2 } else { 3 })?;
    let place = Place::of(path)?;
    let before = stamp(path);
    let mut warnings: Vec<String> = nobody_has(path)?.into_iter().collect();
    let mut scratch = Scratch::create(directory, "recover")?;
    bytes(&place, "", scratch.file(), watch)?;
    let mut is_mended = false;
    if !beside.is_empty() {
        match played_in(&mut scratch, &place, &beside, directory, watch) {
            Ok((whole, mended)) => (scratch, is_mended) = (whole, mended),
            Err(error) if matches!(error.reason, Reason::NotADatabase | Reason::Damaged | Reason::Sqlite) => {
                let names: Vec<String> = beside.iter().map(|(_, name)| name.display().to_string()).collect();
                warnings
                    .push(format!("what is in {} is not taken into account: {error}", names.join(" and ")));
            }
            Err(error) => return Err(error),
        }
    }
    nobody_has(path)?;
    if stamp(path) != before {
        let text = format!("{} was written while it was copied; stop whoever uses it", path.display());
        return Err(Error::new(Reason::Locked, text));
    }
    Ok(SourceCopy { scratch, is_mended, warnings })
}

/// The copy with what lies beside the file, and whether it took a header of ours: SQLite rolls the
/// `-journal` back, or reads the `-wal`, on copies of them.
fn played_in(
    scratch: &mut Scratch,
    place: &Place,
    beside: &[(&str, PathBuf)],
    directory: &Path,
    watch: &dyn Watch,
) -> Result<(Scratch, bool)> {
    let named = ScratchDirectory::create(directory, "recover")?;
    let failed = |e: std::io::Error| Error::io(UNWRITTEN, &e);
    for (suffix, _) in beside {
        bytes(place, suffix, &mut named.beside(suffix)?, watch)?;
    }
    let main = named.database()?;
    let disk = Disk::new(scratch.file())?;
    let (mut buffer, mut offset) = (vec![0; CHUNK], 0);
    loop {
        watch.go_on()?;
        let read = disk.file.read_at(&mut buffer, offset).map_err(failed)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        main.write_all_at(part, offset).map_err(failed)?;
        offset += part.len() as u64;
    }
    let broken = pages::Database::open(&disk).filter(|database| database.header.is_none());
    if let Some(database) = &broken {
        let has_log = beside.iter().any(|(suffix, _)| *suffix == "-wal");
        main.write_all_at(&database.mended_header(has_log), 0).map_err(failed)?;
    }
    drop(main);
    let whole = through_sqlite(&named.path(), directory, Duration::ZERO, UNBOUNDED, watch)?;
    Ok((whole, broken.is_some()))
}

/// Refuses a file that somebody has open. Those who cannot be seen are a warning: reading harms
/// nobody, but what is read while somebody writes may be neither the old nor the new.
fn nobody_has(path: &Path) -> Result<Option<String>> {
    let (_, there) = holders::set(path);
    let seen = holders::of(FileSelection { there: &there, removed: &[] });
    if seen.holders.is_empty() {
        return Ok(seen
            .unseen
            .map(|why| format!("whether nobody has {} open is not sure: {why}", path.display())));
    }
    let who: Vec<String> = seen.holders.iter().map(ToString::to_string).collect();
    let text = format!("{} is open in {}; stop it first", path.display(), who.join(", "));
    Err(Error::new(Reason::Locked, text))
}

/// Those of the file, or of the one beside it with this end of its name.
fn bytes(place: &Place, suffix: &str, to: &mut File, watch: &dyn Watch) -> Result<()> {
    let from = if suffix.is_empty() { place.path() } else { sidecar(&place.path(), suffix) };
    let mut source = place.read(suffix)?;
    let total = length(&source)?;
    let (mut buffer, mut done) = (vec![0; CHUNK], 0);
    loop {
        watch.step(done, total.max(done), Unit::Bytes)?;
        let read = source
            .read(&mut buffer)
            .map_err(|e| Error::io(format!("cannot read {} at byte {done}", from.display()), &e))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { return Ok(()) };
        to.write_all(part).map_err(|e| Error::io(UNWRITTEN, &e))?;
        done += part.len() as u64;
    }
}

fn stamp(path: &Path) -> Option<(u64, i64, i64)> {
    std::fs::metadata(path).ok().map(|file| (file.len(), file.mtime(), file.mtime_nsec()))
}

/// Where the new file is to lie.
pub(super) fn directory(to: &Path) -> Result<PathBuf> {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(place::directory(parent)?.1)
}

/// The copy and the new database both lie there.
fn has_room(directory: &Path, bytes: u64, times: u64) -> Result<()> {
    let need = Need { directory: directory.to_owned(), bytes: bytes.saturating_mul(times) };
    space::check(&[need], "a copy of the database beside the new one")
}

fn length(file: &File) -> Result<u64> {
    let failed = |e| Error::io("cannot read the copy of the database", &e);
    Ok(file.metadata().map_err(failed)?.len())
}

/// The copy, for the reader of pages. What the disk itself does not give is no damage: it is kept
/// for whoever asks.
pub(super) struct Disk {
    file: File,
    length: u64,
    failure: Cell<Option<std::io::ErrorKind>>,
}

impl Disk {
    pub(super) fn new(file: &File) -> Result<Self> {
        let failed = |e| Error::io("cannot read the copy of the database", &e);
        let file = file.try_clone().map_err(failed)?;
        Ok(Self { length: length(&file)?, file, failure: Cell::new(None) })
    }

    /// The first error that reading met.
    pub(super) fn check(&self) -> Result<()> {
        match self.failure.get() {
            None => Ok(()),
            Some(kind) => Err(Error::io("cannot read the copy of the database", &kind.into())),
        }
    }
}

impl Bytes for Disk {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        let read = self.file.read_exact_at(into, offset);
        if let Err(error) = &read {
            self.failure.set(self.failure.get().or(Some(error.kind())));
        }
        read.is_ok()
    }
}
