//! Refreshes the planner's statistics, one table at a time: those that need it, or all.

use super::step::{Step, StepName, within_max_block};
use crate::config::Analyze;
use crate::error::Result;
use crate::jobs::Context;
use crate::sqlite::analyze::{self, ESTIMATE, EXACT};
use crate::sqlite::schema;
use crate::words::plural;

const STEP: StepName = StepName::Analyze;

pub(super) async fn run(context: &Context) -> Result<Step> {
    let (tables, limit) = match context.database.maintain.analyze {
        Analyze::Never => return Ok(Step::skipped(STEP, "ANALYZE is off")),
        // Even to look, SQLite takes the write lock where there are several tables.
        Analyze::Auto => match within_max_block(context, "ANALYZE", |c| analyze::due(c)).await? {
            Ok(due) => (due, ESTIMATE),
            Err(problem) => return Ok(Step::failed(STEP, problem)),
        },
        Analyze::Always => {
            let all = context.sql(|c| schema::tables(c)).await?;
            (all.into_iter().map(|t| t.name).collect(), EXACT)
        }
    };
    if tables.is_empty() {
        return Ok(Step::skipped(STEP, "ANALYZE not needed"));
    }
    let (mut analyzed, mut problems) = (Vec::new(), Vec::new());
    for table in tables {
        let name = table.clone();
        let work = move |c: &mut rusqlite::Connection| analyze::analyze(c, &name, limit);
        match within_max_block(context, &format!("ANALYZE {table}"), work).await? {
            Ok(()) => analyzed.push(table),
            Err(problem) => problems.push(problem),
        }
    }
    let why = format!("ANALYZE of {} done", plural(analyzed.len() as u64, "table", "tables"));
    Ok(Step::of_parts(STEP, why, analyzed, problems))
}
