//! The place where backups or their copies lie, and whether it is the one from before.

use std::path::Path;

use crate::config::{Database, Place};
use crate::error::{Error, Reason, Result};
use crate::store::{self, Catalogue};

/// The backups of the database, in the place where they were before.
pub(super) fn open(database: &Database, before: Option<&Path>) -> Result<Catalogue> {
    let dir = &database.backup.dir;
    let was_there = dir.directory().is_some_and(|directory| before == Some(directory));
    catalogue(&database.name, dir, was_there, "backups")
}

/// The catalogue of a place. An empty mount point looks like one where nothing was made yet; the
/// history knows better.
pub(super) fn catalogue(database: &str, place: &Place, was_there: bool, what: &str) -> Result<Catalogue> {
    if was_there && place.directory().is_some_and(|directory| !directory.join(database).is_dir()) {
        let gone = place.join(database);
        let text = format!(
            "{what} were made in {gone} before, and it is gone; mount its disk, or make the directory to begin anew"
        );
        return Err(Error::new(Reason::Io, text));
    }
    Ok(Catalogue::new(database, store::create(place, database)?))
}
