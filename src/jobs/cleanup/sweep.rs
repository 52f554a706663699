//! One rule, from its check over the count and the guards to the last batch. Gives way between batches, and stops
//! at once when told to: what was committed stays, and the next run goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::archive::Archive;
use super::batch::{self, Attempt, Share, Step, Tally};
use super::choices;
use super::count::Count;
use super::guard::Guard;
use super::log::Log;
use super::plan::Plan;
use super::report::{RuleReport, rows as rows_in_words};
use super::triggers;
use super::walk::{self, Extent, Position};
use crate::config::Rule;
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::jobs::moment::{LEAST, STARVED};
use crate::jobs::pace::Pace;
use crate::jobs::reading::Reader;
use crate::jobs::{Context, Unit, blocking};
use crate::sqlite::look::sizes;
use crate::sqlite::pauses::{Locks, Moment};
use crate::words;

/// Three parts of pause to one of work: the application's writers have the lock for three quarters of the time.
const PAUSE_PER_WORK: u32 = 3;

/// Rows of the first batch, and the most of any.
const FIRST: u64 = 100;
const MOST: u64 = 50_000;

/// Per cent of `max_size` that are filled when it was passed: rows differ, and pages have headers that stay.
const FILLED: u128 = 99;

/// Attempts at a batch that finds the database locked; each waits for `pool.busy_timeout` itself.
pub(super) const ATTEMPTS: u32 = 3;

/// Pause before another attempt.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// What the rules of one run share.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) guard: Guard,
    /// Rows removed by the rules before.
    done: u64,
    /// Rows that all rules so far wanted removed.
    wanted: u64,
}

/// Carries out a rule. What was done until an error is in the report; the tally holds the rows really removed.
pub(super) async fn rule(
    context: &Context,
    rule: &Rule,
    dry_run: bool,
    totals: &mut Totals,
    report: &mut RuleReport,
    tally: &mut Tally,
) -> Result<()> {
    let mut plan = {
        let (rule, started) = (rule.clone(), context.started);
        context.sql(move |c| Plan::make(c, &rule, started)).await?
    };
    report.describe(&plan);
    let reader = Reader::new(context).await?;
    if !dry_run {
        // Learns of the application while the rows are counted.
        context.watch_pauses().await?;
    }
    if let Some((rows, why)) = newest(&reader, rule, &plan, report).await? {
        plan = reader
            .read(move |c| {
                plan.leave_newest(c, rows, why)?;
                Ok(plan)
            })
            .await?;
        report.describe(&plan);
    }
    let plan = Arc::new(plan);
    let preview = Count::of(&reader, &plan, &plan.graph).await?;
    report.set_count(&preview);
    report.share = share(preview.removed(&plan.table), report.rows);
    if dry_run {
        report.set_touched(&preview.tally);
    }
    guard(context, &plan, totals, &preview, &preview.tally)?;
    if !preview.blockers.is_empty() {
        return Err(choices::refusal(&reader, rule, &plan, &preview).await?);
    }
    if report.matched > 0 {
        triggers::in_step(context, &reader, &plan.triggers).await?;
    }
    if dry_run {
        note(totals, &preview, &preview.tally);
        return Ok(());
    }
    totals.wanted += report.matched;
    let since = Instant::now();
    let before = violations(&reader, &plan).await?;
    // Writers must not be kept waiting while large tables are looked at, again with each batch.
    let in_batches =
        !plan.triggers.names.is_empty() && since.elapsed() <= context.database.cleanup.batch_target;
    // Nothing is made where nothing is to be archived.
    let archive = if report.matched > 0 {
        let (database, started) = (Arc::clone(&context.database), context.started);
        let (rule, table) = (rule.clone(), plan.table.clone());
        blocking(move || Archive::open(&database, &rule, &table, started)).await?
    } else {
        None
    };
    let archive = Arc::new(Mutex::new(archive));
    let sweep = Sweep {
        context,
        plan: &plan,
        totals,
        preview: &preview,
        archive: &archive,
        reader: &reader,
        before,
        in_batches,
        locks: context.watch_pauses().await?,
    };
    let swept = sweep.run(report, tally).await;
    let closed = close(&archive, report).await;
    report.set_touched(tally);
    report.share = share(report.removed, report.rows);
    totals.done += report.removed;
    note(totals, &preview, tally);
    swept?;
    closed?;
    left_whole(&reader, &plan, before).await
}

/// Refuses to go on where more rows than `before` point at nothing.
async fn left_whole(reader: &Reader<'_>, plan: &Plan, before: u64) -> Result<()> {
    let after = violations(reader, plan).await?;
    if after <= before {
        return Ok(());
    }
    let who = if plan.triggers.names.is_empty() { "what" } else { "the triggers, and at what" };
    Err(Error::new(
        Reason::Refused,
        format!(
            "after the cleanup {} more than before point at nothing (PRAGMA foreign_key_check); litekeeper's own \
             deletes leave none, so look at {who} the application wrote meanwhile",
            rows_in_words(after - before)
        ),
    ))
}

/// How many of the newest rows `keep_rows` and `max_size` leave, and how to say that; `None`: all.
async fn newest(
    reader: &Reader<'_>,
    rule: &Rule,
    plan: &Plan,
    report: &mut RuleReport,
) -> Result<Option<(u64, String)>> {
    let beyond = |rows: u64| format!("beyond the newest {}", rows_in_words(rows));
    let kept = rule.keep_rows.map(|rows| (rows, beyond(rows)));
    let Some(most) = rule.max_size else { return Ok(kept) };
    let table = plan.table.clone();
    let trees = reader
        .read(move |c| Ok(sizes::trees(c)?.into_iter().filter(|t| t.table == table).collect::<Vec<_>>()));
    let mut bytes = 0;
    for tree in trees.await? {
        bytes += reader.read(move |c| sizes::content_bytes(c, &tree.name)).await?;
    }
    report.size_bytes = Some(bytes);
    let table = plan.table.clone();
    let rows = reader.read(move |c| sizes::rows(c, &table)).await?;
    // Rows of an average size: what one takes is known of none.
    let fitting = u128::from(rows) * u128::from(most) * FILLED / (u128::from(bytes.max(1)) * 100);
    let fitting = u64::try_from(fitting).unwrap_or(u64::MAX);
    let fits = (bytes > most)
        .then(|| (fitting, format!("{}, which fit into max_size = {}", beyond(fitting), words::bytes(most))));
    Ok(kept.into_iter().chain(fits).min_by_key(|(rows, _)| *rows))
}

/// Refuses what takes the run past `max_share` of a table.
fn guard(context: &Context, plan: &Plan, totals: &Totals, preview: &Count, tally: &Tally) -> Result<()> {
    let why = plan.why.join(" or ");
    for (table, rows) in &preview.tables {
        let removed = tally.get(table).map_or(0, |touched| touched.removed);
        let why = if *table == plan.table {
            format!("as {why}")
        } else {
            format!("with rows of {} that are {why}", plan.table)
        };
        totals.guard.check(table, *rows, removed, context.database.cleanup.max_share, &why)?;
    }
    Ok(())
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn note(totals: &mut Totals, preview: &Count, tally: &Tally) {
    for (table, touched) in tally {
        // A row that came to point here after the count is in a table that had not been looked at.
        let rows = preview.tables.get(table).copied().unwrap_or(touched.removed);
        totals.guard.note(table, rows, touched.removed);
    }
}

/// What the batches of a rule have in common.
struct Sweep<'a> {
    context: &'a Context,
    plan: &'a Arc<Plan>,
    totals: &'a Totals,
    preview: &'a Count,
    archive: &'a Arc<Mutex<Option<Archive>>>,
    reader: &'a Reader<'a>,
    /// Rows that pointed at nothing before.
    before: u64,
    /// Whether each batch looks for more of them before it is committed.
    in_batches: bool,
    /// Where the application's transactions show.
    locks: Locks,
}

impl Sweep<'_> {
    /// Deletes, batch by batch.
    async fn run(&self, report: &mut RuleReport, tally: &mut Tally) -> Result<()> {
        let (context, plan, totals) = (self.context, self.plan, self.totals);
        let mut pace = Pace::new(context.database.cleanup.batch_target, FIRST, MOST);
        let mut position = (report.matched > 0).then(|| Position::of_oldest(plan));
        let mut longest = Duration::ZERO;
        let mut log = Log::new(context);
        context.at(totals.done, totals.wanted, Unit::Rows);
        while let Some(from) = position {
            let step = self.batch(&from, &mut pace).await?;
            for (table, touched) in &step.tally {
                let sum = tally.entry(table.clone()).or_default();
                sum.removed += touched.removed;
                sum.changed += touched.changed;
            }
            if let Some(lasted) = step.lasted {
                longest = longest.max(lasted);
                report.batches += 1;
                report.longest_transaction_ms = longest.as_secs_f64() * 1e3;
                pace.learn(step.worked, lasted);
                // Rows that became old after the count have been judged by nobody.
                guard(context, plan, totals, self.preview, tally)?;
                // What triggers do to the first rows they do to all.
                if report.batches == 1 && !plan.triggers.names.is_empty() && !self.in_batches {
                    left_whole(self.reader, plan, self.before).await?;
                }
                let removed = tally.get(&plan.table).map_or(0, |touched| touched.removed);
                context.at(totals.done + removed, totals.wanted.max(totals.done + removed), Unit::Rows);
                if step.next.is_some() {
                    let worked = lasted + step.moved.map_or(Duration::ZERO, |(took, _)| took);
                    context.pause(worked * PAUSE_PER_WORK).await?;
                    log.watch(context, &step, self.reader.facts.page_size).await?;
                }
                report.wal_peak_bytes = log.peak;
            }
            position = step.next;
        }
        Ok(())
    }

    async fn batch(&self, from: &Position, pace: &mut Pace) -> Result<Step> {
        let context = self.context;
        let (limit, patience) = (context.database.maintain.max_block, context.patience());
        let (mut attempt, mut taken) = (1, 0);
        loop {
            let (plan, position, rows) =
                (Arc::clone(self.plan), from.clone(), usize::try_from(pace.size()).unwrap_or(usize::MAX));
            let find = move |c: &mut Connection| walk::slice(c, &plan, Extent::Old, &position, rows);
            let slice = context.sql_within(limit, find).await.map_err(|e| self.too_long(e, rows))?;
            if slice.old.is_empty() {
                return Ok(Step { next: slice.next, ..Step::default() });
            }
            let timed =
                match context.moment(self.locks, pace.expected(slice.old.len() as u64), &patience).await? {
                    Moment::None(longest) => {
                        pace.fit(Some(longest).filter(|longest| *longest >= LEAST));
                        continue;
                    }
                    Moment::Pause(lasts) => {
                        pace.fit(Some(lasts));
                        true
                    }
                    Moment::Quiet => {
                        pace.fit(None);
                        true
                    }
                    Moment::Unseen => {
                        pace.fit(None);
                        false
                    }
                };
            let (plan, path) = (Arc::clone(self.plan), context.database.path.clone());
            let timed = timed && (self.locks == Locks::Log || taken < STARVED);
            let share = Share { slice, checked: self.in_batches, timed };
            let (archive, holds) = (Arc::clone(self.archive), Arc::clone(&context.holds));
            let pauses = Arc::clone(&context.pauses);
            let work = context.sql_within(limit, move |c| {
                let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                batch::run(c, &path, &plan, &share, (&holds, &pauses), archive.as_mut())
            });
            match work.await {
                Ok(Attempt::Done(step)) => return Ok(step),
                Ok(Attempt::Taken) => {
                    taken += 1;
                    pace.shrink();
                    patience.check(context)?;
                    continue;
                }
                Err(error) if error.reason == Reason::Busy && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(self.too_long(error, rows)),
            }
            context.pause(BUSY_PAUSE).await?;
        }
    }

    /// A batch that was given up, in words.
    fn too_long(&self, error: Error, rows: usize) -> Error {
        if error.reason != Reason::Deadline {
            return error;
        }
        if let Err(stopped) = self.context.go_on() {
            return stopped;
        }
        Error::new(
            Reason::Refused,
            format!(
                "a batch of {} takes longer than maintain.max_block = {} allows; it was rolled back, so that the application \
                 can write. Look at its triggers, and for indexes on the columns that point here",
                rows_in_words(rows as u64),
                show_duration(self.context.database.maintain.max_block)
            ),
        )
    }
}

/// Closes the archive, and says where the rows went.
async fn close(archive: &Arc<Mutex<Option<Archive>>>, report: &mut RuleReport) -> Result<()> {
    let archive = Arc::clone(archive);
    let closed = blocking(move || {
        let archive = archive.lock().unwrap_or_else(PoisonError::into_inner).take();
        archive.map(Archive::finish).transpose()
    });
    if let Some((files, rows)) = closed.await? {
        report.archived = rows;
        report.archive = files.iter().map(|file| file.display().to_string()).collect();
    }
    Ok(())
}

/// Rows that point at nothing, over the tables that the rule reaches by foreign keys.
async fn violations(reader: &Reader<'_>, plan: &Plan) -> Result<u64> {
    if plan.is_plain() {
        return Ok(0);
    }
    let mut found = 0;
    for node in &plan.graph.tables {
        let table = node.name.clone();
        found += reader.read(move |c| batch::violations_of(c, &table)).await?;
    }
    Ok(found)
}
