//! `[backup]` with its copies, and `[verify]`.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use super::place::Place;
use super::when::When;

/// `[backup]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backup {
    /// When.
    pub when: When,
    /// Where: the place above the database's own.
    pub dir: Place,
    /// How the file is stored.
    pub compression: Compression,
    /// 1 (fast) to 9 (small) for gzip, to 19 for zstd.
    pub level: u32,
    /// Compressing threads; at least 1 (`0` in the file is already resolved).
    pub threads: usize,
    /// Longest time that the read transaction of a backup may be open.
    pub max_snapshot: Duration,
    /// Make no new file while the newest backup holds what the database holds.
    pub skip_unchanged: bool,
    /// Bytes that may be written to the store in a second; `None` is `"off"`.
    pub max_rate: Option<NonZeroU64>,
    /// Which backups rotation keeps.
    pub keep: Keep,
    /// `[[database.NAME.backup.copy]]`, in the order of the file.
    pub copies: Vec<BackupCopy>,
}

/// Another place to which every backup is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupCopy {
    /// Its name, for `--from` and for labels.
    pub name: String,
    /// Where: the place above the database's own.
    pub dir: Place,
    /// Which backups rotation keeps there.
    pub keep: Keep,
}

/// `backup.compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// An ordinary gzip file.
    Gzip,
    /// An ordinary zstd file.
    Zstd,
    /// The plain database.
    None,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Zstd, Self::None];

    /// The word used in the file and in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::None => "none",
        }
    }

    /// The highest `backup.level` that it has. Without compression none matters.
    pub const fn highest_level(self) -> u32 {
        match self {
            Self::Gzip => 9,
            Self::Zstd | Self::None => 19,
        }
    }
}

/// `backup.keep_*`: a backup that any of these keeps is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of the last so many hours that have one; likewise below.
    pub hourly: u32,
    /// Days.
    pub daily: u32,
    /// ISO weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
    /// Years.
    pub yearly: u32,
}

impl Keep {
    /// Whether it keeps nothing.
    pub fn is_none(&self) -> bool {
        *self == Self { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }
    }
}

/// `[verify]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Verify {
    /// When.
    pub when: When,
    /// Where a backup is unpacked; `None`: beside the backups, and for those in a bucket in
    /// [`crate::config::SCRATCH`].
    pub scratch_dir: Option<PathBuf>,
}
