//! Full statistics without holding anybody up: computed on a copy of the database in scratch space,
//! and put into the database in one short transaction.

use std::io::Write as _;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::jobs::Run;
use crate::jobs::limits::{part, write};
use crate::sqlite::copy::snapshot::{Bounds, Snapshot};
use crate::sqlite::files::paths::resolved;
use crate::sqlite::files::space::{Need, shortage, temp_directory};
use crate::sqlite::look::facts::Facts;
use crate::sqlite::upkeep::statistics::{self, Statistics};
use crate::store::scratch::Scratch;

/// Virtual machine instructions between two looks at whether the run must stop: some milliseconds.
const STEPS_BETWEEN_LOOKS: i32 = 100_000;

/// For how long writers are held while the results are put in, as measured.
pub(super) const PUT: Duration = Duration::from_millis(1);

/// Bytes that ANALYZE may need for itself on the copy.
const MARGIN: u64 = 1 << 20;

/// Why it cannot be done in this way, if it cannot.
pub(super) fn prevented(facts: &Facts) -> Result<Option<String>> {
    if facts.journal_mode != "wal" {
        let mode = &facts.journal_mode;
        return Ok(Some(format!(
            "on the database itself: in {mode} mode making a copy holds writers as well"
        )));
    }
    let need = Need { directory: temp_directory(), bytes: needed(facts) };
    Ok(shortage(&[need])?.map(|short| {
        let why = short.error("a copy");
        format!("on the database itself: {why} (SQLITE_TMPDIR names another place)")
    }))
}

/// Bytes that the copy takes.
pub(super) fn needed(facts: &Facts) -> u64 {
    facts.bytes() + MARGIN
}

/// Refreshes the statistics of these tables, or of all. The outer error ends the run, the inner one
/// the step.
pub(super) fn refresh(run: &Run, only: Option<&[String]>) -> Result<Result<Statistics>> {
    let scratch = match part(run, "copying the database for ANALYZE", copy(run))? {
        Ok(scratch) => scratch,
        Err(problem) => return Ok(Err(problem)),
    };
    let computed = match part(run, "ANALYZE of a copy", computed(run, scratch, only))? {
        Ok(computed) => computed,
        Err(problem) => return Ok(Err(problem)),
    };
    let put = write(run, "ANALYZE", PUT, |t| statistics::put(t, &computed))?;
    Ok(put.map(|()| computed))
}

fn computed(run: &Run, scratch: Scratch, only: Option<&[String]>) -> Result<Statistics> {
    let (copy, call) = (scratch.open_to_change()?, run.call.clone());
    copy.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || call.check().is_err()))?;
    statistics::compute(&copy, only)
}

/// The database as it is now, in a file without a name.
fn copy(run: &Run) -> Result<Scratch> {
    let path = resolved(&run.database.path);
    run.sql(|source| {
        let mut scratch = Scratch::create(&temp_directory(), "analyze")?;
        let snapshot = Snapshot::begin(source, &path, Bounds::of(&run.database))?;
        let mut is_first = true;
        let mut out = |bytes: &[u8]| {
            let mut first = Vec::new();
            let mut bytes = bytes;
            if std::mem::take(&mut is_first) {
                first.extend_from_slice(bytes);
                statistics::out_of_wal_mode(&mut first);
                bytes = &first;
            }
            let failed = |e| Error::io("cannot write the copy for ANALYZE", &e);
            scratch.file().write_all(bytes).map_err(failed)
        };
        snapshot.pages(&mut out, &|| run.go_on())?;
        snapshot.end(false)?;
        Ok(scratch)
    })
}
