//! One state of the database, from its first page to the backup that has its name.

use std::time::Duration;

use super::contents::{self, Contents};
use super::doubts::Damage;
use super::shrunken;
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::reading::{first_look, shut_out};
use crate::sqlite::copy::snapshot::{Bounds, Snapshot};
use crate::sqlite::files::space::no_room;
use crate::sqlite::look::facts::Facts;
use crate::state::facts::Content;
use crate::store::codec::Encoding;
use crate::store::{self, BackupOutcome, Catalogue};
use crate::terms::progress::{Stop, Unit, Watch};

/// A state that was read whole.
pub(super) struct Capture {
    pub made: BackupOutcome,
    pub facts: Facts,
    pub contents: Contents,
    pub held: Duration,
    /// 0 in WAL mode.
    pub writers_held_seconds: f64,
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
pub(super) fn take(
    run: &Run,
    catalogue: &Catalogue,
    before: Option<&Content>,
    skip: bool,
    damage: Option<&Damage>,
) -> Result<Capture> {
    let shut_out = |error| shut_out(&run.database, error);
    let bytes = first_look(run)?.bytes();
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
    // Outside WAL mode the application waits for the packing, too, and for each pause that a rate
    // makes: there it is not kept.
    let encoding = Encoding::from(&database.backup);
    let encoding = match writers_wait {
        Some(_) => Encoding { low_priority: false, max_rate: None, ..encoding },
        None => Encoding { low_priority: true, ..encoding },
    };
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
