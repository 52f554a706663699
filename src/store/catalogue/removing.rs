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
        self.must_be(seen)?;
        if seen.is_pinned() {
            let text = format!("{} is pinned; it is not removed", seen.name);
            return Err(Error::new(Reason::Refused, text));
        }
        self.remove_where_unused(seen)
    }

    /// The same of one of which nothing is lost, as the good one is brought in its place at once:
    /// pinned or not.
    pub(super) fn make_way(&self, seen: &Backup) -> Result<()> {
        let _edit = self.store.edit()?;
        self.must_be(seen)?;
        self.remove_where_unused(seen)
    }

    /// Refuses one that is not as it was seen.
    fn must_be(&self, seen: &Backup) -> Result<()> {
        if self.again(seen)? == *seen {
            return Ok(());
        }
        let text = format!("{} has changed since it was looked at; it is not removed", seen.name);
        Err(Error::new(Reason::Refused, text))
    }

    fn remove_where_unused(&self, seen: &Backup) -> Result<()> {
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
