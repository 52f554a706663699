//! Which rows are known to go, so that none is counted twice and a circle of references ends: in
//! memory while they are few, and beyond that in a temporary file, so that memory stays bounded
//! whatever the tables hold. Never writes to a database of the application.

use std::collections::HashSet;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Reason, Result};
use crate::sqlite::files::space::temp_directory;
use crate::sqlite::look::keys::Key;

/// Rows that are kept in memory: some 10 MB.
const FEW: usize = 100_000;

/// Rows by the number of their table in the graph.
#[derive(Debug)]
pub(in crate::jobs::cleanup) struct KnownRows {
    /// Tables of which a row may be met again later: by another foreign key, or by the rows of
    /// another slice.
    lasting: Vec<bool>,
    few: HashSet<(usize, Vec<u8>)>,
    /// Of the present slice alone.
    passing: HashSet<(usize, Vec<u8>)>,
    many: Option<Connection>,
}

impl KnownRows {
    /// Of tables that are `lasting` or not, by their numbers.
    pub(super) fn new(lasting: Vec<bool>) -> Self {
        Self { lasting, few: HashSet::new(), passing: HashSet::new(), many: None }
    }

    /// Forgets what no other slice can meet again.
    pub(in crate::jobs::cleanup) fn next_slice(&mut self) {
        self.passing = HashSet::new();
    }

    /// Whether the row was not known before.
    pub(in crate::jobs::cleanup) fn insert(&mut self, table: usize, row: &Key) -> Result<bool> {
        let entry = (table, id(row));
        if !self.lasting[table] {
            return Ok(self.passing.insert(entry));
        }
        if self.few.contains(&entry) {
            return Ok(false);
        }
        if self.few.len() < FEW && self.many.is_none() {
            return Ok(self.few.insert(entry));
        }
        if self.many.is_none() {
            self.many = Some(file().map_err(|cause| failed(&cause))?);
        }
        let add = |file: &Connection| {
            let mut add = file.prepare_cached("INSERT OR IGNORE INTO known VALUES (?1, ?2)")?;
            add.execute((table, short(row)))
        };
        self.many
            .as_ref()
            .map_or(Ok(true), |file| add(file).map(|added| added > 0).map_err(|cause| failed(&cause)))
    }

    pub(in crate::jobs::cleanup) fn contains(&self, table: usize, row: &Key) -> Result<bool> {
        let entry = (table, id(row));
        if !self.lasting[table] {
            return Ok(self.passing.contains(&entry));
        }
        let Some(file) = self.many.as_ref().filter(|_| !self.few.contains(&entry)) else {
            return Ok(self.few.contains(&entry));
        };
        let look = || {
            let mut look = file.prepare_cached("SELECT 1 FROM known WHERE node = ?1 AND id = ?2")?;
            look.exists((table, short(row)))
        };
        look().map_err(|cause| failed(&cause))
    }
}

/// A key as bytes that are equal exactly when the keys are.
pub(in crate::jobs::cleanup) fn id(key: &[Value]) -> Vec<u8> {
    let mut id = Vec::new();
    for value in key {
        let (kind, bytes) = match value {
            Value::Null => (0, Vec::new()),
            Value::Integer(number) => (1, number.to_be_bytes().to_vec()),
            Value::Real(number) => (2, number.to_bits().to_be_bytes().to_vec()),
            Value::Text(text) => (3, text.clone().into_bytes()),
            Value::Blob(bytes) => (4, bytes.clone()),
        };
        id.push(kind);
        id.extend((bytes.len() as u64).to_be_bytes());
        id.extend(bytes);
    }
    id
}

/// The number alone of a row that has one: such a file has less than half the size.
fn short(row: &Key) -> Value {
    match row.as_slice() {
        [Value::Integer(number)] => Value::Integer(*number),
        _ => Value::Blob(id(row)),
    }
}

/// A file that has no name, and is gone when it is closed
/// (<https://www.sqlite.org/inmemorydb.html#temp_db>). Of a crash nothing has to be left.
fn file() -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = Connection::open_with_flags("", flags)?;
    file.execute_batch(
        "PRAGMA cache_size = -8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
         CREATE TABLE known(node, id, PRIMARY KEY (node, id)) WITHOUT ROWID; BEGIN",
    )?;
    Ok(file)
}

fn failed(cause: &rusqlite::Error) -> Error {
    let is_full = cause.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    let reason = if is_full { Reason::NoSpace } else { Reason::Io };
    Error::new(
        reason,
        format!(
            "the rows that would go cannot be counted: the temporary file in {} that they are noted in cannot be written \
             ({cause}); make room there, or name a roomier directory with SQLITE_TMPDIR",
            temp_directory().display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A graph of two tables, to the second of which two keys lead.
    fn known() -> KnownRows {
        KnownRows { lasting: vec![false, true], few: HashSet::new(), passing: HashSet::new(), many: None }
    }

    #[test]
    fn beyond_a_bound_rows_are_kept_on_disk_and_known_all_the_same() {
        let mut known = known();
        let row = |number: i64| vec![Value::Integer(number)];
        let few = i64::try_from(FEW).unwrap();
        let most = few + 5_000;
        for number in 0..most {
            assert!(known.insert(1, &row(number)).unwrap());
        }
        assert_eq!(known.few.len(), FEW);
        for number in [0, few - 1, few, most - 1] {
            assert!(known.contains(1, &row(number)).unwrap() && !known.insert(1, &row(number)).unwrap());
            assert!(!known.contains(0, &row(number)).unwrap());
        }
        assert!(!known.contains(1, &row(most)).unwrap());
        known.next_slice();
        assert!(known.contains(1, &row(most - 1)).unwrap());
    }

    fn key() -> impl Strategy<Value = Key> {
        let value = prop_oneof![
            (-2i64..3).prop_map(Value::Integer),
            (0u8..2).prop_map(|n| Value::Real(f64::from(n))),
            "[ab]{0,2}".prop_map(Value::Text),
            prop::collection::vec(0u8..2, 0..3).prop_map(Value::Blob),
        ];
        prop::collection::vec(value, 1..3)
    }

    proptest! {
        #[test]
        fn the_file_knows_the_same_rows_as_memory(rows in prop::collection::vec((0usize..2, key()), 0..40)) {
            let (mut memory, mut disk) = (known(), known());
            disk.many = Some(file().unwrap());
            disk.lasting = vec![true, true];
            memory.lasting = vec![true, true];
            for (table, row) in &rows {
                prop_assert_eq!(memory.contains(*table, row).unwrap(), disk.contains(*table, row).unwrap());
                prop_assert_eq!(memory.insert(*table, row).unwrap(), disk.insert(*table, row).unwrap());
            }
            prop_assert!(disk.few.is_empty());
        }
    }
}
