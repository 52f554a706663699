//! Recover: finds out what of a database is damaged, and gets out what can be read. Indexes alone
//! are rebuilt in place; for everything else a new file is made. Works on a copy, and must never
//! put anything in the place of the database (HAZARDS H1, H24).

mod examine;
mod reindex;
mod report;
mod salvage;
mod search;
mod source;

use std::path::{Path, PathBuf};

use self::examine::Diagnosis;
use self::report::{Alternative, RecoveryDetail};
use self::source::Pages;
use super::{Job, Report, Run, Terms};
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::paths::{SIDECARS, resolved, sidecar};
use crate::store::restore;
use crate::terms::JobKind;
use crate::terms::progress::Watch;

/// The recover job.
#[derive(Debug, Clone, Default)]
pub struct Recover {
    /// The new file; it must not exist.
    pub to: PathBuf,
    /// Salvage also what lies on free pages: rows that were deleted.
    pub with_free: bool,
    /// Make the new file even where nothing, or only an index, is damaged.
    pub always: bool,
}

impl Job for Recover {
    const KIND: JobKind = JobKind::Recover;
    const TERMS: Terms = Terms::Unlimited;

    /// Of a database in the configuration, which its application may be using.
    fn run(&self, run: &Run) -> Result<Report> {
        let database = &run.database;
        self.may_be_made_beside(&database.path)?;
        let (verdict, pages) = examine::examine(source::of_live(database, &self.to, run)?, run)?;
        if let (Diagnosis::Indexes(indexes), false) = (&verdict, self.always) {
            drop(pages);
            return reindex::run(run, indexes);
        }
        self.finish(&pages, &verdict, run, Some(Alternative::of(database)))
    }
}

impl Recover {
    /// Of a file that nobody has open. Errors: `locked` with the names of those who have.
    pub fn run_on_file(&self, path: &Path, watch: &dyn Watch) -> Result<Report> {
        self.may_be_made_beside(path)?;
        let (verdict, pages) = examine::examine(source::of_file(path, &self.to, watch)?, watch)?;
        self.finish(&pages, &verdict, watch, None)
    }

    /// Refuses a new file that exists, or that SQLite would take for a part of the old one.
    fn may_be_made_beside(&self, source: &Path) -> Result<()> {
        let directory = source::directory(&self.to)?;
        let to = self.to.file_name().map(|name| directory.join(name));
        let source = resolved(source);
        if SIDECARS.iter().any(|suffix| to.as_ref() == Some(&sidecar(&source, suffix))) {
            let text = format!(
                "SQLite takes {} for a part of {}; name another path",
                self.to.display(),
                source.display()
            );
            return Err(Error::new(Reason::Refused, text));
        }
        restore::may_be_made(&self.to)
    }

    fn finish(
        &self,
        pages: &Pages,
        verdict: &Diagnosis,
        watch: &dyn Watch,
        alternative: Option<Alternative>,
    ) -> Result<Report> {
        let mut done = RecoveryDetail::new(verdict, pages.warnings.clone(), alternative);
        if self.always || verdict.needs_salvage() {
            let made = salvage::make(&pages.disk, &self.to, self.with_free, watch)?;
            done.made(&self.to, made);
        }
        Ok(done.report())
    }
}
