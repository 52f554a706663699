//! The kinds of job. Names only: what a job does is not known here.

/// The kinds of job, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Snapshot, compress, rotate.
    Backup,
    /// Restore the newest backup into scratch space and check it.
    Verify,
    /// Remove rows past their retention.
    Cleanup,
    /// VACUUM, ANALYZE, REINDEX, checkpoint.
    Maintain,
    /// Pool, indexes, table sizes, query performance.
    Health,
    /// `quick_check` or `integrity_check`, and foreign keys.
    Integrity,
    /// The watch-list.
    Watch,
    /// The write-ahead log between two runs of maintenance. Has no schedule.
    Checkpoint,
    /// Salvage into a new file. Only by command: it has no schedule.
    Recover,
}

impl JobKind {
    /// Those that have a schedule: a new one that is not here is never due.
    pub const SCHEDULED: [Self; 7] = [
        Self::Backup,
        Self::Verify,
        Self::Cleanup,
        Self::Maintain,
        Self::Health,
        Self::Integrity,
        Self::Watch,
    ];

    /// The word used in labels, in the run history and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Cleanup => "cleanup",
            Self::Maintain => "maintain",
            Self::Health => "health",
            Self::Integrity => "integrity",
            Self::Watch => "watch",
            Self::Checkpoint => "checkpoint",
            Self::Recover => "recover",
        }
    }

    /// Whether it reads or writes much of a database: such jobs share the disks, and may have a
    /// blackout.
    pub const fn is_heavy(self) -> bool {
        self.blackout_key().is_some()
    }

    /// Whether a blackout that begins also stops a run at work, between two of its slices: what
    /// such a job has done stays, and the next run goes on. Of the others, half a run is worth
    /// nothing.
    pub const fn works_in_slices(self) -> bool {
        match self {
            Self::Cleanup | Self::Maintain => true,
            Self::Backup
            | Self::Verify
            | Self::Health
            | Self::Integrity
            | Self::Watch
            | Self::Checkpoint
            | Self::Recover => false,
        }
    }

    /// The key of the file that holds its blackout, where it may have one.
    pub const fn blackout_key(self) -> Option<&'static str> {
        match self {
            Self::Backup => Some("backup.blackout"),
            Self::Verify => Some("verify.blackout"),
            Self::Cleanup => Some("cleanup.blackout"),
            Self::Maintain => Some("maintain.blackout"),
            Self::Integrity => Some("health.integrity_blackout"),
            Self::Health | Self::Watch | Self::Checkpoint | Self::Recover => None,
        }
    }
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
