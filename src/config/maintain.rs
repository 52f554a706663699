//! `[maintain]`, and the indexes that the operator expects.

use std::time::Duration;

use super::when::When;

/// `[maintain]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Maintain {
    /// When.
    pub when: When,
    /// Whether to give free pages back to the filesystem.
    pub vacuum: Vacuum,
    /// `auto`: only when this share (0 to 1) of the file is free pages …
    pub vacuum_min_free: f64,
    /// … and at least this many bytes would come back.
    pub vacuum_min_size: u64,
    /// VACUUM even where it renumbers the rowids of tables with neither an INTEGER PRIMARY KEY nor
    /// an index.
    pub vacuum_rowids: RowidPolicy,
    /// Whether to refresh the planner's statistics.
    pub analyze: Analyze,
    /// Whether to rebuild indexes.
    pub reindex: Reindex,
    /// Longest time the application's writers may be held up by one statement.
    pub max_block: Duration,
    /// Past this many bytes of write-ahead log, a TRUNCATE checkpoint is tried.
    pub max_wal: u64,
}

/// `maintain.vacuum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vacuum {
    /// When enough pages are free.
    Auto,
    /// `PRAGMA incremental_vacuum`; a file without auto_vacuum is converted first, by one VACUUM.
    Incremental,
    /// Every run.
    Always,
    /// Not at all.
    Never,
}

/// `maintain.vacuum_rowids`: what VACUUM may do to rowids that it would renumber (H7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowidPolicy {
    /// Skip VACUUM and say which tables stand in the way.
    Keep,
    /// The operator knows that nothing refers to them.
    Renumber,
}

/// `maintain.analyze`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Analyze {
    /// `PRAGMA optimize` over all tables.
    Auto,
    /// `ANALYZE`.
    Always,
    /// Not at all.
    Never,
}

/// `maintain.reindex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reindex {
    /// Only an index that a check found wrong.
    Auto,
    /// Every index, one at a time.
    Always,
    /// Not at all.
    Never,
}

/// An index that the operator expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The table.
    pub table: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// What to do where it is missing.
    pub missing: Missing,
}

/// `index.missing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Report it, with the CREATE INDEX.
    Report,
    /// Create it in the next maintenance.
    Create,
}
