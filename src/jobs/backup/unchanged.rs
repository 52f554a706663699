//! A database to which nothing was committed since its newest backup needs no new one: the newest
//! is noted to be current still. Must never take a changed database for an unchanged one: where
//! that is not certain, a backup is made, and its checksum tells in the end whether it holds
//! anything new.

use std::time::SystemTime;

use chrono::{DateTime, Utc};

use crate::config::Compression;
use crate::error::Result;
use crate::sqlite::files::stamp::Stamp;
use crate::state::facts::BackupMark;
use crate::store::{Backup, Catalogue};

impl BackupMark {
    /// That `backup` holds the state of the files at `stamp`; `None` where the stamp is too young
    /// to tell.
    pub(super) fn new(stamp: Stamp, at: SystemTime, backup: &str) -> Option<Self> {
        stamp.is_settled(at).then(|| Self { stamp, backup: backup.to_owned() })
    }
}

/// The newest good backup, where it holds what the files at `stamp` hold and is packed as
/// configured. Of a damaged database the newest copy that was made of it damaged: that a good one
/// holds the same damage is for its checksum to tell, as what a disk forgets changes no stamp.
pub(super) fn still_current(
    catalogue: &Catalogue,
    backed_up: Option<&BackupMark>,
    stamp: &Stamp,
    compression: Compression,
    is_damaged: bool,
) -> Result<Option<Backup>> {
    let Some(known) = backed_up.filter(|known| known.stamp == *stamp) else { return Ok(None) };
    let newest = if is_damaged {
        catalogue.latest_of_any_state()?.filter(Backup::is_of_damaged_database)
    } else {
        catalogue.latest()?
    };
    Ok(newest.filter(|newest| newest.name == known.backup && newest.is_packed(compression)))
}

/// What the run says.
pub(super) fn summary(newest: &Backup, until: DateTime<Utc>) -> String {
    format!(
        "nothing was committed since {}, which is current as of {}: no new file was made",
        newest.name,
        until.format("%Y-%m-%d %H:%M:%S UTC")
    )
}
