//! Damage in indexes alone: they are rebuilt in place, one at a time, each for no longer than the application's writers
//! may be held up, and checked again (HAZARDS H9).

use std::collections::BTreeSet;

use super::report::Done;
use crate::error::{Error, Reason, Result};
use crate::jobs::{Report, Run};
use crate::sqlite::upkeep::rebuild::{self, Rebuildable};
use crate::state::facts::DAMAGED_INDEXES;
use crate::terms::progress::Unit;

pub(super) fn run(run: &Run, wrong: &BTreeSet<String>) -> Result<Report> {
    let all = run.sql(|connection| rebuild::rebuildable(connection))?;
    let indexes: Vec<Rebuildable> = all
        .into_iter()
        .filter(|index| wrong.iter().any(|name| name.eq_ignore_ascii_case(&index.name)))
        .collect();
    let (mut built, mut rebuilt, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (done, index) in indexes.iter().enumerate() {
        run.at(done as u64, indexes.len() as u64, Unit::Steps);
        match build(run, index) {
            Ok(()) => built.push(index),
            Err(error) => {
                run.go_on()?;
                problems.push(in_words(run, index, error));
            }
        }
    }
    // Only now: a check ends at so many problems, and one that had yet to be rebuilt may have them all.
    for index in built {
        match check(run, index) {
            Ok(()) => rebuilt.push(index.name.clone()),
            Err(error) => {
                run.go_on()?;
                problems.push(in_words(run, index, error));
            }
        }
    }
    for name in wrong.iter().filter(|name| !indexes.iter().any(|index| index.name.eq_ignore_ascii_case(name)))
    {
        let text = format!(
            "index {name} cannot be rebuilt: it is a table's own, or is gone; use --always to make a new file"
        );
        problems.push(Error::new(Reason::Damaged, text));
    }
    // Maintenance need not rebuild them again.
    run.update(DAMAGED_INDEXES, |names| names.retain(|name| !rebuilt.contains(name)))?;
    Ok(Done::reindexed(rebuilt, problems))
}

fn build(run: &Run, index: &Rebuildable) -> Result<()> {
    run.write_within(run.database.maintain.max_block, |transaction| {
        rebuild::rebuild(transaction, &index.name)
    })
}

fn check(run: &Run, index: &Rebuildable) -> Result<()> {
    run.sql_within(run.database.maintain.max_block, |connection| rebuild::check(connection, index))
}

fn in_words(run: &Run, index: &Rebuildable, error: Error) -> Error {
    let what = format!("REINDEX {} of table {}", index.name, index.table);
    if error.reason != Reason::Deadline {
        return error.context(what);
    }
    let limit = crate::config::units::show_duration(run.database.maintain.max_block);
    let text = format!(
        "{what} takes longer than maintain.max_block = {limit} allows; it was rolled back. Raise it, or stop the \
         application meanwhile"
    );
    Error::new(Reason::Deadline, text)
}
