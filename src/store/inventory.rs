//! The backups of a database, put together for those who show them and for those who prune them. Removes none.

use chrono_tz::Tz;

use super::rotation::{self, Candidate, Decision};
use super::{Backup, Catalogue, Manifest};
use crate::config::Keep;
use crate::error::Result;
use crate::state::facts::Backups;
use crate::state::status::BackupStatus;

impl Catalogue {
    /// The backups, newest first, each with what rotation would do to it now.
    pub fn plan(&self, keep: &Keep, zone: Tz) -> Result<Vec<(Backup, Decision)>> {
        let backups = self.list()?;
        let candidates = backups
            .iter()
            .map(|backup| Ok(Candidate::new(backup, self.in_use(backup)?)))
            .collect::<Result<Vec<_>>>()?;
        let decisions = rotation::plan(&candidates, keep, zone);
        Ok(backups.into_iter().zip(decisions).collect())
    }

    /// The good backups in short, as the status shows them.
    pub fn known(&self) -> Result<Backups> {
        let good = self.list()?.into_iter().filter(Backup::is_good);
        let manifests: Vec<_> = good.filter_map(|backup| backup.manifest).collect();
        let is_verified = |m: &&Manifest| m.verification.as_ref().is_some_and(|v| v.ok);
        let verified = manifests.iter().filter(is_verified).max_by_key(|m| m.sequence).map(|m| m.started);
        let newest = manifests.iter().max_by_key(|m| m.sequence).map(|m| BackupStatus {
            name: m.file.clone(),
            taken: m.started,
            finished: m.finished,
            raw_bytes: m.raw_bytes,
            stored_bytes: m.stored_bytes,
            verified: m.verification.as_ref().filter(|v| v.ok).map(|v| v.at),
        });
        Ok(Backups { count: manifests.len() as u64, newest, verified })
    }
}
