//! What the files tell without being opened: sizes by `stat`, room by `statvfs`, and the backups in their directory.
//! Must never be asked by the loop or under the lock of the run history: a disk may hang.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, Database};
use crate::error::{Reason, Result};
use crate::sqlite::facts::{disk_free, resolved, wal_bytes};
use crate::state::status::DiskFree;
use crate::store::{Catalogue, Known, Local};

/// The files of one database.
pub struct OnDisk {
    /// Bytes of the database; `None` where there is no file.
    pub size_bytes: Option<u64>,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
    /// Free bytes.
    pub disk_free: DiskFree,
    /// Its backups.
    pub backups: Result<Known>,
}

/// Looks at the files of every database.
pub fn look(config: &Config) -> BTreeMap<String, OnDisk> {
    config.databases.values().map(|database| (database.name.clone(), of(database))).collect()
}

fn of(database: &Database) -> OnDisk {
    let file = resolved(&database.path);
    let directory = file.parent().unwrap_or(Path::new("/"));
    OnDisk {
        size_bytes: std::fs::metadata(&database.path).ok().map(|file| file.len()),
        wal_bytes: wal_bytes(&database.path),
        disk_free: DiskFree {
            data: disk_free(directory).ok(),
            // Before the first backup its directory may not be there yet.
            backup: database.backup.dir.ancestors().find_map(|dir| disk_free(dir).ok()),
        },
        backups: backups(database),
    }
}

fn backups(database: &Database) -> Result<Known> {
    match Local::open(&database.backup.dir, &database.name) {
        Ok(store) => Catalogue::new(&database.name, Arc::new(store)).known(),
        Err(error) if error.reason == Reason::NotFound => Ok(Known::default()),
        Err(error) => Err(error),
    }
}
