//! Backups removed, as they were seen and never while they are in use. Decides nothing: which go is
//! said by rotation.

use super::Catalogue;
use super::backup::Backup;
use super::name::BackupName;
use crate::error::{Error, Reason, Result};

impl Catalogue {
    /// Removes a backup, as it was seen. [`Reason::Locked`] while it is in use; [`Reason::Refused`]
    /// when it has changed since, for it may have been pinned or verified.
    pub fn remove(&self, seen: &Backup) -> Result<()> {
        self.remove_if(seen, || Ok(true))
    }

    /// The same where `still` says so, asked while nobody else can change what the backups say
    /// together; [`Reason::Refused`] where it does not.
    pub(super) fn remove_if(&self, seen: &Backup, still: impl FnOnce() -> Result<bool>) -> Result<()> {
        let _edit = self.store.edit()?;
        if !still()? {
            return Err(Error::new(
                Reason::Refused,
                format!("{} is needed now; it is not removed", seen.name),
            ));
        }
        let now = self.again(seen)?;
        if now != *seen || now.manifest.as_ref().is_some_and(|m| m.pinned) {
            let why = if now == *seen { "is pinned" } else { "has changed since it was looked at" };
            return Err(Error::new(Reason::Refused, format!("{} {why}; it is not removed", seen.name)));
        }
        let Some(_claim) = self.store.claim(&seen.name)? else {
            return Err(Error::new(
                Reason::Locked,
                format!("{} is being restored or verified; it is not removed", seen.name),
            ));
        };
        self.store.delete(&seen.name)?;
        self.delete_manifest(seen)
    }

    fn delete_manifest(&self, backup: &Backup) -> Result<()> {
        let Some(name) = BackupName::parse(&backup.name, &self.database) else { return Ok(()) };
        match self.store.delete(&name.manifest()) {
            Err(e) if e.reason != Reason::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Removes what is of no use to anybody, in use or not.
    pub(super) fn discard(&self, backup: &Backup) -> Result<()> {
        self.store.delete(&backup.name)?;
        self.delete_manifest(backup)
    }
}
