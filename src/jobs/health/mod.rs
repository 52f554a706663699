//! Looks after a database without reading all of it: its connections, the declared indexes, the
//! sizes of its tables, and statements that were slow. Writes nothing to the database.

mod advice;
mod application;
mod growth;
mod indexes;
mod pool;
mod slow;
mod tables;

use super::verdicts::{self, Check};
use super::{Access, Job, Report, Run, damage};
use crate::error::Result;
use crate::terms::JobKind;

/// The job.
pub struct Health;

impl Job for Health {
    const KIND: JobKind = JobKind::Health;
    const ACCESS: Access = Access::Shared;

    fn run(&self, run: &Run) -> Result<Report> {
        let (pool, answers) = pool::check(run)?;
        let mut checks = vec![pool];
        if answers {
            checks.push(indexes::check(run)?);
            checks.push(tables::check(run)?);
        } else {
            // Asked again, a database that lets nobody in would only make us wait again (HAZARDS
            // H21).
            let why = "the database cannot be read now; see the check pool";
            checks.extend([indexes::NAME, tables::NAME].map(|name| Check::unknown(name, why)));
        }
        checks.push(slow::check(run)?);
        checks.push(application::check(run)?);
        let mut report = verdicts::report(&checks);
        report.problems.extend(verdicts::keep(run, &checks).err());
        // Not looked for here, and nothing else is worth more attention.
        match damage::known(run) {
            Ok(known) => report.findings.extend(known.filter(|_| answers)),
            Err(error) => report.problems.push(error),
        }
        Ok(report)
    }
}
