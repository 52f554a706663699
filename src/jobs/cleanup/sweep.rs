//! One rule, from its check over the count and the guards to the last batch. Gives way between
//! batches, and stops at once when told to: what was committed stays, and the next run goes on.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::archive::Archive;
use super::batch::{self, ATTEMPTS, Attempt, BatchReport, Share};
use super::choices;
use super::count::Count;
use super::graph::triggers;
use super::guard::Guard;
use super::log::Log;
use super::plan::Plan;
use super::report::RuleReport;
use super::rows::{Tally, rows as rows_in_words};
use super::trial;
use super::walk::{self, Extent, Position};
use crate::config::Rule;
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::moment::Slices;
use crate::jobs::pace::Pace;
use crate::jobs::reading::Reader;
use crate::sqlite::look::sizes;
use crate::terms::progress::Unit;
use crate::words;

/// Three parts of pause to one of work: the application's writers have the lock for three quarters
/// of the time.
const PAUSE_PER_WORK: u32 = 3;

/// Rows of the first batch, and the most of any.
const FIRST: u64 = 100;
const MOST: u64 = 50_000;

/// Per cent of `max_size` that are filled when it was passed: rows differ, and pages have headers
/// that stay.
const FILLED: u128 = 99;

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

/// Carries out a rule. What was done until an error is in the report; the tally holds the rows
/// really removed.
pub(super) fn rule(
    run: &Run,
    rule: &Rule,
    dry_run: bool,
    totals: &mut Totals,
    report: &mut RuleReport,
    tally: &mut Tally,
) -> Result<()> {
    let mut plan = run.sql(|c| Plan::make(c, rule, run.started))?;
    report.describe(&plan);
    let reader = Reader::new(run)?;
    if !dry_run {
        // Learns of the application while the rows are counted.
        run.watch_pauses()?;
    }
    if let Some((rows, why)) = newest(&reader, rule, &plan, report)? {
        reader.read(|c| plan.leave_newest(c, rows, why))?;
        report.describe(&plan);
    }
    let preview = Count::of(&reader, &plan, &plan.graph)?;
    report.set_count(&preview);
    report.share = share(preview.removed(&plan.table), report.rows);
    if let Some(refusal) = unread(&plan, &preview, run.started) {
        return Err(refusal);
    }
    if dry_run {
        report.set_touched(&preview.tally);
    }
    guard(run, &plan, totals, &preview, &preview.tally)?;
    if !preview.blockers.is_empty() {
        return Err(choices::refusal(&reader, rule, &plan, &preview)?);
    }
    if report.matched > 0 {
        triggers::in_step(run, &reader, &plan.triggers)?;
        trial::refuse(&reader, &plan)?;
    }
    if dry_run {
        note(totals, &preview, &preview.tally);
        return Ok(());
    }
    totals.wanted += report.matched;
    let since = Instant::now();
    let before = violations(&reader, &plan)?;
    // Writers must not be kept waiting while large tables are looked at, again with each batch.
    let in_batches = !plan.triggers.names.is_empty() && since.elapsed() <= run.database.cleanup.batch_target;
    // Nothing is made where nothing is to be archived.
    let mut archive =
        if report.matched > 0 { Archive::open(&run.database, rule, &plan.table, run.started)? } else { None };
    let sweep = Sweep { run, plan: &plan, totals, preview: &preview, reader: &reader, before, in_batches };
    let swept = sweep.all(archive.as_mut(), report, tally);
    let closed = close(archive, report);
    report.set_touched(tally);
    report.share = share(report.removed, report.rows);
    totals.done += report.removed;
    note(totals, &preview, tally);
    swept?;
    closed?;
    left_whole(&reader, &plan, before)
}

/// The refusal of a rule that can judge no row of many by their dates.
fn unread(plan: &Plan, count: &Count, now: DateTime<Utc>) -> Option<Error> {
    let (column, sample) = plan.goes.column.as_ref().zip(plan.sample.as_ref())?;
    if count.unreadable < count.rows { None } else { sample.reads_nothing(column.format, now) }
}

/// Refuses to go on where more rows than `before` point at nothing.
fn left_whole(reader: &Reader<'_>, plan: &Plan, before: u64) -> Result<()> {
    let after = violations(reader, plan)?;
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
fn newest(
    reader: &Reader<'_>,
    rule: &Rule,
    plan: &Plan,
    report: &mut RuleReport,
) -> Result<Option<(u64, String)>> {
    let beyond = |rows: u64| format!("beyond the newest {}", rows_in_words(rows));
    let kept = rule.keep_rows.map(|rows| (rows, beyond(rows)));
    let Some(most) = rule.max_size else { return Ok(kept) };
    let mut bytes = 0;
    let trees = reader.read(|c| sizes::trees(c))?;
    for tree in trees.into_iter().filter(|tree| tree.table == plan.table) {
        bytes += reader.read(|c| sizes::content_bytes(c, &tree))?;
    }
    report.size_bytes = Some(bytes);
    let rows = reader.read(|c| sizes::rows(c, &plan.table))?;
    // Rows of an average size: what one takes is known of none.
    let fitting = u128::from(rows) * u128::from(most) * FILLED / (u128::from(bytes.max(1)) * 100);
    let fitting = u64::try_from(fitting).unwrap_or(u64::MAX);
    let fits = (bytes > most)
        .then(|| (fitting, format!("{}, which fit into max_size = {}", beyond(fitting), words::bytes(most))));
    Ok(kept.into_iter().chain(fits).min_by_key(|(rows, _)| *rows))
}

/// Refuses what takes the run past `max_share` of a table.
fn guard(run: &Run, plan: &Plan, totals: &Totals, preview: &Count, tally: &Tally) -> Result<()> {
    let why = plan.why.join(" or ");
    for (table, rows) in &preview.tables {
        let removed = tally.get(table).map_or(0, |touched| touched.removed);
        let why = if *table == plan.table {
            format!("as {why}")
        } else {
            format!("with rows of {} that are {why}", plan.table)
        };
        totals.guard.check(table, *rows, removed, run.database.cleanup.max_share, &why)?;
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
    run: &'a Run,
    plan: &'a Plan,
    totals: &'a Totals,
    preview: &'a Count,
    reader: &'a Reader<'a>,
    /// Rows that pointed at nothing before.
    before: u64,
    /// Whether each batch looks for more of them before it is committed.
    in_batches: bool,
}

impl Sweep<'_> {
    /// Deletes, batch by batch.
    fn all(
        &self,
        mut archive: Option<&mut Archive>,
        report: &mut RuleReport,
        tally: &mut Tally,
    ) -> Result<()> {
        let (run, plan, totals) = (self.run, self.plan, self.totals);
        let pace = Pace::new(run.database.cleanup.batch_target, FIRST, MOST);
        let mut slices = Slices::begin(run, pace)?;
        let mut position = (report.matched > 0).then(|| Position::of_oldest(plan));
        let mut longest = Duration::ZERO;
        let mut log = Log::new(run);
        run.at(totals.done, totals.wanted, Unit::Rows);
        while let Some(from) = position {
            let step = self.batch(&from, &mut slices, archive.as_deref_mut())?;
            for (table, touched) in &step.tally {
                let sum = tally.entry(table.clone()).or_default();
                sum.removed += touched.removed;
                sum.changed += touched.changed;
            }
            if let Some(lasted) = step.lasted {
                longest = longest.max(lasted);
                report.batches += 1;
                report.longest_transaction_ms = longest.as_secs_f64() * 1e3;
                slices.done(step.worked, lasted);
                // Rows that became old after the count have been judged by nobody.
                guard(run, plan, totals, self.preview, tally)?;
                // What triggers do to the first rows they do to all.
                if report.batches == 1 && !plan.triggers.names.is_empty() && !self.in_batches {
                    left_whole(self.reader, plan, self.before)?;
                }
                let removed = tally.get(&plan.table).map_or(0, |touched| touched.removed);
                run.at(totals.done + removed, totals.wanted.max(totals.done + removed), Unit::Rows);
                if step.next.is_some() {
                    let worked = lasted + step.moved.map_or(Duration::ZERO, |(took, _)| took);
                    run.pause(worked * PAUSE_PER_WORK)?;
                    log.watch(run, &step, self.reader.facts.page_size)?;
                }
                report.wal_peak_bytes = log.peak;
            }
            position = step.next;
        }
        Ok(())
    }

    fn batch(
        &self,
        from: &Position,
        slices: &mut Slices<'_>,
        mut archive: Option<&mut Archive>,
    ) -> Result<BatchReport> {
        let (run, plan) = (self.run, self.plan);
        let limit = run.database.maintain.max_block;
        let mut attempt = 1;
        slices.renew();
        loop {
            let rows = usize::try_from(slices.size()).unwrap_or(usize::MAX);
            let slice = run
                .read_within(limit, |c| walk::slice(c, plan, Extent::Old, from, rows))
                .map_err(|e| self.too_long(e, rows))?;
            if slice.old.is_empty() {
                return Ok(BatchReport { next: slice.next, ..BatchReport::default() });
            }
            let Some(timed) = slices.moment(slice.old.len() as u64)? else { continue };
            let share = Share { slice, checked: self.in_batches, timed };
            let archive = archive.as_deref_mut();
            match run.sql_within(limit, |c| batch::remove(run, c, plan, &share, archive)) {
                Ok(Attempt::Done(step)) => return Ok(step),
                Ok(Attempt::Taken) => {
                    slices.taken()?;
                    continue;
                }
                Err(error) if error.reason == Reason::Busy && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(self.too_long(error, rows)),
            }
            run.pause(BUSY_PAUSE)?;
        }
    }

    /// A batch that was given up, in words.
    fn too_long(&self, error: Error, rows: usize) -> Error {
        if error.reason != Reason::Deadline {
            return error;
        }
        if let Err(stopped) = self.run.go_on() {
            return stopped;
        }
        Error::new(
            Reason::Refused,
            format!(
                "a batch of {} takes longer than maintain.max_block = {} allows; it was rolled back, so that the application \
                 can write. Look at its triggers, and for indexes on the columns that point here",
                rows_in_words(rows as u64),
                show_duration(self.run.database.maintain.max_block)
            ),
        )
    }
}

/// Closes the archive, and says where the rows went.
fn close(archive: Option<Archive>, report: &mut RuleReport) -> Result<()> {
    if let Some((files, rows)) = archive.map(Archive::finish).transpose()? {
        report.archived = rows;
        report.archive = files.iter().map(|file| file.display().to_string()).collect();
    }
    Ok(())
}

/// Rows that point at nothing, over the tables that the rule reaches by foreign keys.
fn violations(reader: &Reader<'_>, plan: &Plan) -> Result<u64> {
    if plan.is_plain() {
        return Ok(0);
    }
    let mut found = 0;
    for node in &plan.graph.tables {
        found += reader.read(|c| batch::violations_of(c, &node.name))?;
    }
    Ok(found)
}
