//! The backups of a database, put together for those who show them and for those who prune them.
//! Removes none.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::Catalogue;
use super::backup::{Backup, State};
use super::rotation::{self, Candidate, Decision};
use crate::clock;
use crate::config::{Compression, Keep};
use crate::error::Result;
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

    /// What rotation would do after one more good backup, begun at `started`, which stands first.
    pub fn plan_after(
        &self,
        started: DateTime<Utc>,
        format: Compression,
        keep: &Keep,
        zone: Tz,
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
    pub fn prune(&self, seen: &Backup, keep: &Keep, zone: Tz) -> Result<()> {
        self.remove_if(seen, || {
            let decided = self.plan(keep, zone)?;
            Ok(decided.iter().any(|(backup, decision)| backup.name == seen.name && !decision.keep))
        })
    }

    /// The backups in short, as far as their times are known at `now`. The newest is the one that
    /// was made last, whatever its time.
    pub fn known(&self, now: DateTime<Utc>) -> Result<Inventory> {
        let backups = self.list()?;
        let of_damaged_database = backups.iter().filter(|b| b.is_of_damaged_database()).count() as u64;
        let all_damaged = backups.iter().filter(|b| matches!(b.state, State::Damaged(_))).count() as u64;
        let damaged = all_damaged - of_damaged_database;
        let good = backups.into_iter().filter(Backup::is_good);
        let mut manifests: Vec<_> = good.filter_map(|backup| backup.manifest).collect();
        manifests.sort_by_key(|m| Reverse(m.sequence));
        let past = |at| clock::past(at, now);
        let mut verified = manifests.iter().filter(|m| m.verified().is_some());
        let newest = manifests.first().map(|m| BackupStatus {
            name: m.file.clone(),
            taken: past(m.started),
            current: m.current(now),
            finished: past(m.finished),
            raw_bytes: m.raw_bytes,
            stored_bytes: m.stored_bytes,
            is_verified: m.verified().is_some(),
            verified: m.verified().and_then(|v| past(v.at)),
        });
        Ok(Inventory {
            count: manifests.len() as u64,
            damaged,
            of_damaged_database,
            newest,
            current: manifests.iter().find_map(|m| m.current(now)),
            taken: manifests.iter().find_map(|m| past(m.started)),
            verified: verified.find_map(|m| m.current(now)),
        })
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
    /// Until when the newest one whose time is known is known to have been what the database held.
    pub current: Option<DateTime<Utc>>,
    /// When the state in the newest one whose time is known was taken.
    pub taken: Option<DateTime<Utc>>,
    /// Until when the newest verified one is known to have been what the database held.
    pub verified: Option<DateTime<Utc>>,
}
