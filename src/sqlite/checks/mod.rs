//! SQLite's own checks of one table or of the whole file, and what its messages mean. Must never
//! take "cannot be checked" for "damaged": an unknown function, collation or module stays an error
//! of the caller's (HAZARDS H16).

mod foreign_keys;
pub mod fulltext;
mod stand_ins;
pub mod tokenizer;

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

pub use self::foreign_keys::{References, has_foreign_keys, references};
use self::stand_ins::StandIns;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::look::{names, refused};

/// Lines after which SQLite ends a check (SQLITE_INTEGRITY_CHECK_ERROR_MAX in pragma.c).
const MOST_PROBLEMS: usize = 100;

/// What the report on the pages begins with.
const PAGES: &str = "*** in database ";
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

/// What a check found wrong. Empty: nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Pages, trees or the freelist are damaged, one line each.
    pub structure: Vec<String>,
    /// Indexes that do not agree with their tables.
    pub indexes: BTreeSet<String>,
    /// Rows that break a constraint or the type of a column, one line each.
    pub rows: Vec<String>,
    /// Virtual tables whose own check failed, one line each: the pages are in order, and what they
    /// were made from is there.
    pub virtual_tables: Vec<String>,
    /// What could not be checked here, one line each: of a virtual table itself, or of a table that
    /// needs what only the application has, and whose structure was checked all the same.
    pub unchecked: Vec<String>,
    /// Constraints and orders were passed over, because one of them needs what only the application
    /// has: more is found out table by table.
    pub is_of_structure: bool,
    /// SQLite ended at its [`MOST_PROBLEMS`]th line: what is not named need not be right.
    pub is_cut_off: bool,
    /// Damage ended it before it had looked at everything: that is the last line of `structure`.
    pub has_ended: bool,
}

impl Found {
    /// Whether nothing is wrong and nothing was left out.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another check of the same file found.
    pub fn add(&mut self, other: Self) {
        for (all, more) in [
            (&mut self.structure, other.structure),
            (&mut self.rows, other.rows),
            (&mut self.virtual_tables, other.virtual_tables),
            (&mut self.unchecked, other.unchecked),
        ] {
            for line in more {
                if !all.contains(&line) {
                    all.push(line);
                }
            }
        }
        self.indexes.extend(other.indexes);
        self.is_of_structure |= other.is_of_structure;
        self.is_cut_off |= other.is_cut_off;
        self.has_ended |= other.has_ended;
    }

    /// Files one line of `integrity_check` or `quick_check` under what it is about. The texts are
    /// those of `PragTyp_INTEGRITY_CHECK` in SQLite's pragma.c and of the `xIntegrity` of its
    /// virtual tables, read from their beginning, as names may hold anything; what is not known
    /// counts as damage.
    fn file(&mut self, line: &str, roots: &BTreeMap<u64, String>) {
        if line.is_empty() || line == "ok" || line.starts_with(PAGES) {
        } else if let Some(index) = index_of(line) {
            self.indexes.insert(index.to_owned());
        } else if is_about_rows(line) {
            self.rows.push(line.to_owned());
        } else if line.starts_with("malformed inverted index for FTS") || line.starts_with("In RTree ") {
            self.virtual_tables.push(line.to_owned());
        } else if line.starts_with("unable to validate ") {
            self.unchecked.push(line.to_owned());
        } else {
            self.structure.push(with_name(line, roots));
        }
    }
}

/// The index that a message is about, where the index alone is wrong. A name stands at the end, or
/// between two fixed texts that are the beginning and the end.
fn index_of(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix("index ") {
        let (rest, row) = rest.rsplit_once(' ')?;
        let name = rest.strip_suffix(" stores an imprecise floating-point value for row")?;
        return is_number(row).then_some(name);
    }
    if let Some(rest) = line.strip_prefix("row ") {
        let (row, rest) = rest.split_once(' ')?;
        let ways = ["missing from index ", "values differ from index "];
        return ways.iter().find_map(|way| rest.strip_prefix(way)).filter(|_| is_number(row));
    }
    if let Some(rest) = line.strip_prefix("rowid not at end-of-record for row ") {
        let (row, rest) = rest.split_once(' ')?;
        return rest.strip_prefix("of index ").filter(|_| is_number(row));
    }
    ["wrong # of entries in index ", "non-unique entry in index "]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))
}

/// Also the number of a row whose key is negative.
fn is_number(text: &str) -> bool {
    text.parse::<i64>().is_ok()
}

fn is_about_rows(line: &str) -> bool {
    ["NULL value in ", "NUMERIC value in ", "TEXT value in ", "CHECK constraint failed in "]
        .iter()
        .any(|prefix| line.starts_with(prefix))
        || (line.starts_with("non-") && line.contains(" value in "))
}

/// `Tree 5 page 7 cell 0: …` with the name of what has its root on page 5.
fn with_name(line: &str, roots: &BTreeMap<u64, String>) -> String {
    let named = line.strip_prefix("Tree ").and_then(|rest| {
        let (root, rest) = rest.split_once(' ')?;
        Some(format!("{}, {rest}", roots.get(&root.parse().ok()?)?))
    });
    named.unwrap_or_else(|| line.to_owned())
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
            stand_ins::check(connection, table, error, |stand_ins| asked(connection, depth, table, stand_ins))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str]) -> Found {
        let roots = BTreeMap::from([(5, "index by_name".to_owned())]);
        let mut found = Found::default();
        for line in lines {
            found.file(line, &roots);
        }
        found
    }

    #[test]
    fn ok_is_nothing() {
        assert!(found(&["ok"]).is_clean());
    }

    #[test]
    fn an_index_is_named_by_every_message_about_its_entries() {
        let lines = [
            "row 7 missing from index a b",
            "wrong # of entries in index c",
            "non-unique entry in index d",
            "row 1 values differ from index e",
            "rowid not at end-of-record for row 3 of index f",
            "index g stores an imprecise floating-point value for row 4",
        ];
        let found = found(&lines);
        assert_eq!(
            found.indexes.iter().map(String::as_str).collect::<Vec<_>>(),
            ["a b", "c", "d", "e", "f", "g"]
        );
        assert!(found.structure.is_empty() && found.rows.is_empty());
    }

    #[test]
    fn an_index_may_be_called_like_a_part_of_a_message() {
        for name in
            ["a of index b", "b missing from index c", "a\nb", "x for row 7", "a values differ from index "]
        {
            for line in [
                format!("row 7 missing from index {name}"),
                format!("row -7 values differ from index {name}"),
                format!("rowid not at end-of-record for row 3 of index {name}"),
                format!("index {name} stores an imprecise floating-point value for row 4"),
                format!("wrong # of entries in index {name}"),
                format!("non-unique entry in index {name}"),
            ] {
                assert_eq!(index_of(&line), Some(name), "{line}");
            }
        }
        assert_eq!(index_of("row not in PRIMARY KEY order for t missing from index x"), None);
    }

    #[test]
    fn a_broken_constraint_is_no_damage() {
        let lines = ["CHECK constraint failed in t", "NULL value in t.a", "non-INT value in t.b"];
        assert_eq!(found(&lines), Found { rows: lines.map(str::to_owned).to_vec(), ..Found::default() });
    }

    #[test]
    fn a_virtual_table_at_odds_with_itself_is_no_damaged_page() {
        let lines = [
            "malformed inverted index for FTS5 table main.f",
            "In RTree main.r: Found (1 -> 7) in %_rowid table",
        ];
        assert_eq!(
            found(&lines),
            Found { virtual_tables: lines.map(str::to_owned).to_vec(), ..Found::default() }
        );
    }

    #[test]
    fn a_damaged_tree_is_called_by_its_name() {
        let found = found(&[
            "*** in database main ***",
            "Tree 5 page 7: 2nd reference to page 3",
            "Page 9: never used",
        ]);
        assert_eq!(found.structure, ["index by_name, page 7: 2nd reference to page 3", "Page 9: never used"]);
        assert!(found.indexes.is_empty(), "REINDEX would write into a damaged file");
    }

    #[test]
    fn what_nobody_knows_counts_as_damage() {
        assert_eq!(found(&["something new"]).structure, ["something new"]);
    }
}
