//! Full-text tables that SQLite's check does not compare with their content, or that it finds
//! different from it. Only reads; one that may have been made by a tokenizer of the application is
//! not called wrong (HAZARDS H16, H34).

use super::omissions::Omissions;
use crate::error::{Error, Result};
use crate::jobs::Run;
use crate::jobs::reading::Reader;
use crate::sqlite::checks::Found;
use crate::sqlite::checks::fulltext;
use crate::sqlite::checks::tokenizer::{self, Step};

/// Puts what is found into `found`, in the place of what SQLite's check said.
pub(super) fn check(
    run: &Run,
    reader: &Reader<'_>,
    tables: &[String],
    found: &mut Found,
    unchecked: &mut Omissions,
    problems: &mut Vec<Error>,
) -> Result<()> {
    let is_named = found.virtual_tables.iter().any(|line| tokenizer::is_about(line));
    found.virtual_tables.retain(|line| !tokenizer::is_about(line));
    for table in tables {
        let step = reader.read(|connection| {
            let ask = fulltext::is_fulltext(connection, table)?
                && (is_named || tokenizer::is_apart(connection, table)?);
            ask.then(|| tokenizer::step(connection, table)).transpose()
        });
        match step {
            Ok(None | Some(Step::In | Step::Contentless)) => {}
            Ok(Some(Step::Out)) => {
                let how = tokenizer::rebuilding(table);
                found
                    .virtual_tables
                    .push(format!("the full-text table {table} is out of step with its content: {how}"));
            }
            Ok(Some(Step::Unknown(why))) => found.unchecked.push(why),
            Err(error) => unchecked.add(run, table, error, problems)?,
        }
    }
    Ok(())
}
