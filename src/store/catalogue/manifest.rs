//! The manifest: what one backup is, in a JSON file beside it. Field names are a contract with
//! whoever reads them; fields are added, never renamed. Must never be needed to restore: `gunzip`
//! and `sqlite3` are enough.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::config::Compression;
use crate::error::{Error, Reason, Result};
use crate::store::codec::hash::Sum;

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// One backup. Fields that are not known here are ignored; a changed meaning gets a new [`FORMAT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version of the manifest.
    pub format: u32,
    /// The database's name in the configuration.
    pub database: String,
    /// The backup's file, in the same directory.
    pub file: String,
    /// Grows with each backup of this database, by one at least, and is no less than the seconds
    /// since 1970. Tells which of two is newer even when the clock was set back between them, or
    /// the directory began anew.
    pub sequence: u64,
    /// The database's file when it was backed up.
    pub source: PathBuf,
    /// When the backup began, UTC; the file's name has it too.
    pub started: DateTime<Utc>,
    /// When it was complete and durable, UTC.
    pub finished: DateTime<Utc>,
    /// `gzip`, `zstd` or `none`.
    pub compression: String,
    /// Bytes of the database, unpacked.
    pub raw_bytes: u64,
    /// SHA-256 of the database, unpacked.
    pub raw_sha256: String,
    /// Bytes of the file.
    pub stored_bytes: u64,
    /// SHA-256 of the file, as `sha256sum` prints it.
    pub stored_sha256: String,
    /// Bytes in a page.
    pub page_size: u32,
    /// Pages of the database.
    pub page_count: u64,
    /// Version of the SQLite that read the database.
    pub sqlite_version: String,
    /// `PRAGMA user_version`.
    pub user_version: i32,
    /// `PRAGMA application_id`.
    pub application_id: i32,
    /// SHA-256 of the schema's text.
    pub schema_sha256: String,
    /// The tables; `null` where counting the rows would have taken long.
    pub tables: BTreeMap<String, Option<u64>>,
    /// Until when the database was seen to hold what the backup holds, UTC; `null` while no later
    /// run looked.
    #[serde(default)]
    pub current_until: Option<DateTime<Utc>>,
    /// The last verification; `null` before the first.
    #[serde(default)]
    pub verification: Option<Verification>,
    /// What is wrong with the database that it is a copy of; absent where nothing is known to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// Pinned: rotation never removes it.
    #[serde(default)]
    pub pinned: bool,
    /// Present until the file has been read back and found to be what was written: such a backup
    /// does not count yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unconfirmed: bool,
}

/// The result of restoring a backup into scratch space and checking it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// When it began, UTC; `null` where only a restore looked at it.
    #[serde(default)]
    pub started: Option<DateTime<Utc>>,
    /// When it was finished, UTC.
    pub at: DateTime<Utc>,
    /// Whether the backup was found good.
    pub ok: bool,
    /// What was found; empty when there was nothing to say.
    #[serde(default)]
    pub message: String,
}

/// What the writer of a backup knows of the state that it saw: the rest of the manifest follows
/// from the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// See [`Manifest::source`].
    pub source: PathBuf,
    /// See [`Manifest::page_size`].
    pub page_size: u32,
    /// See [`Manifest::page_count`].
    pub page_count: u64,
    /// See [`Manifest::sqlite_version`].
    pub sqlite_version: String,
    /// See [`Manifest::user_version`].
    pub user_version: i32,
    /// See [`Manifest::application_id`].
    pub application_id: i32,
    /// See [`Manifest::schema_sha256`].
    pub schema_sha256: String,
    /// See [`Manifest::tables`].
    pub tables: BTreeMap<String, Option<u64>>,
    /// What was found wrong with the database: its backup counts as damaged from the beginning.
    pub damage: Option<String>,
}

/// What is settled once the bytes are written.
pub(in crate::store) struct ManifestParts<'a> {
    pub(in crate::store) database: &'a str,
    pub(in crate::store) file: &'a str,
    pub(super) sequence: u64,
    pub(super) started: DateTime<Utc>,
    pub(super) finished: DateTime<Utc>,
    pub(in crate::store) compression: Compression,
    pub(in crate::store) raw: Sum,
    pub(in crate::store) stored: Sum,
}

impl Manifest {
    pub(in crate::store) fn new(snapshot: Snapshot, written: ManifestParts<'_>) -> Self {
        let verification = snapshot.damage.clone().map(|message| Verification {
            started: None,
            at: written.finished,
            ok: false,
            message,
        });
        Self {
            format: FORMAT,
            database: written.database.to_owned(),
            file: written.file.to_owned(),
            sequence: written.sequence,
            source: snapshot.source,
            started: written.started,
            finished: written.finished,
            compression: written.compression.as_str().to_owned(),
            raw_bytes: written.raw.bytes,
            raw_sha256: written.raw.sha256,
            stored_bytes: written.stored.bytes,
            stored_sha256: written.stored.sha256,
            page_size: snapshot.page_size,
            page_count: snapshot.page_count,
            sqlite_version: snapshot.sqlite_version,
            user_version: snapshot.user_version,
            application_id: snapshot.application_id,
            schema_sha256: snapshot.schema_sha256,
            tables: snapshot.tables,
            current_until: None,
            verification,
            damage: snapshot.damage,
            pinned: false,
            unconfirmed: true,
        }
    }

    /// The verification that found it good. While the pages are those of the manifest, which is
    /// seen whenever they are unpacked, another would find the same.
    pub fn verified(&self) -> Option<&Verification> {
        self.verification.as_ref().filter(|last| last.ok)
    }

    /// Whether the bytes of the database, unpacked, are these.
    pub(in crate::store) fn holds(&self, raw: &Sum) -> bool {
        self.raw_bytes == raw.bytes && self.raw_sha256 == raw.sha256
    }

    /// The latest time at which the database is known, at `now`, to have held what the backup holds;
    /// `None` where all of that was noted under a clock that was ahead.
    pub fn current(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let noted = self.current_until.into_iter().chain([self.started]);
        noted.filter_map(|at| clock::past(at, now)).max()
    }

    /// Reads the JSON text. A newer format is [`Reason::Unsupported`], anything unreadable
    /// [`Reason::Damaged`].
    pub fn parse(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let damaged = |e: serde_json::Error| Error::new(Reason::Damaged, format!("not a manifest: {e}"));
        // The version first: the rest of a newer one may look different.
        let Head { format } = serde_json::from_slice(json).map_err(damaged)?;
        if format > FORMAT {
            return Err(Error::new(
                Reason::Unsupported,
                format!(
                    "the manifest has format {format}, this litekeeper reads up to {FORMAT}; use the newer \
                     litekeeper that wrote it"
                ),
            ));
        }
        serde_json::from_slice(json).map_err(damaged)
    }

    /// The JSON text.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|e| {
            Error::new(Reason::Io, format!("cannot write the manifest of {}: {e}", self.file))
        })?;
        json.push(b'\n');
        Ok(json)
    }
}
