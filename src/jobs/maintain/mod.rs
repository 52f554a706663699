//! Maintenance: missing indexes, REINDEX, VACUUM, ANALYZE, checkpoint, in this order, so that each works on what
//! the one before left. Each step looks first, and then acts or says why not; one that fails does not keep the
//! others from being done. Must never hold the application's writers up for longer than `max_block`, and never
//! change what persists in the file: journal_mode, auto_vacuum, page_size (HAZARDS H7 to H9, H12, H13, H16, H19, H25).

mod analyze;
mod checkpoint;
mod indexes;
mod reindex;
mod step;
mod vacuum;

use std::time::Instant;

use super::{Context, Job, Report, Running, Unit};
use crate::config::JobKind;
use crate::error::{Class, Error, Result};
use crate::sqlite::facts::Facts;
pub use checkpoint::Checkpoint;
pub use step::{Decision, Step, StepName};

/// The maintenance job, as `[maintain]` of the database says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Maintain;

impl Job for Maintain {
    fn kind(&self) -> JobKind {
        JobKind::Maintain
    }

    fn run<'a>(&'a self, context: &'a Context) -> Running<'a> {
        Box::pin(run(context))
    }
}

async fn run(context: &Context) -> Result<Report> {
    // What cannot be opened fails once, and not once for each step.
    context.sql(|c| Facts::read(c)).await?;
    let mut steps: Vec<Step> = Vec::new();
    for name in StepName::ALL {
        context.at(steps.len() as u64, StepName::ALL.len() as u64, Unit::Steps);
        let stopped = |error: Error| error.context(format!("{name}{}", before(&steps)));
        context.go_on().map_err(stopped)?;
        let clock = Instant::now();
        let mut step = match one(name, context, &steps).await {
            Ok(step) => step,
            Err(error) if error.class() == Class::Cancelled => return Err(stopped(error)),
            Err(error) => {
                // The run's own end goes before the error that it caused.
                context.go_on().map_err(stopped)?;
                Step::failed(name, step::in_step(name.as_str(), context, error))
            }
        };
        step.seconds = clock.elapsed().as_secs_f64();
        steps.push(step);
    }
    context.at(steps.len() as u64, steps.len() as u64, Unit::Steps);
    let summary =
        steps.iter().map(|s| s.why.as_str()).filter(|w| !w.is_empty()).collect::<Vec<_>>().join("; ");
    let mut report = Report::new(summary, &serde_json::json!({ "steps": steps }));
    report.problems = steps.into_iter().flat_map(|s| s.problems).collect();
    Ok(report)
}

async fn one(name: StepName, context: &Context, before: &[Step]) -> Result<Step> {
    match name {
        StepName::Indexes => indexes::run(context).await,
        StepName::Reindex => reindex::run(context).await,
        StepName::Vacuum => vacuum::run(context).await,
        StepName::Analyze => analyze::run(context).await,
        StepName::Checkpoint => {
            let vacuumed = |s: &Step| s.step == StepName::Vacuum && s.decision == Decision::Done;
            checkpoint::run(context, before.iter().any(vacuumed)).await
        }
    }
}

/// What a run that is stopped had already done: its report is lost, its message is not.
fn before(steps: &[Step]) -> String {
    let done: Vec<_> =
        steps.iter().filter(|s| s.decision == Decision::Done).map(|s| s.why.as_str()).collect();
    if done.is_empty() { String::new() } else { format!(" (before it: {})", done.join("; ")) }
}
