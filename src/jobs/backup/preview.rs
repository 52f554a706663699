//! What rotation would do after one more backup, and why. Makes and removes nothing.

use serde::Serialize;

use super::doubts::Doubts;
use crate::error::{Reason, Result};
use crate::jobs::{Access, Job, Report, Run};
use crate::store::{self, Catalogue, rotation};
use crate::terms::JobKind;
use crate::words;

/// The job.
pub struct Preview;

#[derive(Debug, Serialize)]
struct Forecast {
    dry_run: bool,
    backups: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    rotation: &'static str,
    why: String,
}

impl Job for Preview {
    const KIND: JobKind = JobKind::Backup;
    const ACCESS: Access = Access::Preview;

    fn run(&self, run: &Run) -> Result<Report> {
        let spared = Doubts::recall(run)?.in_words();
        let backups = lines(run, spared.as_deref())?;
        let count = |rotation| backups.iter().filter(|line| line.rotation == rotation).count() as u64;
        let summary = format!(
            "a dry run: nothing was made or removed. A backup now would keep {} and remove {}",
            words::plural(count("keeps it"), "older one", "older ones"),
            count("removes it")
        );
        Ok(Report::new(summary, &Forecast { dry_run: true, backups }))
    }
}

fn lines(run: &Run, spared: Option<&str>) -> Result<Vec<Line>> {
    let (name, backup) = (&run.database.name, &run.database.backup);
    let decisions = match store::open(&backup.dir, name) {
        Ok(store) => {
            Catalogue::new(name, store).plan_after(run.started, backup.compression, &backup.keep, run.zone)?
        }
        // The first backup makes the directory.
        Err(error) if error.reason == Reason::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let line = |(n, decision): (usize, rotation::Decision)| Line {
        rotation: match (n == 0, decision.keep || spared.is_some()) {
            (true, _) => "makes it",
            (false, true) => "keeps it",
            (false, false) => "removes it",
        },
        name: decision.name.split('.').next().unwrap_or_default().to_owned(),
        why: match spared {
            Some(why) if !decision.keep => why.to_owned(),
            _ => decision.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        },
    };
    Ok(decisions.into_iter().enumerate().map(line).collect())
}
