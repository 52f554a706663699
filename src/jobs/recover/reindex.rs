//! Damage in indexes alone: they are rebuilt in place, one at a time, each for no longer than the application's writers
//! may be held up, and checked again (HAZARDS H9).

use std::collections::BTreeSet;

use super::report::Done;
use crate::error::{Error, Reason, Result};
use crate::jobs::{Context, Report, Unit};
use crate::sqlite::upkeep::rebuild::{self, Rebuildable};
use crate::state::facts::{self, DAMAGED_INDEXES};

pub(super) async fn run(context: &Context, wrong: &BTreeSet<String>) -> Result<Report> {
    let all = context.sql(|connection| rebuild::rebuildable(connection)).await?;
    let indexes: Vec<Rebuildable> = all
        .into_iter()
        .filter(|index| wrong.iter().any(|name| name.eq_ignore_ascii_case(&index.name)))
        .collect();
    let (mut built, mut rebuilt, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (done, index) in indexes.iter().enumerate() {
        context.at(done as u64, indexes.len() as u64, Unit::Steps);
        match build(context, index).await {
            Ok(()) => built.push(index),
            Err(error) => {
                context.go_on()?;
                problems.push(in_words(context, index, error));
            }
        }
    }
    // Only now: a check ends at so many problems, and one that had yet to be rebuilt may have them all.
    for index in built {
        match check(context, index).await {
            Ok(()) => rebuilt.push(index.name.clone()),
            Err(error) => {
                context.go_on()?;
                problems.push(in_words(context, index, error));
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
    forget(context, rebuilt.clone()).await?;
    Ok(Done::reindexed(rebuilt, problems))
}

async fn build(context: &Context, index: &Rebuildable) -> Result<()> {
    let name = index.name.clone();
    let limit = context.database.maintain.max_block;
    context.write_within(limit, move |transaction| rebuild::rebuild(transaction, &name)).await
}

async fn check(context: &Context, index: &Rebuildable) -> Result<()> {
    let own = index.clone();
    let limit = context.database.maintain.max_block;
    context.sql_within(limit, move |connection| rebuild::check(connection, &own)).await
}

fn in_words(context: &Context, index: &Rebuildable, error: Error) -> Error {
    let what = format!("REINDEX {} of table {}", index.name, index.table);
    if error.reason != Reason::Deadline {
        return error.context(what);
    }
    let limit = crate::config::units::show_duration(context.database.maintain.max_block);
    let text = format!(
        "{what} takes longer than maintain.max_block = {limit} allows; it was rolled back. Raise it, or stop the \
         application meanwhile"
    );
    Error::new(Reason::Deadline, text)
}

/// Maintenance need not rebuild them again.
async fn forget(context: &Context, rebuilt: Vec<String>) -> Result<()> {
    let database = context.database.name.clone();
    context
        .state
        .with(move |connection| {
            let Some((mut names, _)) = facts::recall::<Vec<String>>(connection, &database, DAMAGED_INDEXES)?
            else {
                return Ok(());
            };
            names.retain(|name| !rebuilt.contains(name));
            facts::remember(connection, &database, DAMAGED_INDEXES, &names)
        })
        .await
}
