//! A backup made a database again: unpacked beside the target, compared with its manifest, made
//! durable, and only then given its name. Must never touch a file that is there already;
//! [`self::in_place`] does.

pub mod in_place;
mod likeness;
mod unfinished;
mod unpacked;

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use self::unfinished::HiddenFile;
use super::codec::ahead::ReadAhead;
use super::codec::read_error;
use super::local::directory::Directory;
use super::{Backup, Catalogue};
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::paths::{SIDECARS, sidecar};
use crate::sqlite::files::space::disk_free;
use crate::terms::progress::{Unit, Watch};

/// Bytes passed on at a time.
const CHUNK: usize = 256 << 10;

/// Of the free bytes of a disk, one in so many stays free whatever a file without a manifest
/// unpacks to.
const LEFT_FREE: u64 = 16;

/// Writes the database in `backup` to `out`, without fsync, and compares it with the manifest.
/// `shown` is where that is, for messages.
pub fn unpack(
    catalogue: &Catalogue,
    backup: &Backup,
    out: &mut dyn Write,
    shown: &Path,
    watch: &dyn Watch,
) -> Result<u64> {
    let cannot = || format!("cannot restore {}", backup.name);
    // Compared on a thread of its own, as it was unpacked on one.
    let mut pages = ReadAhead::new(catalogue.read(backup)?).map_err(|e| Error::io(cannot(), &e))?;
    // What has a manifest is bounded by it. Anything else may unpack to more than any disk has.
    let most = if backup.manifest.is_some() { u64::MAX } else { room(shown)? };
    let total = backup.manifest.as_ref().map_or(0, |manifest| manifest.raw_bytes);
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    loop {
        watch.step(done, total.max(done), Unit::Bytes)?;
        if done > most {
            return Err(Error::new(
                Reason::NoSpace,
                format!(
                    "{}: it unpacks to more than {most} bytes, and no more are \
                to spare where {} lies",
                    cannot(),
                    shown.display()
                ),
            ));
        }
        let read = pages.read(&mut buffer).map_err(|e| read_error(cannot(), &e))?;
        if read == 0 {
            return Ok(done);
        }
        out.write_all(&buffer[..read])
            .map_err(|e| Error::io(format!("cannot write {}", shown.display()), &e))?;
        done += read as u64;
    }
}

/// Bytes that may be written beside `shown`, with some left to everybody else on that disk.
fn room(shown: &Path) -> Result<u64> {
    let directory = if shown.is_dir() { shown } else { shown.parent().unwrap_or(Path::new("/")) };
    let free = disk_free(directory)?;
    Ok(free - free / LEFT_FREE)
}

/// Restores `backup` to `target`, which must not exist, nor any sidecar of it. `check` judges the
/// unpacked file before it gets its name; on any error nothing is left.
pub fn restore(
    catalogue: &Catalogue,
    backup: &Backup,
    target: &Path,
    watch: &dyn Watch,
    check: &dyn Fn(&Path) -> Result<()>,
) -> Result<u64> {
    may_be_made(target)?;
    let (dir, name) = open_directory(target)?;
    let unfinished = HiddenFile::create(&dir, &name)?;
    let bytes = checked(catalogue, backup, &unfinished, watch, check)?;
    may_be_made(target)?;
    if !unfinished.publish_new(&name)? {
        return Err(exists(target));
    }
    Ok(bytes)
}

/// Makes a new database at `target`, which must not exist, nor any sidecar of it: `fill` writes the
/// file that it is given, by a path under which SQLite opens it. It gets its name when it is whole
/// and on disk; on any error nothing is left.
pub fn new_database<T>(target: &Path, fill: impl FnOnce(&Path, &File) -> Result<T>) -> Result<T> {
    may_be_made(target)?;
    let (dir, name) = open_directory(target)?;
    let unfinished = HiddenFile::create(&dir, &name)?;
    let made = fill(&unfinished.by_descriptor(), unfinished.file())?;
    unfinished.sync()?;
    may_be_made(target)?;
    if !unfinished.publish_new(&name)? {
        return Err(exists(target));
    }
    Ok(made)
}

/// Unpacks `backup` to `to`, durably, and has it judged.
pub(super) fn checked(
    catalogue: &Catalogue,
    backup: &Backup,
    to: &HiddenFile<'_>,
    watch: &dyn Watch,
    check: &dyn Fn(&Path) -> Result<()>,
) -> Result<u64> {
    let path = to.path();
    to.write(|out| unpack(catalogue, backup, out, &path, watch))
        .and_then(|bytes| to.sync().map(|()| bytes))
        .and_then(|bytes| check(&to.by_descriptor()).map(|()| bytes))
        .map_err(|error| marked(catalogue, backup, error))
}

/// The directory of `target`, held open, so that nobody can lead us elsewhere from then on; and the
/// name in it.
pub(super) fn open_directory(target: &Path) -> Result<(Directory, String)> {
    let Some(name) = target.file_name().and_then(|name| name.to_str()) else {
        return Err(Error::new(Reason::Refused, format!("{} names no file to restore to", target.display())));
    };
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((Directory::open_any(parent)?, name.to_owned()))
}

/// A backup that turned out to be damaged is marked, so that rotation, and whoever restores next,
/// takes it for that.
fn marked(catalogue: &Catalogue, backup: &Backup, error: Error) -> Error {
    if error.reason != Reason::Damaged {
        return error;
    }
    match catalogue.found_damaged(backup, &error) {
        Ok(_) => Error {
            message: format!(
                "{}. It counts as damaged from now on: `latest` and --at name the one before it",
                error.message
            ),
            ..error
        },
        // Who restores need not be able to write where the backups lie.
        Err(_) => error,
    }
}

/// Refuses a target that exists, or any sidecar of it: an old `-wal` or `-journal` would be played
/// into the restored database and bring old data back.
pub fn may_be_made(target: &Path) -> Result<()> {
    if let Some(parent) = target.parent()
        && !parent.as_os_str().is_empty()
        && !parent.is_dir()
    {
        return Err(Error::new(Reason::Io, format!("there is no directory {}", parent.display())));
    }
    let beside = SIDECARS.map(|suffix| sidecar(target, suffix));
    for path in std::iter::once(target).chain(beside.iter().map(PathBuf::as_path)) {
        if path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
    }
    Ok(())
}

fn exists(path: &Path) -> Error {
    Error::new(
        Reason::Refused,
        format!("{} exists; name another path, or move it away first", path.display()),
    )
}
