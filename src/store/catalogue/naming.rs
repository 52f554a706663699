//! The name of the next backup. Must never give one that is taken.

use chrono::{DateTime, TimeDelta, Utc};

use super::Catalogue;
use super::name::BackupName;
use crate::config::Compression;
use crate::error::{Error, Reason, Result};
use crate::store::files::Entry;

/// How far names may be ahead of the time because several backups began in one second, or the clock
/// was put right.
const AHEAD: TimeDelta = TimeDelta::minutes(1);

impl Catalogue {
    /// A name whose second no backup and no manifest has. Where names are already
    /// [a little ahead](AHEAD) of the time, it goes after them, though one between them was
    /// removed: a copy elsewhere may still have that.
    pub(super) fn free_name(&self, started: DateTime<Utc>, compression: Compression) -> Result<BackupName> {
        let entries = self.store.list()?;
        let mut name = BackupName::new(&self.database, started, compression);
        let names = entries.iter().filter_map(|entry| BackupName::parse(&entry.name, &self.database));
        let ahead =
            names.map(|other| other.time).filter(|time| (name.time..name.time + AHEAD).contains(time));
        if let Some(last) = ahead.max() {
            name.time = last + TimeDelta::seconds(1);
        }
        while is_taken(&entries, &name) {
            name.time += TimeDelta::seconds(1);
        }
        Ok(name)
    }

    /// Refuses a name that another machine took meanwhile: its manifest must not be overwritten. To
    /// be asked while [`crate::store::Store::edit`] is held.
    pub(super) fn check_free(&self, name: &BackupName) -> Result<()> {
        if !is_taken(&self.store.list()?, name) {
            return Ok(());
        }
        let (stem, place) = (name.stem(), self.store.place());
        let text = format!(
            "{stem} was made in {place} by somebody else just now; give each machine a place of its own"
        );
        Err(Error::new(Reason::Refused, text))
    }
}

/// By the stem: the suffixes share a manifest.
fn is_taken(entries: &[Entry], name: &BackupName) -> bool {
    entries.iter().any(|entry| name.is_stem_of(&entry.name))
}
