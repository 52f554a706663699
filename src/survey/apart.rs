//! Whether what breaks one disk takes a database and its backups together. Looks by `stat` alone;
//! two filesystems may be on one disk all the same, which it does not tell.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{Database, Place};
use crate::sqlite::files::paths::resolved;

/// What speaks against the places of the backups, where all of them lie on the filesystem of the
/// database.
pub(super) fn warning(database: &Database) -> Option<String> {
    let own = filesystem(&resolved(&database.path))?;
    let backup = &database.backup;
    let is_apart = |place: &Place| match place.directory() {
        Some(above) => filesystem(&above.join(&database.name)) != Some(own),
        None => true,
    };
    if is_apart(&backup.dir) || backup.copies.iter().any(|copy| is_apart(&copy.dir)) {
        return None;
    }
    let copies = match backup.copies.len() {
        0 => "and there is no copy elsewhere",
        1 => "and so does the copy",
        _ => "and so do the copies",
    };
    Some(format!(
        "{} lies on the filesystem of the database itself, {copies}: one broken disk takes all of it; let backup.dir \
         name another disk or a bucket, or have every backup copied to one ([[database.{}.backup.copy]])",
        backup.dir, database.name
    ))
}

/// Which filesystem a path lies on, or will when it is made.
fn filesystem(path: &Path) -> Option<u64> {
    path.ancestors().find_map(|there| std::fs::metadata(there).ok()).map(|file| file.dev())
}
