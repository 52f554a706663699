//! Where rows go before they are removed: a file of SQLite or CSV, beside the backups or in a
//! directory of the rule. What a batch hands over is on the disk before its deletes are committed,
//! so that a run which is killed in between leaves rows twice and never none. Only ever adds to
//! files; removing them is the operator's.

mod columns;
mod csv;
mod file;
mod sqlite;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};

use self::columns::Columns;
use self::file::file_name;
use super::graph::children::Node;
use super::graph::known::id;
use crate::config::{ArchiveFormat, Database, Rule};
use crate::error::{Error, Reason, Result};
use crate::sqlite::look::keys::{self, Key, among};
use crate::store::{Directory, directory_below};
use crate::words;

/// The archive leaves so much of its filesystem free: the database may lie there as well.
const LEAST_FREE: u64 = 64 << 20;

/// An archive that rows are added to.
pub(super) struct Archive {
    directory: Arc<Directory>,
    files: ArchiveFiles,
    tables: BTreeMap<String, Columns>,
    /// Of batches that were removed.
    rows: u64,
    /// Of the batch at hand.
    taken: u64,
    /// Rows that are here already, and are removed by a later batch: what they point at goes before
    /// them.
    early: HashSet<Vec<u8>>,
    /// Which of them the batch at hand has brought …
    brought: Vec<Vec<u8>>,
    /// … and which it removes.
    met: Vec<Vec<u8>>,
}

enum ArchiveFiles {
    Sqlite(sqlite::Month),
    Csv(csv::CsvFiles),
}

impl Archive {
    /// Opens the archive of a rule on `table`. Its directory is made where it is missing.
    pub(super) fn open(
        database: &Database,
        rule: &Rule,
        table: &str,
        started: DateTime<Utc>,
    ) -> Result<Option<Self>> {
        let Some(format) = rule.archive else { return Ok(None) };
        let name = database.name.as_str();
        let directory = match (&rule.archive_dir, database.backup.dir.directory()) {
            (Some(base), _) => directory_below(base, &[name])?,
            (None, Some(base)) => directory_below(base, &[name, "archive"])?,
            // The configuration is not valid then.
            (None, None) => return Err(Error::new(Reason::Config, "set archive_dir in the rule")),
        };
        let directory = Arc::new(directory);
        let stem = file_name(table);
        let files = match format {
            ArchiveFormat::Sqlite => {
                let month = started.format("%Y-%m");
                ArchiveFiles::Sqlite(sqlite::Month::open(
                    Arc::clone(&directory),
                    &format!("{stem}_{month}.sqlite"),
                )?)
            }
            ArchiveFormat::Csv => {
                let stamp = started.format("%Y%m%dT%H%M%SZ").to_string();
                ArchiveFiles::Csv(csv::CsvFiles::new(Arc::clone(&directory), stamp))
            }
        };
        Ok(Some(Self {
            directory,
            files,
            tables: BTreeMap::new(),
            rows: 0,
            taken: 0,
            early: HashSet::new(),
            brought: Vec::new(),
            met: Vec::new(),
        }))
    }

    /// Adds rows of the rule's table as they are now, which are changed now and removed later.
    pub(super) fn take_early(&mut self, from: &Connection, node: &Node, rows: &[Key]) -> Result<()> {
        let new: Vec<Key> = rows.iter().filter(|row| !self.early.contains(&id(row))).cloned().collect();
        self.take(from, node, &new)?;
        for row in &new {
            self.early.insert(id(row));
            self.brought.push(id(row));
        }
        Ok(())
    }

    /// Adds rows of the rule's table as they are now, but for those that are here already.
    pub(super) fn take_own(&mut self, from: &Connection, node: &Node, rows: &[Key]) -> Result<()> {
        let (old, new): (Vec<Key>, Vec<Key>) =
            rows.iter().cloned().partition(|row| self.early.contains(&id(row)));
        self.met.extend(old.iter().map(|row| id(row)));
        self.take(from, node, &new)
    }

    /// Adds the rows of a table as they are now.
    pub(super) fn take(&mut self, from: &Connection, node: &Node, rows: &[Key]) -> Result<()> {
        let free = self.directory.free_bytes()?;
        if free < LEAST_FREE {
            return Err(Error::new(
                Reason::NoSpace,
                format!(
                    "the archive in {} is not continued: its filesystem has {} free, and less than {} is left alone; \
                     the rows that were not archived were not removed",
                    self.directory.path().display(),
                    words::bytes(free),
                    words::bytes(LEAST_FREE)
                ),
            ));
        }
        if !self.tables.contains_key(&node.name) {
            let columns = Columns::of(from, node)?;
            match &mut self.files {
                ArchiveFiles::Sqlite(month) => month.prepare(&node.name, &columns)?,
                ArchiveFiles::Csv(run) => run.begin(&node.name, &columns)?,
            }
            self.tables.insert(node.name.clone(), columns);
        }
        let columns = &self.tables[&node.name];
        for (number, values) in keys::chunks(rows) {
            let sql = format!("{} WHERE {}", columns.select, among("", &node.key, number));
            let mut statement = from.prepare_cached(&sql)?;
            let mut found = statement.query(params_from_iter(values))?;
            while let Some(row) = found.next()? {
                let values = (0..columns.names.len()).map(|at| row.get_ref(at));
                let values: Vec<ValueRef<'_>> = values.collect::<rusqlite::Result<_>>()?;
                match &mut self.files {
                    ArchiveFiles::Sqlite(month) => month.add(&node.name, &values)?,
                    ArchiveFiles::Csv(run) => run.add(&node.name, &values)?,
                }
                self.taken += 1;
            }
        }
        Ok(())
    }

    /// Returns when all of it is on the disk.
    pub(super) fn secure(&mut self) -> Result<()> {
        match &mut self.files {
            ArchiveFiles::Sqlite(month) => month.commit(),
            ArchiveFiles::Csv(run) => run.sync(),
        }
    }

    /// After a batch: its rows stay where they were removed, and are taken out again as far as
    /// possible where not.
    pub(super) fn settle(&mut self, removed: bool) -> Result<()> {
        let taken = std::mem::take(&mut self.taken);
        self.rows += if removed { taken } else { 0 };
        let (brought, met) = (std::mem::take(&mut self.brought), std::mem::take(&mut self.met));
        for row in if removed { met } else { brought } {
            self.early.remove(&row);
        }
        match &mut self.files {
            ArchiveFiles::Sqlite(month) => month.roll_back(),
            ArchiveFiles::Csv(run) => run.settle(removed),
        }
    }

    /// Where the rows went: the files, and how many rows.
    pub(super) fn finish(self) -> Result<(Vec<PathBuf>, u64)> {
        let files = match self.files {
            ArchiveFiles::Sqlite(month) => vec![month.close()?],
            ArchiveFiles::Csv(run) => run.paths(),
        };
        Ok((if self.rows == 0 { Vec::new() } else { files }, self.rows))
    }
}
