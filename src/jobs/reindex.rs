//! Rebuilds indexes one at a time, each in a transaction of its own, for no longer than the
//! application's writers may be held up (HAZARDS H9); and checks those that were wrong. Must never
//! say of one that it is right without a check.

use super::Run;
use super::builds::{Builds, Why};
use super::limits::part;
use super::reading::Reader;
use crate::error::{Error, Reason, Result};
use crate::sqlite::checks::Depth;
use crate::sqlite::upkeep::rebuild::{self, Rebuildable};
use crate::state::facts::DAMAGED_INDEXES;
use crate::terms::progress::Unit;

/// What became of the indexes.
#[derive(Debug, Default)]
pub struct ReindexReport {
    /// Those that were built anew.
    pub built: Vec<String>,
    /// Of these, those that were wrong, and are right by a check.
    pub right: Vec<String>,
    /// Those that only the application can build, where nothing is known to be wrong with them:
    /// why.
    pub left_out: Vec<String>,
    /// What went wrong.
    pub problems: Vec<Error>,
}

/// Rebuilds these indexes, of which those are `wrong` that a check found so. One for which the
/// application leaves no pause ends those that can wait.
pub fn rebuild(
    run: &Run,
    builds: &mut Builds,
    indexes: &[Rebuildable],
    wrong: impl Fn(&str) -> bool,
) -> Result<ReindexReport> {
    let mut rebuilt = ReindexReport::default();
    let mut has_given_up = false;
    for (done, index) in indexes.iter().enumerate() {
        run.at(done as u64, indexes.len() as u64, Unit::Steps);
        let is_wrong = wrong(&index.name);
        // What found no pause is not waited for with each of the others.
        if has_given_up && !is_wrong {
            continue;
        }
        let why = if is_wrong { Why::Damage } else { Why::Policy };
        let again = |t: &rusqlite::Transaction<'_>| rebuild::rebuild(t, &index.name);
        match builds.attempt(run, &index.name, &what(index), why, again)? {
            Ok(()) => rebuilt.built.push(index.name.clone()),
            // Not worth a failure each night: nothing is wrong with it.
            Err(problem) if problem.reason == Reason::Unsupported && !is_wrong => {
                rebuilt.left_out.push(problem.message);
            }
            Err(problem) => {
                has_given_up |= problem.reason == Reason::NoPause;
                rebuilt.problems.push(problem);
            }
        }
    }
    let reader = Reader::new(run)?;
    // Only now: a check tells of every index of the table, also of one that had yet to be rebuilt.
    for index in indexes.iter().filter(|index| wrong(&index.name) && rebuilt.built.contains(&index.name)) {
        let checked = reader.inspect(|_, inspector, watch| {
            rebuild::judge(index, &inspector.integrity(Depth::Full, Some(&index.table), watch)?)
        });
        match part(run, &format!("checking {}", index.name), checked)? {
            Ok(()) => rebuilt.right.push(index.name.clone()),
            Err(problem) => rebuilt.problems.push(problem),
        }
    }
    Ok(rebuilt)
}

/// Nobody need rebuild these again. A check may have found others meanwhile.
pub fn forget(run: &Run, right: &[String]) -> Result<()> {
    if right.is_empty() {
        return Ok(());
    }
    run.update(DAMAGED_INDEXES, |wrong| wrong.retain(|index| !right.contains(index)))
}

/// `REINDEX idx of table t`.
pub fn what(index: &Rebuildable) -> String {
    format!("REINDEX {} of table {}", index.name, index.table)
}
