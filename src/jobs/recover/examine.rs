//! What is damaged, by SQLite's own check of the copy, which keeps nobody waiting. Must never call
//! sound what it could not check (HAZARDS H16).

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::source::{Disk, Pages, SourceCopy};
use crate::error::{Error, Result};
use crate::sqlite::checks::{self, Depth, Found};
use crate::sqlite::salvage::is_spoiled;
use crate::sqlite::upkeep::rebuild;
use crate::terms::progress::Watch;
use crate::words::plural;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Diagnosis {
    /// Nothing.
    Sound,
    /// Pages and indexes are in order, but rows break a constraint of their table, or a virtual
    /// table is at odds with its own content: damage, or done by the application.
    Rows(Vec<String>),
    /// Some indexes do not agree with their tables; the pages are in order.
    Indexes(BTreeSet<String>),
    /// The same, and one has other values than single rows: which are right is not known, and a
    /// rebuild would take the rows'.
    Doubts(Vec<String>),
    /// The file is damaged.
    Damaged(Vec<String>),
    /// Not all of it could be checked, and nothing wrong was found in the rest.
    Unknown(Vec<String>),
}

impl Diagnosis {
    /// Whether a new file is to be made. Of indexes alone too, where they cannot be rebuilt in
    /// place.
    pub(super) const fn needs_salvage(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::Indexes(_) | Self::Doubts(_))
    }
}

/// Checks the copy, and gives it back as what pages are read from.
pub(super) fn examine(copied: SourceCopy, watch: &dyn Watch) -> Result<(Diagnosis, Pages)> {
    let SourceCopy { mut scratch, is_mended, warnings } = copied;
    let pages = Pages { disk: Disk::new(scratch.file())?, warnings };
    let mut connection = scratch.open()?;
    let mut found = stoppable(&mut connection, watch, |connection| check(connection))?;
    if is_mended {
        found.structure.insert(0, String::from("the header of the file is broken"));
    }
    found.rows.append(&mut found.virtual_tables);
    let verdict = if !found.structure.is_empty() {
        let indexes =
            found.indexes.iter().map(|index| format!("index {index} does not agree with its table"));
        Diagnosis::Damaged(found.structure.iter().cloned().chain(indexes).collect())
    } else if !found.indexes.is_empty() {
        let doubts = stoppable(&mut connection, watch, |connection| doubts(connection, &found.indexes))?;
        if doubts.is_empty() { Diagnosis::Indexes(found.indexes) } else { Diagnosis::Doubts(doubts) }
    } else if !found.unchecked.is_empty() {
        Diagnosis::Unknown(found.rows.into_iter().chain(found.unchecked).collect())
    } else if !found.rows.is_empty() {
        Diagnosis::Rows(found.rows)
    } else {
        Diagnosis::Sound
    };
    Ok((verdict, pages))
}

/// The indexes that have other values than single rows. One that disagrees with most of them was
/// spoiled as a whole.
fn doubts(connection: &Connection, indexes: &BTreeSet<String>) -> Result<Vec<String>> {
    let mut doubts = Vec::new();
    for index in indexes {
        let Some((differing, all)) = rebuild::differing(connection, index)?.filter(|(rows, _)| *rows > 0)
        else {
            continue;
        };
        if !is_spoiled(differing, all) {
            let rows = plural(differing, "row", "rows");
            doubts.push(format!("index {index} has other values than {rows} of its table"));
        }
    }
    Ok(doubts)
}

/// Both checks that SQLite has: of the file, and where that cannot be done, of each table.
pub(super) fn check(connection: &Connection) -> Result<Found> {
    let whole = checks::integrity(connection, Depth::Full, None);
    let (mut found, error) = match whole {
        Err(error) if checks::cannot_be_done(&error) => (Found::default(), Some(error)),
        Ok(whole) if whole.is_of_structure => (whole, None),
        whole => return whole,
    };
    // A schema that cannot be read is damage, whatever SQLite calls it.
    let Ok(tables) = checks::tables(connection) else {
        found.structure.extend(error.map(|error| error.message));
        return Ok(found);
    };
    for table in tables {
        match checks::integrity(connection, Depth::Full, Some(&table)) {
            Ok(one) => found.add(one),
            Err(error) if checks::cannot_be_done(&error) => {
                found.unchecked.push(format!("table {table}: {}", error.message));
            }
            Err(error) => return Err(error),
        }
    }
    if found.unchecked.is_empty() {
        found.unchecked.extend(error.map(|error| error.message));
    }
    Ok(found)
}

/// Runs SQL that ends soon after the work is to stop.
pub(super) fn stoppable<T>(
    connection: &mut Connection,
    watch: &dyn Watch,
    work: impl FnOnce(&mut Connection) -> Result<T>,
) -> Result<T> {
    let stop = watch.stop();
    connection.progress_handler(10_000, Some(move || stop()))?;
    let done = work(connection).map_err(|error: Error| watch.go_on().err().unwrap_or(error));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    done
}
