//! SQLite's own checks of one table or of the whole file, and what its messages mean. Must never
//! take "cannot be checked" for "damaged": an unknown function, collation or module stays an error
//! of the caller's (HAZARDS H16).

mod foreign_keys;
mod found;
pub mod fulltext;
mod stand_ins;
pub mod tokenizer;

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

pub use self::foreign_keys::{References, has_foreign_keys, references};
pub use self::found::Found;
use self::found::PAGES;
use self::stand_ins::StandIns;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::{names, refused};

/// Lines after which SQLite ends a check (SQLITE_INTEGRITY_CHECK_ERROR_MAX in pragma.c).
const MOST_PROBLEMS: usize = 100;

/// Bytes of what SQLite says of a problem. A name in it may be as long as the file; all that is
/// wrong with the pages comes at once, in up to 100 lines.
const LONGEST_MESSAGE: usize = 64 << 10;

/// How deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Depth {
    /// `quick_check`: pages, records, constraints, and the number of entries of each index.
    Quick,
    /// `integrity_check`: each entry of each index against its row as well.
    Full,
}

/// Every table that can be checked by itself: shadow tables, virtual tables and SQLite's own
/// included, and those not whose names no statement can have.
pub fn tables(connection: &Connection) -> Result<Vec<String>> {
    let sql =
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' UNION SELECT 'sqlite_schema' ORDER BY 1";
    names::all(connection, sql, [])
}

/// Checks one table with its indexes, or with `None` the whole file: only that sees the freelist,
/// pages that nothing uses, and pages that two tables use. SQLite tells of the first 100 problems.
///
/// Damage is found, not failed on. Errors: `unsupported` and `sqlite` where the check cannot be
/// done; `busy`, `cancelled`.
pub fn integrity(connection: &Connection, depth: Depth, table: Option<&str>) -> Result<Found> {
    if let Some(error) = not_read(connection, table)? {
        return Err(error);
    }
    match asked(connection, depth, table, &StandIns::none()) {
        Err(error) if StandIns::may_help(&error) => {
            // The whole is checked table by table as well.
            let depth = if table.is_some() { depth } else { Depth::Quick };
            let all = table.map_or_else(|| tables(connection), |table| Ok(vec![table.to_owned()]))?;
            stand_ins::check(connection, &all, &error, |stand_ins| asked(connection, depth, table, stand_ins))
        }
        asked => asked,
    }
}

/// Why SQLite cannot check a table that it does not read here, or the whole file, whose pages it
/// would take for unused.
fn not_read(connection: &Connection, table: Option<&str>) -> Result<Option<Error>> {
    let mut refused = refused::all(connection)?.into_iter();
    Ok(match table {
        Some(table) => refused.find(|one| one.has_pages && one.table.eq_ignore_ascii_case(table)),
        None => refused.find(|one| one.has_pages),
    }
    .map(|one| one.error))
}

/// One check, without what `stand_ins` alone have made of it.
fn asked(
    connection: &Connection,
    depth: Depth,
    table: Option<&str>,
    stand_ins: &StandIns<'_>,
) -> Result<Found> {
    let mut found = Found::default();
    let pragma = match depth {
        Depth::Quick => "quick_check",
        Depth::Full => "integrity_check",
    };
    let argument = table.map(|table| format!("({})", quoted(table))).unwrap_or_default();
    match lines(connection, &format!("PRAGMA main.{pragma}{argument}")) {
        Ok(lines) => {
            let roots =
                if lines.iter().any(|l| l.contains("Tree ")) { roots(connection) } else { BTreeMap::new() };
            for line in lines.iter().filter(|line| !stand_ins.have_made(line)) {
                found.file(line, &roots);
            }
            found.is_cut_off = lines.len() >= MOST_PROBLEMS;
        }
        Err(error) if matches!(error.reason, Reason::Damaged | Reason::NotADatabase) => {
            let of = table.map(|table| format!("table {table}: ")).unwrap_or_default();
            found.structure.push(format!("{of}{}", error.message));
            found.has_ended = true;
        }
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn lines(connection: &Connection, sql: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        // A damaged name need not be UTF-8.
        let text = row.get_ref(0)?.as_bytes().unwrap_or_default();
        let text = String::from_utf8_lossy(&text[..text.len().min(LONGEST_MESSAGE)]).into_owned();
        // All that is wrong with the pages comes as one row, as does all that is wrong with one
        // R*Tree. In any other row a line can end only within a name.
        if text.starts_with("In RTree ") {
            lines.push(text.lines().collect::<Vec<_>>().join(" "));
        } else if text.starts_with(PAGES) {
            lines.extend(text.lines().map(str::to_owned));
        } else {
            lines.push(text);
        }
    }
    Ok(lines)
}

/// What has its root on which page, in words. Only for messages: a schema that cannot be read names
/// nothing.
fn roots(connection: &Connection) -> BTreeMap<u64, String> {
    let read = || -> rusqlite::Result<BTreeMap<u64, String>> {
        let mut statement = connection
            .prepare("SELECT rootpage, type || ' ' || name FROM main.sqlite_schema WHERE rootpage > 0")?;
        statement.query_map([], |row| Ok((row.get(0)?, names::shown(row, 1)?)))?.collect()
    };
    read().unwrap_or_default()
}

/// Whether a table is there: one that is not was dropped since it was listed. That its check lacks
/// another table is not the same.
pub fn is_there(connection: &Connection, table: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1) OR ?1 LIKE 'sqlite\\_%' ESCAPE '\\'";
    Ok(connection.query_row(sql, [table], |row| row.get(0))?)
}

/// The table to which an index belongs; `None` where there is no such index.
pub fn table_of(connection: &Connection, index: &str) -> Result<Option<String>> {
    let sql = "SELECT tbl_name FROM main.sqlite_schema WHERE type = 'index' AND name = ?1 COLLATE NOCASE";
    Ok(connection.query_row(sql, [index], |row| names::name(row, 0)).optional()?.flatten())
}

/// Whether an error of a check says that it cannot be done here, rather than that it was kept from
/// being done.
pub fn cannot_be_done(error: &Error) -> bool {
    matches!(error.reason, Reason::Unsupported | Reason::Sqlite)
}
