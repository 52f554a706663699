//! Maintenance: missing indexes, REINDEX, VACUUM, ANALYZE, checkpoint, in this order, so that each
//! works on what the one before left. Each step looks first, and then acts or says why not; one
//! that fails does not keep the others from being done. Must never hold the application's writers
//! up for longer than `max_block`, and never change what persists in the file: journal_mode,
//! auto_vacuum, page_size (HAZARDS H7 to H9, H12, H13, H16, H19, H25).

mod analyze;
mod checkpoint;
mod compact;
mod indexes;
mod plans;
mod reindex;
mod slices;
pub mod speed;
mod statistics;
mod step;
mod vacuum;

use std::time::Instant;

use super::{Access, Job, Report, Run, limits, reading, writing};
use crate::error::{Class, Error, Reason, Result};
use crate::sqlite::files::paths::wal_bytes;
use crate::terms::JobKind;
use crate::terms::progress::Unit;
use crate::words;
pub use checkpoint::Checkpoint;
pub use step::{Cost, Decision, StepName, StepReport};

/// The maintenance job, as `[maintain]` of the database says.
#[derive(Debug, Clone, Copy)]
pub struct Maintain;

impl Job for Maintain {
    const KIND: JobKind = JobKind::Maintain;
    const WRITES: bool = true;

    fn run(&self, run: &Run) -> Result<Report> {
        steps(run, false)
    }
}

/// The same, which only looks and decides, and changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Preview;

impl Job for Preview {
    const KIND: JobKind = JobKind::Maintain;
    const WRITES: bool = true;
    const ACCESS: Access = Access::Preview;

    fn run(&self, run: &Run) -> Result<Report> {
        steps(run, true)
    }
}

fn steps(run: &Run, preview: bool) -> Result<Report> {
    // What cannot be opened fails once, and not once for each step.
    reading::first_look(run)?;
    if !preview {
        // Learns of the application before anything is decided.
        run.watch_pauses()?;
    }
    let mut steps: Vec<StepReport> = Vec::new();
    for name in StepName::ALL {
        run.at(steps.len() as u64, StepName::ALL.len() as u64, Unit::Steps);
        let stopped = |error: Error| error.context(format!("{name}{}", before(&steps)));
        run.go_on().map_err(stopped)?;
        // Also what a step before met.
        writing::refuse(run).map_err(|e| if steps.is_empty() { e } else { stopped(e) })?;
        let clock = Instant::now();
        let mut step = match one(name, run, preview, &steps) {
            Ok(step) => step,
            Err(error) if error.class() == Class::Cancelled && error.reason != Reason::NoPause => {
                return Err(stopped(error));
            }
            Err(error) => {
                // The run's own end goes before the error that it caused.
                run.go_on().map_err(stopped)?;
                StepReport::failed(name, limits::in_step(name.as_str(), run, error))
            }
        };
        step.seconds = clock.elapsed().as_secs_f64();
        // What a preview reads outside WAL mode is no part of what it tells of.
        let held = run.holds.take();
        if !preview {
            step.held = held;
        }
        steps.push(step);
    }
    run.at(steps.len() as u64, steps.len() as u64, Unit::Steps);
    let summary =
        steps.iter().map(|s| s.why.as_str()).filter(|w| !w.is_empty()).collect::<Vec<_>>().join("; ");
    let mut report = Report::new(summary, &serde_json::json!({ "dry_run": preview, "steps": steps }));
    for step in steps {
        report.problems.extend(step.problems);
        report.left_out.extend(step.left_out);
    }
    Ok(report)
}

fn one(name: StepName, run: &Run, preview: bool, before: &[StepReport]) -> Result<StepReport> {
    match name {
        StepName::Indexes => indexes::run(run, preview),
        StepName::Reindex => reindex::run(run, preview),
        StepName::Vacuum => vacuum::run(run, preview),
        StepName::Analyze => analyze::run(run, preview),
        StepName::Checkpoint if preview => Ok(checkpoint_planned(run)),
        StepName::Checkpoint => {
            let vacuumed = |s: &StepReport| s.step == StepName::Vacuum && s.decision == Decision::Done;
            checkpoint::run(run, before.iter().any(vacuumed))
        }
    }
}

/// What the checkpoint would find now; the steps before it would change that.
fn checkpoint_planned(run: &Run) -> StepReport {
    let (bytes, limit) = (wal_bytes(&run.database.path), run.database.maintain.max_wal);
    let why = match bytes {
        0 => return StepReport::skipped(StepName::Checkpoint, "no write-ahead log to empty"),
        _ if bytes > limit => {
            "would make a checkpoint and cut the write-ahead log, which is larger than maintain.max_wal"
        }
        _ => "would make a PASSIVE checkpoint, which holds nobody up",
    };
    let step = StepReport::planned(StepName::Checkpoint, why, Cost::default());
    step.found(format!("WAL {}", words::bytes(bytes)))
}

/// What a run that is stopped had already done: its report is lost, its message is not.
fn before(steps: &[StepReport]) -> String {
    let done: Vec<_> =
        steps.iter().filter(|s| s.decision == Decision::Done).map(|s| s.why.as_str()).collect();
    if done.is_empty() { String::new() } else { format!(" (before it: {})", done.join("; ")) }
}
