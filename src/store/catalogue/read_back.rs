//! A stored file read back from where it lies and compared with what was written, before it counts:
//! a disk, or what lies between it and us, may say that all is well and have something else. Must
//! never count what it has not read.

use std::io::Read as _;

use super::Catalogue;
use super::backup::{Backup, State};
use super::manifest::Manifest;
use crate::error::{Error, Reason, Result};
use crate::store::codec::hash::{Hasher, Sum};
use crate::store::files::Lock;
use crate::terms::progress::Watch;

/// Bytes read between two looks at whether to go on.
const CHUNK: usize = 256 << 10;

impl Catalogue {
    /// Counts a backup if it reads as it was written: `damaged` if it does not. Removes none. While
    /// `_held` lives, nobody else does.
    pub(super) fn confirm(&self, backup: &Backup, _held: &Lock, watch: &dyn Watch) -> Result<Backup> {
        let Some(manifest) = &backup.manifest else {
            return Err(Error::new(Reason::NotFound, format!("{} has no manifest", backup.name)));
        };
        self.compare(backup, manifest, watch)?;
        self.change(backup, |m| m.unconfirmed = false)
    }

    /// The same for those that runs which were stopped or killed have left, and for the one that
    /// was just `brought`; what does not read as it was written is removed. To be called where
    /// nobody else makes a backup of this database.
    pub(super) fn confirm_left_over(&self, brought: Option<&str>, watch: &dyn Watch) -> Result<()> {
        for backup in self.list()?.iter().filter(|backup| backup.state == State::Unconfirmed) {
            if self.in_use(backup)? {
                continue;
            }
            let held = self.hold(backup)?;
            match self.confirm(backup, &held, watch) {
                // It is what the run is for, and in its report.
                Ok(_) if brought == Some(backup.name.as_str()) => {}
                Ok(_) => tracing::info!(
                    backup = backup.name,
                    "an earlier run had not read this backup back; it reads as it was written, and counts now"
                ),
                Err(error) if error.reason == Reason::Damaged => {
                    self.discard(backup)?;
                    tracing::warn!(
                        backup = backup.name,
                        "removed a backup that had not been read back: {error}"
                    );
                }
                Err(error) => {
                    watch.go_on()?;
                    // It stays as it is: it may be read another time.
                    tracing::warn!(backup = backup.name, "a backup cannot be read back, and stays: {error}");
                }
            }
        }
        Ok(())
    }

    fn compare(&self, backup: &Backup, manifest: &Manifest, watch: &dyn Watch) -> Result<()> {
        let mut stored = Hasher::new(self.stored(backup)?);
        let mut buffer = vec![0; CHUNK];
        loop {
            watch.go_on()?;
            let read = stored.read(&mut buffer);
            if read.map_err(|e| Error::io(format!("cannot read {} back", backup.name), &e))? == 0 {
                break;
            }
        }
        let expected = Sum { bytes: manifest.stored_bytes, sha256: manifest.stored_sha256.clone() };
        if stored.sum() == expected {
            return Ok(());
        }
        Err(Error::new(
            Reason::Damaged,
            format!(
                "{} does not read back as it was written, and is removed; check the disk that it was on before you \
                 trust it again",
                backup.name
            ),
        ))
    }
}
