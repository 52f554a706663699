//! Advice on the indexes that there are: those that another one makes needless, those that nothing
//! uses, and the foreign keys that lack one. Reads the schema only; judges by it alone.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _};

use super::conditions::{Text, unquoted};
use super::index::{NewIndex, NewKey};
use crate::error::Result;
use crate::metrics::index_reasons;
use crate::sql::quoting::quoted;
use crate::sql::tokens::Token;
use crate::sqlite::look::{names, schema};

/// What is advised about one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The index; for a missing one, the name that it would have.
    pub index: String,
    /// One of [`index_reasons::ALL`].
    pub word: &'static str,
    /// In words, with the statement.
    pub text: String,
}

/// An index as far as it matters whether another one does the same.
#[derive(Debug)]
pub struct Existing {
    /// Its name.
    pub name: String,
    /// Its table.
    pub table: String,
    /// Made by CREATE INDEX, and so one that can be dropped.
    pub is_own: bool,
    /// Enforces uniqueness.
    pub unique: bool,
    keys: Vec<Key>,
    /// The WHERE clause, token by token.
    condition: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    /// The column in lower case, or an expression token by token; `None`: the rowid.
    what: Option<String>,
    collation: String,
    /// Goes another way than the first key: read backwards, an index has all its directions turned.
    turned: bool,
}

impl Existing {
    /// Whether all that this one is searched or read in order for, `other` serves as well.
    fn is_served_by(&self, other: &Self) -> bool {
        let is_prefix = other.keys.starts_with(&self.keys);
        let is_same = self.keys.len() == other.keys.len();
        // What it enforces must still be enforced.
        let enforces = !self.unique || other.unique && is_same;
        self.table == other.table && self.condition == other.condition && is_prefix && enforces
    }

    fn describes(&self, columns: &[String]) -> bool {
        let begins: Vec<_> = self.keys.iter().take(columns.len()).map(|key| key.what.clone()).collect();
        columns.iter().all(|column| begins.contains(&Some(column.to_ascii_lowercase())))
    }
}

/// All indexes of the ordinary tables, of each table the newest first.
pub fn existing(connection: &Connection) -> Result<Vec<Existing>> {
    let mut list =
        connection.prepare("SELECT name, \"unique\", origin FROM pragma_index_list(?1) ORDER BY seq")?;
    let mut keys = connection
        .prepare("SELECT cid, name, coll, \"desc\" FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
    // A table's only INTEGER PRIMARY KEY is its rowid.
    let mut rowid = connection.prepare(
        "SELECT lower(name) FROM pragma_table_info(?1) WHERE pk = 1 AND type = 'INTEGER' COLLATE NOCASE \
         AND (SELECT max(pk) FROM pragma_table_info(?1)) = 1",
    )?;
    let mut all = Vec::new();
    for table in schema::tables(connection)? {
        let rowid = rowid.query_row([&table.name], |row| names::name(row, 0)).optional()?.flatten();
        let rowid = rowid.filter(|_| !table.without_rowid);
        let indexes = list.query_map([&table.name], |row| {
            Ok((names::name(row, 0)?, row.get::<_, bool>(1)?, row.get::<_, String>(2)?))
        })?;
        for index in indexes {
            let (Some(name), unique, origin) = index? else { continue };
            let (expressions, condition) = parts(&schema::sql_of(connection, &name)?.unwrap_or_default());
            let rows = keys.query_map([&name], |row| {
                let (column, name): (i64, _) = (row.get(0)?, names::name(row, 1)?);
                Ok((column, name, row.get::<_, String>(2)?, row.get::<_, bool>(3)?))
            })?;
            let mut found: Vec<Key> = Vec::new();
            let mut first = None;
            for (at, row) in rows.enumerate() {
                let (column, name, collation, descending) = row?;
                let what = match column {
                    -1 => None,
                    -2 => Some(
                        expressions.get(at).cloned().unwrap_or_else(|| format!("({at} of {})", table.name)),
                    ),
                    _ => {
                        name.map(|name| name.to_ascii_lowercase()).filter(|name| Some(name) != rowid.as_ref())
                    }
                };
                let turned = descending != *first.get_or_insert(descending);
                found.push(Key { what, collation: collation.to_ascii_uppercase(), turned });
            }
            all.push(Existing {
                name,
                table: table.name.clone(),
                is_own: origin == "c",
                unique,
                keys: found,
                condition,
            });
        }
    }
    Ok(all)
}

/// Whether the CREATE INDEX `sql` has this expression, token by token, as one of its keys.
pub(super) fn is_on(sql: &str, expression: &str) -> bool {
    let bare = |key: &String| {
        let key = key.as_str();
        key.strip_suffix(" ASC").or_else(|| key.strip_suffix(" DESC")).unwrap_or(key) == expression
    };
    parts(sql).0.iter().any(bare)
}

/// The keys and the WHERE clause of a CREATE INDEX, each token by token.
fn parts(sql: &str) -> (Vec<String>, Option<String>) {
    let text = Text::new(sql);
    let words = |range: std::ops::Range<usize>| {
        let word = |at: usize| match text.token(at) {
            Some(Token::Name(name)) => unquoted(name).to_ascii_lowercase(),
            Some(Token::Keyword(word)) => word.to_owned(),
            _ => text.of(at..at + 1).to_owned(),
        };
        range.map(word).collect::<Vec<_>>().join(" ")
    };
    let Some((open, close)) = (0..text.tokens.len())
        .find(|&at| text.is(at, "("))
        .and_then(|open| Some((open, text.end_of_group(open)?)))
    else {
        return (Vec::new(), None);
    };
    let (mut keys, mut start, mut at) = (Vec::new(), open + 1, open + 1);
    while at <= close {
        if at == close || text.is(at, ",") {
            keys.push(words(start..at));
            start = at + 1;
        }
        at = text.end_of_group(at).filter(|_| text.is(at, "(")).unwrap_or(at) + 1;
    }
    let condition = text.is(close + 1, "WHERE").then(|| words(close + 2..text.tokens.len()));
    (keys, condition)
}

/// The indexes that statements name by INDEXED BY, in lower case: without them they are errors
/// (<https://www.sqlite.org/lang_indexedby.html>).
pub fn bound<'a>(statements: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let named = |sql| {
        let text = Text::new(sql);
        let name = |at: usize| match text.token(at + 2) {
            Some(Token::Name(name)) if text.is(at, "INDEXED") && text.is(at + 1, "BY") => {
                Some(unquoted(name).to_ascii_lowercase())
            }
            _ => None,
        };
        (0..text.tokens.len()).filter_map(name).collect::<Vec<_>>()
    };
    statements.into_iter().flat_map(named).collect()
}

/// The same of the schema's views and triggers.
pub fn bound_in_schema(connection: &Connection) -> Result<BTreeSet<String>> {
    let sql = "SELECT sql FROM main.sqlite_schema WHERE type IN ('view', 'trigger')";
    let all = names::all(connection, sql, [])?;
    Ok(bound(all.iter().map(String::as_str)))
}

/// Indexes that another one makes needless, but for those that are wanted whatever else there is.
pub fn needless(all: &[Existing], is_wanted: impl Fn(&Existing) -> bool) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut gone: BTreeSet<&str> = BTreeSet::new();
    for index in all.iter().filter(|index| index.is_own && !is_wanted(index)) {
        let drop = format!("DROP INDEX {}", quoted(&index.name));
        if !index.unique && index.condition.is_none() && matches!(&index.keys[..], [Key { what: None, .. }]) {
            let text = format!(
                "{} is on the rowid of {}, by which the table itself is searched: {drop}",
                index.name, index.table
            );
            remarks.push(Remark { index: index.name.clone(), word: index_reasons::DUPLICATE.word, text });
            continue;
        }
        // Of two that do the same, one must stay.
        let serves = |other: &&Existing| {
            other.name != index.name && !gone.contains(other.name.as_str()) && index.is_served_by(other)
        };
        let others: Vec<&Existing> = all.iter().filter(serves).collect();
        let same = others.iter().find(|other| other.keys.len() == index.keys.len());
        let (word, text) = match (same, others.first()) {
            (Some(other), _) => (
                index_reasons::DUPLICATE.word,
                format!("{} does what {} does: {drop}", index.name, other.name),
            ),
            (None, Some(other)) => (
                index_reasons::REDUNDANT.word,
                format!("{} is the beginning of {}: {drop}", index.name, other.name),
            ),
            (None, None) => continue,
        };
        gone.insert(&index.name);
        remarks.push(Remark { index: index.name.clone(), word, text });
    }
    remarks
}

/// A foreign key without an index.
#[derive(Debug, Clone)]
pub struct Keyless {
    /// What to say of it.
    pub remark: Remark,
    /// The table with the key.
    pub child: String,
    /// The columns of the key.
    pub columns: Vec<String>,
}

/// Foreign keys whose child rows can only be found by reading the whole table.
pub fn keyless(connection: &Connection, all: &[Existing]) -> Result<Vec<Keyless>> {
    let mut statement = connection.prepare(
        "SELECT t.name, f.id, f.\"table\", f.\"from\", coalesce((SELECT pk FROM pragma_table_info(t.name) AS c \
           WHERE c.name = f.\"from\" COLLATE NOCASE AND c.type = 'INTEGER' COLLATE NOCASE), 0) \
         FROM main.sqlite_schema AS t JOIN pragma_foreign_key_list(t.name) AS f \
         WHERE t.type = 'table' AND t.rootpage > 0 ORDER BY t.name, f.id, f.seq",
    )?;
    let mut rows = statement.query([])?;
    let mut keys: Vec<(String, i64, String, Vec<String>, bool)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, is_rowid): (i64, bool) = (row.get(1)?, row.get::<_, i64>(4)? == 1);
        let text = |at| names::name(row, at);
        let (Some(child), Some(parent), Some(column)) = (text(0)?, text(2)?, text(3)?) else { continue };
        match keys.last_mut() {
            Some((last, of, _, columns, _)) if *last == child && *of == id => columns.push(column),
            _ => keys.push((child, id, parent, vec![column], is_rowid)),
        }
    }
    let taken = "SELECT name FROM main.sqlite_schema WHERE type <> 'trigger'";
    let taken = names::all(connection, taken, [])?;
    let mut remarks: Vec<Keyless> = Vec::new();
    for (child, _, parent, columns, is_rowid) in keys {
        // A partial one serves where it leaves out only what no key points at.
        let serves = |index: &&Existing| {
            let is_whole = index.condition.as_ref().is_none_or(|text| {
                columns.iter().any(|c| *text == format!("{} IS NOT NULL", c.to_ascii_lowercase()))
            });
            index.table == child && is_whole && index.describes(&columns)
        };
        if is_rowid && columns.len() == 1 || all.iter().any(|index| serves(&index)) {
            continue;
        }
        let index =
            NewIndex { table: child.clone(), keys: columns.iter().map(|c| NewKey::column(c)).collect() };
        // Two keys of the same columns need one index.
        if remarks.iter().any(|known| known.child == child && known.columns == columns) {
            continue;
        }
        let is_taken = |name: &str| {
            taken.iter().any(|taken| taken.eq_ignore_ascii_case(name))
                || remarks.iter().any(|known| known.remark.index == name)
        };
        let name = index.name(is_taken);
        let text = format!(
            "{child} ({}) points at {parent} without an index, so each DELETE from {parent} that enforces foreign keys \
             reads all of {child}: {}",
            columns.join(", "),
            index.sql(&name)
        );
        let remark = Remark { index: name, word: index_reasons::FOREIGN_KEY.word, text };
        remarks.push(Keyless { remark, child, columns });
    }
    Ok(remarks)
}

/// Indexes that serve nothing that is known of: no plan in `used`, no foreign key, no constraint.
pub fn unused<'a>(
    connection: &Connection,
    all: &'a [Existing],
    is_used: impl Fn(&Existing) -> bool,
) -> Result<Vec<&'a Existing>> {
    let mut children =
        connection.prepare("SELECT 1 FROM pragma_foreign_key_list(?1) WHERE \"from\" = ?2 COLLATE NOCASE")?;
    let mut unused = Vec::new();
    for index in all.iter().filter(|index| index.is_own && !index.unique && !is_used(index)) {
        let first = index.keys.first().and_then(|key| key.what.as_deref()).unwrap_or_default();
        if !children.exists([&index.table, first])? {
            unused.push(index);
        }
    }
    Ok(unused)
}

impl Existing {
    /// Whether this column comes first in it.
    pub fn begins_with(&self, column: &str) -> bool {
        self.keys.first().is_some_and(|key| key.what.as_deref() == Some(&column.to_ascii_lowercase()))
    }
}
