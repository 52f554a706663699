//! What the files tell without being opened: sizes by `stat`, room by `statvfs`, and the backups in
//! their places. Must never be asked by the daemon's loop or under the lock of the run history: a
//! disk may hang.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

use super::remote::{FIRST_LOOK, Remote};
use crate::clock;
use crate::config::{Database, Place};
use crate::error::{Reason, Result};
use crate::schedule::admission::Disk;
use crate::sqlite::files::aliases::{self, SecondName};
use crate::sqlite::files::paths::{resolved, wal_bytes};
use crate::sqlite::files::replicator;
use crate::sqlite::files::space::disk_free;
use crate::state::status::DiskFree;
use crate::store::{self, Catalogue, Inventory};

/// The files of one database.
pub struct OnDisk {
    /// Bytes of the database; `None` where there is no file.
    pub size_bytes: Option<u64>,
    /// Whether it is reached under a second name.
    pub second_name: Option<SecondName>,
    /// The device that the database lies on; its directory's where the file is missing.
    pub device: Option<Disk>,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
    /// Whether the directory of a replicator, which owns the log, lies beside it.
    pub is_replicated: bool,
    /// Free bytes.
    pub disk_free: DiskFree,
    /// Its backups.
    pub backups: Result<Inventory>,
    /// Its copies, by their names in the order of the configuration.
    pub copies: Vec<(String, Result<Inventory>)>,
}

/// Looks at the files of a database. Of buckets what `remote` knows, which is waited for only where
/// that is nothing, and no longer for many than for one; without it, asks them.
pub fn of(database: &Database, remote: Option<&Remote>) -> OnDisk {
    let file = resolved(&database.path);
    let directory = file.parent().unwrap_or(Path::new("/"));
    let copies = &database.backup.copies;
    if let Some(remote) = remote {
        let places = std::iter::once(&database.backup.dir).chain(copies.iter().map(|copy| &copy.dir));
        for place in places.filter(|place| matches!(place, Place::Bucket(_))) {
            remote.look(&place.join(&database.name), opening(database, place, Some(remote)));
        }
    }
    let until = Instant::now() + FIRST_LOOK;
    let backups = |place: &Place| backups(database, place, remote, until);
    OnDisk {
        size_bytes: std::fs::metadata(&file).ok().map(|file| file.len()),
        second_name: aliases::second(&file),
        device: device(&file),
        wal_bytes: wal_bytes(&database.path),
        is_replicated: replicator::has_directory(&database.path),
        disk_free: DiskFree {
            data: disk_free(directory).ok(),
            // Before the first backup its directory may not be there yet. A bucket has no end.
            backup: database
                .backup
                .dir
                .directory()
                .and_then(|dir| dir.ancestors().find_map(|dir| disk_free(dir).ok())),
        },
        backups: backups(&database.backup.dir),
        copies: copies.iter().map(|copy| (copy.name.clone(), backups(&copy.dir))).collect(),
    }
}

fn device(file: &Path) -> Option<Disk> {
    let directory = || std::fs::metadata(file.parent().unwrap_or(Path::new("/")));
    std::fs::metadata(file).or_else(|_| directory()).ok().map(|known| known.dev())
}

/// Opened at each look: the disk may be another one.
fn opening(
    database: &Database,
    place: &Place,
    remote: Option<&Remote>,
) -> impl FnOnce() -> Result<Catalogue> + Send + 'static {
    let (name, at) = (database.name.clone(), place.clone());
    let manifests = remote.map(|remote| remote.manifests(&place.join(&name))).unwrap_or_default();
    move || Ok(Catalogue::knowing(&name, store::open(&at, &name)?, manifests))
}

fn backups(database: &Database, place: &Place, remote: Option<&Remote>, until: Instant) -> Result<Inventory> {
    if let (Place::Bucket(_), Some(remote)) = (place, remote) {
        return remote.known(&place.join(&database.name), until);
    }
    match opening(database, place, remote)() {
        Ok(catalogue) => catalogue.known(clock::now()),
        Err(error) if error.reason == Reason::NotFound => Ok(Inventory::default()),
        Err(error) => Err(error),
    }
}
