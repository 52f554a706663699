//! What speaks against removing old backups, whatever the policy says: any of them may be the last
//! good one (HAZARDS H26).

use super::rotate::{self, May, RotationReport};
use crate::error::{Error, Result};
use crate::jobs::{Run, damage};
use crate::state::facts::DAMAGED_INDEXES;
use crate::store::Catalogue;

/// Damage of the database.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    /// What is wrong, for the manifest.
    pub(super) what: String,
    /// The same with what to do, for the report.
    pub(super) problem: Error,
}

impl Damage {
    pub(super) fn new(what: String, problem: &Error) -> Self {
        let problem = problem
            .clone()
            .context("what this backup holds is taken for damaged, and no older one is removed");
        Self { what, problem }
    }
}

/// None of it: rotation goes on.
#[derive(Default)]
pub(super) struct Doubts {
    /// The database is damaged.
    pub(super) damage: Option<Damage>,
    /// Indexes of it are.
    indexes: Vec<String>,
    /// What is known of it cannot be read.
    forgotten: Option<Error>,
}

impl Doubts {
    /// What checks found: a backup does not look at every page.
    pub(super) fn recall(run: &Run) -> Result<Self> {
        let indexes = run.recall(DAMAGED_INDEXES)?;
        let damage = damage::in_detail(run)?.map(|(what, error)| Damage::new(what, &error));
        Ok(Self { damage, indexes, forgotten: None })
    }

    /// Of a run without our memory.
    pub(super) fn forgotten(why: Error) -> Self {
        Self { forgotten: Some(why), ..Self::default() }
    }

    pub(super) const fn is_forgotten(&self) -> bool {
        self.forgotten.is_some()
    }

    /// Why none is removed.
    pub(super) fn in_words(&self) -> Option<String> {
        if self.damage.is_some() {
            Some(String::from("the database is damaged"))
        } else if !self.indexes.is_empty() {
            Some(format!("indexes of the database are damaged ({})", self.indexes.join(", ")))
        } else {
            self.forgotten.is_some().then(|| String::from("whether the database is in order is not known"))
        }
    }

    /// What may be removed all the same.
    pub(super) fn may(&self) -> May {
        if self.in_words().is_some() { May::DamagedCopies } else { May::All }
    }

    /// Removes what is past the policy and may go.
    pub(super) fn rotate(&self, run: &Run, catalogue: &Catalogue) -> Result<RotationReport> {
        if let Some(error) = &self.forgotten {
            Err(error.clone().context("whether the database has shrunk is not known"))
        } else {
            let (keep, name) = (&run.database.backup.keep, &run.database.name);
            rotate::sweep(catalogue, keep, run.zone, name, self.may())
        }
    }
}
