//! WHERE backups lie: a flat place of named files that appear whole or not at all, and what the
//! backups of one database in it are. Must never open a database: it moves bytes and reads
//! manifests.
//!
//! [`Store`] is the place, [`Local`] a directory and `Object` a bucket; [`codec`] packs and hashes,
//! [`Manifest`] describes one backup, [`Catalogue`] knows the backups of one database, [`rotation`]
//! says which of them stay.

mod catalogue;
pub mod codec;
mod files;
mod local;
#[cfg(feature = "object-storage")]
mod object;
mod pace;
pub mod restore;

pub use catalogue::backup::{Backup, BackupOutcome, NewBackup, State};
pub use catalogue::inventory::Inventory;
pub use catalogue::manifest::{FORMAT, Manifest, Snapshot, Verification};
pub use catalogue::manifests::Manifests;
pub use catalogue::name::BackupName;
pub use catalogue::{Catalogue, rotation};
pub use files::{Content, Entry, Lock, Put, Store, check_name};
pub use local::directory::Directory;
pub use local::{Local, scratch};
#[cfg(feature = "object-storage")]
pub use object::{Connector, Object, Patience};

use std::path::Path;
use std::sync::Arc;

use crate::config::Place;
use crate::error::Result;

/// A directory below `base`, by the names of the ones on the way, with each (0750) made where it is
/// missing and none of them a link. The directory above `base` must exist.
pub fn directory_below(base: &Path, names: &[&str]) -> Result<Directory> {
    let base = Directory::create(base)?;
    names.iter().try_fold(base, |above, name| above.create_below(name))
}

/// Opens the place of the backups of `database` below `place`. [`crate::error::Reason::NotFound`]:
/// none was made yet.
pub fn open(place: &Place, database: &str) -> Result<Arc<dyn Store>> {
    match place {
        Place::Directory(base) => Ok(Arc::new(Local::open(base, database)?)),
        Place::Bucket(bucket) => connect(bucket, database),
    }
}

/// The same, and makes it where it is missing. A bucket is never made.
pub fn create(place: &Place, database: &str) -> Result<Arc<dyn Store>> {
    match place {
        Place::Directory(base) => Ok(Arc::new(Local::create(base, database)?)),
        Place::Bucket(bucket) => connect(bucket, database),
    }
}

#[cfg(feature = "object-storage")]
fn connect(bucket: &crate::config::Bucket, database: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(Object::connect(bucket, database, Patience::default())?))
}

#[cfg(not(feature = "object-storage"))]
fn connect(bucket: &crate::config::Bucket, _: &str) -> Result<Arc<dyn Store>> {
    use crate::error::{Error, Reason};

    let text =
        format!("{bucket} cannot be used: this litekeeper was built without the feature `object-storage`");
    Err(Error::new(Reason::Unsupported, text))
}
