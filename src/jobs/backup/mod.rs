//! Backup: one consistent snapshot while the application writes → compressed, hashed, described,
//! durable → rotation. Must never count a missing, empty or shrunken database as a backup, and
//! never remove the newest good one.

mod capture;
mod contents;
mod copies;
mod doubts;
mod place;
pub mod preview;
mod report;
pub mod rotate;
mod shrunken;
mod unchanged;

use std::time::SystemTime;

use super::{Job, Report, Run, damage};
use crate::error::{Class, Result};
use crate::sqlite::files::stamp::Stamp;
use crate::state::facts::{BACKED_UP, BackupMark, CONTENT, Content};
use crate::store::{self, BackupOutcome, Catalogue};
use crate::terms::JobKind;
use capture::Capture;
use doubts::{Damage, Doubts};
use rotate::May;

/// The backup job.
pub struct Backup {
    /// Make a backup also of a database that is much smaller than it was.
    pub accept_smaller: bool,
}

/// What earlier runs remembered.
#[derive(Default)]
struct Memory {
    content: Option<Content>,
    backed_up: Option<BackupMark>,
    doubts: Doubts,
}

impl Job for Backup {
    const KIND: JobKind = JobKind::Backup;

    fn run(&self, run: &Run) -> Result<Report> {
        back_up(run, self.accept_smaller)
    }
}

fn back_up(run: &Run, accept_smaller: bool) -> Result<Report> {
    let database = &run.database;
    let memory = match recall(run) {
        Ok(memory) => memory,
        // Without our memory there is still a backup to be made, which must not push better ones
        // out.
        Err(error) => Memory { doubts: Doubts::forgotten(error), ..Memory::default() },
    };
    let mut doubts = memory.doubts;
    let catalogue = place::open(database, memory.content.as_ref().map(|before| before.place.as_path()))?;

    // Before the database is read: what is committed meanwhile is the next run's.
    let (stamp, stamped) = (Stamp::of(&database.path), SystemTime::now());
    let skip = database.backup.skip_unchanged && !accept_smaller;
    let current = unchanged::still_current(
        &catalogue,
        memory.backed_up.as_ref().filter(|_| skip),
        &stamp,
        database.backup.compression,
        doubts.damage.is_some(),
    )?;
    if let Some(newest) = current {
        let newest = confirm(run, &catalogue, &newest, &doubts)?;
        return Ok(finish(run, &catalogue, &newest, None, doubts));
    }

    let before = memory.content.filter(|_| !accept_smaller);
    let taken = match capture::take(run, &catalogue, before.as_ref(), skip, doubts.damage.as_ref()) {
        Ok(taken) => taken,
        Err(error) => {
            // What copies still lack is worth the more now.
            if error.class() != Class::Cancelled {
                copies::copy(run, &catalogue, May::DamagedCopies);
            }
            return Err(error);
        }
    };
    if let Some(met) = &taken.contents.met {
        doubts.damage = Some(Damage::new(met.message.clone(), &damage::met(run, met)));
    }
    let newest = match &taken.made {
        BackupOutcome::Made(made) => made.backup.clone(),
        BackupOutcome::Same(same) => confirm(run, &catalogue, same, &doubts)?,
    };
    let is_forgotten = doubts.is_forgotten();
    let mut report = finish(run, &catalogue, &newest, Some(&taken), doubts);
    if !is_forgotten {
        let backed_up = BackupMark::new(stamp, stamped, &newest.name);
        let kept = run
            .remember(CONTENT, &Some(taken.contents.content))
            .and_then(|()| run.remember(BACKED_UP, &backed_up));
        report.problems.extend(kept.err());
    }
    Ok(report)
}

/// What follows when the newest backup holds what the database holds.
fn finish(
    run: &Run,
    catalogue: &Catalogue,
    newest: &store::Backup,
    taken: Option<&Capture>,
    doubts: Doubts,
) -> Report {
    let spared = doubts.in_words();
    let rotated = doubts.rotate(run, catalogue);
    let copied = copies::copy(run, catalogue, doubts.may());
    let mut report = report::report(run.started, newest, taken, rotated, copied, spared);
    report.problems.extend(doubts.damage.map(|damage| damage.problem));
    report
}

fn recall(run: &Run) -> Result<Memory> {
    let (content, backed_up) = (run.recall(CONTENT)?, run.recall(BACKED_UP)?);
    Ok(Memory { content, backed_up, doubts: Doubts::recall(run)? })
}

/// Notes that a backup holds what the database holds now. One that holds what a damaged database
/// holds is none to restore by default: it counts as damaged itself. Not where it was restored and
/// found good: then the same pages are good, and what was met was the disk's.
fn confirm(
    run: &Run,
    catalogue: &Catalogue,
    backup: &store::Backup,
    doubts: &Doubts,
) -> Result<store::Backup> {
    match &doubts.damage {
        Some(damage) if backup.is_good() && !backup.is_verified() => {
            catalogue.found_of_damaged_database(backup, &damage.what, None)
        }
        _ => catalogue.current(backup, run.started),
    }
}
