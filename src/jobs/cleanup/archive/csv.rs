//! An archive as text: RFC 4180, one file for each table and run, with a line of column names. Text
//! stands in quotes and numbers do not; NULL is nothing at all, and a blob is `x'0A1B'`, so that
//! every value can be read back as it was.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::types::ValueRef;

use super::columns::Columns;
use super::file::{create, file_name};
use crate::error::{Error, Reason, Result};
use crate::store::Directory;

/// Files of one name beside each other, of tables whose names come to the same.
const MOST_ALIKE: u32 = 1000;

/// The files of one run.
pub(super) struct CsvFiles {
    directory: Arc<Directory>,
    stamp: String,
    files: BTreeMap<String, TableFile>,
}

struct TableFile {
    path: PathBuf,
    file: File,
    /// The names of the columns.
    head: Vec<u8>,
    /// Not written yet.
    waiting: Vec<u8>,
    /// Bytes of whole batches.
    whole: u64,
    /// Bytes of the file.
    bytes: u64,
}

impl CsvFiles {
    pub(super) const fn new(directory: Arc<Directory>, stamp: String) -> Self {
        Self { directory, stamp, files: BTreeMap::new() }
    }

    /// Makes the file of a table.
    pub(super) fn begin(&mut self, table: &str, columns: &Columns) -> Result<()> {
        let stem = format!("{}_{}", file_name(table), self.stamp);
        for number in 1..MOST_ALIKE {
            let name = if number == 1 { format!("{stem}.csv") } else { format!("{stem}-{number}.csv") };
            if let Some(file) = create(&self.directory, &name)? {
                let path = self.directory.path().join(name);
                let mut head = Vec::new();
                let names: Vec<_> =
                    columns.names.iter().map(|name| ValueRef::Text(name.as_bytes())).collect();
                line(&mut head, &names);
                let waiting = head.clone();
                self.files
                    .insert(table.to_owned(), TableFile { path, file, head, waiting, whole: 0, bytes: 0 });
                return Ok(());
            }
        }
        Err(Error::new(
            Reason::Refused,
            format!("{} is full of files {stem}", self.directory.path().display()),
        ))
    }

    pub(super) fn add(&mut self, table: &str, values: &[ValueRef<'_>]) -> Result<()> {
        let table = self.files.get_mut(table);
        let table = table.ok_or_else(|| Error::new(Reason::Panic, "an archive without its file"))?;
        line(&mut table.waiting, values);
        Ok(())
    }

    /// Writes what waits, and returns when it is on the disk.
    pub(super) fn sync(&mut self) -> Result<()> {
        for table in self.files.values_mut().filter(|table| !table.waiting.is_empty()) {
            let doing = || format!("cannot write the archive {}", table.path.display());
            table
                .file
                .write_all_at(&table.waiting, table.bytes)
                .map_err(|error| Error::io(doing(), &error))?;
            table.file.sync_data().map_err(|error| Error::io(doing(), &error))?;
            table.bytes += table.waiting.len() as u64;
            table.waiting.clear();
        }
        Ok(())
    }

    /// Keeps the rows of a batch that were removed, and cuts off those that were not.
    pub(super) fn settle(&mut self, removed: bool) -> Result<()> {
        for table in self.files.values_mut() {
            if removed {
                table.whole = table.bytes;
                continue;
            }
            // What is left of it begins with the names of its columns all the same.
            table.waiting = if table.whole == 0 { table.head.clone() } else { Vec::new() };
            let doing = || format!("cannot cut {} back to what was removed", table.path.display());
            table.file.set_len(table.whole).map_err(|error| Error::io(doing(), &error))?;
            table.bytes = table.whole;
        }
        Ok(())
    }

    pub(super) fn paths(self) -> Vec<PathBuf> {
        self.files.into_values().map(|table| table.path).collect()
    }
}

fn line(out: &mut Vec<u8>, values: &[ValueRef<'_>]) {
    for (number, value) in values.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        field(out, *value);
    }
    out.extend(b"\r\n");
}

fn field(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => {}
        ValueRef::Integer(number) => out.extend(number.to_string().bytes()),
        // The shortest text that is read back as the same number; 9e999 is SQLite's infinity.
        ValueRef::Real(number) if number.is_finite() => out.extend(format!("{number:?}").bytes()),
        ValueRef::Real(number) => out.extend(if number > 0.0 { &b"9e999"[..] } else { b"-9e999" }),
        ValueRef::Text(text) => {
            out.push(b'"');
            for byte in text {
                if *byte == b'"' {
                    out.push(b'"');
                }
                out.push(*byte);
            }
            out.push(b'"');
        }
        ValueRef::Blob(bytes) => {
            out.extend(b"x'");
            for byte in bytes {
                out.extend(format!("{byte:02X}").bytes());
            }
            out.push(b'\'');
        }
    }
}
