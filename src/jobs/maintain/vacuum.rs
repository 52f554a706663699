//! Gives free pages back to the filesystem, when that is worth it and harms nobody.

use std::path::Path;
use std::time::{Duration, Instant};

use super::step::{Step, StepName, within, within_max_block};
use crate::config::units::show_duration;
use crate::config::{RowidPolicy, Vacuum};
use crate::error::{Error, Reason, Result};
use crate::jobs::Context;
use crate::metrics::events::Reclaimed;
use crate::sqlite::facts::{Facts, resolved};
use crate::sqlite::space::{Need, shortage, temp_directory};
use crate::sqlite::{replicator, rowids};
use crate::state::facts::{self, Space};
use crate::words;

const STEP: StepName = StepName::Vacuum;

/// VACUUM first writes the live pages to a temporary file, and then copies them back over the database and commits,
/// which looks at no limit. The first part takes a fifth of the time or more (measured on 336 MiB, WAL and rollback
/// mode, disk and tmpfs), so it may have a fifth of `max_block`.
const PARTS: u32 = 5;

/// Pages that one transaction of an incremental vacuum frees: some milliseconds.
const SLICE: u64 = 512;

/// Between two slices the application's writers get their turn.
const PAUSE: Duration = Duration::from_millis(20);

/// What SQLite writes beyond the pages themselves: headers of WAL frames and of the journal, pages that come out
/// less full than they were, and what the application adds meanwhile.
const MARGIN: u64 = 1 << 20;

pub(super) async fn run(context: &Context) -> Result<Step> {
    let settings = &context.database.maintain;
    if settings.vacuum == Vacuum::Never {
        return Ok(Step::skipped(STEP, "VACUUM is off"));
    }
    let path = context.database.path.clone();
    let (facts, owned, renumbered) = context
        .sql(move |c| Ok((Facts::read(c)?, replicator::owns(c, &path), rowids::renumbered_by_vacuum(c)?)))
        .await?;
    let share = facts.free_pages as f64 / facts.pages.max(1) as f64;
    let free =
        format!("{} of the file ({}) is free", words::percent(share), words::bytes(facts.free_bytes()));
    if owned {
        return Ok(Step::skipped(STEP, "VACUUM skipped: a replicator owns the database's write-ahead log"));
    }
    if settings.vacuum == Vacuum::Incremental {
        return incremental(context, &facts).await;
    }
    if settings.vacuum == Vacuum::Auto && share < settings.vacuum_min_free {
        return Ok(Step::skipped(STEP, format!("VACUUM not needed: {free}")));
    }
    if settings.vacuum == Vacuum::Auto && facts.free_bytes() < settings.vacuum_min_size {
        let least = words::bytes(settings.vacuum_min_size);
        let why = format!("VACUUM not needed: {free}, less than maintain.vacuum_min_size = {least}");
        return Ok(Step::skipped(STEP, why));
    }
    if settings.vacuum_rowids == RowidPolicy::Keep && !renumbered.is_empty() {
        let why = format!(
            "VACUUM skipped: it would renumber the rowids of {}, which have neither an INTEGER PRIMARY KEY nor an index; \
             where nothing refers to those rowids, set maintain.vacuum_rowids = \"renumber\"",
            renumbered.join(", ")
        );
        return Ok(Step::skipped(STEP, why));
    }
    if let Some(problem) = no_room(&context.database.path, &facts)? {
        return Ok(Step::refused(STEP, problem));
    }
    let work = |c: &mut rusqlite::Connection| {
        let clock = Instant::now();
        c.execute_batch("VACUUM")?;
        Ok(clock.elapsed())
    };
    match within(context, settings.max_block / PARTS, "VACUUM", work).await? {
        Ok(took) => {
            let mut step = freed(context, &facts).await?;
            // The application's load may have made the second part longer than it was measured to be.
            if took > settings.max_block {
                step.why = format!(
                    "{} but held writers up for {}, longer than maintain.max_block = {}: its last part cannot be \
                     interrupted",
                    step.why,
                    words::duration(took.as_secs_f64()),
                    show_duration(settings.max_block)
                );
            }
            Ok(step)
        }
        Err(problem) => Ok(Step::failed(STEP, problem)),
    }
}

/// VACUUM writes all live pages to a temporary file, and then over the beginning of the database: through the WAL,
/// or with as many pages as were there before in the rollback journal. What lies behind them is only cut off.
fn no_room(database: &Path, facts: &Facts) -> Result<Option<Error>> {
    let live = facts.used_bytes();
    let bytes = live + live / 20 + MARGIN;
    let directory = resolved(database).parent().unwrap_or(Path::new("/")).to_owned();
    let needs = [directory, temp_directory()].map(|directory| Need { directory, bytes });
    Ok(shortage(&needs)?.map(|s| {
        let places: Vec<_> = s.directories.iter().map(|d| d.display().to_string()).collect();
        Error::new(
            Reason::NoSpace,
            format!(
                "VACUUM needs {} free on the filesystem of {}, which has {}; make room there, or name a roomier directory \
                 for temporary files with SQLITE_TMPDIR",
                words::bytes(s.needed),
                places.join(" and "),
                words::bytes(s.free)
            ),
        )
    }))
}

async fn incremental(context: &Context, before: &Facts) -> Result<Step> {
    if before.auto_vacuum != 2 {
        let why = "incremental VACUUM skipped: the database has no auto_vacuum = INCREMENTAL; to convert it, run \
                   once, with the application stopped: PRAGMA auto_vacuum = INCREMENTAL; VACUUM";
        return Ok(Step::skipped(STEP, why));
    }
    if before.free_pages == 0 {
        return Ok(Step::skipped(STEP, "VACUUM not needed: no page is free"));
    }
    // The application may free and take pages meanwhile; the number of slices bounds the whole.
    for _ in 0..before.free_pages.div_ceil(SLICE) {
        if let Err(problem) = within_max_block(context, "incremental VACUUM", free_slice).await? {
            let so_far = freed(context, before).await?;
            return Ok(Step { freed_bytes: so_far.freed_bytes, ..Step::failed(STEP, problem) });
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = context.call.ended() => context.go_on()?,
        }
    }
    freed(context, before).await
}

/// The statement frees a page with each row that is asked for.
fn free_slice(connection: &mut rusqlite::Connection) -> Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA main.incremental_vacuum({SLICE})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

async fn freed(context: &Context, before: &Facts) -> Result<Step> {
    let after = context.sql(|c| Facts::read(c)).await?;
    let bytes = before.bytes().saturating_sub(after.bytes());
    let (name, used, left) = (context.database.name.clone(), before.used_bytes(), after.used_bytes());
    let space = Space { free_bytes: after.free_bytes() };
    context
        .state
        .with(move |c| {
            facts::remember(c, &name, facts::SPACE, &space)?;
            facts::shrunk_on_purpose(c, &name, used, left)
        })
        .await?;
    Reclaimed { database: &context.database.name, bytes }.emit();
    Ok(Step { freed_bytes: Some(bytes), ..Step::done(STEP, format!("VACUUM freed {}", words::bytes(bytes))) })
}
