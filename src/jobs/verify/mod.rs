//! Verify: the newest backup is really restored, into scratch space, and checked with SQLite's own means; the result
//! is written into its manifest. Must never call a backup damaged that cannot be checked, nor one good.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;

use super::{Context, Job, Progress, Report, Running, Unit, damage, in_background};
use crate::clock;
use crate::config::JobKind;
use crate::error::{Error, Reason, Result};
use crate::pool::Call;
use crate::sqlite::checks::{self, Depth, Found};
use crate::sqlite::facts::disk_free;
use crate::sqlite::open;
use crate::sqlite::schema;
use crate::store::scratch::Scratch;
use crate::store::{self, Backup, Catalogue, Manifest, State, Verification, hash, restore};
use crate::words;

/// KiB of pages that a check keeps: each row's entries are looked up in all indexes of its table, and of 1 GiB with two of
/// them SQLite's own 2 MiB have so few that the file is read some ten times over. With 32 MiB the check takes two thirds of
/// the time; more memory brings little. Not mapped: a file that cannot be read would then end the process.
const CACHE: i32 = 32 << 10;

/// The verify job.
pub struct Verify {
    /// Which backup; `None` is the newest good one.
    pub backup: Option<String>,
    /// Out of which copy; `None` is `backup.dir`.
    pub from: Option<String>,
}

/// What a run did.
#[derive(Debug, Serialize)]
struct Done {
    name: String,
    ok: Option<bool>,
    raw_bytes: u64,
    seconds: f64,
    message: String,
    /// The damage that the database had when the backup was made.
    #[serde(skip)]
    of_database: Option<Error>,
}

impl Job for Verify {
    fn kind(&self) -> JobKind {
        JobKind::Verify
    }

    /// It reads backups only; rotation stays away from the one that it holds.
    fn is_exclusive(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, context: &'a Context) -> Running<'a> {
        Box::pin(run(context, self.backup.clone(), self.from.clone()))
    }
}

async fn run(context: &Context, selector: Option<String>, from: Option<String>) -> Result<Report> {
    let database = Arc::clone(&context.database);
    let is_newest = selector.is_none();
    let (call, progress) = (context.call.clone(), context.progress.clone());
    let (done, damaged) = in_background(move || {
        let Some((place, _)) = database.place(from.as_deref()) else {
            let text = format!("{} has no copy {}", database.name, from.unwrap_or_default());
            return Err(Error::new(Reason::NotFound, text));
        };
        let catalogue = Catalogue::new(&database.name, store::open(place, &database.name)?);
        let backup = catalogue.find(selector.as_deref().unwrap_or("latest")).or_else(|error| {
            // Where none is good, one that is damaged says more than that there is none.
            let damaged = catalogue.list()?.into_iter().find_map(|backup| damaged(&backup));
            Err(damaged.unwrap_or(error))
        })?;
        let done = verify(&catalogue, &backup, &database.scratch_dir(place), &call, &|p| {
            progress.send_replace(Some(p));
        })?;
        let newer =
            catalogue.list()?.into_iter().filter(|other| selector.is_none() && other.time > backup.time);
        let (copies, others): (Vec<_>, Vec<_>) = newer.partition(Backup::is_of_damaged_database);
        let damaged: Vec<_> = others.iter().filter_map(damaged).chain(of_damaged_database(&copies)).collect();
        Ok((done, damaged))
    })
    .await?;

    let text = format!("{}: {}", done.name, done.message);
    let mut report = Report::new(text.clone(), &done);
    report.problems = damaged;
    match (done.ok, done.of_database.filter(|_| is_newest)) {
        (Some(true), _) => {}
        (Some(false), Some(damage)) => {
            let damage = damage.context(&done.name);
            report.problems.push(damage::copied(context, &damage).await);
        }
        (Some(false), None) => report.problems.push(Error::new(Reason::Damaged, text)),
        (None, _) => report.findings.push(Error::new(Reason::Unsupported, text)),
    }
    Ok(report)
}

/// A backup that is seen to be damaged without being read is not the newest good one, so it is not verified: it must
/// not go unnoticed for that.
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

fn verify(
    catalogue: &Catalogue,
    backup: &Backup,
    directory: &Path,
    call: &Call,
    progress: &dyn Fn(Progress),
) -> Result<Done> {
    let Some(manifest) = &backup.manifest else {
        return Err(Error::new(
            Reason::NotFound,
            format!("{} has no manifest to compare it with", backup.name),
        ));
    };
    let started = clock::now();
    let total = manifest.raw_bytes;
    let free = disk_free(directory)?;
    if free < total {
        return Err(Error::new(
            Reason::NoSpace,
            format!(
                "{} has {} free; verifying needs {}",
                directory.display(),
                words::bytes(free),
                words::bytes(total)
            ),
        ));
    }
    let _held = catalogue.hold(backup)?;
    let mut scratch = Scratch::create(directory, "verify")?;
    let unpacked = restore::unpack(catalogue, backup, scratch.file(), directory, &mut |done| {
        progress(Progress { done, total, unit: Unit::Bytes });
        call.check()
    });
    // What unpacks to the bytes that were read, and is not sound, was damaged in the database already.
    let mut of_database = None;
    let checked = unpacked.and_then(|_| {
        inspect(&scratch.open()?, Some(manifest), call).inspect_err(|error| {
            of_database = (error.reason == Reason::Damaged).then(|| error.clone());
        })
    });
    let (ok, message) = match checked {
        Ok(message) => (Some(true), message),
        Err(error) if error.reason == Reason::Damaged => (Some(false), error.message),
        Err(error) if error.reason == Reason::Unsupported => {
            (None, format!("cannot be checked: {}", error.message))
        }
        Err(error) => return Err(error),
    };
    let at = clock::now();
    if let Some(ok) = ok {
        let result = Verification { started: Some(started), at, ok, message: message.clone() };
        match &of_database {
            Some(damage) => catalogue.found_of_damaged_database(backup, &damage.message, Some(started))?,
            None => catalogue.verified(backup, &result)?,
        };
    }
    let seconds = (at - started).as_seconds_f64();
    Ok(Done { name: backup.name.clone(), ok, raw_bytes: total, seconds, message, of_database })
}

/// What an unpacked file says of itself, against what its manifest says of it, where there is one. In words, where
/// it is good; `damaged` where it is not, `unsupported` where it takes the application to tell.
pub fn check(path: &Path, manifest: Option<&Manifest>, call: &Call) -> Result<String> {
    inspect(&open::immutable(path)?, manifest, call)
}

fn inspect(connection: &Connection, manifest: Option<&Manifest>, call: &Call) -> Result<String> {
    let stop = call.clone();
    connection.pragma_update(None, "cache_size", -CACHE)?;
    connection.progress_handler(10_000, Some(move || stop.check().is_err()))?;
    let found = examine(connection, manifest).map_err(|error| call.check().err().unwrap_or(error))?;

    if let Some(first) = found.structure.first() {
        return Err(Error::new(Reason::Damaged, format!("integrity_check says: {first}")));
    }
    if let Some(index) = found.indexes.first() {
        return Err(Error::new(Reason::Damaged, format!("the index {index} does not agree with its table")));
    }
    if !found.unchecked.is_empty() {
        return Err(Error::new(Reason::Unsupported, found.unchecked.join("; ")));
    }
    Ok(match found.rows.iter().chain(&found.virtual_tables).next() {
        None => String::from("restored, checked, good"),
        // Its bytes are those of the database: no fault of the backup, and nothing that a restore would lose.
        Some(first) => format!("restored, checked, good; as in the database itself, {first}"),
    })
}

/// All checks of an unpacked file. What breaks a constraint or a foreign key is with the `rows`.
fn examine(connection: &Connection, manifest: Option<&Manifest>) -> Result<Found> {
    let tables = checks::tables(connection)?;
    let mut found = match checks::integrity(connection, Depth::Full, None) {
        // One table that needs the application ends the check of all.
        Err(error) if checks::cannot_be_done(&error) => {
            let mut found = Found::default();
            for table in &tables {
                let one = checks::integrity(connection, Depth::Full, Some(table));
                found.add(one.or_else(|error| unchecked(table, error))?);
            }
            if found.unchecked.is_empty() {
                found.unchecked.push(error.message);
            }
            found
        }
        whole => whole?,
    };
    if !found.structure.is_empty() {
        return Ok(found);
    }
    if let Some(manifest) = manifest {
        compare(connection, manifest)?;
    }
    for table in &tables {
        if !checks::has_foreign_keys(connection, table)? {
            continue;
        }
        let keys = checks::references(connection, table)
            .map(|keys| Found { rows: keys.in_words(table), ..Found::default() });
        found.add(keys.or_else(|error| unchecked(table, error))?);
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

fn compare(connection: &Connection, manifest: &Manifest) -> Result<()> {
    if hash::sha256(schema::text(connection)?.as_bytes()) != manifest.schema_sha256 {
        return Err(Error::new(Reason::Damaged, "its schema is not the one in its manifest"));
    }
    let present = schema::tables(connection)?;
    for (table, rows) in &manifest.tables {
        if !present.iter().any(|t| t.name == *table) {
            return Err(Error::new(
                Reason::Damaged,
                format!("it has no table {table}, which its manifest names"),
            ));
        }
        let Some(expected) = rows else { continue };
        let found: u64 = connection.query_row(&schema::count_in_steps(table), [], |row| row.get(0))?;
        if found != *expected {
            return Err(Error::new(
                Reason::Damaged,
                format!("{table} has {found} rows instead of {expected}"),
            ));
        }
    }
    Ok(())
}
