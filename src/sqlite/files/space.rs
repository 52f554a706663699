//! Room on the filesystems that a statement writes to (HAZARDS H8). Looks by `stat` alone.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::error::{Error, Reason, Result};
use crate::words;

/// Bytes that will be written below a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The directory.
    pub directory: PathBuf,
    /// How many.
    pub bytes: u64,
}

/// A filesystem without room for all that will be written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The directories on it.
    pub directories: Vec<PathBuf>,
    /// Bytes that will be written.
    pub needed: u64,
    /// Bytes that are free.
    pub free: u64,
}

/// `no_space` where the filesystems have no room for all of it. `purpose`: what needs it, as the
/// subject of a sentence.
pub fn check(needs: &[Need], purpose: &str) -> Result<()> {
    match shortage(needs)? {
        Some(shortage) => Err(shortage.error(purpose)),
        None => Ok(()),
    }
}

/// What is said where `place` has no room.
pub fn no_room(purpose: &str, place: &str, needed: u64, free: u64) -> Error {
    let (needed, free) = (words::bytes(needed), words::bytes(free));
    Error::new(
        Reason::NoSpace,
        format!("{purpose} needs {needed} free on the filesystem of {place}, which has {free}"),
    )
}

impl Shortage {
    /// The same as an error.
    pub fn error(&self, purpose: &str) -> Error {
        let places: Vec<_> = self.directories.iter().map(|d| d.display().to_string()).collect();
        no_room(purpose, &places.join(" and "), self.needed, self.free)
    }
}

/// The filesystem that is short of the most, where one is. Directories on the same one are added
/// up.
pub fn shortage(needs: &[Need]) -> Result<Option<Shortage>> {
    let mut filesystems: BTreeMap<u64, Shortage> = BTreeMap::new();
    for need in needs {
        let directory = &need.directory;
        let device = std::fs::metadata(directory)
            .map_err(|e| Error::io(format!("the directory {} cannot be read", directory.display()), &e))?
            .dev();
        let free = disk_free(directory)?;
        let filesystem =
            filesystems.entry(device).or_insert(Shortage { directories: Vec::new(), needed: 0, free });
        filesystem.needed += need.bytes;
        if !filesystem.directories.contains(directory) {
            filesystem.directories.push(directory.clone());
        }
    }
    Ok(filesystems.into_values().filter(|f| f.free < f.needed).max_by_key(|f| f.needed - f.free))
}

/// Where SQLite puts its temporary files: the first of these that is a directory it may write to,
/// as `unixTempFileDir` in os_unix.c looks for it.
pub fn temp_directory() -> PathBuf {
    let named = ["SQLITE_TMPDIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let usual = ["/var/tmp", "/usr/tmp", "/tmp"].into_iter().map(PathBuf::from);
    named.chain(usual).find(|directory| is_usable(directory)).unwrap_or_else(|| PathBuf::from("."))
}

fn is_usable(directory: &Path) -> bool {
    directory.is_dir()
        && accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty()).is_ok()
}

/// Bytes free for us on the filesystem of `path` (statvfs `f_bavail`).
pub fn disk_free(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path)
        .map_err(|e| Error::io(format!("cannot ask {} for its free space", path.display()), &e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_what_goes_to_the_same_filesystem() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let needs = |bytes| [&one, &other].map(|d| Need { directory: d.path().to_owned(), bytes });
        assert_eq!(shortage(&needs(1)).unwrap(), None);
        let half = u64::MAX / 2;
        let found = shortage(&needs(half)).unwrap().unwrap();
        assert_eq!(found.needed, 2 * half);
        assert_eq!(found.directories, [one.path(), other.path()]);
    }
}
