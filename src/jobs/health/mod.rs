//! Looks after a database without reading all of it: its connections, the declared indexes, the sizes of its
//! tables, and statements that were slow. Writes nothing to the database.

mod advice;
mod application;
mod growth;
mod indexes;
mod pool;
mod slow;
mod tables;

use super::verdicts::{self, Check};
use super::{Context, Job, Report, Running, damage};
use crate::error::Result;
use crate::terms::JobKind;

/// The job.
pub struct Health;

impl Job for Health {
    fn kind(&self) -> JobKind {
        JobKind::Health
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn run<'a>(&'a self, context: &'a Context) -> Running<'a> {
        Box::pin(run(context))
    }
}

async fn run(context: &Context) -> Result<Report> {
    let (pool, answers) = pool::check(context).await?;
    let mut checks = vec![pool];
    if answers {
        checks.push(indexes::check(context).await?);
        checks.push(tables::check(context).await?);
    } else {
        // Asked again, a database that lets nobody in would only make us wait again (HAZARDS H21).
        let why = "the database cannot be read now; see the check pool";
        checks.extend([indexes::NAME, tables::NAME].map(|name| Check::unknown(name, why)));
    }
    checks.push(slow::check(context).await?);
    checks.push(application::check(context).await?);
    let mut report = verdicts::report(&checks);
    report.problems.extend(verdicts::keep(context, &checks).await.err());
    // Not looked for here, and nothing else is worth more attention.
    match damage::known(context).await {
        Ok(known) => report.findings.extend(known.filter(|_| answers)),
        Err(error) => report.problems.push(error),
    }
    Ok(report)
}
