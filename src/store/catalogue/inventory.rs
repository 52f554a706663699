//! The backups of a database, put together for those who show them and for those who prune them.
//! Removes none.

use chrono::{DateTime, Utc};

use super::Catalogue;
use super::backup::{Backup, State};
use super::manifest::Manifest;
use super::rotation::{self, Candidate, Decision};
use crate::config::{Compression, Keep};
use crate::error::Result;
use crate::state::status::BackupStatus;
use crate::zone::Zone;

impl Catalogue {
    /// The backups, newest first, each with what rotation would do to it now.
    pub fn plan(&self, keep: &Keep, zone: Zone) -> Result<Vec<(Backup, Decision)>> {
        let backups = self.list()?;
        let candidates = backups
            .iter()
            .map(|backup| Ok(Candidate::new(backup, self.in_use(backup)?)))
            .collect::<Result<Vec<_>>>()?;
        let decisions = rotation::plan(&candidates, keep, zone);
        Ok(backups.into_iter().zip(decisions).collect())
    }

    /// What rotation would do after one more good backup, begun at `started`, which stands first.
    pub fn plan_after(
        &self,
        started: DateTime<Utc>,
        format: Compression,
        keep: &Keep,
        zone: Zone,
    ) -> Result<Vec<Decision>> {
        let next = self.free_name(started, format)?;
        let backups = self.list()?;
        let candidates = backups.iter().map(|backup| Ok(Candidate::new(backup, self.in_use(backup)?)));
        let mut candidates = candidates.collect::<Result<Vec<_>>>()?;
        let highest = candidates.iter().filter_map(|candidate| candidate.sequence).max();
        let next = Candidate {
            name: next.file(),
            time: next.time,
            sequence: Some(highest.unwrap_or(0) + 1),
            state: State::Good,
            verified: false,
            of_damaged_database: false,
            pinned: false,
            in_use: false,
        };
        candidates.insert(0, next);
        Ok(rotation::plan(&candidates, keep, zone))
    }

    /// Removes a backup that [`Catalogue::plan`] does not keep, if it still does not: another
    /// process may have found a newer one damaged meanwhile, which makes this the newest good one.
    pub fn prune(&self, seen: &Backup, keep: &Keep, zone: Zone) -> Result<()> {
        self.remove_if(seen, || {
            let decided = self.plan(keep, zone)?;
            Ok(decided.iter().any(|(backup, decision)| backup.name == seen.name && !decision.keep))
        })
    }

    /// The backups in short.
    pub fn known(&self) -> Result<Inventory> {
        let backups = self.list()?;
        let of_damaged_database = backups.iter().filter(|b| b.is_of_damaged_database()).count() as u64;
        let all_damaged = backups.iter().filter(|b| matches!(b.state, State::Damaged(_))).count() as u64;
        let damaged = all_damaged - of_damaged_database;
        let good = backups.into_iter().filter(Backup::is_good);
        let manifests: Vec<_> = good.filter_map(|backup| backup.manifest).collect();
        let is_verified = |m: &&Manifest| m.verification.as_ref().is_some_and(|v| v.ok);
        let verified = manifests.iter().filter(is_verified).max_by_key(|m| m.sequence).map(Manifest::current);
        let newest = manifests.iter().max_by_key(|m| m.sequence).map(|m| BackupStatus {
            name: m.file.clone(),
            taken: m.started,
            current: m.current(),
            finished: m.finished,
            raw_bytes: m.raw_bytes,
            stored_bytes: m.stored_bytes,
            verified: m.verification.as_ref().filter(|v| v.ok).map(|v| v.at),
        });
        Ok(Inventory { count: manifests.len() as u64, damaged, of_damaged_database, newest, verified })
    }
}

/// The backups of a database in short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// How many good ones there are.
    pub count: u64,
    /// How many are known to be damaged by what they lie on.
    pub damaged: u64,
    /// How many are copies of a damaged database.
    pub of_damaged_database: u64,
    /// The newest good one.
    pub newest: Option<BackupStatus>,
    /// Until when the newest verified one is known to have been what the database held.
    pub verified: Option<DateTime<Utc>>,
}
