//! Rebuilds indexes one at a time, each in a transaction of its own: those that a check found wrong, or all.

use std::collections::BTreeMap;
use std::time::Instant;

use rusqlite::TransactionBehavior;

use super::limits::{part, write};
use super::recall;
use super::step::{Cost, Step, StepName};
use crate::config::Reindex;
use crate::error::{Reason, Result};
use crate::jobs::Context;
use crate::jobs::reading::Reader;
use crate::sqlite::rebuild::{self, Rebuildable};
use crate::state::facts::{self, DAMAGED_INDEXES};
use crate::words::plural;

const STEP: StepName = StepName::Reindex;

/// Seconds for which each index held writers when it was last rebuilt, by its name.
const REBUILDS: &str = "rebuilds";

pub(super) async fn run(context: &Context, preview: bool) -> Result<Step> {
    let policy = context.database.maintain.reindex;
    if policy == Reindex::Never {
        return Ok(Step::skipped(STEP, "REINDEX is off"));
    }
    let damaged: Vec<String> = recall(context, DAMAGED_INDEXES).await?;
    let found = match damaged.as_slice() {
        [] => String::from("no index that a check found wrong"),
        names => format!("found wrong by a check: {}", names.join(", ")),
    };
    if policy == Reindex::Auto && damaged.is_empty() {
        return Ok(Step::skipped(STEP, "no index needed rebuilding").found(found));
    }
    let mut indexes = context.sql(|c| rebuild::rebuildable(c)).await?;
    // One that is gone was dropped by the application, and its damage with it.
    let (wrong, mut settled): (Vec<String>, Vec<String>) =
        damaged.into_iter().partition(|d| indexes.iter().any(|i| i.name == *d));
    if policy == Reindex::Auto {
        indexes.retain(|i| wrong.contains(&i.name));
    }
    let mut before: BTreeMap<String, f64> = recall(context, REBUILDS).await?;
    if preview {
        return Ok(planned(context, &indexes, &before).found(found));
    }
    let (mut rebuilt, mut left_out, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for index in &indexes {
        let name = index.name.clone();
        let work = move |t: &rusqlite::Transaction<'_>| {
            let clock = Instant::now();
            rebuild::rebuild(t, &name)?;
            Ok(clock.elapsed())
        };
        match write(context, &what(index), work).await? {
            Ok(took) => {
                before.insert(index.name.clone(), took.as_secs_f64());
                rebuilt.push(index.name.clone());
            }
            // Not worth a failure each night: nothing is wrong with it.
            Err(problem) if problem.reason == Reason::Unsupported && !wrong.contains(&index.name) => {
                left_out.push(problem.message);
            }
            Err(problem) => problems.push(problem),
        }
    }
    let reader = Reader::new(context).await?;
    // Only now: a check tells of every index of the table, also of one that had yet to be rebuilt.
    for index in &indexes {
        if !(wrong.contains(&index.name) && rebuilt.contains(&index.name)) {
            continue;
        }
        let own = index.clone();
        let checked = reader.read(move |c| rebuild::check(c, &own)).await;
        match part(context, &format!("checking {}", index.name), checked)? {
            Ok(()) => settled.push(index.name.clone()),
            Err(problem) => problems.push(problem),
        }
    }
    let database = context.database.name.clone();
    let remember = move |c: &mut rusqlite::Connection| {
        facts::remember(c, &database, REBUILDS, &before)?;
        if settled.is_empty() {
            return Ok(());
        }
        // A check may have found others meanwhile.
        let transaction = c.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = facts::recall::<Vec<String>>(&transaction, &database, DAMAGED_INDEXES)?;
        let mut wrong = known.map(|(wrong, _)| wrong).unwrap_or_default();
        wrong.retain(|index| !settled.contains(index));
        facts::remember(&transaction, &database, DAMAGED_INDEXES, &wrong)?;
        Ok(transaction.commit()?)
    };
    context.state.with(remember).await?;
    if rebuilt.is_empty() && problems.is_empty() && left_out.is_empty() {
        return Ok(Step::skipped(STEP, "no index needed rebuilding").found(found));
    }
    let why = format!("rebuilt {}", plural(rebuilt.len() as u64, "index", "indexes"));
    Ok(Step { left_out, ..Step::of_parts(STEP, why, rebuilt, problems).found(found) })
}

fn planned(context: &Context, indexes: &[Rebuildable], before: &BTreeMap<String, f64>) -> Step {
    if indexes.is_empty() {
        return Step::skipped(STEP, "no index needed rebuilding");
    }
    let known: Vec<f64> = indexes.iter().filter_map(|index| before.get(&index.name).copied()).collect();
    let cost = Cost {
        hold_seconds: (known.len() == indexes.len()).then(|| known.into_iter().fold(0.0, f64::max)),
        longest_hold_seconds: context.database.maintain.max_block.as_secs_f64(),
        needed_bytes: None,
    };
    let names: Vec<_> = indexes.iter().map(|index| index.name.as_str()).collect();
    Step::planned(STEP, format!("would rebuild {}, one after the other", names.join(", ")), cost)
}

fn what(index: &Rebuildable) -> String {
    format!("REINDEX {} of table {}", index.name, index.table)
}
