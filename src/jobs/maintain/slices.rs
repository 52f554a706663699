//! Incremental VACUUM, slice by slice: each holds writers about as long as a batch of a cleanup, and for three quarters of
//! the time they have the lock to themselves.

use std::sync::Arc;

use super::limits::part;
use super::step::{Cost, Step, StepName};
use super::vacuum::freed;
use crate::error::{Error, Reason, Result};
use crate::jobs::moment::{LEAST, STARVED};
use crate::jobs::pace::Pace;
use crate::jobs::{Context, blocking};
use crate::sqlite::files::facts::Facts;
use crate::sqlite::pauses::{Locks, Moment};
use crate::sqlite::upkeep::incremental::Freeing;
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
    let locks = context.locks().await?;
    let mut pace = Pace::new(target, FIRST, MOST);
    let (mut asked, mut slices, mut taken, mut patience) = (0, 0, 0, context.patience());
    // The application may free and take pages meanwhile; what was free at the beginning bounds the whole.
    while asked < before.free_pages {
        // It has a connection of its own, which knows nothing of files that were moved or removed meanwhile.
        context.sql(|_| Ok(())).await?;
        let pages = pace.size();
        let timed = match context.moment(locks, pace.expected(pages), &patience).await {
            Ok(Moment::None(longest)) => {
                pace.fit(Some(longest).filter(|longest| *longest >= LEAST));
                continue;
            }
            Ok(moment) => {
                pace.fit(match moment {
                    Moment::Pause(lasts) => Some(lasts),
                    _ => None,
                });
                let may_wait = locks == Locks::File && taken >= STARVED;
                (moment != Moment::Unseen && !may_wait).then(|| Arc::clone(&context.pauses))
            }
            Err(error) => return gave_up(context, before, slices, error).await,
        };
        let (holds, call) =
            (Arc::clone(&context.holds), context.call.within(context.database.maintain.max_block));
        let (same, done) = blocking(move || {
            let limit = call.clone();
            let done = freeing.slice(&holds, timed.as_deref(), pages, move || limit.check().is_err());
            // An interrupted statement says only that it was.
            Ok((freeing, done.map_err(|error| call.check().err().unwrap_or(error))))
        })
        .await?;
        context.pauses.over();
        freeing = same;
        let slice = match part(context, "incremental VACUUM", done)? {
            Ok(Some(slice)) => slice,
            Ok(None) => {
                taken += 1;
                pace.shrink();
                if let Err(error) = patience.check(context) {
                    return gave_up(context, before, slices, error).await;
                }
                continue;
            }
            Err(problem) => {
                let so_far = freed(context, before, "").await?;
                let (freed_bytes, freed_pages) = (so_far.freed_bytes, so_far.freed_pages);
                return Ok(Step { freed_bytes, freed_pages, ..Step::failed(STEP, problem) });
            }
        };
        (asked, slices, taken, patience) = (asked + pages, slices + 1, 0, context.patience());
        if slice.left == 0 {
            break;
        }
        pace.learn(slice.worked, slice.held);
        context.pause(slice.held * PAUSE_PER_HOLD).await?;
    }
    freed(context, before, &format!(" in {}", plural(slices, "slice", "slices"))).await
}

/// What is free stays free until the next run; the other steps go on.
async fn gave_up(context: &Context, before: &Facts, slices: u64, why: Error) -> Result<Step> {
    if why.reason != Reason::NoPause {
        return Err(why);
    }
    freed(context, before, &format!(" in {}, and {why}", plural(slices, "slice", "slices"))).await
}
