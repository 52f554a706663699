//! Maintenance: missing indexes, REINDEX, VACUUM, ANALYZE, checkpoint, in this order, so that each works on what
//! the one before left. Each step looks first, and then acts or says why not; one that fails does not keep the
//! others from being done. Must never hold the application's writers up for longer than `max_block`, and never
//! change what persists in the file: journal_mode, auto_vacuum, page_size (HAZARDS H7 to H9, H12, H13, H16, H19, H25).

mod analyze;
mod builds;
mod checkpoint;
mod compact;
mod indexes;
mod limits;
mod plans;
mod reindex;
mod slices;
pub mod speed;
mod statistics;
mod step;
mod vacuum;

use std::time::Instant;

use super::{Context, Job, Report, Running, Unit, writing};
use crate::error::{Class, Error, Reason, Result};
use crate::sqlite::files::facts::{Facts, wal_bytes};
use crate::state::facts;
use crate::terms::JobKind;
use crate::words;
pub use checkpoint::Checkpoint;
pub use step::{Cost, Decision, Step, StepName};

/// The maintenance job, as `[maintain]` of the database says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Maintain {
    /// Only looks and decides, and changes nothing.
    pub dry_run: bool,
}

impl Job for Maintain {
    fn kind(&self) -> JobKind {
        JobKind::Maintain
    }

    fn is_preview(&self) -> bool {
        self.dry_run
    }

    fn run<'a>(&'a self, context: &'a Context) -> Running<'a> {
        Box::pin(run(context, self.dry_run))
    }
}

async fn run(context: &Context, preview: bool) -> Result<Report> {
    // What cannot be opened fails once, and not once for each step.
    context.sql(|c| Facts::read(c)).await?;
    if !preview {
        // Learns of the application before anything is decided.
        context.watch_pauses().await?;
    }
    let mut steps: Vec<Step> = Vec::new();
    for name in StepName::ALL {
        context.at(steps.len() as u64, StepName::ALL.len() as u64, Unit::Steps);
        let stopped = |error: Error| error.context(format!("{name}{}", before(&steps)));
        context.go_on().map_err(stopped)?;
        // Also what a step before met.
        writing::refuse(context).await.map_err(|e| if steps.is_empty() { e } else { stopped(e) })?;
        let clock = Instant::now();
        let mut step = match one(name, context, preview, &steps).await {
            Ok(step) => step,
            Err(error) if error.class() == Class::Cancelled && error.reason != Reason::NoPause => {
                return Err(stopped(error));
            }
            Err(error) => {
                // The run's own end goes before the error that it caused.
                context.go_on().map_err(stopped)?;
                Step::failed(name, limits::in_step(name.as_str(), context, error))
            }
        };
        step.seconds = clock.elapsed().as_secs_f64();
        // What a preview reads outside WAL mode is no part of what it tells of.
        let held = context.holds.take();
        if !preview {
            step.held = held;
        }
        steps.push(step);
    }
    context.at(steps.len() as u64, steps.len() as u64, Unit::Steps);
    let summary =
        steps.iter().map(|s| s.why.as_str()).filter(|w| !w.is_empty()).collect::<Vec<_>>().join("; ");
    let mut report = Report::new(summary, &serde_json::json!({ "dry_run": preview, "steps": steps }));
    report.problems = steps.into_iter().flat_map(|s| s.problems).collect();
    Ok(report)
}

async fn one(name: StepName, context: &Context, preview: bool, before: &[Step]) -> Result<Step> {
    match name {
        StepName::Indexes => indexes::run(context, preview).await,
        StepName::Reindex => reindex::run(context, preview).await,
        StepName::Vacuum => vacuum::run(context, preview).await,
        StepName::Analyze => analyze::run(context, preview).await,
        StepName::Checkpoint if preview => Ok(checkpoint_planned(context)),
        StepName::Checkpoint => {
            let vacuumed = |s: &Step| s.step == StepName::Vacuum && s.decision == Decision::Done;
            checkpoint::run(context, before.iter().any(vacuumed)).await
        }
    }
}

/// What the checkpoint would find now; the steps before it would change that.
fn checkpoint_planned(context: &Context) -> Step {
    let (bytes, limit) = (wal_bytes(&context.database.path), context.database.maintain.max_wal);
    let why = match bytes {
        0 => return Step::skipped(StepName::Checkpoint, "no write-ahead log to empty"),
        _ if bytes > limit => {
            "would make a checkpoint and cut the write-ahead log, which is larger than maintain.max_wal"
        }
        _ => "would make a PASSIVE checkpoint, which holds nobody up",
    };
    let step = Step::planned(StepName::Checkpoint, why, Cost::default());
    step.found(format!("WAL {}", words::bytes(bytes)))
}

/// A fact about the database, or its default where there is none.
async fn recall<T>(context: &Context, name: &'static str) -> Result<T>
where
    T: serde::de::DeserializeOwned + Default + Send + 'static,
{
    let database = context.database.name.clone();
    let fact = context.state.with(move |c| facts::recall(c, &database, name)).await?;
    Ok(fact.map(|(value, _)| value).unwrap_or_default())
}

/// What a run that is stopped had already done: its report is lost, its message is not.
fn before(steps: &[Step]) -> String {
    let done: Vec<_> =
        steps.iter().filter(|s| s.decision == Decision::Done).map(|s| s.why.as_str()).collect();
    if done.is_empty() { String::new() } else { format!(" (before it: {})", done.join("; ")) }
}
