//! The manifests of one place as they were read, each again only where it has changed: whoever
//! looks at the backups every few seconds, and a run that looks at them several times, opens none
//! in vain. Must never be what something is removed by: then the manifest is read, changed or not.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::manifest::Manifest;
use crate::error::{Error, Result};
use crate::store::files::{Entry, Store};

/// More than any manifest has: one that claims to be longer is not one.
const MAX_MANIFEST: u64 = 64 << 20;

/// What was read in one place.
#[derive(Default)]
pub struct Manifests {
    /// By file: its version, and what it said, be that no manifest.
    known: Mutex<HashMap<String, (String, Result<Manifest>)>>,
}

impl Manifests {
    /// The manifest in this file, which is only read where it is not known as it is now.
    pub(super) fn of(&self, store: &dyn Store, file: &Entry) -> Result<Manifest> {
        let known = self.known().get(&file.name).cloned();
        match known.filter(|(version, _)| Some(version) == file.version.as_ref()) {
            Some((_, said)) => said,
            None => self.read(store, file),
        }
    }

    /// The same, and reads it in any case.
    pub(super) fn read(&self, store: &dyn Store, file: &Entry) -> Result<Manifest> {
        let mut json = Vec::new();
        let read = store.get(&file.name)?.take(MAX_MANIFEST).read_to_end(&mut json);
        read.map_err(|e| Error::io(format!("cannot read {}", file.name), &e))?;
        let said = Manifest::parse(&json);
        // What was read may be newer than the version, and is read once more then.
        self.know(file, said.clone());
        said
    }

    /// Writes a manifest, in the place of the one that was there, and knows it. While
    /// [`Store::edit`] is held.
    pub(super) fn write(&self, store: &dyn Store, file: &str, manifest: &Manifest) -> Result<()> {
        let json = manifest.to_json()?;
        store.replace(file, &json)?;
        // Where it cannot be looked at, it is read.
        if let Ok(Some(file)) = store.entry(file) {
            self.know(&file, Manifest::parse(&json));
        }
        Ok(())
    }

    /// Forgets those whose file is not among these.
    pub(super) fn retain(&self, files: &[Entry]) {
        let names: HashSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        self.known().retain(|name, _| names.contains(name.as_str()));
    }

    fn know(&self, file: &Entry, said: Result<Manifest>) {
        if let Some(version) = &file.version {
            self.known().insert(file.name.clone(), (version.clone(), said));
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, (String, Result<Manifest>)>> {
        // Whoever panicked was only looking or adding.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
