//! One backup: what it is, and whether it can be restored as far as is known without reading it
//! whole. Must never call good what is not known to be whole.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::manifest::Manifest;
use crate::config::Compression;
use crate::store::codec;

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its file.
    pub name: String,
    /// When it began, by its name.
    pub time: DateTime<Utc>,
    /// Bytes of its file.
    pub size: u64,
    /// Whether it can be restored, as far as is known.
    pub state: State,
    /// Its manifest, if there is a readable one.
    pub manifest: Option<Manifest>,
}

/// What came of making a backup.
#[derive(Debug, Clone)]
pub enum BackupOutcome {
    /// It was made.
    Made(NewBackup),
    /// Nothing was made: this one holds what it would hold.
    Same(Backup),
}

impl BackupOutcome {
    /// The backup, where one was made.
    pub fn made(self) -> Option<NewBackup> {
        match self {
            Self::Made(made) => Some(made),
            Self::Same(_) => None,
        }
    }
}

/// A backup that was just made.
#[derive(Debug, Clone)]
pub struct NewBackup {
    /// It.
    pub backup: Backup,
    /// How long it took to read its file back.
    pub read_back: Duration,
}

/// Whether a backup can be restored, as far as is known without reading it whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Whole, and no verification failed.
    Good,
    /// Data without a manifest: brought here by somebody else.
    Incomplete,
    /// Not read back yet: being finished at this moment, or left by a run that was killed; then the
    /// next run does it.
    Unconfirmed,
    /// Not what its manifest says, or a verification failed.
    Damaged(String),
    /// Nothing is known: the manifest is of a newer litekeeper, or could not be read now. Never
    /// removed.
    Unknown(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("good"),
            Self::Incomplete => f.write_str("incomplete: it has no manifest"),
            Self::Unconfirmed => f.write_str("unconfirmed: it has not been read back yet"),
            Self::Damaged(why) => write!(f, "damaged: {why}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

impl Backup {
    /// Whether it counts.
    pub fn is_good(&self) -> bool {
        self.state == State::Good
    }

    /// Whether the operator pinned it.
    pub fn is_pinned(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.pinned)
    }

    /// Whether it was restored and found good.
    pub fn is_verified(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.verified().is_some())
    }

    /// Whether it counts as damaged because the database was, and not because something happened to
    /// it.
    pub fn is_of_damaged_database(&self) -> bool {
        let is_damaged = matches!(self.state, State::Damaged(_));
        is_damaged && self.manifest.as_ref().is_some_and(|manifest| manifest.damage.is_some())
    }

    /// Whether its file is packed so.
    pub fn is_packed(&self, compression: Compression) -> bool {
        self.name.ends_with(&format!(".sqlite{}", codec::suffix(compression)))
    }

    /// Newer is what was made later, whatever the clock said (see [`Manifest::sequence`]).
    pub(super) fn age(&self) -> (Option<u64>, DateTime<Utc>) {
        (self.manifest.as_ref().map(|m| m.sequence), self.time)
    }
}

/// What a manifest says, of this file with this size.
pub(super) fn judge(manifest: &Manifest, file: &str, size: u64) -> State {
    if manifest.file != file {
        return State::Damaged(format!("its manifest is that of {}", manifest.file));
    }
    if manifest.stored_bytes != size {
        return State::Damaged(format!("it has {size} bytes, not {}", manifest.stored_bytes));
    }
    if manifest.unconfirmed {
        return State::Unconfirmed;
    }
    match &manifest.verification {
        Some(v) if !v.ok && manifest.damage.is_some() => {
            State::Damaged(format!("the database was damaged when it was made: {}", v.message))
        }
        Some(v) if !v.ok => State::Damaged(format!("its verification failed: {}", v.message)),
        _ => State::Good,
    }
}
