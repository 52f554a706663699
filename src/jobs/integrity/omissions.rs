//! What of a check could not be done.

use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::reading::Reader;
use crate::jobs::verdicts::met;
use crate::sqlite::checks;

/// Whether the application dropped a table after it was listed, which is no fault of the table's.
pub(super) fn was_dropped(reader: &Reader<'_>, table: &str, error: &Error) -> bool {
    error.reason == Reason::Sqlite
        && reader.read(|connection| checks::is_there(connection, table)).is_ok_and(|there| !there)
}

/// What a check of several tables could not check, and why.
#[derive(Default)]
pub(super) struct Omissions(pub(super) Vec<String>);

impl Omissions {
    /// Takes an error that one table met. It is a problem of the run as well where the check was
    /// kept from being done, unless it is one that this database's schema always has.
    pub(super) fn add(
        &mut self,
        run: &Run,
        table: &str,
        error: Error,
        problems: &mut Vec<Error>,
    ) -> Result<()> {
        let error = met(run, error)?;
        self.0.push(format!("table {table}: {}", error.message));
        if !checks::cannot_be_done(&error) {
            problems.push(error.context(format!("table {table}")));
        }
        Ok(())
    }

    /// `cannot check …`, or nothing.
    pub(super) fn in_words(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| format!("cannot check {}", self.0.join("; ")))
    }
}
