//! Names of backup files: `<database>_YYYYmmddTHHMMSSZ.sqlite.gz`. Strict, so that no file that is
//! not ours is ever taken for a backup.

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};

use crate::config::Compression;
use crate::store::codec;

const TIME: &str = "%Y%m%dT%H%M%SZ";

/// The parts of a backup's file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupName {
    /// The database's name.
    pub database: String,
    /// When the backup began, UTC, whole seconds.
    pub time: DateTime<Utc>,
    /// Told by the suffix.
    pub compression: Compression,
}

impl BackupName {
    /// The name for a backup of `database` begun at `time`.
    pub fn new(database: &str, time: DateTime<Utc>, compression: Compression) -> Self {
        Self { database: database.to_owned(), time: time.trunc_subsecs(0), compression }
    }

    /// Reads the name of a file if it is a backup of `database`.
    pub fn parse(file: &str, database: &str) -> Option<Self> {
        let rest = file.strip_prefix(database)?.strip_prefix('_')?;
        let (stamp, rest) = rest.split_once('.')?;
        let suffix = rest.strip_prefix("sqlite")?;
        let compression = Compression::ALL.into_iter().find(|format| codec::suffix(*format) == suffix)?;
        let time = NaiveDateTime::parse_from_str(stamp, TIME).ok()?.and_utc();
        let name = Self { database: database.to_owned(), time, compression };
        // chrono accepts shorter numbers and signs; we write none.
        (name.file() == file).then_some(name)
    }

    /// The time as it stands in the name.
    pub fn stamp(&self) -> String {
        self.time.format(TIME).to_string()
    }

    /// The name without suffix: what a backup and its manifest share.
    pub fn stem(&self) -> String {
        format!("{}_{}", self.database, self.stamp())
    }

    /// Whether a file is one of a backup of this time, packed however, or its manifest.
    pub(super) fn is_stem_of(&self, file: &str) -> bool {
        file.strip_prefix(&self.stem()).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The backup's file.
    pub fn file(&self) -> String {
        format!("{}.sqlite{}", self.stem(), codec::suffix(self.compression))
    }

    /// The manifest's file.
    pub fn manifest(&self) -> String {
        format!("{}.json", self.stem())
    }
}
