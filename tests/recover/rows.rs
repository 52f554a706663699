//! The rows of a database as texts that can be compared, and what was found of them elsewhere.

use litekeeper::sqlite::pages;
use litekeeper::sqlite::salvage::{self, Salvage};
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The rows of a table.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rows {
    /// As a SELECT gives them, with the rowid.
    pub shown: HashSet<String>,
    /// By what a record of theirs has, as `lost_and_found` shows it: what a SELECT shows.
    pub stored: HashMap<String, String>,
}

pub type Tables = BTreeMap<String, Rows>;

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Ordinary tables, SQLite's own left out, by name; a table that cannot be read is not there.
pub fn tables(connection: &Connection) -> Tables {
    let mut statement = connection
        .prepare("SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
        .unwrap();
    let names: Vec<(String, bool)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    names
        .into_iter()
        .filter_map(|(name, wr)| Some((name.clone(), rows(connection, &name, wr).ok()?)))
        .collect()
}

fn rows(connection: &Connection, table: &str, without_rowid: bool) -> rusqlite::Result<Rows> {
    let mut statement =
        connection.prepare("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid")?;
    let columns: Vec<(String, String, i64, i64)> = statement
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let has_pk_index: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')",
        [table],
        |row| row.get(0),
    )?;
    let rowid = if without_rowid { "NULL" } else { "rowid" };
    let show = |name: &str| format!("quote({0}) || typeof({0})", quoted(name));
    let shown: Vec<String> = columns.iter().map(|(name, ..)| show(name)).collect();
    // The record: the primary key first WITHOUT ROWID, NULL for an INTEGER PRIMARY KEY, no virtual
    // columns.
    let mut order: Vec<&(String, String, i64, i64)> = columns.iter().filter(|c| c.3 != 2).collect();
    if without_rowid {
        order.sort_by_key(|column| if column.2 == 0 { i64::MAX } else { column.2 });
    }
    let stored: Vec<String> = order
        .iter()
        .map(|(name, kind, pk, _)| {
            let is_rowid =
                *pk == 1 && !without_rowid && !has_pk_index && kind.eq_ignore_ascii_case("integer");
            if is_rowid { "'NULLnull'".to_owned() } else { show(name) }
        })
        .collect();
    let text = |parts: &[String]| format!("coalesce({rowid}, '-') || '|' || {}", parts.join(" || '|' || "));
    let sql = format!("SELECT {}, {} FROM main.{}", text(&shown), text(&stored), quoted(table));
    let mut rows = Rows::default();
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let (shown, stored) = (lossy(row, 0)?, lossy(row, 1)?);
        rows.shown.insert(shown.clone());
        rows.stored.insert(stored, shown);
    }
    Ok(rows)
}

fn lossy(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(at)?.as_bytes().unwrap_or_default()).into_owned())
}

/// The rows of `lost_and_found`, as [`Rows::stored`] has them.
pub fn lost_and_found(connection: &Connection) -> HashSet<String> {
    let Ok(mut statement) = connection.prepare("SELECT * FROM lost_and_found") else { return HashSet::new() };
    let columns = statement.column_count();
    let sql: Vec<String> = (4..columns)
        .map(|at| {
            let name = quoted(statement.column_name(at).unwrap());
            format!("CASE WHEN nfield > {} THEN '|' || quote({name}) || typeof({name}) ELSE '' END", at - 4)
        })
        .collect();
    if sql.is_empty() {
        return HashSet::new();
    }
    statement = connection
        .prepare(&format!("SELECT coalesce(id, '-') || {} FROM lost_and_found", sql.join(" || ")))
        .unwrap();
    let mut found = statement.query([]).unwrap();
    let mut rows = HashSet::new();
    while let Some(row) = found.next().unwrap() {
        rows.insert(lossy(row, 0).unwrap());
    }
    rows
}

/// How much of an original is in another database.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Measured {
    /// In their tables.
    pub in_tables: usize,
    /// In their tables or in `lost_and_found`.
    pub kept: usize,
    /// Rows of tables that the original's have not, by table.
    pub foreign: BTreeMap<String, Vec<String>>,
    /// The rows that are nowhere.
    pub missing: Vec<String>,
}

pub fn measure(original: &Tables, found: &Connection) -> Measured {
    // A column of type REAL stores whole numbers as integers, and `lost_and_found` shows what is
    // stored.
    let as_stored = |row: &str| row.replace(".0real", "integer");
    let tables = tables(found);
    let lost: HashSet<String> = lost_and_found(found).iter().map(|row| as_stored(row)).collect();
    let mut measured = Measured::default();
    for (name, rows) in original {
        let nothing = Rows::default();
        let there = tables.get(name).unwrap_or(&nothing);
        for (stored, shown) in &rows.stored {
            let in_table = there.shown.contains(shown);
            let stored = &as_stored(stored);
            measured.in_tables += usize::from(in_table);
            // A record from before a column was added has no value for it, not even its default.
            let is_short =
                |row: &String| stored.strip_prefix(row.as_str()).is_some_and(|rest| rest.starts_with('|'));
            if in_table || lost.contains(stored) || lost.iter().any(is_short) {
                measured.kept += 1;
            } else {
                measured.missing.push(format!("{name} {}", shown.chars().take(80).collect::<String>()));
            }
        }
        let foreign: Vec<String> = there.shown.difference(&rows.shown).cloned().collect();
        if !foreign.is_empty() {
            measured.foreign.insert(name.clone(), foreign);
        }
    }
    measured
}

/// Our salvage of these bytes.
pub fn salvaged(bytes: &[u8]) -> Option<(Connection, Salvage)> {
    let holder = Held(bytes);
    let database = pages::Database::open(&holder)?;
    let target = Connection::open_in_memory().unwrap();
    let salvaged = salvage::salvage(&database, &target, false, &|| Ok(())).unwrap();
    Some((target, salvaged))
}

/// Bytes in memory.
pub struct Held<'b>(pub &'b [u8]);

impl pages::Bytes for Held<'_> {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        self.0.read(offset, into)
    }
}
