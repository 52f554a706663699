//! The new file: filled page by page, checked, and only then given its name.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::examine::{check, stoppable};
use super::search;
use super::source::Disk;
use crate::error::{Error, Reason, Result};
use crate::sqlite::pages::Database;
use crate::sqlite::salvage::{self, Salvage};
use crate::sqlite::{checks, open};
use crate::store::restore;
use crate::terms::progress::{Stop, Unit, Watch};

/// Where the header has the versions that say WAL mode.
const VERSIONS: u64 = 18;

/// What was made.
pub(super) struct Recovery {
    pub(super) salvaged: Salvage,
    /// What a check of the new file found wrong with it.
    pub(super) wrong: Vec<String>,
    /// What of it could not be checked here.
    pub(super) unchecked: Vec<String>,
    /// Rows that refer to rows that are not there, in words.
    pub(super) references: Vec<String>,
    /// Full-text tables that were made anew from their content.
    pub(super) rebuilt: Vec<String>,
    /// What of the old header is not in the new one, or may not be right; what else should be
    /// looked at.
    pub(super) notes: Vec<String>,
}

/// The work goes on while the disk of the copy gives what is read.
struct DiskWatch<'r> {
    disk: &'r Disk,
    watch: &'r dyn Watch,
}

impl Watch for DiskWatch<'_> {
    fn go_on(&self) -> Result<()> {
        self.watch.go_on()?;
        self.disk.check()
    }

    fn at(&self, done: u64, total: u64, unit: Unit) {
        self.watch.at(done, total, unit);
    }

    fn stop(&self) -> Stop {
        self.watch.stop()
    }
}

/// Makes it.
pub(super) fn make(disk: &Disk, to: &Path, with_free: bool, watch: &dyn Watch) -> Result<Recovery> {
    let Some(database) = Database::open(disk) else {
        disk.check()?;
        let text = "nothing in the file looks like a page of an SQLite database: it may be encrypted, or of another kind";
        return Err(Error::new(Reason::NotADatabase, text));
    };
    restore::new_database(to, |path, file| {
        let target = new(path)?;
        let reading = DiskWatch { disk, watch };
        let salvaged = salvage::salvage(&database, &target, with_free, &reading)
            .map_err(|error| watch.go_on().err().unwrap_or(error))?;
        disk.check()?;
        target.close().map_err(|(_, error)| error)?;
        // Another connection: only one that reads the schema anew knows its virtual tables, and has
        // them check theirs.
        let mut target = new(path)?;
        target.pragma_update(None, "journal_mode", "off")?;
        let mut made = stoppable(&mut target, watch, |target| checked(target, salvaged))?;
        made.notes.extend(notes(&database));
        made.notes.extend(replaced(&made.salvaged));
        target.close().map_err(|(_, error)| error)?;
        if database.header.is_some_and(|header| header.is_wal) {
            let failed = |e| Error::io(format!("cannot write {}", to.display()), &e);
            file.write_all_at(&[2, 2], VERSIONS).map_err(failed)?;
        }
        Ok(made)
    })
    .map_err(|error| match error.reason {
        // SQLite's own words name no file.
        Reason::NoSpace => error.context(format!("cannot write {}", to.display())),
        _ => error,
    })
}

/// A connection to the empty file. Not in defensive mode, in which the row of a virtual table
/// cannot be put back.
fn new(path: &Path) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let target = Connection::open_with_flags(open::uri(path), flags)?;
    target.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Opened by its descriptor, it has no name beside which a journal could lie.
    target.pragma_update(None, "journal_mode", "memory")?;
    Ok(target)
}

fn checked(target: &mut Connection, salvaged: Salvage) -> Result<Recovery> {
    let mut found = check(target)?;
    let is_whole = salvaged.schema_lost == 0 && salvaged.tables.iter().all(salvage::Table::is_whole);
    let search::SearchRepair { rebuilt, notes } = search::mend(target, &mut found, is_whole)?;
    // What became of the rows of an index says nothing when they were made anew.
    let mut salvaged = salvaged;
    salvaged.tables.retain(|table| !rebuilt.iter().any(|search| search::is_index_of(search, &table.name)));
    let mut unchecked = found.unchecked;
    let mut references = Vec::new();
    for table in checks::tables(target)? {
        let keys = checks::has_foreign_keys(target, &table)
            .and_then(|has| has.then(|| checks::references(target, &table)).transpose());
        match keys {
            Ok(None) => {}
            Ok(Some(keys)) => references.extend(keys.in_words(&table)),
            Err(error) if checks::cannot_be_done(&error) => {
                unchecked.push(format!("table {table}: {}", error.message));
            }
            Err(error) => return Err(error),
        }
    }
    let indexes =
        found.indexes.into_iter().map(|index| format!("index {index} does not agree with its table"));
    let wrong = found.structure.into_iter().chain(indexes).chain(found.virtual_tables).collect();
    Ok(Recovery { salvaged, wrong, unchecked, references, rebuilt, notes })
}

fn notes(database: &Database<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if database.header.is_none() {
        let (user_version, application_id) = database.application_numbers();
        notes.push(format!(
            "the header of the file is damaged: whether user_version {user_version} and application_id \
             {application_id} are right, it was in WAL mode, or had auto_vacuum, is not known"
        ));
    }
    let reserved = database.layout.page_size - database.layout.usable;
    if reserved > 0 {
        // With room for them, but none of the extension's own content in it, its checksums would
        // all be wrong.
        notes.push(format!(
            "each page of the file keeps {reserved} bytes for an extension of the application, such as checksums; the new \
             file keeps none: have the application add them again"
        ));
    }
    notes
}

/// An application that asks by its own bytes finds nothing under the new name.
fn replaced(salvaged: &Salvage) -> Option<String> {
    let all = salvaged.replaced.join(", ");
    (!all.is_empty()).then(|| {
        format!(
            "what is not UTF-8 in the names or texts of the schema is U+FFFD in the new file: {all}; rename them as the \
             application has them before it uses the file"
        )
    })
}

/// How many of each, by a word for them.
pub(super) fn totals(salvaged: &Salvage) -> BTreeMap<&'static str, u64> {
    let sum = |of: fn(&salvage::Table) -> u64| salvaged.tables.iter().map(of).sum();
    BTreeMap::from([
        ("kept", sum(|table| table.kept)),
        ("set_aside", sum(|table| table.set_aside)),
        ("unreadable", sum(|table| table.unreadable)),
        ("pages_lost", sum(|table| table.pages_lost)),
    ])
}
