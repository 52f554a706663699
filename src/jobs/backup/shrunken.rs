//! Whether a database has suddenly become much smaller: a mistyped path that SQLite filled with an
//! empty file, a truncated or half-restored one (HAZARDS H5, H6).

use super::contents::Contents;
use crate::commands;
use crate::error::{Error, Reason, Result};
use crate::state::facts::Content;
use crate::words;

/// Refuses a state that has less than half of the bytes that were there, or lacks a table that had
/// rows. A table that is still there and has become empty does not count: that is what a queue
/// looks like.
pub(super) fn compare(database: &str, before: Option<&Content>, now: &Contents) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    let gone: Vec<&str> =
        before.tables.iter().map(String::as_str).filter(|table| !now.tables.contains_key(*table)).collect();
    let why = if !gone.is_empty() {
        format!("these tables had rows and are gone: {}", gone.join(", "))
    } else if now.content.bytes < before.bytes / 2 {
        format!(
            "it held {} at the last backup and holds {} now",
            words::bytes(before.bytes),
            words::bytes(now.content.bytes)
        )
    } else {
        return Ok(());
    };
    Err(Error::new(
        Reason::Shrunken,
        format!(
            "no backup was made, because the database has shrunk: {why}. If that is as it should be, run: {}",
            commands::litekeeper(format_args!("backup {database} --accept-smaller"))
        ),
    ))
}
