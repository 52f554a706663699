//! Looks for damage: SQLite's own check of all pages and indexes, and of the foreign keys. Only
//! reads; what cannot be checked here, because only the application has what it takes, is never
//! called damage (HAZARDS H16).

mod indexes;
mod omissions;
mod pages;
mod references;
mod search;

use super::reading::Reader;
use super::verdicts::{self, Check, INTEGRITY, met};
use super::{Access, Job, Report, Run};
use crate::commands;
use crate::error::{Class, Error, Reason, Result};
use crate::sqlite::checks;
use crate::terms::JobKind;

/// The job.
pub struct Integrity;

impl Job for Integrity {
    const KIND: JobKind = JobKind::Integrity;
    const ACCESS: Access = Access::Shared;

    fn run(&self, run: &Run) -> Result<Report> {
        let opened = Reader::new(run).and_then(|reader| Ok((reader, run.sql(|c| checks::tables(c))?)));
        let mut problems = Vec::new();
        let checks = match opened {
            Ok((reader, tables)) => {
                vec![
                    pages::check(run, &reader, &tables, &mut problems)?,
                    references::check(run, &reader, &tables, &mut problems)?,
                ]
            }
            Err(error) => unreadable(run, met(run, error)?, &mut problems)?,
        };
        let mut report = verdicts::report(&checks);
        report.problems.append(&mut problems);
        report.problems.extend(verdicts::keep(run, &checks).err());
        Ok(report)
    }
}

/// The checks of a database of which not even the schema can be read. What may go away by itself
/// fails the run, which is then tried again.
fn unreadable(run: &Run, error: Error, problems: &mut Vec<Error>) -> Result<Vec<Check>> {
    // Most messages name the file themselves, and what to do: nobody shall restore a backup in
    // place of a file that is whole, only encrypted or too new.
    let detail = match &error.file {
        Some(_) => error.message.clone(),
        None => format!("{} cannot be read: {}", run.database.path.display(), error.message),
    };
    let detail = match error.reason {
        Reason::NotADatabase => format!(
            "{detail}; or save what can be read of it ({})",
            commands::litekeeper(format_args!("recover {} --to PATH", run.database.name))
        ),
        // Of damage, what to do is said already.
        _ => detail,
    };
    let damaged = matches!(
        error.reason,
        Reason::Damaged | Reason::NotADatabase | Reason::Encrypted | Reason::NewerFormat
    );
    let checks = vec![
        if damaged { Check::bad(INTEGRITY, error.reason, detail) } else { Check::unknown(INTEGRITY, detail) },
        Check::unknown(references::NAME, format!("the database cannot be read; see the check {INTEGRITY}")),
    ];
    if error.class() == Class::Transient {
        verdicts::keep(run, &checks)?;
        return Err(error);
    }
    if !damaged {
        problems.push(error);
    }
    Ok(checks)
}
