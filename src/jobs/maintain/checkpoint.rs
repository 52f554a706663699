//! Empties the write-ahead log after the other steps, without making the application wait behind its own slow
//! readers.

use std::time::Duration;

use super::step::{Step, StepName};
use crate::error::{Reason, Result};
use crate::jobs::Context;
use crate::sqlite::checkpoint::{Checkpoint, Mode, checkpoint};
use crate::sqlite::facts::{Facts, wal_bytes};
use crate::sqlite::replicator;
use crate::words;

const STEP: StepName = StepName::Checkpoint;

/// A TRUNCATE checkpoint that waits for a reader keeps writers out: no longer than this.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// Attempts at a TRUNCATE checkpoint, and the pause before each further one.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

pub(super) async fn run(context: &Context, after_vacuum: bool) -> Result<Step> {
    let path = context.database.path.clone();
    let (facts, owned) = context.sql(move |c| Ok((Facts::read(c)?, replicator::owns(c, &path)))).await?;
    if facts.journal_mode != "wal" {
        return Ok(Step::skipped(STEP, ""));
    }
    if owned {
        return Ok(Step::skipped(
            STEP,
            "checkpoint skipped: a replicator owns the database's write-ahead log",
        ));
    }
    let mut last = context.sql(|c| checkpoint(c, Mode::Passive)).await?;
    let limit = context.database.maintain.max_wal;
    if after_vacuum || wal_bytes(&context.database.path) > limit {
        last = truncate(context, last).await?;
    }
    let bytes = wal_bytes(&context.database.path);
    let mut why = format!("WAL {}", words::bytes(bytes));
    if last.is_some_and(|l| l.busy) {
        why += ", not emptied because of an open transaction of the application";
    }
    Ok(Step { wal_bytes: Some(bytes), checkpoint: last, ..Step::done(STEP, why) })
}

/// Tries a few times, and gives up for this run: a reader that stays is the application's right.
async fn truncate(context: &Context, mut last: Option<Checkpoint>) -> Result<Option<Checkpoint>> {
    let mut pauses = PAUSES.iter();
    loop {
        // Nearly all is moved by the passive one, which holds up nobody; this one is left with little to do.
        match context.sql_within(LONGEST_WAIT, |c| checkpoint(c, Mode::Truncate)).await {
            Ok(made @ Some(Checkpoint { busy: true, .. })) => last = made,
            Ok(made) => return Ok(made),
            Err(error) if matches!(error.reason, Reason::Deadline | Reason::Busy) => {
                context.go_on()?;
                last = last.map(|l| Checkpoint { busy: true, ..l });
            }
            Err(error) => return Err(error),
        }
        let Some(pause) = pauses.next() else { return Ok(last) };
        tokio::select! {
            () = tokio::time::sleep(*pause) => {}
            () = context.call.ended() => context.go_on()?,
        }
        context.sql(|c| checkpoint(c, Mode::Passive)).await?;
    }
}
