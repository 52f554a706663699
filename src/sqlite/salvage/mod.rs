//! Takes what can be read out of a damaged database into a new one. Reads a copy that nobody else uses, page by page and
//! without SQLite; writes through SQLite. Must never put a row into a table that may not have been in it: what is not
//! sure goes to `lost_and_found` (HAZARDS H24).

mod claims;
mod doubts;
mod entry;
mod evidence;
mod finish;
mod indexes;
mod leaf;
mod orphans;
mod schema;
mod stand_ins;
mod table;
mod trees;
mod write;

use std::collections::BTreeSet;

use rusqlite::Connection;
use serde::Serialize;

pub use self::doubts::is_spoiled;

use self::claims::Claims;
use self::entry::Index;
use self::orphans::Rules;
use self::schema::{Entry, Schema, Sort};
use self::stand_ins::StandIns;
use self::trees::Trees;
use self::write::Writer;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::pages::{Database, Freelist};
use crate::terms::progress::{Unit, Watch};

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
    /// Rows that are not in the new table, and of which an index has its columns: those are kept beside the tables.
    pub only_in_index: u64,
    /// Rows that are in the new table, and of which an index has other values. Which are right is not known; both are
    /// kept beside the tables.
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
pub struct Salvaged {
    /// The tables, in the order of the schema.
    pub tables: Vec<Table>,
    /// The table of the rows whose table is not known or that are not sure.
    pub lost_and_found: Option<String>,
    /// Its rows.
    pub lost_and_found_rows: u64,
    /// The table of what only indexes know: columns of rows that are lost, and other values of rows that are there.
    pub lost_and_found_by_index: Option<String>,
    /// Its rows.
    pub lost_and_found_by_index_rows: u64,
    /// Texts in rows whose table is not known that are none in the encoding of the file.
    pub invalid_texts: u64,
    /// Indexes most of whose entries are not those of their rows: they say nothing of single rows.
    pub stale_indexes: Vec<String>,
    /// Rows of the schema that cannot be read: tables, indexes, views or triggers of which nothing is known.
    pub schema_lost: u64,
    /// What could not be made again, and why.
    pub left_out: Vec<String>,
}

/// How far the work is.
struct Steps<'a> {
    done: u64,
    total: u64,
    watch: &'a dyn Watch,
}

impl Steps<'_> {
    fn one(&mut self) -> Result<()> {
        self.done += 1;
        self.total = self.total.max(self.done);
        self.go_on()
    }

    fn go_on(&self) -> Result<()> {
        self.watch.step(self.done, self.total, Unit::Steps)
    }
}

/// Fills `target`, a new and empty database, with what can be read of `database`. With `with_free`, what lies on free
/// pages goes to `lost_and_found` as well: deleted rows.
pub fn salvage(
    database: &Database<'_>,
    target: &Connection,
    with_free: bool,
    watch: &dyn Watch,
) -> Result<Salvaged> {
    let free = Freelist::read(database);
    let schema = Schema::read(database, &free);
    finish::begin(target, database)?;
    let mut left_out = Vec::new();
    let mut tables = Vec::new();
    let mut stand_ins = StandIns::new(target);
    for entry in schema.entries.iter().filter(|entry| entry.sort == Sort::Table && entry.root > 0) {
        if entry.is_internal() {
            continue;
        }
        let made = stand_ins
            .create(entry)
            .and_then(|why| Ok((table::Table::describe(target, &entry.name, entry.root)?, why)));
        let (mut table, why) = match made {
            Ok(made) => made,
            Err(error) => (unknown(database, entry), Some(stopped(error)?)),
        };
        left_out.extend(why.as_ref().map(|why| said(entry, why)));
        table.is_left_out = why.is_some();
        tables.push(table);
    }
    let internal = finish::internal(target, &schema.entries)?;
    tables.extend(internal);
    let indexes = indexes(target, &schema.entries, &tables)?;
    for table in tables.iter().filter(|table| table.is_left_out) {
        target.execute_batch(&format!("DROP TABLE IF EXISTS main.{}", quoted(&table.name)))?;
    }

    let rules = Rules {
        knows_free: free.is_whole && database.header.is_some(),
        with_free,
        knows_all_tables: schema.lost == 0 && !tables.iter().any(table::Table::is_unknown),
    };
    let told = tables.iter().map(|table| Table {
        name: table.name.clone(),
        left_out: table.is_left_out,
        ..Table::default()
    });
    let told = told.collect();
    let taken = schema.entries.iter().map(|entry| entry.name.clone()).collect();
    let mut trees = Trees {
        database,
        gaps: vec![Vec::new(); tables.len()],
        claims: Claims::new(database, &free, &schema.pages),
        writer: Writer::new(target, taken),
        disputed: Vec::new(),
        twins: None,
        told,
        invalid_texts: 0,
        stale: Vec::new(),
        tables,
        indexes,
        steps: Steps { done: 0, total: u64::from(database.count) * 2, watch },
    };
    let shared = shared_roots(&trees);
    // Any record may be of a table that is not known: the others take theirs first.
    let mut order: Vec<usize> = (0..trees.tables.len()).filter(|number| !shared.contains(number)).collect();
    order.sort_by_key(|number| trees.tables.get(*number).is_some_and(table::Table::is_unknown));
    for number in order {
        if let Some(table) = trees.tables.get(number).filter(|table| table.name.starts_with("sqlite_")) {
            finish::clear(target, &table.name)?;
        }
        trees.follow(number)?;
    }
    trees.follow_indexes()?;
    trees.gather(rules)?;
    trees.compare()?;
    let Trees { told, writer, invalid_texts, stale, .. } = trees;
    let (lost, known) = (writer.lost(), writer.known()?);
    drop(writer);
    finish::end_of_rows(target, &schema.entries)?;
    stand_ins.remove()?;
    left_out.extend(finish::rest(target, &schema.entries, watch)?);
    finish::numbers(target, database)?;
    Ok(Salvaged {
        tables: told.into_iter().filter(|table| !table.name.starts_with("sqlite_")).collect(),
        lost_and_found_rows: lost.as_ref().map_or(0, |(_, rows)| *rows),
        lost_and_found: lost.map(|(name, _)| name),
        lost_and_found_by_index_rows: known.as_ref().map_or(0, |(_, rows)| *rows),
        lost_and_found_by_index: known.map(|(name, _)| name),
        invalid_texts,
        stale_indexes: stale,
        schema_lost: schema.lost,
        left_out,
    })
}

/// A table that cannot be made here.
fn unknown(database: &Database<'_>, entry: &Entry) -> table::Table {
    let without_rowid = match database.tree_page(entry.root) {
        Some(page) => !page.kind.is_table(),
        None => entry.sql.as_deref().is_some_and(|sql| sql.to_ascii_uppercase().contains("WITHOUT ROWID")),
    };
    table::Table::unknown(&entry.name, entry.root, without_rowid)
}

/// The indexes that have a tree, in the order of their tables.
fn indexes(target: &Connection, entries: &[Entry], tables: &[table::Table]) -> Result<Vec<Index>> {
    let mut indexes = Vec::new();
    for entry in entries.iter().filter(|entry| entry.sort == Sort::Index && entry.root > 0) {
        indexes.extend(Index::describe(target, entry, tables));
    }
    Index::drop_all(target)?;
    indexes.sort_by_key(|index| index.of);
    Ok(indexes)
}

/// Tables that say that they have the same root: which one lies cannot be told from its pages alone.
fn shared_roots(trees: &Trees<'_, '_, '_>) -> BTreeSet<usize> {
    let roots = || trees.tables.iter().map(|table| table.root).enumerate();
    roots()
        .filter(|(one, root)| roots().any(|(other, same)| *one != other && *root == same))
        .map(|(one, _)| one)
        .collect()
}

/// `table x: why`.
fn said(entry: &Entry, error: &Error) -> String {
    format!("{} {}: {}", entry.sort.as_str(), entry.name, error.message)
}

/// What a part of the schema has against being made again is told; what ends the work ends it.
fn stopped(error: Error) -> Result<Error> {
    match error.reason {
        Reason::NoSpace | Reason::Io | Reason::Cancelled | Reason::Deadline => Err(error),
        _ => Ok(error),
    }
}
