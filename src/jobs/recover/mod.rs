//! Recover: finds out what of a database is damaged, and gets out what can be read. Indexes alone are rebuilt in place;
//! for everything else a new file is made. Works on a copy, and must never put anything in the place of the database
//! (HAZARDS H1, H24).

mod examine;
mod reindex;
mod report;
mod salvage;
mod search;
mod source;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::examine::Verdict;
use self::report::{Alternative, Done};
use self::source::Pages;
use super::{Context, Job, Progress, Report, Running, Unit, blocking};
use crate::error::{Error, Reason, Result};
use crate::pool::Call;
use crate::sqlite::files::facts::{SIDECARS, resolved, sidecar};
use crate::store::restore;
use crate::terms::JobKind;

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

/// Who watches the work, and may stop it.
#[derive(Clone)]
struct Watch {
    call: Call,
    progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

impl Watch {
    /// Tells how far it is; an error when it must stop.
    fn at(&self, done: u64, total: u64, unit: Unit) -> Result<()> {
        (self.progress)(Progress { done, total, unit });
        self.call.check()
    }
}

impl Job for Recover {
    fn kind(&self) -> JobKind {
        JobKind::Recover
    }

    fn takes_its_time(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, context: &'a Context) -> Running<'a> {
        Box::pin(self.run_on_database(context))
    }
}

impl Recover {
    /// Of a database in the configuration, which its application may be using.
    async fn run_on_database(&self, context: &Context) -> Result<Report> {
        self.may_be_made_beside(&context.database.path)?;
        let sender = context.progress.clone();
        let watch = Watch {
            call: context.call.clone(),
            progress: Arc::new(move |progress| {
                sender.send_replace(Some(progress));
            }),
        };
        let (this, database, watching) = (self.clone(), Arc::clone(&context.database), watch.clone());
        let (verdict, pages) = blocking(move || {
            let copied = source::of_live(&database, &this.to, &watching)?;
            examine::examine(copied, &watching)
        })
        .await?;
        if let (Verdict::Indexes(indexes), false) = (&verdict, self.always) {
            drop(pages);
            return reindex::run(context, indexes).await;
        }
        let (this, database) = (self.clone(), Arc::clone(&context.database));
        blocking(move || {
            let alternative = Alternative::of(&database);
            this.finish(&pages, &verdict, &watch, Some(alternative))
        })
        .await
    }

    /// Of a file that nobody has open. Errors: `locked` with the names of those who have.
    pub fn run_on_file(
        &self,
        path: &Path,
        call: &Call,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Report> {
        self.may_be_made_beside(path)?;
        let watch = Watch { call: call.clone(), progress: Arc::new(progress) };
        let copied = source::of_file(path, &self.to, &watch)?;
        let (verdict, pages) = examine::examine(copied, &watch)?;
        self.finish(&pages, &verdict, &watch, None)
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
        verdict: &Verdict,
        watch: &Watch,
        alternative: Option<Alternative>,
    ) -> Result<Report> {
        let mut done = Done::new(verdict, pages.warnings.clone(), alternative);
        if self.always || verdict.needs_salvage() {
            let made = salvage::make(&pages.disk, &self.to, self.with_free, watch)?;
            done.made(&self.to, made);
        }
        Ok(done.report())
    }
}
