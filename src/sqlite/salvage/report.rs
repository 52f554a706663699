//! What a salvage came to. Only holds it.

use serde::Serialize;

/// What became of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Rows that are in the new table.
    pub kept: u64,
    /// Rows that were found but are not sure, or contradict others: they are in `lost_and_found`.
    pub set_aside: u64,
    /// Rows of which something was found, but nothing that can be read.
    pub unreadable: u64,
    /// Pages that cannot be read. What was on them is not known.
    pub pages_lost: u64,
    /// Pages to which nothing led any more, and that were found.
    pub pages_found: u64,
    /// Rows of such pages that are in the new table because its indexes have them, entry by entry.
    pub rows_by_index: u64,
    /// Rows of such pages that are in the new table because its columns are the only ones that fit.
    pub rows_by_columns: u64,
    /// How many rows there were, where its indexes tell.
    pub expected: Option<u64>,
    /// Rows that are not in the new table, and of which an index has its columns: those are kept
    /// beside the tables.
    pub only_in_index: u64,
    /// Rows that are in the new table, and of which an index has other values. Which are right is
    /// not known; both are kept beside the tables.
    pub in_doubt: u64,
    /// Texts that are none in the encoding of the file.
    pub invalid_texts: u64,
    /// It cannot be made here: its rows are in `lost_and_found`.
    pub left_out: bool,
}

impl Table {
    /// Whether nothing of it is known to be lost.
    pub fn is_whole(&self) -> bool {
        let all = self.expected.is_none_or(|expected| expected <= self.kept);
        self.set_aside == 0
            && self.unreadable == 0
            && self.only_in_index == 0
            && self.in_doubt == 0
            && all
            && (self.pages_lost == 0 || self.expected.is_some())
    }
}

/// What a salvage came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Salvage {
    /// The tables, in the order of the schema.
    pub tables: Vec<Table>,
    /// The table of the rows whose table is not known or that are not sure.
    pub lost_and_found: Option<String>,
    /// Its rows.
    pub lost_and_found_rows: u64,
    /// The table of what only indexes know: columns of rows that are lost, and other values of rows
    /// that are there.
    pub lost_and_found_by_index: Option<String>,
    /// Its rows.
    pub lost_and_found_by_index_rows: u64,
    /// Texts in rows whose table is not known that are none in the encoding of the file.
    pub invalid_texts: u64,
    /// Indexes most of whose entries are not those of their rows: they say nothing of single rows.
    pub stale_indexes: Vec<String>,
    /// Rows of the schema that cannot be read: tables, indexes, views or triggers of which nothing
    /// is known.
    pub schema_lost: u64,
    /// What could not be made again, and why.
    pub left_out: Vec<String>,
    /// What was not UTF-8 in the schema, and is U+FFFD in that of the new file: `table x`.
    #[serde(skip)]
    pub replaced: Vec<String>,
}
