//! Verify: the newest backup is really restored, into scratch space, and checked with SQLite's own
//! means; the result is written into its manifest. Must never call a backup damaged that cannot be
//! checked, nor one good.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Access, Job, Report, Run, damage};
use crate::config::{Database, Place, SCRATCH};
use crate::error::{Error, Reason, Result};
use crate::sqlite::checks::{self, Depth, Found};
use crate::sqlite::files::space::{self, Need};
use crate::sqlite::inspector::Inspector;
use crate::store::codec::hash;
use crate::store::scratch::Scratch;
use crate::store::{self, Backup, Catalogue, Manifest, State, Verification, restore};
use crate::terms::JobKind;
use crate::terms::progress::Watch;
use crate::{clock, words};

/// The verify job.
pub struct Verify {
    /// Which backup; `None` is the newest good one.
    pub backup: Option<String>,
    /// Out of which copy; `None` is `backup.dir`.
    pub from: Option<String>,
}

/// What a run did.
#[derive(Debug, Serialize)]
struct BackupVerdict {
    name: String,
    ok: Option<bool>,
    raw_bytes: u64,
    seconds: f64,
    message: String,
    /// What only the application can check, and why.
    #[serde(skip)]
    unchecked: Vec<String>,
    /// The damage that the database had when the backup was made.
    #[serde(skip)]
    of_database: Option<Error>,
    /// Why the manifest does not say so.
    #[serde(skip)]
    unnoted: Option<Error>,
}

/// What there was to verify.
enum Looked {
    /// What came of it, and what is wrong with those that are newer.
    Verdict(BackupVerdict, Vec<Error>),
    /// Nothing, in words.
    NoneYet(Error),
}

impl Job for Verify {
    const KIND: JobKind = JobKind::Verify;
    /// It reads backups only; rotation stays away from the one that it holds.
    const ACCESS: Access = Access::Shared;

    fn run(&self, run: &Run) -> Result<Report> {
        let (done, damaged) = match run.in_background(|| self.verified(run))? {
            Looked::Verdict(done, damaged) => (done, damaged),
            // It came due before the first backup did: the one that is missed is that.
            Looked::NoneYet(why) if self.backup.is_none() && self.from.is_none() => {
                return Ok(Report::skipped(why));
            }
            Looked::NoneYet(why) => return Err(why),
        };
        let text = format!("{}: {}", done.name, done.message);
        let mut report = Report::new(text.clone(), &done);
        report.problems = damaged;
        report.problems.extend(done.unnoted);
        match (done.ok, done.of_database.filter(|_| self.backup.is_none())) {
            (Some(true), _) => {}
            (Some(false), Some(damage)) => {
                let damage = damage.context(&done.name);
                report.problems.push(damage::copied(run, &damage));
            }
            (Some(false), None) => report.problems.push(Error::new(Reason::Damaged, text)),
            // The same each day, whichever backup it is.
            (None, _) => report.left_out = done.unchecked,
        }
        Ok(report)
    }
}

impl Verify {
    fn verified(&self, run: &Run) -> Result<Looked> {
        let database = &run.database;
        let Some((place, _)) = database.place(self.from.as_deref()) else {
            let text = format!("{} has no copy {}", database.name, self.from.as_deref().unwrap_or_default());
            return Err(Error::new(Reason::NotFound, text));
        };
        let none_yet = || Ok(Looked::NoneYet(none_yet(&database.name, &place.join(&database.name))));
        let store = match store::open(place, &database.name) {
            Err(error) if error.reason == Reason::NotFound => return none_yet(),
            store => store?,
        };
        let catalogue = Catalogue::new(&database.name, store);
        let backup = match catalogue.find(self.backup.as_deref().unwrap_or("latest")) {
            Ok(backup) => backup,
            Err(error) => {
                let all = catalogue.list()?;
                if all.is_empty() {
                    return none_yet();
                }
                // Where none is good, one that is damaged says more than that there is none.
                return Err(all.iter().find_map(damaged).unwrap_or(error));
            }
        };
        let done = verify(&catalogue, &backup, &scratch_places(database, place), run)?;
        let newer =
            catalogue.list()?.into_iter().filter(|other| self.backup.is_none() && other.time > backup.time);
        let (copies, others): (Vec<_>, Vec<_>) = newer.partition(Backup::is_of_damaged_database);
        let damaged = others.iter().filter_map(damaged).chain(of_damaged_database(&copies)).collect();
        Ok(Looked::Verdict(done, damaged))
    }
}

/// A backup that is seen to be damaged without being read is not the newest good one, so it is not
/// verified: it must not go unnoticed for that.
fn damaged(backup: &Backup) -> Option<Error> {
    matches!(backup.state, State::Damaged(_))
        .then(|| Error::new(Reason::Damaged, format!("{} is {}", backup.name, backup.state)))
}

/// Of one cause, one word, however many there are.
fn of_damaged_database(copies: &[Backup]) -> Option<Error> {
    let newest = damaged(copies.first()?)?;
    let Some(older) = copies.len().checked_sub(1).filter(|older| *older > 0) else { return Some(newest) };
    let older = words::plural(older as u64, "older one", "older ones");
    Some(Error::new(Reason::Damaged, format!("{}; so are {older}", newest.message)))
}

/// Before the first backup, or where somebody removed all of them.
fn none_yet(database: &str, place: &str) -> Error {
    let text = format!(
        "there is no backup of {database} in {place} yet, so there is none to verify; litekeeper backup {database} \
         makes one now"
    );
    Error::new(Reason::NotFound, text)
}

/// Where a backup is unpacked: in the first of these that can be written.
fn scratch_places(database: &Database, place: &Place) -> Vec<PathBuf> {
    let mut places = vec![database.scratch_dir(place)];
    // Chosen by nobody, and backups that lie on a medium that is read-only are verified all the same.
    if database.verify.scratch_dir.is_none() && place.directory().is_some() {
        places.push(PathBuf::from(SCRATCH));
    }
    places
}

/// A scratch file with room for so many bytes, and where it is.
fn scratch<'p>(places: &'p [PathBuf], bytes: u64) -> Result<(Scratch, &'p Path)> {
    let mut refused = None;
    for directory in places {
        match Scratch::create(directory, "verify") {
            Ok(scratch) => {
                space::check(&[Need { directory: directory.clone(), bytes }], "verifying")?;
                return Ok((scratch, directory));
            }
            Err(error) if error.reason == Reason::ReadOnly => {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| Error::new(Reason::ReadOnly, "there is no place to unpack a backup")))
}

fn verify(
    catalogue: &Catalogue,
    backup: &Backup,
    places: &[PathBuf],
    watch: &dyn Watch,
) -> Result<BackupVerdict> {
    let Some(manifest) = &backup.manifest else {
        return Err(Error::new(
            Reason::NotFound,
            format!("{} has no manifest to compare it with", backup.name),
        ));
    };
    let started = clock::now();
    let total = manifest.raw_bytes;
    let _held = catalogue.hold(backup)?;
    let (mut scratch, directory) = scratch(places, total)?;
    let unpacked = restore::unpack(catalogue, backup, scratch.file(), directory, watch);
    let (mut of_database, mut unchecked) = (None, Vec::new());
    let judged = unpacked
        .and_then(|_| inspect(&mut scratch.inspected(watch)?, Some(manifest), watch))
        .and_then(|judged| match judged {
            Judgement::Good(message) => Ok((Some(true), message)),
            Judgement::InPart(parts) => {
                let message = format!(
                    "restored, and good as far as it can be checked here; cannot be checked: {}",
                    parts.join("; ")
                );
                unchecked = parts;
                Ok((None, message))
            }
            // What unpacks to the bytes that were read may have been damaged in the database
            // already.
            Judgement::Damaged(error) => {
                of_database = Some(error.clone());
                Err(error)
            }
        });
    let (ok, mut message) = match judged {
        Ok(done) => done,
        Err(error) if error.reason == Reason::Damaged => (Some(false), error.message),
        Err(error) if error.reason == Reason::Unsupported => {
            unchecked.push(error.message.clone());
            (None, format!("cannot be checked: {}", error.message))
        }
        Err(error) => return Err(error),
    };
    let at = clock::now();
    let mut unnoted = None;
    if let Some(ok) = ok {
        let result = Verification { started: Some(started), at, ok, message: message.clone() };
        let noted = match &of_database {
            Some(damage) => catalogue.found_of_damaged_database(backup, &damage.message, Some(started)),
            None => catalogue.verified(backup, &result),
        };
        match noted {
            Ok(_) => {}
            // What was found is true all the same.
            Err(error) if error.reason == Reason::ReadOnly => {
                let place = catalogue.place();
                message = format!("{message}; not noted in its manifest, as {place} is read-only");
            }
            Err(error) if error.reason == Reason::Permission => {
                unnoted = Some(error.context("the result is not noted in the manifest"));
            }
            Err(error) => return Err(error),
        }
    }
    let (name, seconds) = (backup.name.clone(), (at - started).as_seconds_f64());
    Ok(BackupVerdict { name, ok, raw_bytes: total, seconds, message, unchecked, of_database, unnoted })
}

/// What an unpacked file says of itself, against what its manifest says of it, where there is one.
/// In words, where it is good; `damaged` where it is not, `unsupported` where it takes the
/// application to tell.
pub fn check(path: &Path, manifest: Option<&Manifest>, watch: &dyn Watch) -> Result<String> {
    match inspect(&mut Inspector::of_copy(path), manifest, watch)? {
        Judgement::Good(message) => Ok(message),
        Judgement::InPart(unchecked) => Err(Error::new(Reason::Unsupported, unchecked.join("; "))),
        Judgement::Damaged(error) => Err(error),
    }
}

/// What SQLite's own checks say of a file.
enum Judgement {
    Good(String),
    /// Good, but for these parts, which only the application can check.
    InPart(Vec<String>),
    /// As the pages are.
    Damaged(Error),
}

/// Errors: `damaged` where the file is not what its manifest says, of which the database knows
/// nothing.
fn inspect(inspector: &mut Inspector, manifest: Option<&Manifest>, watch: &dyn Watch) -> Result<Judgement> {
    let tables = match inspector.tables(watch) {
        Err(error) if error.reason == Reason::Damaged => return Ok(Judgement::Damaged(error)),
        tables => tables?,
    };
    let mut found = pages(inspector, &tables, watch)?;
    if let Some(first) = found.structure.first() {
        return Ok(Judgement::damaged(format!("integrity_check says: {first}")));
    }
    if let Some(manifest) = manifest {
        compare(inspector, manifest, &tables, watch)?;
    }
    for table in &tables {
        let keys = match inspector.references(table, watch) {
            Err(error) if error.reason == Reason::Damaged => return Ok(Judgement::Damaged(error)),
            Ok(keys) => {
                Found { rows: keys.map(|keys| keys.in_words(table)).unwrap_or_default(), ..Found::default() }
            }
            Err(error) => unchecked(table, error)?,
        };
        found.add(keys);
    }
    if let Some(index) = found.indexes.first() {
        return Ok(Judgement::damaged(format!("the index {index} does not agree with its table")));
    }
    if !found.unchecked.is_empty() {
        return Ok(Judgement::InPart(found.unchecked));
    }
    Ok(Judgement::Good(match found.rows.iter().chain(&found.virtual_tables).next() {
        None => String::from("restored, checked, good"),
        // Its bytes are those of the database: no fault of the backup, and nothing that a restore
        // would lose.
        Some(first) => format!("restored, checked, good; as in the database itself, {first}"),
    }))
}

impl Judgement {
    fn damaged(text: String) -> Self {
        Self::Damaged(Error::new(Reason::Damaged, text))
    }
}

/// Of the whole file, or where one table needs the application, which ends the check of all, of
/// each.
fn pages(inspector: &mut Inspector, tables: &[String], watch: &dyn Watch) -> Result<Found> {
    let (mut found, error) = match inspector.integrity(Depth::Full, None, watch) {
        Err(error) if checks::cannot_be_done(&error) => (Found::default(), Some(error)),
        Ok(whole) if whole.is_of_structure && whole.structure.is_empty() => (whole, None),
        whole => return whole,
    };
    for table in tables {
        let one = inspector.integrity(Depth::Full, Some(table), watch);
        found.add(one.or_else(|error| unchecked(table, error))?);
    }
    if found.unchecked.is_empty() {
        found.unchecked.extend(error.map(|error| error.message));
    }
    Ok(found)
}

/// What a table that only the application can check adds to what was found.
fn unchecked(table: &str, error: Error) -> Result<Found> {
    if !checks::cannot_be_done(&error) {
        return Err(error);
    }
    Ok(Found { unchecked: vec![format!("table {table}: {}", error.message)], ..Found::default() })
}

fn compare(
    inspector: &mut Inspector,
    manifest: &Manifest,
    present: &[String],
    watch: &dyn Watch,
) -> Result<()> {
    let differs = |text: String| Err(Error::new(Reason::Damaged, text));
    if hash::sha256(inspector.schema(watch)?.as_bytes()) != manifest.schema_sha256 {
        return differs(String::from("its schema is not the one in its manifest"));
    }
    for (table, rows) in &manifest.tables {
        if !present.contains(table) {
            return differs(format!("it has no table {table}, which its manifest names"));
        }
        let Some(expected) = rows else { continue };
        let found = inspector.rows(table, watch)?;
        if found != *expected {
            return differs(format!("{table} has {found} rows, and its manifest says {expected}"));
        }
    }
    Ok(())
}
