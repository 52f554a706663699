//! The files of a database by their names, and their sizes by `stat`.

use std::path::{Path, PathBuf};

/// Where a path leads to: SQLite follows links, and keeps its files beside the link's target. A
/// path that leads nowhere stays as it is.
pub fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// What SQLite adds to a database's name for the files that belong to it.
pub const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The file beside a database that ends in `suffix`, one of [`SIDECARS`].
pub fn sidecar(path: &Path, suffix: &str) -> PathBuf {
    let mut name = resolved(path).into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// Bytes of the database's file, by `stat`; 0 where there is none.
pub fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(resolved(path)).map_or(0, |file| file.len())
}

/// Bytes of the write-ahead log, by `stat`; 0 where there is none.
pub fn wal_bytes(path: &Path) -> u64 {
    std::fs::metadata(sidecar(path, "-wal")).map_or(0, |wal| wal.len())
}
