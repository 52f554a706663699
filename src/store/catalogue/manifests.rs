//! The manifests of one place as they were read, each again only where it has changed: whoever
//! looks at the backups every few seconds, and a run that looks at them several times, opens none
//! in vain. Must never be what something is removed by: then the manifest is read, changed or not.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;

use super::manifest::Manifest;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::files::{Entry, Store};

/// More than any manifest has: one that claims to be longer is not one.
const MAX_MANIFEST: u64 = 64 << 20;

/// A file whose last change is no longer ago than this is held open while it is known: so long its
/// number is no other file's, and two changes within one tick of the clock differ all the same.
/// Not one of a clock that is ahead, which would stay open for as long as that is.
const YOUNG: TimeDelta = TimeDelta::seconds(3);

/// What was read in one place.
#[derive(Default)]
pub struct Manifests {
    /// By file.
    known: Mutex<HashMap<String, ReadManifest>>,
}

struct ReadManifest {
    version: String,
    /// Be that no manifest.
    said: Result<Manifest>,
    held: Option<Box<dyn Read + Send>>,
}

impl Manifests {
    /// The manifest in this file, which is only read where it is not known as it is now.
    pub(super) fn of(&self, store: &dyn Store, file: &Entry) -> Result<Manifest> {
        if let Some(known) = self.known().get(&file.name)
            && Some(&known.version) == file.version.as_ref()
        {
            return known.said.clone();
        }
        self.read(store, file)
    }

    /// The same, and reads it in any case.
    pub(super) fn read(&self, store: &dyn Store, file: &Entry) -> Result<Manifest> {
        let (mut json, mut reader) = (Vec::new(), store.get(&file.name)?);
        let read = (&mut reader).take(MAX_MANIFEST).read_to_end(&mut json);
        read.map_err(|e| Error::io(format!("cannot read {}", file.name), &e))?;
        let said = Manifest::parse(&json);
        if let Some(version) = file.version.clone() {
            let held = is_young(file).then_some(reader);
            // What was read may be newer than the version, and is read once more then.
            self.known().insert(file.name.clone(), ReadManifest { version, said: said.clone(), held });
        }
        said
    }

    /// Forgets those whose file is not among these.
    pub(super) fn retain(&self, files: &[Entry]) {
        let files: HashMap<&str, &Entry> = files.iter().map(|file| (file.name.as_str(), file)).collect();
        self.known().retain(|name, known| {
            let file = files.get(name.as_str());
            known.held = known.held.take().filter(|_| file.is_some_and(|file| is_young(file)));
            file.is_some()
        });
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, ReadManifest>> {
        // Whoever panicked was only looking or adding.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_young(file: &Entry) -> bool {
    (clock::now() - file.modified).abs() < YOUNG
}
