//! Which backups there are, and which of them somebody means. Changes nothing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::Catalogue;
use super::backup::{Backup, State, judge};
use super::manifest::Manifest;
use super::name::BackupName;
use crate::commands;
use crate::error::{Error, Reason, Result};
use crate::store::files::Entry;

impl Catalogue {
    /// All backups, the newest name first.
    pub fn list(&self) -> Result<Vec<Backup>> {
        let entries = self.store.list()?;
        self.manifests.retain(&entries);
        let files: HashMap<&str, &Entry> = entries.iter().map(|e| (e.name.as_str(), e)).collect();
        let ours = entries.iter().filter_map(|e| Some((e, BackupName::parse(&e.name, &self.database)?)));
        let mut backups: Vec<Backup> = ours
            .map(|(entry, name)| {
                let manifest = files.get(name.manifest().as_str());
                backup(entry, &name, manifest.map(|manifest| self.manifests.of(&*self.store, manifest)))
            })
            .collect();
        backups.sort_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
        Ok(backups)
    }

    /// The newest good backup.
    pub fn latest(&self) -> Result<Option<Backup>> {
        Ok(newest(self.list()?))
    }

    /// The newest backup of what the database held, sound or not.
    pub fn latest_of_any_state(&self) -> Result<Option<Backup>> {
        let is_one = |backup: &Backup| backup.is_good() || backup.is_of_damaged_database();
        Ok(self.list()?.into_iter().filter(is_one).max_by_key(Backup::age))
    }

    /// The newest good backup that began at `time` or before.
    pub fn at(&self, time: DateTime<Utc>) -> Result<Backup> {
        let all = self.list()?;
        newest(all.into_iter().filter(|b| b.time <= time).collect()).ok_or_else(|| {
            let time = time.format("%Y-%m-%d %H:%M:%S UTC");
            self.missing(&format!("no good backup of {} was begun at {time} or before", self.database))
        })
    }

    /// The backup that `selector` names: `latest` (the newest good one), a file name, one without
    /// its suffix, or the beginning of a time that only one has: `2026-11-23`, `20261123T05`.
    pub fn find(&self, selector: &str) -> Result<Backup> {
        if selector == "latest" {
            let none = || self.missing(&format!("there is no good backup of {}", self.database));
            return self.latest()?.ok_or_else(none);
        }
        let stamp: String =
            selector.chars().filter(|c| !matches!(c, '-' | ':')).collect::<String>().replace(' ', "T");
        let names = |b: &Backup| BackupName::parse(&b.name, &self.database);
        let exact = |b: &Backup| b.name == selector || names(b).is_some_and(|n| n.stem() == selector);
        let begins =
            |b: &Backup| !stamp.is_empty() && names(b).is_some_and(|n| n.stamp().starts_with(&stamp));

        let all = self.list()?;
        let mut found: Vec<Backup> = all.iter().filter(|b| exact(b)).cloned().collect();
        if found.is_empty() {
            found = all.into_iter().filter(begins).collect();
        }
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(self.missing(&format!("{} has no backup {selector:?}", self.database))),
            (Some(last), false) => {
                found.push(last);
                let names: Vec<&str> = found.iter().map(|b| b.name.as_str()).collect();
                Err(Error::new(
                    Reason::NotFound,
                    format!("{selector:?} could be any of {} backups: {}", names.len(), names.join(", ")),
                ))
            }
        }
    }

    /// The backup in this file, as it is now: its manifest is read, be it known or not.
    pub(super) fn one(&self, file: &str) -> Result<Option<Backup>> {
        let Some(name) = BackupName::parse(file, &self.database) else { return Ok(None) };
        let Some(entry) = self.store.entry(file)? else { return Ok(None) };
        let manifest = self.store.entry(&name.manifest())?;
        let manifest = manifest.map(|manifest| self.manifests.read(&*self.store, &manifest));
        Ok(Some(backup(&entry, &name, manifest)))
    }

    /// The same of one that was seen before.
    pub(super) fn again(&self, seen: &Backup) -> Result<Backup> {
        let gone = || self.missing(&format!("{} is not there any more", seen.name));
        self.one(&seen.name)?.ok_or_else(gone)
    }

    fn missing(&self, what: &str) -> Error {
        Error::new(
            Reason::NotFound,
            format!(
                "{what}; `{}` lists those in {}",
                commands::litekeeper(format_args!("backups {}", self.database)),
                self.store.place()
            ),
        )
    }
}

fn newest(backups: Vec<Backup>) -> Option<Backup> {
    backups.into_iter().filter(Backup::is_good).max_by_key(Backup::age)
}

/// What the file and its manifest, where it has one, say.
fn backup(entry: &Entry, name: &BackupName, manifest: Option<Result<Manifest>>) -> Backup {
    let (state, manifest) = match manifest {
        None => (State::Incomplete, None),
        Some(Ok(manifest)) => (judge(&manifest, &entry.name, entry.size), Some(manifest)),
        Some(Err(e)) if e.reason == Reason::Damaged => (State::Damaged(e.message), None),
        Some(Err(e)) => (State::Unknown(e.message), None),
    };
    Backup { name: entry.name.clone(), time: name.time, size: entry.size, state, manifest }
}
