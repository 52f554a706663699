//! A backup made a database again: unpacked beside the target, compared with its manifest, made durable, and only
//! then given its name. Must never touch a file that is there already (HAZARDS H17, H18).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::codec::read_error;
use super::{Backup, Catalogue, Verification};
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::sqlite::facts::{SIDECARS, sidecar};

/// Bytes passed on at a time.
const CHUNK: usize = 1 << 20;

/// Writes the database in `backup` to the new file `target`, with fsync, and compares it with the manifest.
/// `progress` is told the bytes done and is asked whether to go on.
pub fn unpack(
    catalogue: &Catalogue,
    backup: &Backup,
    target: &Path,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let failed = |e| Error::io(format!("cannot write {}", target.display()), &e);
    // Only its owner may read it: what the original's mode was is not known.
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(target).map_err(failed)?;
    let done = unpack_into(catalogue, backup, &mut file, target, progress)?;
    file.sync_all().map_err(failed)?;
    Ok(done)
}

/// The same into an open file, and without fsync. `shown` is where it is, for messages.
pub fn unpack_into(
    catalogue: &Catalogue,
    backup: &Backup,
    file: &mut File,
    shown: &Path,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let mut pages = catalogue.read(backup)?;
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    loop {
        progress(done)?;
        let read =
            pages.read(&mut buffer).map_err(|e| read_error(format!("cannot restore {}", backup.name), &e))?;
        if read == 0 {
            return Ok(done);
        }
        file.write_all(&buffer[..read])
            .map_err(|e| Error::io(format!("cannot write {}", shown.display()), &e))?;
        done += read as u64;
    }
}

/// Restores `backup` to `target`, which must not exist, nor any sidecar of it. `check` judges the unpacked file
/// before it gets its name; on any error nothing is left.
pub fn restore(
    catalogue: &Catalogue,
    backup: &Backup,
    target: &Path,
    progress: &mut dyn FnMut(u64) -> Result<()>,
    check: &dyn Fn(&Path) -> Result<()>,
) -> Result<u64> {
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = target.file_name() else {
        return Err(Error::new(Reason::Refused, format!("{} names no file to restore to", target.display())));
    };
    may_be_made(target)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".restoring-{}", std::process::id()));
    let unfinished = Unfinished(directory.join(hidden));
    let checked = unpack(catalogue, backup, &unfinished.0, progress)
        .and_then(|bytes| check(&unfinished.0).map(|()| bytes));
    let bytes = checked.map_err(|error| marked(catalogue, backup, error))?;
    may_be_made(target)?;
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        &unfinished.0,
        rustix::fs::CWD,
        target,
        rustix::fs::RenameFlags::NOREPLACE,
    )
    .map_err(|e| {
        Error::io(format!("cannot give the restored database the name {}", target.display()), &e.into())
    })?;
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|e| Error::io(format!("cannot make {} durable", directory.display()), &e))?;
    Ok(bytes)
}

/// A backup that turned out to be damaged is marked, so that rotation, and whoever restores next, takes it for that.
fn marked(catalogue: &Catalogue, backup: &Backup, error: Error) -> Error {
    if error.reason != Reason::Damaged {
        return error;
    }
    let result = Verification { started: None, at: clock::now(), ok: false, message: error.message.clone() };
    match catalogue.verified(backup, &result) {
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

/// Refuses a target that exists, or any sidecar of it: an old `-wal` or `-journal` would be played into the restored
/// database and bring old data back.
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
            return Err(Error::new(
                Reason::Refused,
                format!("{} exists; restore to another path, or move it away first", path.display()),
            ));
        }
    }
    Ok(())
}

/// Removes what was not finished.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename there is nothing left under this name.
        let _ = std::fs::remove_file(&self.0);
    }
}
