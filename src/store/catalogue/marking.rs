//! What is noted of a backup after it was made, in its manifest: pinned, current, verified,
//! damaged; and that it is in use.

use chrono::{DateTime, Utc};

use super::Catalogue;
use super::backup::{Backup, judge};
use super::manifest::{Manifest, Verification};
use super::name::BackupName;
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::store::files::Lock;

impl Catalogue {
    /// Keeps rotation away from a backup for longer than one [`Catalogue::read`].
    pub fn hold(&self, backup: &Backup) -> Result<Lock> {
        self.store.hold(&backup.name)
    }

    /// Whether somebody holds or reads it now.
    pub fn in_use(&self, backup: &Backup) -> Result<bool> {
        self.store.is_held(&backup.name)
    }

    /// Pins or unpins a backup.
    pub fn pin(&self, backup: &Backup, pinned: bool) -> Result<Backup> {
        self.change(backup, |m| m.pinned = pinned)
    }

    /// Notes that the database still held at `until` what the backup holds.
    pub fn current(&self, backup: &Backup, until: DateTime<Utc>) -> Result<Backup> {
        self.change(backup, |m| m.current_until = Some(until))
    }

    /// Notes the result of a verification.
    pub fn verified(&self, backup: &Backup, result: &Verification) -> Result<Backup> {
        self.change(backup, |m| m.verification = Some(result.clone()))
    }

    /// Notes that a backup was found damaged, so that rotation, and whoever restores next, takes it
    /// for that.
    pub fn found_damaged(&self, backup: &Backup, error: &Error) -> Result<Backup> {
        let message = error.message.clone();
        self.verified(backup, &Verification { started: None, at: clock::now(), ok: false, message })
    }

    /// The same of one that was not damaged here: it holds what a damaged database holds, of which
    /// `what` is wrong.
    pub fn found_of_damaged_database(
        &self,
        backup: &Backup,
        what: &str,
        started: Option<DateTime<Utc>>,
    ) -> Result<Backup> {
        let message = what.to_owned();
        self.change(backup, |manifest| {
            manifest.damage = Some(message.clone());
            manifest.verification = Some(Verification { started, at: clock::now(), ok: false, message });
        })
    }

    pub(super) fn change(&self, backup: &Backup, change: impl FnOnce(&mut Manifest)) -> Result<Backup> {
        let _edit = self.store.edit()?;
        let now = self.again(backup)?;
        let name = BackupName::parse(&now.name, &self.database);
        let (Some(mut manifest), Some(name)) = (now.manifest.clone(), name) else {
            return Err(Error::new(Reason::Refused, format!("{} cannot be marked: {}", now.name, now.state)));
        };
        change(&mut manifest);
        self.store.replace(&name.manifest(), &manifest.to_json()?)?;
        Ok(Backup { state: judge(&manifest, &now.name, now.size), manifest: Some(manifest), ..now })
    }
}
