//! Takes what can be read out of a damaged database into a new one. Reads a copy that nobody else
//! uses, page by page and without SQLite; writes through SQLite. Must never put a row into a table
//! that may not have been in it: what is not sure goes to `lost_and_found` (HAZARDS H24).

mod claims;
mod entry;
mod finish;
mod leaf;
mod report;
mod schema;
mod stand_ins;
mod steps;
mod table;
mod trees;
mod write;

use std::collections::BTreeSet;

use rusqlite::Connection;

pub use self::report::{Salvage, Table};
pub use self::trees::doubts::is_spoiled;

use self::claims::Claims;
use self::entry::IndexTree;
use self::schema::{Entry, Schema, Sort};
use self::stand_ins::StandIns;
use self::steps::{Steps, stopped};
use self::trees::Trees;
use self::trees::orphans::Rules;
use self::write::Writer;
use crate::error::Result;
use crate::sql::quoting::quoted;
use crate::sqlite::pages::{Database, Freelist};
use crate::terms::progress::Watch;

/// Fills `target`, a new and empty database, with what can be read of `database`. With `with_free`,
/// what lies on free pages goes to `lost_and_found` as well: deleted rows.
pub fn salvage(
    database: &Database<'_>,
    target: &Connection,
    with_free: bool,
    watch: &dyn Watch,
) -> Result<Salvage> {
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
            .and_then(|why| Ok((table::TableTree::describe(target, &entry.name, entry.root)?, why)));
        let (mut table, why) = match made {
            Ok(made) => made,
            Err(error) => (unknown(database, entry), Some(stopped(error)?)),
        };
        left_out.extend(why.as_ref().map(|why| finish::said(entry, why)));
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
        knows_all_tables: schema.lost == 0 && !tables.iter().any(table::TableTree::is_unknown),
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
    order.sort_by_key(|number| trees.tables.get(*number).is_some_and(table::TableTree::is_unknown));
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
    Ok(Salvage {
        tables: told.into_iter().filter(|table| !table.name.starts_with("sqlite_")).collect(),
        lost_and_found_rows: lost.as_ref().map_or(0, |(_, rows)| *rows),
        lost_and_found: lost.map(|(name, _)| name),
        lost_and_found_by_index_rows: known.as_ref().map_or(0, |(_, rows)| *rows),
        lost_and_found_by_index: known.map(|(name, _)| name),
        invalid_texts,
        stale_indexes: stale,
        schema_lost: schema.lost,
        left_out,
        replaced: schema
            .entries
            .iter()
            .filter(|entry| entry.is_replaced)
            .map(|entry| format!("{} {}", entry.sort.as_str(), entry.name))
            .collect(),
    })
}

/// A table that cannot be made here.
fn unknown(database: &Database<'_>, entry: &Entry) -> table::TableTree {
    let without_rowid = match database.tree_page(entry.root) {
        Some(page) => !page.kind.is_table(),
        None => entry.sql.as_deref().is_some_and(|sql| sql.to_ascii_uppercase().contains("WITHOUT ROWID")),
    };
    table::TableTree::unknown(&entry.name, entry.root, without_rowid)
}

/// The indexes that have a tree, in the order of their tables.
fn indexes(target: &Connection, entries: &[Entry], tables: &[table::TableTree]) -> Result<Vec<IndexTree>> {
    let mut indexes = Vec::new();
    for entry in entries.iter().filter(|entry| entry.sort == Sort::Index && entry.root > 0) {
        indexes.extend(IndexTree::describe(target, entry, tables));
    }
    IndexTree::drop_all(target)?;
    indexes.sort_by_key(|index| index.of);
    Ok(indexes)
}

/// Tables that say that they have the same root: which one lies cannot be told from its pages
/// alone.
fn shared_roots(trees: &Trees<'_, '_, '_>) -> BTreeSet<usize> {
    let roots = || trees.tables.iter().map(|table| table.root).enumerate();
    roots()
        .filter(|(one, root)| roots().any(|(other, same)| *one != other && *root == same))
        .map(|(one, _)| one)
        .collect()
}
