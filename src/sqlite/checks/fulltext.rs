//! Whether a full-text table agrees with what it was made from, by the tokenizers of this SQLite:
//! an application may have registered its own under the same names (HAZARDS H34). Asks inside a
//! read transaction; must never take the write lock, and changes nothing but SQLite's temporary
//! database, which it leaves empty.
//!
//! FTS5's `integrity-check` is an INSERT, and so a writer. `PRAGMA integrity_check` asks as a
//! reader, but does not compare content that lies in a table of its own
//! (<https://www.sqlite.org/fts5.html#the_integrity_check_command>). For such a table the index
//! alone is copied into the temporary database, beside a view of the content, and that copy is
//! asked.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};

use super::Depth;
use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::checks;
use crate::sqlite::look::keys;
use crate::sqlite::look::schema;
use crate::sqlite::write::hold;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// Every word of the content is in the index, and no other.
    Agrees,
    /// It is not so; why, in SQLite's words.
    Differs(String),
    /// The content is not stored, so that there is nothing to compare with.
    Contentless,
    /// It cannot be told, and why.
    Unknown(String),
}

/// The parts of an FTS5 index that make its copy. Not all of them have each.
const SHADOWS: [&str; 4] = ["config", "data", "idx", "docsize"];

/// Whether a table is one of FTS3, FTS4 or FTS5.
pub fn is_fulltext(connection: &Connection, table: &str) -> Result<bool> {
    Ok(definition(connection, table)?.is_some())
}

/// Whether the content of a full-text table is not stored.
pub fn is_contentless(connection: &Connection, table: &str) -> Result<bool> {
    Ok(definition(connection, table)?.is_some_and(|definition| definition.content.as_deref() == Some("")))
}

/// The module and arguments of a table of FTS5, and whether its content lies in a table of its own,
/// with which `PRAGMA integrity_check` does not compare it.
pub(in crate::sqlite) fn fts5(connection: &Connection, table: &str) -> Result<Option<(String, bool)>> {
    let definition = definition(connection, table)?.filter(|definition| definition.is_fts5);
    Ok(definition.map(|d| (d.using, d.content.is_some_and(|content| !content.is_empty()))))
}

/// Compares the index of a full-text table with its content; reads all of both. Errors:
/// `unsupported` where its tokenizer is missing; what else keeps it from being done.
pub fn agreement(connection: &mut Connection, table: &str) -> Result<Agreement> {
    let Some(definition) = definition(connection, table)? else {
        return Ok(Agreement::Unknown(format!("{table} is no full-text table")));
    };
    match definition.content.as_deref() {
        Some("") => Ok(Agreement::Contentless),
        Some(content) if definition.is_fts5 => beside(connection, table, &definition, content),
        _ => by_pragma(connection, table),
    }
}

fn by_pragma(connection: &Connection, table: &str) -> Result<Agreement> {
    let found = checks::integrity(connection, Depth::Full, Some(table)).map_err(|error| {
        // A search says what is missing, where the check only says that something is.
        let search = format!("SELECT 1 FROM main.{0} WHERE {0} MATCH 'a' LIMIT 1", quoted(table));
        match connection.query_row(&search, [], |_| Ok(())) {
            Err(cause) if error.reason == Reason::Sqlite && cause != rusqlite::Error::QueryReturnedNoRows => {
                cause.into()
            }
            _ => error,
        }
    })?;
    let wrong = found.virtual_tables.into_iter().chain(found.structure).next();
    Ok(match (wrong, found.unchecked.into_iter().next()) {
        (Some(text), _) => Agreement::Differs(text),
        (None, Some(text)) => Agreement::Unknown(text),
        (None, None) => Agreement::Agrees,
    })
}

/// Asks a copy of the index, beside a view of the content under its own name. It is rolled back:
/// nothing is left of it.
fn beside(
    connection: &mut Connection,
    table: &str,
    definition: &Definition,
    content: &str,
) -> Result<Agreement> {
    let plain = Undefended::new(connection)?;
    hold::elsewhere(&*plain.connection, |c| in_a_copy(c, table, definition, content))
}

fn in_a_copy(
    connection: &Connection,
    table: &str,
    definition: &Definition,
    content: &str,
) -> Result<Agreement> {
    let transaction = connection.unchecked_transaction()?;
    let columns = keys::every_column(connection, content)?;
    let rowid = match &definition.rowid {
        rowid if columns.iter().any(|column| column.eq_ignore_ascii_case(rowid)) => String::new(),
        rowid => format!("{0} AS {0}, ", quoted(rowid)),
    };
    let (index, content) = (quoted(table), quoted(content));
    connection.execute_batch(&format!(
        "CREATE TEMP VIEW {content} AS SELECT {rowid}* FROM main.{content}; \
         CREATE VIRTUAL TABLE temp.{index} USING {}",
        definition.using
    ))?;
    for shadow in SHADOWS.map(|suffix| format!("{table}_{suffix}")) {
        if schema::sql_of(connection, &shadow)?.is_some() {
            let shadow = quoted(&shadow);
            connection.execute_batch(&format!(
                "DELETE FROM temp.{shadow}; INSERT INTO temp.{shadow} SELECT * FROM main.{shadow}"
            ))?;
        }
    }
    let asked = connection
        .execute_batch(&format!("INSERT INTO temp.{index} ({index}, rank) VALUES ('integrity-check', 1)"));
    transaction.rollback()?;
    match asked {
        Ok(()) => Ok(Agreement::Agrees),
        Err(cause) if cause.sqlite_error().is_some_and(|e| e.extended_code == ffi::SQLITE_CORRUPT_VTAB) => {
            Ok(Agreement::Differs(String::from("its integrity-check finds it malformed")))
        }
        Err(cause) => match Error::from(cause) {
            error if error.reason == Reason::Sqlite => Ok(Agreement::Unknown(error.message)),
            error => Err(error),
        },
    }
}

/// A connection on which the copy's own tables may be written, as long as this lives.
struct Undefended<'c> {
    connection: &'c mut Connection,
}

impl<'c> Undefended<'c> {
    fn new(connection: &'c mut Connection) -> Result<Self> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
        Ok(Self { connection })
    }
}

impl Drop for Undefended<'_> {
    fn drop(&mut self) {
        // Setting a flag does not fail.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true);
    }
}

/// What made a full-text table.
#[derive(Debug, PartialEq, Eq)]
struct Definition {
    is_fts5: bool,
    /// Its module and arguments, as they were written.
    using: String,
    /// The table with the content, where it is another one; empty where the content is not stored.
    content: Option<String>,
    /// What names a row of the content.
    rowid: String,
}

fn definition(connection: &Connection, table: &str) -> Result<Option<Definition>> {
    Ok(schema::sql_of(connection, table)?.and_then(|sql| Definition::read(&sql)))
}

impl Definition {
    /// Of `CREATE VIRTUAL TABLE name USING module(arguments)`, as SQLite keeps it: without IF NOT
    /// EXISTS, and without a schema's name.
    fn read(sql: &str) -> Option<Self> {
        let mut rest = sql;
        for expected in ["CREATE", "VIRTUAL", "TABLE"] {
            let (keyword, behind) = word(rest)?;
            rest = keyword.eq_ignore_ascii_case(expected).then_some(behind)?;
        }
        let (_, behind) = word(rest)?;
        let (keyword, behind) = word(behind)?;
        let using = keyword.eq_ignore_ascii_case("USING").then_some(behind)?.trim();
        let (module, behind) = word(using)?;
        let is_fts5 = module.eq_ignore_ascii_case("fts5");
        if !is_fts5 && !["fts3", "fts4"].iter().any(|name| module.eq_ignore_ascii_case(name)) {
            return None;
        }
        let inner = behind.trim().strip_prefix('(').and_then(|inner| inner.trim_end().strip_suffix(')'));
        let (mut content, mut rowid) = (None, String::from("rowid"));
        for argument in arguments(inner.unwrap_or_default()) {
            let Some((key, value)) = option(argument) else { continue };
            // FTS5 takes the beginning of an option's name for it, and the first one that fits.
            if key == "content" || (is_fts5 && "content".starts_with(&key)) {
                content = Some(value);
            } else if is_fts5 && "content_rowid".starts_with(&key) {
                rowid = value;
            }
        }
        Some(Self { is_fts5, using: using.to_owned(), content, rowid })
    }
}

/// The next name or word, without its quotes, and what comes behind it.
fn word(text: &str) -> Option<(String, &str)> {
    let text = without_comments(text);
    let first = text.chars().next()?;
    if let Some(last) = closing(first) {
        let (mut name, mut rest) = (String::new(), &text[first.len_utf8()..]);
        loop {
            let end = rest.find(last)?;
            name.push_str(&rest[..end]);
            rest = &rest[end + last.len_utf8()..];
            match rest.strip_prefix(last) {
                Some(behind) if last != ']' => {
                    name.push(last);
                    rest = behind;
                }
                _ => return Some((name, rest)),
            }
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    (!name.is_empty()).then(|| (name.to_owned(), rest))
}

fn closing(quote: char) -> Option<char> {
    match quote {
        '"' | '\'' | '`' => Some(quote),
        '[' => Some(']'),
        _ => None,
    }
}

fn without_comments(text: &str) -> &str {
    let text = text.trim_start();
    let behind = match (text.strip_prefix("--"), text.strip_prefix("/*")) {
        (Some(line), _) => line.split_once('\n').map_or("", |(_, behind)| behind),
        (_, Some(block)) => block.split_once("*/").map_or("", |(_, behind)| behind),
        _ => return text,
    };
    without_comments(behind)
}

/// The arguments of a module: what lies between commas that stand in no quotes and no parentheses.
fn arguments(text: &str) -> Vec<&str> {
    let (mut all, mut start, mut depth, mut until) = (Vec::new(), 0, 0_u32, None);
    for (at, c) in text.char_indices() {
        match (until, c) {
            (Some(last), _) if last == c => until = None,
            (Some(_), _) => {}
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                all.push(&text[start..at]);
                start = at + 1;
            }
            (None, c) => until = closing(c),
        }
    }
    all.push(&text[start..]);
    all
}

/// `key = value` of an argument, the key in lower case, the value without its quotes.
fn option(argument: &str) -> Option<(String, String)> {
    let (key, rest) = word(argument)?;
    let value = without_comments(rest).strip_prefix('=')?.trim();
    let value = if value.starts_with(|c| closing(c).is_some()) { word(value)?.0 } else { value.to_owned() };
    Some((key.to_ascii_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Option<(bool, Option<String>, String)> {
        Definition::read(sql).map(|found| (found.is_fts5, found.content, found.rowid))
    }

    #[test]
    fn a_definition_is_read_however_it_is_written() {
        let rowid = || "rowid".to_owned();
        for (sql, expected) in [
            ("CREATE VIRTUAL TABLE f USING fts5(a, b)", (true, None, rowid())),
            (
                "CREATE VIRTUAL TABLE \"a \"\"(b\" using FTS5 (a, content='')",
                (true, Some(String::new()), rowid()),
            ),
            (
                "CREATE VIRTUAL TABLE [f, x] /* , content=z */ USING fts5(a, \"content\" = \"my, table\", \
                 content_rowid=id, tokenize = 'porter ''unicode61'', x')",
                (true, Some("my, table".to_owned()), "id".to_owned()),
            ),
            ("CREATE VIRTUAL TABLE f USING fts4(a, content=`t`)", (false, Some("t".to_owned()), rowid())),
            ("CREATE VIRTUAL TABLE f USING fts3", (false, None, rowid())),
        ] {
            assert_eq!(read(sql), Some(expected), "{sql}");
        }
        for other in ["CREATE TABLE f (a)", "CREATE VIRTUAL TABLE f USING rtree(i, a, b)", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    /// Made with one tokenizer, and said to be of another one.
    fn made(by: &str, said: &str, more: &str, rest: &str) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        let all = format!(
            "CREATE TABLE \"my notes\" (id INTEGER PRIMARY KEY, text TEXT); \
             INSERT INTO \"my notes\" VALUES (1, 'Some words'), (7, 'and more of them'); \
             CREATE VIRTUAL TABLE f USING {by}{more}; {rest} \
             PRAGMA writable_schema = ON; \
             UPDATE sqlite_schema SET sql = replace(sql, '{by}', '{said}') WHERE name = 'f'; \
             PRAGMA writable_schema = RESET"
        );
        connection.execute_batch(&all).unwrap();
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).unwrap();
        assert!(is_fulltext(&connection, "f").unwrap());
        let before = agreement(&mut connection, "f").unwrap();
        assert_eq!(agreement(&mut connection, "f").unwrap(), before, "it leaves nothing behind");
        connection
    }

    #[test]
    fn an_index_made_by_another_tokenizer_differs_whatever_holds_its_content() {
        let rebuild = "INSERT INTO f(f) VALUES ('rebuild');";
        let insert = "INSERT INTO f(rowid, text) SELECT id, text FROM \"my notes\";";
        let (plain, other) = ("fts5(tokenize = unicode61, text", "fts5(tokenize = trigram, text");
        let (plain4, other4) = ("fts4(tokenize=simple, text", "fts4(tokenize=porter, text");
        for (more, fill) in [
            (", content = 'my notes', content_rowid = id)", rebuild),
            (", content = \"my notes\")", rebuild),
            (", columnsize = 0, prefix = '2 3', content = \"my notes\")", rebuild),
            (")", insert),
        ] {
            let mut agrees = made(plain, plain, more, fill);
            assert_eq!(agreement(&mut agrees, "f").unwrap(), Agreement::Agrees, "{more}");
            let mut differs = made(other, plain, more, fill);
            let found = agreement(&mut differs, "f").unwrap();
            assert!(matches!(found, Agreement::Differs(_)), "{more}: {found:?}");
        }
        for (more, fill) in [(")", insert), (", content=\"my notes\")", rebuild)] {
            let mut agrees = made(plain4, plain4, more, fill);
            assert_eq!(agreement(&mut agrees, "f").unwrap(), Agreement::Agrees, "{more}");
            let mut differs = made(other4, plain4, more, fill);
            let found = agreement(&mut differs, "f").unwrap();
            assert!(matches!(found, Agreement::Differs(_)), "{more}: {found:?}");
        }
        let mut contentless = made(plain, plain, ", content = '')", insert);
        assert_eq!(agreement(&mut contentless, "f").unwrap(), Agreement::Contentless);
    }
}
