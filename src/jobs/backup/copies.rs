//! The other places of the backups: what each of them lacks is brought there, and its own policy
//! applied. One that fails spoils neither the backup that was made nor the other places.

use std::os::unix::fs::MetadataExt as _;

use serde::Serialize;

use super::place;
use super::rotate::{self, May, RotationReport};
use crate::config::{self, BackupCopy, Database};
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::metrics::events::BackupCopyFailed;
use crate::state::facts::COPIES;
use crate::store::Catalogue;
use crate::terms::progress::Part;

/// What became of the copies.
#[derive(Debug, Default)]
pub(super) struct CopyReport {
    /// What was brought where.
    pub(super) places: Vec<CopiedPlace>,
    /// What went wrong: parts of the run that failed.
    pub(super) problems: Vec<Error>,
}

/// What was done in one place.
#[derive(Debug, Default, Serialize)]
pub(super) struct CopiedPlace {
    /// The copy's name.
    pub(super) copy: String,
    /// Backups that were brought there, the newest first.
    pub(super) brought: Vec<String>,
    /// Backups that its rotation removed.
    pub(super) removed: Vec<String>,
}

/// Brings every copy up to date with `primary`, and removes there what `may` go.
pub(super) fn copy(run: &Run, primary: &Catalogue, may: May) -> CopyReport {
    let mut copied = CopyReport::default();
    for copy in &run.database.backup.copies {
        let mut place = CopiedPlace { copy: copy.name.clone(), ..CopiedPlace::default() };
        let problems = match one(run, primary, copy, may) {
            Ok((brought, rotated)) => {
                (place.brought, place.removed) = (brought, rotated.removed);
                rotated.problems
            }
            Err(error) => vec![error],
        };
        if !problems.is_empty() {
            BackupCopyFailed { database: &run.database.name, copy: &copy.name }.emit();
        }
        let what = format!("copy {}", copy.name);
        copied.problems.extend(problems.into_iter().map(|error| error.context(&what)));
        copied.places.push(place);
    }
    copied
}

fn one(run: &Run, primary: &Catalogue, copy: &BackupCopy, may: May) -> Result<(Vec<String>, RotationReport)> {
    // Without our memory a copy is made all the same.
    let places = run.recall(COPIES).unwrap_or_default();
    let was_there = places.get(&copy.name) == Some(&copy.dir.to_string());
    let done = run.in_background(|| bring(run, primary, copy, was_there, may))?;
    if !was_there {
        // Told at the next run, if it matters then.
        let _ = run.update(COPIES, |places| places.insert(copy.name.clone(), copy.dir.to_string()));
    }
    Ok(done)
}

fn bring(
    run: &Run,
    primary: &Catalogue,
    copy: &BackupCopy,
    was_there: bool,
    may: May,
) -> Result<(Vec<String>, RotationReport)> {
    let database = &run.database;
    let there = place::catalogue(&database.name, &copy.dir, was_there, "copies")?;
    if let (Some(one), Some(other)) = (inode(database, &database.backup.dir), inode(database, &copy.dir))
        && one == other
    {
        let text = format!("{} is the directory of the backups themselves under another name", copy.dir);
        return Err(Error::new(Reason::Refused, text));
    }
    there.prepare(run)?;
    let missing = there.missing_from(primary, &copy.keep, run.zone)?;
    let total = missing.iter().map(|backup| backup.size).sum();
    let (mut before, mut brought) = (0, Vec::new());
    for backup in missing {
        there.bring(primary, &backup, &Part { whole: run, before, total })?;
        before += backup.size;
        brought.push(backup.name);
    }
    there.note_what_is_current(primary)?;
    Ok((brought, rotate::sweep(&there, &copy.keep, run.zone, &database.name, may)?))
}

/// Which directory the backups of a database are in, whatever it is called.
fn inode(database: &Database, place: &config::Place) -> Option<(u64, u64)> {
    let stat = std::fs::metadata(place.directory()?.join(&database.name)).ok()?;
    Some((stat.dev(), stat.ino()))
}
