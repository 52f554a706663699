//! Backup: one consistent snapshot while the application writes → compressed, hashed, described, durable → rotation.
//! Must never count a missing, empty or shrunken database as a backup, and never remove the newest good one.

mod copies;
pub mod rotate;
mod shrunken;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;
use tokio::sync::watch;

use super::{Context, Job, Progress, Report, Running, Unit, blocking};
use crate::config::{Database, JobKind, units};
use crate::error::{Error, Reason, Result};
use crate::pool::Call;
use crate::sqlite::facts::{Facts, disk_free};
use crate::sqlite::open;
use crate::sqlite::schema;
use crate::sqlite::snapshot::{self, Bounds, Copied};
use crate::state::facts::{self, Content};
use crate::store::codec::Encoding;
use crate::store::scratch::Scratch;
use crate::store::{self, Catalogue, Snapshot, hash};
use crate::words;
use rotate::Rotated;

/// Rows of a table are counted for the manifest while that takes no longer than this many VM steps, about a second.
const COUNTING_STEPS: u64 = 50_000_000;

/// Bytes passed on at a time.
const CHUNK: usize = 1 << 20;

/// The backup job.
pub struct Backup {
    /// Make a backup also of a database that is much smaller than it was.
    pub accept_smaller: bool,
}

/// What a run did.
#[derive(Debug, Serialize)]
struct Done {
    name: String,
    raw_bytes: u64,
    stored_bytes: u64,
    pages: u64,
    read_transaction_seconds: f64,
    removed: Vec<String>,
    copies: Vec<copies::Place>,
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
    let (before, forgotten): (Option<Content>, _) = {
        let name = database.name.clone();
        match context.state.with(move |c| facts::recall(c, &name, facts::CONTENT)).await {
            Ok(before) => (before.map(|(before, _)| before), None),
            // Without our memory there is still a backup to be made, which must not push better ones out.
            Err(error) => (None, Some(error)),
        }
    };
    let (catalogue, scratch) = {
        let place = before.as_ref().map(|before| before.place.clone());
        let (dir, name) = (database.backup.dir.clone(), database.name.clone());
        let scratch = database.scratch_dir(&dir);
        blocking(move || {
            if let Some(directory) = dir.directory()
                && place.as_deref() == Some(directory)
                && !directory.join(&name).is_dir()
            {
                return Err(vanished(&directory.join(&name)));
            }
            let catalogue = Catalogue::new(&name, store::create(&dir, &name)?);
            Ok((catalogue, Arc::new(Scratch::create(&scratch, "backup")?)))
        })
        .await?
    };

    let copied = copy(context, &scratch).await?;
    let held = {
        let scratch = Arc::clone(&scratch);
        let (facts, database) = (copied.facts.clone(), Arc::clone(&database));
        blocking(move || {
            let held = shrunken::content(scratch.path(), &facts, database.backup.dir.to_string().into())?;
            if !accept_smaller {
                shrunken::compare(scratch.path(), &database.name, before.as_ref(), &held)?;
            }
            Ok(held)
        })
        .await?
    };

    let (made, damage) = {
        let (catalogue, database) = (catalogue.clone(), Arc::clone(&database));
        let (scratch, copied) = (Arc::clone(&scratch), copied.clone());
        let (call, progress) = (context.call.clone(), context.progress.clone());
        let started = context.started;
        blocking(move || {
            let encoding = Encoding::from(&database.backup);
            let mut damage = None;
            let made = catalogue.add(started, encoding, &mut |out| {
                pour(scratch.path(), &copied, &call, &progress, out)?;
                let (snapshot, met) = describe(scratch.path(), &database, &copied, &call)?;
                damage = met;
                Ok(snapshot)
            })?;
            Ok((made, damage))
        })
        .await?
    };
    drop(scratch);

    let primary = catalogue.clone();
    let mut report = {
        // While the database is damaged, any older backup may be the last that is not.
        let removed = match (&damage, &forgotten) {
            (None, None) => rotate::rotate(context, catalogue).await,
            (None, Some(error)) => Err(error.clone().context("whether the database has shrunk is not known")),
            (Some(_), _) => Ok(Rotated::default()),
        };
        let elsewhere = copies::copy(context, &primary, damage.is_none() && forgotten.is_none()).await;
        let done = Done {
            name: made.name.clone(),
            raw_bytes: copied.facts.bytes(),
            stored_bytes: made.size,
            pages: copied.facts.pages,
            read_transaction_seconds: copied.held.as_secs_f64(),
            removed: removed.as_ref().map(|r| r.removed.clone()).unwrap_or_default(),
            copies: elsewhere.places,
        };
        let mut report = Report::new(summary(&done), &done);
        match removed {
            Ok(rotation) => report.problems.extend(rotation.problems),
            // The backup is made and counts; only the old ones stay longer than they should.
            Err(error) => report.problems.push(error.context("old backups were not removed")),
        }
        report.problems.extend(elsewhere.problems);
        report.problems.extend(damage.map(|error| {
            let text = format!(
                "the database is damaged ({error}), and so is what this backup holds; no older one is removed while it is"
            );
            Error::new(Reason::Damaged, text)
        }));
        report
    };
    let name = database.name.clone();
    if forgotten.is_none()
        && let Err(error) =
            context.state.with(move |c| facts::remember(c, &name, facts::CONTENT, &held)).await
    {
        report.problems.push(error);
    }
    Ok(report)
}

/// An empty mount point looks like a place where no backup was made yet; the history knows better.
fn vanished(place: &Path) -> Error {
    Error::new(
        Reason::Io,
        format!(
            "backups were made in {} before, and it is gone; mount its disk, or make the directory to begin anew",
            place.display()
        ),
    )
}

fn summary(done: &Done) -> String {
    let removed = match done.removed.len() {
        0 => String::new(),
        1 => String::from("; removed 1 old one"),
        n => format!("; removed {n} old ones"),
    };
    let brought = done.copies.iter().filter(|place| !place.brought.is_empty());
    let brought: Vec<&str> = brought.map(|place| place.copy.as_str()).collect();
    let copied =
        if brought.is_empty() { String::new() } else { format!("; copied to {}", brought.join(", ")) };
    let (raw, stored) = (words::bytes(done.raw_bytes), words::bytes(done.stored_bytes));
    format!("{}: {raw} as {stored}{removed}{copied}", done.name)
}

/// The snapshot, as a scratch file beside the backups.
async fn copy(context: &Context, scratch: &Arc<Scratch>) -> Result<Copied> {
    let (database, scratch) = (Arc::clone(&context.database), Arc::clone(scratch));
    let (call, progress) = (context.call.clone(), context.progress.clone());
    let copied = context
        .sql(move |source| {
            let facts = Facts::read(source)?;
            has_room(&database, facts.bytes())?;
            let bounds = Bounds {
                longest_block: database.maintain.max_block,
                most_wal_growth: database.maintain.max_wal,
            };
            let bytes = facts.page_size;
            snapshot::copy(
                source,
                &database.path,
                scratch.path(),
                bounds,
                &|| call.check(),
                &mut |done, total| {
                    progress.send_replace(Some(Progress {
                        done: done * bytes,
                        total: 2 * total * bytes,
                        unit: Unit::Bytes,
                    }));
                },
            )
        })
        .await;
    copied.map_err(|error| match error.reason {
        Reason::Busy => locked_out(&context.database),
        _ => error,
    })
}

/// SQLite says only that the database is locked.
fn locked_out(database: &Database) -> Error {
    Error::new(
        Reason::Busy,
        format!(
            "the application kept {} locked for longer than pool.busy_timeout ({}): either a transaction of its own \
             lasts that long, or it uses PRAGMA locking_mode = EXCLUSIVE, which lets nobody else in while it runs",
            database.path.display(),
            units::show_duration(database.pool.busy_timeout)
        ),
    )
}

/// The scratch copy takes the database's size, the backup itself at most that again.
fn has_room(database: &Database, bytes: u64) -> Result<()> {
    let directory = database.scratch_dir(&database.backup.dir);
    let free = disk_free(&directory)?;
    if free >= 2 * bytes {
        return Ok(());
    }
    Err(Error::new(
        Reason::NoSpace,
        format!(
            "{} has {} free; a backup of {} needs up to {} there while it is made",
            directory.display(),
            words::bytes(free),
            words::bytes(bytes),
            words::bytes(2 * bytes)
        ),
    ))
}

/// The bytes of the scratch file, with the second half of the progress.
fn pour(
    scratch: &Path,
    copied: &Copied,
    call: &Call,
    progress: &watch::Sender<Option<Progress>>,
    out: &mut dyn std::io::Write,
) -> Result<()> {
    let failed = |e| Error::io(format!("cannot read {}", scratch.display()), &e);
    let mut file = std::fs::File::open(scratch).map_err(failed)?;
    let total = copied.facts.bytes();
    let mut buffer = vec![0; CHUNK];
    let mut poured = 0;
    loop {
        call.check()?;
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        out.write_all(&buffer[..read]).map_err(|e| Error::io("cannot write the backup", &e))?;
        poured += read as u64;
        progress.send_replace(Some(Progress { done: total + poured, total: 2 * total, unit: Unit::Bytes }));
    }
    if poured != total {
        return Err(Error::new(
            Reason::Io,
            format!("the snapshot has {poured} bytes instead of {total}; the backup is given up"),
        ));
    }
    Ok(())
}

/// What the manifest tells of the state in the scratch file, and the damage that was met on the way.
fn describe(
    scratch: &Path,
    database: &Database,
    copied: &Copied,
    call: &Call,
) -> Result<(Snapshot, Option<Error>)> {
    let small = |n: i64| i32::try_from(n).unwrap_or_default();
    let connection = open::immutable(scratch)?;
    let (mut tables, mut damage) = (BTreeMap::new(), None);
    for table in schema::tables(&connection)? {
        call.check()?;
        let rows = match rows(&connection, &table.name, COUNTING_STEPS, call) {
            Err(error) if error.reason == Reason::Damaged => {
                damage.get_or_insert(error);
                None
            }
            // Counting takes long, or needs something that only the application has.
            other => other.ok(),
        };
        tables.insert(table.name, rows);
    }
    let snapshot = Snapshot {
        source: database.path.clone(),
        page_size: u32::try_from(copied.facts.page_size).unwrap_or_default(),
        page_count: copied.facts.pages,
        sqlite_version: rusqlite::version().to_owned(),
        user_version: small(copied.facts.user_version),
        application_id: small(copied.facts.application_id),
        schema_sha256: hash::sha256(copied.schema.as_bytes()),
        tables,
    };
    Ok((snapshot, damage))
}

/// Rows of a table. An error where counting takes more than so many VM steps, or where the run must stop.
fn rows(connection: &Connection, table: &str, most_steps: u64, call: &Call) -> Result<u64> {
    let (mut steps, call) = (0, call.clone());
    let handler = move || {
        steps += 1000;
        steps > most_steps || call.check().is_err()
    };
    connection.progress_handler(1000, Some(handler))?;
    let sql = schema::count_in_steps(table);
    connection.query_row(&sql, [], |row| row.get(0)).map_err(|e| Error::from(e).context(table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn rows_are_counted_only_while_that_is_quick_and_the_run_goes_on() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
                 INSERT INTO t SELECT i FROM n",
            )
            .unwrap();
        let call = Call { job: "backup", cancel: CancellationToken::new(), deadline: None };
        let rows = |most_steps| rows(&connection, "t", most_steps, &call).ok();
        assert_eq!(rows(10_000_000), Some(50_000));
        assert_eq!(rows(10_000), None);
        call.cancel.cancel();
        assert_eq!(rows(10_000_000), None);
    }
}
