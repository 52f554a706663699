//! Empties the write-ahead log, after the other steps and, where it has grown past `max_wal`, between two runs; without
//! making the application wait behind its own slow readers (HAZARDS H12, H13).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::step::{Step, StepName};
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::jobs::{Context, Job, Report, Running, writing};
use crate::metrics::events::{LogFreed, LogPinned};
use crate::sqlite::files::access;
use crate::sqlite::files::facts::{Facts, resolved, sidecar, wal_bytes};
use crate::sqlite::files::holders::{self, Files, Holder};
use crate::sqlite::files::replicator;
use crate::sqlite::write::checkpoint::{Checkpoint as Made, Mode, checkpoint};
use crate::state::pin;
use crate::terms::JobKind;
use crate::words;

const STEP: StepName = StepName::Checkpoint;

/// A TRUNCATE checkpoint that waits for a reader keeps writers out: no longer than this, which nobody notices. Readers
/// that last longer are not waited for, but come upon between two of them.
const LONGEST_WAIT: Duration = Duration::from_millis(25);

/// What it takes where nobody reads: this, and so much for each MiB of the log, whose blocks the filesystem frees (47 ms for
/// 100 MiB on ext4).
const TRUNCATION: Duration = Duration::from_millis(1);
const PER_MEBIBYTE: Duration = Duration::from_micros(500);

/// Attempts to empty the log, and the pause before each further one.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Processes that are named.
const NAMED: usize = 3;

/// The last step of maintenance by itself, for a log that has grown past `max_wal` since.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint;

impl Job for Checkpoint {
    fn kind(&self) -> JobKind {
        JobKind::Checkpoint
    }

    /// Another one at work on the database ends with a checkpoint, or does not write.
    fn is_optional(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, context: &'a Context) -> Running<'a> {
        Box::pin(async move {
            writing::refuse(context).await?;
            let step = run(context, false).await?;
            Ok(Report::new(step.why.clone(), &serde_json::json!({ "steps": [step] })))
        })
    }
}

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
    let limit = context.database.maintain.max_wal;
    let since = clock::now();
    let first = context.sql(|c| checkpoint(c, Mode::Passive)).await?;
    let (mut last, mut not_emptied) = (first, None);
    if after_vacuum || wal_bytes(&context.database.path) > limit {
        (last, not_emptied) = empty(context, first).await?;
    }
    let bytes = wal_bytes(&context.database.path);
    let mut why = format!("WAL {}", words::bytes(bytes));
    if let Some(because) = not_emptied {
        why = format!("{why}, not emptied: {because}");
    } else if last.is_some_and(|l| l.busy) {
        why += ", not emptied because of an open transaction of the application";
    }
    // All attempts came to the same page: one reader, and not one after the other.
    let stands =
        first.zip(last).filter(|(first, last)| is_held(*last) && first.moved_pages == last.moved_pages);
    if let Some((_, last)) = stands.filter(|_| bytes > limit) {
        let by = note(context, last.moved_pages, since, bytes).await?;
        if !by.is_empty() {
            why = format!("{why}: {by}");
        }
    } else if !last.is_some_and(is_held) {
        let name = context.database.name.clone();
        if let Some(pin) = context.state.with(move |c| pin::over(c, &name)).await? {
            let seconds = (clock::now() - pin.since).as_seconds_f64();
            LogFreed { database: &context.database.name, seconds }.emit();
        }
    }
    Ok(Step { wal_bytes: Some(bytes), checkpoint: last, ..Step::done(STEP, why) })
}

/// Whether pages stayed behind in the log.
const fn is_held(made: Made) -> bool {
    made.moved_pages < made.log_pages
}

const fn not_empty(made: Made) -> Made {
    Made { busy: true, ..made }
}

/// Tries a few times, and gives up for this run: a reader that stays is the application's right. The last attempt, `busy`
/// where the log is not empty, and why it was not tried, where the application left no pause for it.
async fn empty(context: &Context, first: Option<Made>) -> Result<(Option<Made>, Option<Error>)> {
    let mut last = first;
    let mut pauses = PAUSES.iter();
    loop {
        // While a reader needs pages of the log, TRUNCATE would only keep writers out.
        if last.is_none_or(|l| l.is_complete()) {
            match truncate(context).await {
                Ok(Some(made @ Made { busy: false, .. })) => return Ok((Some(made), None)),
                Ok(Some(made)) => last = Some(made),
                Ok(None) => {}
                Err(error) if error.reason == Reason::NoPause => {
                    return Ok((last.map(not_empty), Some(error)));
                }
                Err(error) => return Err(error),
            }
        }
        let Some(pause) = pauses.next() else { return Ok((last.map(not_empty), None)) };
        context.pause(*pause).await?;
        last = context.sql(|c| checkpoint(c, Mode::Passive)).await?;
    }
}

/// Nearly all was moved by a passive one, which holds up nobody; this one is left with little to do. `None` where its
/// time was not enough.
async fn truncate(context: &Context) -> Result<Option<Made>> {
    let mebibytes = u32::try_from(wal_bytes(&context.database.path) >> 20).unwrap_or(u32::MAX);
    context.before_hold(TRUNCATION + PER_MEBIBYTE * mebibytes).await?;
    let holds = Arc::clone(&context.holds);
    let made = context.sql_within(LONGEST_WAIT, move |c| {
        let _hold = holds.begin();
        checkpoint(c, Mode::Truncate)
    });
    let made = made.await;
    context.pauses.over();
    match made {
        Err(error) if matches!(error.reason, Reason::Deadline | Reason::Busy) => {
            context.go_on().map(|()| None)
        }
        made => made,
    }
}

/// Remembers and tells of a reader that stays; who it is, in words.
async fn note(context: &Context, moved_pages: u64, since: DateTime<Utc>, wal_bytes: u64) -> Result<String> {
    let path = context.database.path.clone();
    let by = crate::jobs::blocking(move || Ok(who(&path))).await?;
    let (name, found) = (context.database.name.clone(), (moved_pages, by));
    let noted = context.state.with(move |c| pin::seen(c, &name, found, since, clock::now()));
    let (pin, tell) = noted.await?;
    if tell {
        let seconds = (clock::now() - pin.since).as_seconds_f64();
        LogPinned { database: &context.database.name, wal_bytes, seconds, by: &pin.by }.emit();
    }
    Ok(pin.by)
}

fn who(path: &Path) -> String {
    let readers = access::identity(&sidecar(path, "-shm")).map(holders::of_log).unwrap_or_default();
    if !readers.is_empty() {
        return format!("it is of {}", listed(&readers));
    }
    let there: Vec<_> = access::identity(&resolved(path)).into_iter().collect();
    let users = holders::of(Files { there: &there, removed: &[] }).holders;
    if users.is_empty() { String::new() } else { format!("the database is open in {}", listed(&users)) }
}

fn listed(all: &[Holder]) -> String {
    let mut names: Vec<_> = all.iter().take(NAMED).map(ToString::to_string).collect();
    if all.len() > NAMED {
        names.push(format!("{} more", all.len() - NAMED));
    }
    names.join(", ")
}
