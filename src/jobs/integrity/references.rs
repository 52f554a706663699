//! The check `foreign_keys`: rows whose parent is not there. SQLite enforces foreign keys only on
//! connections that turn them on, so that they are broken in many files whose application never
//! noticed.

use rusqlite::Connection;

use super::omissions::{Omissions, was_dropped};
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::reading::Reader;
use crate::jobs::verdicts::{Check, met};
use crate::sqlite::look::names;
use crate::terms::progress::Unit;

pub(super) const NAME: &str = "foreign_keys";

pub(super) fn check(
    run: &Run,
    reader: &Reader<'_>,
    tables: &[String],
    problems: &mut Vec<Error>,
) -> Result<Check> {
    let (mut broken, mut unchecked, mut checked) = (Vec::new(), Omissions::default(), 0_usize);
    let mut reason = Reason::Sqlite;
    for (done, table) in tables.iter().enumerate() {
        run.at(done as u64, tables.len() as u64, Unit::Steps);
        let result = reader.inspect(|_, inspector, go_on| inspector.references(table, go_on));
        match result {
            Ok(None) => {}
            Ok(Some(found)) => {
                checked += 1;
                broken.extend(found.in_words(table));
            }
            Err(error) if was_dropped(reader, table, &error) => {}
            Err(error) if error.reason == Reason::Damaged => {
                reason = Reason::Damaged;
                broken.push(format!("table {table}: {}", met(run, error)?.message));
            }
            Err(error) => unchecked.add(run, table, error, problems)?,
        }
    }
    match reader.read(|connection| unspeakable(connection)) {
        Ok(more) => unchecked.0.extend(more),
        Err(error) => problems.push(met(run, error)?),
    }
    if !broken.is_empty() {
        broken.extend(unchecked.in_words());
        return Ok(Check::bad(NAME, reason, broken.join("; ")));
    }
    Ok(match (unchecked.in_words(), checked) {
        (Some(text), _) => Check::unknown(NAME, text),
        (None, 0) => Check::good(NAME, "no table has foreign keys"),
        (None, 1) => Check::good(NAME, "the foreign keys of 1 table are kept"),
        (None, n) => Check::good(NAME, format!("the foreign keys of {n} tables are kept")),
    })
}

/// The tables with foreign keys whose names no statement can have.
fn unspeakable(connection: &Connection) -> Result<Vec<String>> {
    let sql = "SELECT t.name FROM main.sqlite_schema AS t WHERE t.type = 'table' AND t.rootpage > 0 \
               AND EXISTS (SELECT 1 FROM pragma_foreign_key_list(t.name, 'main'))";
    let all = names::unspeakable(connection, sql, [])?;
    Ok(all.iter().map(|shown| names::not_utf8("table", shown).message).collect())
}
