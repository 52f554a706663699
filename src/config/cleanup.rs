//! `[cleanup]` and its retention rules.

use std::path::PathBuf;
use std::time::Duration;

use super::when::When;

/// `[cleanup]` and its rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleanup {
    /// When.
    pub when: When,
    /// A batch grows or shrinks so that one transaction lasts about this long.
    pub batch_target: Duration,
    /// A run that would remove more than this share (0 to 1) of a table is refused.
    pub max_share: f64,
    /// `[[database.NAME.cleanup.rule]]`, in the order of the file.
    pub rules: Vec<Rule>,
}

/// One retention rule. A row goes as soon as one of `keep`, `keep_rows` and `max_size` says so; at
/// least one is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The table.
    pub table: String,
    /// Its date column; `None`: rows are ordered by their rowid or primary key.
    pub column: Option<String>,
    /// Rows older than this are removed; only with a column.
    pub keep: Option<Duration>,
    /// All but so many of the newest rows are removed.
    pub keep_rows: Option<u64>,
    /// The oldest rows are removed until the table and its indexes take no more bytes.
    pub max_size: Option<u64>,
    /// How the column tells the time; `None`: found out.
    pub format: Option<DateFormat>,
    /// The zone of dates in text that have no offset.
    pub timezone: crate::zone::Zone,
    /// What to do where the table has DELETE triggers.
    pub triggers: Triggers,
    /// What to do where rows point at rows that would go.
    pub children: Children,
    /// To what kind of file rows go before they are removed.
    pub archive: Option<ArchiveFormat>,
    /// Where that is: a directory in this one, named after the database; `None`: `archive` beside
    /// its backups.
    pub archive_dir: Option<PathBuf>,
}

/// `rule.archive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// A database of SQLite for each month.
    Sqlite,
    /// A text file for each table and run.
    Csv,
}

/// `rule.format`: how a column tells the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateFormat {
    /// ISO 8601 text, in the rule's zone where it says none.
    Iso,
    /// `20261121161806`, `20261121` and the like, numbers or text, in the rule's zone.
    Compact,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
    /// Microseconds since 1970.
    UnixMicroseconds,
    /// Nanoseconds since 1970.
    UnixNanoseconds,
    /// Microseconds since 1601.
    ChromiumMicroseconds,
    /// Tenths of microseconds since 1601.
    WindowsFiletime,
    /// Tenths of microseconds since the year 1, in the rule's zone.
    DotnetTicks,
    /// Seconds since 2001.
    AppleSeconds,
    /// Nanoseconds since 2001.
    AppleNanoseconds,
    /// Julian day number.
    JulianDay,
}

impl DateFormat {
    /// Each with its word in the configuration and in reports.
    pub const ALL: [(&'static str, Self); 12] = [
        ("iso", Self::Iso),
        ("compact", Self::Compact),
        ("unix_seconds", Self::UnixSeconds),
        ("unix_milliseconds", Self::UnixMilliseconds),
        ("unix_microseconds", Self::UnixMicroseconds),
        ("unix_nanoseconds", Self::UnixNanoseconds),
        ("chromium_microseconds", Self::ChromiumMicroseconds),
        ("windows_filetime", Self::WindowsFiletime),
        ("dotnet_ticks", Self::DotnetTicks),
        ("apple_seconds", Self::AppleSeconds),
        ("apple_nanoseconds", Self::AppleNanoseconds),
        ("julian_day", Self::JulianDay),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }

    /// The format of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(own, _)| *own == word).map(|(_, format)| *format)
    }

    /// Whether its values show the time by a clock, which must be that of a zone.
    pub const fn is_by_a_clock(self) -> bool {
        matches!(self, Self::Iso | Self::Compact | Self::DotnetTicks)
    }
}

/// `rule.triggers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Triggers {
    /// Refuse the rule.
    Refuse,
    /// Let them fire.
    Allow,
}

/// `rule.children`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// Refuse the rule while rows that stay point at rows that would go.
    Refuse,
    /// Set what points at a row that goes to NULL, and remove nothing else.
    Unlink,
    /// Remove what points at a row that goes first, but never a row of the rule's own table that it
    /// keeps.
    Cascade,
}
