//! Damage in indexes alone: they are rebuilt in place, and checked again.

use std::collections::BTreeSet;

use super::report::RecoveryDetail;
use crate::error::{Error, Reason, Result};
use crate::jobs::builds::Builds;
use crate::jobs::{Report, Run, reindex};
use crate::sqlite::upkeep::rebuild::{self, Rebuildable};

pub(super) fn run(run: &Run, wrong: &BTreeSet<String>) -> Result<Report> {
    let all = run.sql(|connection| rebuild::rebuildable(connection))?;
    let indexes: Vec<Rebuildable> = all
        .into_iter()
        .filter(|index| wrong.iter().any(|name| name.eq_ignore_ascii_case(&index.name)))
        .collect();
    let mut builds = Builds::recall(run)?;
    let mut done = reindex::rebuild(run, &mut builds, &indexes, |_| true)?;
    reindex::forget(run, &done.right)?;
    for name in wrong.iter().filter(|name| !indexes.iter().any(|index| index.name.eq_ignore_ascii_case(name)))
    {
        let text = format!(
            "index {name} cannot be rebuilt: it is a table's own, or is gone; use --always to make a new file"
        );
        done.problems.push(Error::new(Reason::Damaged, text));
    }
    Ok(RecoveryDetail::reindexed(done.right, done.problems))
}
