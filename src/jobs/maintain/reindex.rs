//! Rebuilds indexes one at a time: those that a check found wrong, or all.

use super::step::{Step, StepName, within_max_block};
use crate::config::Reindex;
use crate::error::{Error, Result};
use crate::jobs::Context;
use crate::sqlite::rebuild::{self, Rebuildable};
use crate::state::facts::{self, DAMAGED_INDEXES};
use crate::words::plural;

const STEP: StepName = StepName::Reindex;

pub(super) async fn run(context: &Context) -> Result<Step> {
    let policy = context.database.maintain.reindex;
    if policy == Reindex::Never {
        return Ok(Step::skipped(STEP, "REINDEX is off"));
    }
    let damaged = damaged(context).await?;
    if policy == Reindex::Auto && damaged.is_empty() {
        return Ok(Step::skipped(STEP, "no index needed rebuilding"));
    }
    let mut indexes = context.sql(|c| rebuild::rebuildable(c)).await?;
    // One that is gone was dropped by the application, and its damage with it.
    let mut wrong: Vec<String> =
        damaged.iter().filter(|d| indexes.iter().any(|i| i.name == **d)).cloned().collect();
    if policy == Reindex::Auto {
        indexes.retain(|i| wrong.contains(&i.name));
    }
    let (mut rebuilt, mut problems) = (Vec::new(), Vec::new());
    for index in &indexes {
        let name = index.name.clone();
        match within_max_block(context, &what(index), move |c| rebuild::rebuild(c, &name)).await? {
            Ok(()) => rebuilt.push(index.name.clone()),
            Err(problem) => problems.push(problem),
        }
    }
    // Only now: a check tells of every index of the table, also of one that had yet to be rebuilt.
    for index in &indexes {
        if !(wrong.contains(&index.name) && rebuilt.contains(&index.name)) {
            continue;
        }
        match verify(context, index).await? {
            Ok(()) => wrong.retain(|w| *w != index.name),
            Err(problem) => problems.push(problem),
        }
    }
    if wrong != damaged {
        let database = context.database.name.clone();
        context.state.with(move |c| facts::remember(c, &database, DAMAGED_INDEXES, &wrong)).await?;
    }
    if rebuilt.is_empty() && problems.is_empty() {
        return Ok(Step::skipped(STEP, "no index needed rebuilding"));
    }
    let why = format!("rebuilt {}", plural(rebuilt.len() as u64, "index", "indexes"));
    Ok(Step::of_parts(STEP, why, rebuilt, problems))
}

async fn damaged(context: &Context) -> Result<Vec<String>> {
    let database = context.database.name.clone();
    let fact = context.state.with(move |c| facts::recall(c, &database, DAMAGED_INDEXES)).await?;
    Ok(fact.map(|(names, _)| names).unwrap_or_default())
}

/// The check too: outside WAL mode its read lock keeps writers from committing.
async fn verify(context: &Context, index: &Rebuildable) -> Result<Result<(), Error>> {
    let own = index.clone();
    within_max_block(context, &format!("checking {}", index.name), move |c| rebuild::check(c, &own)).await
}

fn what(index: &Rebuildable) -> String {
    format!("REINDEX {} of table {}", index.name, index.table)
}
