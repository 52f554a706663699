//! The backups of one database in a store: what there is, which are good, and the order in which
//! their files are written and removed. Must never touch a file that it did not name, and never
//! count a backup as good that is not known to be whole.
//!
//! A backup is its data file and its manifest, which is written before the data gets its name and
//! removed after it. Until the data has been read back, the manifest says that it does not count
//! yet. So at every moment, and after any crash, one that counts is whole, and a file without a
//! manifest is not one that was made here.

pub(super) mod backup;
pub(super) mod inventory;
mod listing;
mod making;
pub(super) mod manifest;
pub(super) mod manifests;
mod marking;
pub(super) mod name;
mod naming;
mod read_back;
mod removing;
pub mod rotation;
mod transfer;

use std::io::Read;
use std::sync::Arc;

use self::backup::Backup;
use self::manifests::Manifests;
use super::files::Store;
use crate::error::Result;

/// The backups of one database.
#[derive(Clone)]
pub struct Catalogue {
    database: String,
    store: Arc<dyn Store>,
    manifests: Arc<Manifests>,
}

impl Catalogue {
    /// The backups of `database` in `store`.
    pub fn new(database: &str, store: Arc<dyn Store>) -> Self {
        Self::knowing(database, store, Arc::default())
    }

    /// The same, where it is known what was read in this place before.
    pub fn knowing(database: &str, store: Arc<dyn Store>, manifests: Arc<Manifests>) -> Self {
        Self { database: database.to_owned(), store, manifests }
    }

    /// Where they lie, for messages: a path or a URL.
    pub fn place(&self) -> String {
        self.store.place()
    }

    /// Bytes that may still be written there; `None` where there is no such limit.
    pub fn free_bytes(&self) -> Result<Option<u64>> {
        self.store.free_bytes()
    }

    /// Reads the file of a backup as it is stored.
    pub(super) fn stored(&self, backup: &Backup) -> Result<Box<dyn Read + Send>> {
        self.store.get(&backup.name)
    }
}
