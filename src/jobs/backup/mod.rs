//! Backup: one consistent snapshot while the application writes → compressed, hashed, described,
//! durable → rotation. Must never count a missing, empty or shrunken database as a backup, and
//! never remove the newest good one.

mod contents;
mod copies;
mod doubts;
pub mod preview;
mod report;
pub mod rotate;
mod shrunken;
mod unchanged;

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::reading::shut_out;
use super::{Job, Report, Run, damage};
use crate::config::{Database, Place};
use crate::error::{Class, Error, Reason, Result};
use crate::sqlite::copy::snapshot::{Bounds, Snapshot};
use crate::sqlite::files::facts::Facts;
use crate::sqlite::files::space::no_room;
use crate::sqlite::files::stamp::Stamp;
use crate::state::facts::{BACKED_UP, BackupMark, CONTENT, Content};
use crate::store::codec::Encoding;
use crate::store::{self, BackupOutcome, Catalogue};
use crate::terms::JobKind;
use crate::terms::progress::{Stop, Unit, Watch};
use contents::Contents;
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

/// A state that was read whole.
struct Capture {
    made: BackupOutcome,
    facts: Facts,
    contents: Contents,
    held: Duration,
    /// 0 in WAL mode.
    writers_held_seconds: f64,
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
    let catalogue = open(database, memory.content.as_ref().map(|before| before.place.as_path()))?;

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
        let newest = confirm(run, &catalogue, newest, &doubts)?;
        return Ok(finish(run, &catalogue, &newest, None, doubts));
    }

    let before = memory.content.filter(|_| !accept_smaller);
    let taken = match take(run, &catalogue, before.as_ref(), skip, doubts.damage.as_ref()) {
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
        BackupOutcome::Same(same) => confirm(run, &catalogue, same.clone(), &doubts)?,
    };
    let is_forgotten = doubts.is_forgotten();
    let mut report = finish(run, &catalogue, &newest, Some(&taken), doubts);
    if !is_forgotten {
        let backed_up = BackupMark::new(stamp, stamped, &newest.name);
        report.problems.extend(remember(run, taken.contents.content, backed_up).err());
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

fn remember(run: &Run, now: Content, backed_up: Option<BackupMark>) -> Result<()> {
    run.remember(CONTENT, &Some(now))?;
    run.remember(BACKED_UP, &backed_up)
}

/// The backups of the database, in the place where they were before.
fn open(database: &Database, before: Option<&Path>) -> Result<Catalogue> {
    let dir = &database.backup.dir;
    let was_there = dir.directory().is_some_and(|directory| before == Some(directory));
    catalogue(&database.name, dir, was_there, "backups")
}

/// The catalogue of a place. An empty mount point looks like one where nothing was made yet; the
/// history knows better.
fn catalogue(database: &str, place: &Place, was_there: bool, what: &str) -> Result<Catalogue> {
    if was_there && place.directory().is_some_and(|directory| !directory.join(database).is_dir()) {
        let gone = place.join(database);
        let text = format!(
            "{what} were made in {gone} before, and it is gone; mount its disk, or make the directory to begin anew"
        );
        return Err(Error::new(Reason::Io, text));
    }
    Ok(Catalogue::new(database, store::create(place, database)?))
}

/// A state that is held open while it is backed up: the work may go on while both the run and the
/// state may.
struct CaptureWatch<'s> {
    run: &'s Run,
    snapshot: &'s Snapshot<'s>,
}

impl Watch for CaptureWatch<'_> {
    fn go_on(&self) -> Result<()> {
        self.run.go_on()?;
        self.snapshot.within_bounds()
    }

    fn at(&self, done: u64, total: u64, unit: Unit) {
        self.run.at(done, total, unit);
    }

    fn stop(&self) -> Stop {
        Watch::stop(self.run)
    }
}

/// The snapshot, from the first page to the backup that has its name: on one connection, page by
/// page.
fn take(
    run: &Run,
    catalogue: &Catalogue,
    before: Option<&Content>,
    skip: bool,
    damage: Option<&Damage>,
) -> Result<Capture> {
    let shut_out = |error| shut_out(&run.database, error);
    let bytes = run.sql(|source| Facts::read(source)).map_err(shut_out)?.bytes();
    // Not by `Run::sql`: damage that the catalogue tells of is that of a backup.
    run.lent(&run.call, |source| {
        // Before the database is read: it takes its time.
        catalogue.prepare(run)?;
        let newest = catalogue.latest_of_any_state()?;
        has_room(catalogue, newest.as_ref(), bytes)?;
        let snapshot = Snapshot::begin(source, &run.database.path, Bounds::of(&run.database))?;
        pages(run, catalogue, &snapshot, newest, before, skip, damage)
    })
    .map_err(shut_out)
}

fn pages(
    run: &Run,
    catalogue: &Catalogue,
    snapshot: &Snapshot<'_>,
    newest: Option<store::Backup>,
    before: Option<&Content>,
    skip: bool,
    damage: Option<&Damage>,
) -> Result<Capture> {
    let database = &run.database;
    let mut writers_wait = snapshot.blocks_writers().then(|| run.holds.begin());
    let contents = contents::read(snapshot, database.backup.dir.to_string().into(), run)?;
    let damage = damage.map(|damage| &damage.what).or(contents.met.as_ref().map(|met| &met.message));
    shrunken::compare(&database.name, before, &contents)?;
    let described = contents::described(snapshot, &database.path, &contents, damage.cloned());
    // Outside WAL mode the application waits for the packing, too.
    let low_priority = writers_wait.is_none();
    let encoding = Encoding { low_priority, ..Encoding::from(&database.backup) };
    // One of a database that is in order again is none of one that was damaged.
    let newest = if damage.is_some() { newest } else { catalogue.latest()? };
    let known = newest.filter(|newest| skip && newest.is_packed(encoding.compression));
    // Also while a slow place is waited for, the database is held no longer than it may be.
    let watch = CaptureWatch { run, snapshot };
    let mut held = Duration::ZERO;
    let made = catalogue.add(run.started, encoding, known, &watch, &mut |out| {
        snapshot.pages(
            &mut |bytes| out.write_all(bytes).map_err(|e| Error::io("cannot write the backup", &e)),
            &watch,
        )?;
        held = snapshot.end(damage.is_some())?;
        writers_wait = None;
        Ok(described.clone())
    });
    // Given up for the length of the log, perhaps, which is then the last to be left to the
    // application.
    if made.as_ref().is_err_and(|error| error.reason == Reason::Deadline) && !snapshot.is_over() {
        let _ = snapshot.end(damage.is_some());
    }
    let made = made?;
    let writers_held_seconds = run.holds.take().longest_seconds;
    Ok(Capture { made, facts: snapshot.facts.clone(), contents, held, writers_held_seconds })
}

/// Notes that a backup holds what the database holds now. One that holds what a damaged database
/// holds is none to restore by default: it counts as damaged itself. Not where it was restored and
/// found good: then the same pages are good, and what was met was the disk's.
fn confirm(
    run: &Run,
    catalogue: &Catalogue,
    backup: store::Backup,
    doubts: &Doubts,
) -> Result<store::Backup> {
    match &doubts.damage {
        Some(damage) if backup.is_good() && !backup.is_verified() => {
            catalogue.found_of_damaged_database(&backup, &damage.what, None)
        }
        _ => catalogue.current(&backup, run.started),
    }
}

/// Room for the new backup, judged by the newest one: what it will be is known only when it is
/// made. The first one is tried, and a full disk ends it.
fn has_room(catalogue: &Catalogue, newest: Option<&store::Backup>, bytes: u64) -> Result<()> {
    let (Some(free), Some((newest, manifest))) =
        (catalogue.free_bytes()?, newest.and_then(|b| Some((b, b.manifest.as_ref()?))))
    else {
        return Ok(());
    };
    let share = newest.size as f64 / manifest.raw_bytes.max(1) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate; positive")]
    let needed = (bytes as f64 * share.min(1.0)) as u64;
    if free >= needed {
        return Ok(());
    }
    let mut error = no_room("a new backup", &catalogue.place(), needed, free);
    error.message += ", judged by the newest one";
    Err(error)
}
