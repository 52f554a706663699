//! Incremental VACUUM, slice by slice: each holds writers about as long as a batch of a cleanup,
//! and for three quarters of the time they have the lock to themselves.

use super::step::{Cost, StepName, StepReport};
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::limits::part;
use crate::jobs::moment::Slices;
use crate::jobs::pace::Pace;
use crate::metrics::events::Reclaimed;
use crate::sqlite::look::facts::Facts;
use crate::sqlite::upkeep::incremental::IncrementalVacuum;
use crate::state::facts::{self, SPACE, Space};
use crate::words::{self, count, plural};

const STEP: StepName = StepName::Vacuum;

/// Pages of the first slice: few, while it is not known how long one takes.
const FIRST: u64 = 16;

/// However fast they are, no slice is larger: 32 MiB of pages of 4 KiB go through the write-ahead
/// log.
const MOST: u64 = 8192;

/// Three parts of pause to one of work.
const PAUSE_PER_HOLD: u32 = 3;

pub(super) fn run(run: &Run, before: &Facts, preview: bool) -> Result<StepReport> {
    let target = run.database.cleanup.batch_target;
    if preview {
        let why = format!("would free {} pages in slices", count(before.free_pages));
        let cost = Cost {
            hold_seconds: Some(target.as_secs_f64()),
            longest_hold_seconds: run.database.maintain.max_block.as_secs_f64(),
            needed_bytes: None,
        };
        return Ok(StepReport::planned(STEP, why, cost));
    }
    let (path, wait) = (&run.database.path, run.database.pool.busy_timeout);
    // Beside one of the pool, which knows that opening does no harm.
    let mut freeing = run.sql(|_| IncrementalVacuum::begin(path, wait))?;
    let mut slices = Slices::begin(run, Pace::new(target, FIRST, MOST))?;
    let (mut asked, mut number) = (0, 0);
    // The application may free and take pages meanwhile; what was free at the beginning bounds the
    // whole.
    while asked < before.free_pages {
        // It has a connection of its own, which knows nothing of files that were moved or removed
        // meanwhile.
        run.sql(|_| Ok(()))?;
        let pages = slices.size();
        let is_timed = match slices.moment(pages) {
            Ok(Some(is_timed)) => is_timed,
            Ok(None) => continue,
            Err(error) => return gave_up(run, before, number, error),
        };
        let call = run.call.within(run.database.maintain.max_block);
        let limit = call.clone();
        let must_stop = move || limit.check().is_err();
        let done = freeing.slice(&run.holds, is_timed.then_some(&run.pauses), pages, must_stop);
        run.pauses.over();
        // An interrupted statement says only that it was.
        let done = done.map_err(|error| call.check().err().unwrap_or(error));
        let slice = match part(run, "incremental VACUUM", done)? {
            Ok(Some(slice)) => slice,
            Ok(None) => match slices.taken() {
                Ok(()) => continue,
                Err(error) => return gave_up(run, before, number, error),
            },
            Err(problem) => {
                let so_far = freed(run, before, "")?;
                let (freed_bytes, freed_pages) = (so_far.freed_bytes, so_far.freed_pages);
                return Ok(StepReport { freed_bytes, freed_pages, ..StepReport::failed(STEP, problem) });
            }
        };
        (asked, number) = (asked + pages, number + 1);
        if slice.left == 0 {
            break;
        }
        slices.done(slice.worked, slice.held);
        run.pause(slice.held * PAUSE_PER_HOLD)?;
    }
    freed(run, before, &format!(" in {}", plural(number, "slice", "slices")))
}

/// What is free stays free until the next run; the other steps go on.
fn gave_up(run: &Run, before: &Facts, slices: u64, why: Error) -> Result<StepReport> {
    if why.reason != Reason::NoPause {
        return Err(why);
    }
    freed(run, before, &format!(" in {}, and {why}", plural(slices, "slice", "slices")))
}

/// The step with what it gained; `how` follows the number of bytes.
pub(super) fn freed(run: &Run, before: &Facts, how: &str) -> Result<StepReport> {
    let after = run.facts_afterwards()?;
    let bytes = before.bytes().saturating_sub(after.bytes());
    let pages = before.pages.saturating_sub(after.pages);
    run.remember(SPACE, &Some(Space { free_bytes: after.free_bytes() }))?;
    let (used, left) = (before.used_bytes(), after.used_bytes());
    run.state.now(|c| facts::shrunk_on_purpose(c, &run.database.name, used, left))?;
    Reclaimed { database: &run.database.name, bytes }.emit();
    let done = StepReport::done(STEP, format!("VACUUM freed {}{how}", words::bytes(bytes)));
    Ok(StepReport { freed_bytes: Some(bytes), freed_pages: Some(pages), ..done })
}
