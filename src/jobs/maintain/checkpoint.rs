//! Empties the write-ahead log, after the other steps and, where it has grown past `max_wal`,
//! between two runs; without making the application wait behind its own slow readers (HAZARDS H12,
//! H13).

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::step::{StepName, StepReport};
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::jobs::reading::first_look;
use crate::jobs::{Job, Report, Run, Terms, writing};
use crate::metrics::events::{LogFreed, LogPinned};
use crate::sqlite::files::access;
use crate::sqlite::files::holders::{self, FileSelection, Holder};
use crate::sqlite::files::paths::{resolved, sidecar, wal_bytes};
use crate::sqlite::files::replicator;
use crate::sqlite::write::checkpoint::{Checkpoint as Made, Mode, checkpoint};
use crate::state::pin;
use crate::terms::JobKind;
use crate::words;

const STEP: StepName = StepName::Checkpoint;

/// A TRUNCATE checkpoint that waits for a reader keeps writers out: no longer than this, which
/// nobody notices. Readers that last longer are not waited for, but come upon between two of them.
const LONGEST_WAIT: Duration = Duration::from_millis(25);

/// What it takes where nobody reads: this, and so much for each MiB of the log, whose blocks the
/// filesystem frees (47 ms for 100 MiB on ext4).
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
    const KIND: JobKind = JobKind::Checkpoint;
    const WRITES: bool = true;
    /// Another one at work on the database ends with a checkpoint, or does not write.
    const TERMS: Terms = Terms::Optional;

    fn run(&self, run: &Run) -> Result<Report> {
        writing::refuse(run)?;
        let step = self::run(run, false)?;
        Ok(Report::new(step.why.clone(), &serde_json::json!({ "steps": [step] })))
    }
}

pub(super) fn run(run: &Run, after_vacuum: bool) -> Result<StepReport> {
    let path = &run.database.path;
    let facts = first_look(run)?;
    let owned = run.sql(|c| Ok(replicator::owns(c, path)))?;
    if facts.journal_mode != "wal" {
        return Ok(StepReport::skipped(STEP, ""));
    }
    if owned {
        return Ok(StepReport::skipped(
            STEP,
            "checkpoint skipped: a replicator owns the database's write-ahead log",
        ));
    }
    let limit = run.database.maintain.max_wal;
    let since = clock::now();
    let first = run.sql(|c| checkpoint(c, Mode::Passive))?;
    let mut looks: Vec<Made> = first.into_iter().collect();
    let (mut last, mut not_emptied) = (first, None);
    if after_vacuum || wal_bytes(path) > limit {
        (last, not_emptied) = empty(run, &mut looks)?;
    }
    let bytes = wal_bytes(path);
    let mut why = format!("WAL {}", words::bytes(bytes));
    if let Some(because) = not_emptied {
        why = format!("{why}, not emptied: {because}");
    } else if last.is_some_and(|l| l.busy) {
        why += ", not emptied because of an open transaction of the application";
    }
    if let Some(page) = stands(&looks).filter(|_| bytes > limit && last.is_some_and(is_held)) {
        let by = note(run, page, since, bytes)?;
        if !by.is_empty() {
            why = format!("{why}: {by}");
        }
    } else if !last.is_some_and(is_held)
        && let Some(pin) = run.state.now(|c| pin::over(c, &run.database.name))?
    {
        let seconds = (clock::now() - pin.since).as_seconds_f64().max(0.0);
        LogFreed { database: &run.database.name, seconds }.emit();
    }
    Ok(StepReport { wal_bytes: Some(bytes), checkpoint: last, ..StepReport::done(STEP, why) })
}

/// Whether pages stayed behind in the log.
const fn is_held(made: Made) -> bool {
    made.moved_pages < made.log_pages
}

/// The page at which a reader stands: where the first look and the last one came to the same one, it
/// is one reader, and not one after the other. A first look beside another checkpoint is not counted:
/// that one may still be moving pages, and says how many only at its end. Later ones are, for an
/// application may be at a checkpoint each time.
fn stands(looks: &[Made]) -> Option<u64> {
    let mut told = looks.iter().skip(usize::from(looks.first()?.busy));
    let (first, last) = (told.next()?, told.next_back()?);
    (is_held(*last) && first.moved_pages == last.moved_pages).then_some(last.moved_pages)
}

const fn not_empty(made: Made) -> Made {
    Made { busy: true, ..made }
}

/// Tries a few times, and gives up for this run: a reader that stays is the application's right.
/// The last attempt, `busy` where the log is not empty, and why it was not tried, where the
/// application left no pause for it. What each look at the log came to is added to `looks`.
fn empty(run: &Run, looks: &mut Vec<Made>) -> Result<(Option<Made>, Option<Error>)> {
    let mut last = looks.last().copied();
    let mut pauses = PAUSES.iter();
    loop {
        // While a reader needs pages of the log, TRUNCATE would only keep writers out.
        if last.is_none_or(|l| l.is_complete()) {
            match truncate(run) {
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
        run.pause(*pause)?;
        last = run.sql(|c| checkpoint(c, Mode::Passive))?;
        looks.extend(last);
    }
}

/// Nearly all was moved by a passive one, which holds up nobody; this one is left with little to
/// do. `None` where its time was not enough.
fn truncate(run: &Run) -> Result<Option<Made>> {
    let mebibytes = u32::try_from(wal_bytes(&run.database.path) >> 20).unwrap_or(u32::MAX);
    run.before_hold(TRUNCATION + PER_MEBIBYTE * mebibytes)?;
    let made = run.sql_within(LONGEST_WAIT, |c| {
        let _hold = run.holds.begin();
        checkpoint(c, Mode::Truncate)
    });
    run.pauses.over();
    match made {
        Err(error) if matches!(error.reason, Reason::Deadline | Reason::Busy) => run.go_on().map(|()| None),
        made => made,
    }
}

/// Remembers and tells of a reader that stays; who it is, in words.
fn note(run: &Run, moved_pages: u64, since: DateTime<Utc>, wal_bytes: u64) -> Result<String> {
    let (name, found) = (&run.database.name, (moved_pages, who(&run.database.path)));
    let (pin, tell) = run.state.now(|c| pin::seen(c, name, found.clone(), since, clock::now()))?;
    if tell {
        let seconds = (clock::now() - pin.since).as_seconds_f64().max(0.0);
        LogPinned { database: name, wal_bytes, seconds, by: &pin.by }.emit();
    }
    Ok(pin.by)
}

fn who(path: &Path) -> String {
    let readers = access::identity(&sidecar(path, "-shm")).map(holders::of_log).unwrap_or_default();
    if !readers.is_empty() {
        return format!("it is of {}", listed(&readers));
    }
    let there: Vec<_> = access::identity(&resolved(path)).into_iter().collect();
    let users = holders::of(FileSelection { there: &there, removed: &[] }).holders;
    if users.is_empty() { String::new() } else { format!("the database is open in {}", listed(&users)) }
}

fn listed(all: &[Holder]) -> String {
    let mut names: Vec<_> = all.iter().take(NAMED).map(ToString::to_string).collect();
    if all.len() > NAMED {
        names.push(format!("{} more", all.len() - NAMED));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn look(busy: bool, moved_pages: u64) -> Made {
        Made { busy, log_pages: 100, moved_pages }
    }

    #[test]
    fn a_reader_stands_where_first_and_last_look_came_to_the_same_page() {
        assert_eq!(stands(&[look(false, 40), look(false, 40), look(false, 40)]), Some(40));
        assert_eq!(stands(&[look(false, 40), look(false, 60)]), None, "readers, one after the other");
        assert_eq!(stands(&[look(false, 100), look(false, 100)]), None, "nothing is left in the log");
    }

    #[test]
    fn a_first_look_beside_another_checkpoint_tells_nothing_of_readers() {
        assert_eq!(stands(&[look(true, 12), look(false, 40), look(false, 40)]), Some(40));
        assert_eq!(stands(&[look(true, 12), look(true, 40), look(true, 40)]), Some(40));
        assert_eq!(stands(&[look(true, 12), look(false, 40), look(false, 60)]), None);
        assert_eq!(stands(&[look(true, 12), look(false, 40)]), None, "one look is no two");
        assert_eq!(stands(&[]), None);
    }
}
