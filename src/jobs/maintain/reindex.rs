//! Rebuilds indexes one at a time, each in a transaction of its own: those that a check found
//! wrong, or all.

use super::step::{Cost, StepName, StepReport};
use crate::config::Reindex;
use crate::error::{Error, Result};
use crate::jobs::builds::Builds;
use crate::jobs::{Run, limits, reindex};
use crate::sql::quoting::quoted;
use crate::sqlite::upkeep::needs;
use crate::sqlite::upkeep::rebuild::{self, Rebuildable};
use crate::state::facts::DAMAGED_INDEXES;
use crate::words::plural;

const STEP: StepName = StepName::Reindex;

pub(super) fn run(run: &Run, preview: bool) -> Result<StepReport> {
    let policy = run.database.maintain.reindex;
    if policy == Reindex::Never {
        return Ok(StepReport::skipped(STEP, "REINDEX is off"));
    }
    let damaged = run.recall(DAMAGED_INDEXES)?;
    let found = match damaged.as_slice() {
        [] => String::from("no index that a check found wrong"),
        names => format!("found wrong by a check: {}", names.join(", ")),
    };
    if policy == Reindex::Auto && damaged.is_empty() {
        return Ok(StepReport::skipped(STEP, "no index needed rebuilding").found(found));
    }
    let mut indexes = run.sql(|c| rebuild::rebuildable(c))?;
    // One that is gone was dropped by the application, and its damage with it.
    let (wrong, mut settled): (Vec<String>, Vec<String>) =
        damaged.into_iter().partition(|d| indexes.iter().any(|i| i.name == *d));
    let mut left_out = Vec::new();
    if policy == Reindex::Auto {
        indexes.retain(|i| wrong.contains(&i.name));
        left_out = leave_relative(run, &mut indexes)?;
    }
    let mut builds = Builds::recall(run)?;
    let mut problems = Vec::new();
    indexes.retain(|index| builds.may_try(&index.name, &reindex::what(index), &mut problems));
    let is_wrong = |name: &str| wrong.iter().any(|wrong| wrong == name);
    leave_lacking(run, &mut indexes, is_wrong, &mut left_out, &mut problems)?;
    if preview {
        return Ok(StepReport { left_out, ..planned(run, &indexes, &builds, problems).found(found) });
    }
    let mut done = reindex::rebuild(run, &mut builds, &indexes, is_wrong)?;
    settled.append(&mut done.right);
    reindex::forget(run, &settled)?;
    left_out.append(&mut done.left_out);
    problems.append(&mut done.problems);
    let rebuilt = done.built;
    if rebuilt.is_empty() && problems.is_empty() && left_out.is_empty() {
        return Ok(StepReport::skipped(STEP, "no index needed rebuilding").found(found));
    }
    let why = format!("rebuilt {}", plural(rebuilt.len() as u64, "index", "indexes"));
    Ok(StepReport { left_out, ..StepReport::of_parts(STEP, why, rebuilt, problems).found(found) })
}

/// Takes out what only the application can build, before the write lock is taken for it in vain.
/// It is a problem only of an index that is wrong.
fn leave_lacking(
    run: &Run,
    indexes: &mut Vec<Rebuildable>,
    is_wrong: impl Fn(&str) -> bool,
    left_out: &mut Vec<String>,
    problems: &mut Vec<Error>,
) -> Result<()> {
    let lacking: Vec<(String, Error)> = run.sql(|c| {
        let lack = |index: &Rebuildable| Some((index.name.clone(), needs::of_reindex(c, &index.name)?));
        Ok(indexes.iter().filter_map(lack).collect())
    })?;
    for (name, lack) in lacking {
        let Some(at) = indexes.iter().position(|index| index.name == name) else { continue };
        let problem = limits::in_step(&reindex::what(&indexes.remove(at)), run, lack);
        if is_wrong(&name) {
            problems.push(problem);
        } else {
            left_out.push(problem.message);
        }
    }
    Ok(())
}

/// Takes out what may be wrong by our words alone, and says so: rebuilt by them, it would be wrong
/// for the application.
fn leave_relative(run: &Run, indexes: &mut Vec<Rebuildable>) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    let mut others = Vec::new();
    for index in std::mem::take(indexes) {
        if run.sql(|c| rebuild::is_relative(c, &index.table, Some(&index.name)))? {
            left_out.push(format!(
                "{} of table {} is ordered by a collation or an expression, of which the application may have its own under \
                 SQLite's name: if its PRAGMA integrity_check finds the index wrong as well, let it run REINDEX {}",
                index.name,
                index.table,
                quoted(&index.name)
            ));
        } else {
            others.push(index);
        }
    }
    *indexes = others;
    Ok(left_out)
}

fn planned(run: &Run, indexes: &[Rebuildable], builds: &Builds, problems: Vec<Error>) -> StepReport {
    if indexes.is_empty() {
        let none = StepReport::skipped(STEP, "no index needed rebuilding");
        return if problems.is_empty() { none } else { StepReport::of_parts(STEP, "", Vec::new(), problems) };
    }
    let known: Vec<f64> = indexes.iter().filter_map(|index| builds.expected(&index.name)).collect();
    let cost = Cost {
        hold_seconds: (known.len() == indexes.len()).then(|| known.into_iter().fold(0.0, f64::max)),
        longest_hold_seconds: run.database.maintain.max_block.as_secs_f64(),
        needed_bytes: None,
    };
    let names: Vec<_> = indexes.iter().map(|index| index.name.as_str()).collect();
    let why = format!("would rebuild {}, one after the other", names.join(", "));
    StepReport { problems, ..StepReport::planned(STEP, why, cost) }
}
