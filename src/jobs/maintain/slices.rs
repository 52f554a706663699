//! Incremental VACUUM, slice by slice: each holds writers about as long as a batch of a cleanup, and for three quarters of
//! the time they have the lock to themselves.

use std::sync::Arc;
use std::time::Duration;

use super::limits::part;
use super::step::{Cost, Step, StepName};
use super::vacuum::freed;
use crate::error::Result;
use crate::jobs::{Context, blocking};
use crate::sqlite::facts::Facts;
use crate::sqlite::incremental::{Freeing, Slice};
use crate::words::{count, plural};

const STEP: StepName = StepName::Vacuum;

/// Pages of the first slice: few, while it is not known how long one takes.
const FIRST: u64 = 16;

/// However fast they are, no slice is larger: 32 MiB of pages of 4 KiB go through the write-ahead log.
const MOST: u64 = 8192;

/// Three parts of pause to one of work.
const PAUSE_PER_HOLD: u32 = 3;

pub(super) async fn run(context: &Context, before: &Facts, preview: bool) -> Result<Step> {
    let target = context.database.cleanup.batch_target;
    if preview {
        let why = format!("would free {} pages in slices", count(before.free_pages));
        let cost = Cost {
            hold_seconds: Some(target.as_secs_f64()),
            longest_hold_seconds: context.database.maintain.max_block.as_secs_f64(),
            needed_bytes: None,
        };
        return Ok(Step::planned(STEP, why, cost));
    }
    let (path, wait) = (context.database.path.clone(), context.database.pool.busy_timeout);
    // Beside one of the pool, which knows that opening does no harm.
    let mut freeing = context.sql(move |_| Freeing::begin(&path, wait)).await?;
    let (mut pages, mut asked, mut slices) = (FIRST, 0, 0);
    // The application may free and take pages meanwhile; what was free at the beginning bounds the whole.
    while asked < before.free_pages {
        // It has a connection of its own, which knows nothing of files that were moved or removed meanwhile.
        context.sql(|_| Ok(())).await?;
        let (holds, call) =
            (Arc::clone(&context.holds), context.call.within(context.database.maintain.max_block));
        let (same, done) = blocking(move || {
            let limit = call.clone();
            let done = freeing.slice(&holds, pages, move || limit.check().is_err());
            // An interrupted statement says only that it was.
            Ok((freeing, done.map_err(|error| call.check().err().unwrap_or(error))))
        })
        .await?;
        freeing = same;
        let slice = match part(context, "incremental VACUUM", done)? {
            Ok(slice) => slice,
            Err(problem) => {
                let so_far = freed(context, before, "").await?;
                let (freed_bytes, freed_pages) = (so_far.freed_bytes, so_far.freed_pages);
                return Ok(Step { freed_bytes, freed_pages, ..Step::failed(STEP, problem) });
            }
        };
        (asked, slices) = (asked + pages, slices + 1);
        if slice.left == 0 {
            break;
        }
        pages = next(pages, &slice, target);
        context.pause(slice.held * PAUSE_PER_HOLD).await?;
    }
    freed(context, before, &format!(" in {}", plural(slices, "slice", "slices"))).await
}

/// At most twice as many as before, and at least half.
fn next(pages: u64, slice: &Slice, target: Duration) -> u64 {
    let worked = slice.worked.max(Duration::from_micros(1));
    let wanted = u128::from(pages) * target.as_micros() / worked.as_micros().max(1);
    u64::try_from(wanted).unwrap_or(MOST).clamp(pages / 2, pages * 2).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_comes_near_its_time_without_jumping() {
        let slice = |worked| Slice { left: 1, worked: Duration::from_millis(worked), held: Duration::ZERO };
        let target = Duration::from_millis(5);
        assert_eq!(next(100, &slice(5), target), 100);
        assert_eq!(next(100, &slice(4), target), 125);
        assert_eq!(next(100, &slice(0), target), 200);
        assert_eq!(next(100, &slice(5000), target), 50);
        assert_eq!(next(1, &slice(5000), target), 1);
        assert_eq!(next(MOST, &slice(0), target), MOST);
    }
}
