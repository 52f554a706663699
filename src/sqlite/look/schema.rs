//! What the schema of a database says: tables, indexes, triggers, foreign keys, and names quoted
//! for SQL. Reads only.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::names;
use crate::error::Result;
use crate::sql::quoting::quoted;

/// An ordinary table of the application (no view, no virtual table, no shadow table, none of
/// SQLite's own).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name as stored.
    pub name: String,
    /// Declared WITHOUT ROWID.
    pub without_rowid: bool,
}

/// One index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its table.
    pub table: String,
    /// Its key columns; `None` stands for an expression or the rowid.
    pub columns: Vec<Option<String>>,
    /// Has a WHERE clause.
    pub partial: bool,
    /// Enforces uniqueness.
    pub unique: bool,
}

/// One trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// Its text.
    pub sql: String,
}

/// A foreign key of another table that points at one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildKey {
    /// The table with the REFERENCES clause.
    pub child: String,
    /// Pairs of the child's column and the parent's; `None` is the parent's primary key.
    pub columns: Vec<(String, Option<String>)>,
    /// `NO ACTION`, `RESTRICT`, `CASCADE`, `SET NULL` or `SET DEFAULT`.
    pub on_delete: String,
}

/// The query that counts the rows of a table step by step. Of `count(*)` SQLite makes one
/// instruction, however many pages there are, and asks no progress handler meanwhile.
pub fn count_in_steps(table: &str) -> String {
    format!("SELECT count(1) FROM main.{}", quoted(table))
}

/// In SQL, whether the table `t` of `main.sqlite_schema` is WITHOUT ROWID: only such a one has an
/// index of its own name (<https://www.sqlite.org/withoutrowid.html>). `pragma_table_list` would
/// say so too, but looks into every view for it, and views upon views take seconds or for ever
/// (HAZARDS H27).
pub const WITHOUT_ROWID: &str = "EXISTS (SELECT 1 FROM pragma_index_info(t.name, 'main'))";

/// In SQL, whether the entry `t` of `main.sqlite_schema` is an ordinary table: not a virtual one,
/// which has no pages, not one that a virtual table keeps its content in
/// (<https://www.sqlite.org/vtab.html#xshadowname>), and none of SQLite's own.
pub const ORDINARY: &str = "t.type = 'table' AND t.rootpage > 0 AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
     AND NOT EXISTS (SELECT 1 FROM main.sqlite_schema AS v, (VALUES \
         ('fts3', 'content segments segdir docsize stat'), ('fts4', 'content segments segdir docsize stat'), \
         ('fts5', 'config content data docsize idx'), ('rtree', 'node parent rowid'), \
         ('rtree_i32', 'node parent rowid'), ('geopoly', 'node parent rowid')) AS module \
       WHERE v.type = 'table' AND v.rootpage = 0 AND v.sql LIKE '%using%' || module.column1 || '%' \
         AND length(t.name) > length(v.name) + 1 \
         AND substr(t.name, 1, length(v.name) + 1) = v.name || '_' COLLATE NOCASE \
         AND instr(' ' || module.column2 || ' ', ' ' || lower(substr(t.name, length(v.name) + 2)) || ' ') > 0)";

/// The ordinary tables, by name, but for those that no statement can name.
pub fn tables(connection: &Connection) -> Result<Vec<Table>> {
    let sql = format!(
        "SELECT t.name, {WITHOUT_ROWID} FROM main.sqlite_schema AS t WHERE {ORDINARY} ORDER BY t.name"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut tables = Vec::new();
    while let Some(row) = rows.next()? {
        let without_rowid = row.get(1)?;
        tables.extend(names::name(row, 0)?.map(|name| Table { name, without_rowid }));
    }
    Ok(tables)
}

/// The columns of a table with their declared types, in order, generated ones included, but for
/// those that no statement can name.
pub fn columns(connection: &Connection, table: &str) -> Result<Vec<(String, String)>> {
    let mut statement =
        connection.prepare("SELECT name, type FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid")?;
    let rows = statement.query_map([table], |row| Ok((names::name(row, 0)?, names::shown(row, 1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.into_iter().filter_map(|(name, sort)| Some((name?, sort))).collect())
}

/// The indexes of a table, by name, automatic ones included, but for those that no statement can
/// name.
pub fn indexes(connection: &Connection, table: &str) -> Result<Vec<Index>> {
    let mut list =
        connection.prepare("SELECT name, partial, \"unique\" FROM pragma_index_list(?1) ORDER BY name")?;
    let mut keys = connection.prepare("SELECT name FROM pragma_index_info(?1) ORDER BY seqno")?;
    let found = list
        .query_map([table], |row| Ok((names::name(row, 0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<Vec<(Option<String>, bool, bool)>>>()?;
    found
        .into_iter()
        .filter_map(|(name, partial, unique)| Some((name?, partial, unique)))
        .map(|(name, partial, unique)| {
            let columns =
                keys.query_map([&name], |row| names::name(row, 0))?.collect::<rusqlite::Result<_>>()?;
            Ok(Index { name, table: table.to_owned(), columns, partial, unique })
        })
        .collect()
}

/// The triggers that fire when rows of a table are deleted.
pub fn delete_triggers(connection: &Connection, table: &str) -> Result<Vec<Trigger>> {
    let mut statement = connection.prepare(
        "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE ORDER BY name",
    )?;
    // A name is shown, and its text looked into; neither becomes part of a statement.
    let rows = statement
        .query_map([table], |row| Ok(Trigger { name: names::shown(row, 0)?, sql: names::shown(row, 1)? }))?;
    let all = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(all.into_iter().filter(fires_on_delete).collect())
}

/// The event is the first of DELETE, INSERT and UPDATE behind the trigger's name, which may be such
/// a word itself. A text that this cannot read counts: a trigger listed too many is the safe side.
fn fires_on_delete(trigger: &Trigger) -> bool {
    trigger
        .sql
        .replacen(&trigger.name, "", 1)
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .find(|word| ["DELETE", "INSERT", "UPDATE"].iter().any(|event| word.eq_ignore_ascii_case(event)))
        .is_none_or(|event| event.eq_ignore_ascii_case("DELETE"))
}

/// The foreign keys of all tables that point at `parent`. Errors: `unsupported` where the name of
/// one of them, or of a column of its key, is not UTF-8: its rows cannot be asked for.
pub fn child_keys(connection: &Connection, parent: &str) -> Result<Vec<ChildKey>> {
    let mut statement = connection.prepare(
        "SELECT t.name, f.id, f.\"from\", f.\"to\", f.on_delete \
         FROM main.sqlite_schema AS t JOIN pragma_foreign_key_list(t.name, 'main') AS f \
         WHERE t.type = 'table' AND t.rootpage > 0 AND f.\"table\" = ?1 COLLATE NOCASE \
         ORDER BY t.name, f.id, f.seq",
    )?;
    let mut rows = statement.query([parent])?;
    let mut keys: Vec<(i64, ChildKey)> = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(1)?;
        let Some(child) = names::name(row, 0)? else {
            return Err(names::not_utf8("table", &names::shown(row, 0)?)
                .context(format!("a table refers to {parent}")));
        };
        // The parent's is NULL where it is the primary key.
        let to = names::name(row, 3)?;
        let Some(from) = names::name(row, 2)?.filter(|_| to.is_some() || row.get_ref(3).is_ok_and(is_null))
        else {
            let shown = format!("{} or {}", names::shown(row, 2)?, names::shown(row, 3)?);
            return Err(names::not_utf8("column", &shown).context(format!("{child} refers to {parent}")));
        };
        let column = (from, to);
        match keys.last_mut() {
            Some((last, key)) if *last == id && key.child == child => key.columns.push(column),
            _ => keys.push((id, ChildKey { child, columns: vec![column], on_delete: row.get(4)? })),
        }
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

fn is_null(value: ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Null)
}

/// The text that made a table, index, view or trigger, with U+FFFD for what is not UTF-8 in it;
/// `None` where there is no such thing.
pub fn sql_of(connection: &Connection, name: &str) -> Result<Option<String>> {
    let sql = "SELECT sql FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE";
    let text = |row: &Row<'_>| Ok(if is_null(row.get_ref(0)?) { None } else { Some(names::shown(row, 0)?) });
    Ok(connection.query_row(sql, [name], text).optional()?.flatten())
}

/// All that the schema consists of, in one text, for a hash that changes when the schema does. What
/// is not UTF-8 counts as empty, as it does in the manifests that there are.
pub fn text(connection: &Connection) -> Result<String> {
    let mut statement = connection.prepare(
        "SELECT type, name, tbl_name, coalesce(sql, '') FROM main.sqlite_schema ORDER BY type, name",
    )?;
    let mut rows = statement.query([])?;
    let mut text = String::new();
    while let Some(row) = rows.next()? {
        for column in 0..4 {
            text.push_str(row.get_ref(column)?.as_str().unwrap_or_default());
            text.push('\n');
        }
    }
    Ok(text)
}

/// The names of tables, indexes, views, triggers and columns; the columns of none where one table's
/// cannot be read.
pub fn names(connection: &Connection) -> Result<Vec<String>> {
    let objects = "SELECT name FROM main.sqlite_schema";
    let columns =
        "SELECT c.name FROM main.sqlite_schema AS s, pragma_table_xinfo(s.name) AS c WHERE s.type = 'table'";
    let read = |sql: &str| names::all(connection, sql, []);
    read(&format!("{objects} UNION {columns}")).or_else(|_| read(objects))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinary_tables_are_those_of_pragma_table_list() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE bare (a); CREATE TABLE \"odd ' \"\" name\" (a PRIMARY KEY) WITHOUT ROWID;
                 CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE);
                 CREATE VIEW seen AS SELECT a FROM bare;
                 CREATE VIRTUAL TABLE words USING fts5 (a); CREATE TABLE words_of (a); CREATE TABLE words_ (a);
                 CREATE VIRTUAL TABLE Older using  FTS4(a); CREATE VIRTUAL TABLE oldest USING fts3 (a);
                 CREATE VIRTUAL TABLE places USING rtree (id, x0, x1);
                 CREATE TABLE places_node_of (a); CREATE TABLE bare_data (a);
                 ANALYZE",
            )
            .unwrap();
        let listed = "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
                      AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
        let mut listed = connection.prepare(listed).unwrap();
        let listed: Vec<Table> = listed
            .query_map([], |row| Ok(Table { name: row.get(0)?, without_rowid: row.get(1)? }))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert_eq!(tables(&connection).unwrap(), listed);
        assert_eq!(listed.len(), 7);
    }
}
