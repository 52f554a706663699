//! Backup: one consistent snapshot while the application writes → compressed, hashed, described, durable → rotation.
//! Must never count a missing, empty or shrunken database as a backup, and never remove the newest good one.

mod contents;
mod copies;
mod doubts;
pub mod preview;
pub mod rotate;
mod shrunken;
mod unchanged;

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::reading::shut_out;
use super::{Context, Job, Progress, Report, Running, Unit, blocking, damage};
use crate::config::Place;
use crate::error::{Class, Error, Reason, Result};
use crate::sqlite::copy::snapshot::{Bounds, Snapshot};
use crate::sqlite::files::facts::Facts;
use crate::sqlite::files::stamp::Stamp;
use crate::state::facts::{self, Content};
use crate::store::codec::Encoding;
use crate::store::{self, Catalogue};
use crate::terms::JobKind;
use crate::words;
use contents::Contents;
use doubts::{Damage, Doubts};
use rotate::{May, Rotated};
use unchanged::Seen;

/// The backup job.
pub struct Backup {
    /// Make a backup also of a database that is much smaller than it was.
    pub accept_smaller: bool,
}

/// What a run did.
#[derive(Debug, Serialize)]
struct Done {
    name: String,
    /// No file was made: the newest backup, `name`, holds what the database holds.
    unchanged: bool,
    /// As of when `name` is known to hold what the database holds.
    current: DateTime<Utc>,
    raw_bytes: u64,
    stored_bytes: u64,
    pages: u64,
    read_transaction_seconds: f64,
    /// How long the application's writers had to wait for the read transaction; 0 in WAL mode.
    writers_held_seconds: f64,
    /// How long it took to read the new file back from where it lies.
    read_back_seconds: f64,
    removed: Vec<String>,
    /// Why no good one was to be removed.
    spared: Option<String>,
    /// Copies of the damaged database that are kept.
    #[serde(skip_serializing_if = "is_none")]
    damaged_copies: usize,
    copies: Vec<copies::Place>,
}

/// What earlier runs remembered.
#[derive(Default)]
struct Memory {
    content: Option<Content>,
    seen: Option<Seen>,
    doubts: Doubts,
}

/// A state that was read whole.
struct Taken {
    /// Or the newest backup, where what it holds is in that already.
    made: std::result::Result<store::Made, store::Backup>,
    facts: Facts,
    contents: Contents,
    held: Duration,
    /// 0 in WAL mode.
    writers_held_seconds: f64,
}

impl Job for Backup {
    fn kind(&self) -> JobKind {
        JobKind::Backup
    }

    fn run<'a>(&'a self, context: &'a Context) -> Running<'a> {
        Box::pin(run(context, self.accept_smaller))
    }
}

async fn run(context: &Context, accept_smaller: bool) -> Result<Report> {
    let database = Arc::clone(&context.database);
    let memory = match recall(context).await {
        Ok(memory) => memory,
        // Without our memory there is still a backup to be made, which must not push better ones out.
        Err(error) => Memory { doubts: Doubts::forgotten(error), ..Memory::default() },
    };
    let mut doubts = memory.doubts;
    let place = memory.content.as_ref().map(|before| before.place.clone());
    let catalogue = open(context, place).await?;

    // Before the database is read: what is committed meanwhile is the next run's.
    let (stamp, stamped) = (Stamp::of(&database.path), SystemTime::now());
    let skip = database.backup.skip_unchanged && !accept_smaller;
    let current = {
        let (catalogue, stamp, seen) = (catalogue.clone(), stamp.clone(), memory.seen.filter(|_| skip));
        let (compression, is_damaged) = (database.backup.compression, doubts.damage.is_some());
        let look =
            move || unchanged::still_current(&catalogue, seen.as_ref(), &stamp, compression, is_damaged);
        blocking(look).await?
    };
    if let Some(newest) = current {
        let newest = confirm(context, &catalogue, newest, &doubts).await?;
        return Ok(finish(context, &catalogue, &newest, None, doubts).await);
    }

    let before = memory.content.filter(|_| !accept_smaller);
    let taken = match take(context, catalogue.clone(), before, skip, doubts.damage.as_ref()).await {
        Ok(taken) => taken,
        Err(error) => {
            // What copies still lack is worth the more now.
            if error.class() != Class::Cancelled {
                copies::copy(context, &catalogue, May::DamagedCopies).await;
            }
            return Err(error);
        }
    };
    if let Some(met) = &taken.contents.met {
        doubts.damage = Some(Damage::new(met.message.clone(), &damage::met(context, met).await));
    }
    let newest = match &taken.made {
        Ok(made) => made.backup.clone(),
        Err(same) => confirm(context, &catalogue, same.clone(), &doubts).await?,
    };
    let is_forgotten = doubts.is_forgotten();
    let mut report = finish(context, &catalogue, &newest, Some(&taken), doubts).await;
    if !is_forgotten {
        let seen = Seen::new(stamp, stamped, &newest.name);
        report.problems.extend(remember(context, taken.contents.content, seen).await.err());
    }
    Ok(report)
}

/// What follows when the newest backup holds what the database holds.
async fn finish(
    context: &Context,
    catalogue: &Catalogue,
    newest: &store::Backup,
    taken: Option<&Taken>,
    doubts: Doubts,
) -> Report {
    let spared = doubts.in_words();
    let rotated = doubts.rotate(context, catalogue).await;
    let copied = copies::copy(context, catalogue, doubts.may()).await;
    let mut report = report(context.started, newest, taken, rotated, copied, spared);
    report.problems.extend(doubts.damage.map(|damage| damage.problem));
    report
}

async fn recall(context: &Context) -> Result<Memory> {
    let name = context.database.name.clone();
    let recalled = context.state.with(move |state| {
        let before = facts::recall(state, &name, facts::CONTENT)?.map(|(before, _)| before);
        let seen = facts::recall(state, &name, unchanged::SEEN)?.map(|(seen, _)| seen);
        Ok(Memory { content: before, seen, doubts: Doubts::default() })
    });
    Ok(Memory { doubts: Doubts::recall(context).await?, ..recalled.await? })
}

async fn remember(context: &Context, now: Content, seen: Option<Seen>) -> Result<()> {
    let name = context.database.name.clone();
    let remembered = context.state.with(move |state| {
        facts::remember(state, &name, facts::CONTENT, &now)?;
        facts::remember(state, &name, unchanged::SEEN, &seen)
    });
    remembered.await
}

/// The backups of the database, in the place where they were before.
async fn open(context: &Context, before: Option<PathBuf>) -> Result<Catalogue> {
    let database = Arc::clone(&context.database);
    blocking(move || {
        let dir = &database.backup.dir;
        let was_there = dir.directory().is_some_and(|directory| before.as_deref() == Some(directory));
        catalogue(&database.name, dir, was_there, "backups")
    })
    .await
}

/// The catalogue of a place. An empty mount point looks like one where nothing was made yet; the history knows better.
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

/// The snapshot, from the first page to the backup that has its name: on one connection and its thread, page by page.
async fn take(
    context: &Context,
    catalogue: Catalogue,
    before: Option<Content>,
    skip: bool,
    damage: Option<&Damage>,
) -> Result<Taken> {
    let damage = damage.map(|damage| damage.what.clone());
    let database = Arc::clone(&context.database);
    let (call, progress, started) = (context.call.clone(), context.progress.clone(), context.started);
    let holds = Arc::clone(&context.holds);
    let bytes = match context.sql(|source| Facts::read(source)).await {
        Err(error) => return Err(shut_out(&context.database, error).await),
        Ok(facts) => facts.bytes(),
    };
    // Not by `Context::sql`: damage that the catalogue tells of is that of a backup.
    let taken = context
        .pool
        .run(&context.call, move |source| {
            // Before the database is read: it takes its time.
            catalogue.prepare(&|| call.check())?;
            let newest = catalogue.latest_of_any_state()?;
            has_room(&catalogue, newest.as_ref(), bytes)?;
            let bounds = Bounds {
                longest_block: database.maintain.max_block,
                longest_read: database.backup.max_snapshot,
                most_wal_growth: database.maintain.max_wal,
            };
            let snapshot = Snapshot::begin(source, &database.path, bounds)?;
            let mut writers_wait = snapshot.blocks_writers().then(|| holds.begin());
            let place = database.backup.dir.to_string().into();
            let contents = contents::read(&snapshot, place, &|| call.check())?;
            let damage = damage.or_else(|| contents.met.as_ref().map(|met| met.message.clone()));
            shrunken::compare(&database.name, before.as_ref(), &contents)?;
            let described = contents::described(&snapshot, &database.path, &contents, damage.clone());
            let facts = snapshot.facts.clone();

            let total = facts.bytes();
            let (snapshot, mut held) = (RefCell::new(Some(snapshot)), Duration::ZERO);
            // Also while a slow place is waited for, the database is held no longer than it may be.
            let go_on = || {
                call.check()?;
                snapshot.borrow().as_ref().map_or(Ok(()), Snapshot::within_bounds)
            };
            // Outside WAL mode the application waits for the packing, too.
            let low_priority = writers_wait.is_none();
            let encoding = Encoding { low_priority, ..Encoding::from(&database.backup) };
            // One of a database that is in order again is none of one that was damaged.
            let newest = if damage.is_some() { newest } else { catalogue.latest()? };
            let known = newest.filter(|newest| skip && newest.is_packed(encoding.compression));
            let made = catalogue.add(started, encoding, known.as_ref(), &go_on, &mut |out| {
                let once = || Error::new(Reason::Io, "a snapshot can be written only once");
                snapshot.borrow().as_ref().ok_or_else(once)?.pages(
                    &mut |bytes| out.write_all(bytes).map_err(|e| Error::io("cannot write the backup", &e)),
                    &go_on,
                    &mut |done| {
                        progress.send_replace(Some(Progress { done, total, unit: Unit::Bytes }));
                    },
                )?;
                held = snapshot.take().ok_or_else(once)?.end(damage.is_some())?;
                writers_wait = None;
                Ok(described.clone())
            });
            // Given up for the length of the log, perhaps, which is then the last to be left to the application.
            if let (Err(Error { reason: Reason::Deadline, .. }), Some(given_up)) = (&made, snapshot.take()) {
                let _ = given_up.end(damage.is_some());
            }
            let once = || Error::new(Reason::Io, "no backup was made of what none holds");
            let made = match made? {
                Some(made) => Ok(made),
                None => Err(known.ok_or_else(once)?),
            };
            Ok(Taken { made, facts, contents, held, writers_held_seconds: holds.take().longest_seconds })
        })
        .await;
    match taken {
        Err(error) => Err(shut_out(&context.database, error).await),
        taken => taken,
    }
}

/// Notes that a backup holds what the database holds now. One that holds what a damaged database holds is none to
/// restore by default: it counts as damaged itself. Not where it was restored and found good: then the same pages are
/// good, and what was met was the disk's.
async fn confirm(
    context: &Context,
    catalogue: &Catalogue,
    backup: store::Backup,
    doubts: &Doubts,
) -> Result<store::Backup> {
    let (catalogue, damage, until) = (catalogue.clone(), doubts.damage.clone(), context.started);
    blocking(move || match damage {
        Some(damage) if backup.is_good() && !backup.is_verified() => {
            catalogue.found_of_damaged_database(&backup, &damage.what, None)
        }
        _ => catalogue.current(&backup, until),
    })
    .await
}

fn report(
    started: DateTime<Utc>,
    newest: &store::Backup,
    taken: Option<&Taken>,
    rotated: Result<Rotated>,
    copied: copies::Copied,
    spared: Option<String>,
) -> Report {
    let manifest = newest.manifest.as_ref();
    let unchanged = taken.is_none_or(|taken| taken.made.is_err());
    let done = Done {
        name: newest.name.clone(),
        unchanged,
        current: started,
        raw_bytes: manifest.map_or(0, |m| m.raw_bytes),
        stored_bytes: newest.size,
        pages: taken.map_or_else(|| manifest.map_or(0, |m| m.page_count), |taken| taken.facts.pages),
        read_transaction_seconds: taken.map_or(0.0, |taken| taken.held.as_secs_f64()),
        writers_held_seconds: taken.map_or(0.0, |taken| taken.writers_held_seconds),
        read_back_seconds: taken
            .and_then(|t| t.made.as_ref().ok())
            .map_or(0.0, |made| made.read_back.as_secs_f64()),
        removed: rotated.as_ref().map(|r| r.removed.clone()).unwrap_or_default(),
        spared,
        damaged_copies: rotated.as_ref().map_or(0, |r| r.damaged_copies),
        copies: copied.places,
    };
    let mut report = Report::new(summary(&done, newest), &done);
    match rotated {
        Ok(rotation) => report.problems.extend(rotation.problems),
        // The backup is made and counts; only the old ones stay longer than they should.
        Err(error) => report.problems.push(error.context("old backups were not removed")),
    }
    report.problems.extend(copied.problems);
    report
}

fn summary(done: &Done, newest: &store::Backup) -> String {
    let what = if done.unchanged {
        unchanged::summary(newest, done.current)
    } else {
        format!(
            "{}: {}, stored as {}",
            done.name,
            words::bytes(done.raw_bytes),
            words::bytes(done.stored_bytes)
        )
    };
    let held = if done.writers_held_seconds > 0.0 {
        let held = words::duration(done.writers_held_seconds);
        format!("; writers had to wait for {held}, as the database is not in WAL mode")
    } else {
        String::new()
    };
    let removed = match (done.removed.len(), &done.spared) {
        (_, Some(why)) => format!("; removed no good one, because {why}{}", damaged_copies(done)),
        (0, None) => String::new(),
        (1, None) => String::from("; removed 1 old one"),
        (n, None) => format!("; removed {n} old ones"),
    };
    let brought = done.copies.iter().filter(|place| !place.brought.is_empty());
    let brought: Vec<&str> = brought.map(|place| place.copy.as_str()).collect();
    let copied =
        if brought.is_empty() { String::new() } else { format!("; copied to {}", brought.join(", ")) };
    format!("{what}{held}{removed}{copied}")
}

/// So that nobody has to count them, nor fears for the disk.
fn damaged_copies(done: &Done) -> String {
    if done.damaged_copies == 0 {
        return String::new();
    }
    let kept = words::plural(done.damaged_copies as u64, "damaged copy is", "damaged copies are");
    let removed = match done.removed.len() {
        0 => String::new(),
        n => format!(", {n} older removed"),
    };
    format!("; {kept} kept{removed}")
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_none(count: &usize) -> bool {
    *count == 0
}

/// Room for the new backup, judged by the newest one: what it will be is known only when it is made. The first one
/// is tried, and a full disk ends it.
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
    Err(Error::new(
        Reason::NoSpace,
        format!(
            "{} has {} free; a backup of {} needs about {} there, as the newest one does",
            catalogue.place(),
            words::bytes(free),
            words::bytes(bytes),
            words::bytes(needed)
        ),
    ))
}
