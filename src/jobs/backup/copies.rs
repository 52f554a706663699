//! The other places of the backups: what each of them lacks is brought there, and its own policy applied. One that fails
//! spoils neither the backup that was made nor the other places.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use serde::Serialize;

use super::rotate::{self, May, Rotated};
use crate::config::{self, BackupCopy, Database};
use crate::error::{Error, Reason, Result};
use crate::jobs::{Context, Progress, Unit, in_background};
use crate::metrics::events::BackupCopyFailed;
use crate::state::facts;
use crate::store::Catalogue;

/// What became of the copies.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// What was brought where.
    pub(super) places: Vec<Place>,
    /// What went wrong: parts of the run that failed.
    pub(super) problems: Vec<Error>,
}

/// What was done in one place.
#[derive(Debug, Default, Serialize)]
pub(super) struct Place {
    /// The copy's name.
    pub(super) copy: String,
    /// Backups that were brought there, the newest first.
    pub(super) brought: Vec<String>,
    /// Backups that its rotation removed.
    pub(super) removed: Vec<String>,
}

/// Brings every copy up to date with `primary`, and removes there what `may` go.
pub(super) async fn copy(context: &Context, primary: &Catalogue, may: May) -> Copied {
    let mut copied = Copied::default();
    for copy in &context.database.backup.copies {
        let mut place = Place { copy: copy.name.clone(), ..Place::default() };
        let problems = match one(context, primary, copy, may).await {
            Ok((brought, rotated)) => {
                (place.brought, place.removed) = (brought, rotated.removed);
                rotated.problems
            }
            Err(error) => vec![error],
        };
        if !problems.is_empty() {
            BackupCopyFailed { database: &context.database.name, copy: &copy.name }.emit();
        }
        let what = format!("copy {}", copy.name);
        copied.problems.extend(problems.into_iter().map(|error| error.context(&what)));
        copied.places.push(place);
    }
    copied
}

async fn one(
    context: &Context,
    primary: &Catalogue,
    copy: &BackupCopy,
    may: May,
) -> Result<(Vec<String>, Rotated)> {
    let name = context.database.name.clone();
    let known: Result<Option<(BTreeMap<String, String>, _)>> =
        context.state.with(move |c| facts::recall(c, &name, facts::COPIES)).await;
    // Without our memory a copy is made all the same.
    let mut places = known.ok().flatten().map(|(places, _)| places).unwrap_or_default();
    let was_there = places.get(&copy.name) == Some(&copy.dir.to_string());

    let (database, to, primary) = (Arc::clone(&context.database), copy.clone(), primary.clone());
    let (call, progress, zone) = (context.call.clone(), context.progress.clone(), context.zone);
    let done = in_background(move || {
        let there = super::catalogue(&database.name, &to.dir, was_there, "copies")?;
        if let (Some(one), Some(other)) = (inode(&database, &database.backup.dir), inode(&database, &to.dir))
            && one == other
        {
            let text = format!("{} is the directory of the backups themselves under another name", to.dir);
            return Err(Error::new(Reason::Refused, text));
        }
        there.prepare(&|| call.check())?;
        let missing = there.missing_from(&primary, &to.keep, zone)?;
        let total = missing.iter().map(|backup| backup.size).sum();
        let (mut before, mut brought) = (0, Vec::new());
        for backup in missing {
            there.bring(&primary, &backup, &mut |done| {
                progress.send_replace(Some(Progress { done: before + done, total, unit: Unit::Bytes }));
                call.check()
            })?;
            before += backup.size;
            brought.push(backup.name);
        }
        there.note_what_is_current(&primary)?;
        Ok((brought, rotate::sweep(&there, &to.keep, zone, &database.name, may)?))
    })
    .await?;

    if !was_there {
        places.insert(copy.name.clone(), copy.dir.to_string());
        let name = context.database.name.clone();
        // Told at the next run, if it matters then.
        let _ = context.state.with(move |c| facts::remember(c, &name, facts::COPIES, &places)).await;
    }
    Ok(done)
}

/// Which directory the backups of a database are in, whatever it is called.
fn inode(database: &Database, place: &config::Place) -> Option<(u64, u64)> {
    let stat = std::fs::metadata(place.directory()?.join(&database.name)).ok()?;
    Some((stat.dev(), stat.ino()))
}
