//! Full-text tables and R*Trees of the new file, whose rows were saved like any other's: what they
//! index need not be there any more. Made anew from their content where that is there and their
//! tokenizer is SQLite's; named with the remedy where it is not. Must never rebuild what another
//! tokenizer made (HAZARDS H34).

use rusqlite::Connection;

use crate::error::{Error, Reason, Result};
use crate::sqlite::checks::fulltext;
use crate::sqlite::checks::tokenizer::{self, Step};
use crate::sqlite::checks::{self, Found};
use crate::sqlite::look::schema;

/// What became of them.
#[derive(Debug, Default)]
pub(super) struct SearchRepair {
    /// Full-text tables that were made anew.
    pub(super) rebuilt: Vec<String>,
    /// Those of which it is not known, and what to do.
    pub(super) notes: Vec<String>,
}

/// Mends what it can, and puts what is left in `found` in the place of what SQLite's check said.
/// `is_whole`: nothing else of the file is known to be lost.
pub(super) fn mend(connection: &mut Connection, found: &mut Found, is_whole: bool) -> Result<SearchRepair> {
    let mut mended = SearchRepair::default();
    let is_named = found.virtual_tables.iter().any(|line| tokenizer::is_about(line));
    found.virtual_tables.retain(|line| !tokenizer::is_about(line));
    for line in found.virtual_tables.iter_mut().filter(|line| line.starts_with("In RTree ")) {
        line.push_str(
            "; it cannot be made anew from itself: empty it, and have the application fill it again",
        );
    }
    for table in checks::tables(connection)? {
        if fulltext::is_fulltext(connection, &table)? {
            let ask = is_named || tokenizer::is_apart(connection, &table)?;
            full_text(connection, &table, ask, found, &mut mended)?;
        }
        if !is_whole {
            mended.notes.extend(kept_by_the_application(connection, &table)?);
        }
    }
    Ok(mended)
}

fn full_text(
    connection: &mut Connection,
    table: &str,
    ask: bool,
    found: &mut Found,
    mended: &mut SearchRepair,
) -> Result<()> {
    if !ask {
        return Ok(());
    }
    let how = tokenizer::rebuilding(table);
    match told(tokenizer::step(connection, table))? {
        Step::In | Step::Contentless => {}
        Step::Out => {
            let again =
                tokenizer::rebuild(connection, table).and_then(|()| tokenizer::step(connection, table));
            match told(again)? {
                Step::In => mended.rebuilt.push(table.to_owned()),
                Step::Unknown(why) => {
                    found.virtual_tables.push(format!(
                        "the full-text table {table} is out of step with its content ({why}): {how}"
                    ));
                }
                Step::Out | Step::Contentless => {
                    found
                        .virtual_tables
                        .push(format!("the full-text table {table} is out of step with its content: {how}"));
                }
            }
        }
        Step::Unknown(why) => found.unchecked.push(format!(
            "full-text table {table}: {why}; where rows are lost, have the application run {how}"
        )),
    }
    Ok(())
}

/// Whether a table is one of those in which a full-text table keeps its index, and not its content.
pub(super) fn is_index_of(search: &str, table: &str) -> bool {
    let rest = table.strip_prefix(search).and_then(|rest| rest.strip_prefix('_'));
    rest.is_some_and(|rest| {
        ["data", "idx", "docsize", "config", "segments", "segdir", "stat"].contains(&rest)
    })
}

/// What cannot be done here is an answer.
fn told(step: Result<Step>) -> Result<Step> {
    match step {
        Err(error) if checks::cannot_be_done(&error) => Ok(Step::Unknown(error.message)),
        Err(Error { reason: Reason::Damaged, message, .. }) => Ok(Step::Unknown(message)),
        step => step,
    }
}

/// Of what only the application can fill: rows that are lost may still be in it.
fn kept_by_the_application(connection: &Connection, table: &str) -> Result<Option<String>> {
    let sql = schema::sql_of(connection, table)?.unwrap_or_default().to_ascii_lowercase();
    let what = if sql.starts_with("create virtual") && sql.contains("using rtree") {
        "R*Tree"
    } else if fulltext::is_contentless(connection, table)? {
        "full-text table without content"
    } else {
        return Ok(None);
    };
    Ok(Some(format!(
        "the {what} {table} may still have rows that are lost elsewhere, and cannot be compared: empty it, and have the \
         application fill it again"
    )))
}
