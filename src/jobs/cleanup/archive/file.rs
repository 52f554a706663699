//! The files of an archive: their names, and how one is made.

use std::fs::File;

use crate::error::Result;
use crate::store::Directory;

/// A table's name as part of a file's: whatever is not safe everywhere is an underscore.
pub(super) fn file_name(table: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    table.chars().take(100).map(safe).collect()
}

/// Makes a file (0640) that belongs to the owner of its directory, also where root makes it.
/// `None`: it is there.
pub(super) fn create(directory: &Directory, name: &str) -> Result<Option<File>> {
    let made = directory.create_file(name)?;
    if made.is_some() {
        // The file's name must outlast a power cut as its rows do.
        directory.sync()?;
    }
    Ok(made)
}
