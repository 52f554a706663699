//! What a job wants to know the next time it runs: any serialisable value, by database and name. Must never hold what
//! a job cannot do without: the state may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::access::Identity;
use crate::sqlite::files::stamp::Stamp;

/// Names of the indexes that a check found wrong, `Vec<String>`: the check writes them, maintenance rebuilds them
/// and takes them off.
pub const DAMAGED_INDEXES: &str = "damaged_indexes";
/// [`Damage`] of the file, or none.
pub const DAMAGE: &str = "damage";
/// What the health checks found: a list of [`super::status::CheckStatus`], one per check.
pub const HEALTH: &str = "health";
/// Sizes of the tables: a list of [`super::status::TableStatus`], largest first.
pub const TABLES: &str = "tables";
/// What the largest tables and indexes measured: a list of [`super::trends::Size`].
pub const SIZES: &str = "sizes";
/// How the sizes went: a list of [`super::trends::Trend`].
pub const TRENDS: &str = "trends";
/// [`Space`] of the file.
pub const SPACE: &str = "space";
/// [`Content`] of the newest backup, to notice a database that has shrunk.
pub const CONTENT: &str = "content";
/// Where copies of the backups were made, by the copy's name: a map of texts.
pub const COPIES: &str = "copies";
/// Declared indexes that are not as declared, those that are damaged, and what is advised: pairs of name and word.
pub const INDEX_PROBLEMS: &str = "index_problems";
/// [`IndexUse`]: which indexes the plans of watched queries and slow statements had.
pub const INDEX_USE: &str = "index_use";
/// [`Measured`]: what the file looked like when its tables were measured.
pub const MEASURED: &str = "measured";
/// The [`super::pin::Pin`] of the write-ahead log, or none.
pub const PIN: &str = "pin";
/// [`PoolTimeouts`] when health last looked.
pub const POOL_TIMEOUTS: &str = "pool_timeouts";
/// [`Watched`] queries by name.
pub const PLANS: &str = "plans";

/// Keeps `value` under `name` in place of an earlier one.
pub fn remember<T: Serialize>(connection: &Connection, database: &str, name: &str, value: &T) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|e| Error::new(Reason::Io, format!("cannot keep the fact {name}: {e}")))?;
    connection.execute(
        "INSERT INTO fact (database, name, value, at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO UPDATE SET value = excluded.value, at = excluded.at",
        (database, name, text, clock::now().timestamp_millis()),
    )?;
    Ok(())
}

/// Lowers what the next backup expects to find, after a job of ours made the pages in use fewer: `before` and
/// `after` are their bytes. A database that shrank for another reason is still noticed.
pub fn shrunk_on_purpose(connection: &Connection, database: &str, before: u64, after: u64) -> Result<()> {
    let Some((mut content, _)) = recall::<Content>(connection, database, CONTENT)? else { return Ok(()) };
    // What had been added since the last backup was not expected; that it is gone again lowers nothing.
    let missing_already = content.bytes.saturating_sub(before);
    content.bytes = content.bytes.min(after.saturating_add(missing_already));
    remember(connection, database, CONTENT, &content)
}

/// The value under `name` and when it was kept. One that an older or newer version wrote and this one cannot
/// read counts as none.
pub fn recall<T: DeserializeOwned>(
    connection: &Connection,
    database: &str,
    name: &str,
) -> Result<Option<(T, DateTime<Utc>)>> {
    let row = connection
        .query_row("SELECT value, at FROM fact WHERE database = ?1 AND name = ?2", (database, name), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })
        .optional()?;
    Ok(row.and_then(|(text, at)| {
        Some((serde_json::from_str(&text).ok()?, DateTime::from_timestamp_millis(at)?))
    }))
}

/// Damage of a database's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Who found what, in words.
    pub what: String,
    /// The file that has it; another one in its place need not.
    pub file: Option<Identity>,
}

/// Bytes of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// On the freelist.
    pub free_bytes: u64,
}

/// What a database held when it was last backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Where its backups lay.
    pub place: PathBuf,
    /// Bytes of its pages in use.
    pub bytes: u64,
    /// Tables that had rows.
    pub tables: Vec<String>,
}

/// A file by `stat`, and when its tables were last measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The database and its write-ahead log.
    pub stamp: Stamp,
    /// When.
    pub at: DateTime<Utc>,
}

/// Callers that got no connection in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTimeouts {
    /// The process whose pool counted them.
    pub pid: u32,
    /// Since it started.
    pub count: u64,
}

/// Indexes that were seen in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexUse {
    /// Their names, as plans write them.
    pub used: BTreeSet<String>,
    /// The watched queries by name, with [`Watched::query`] and since when each has that text.
    #[serde(default)]
    pub queries: BTreeMap<String, (String, DateTime<Utc>)>,
}

/// A watched query and its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// SHA-256 of its text: another query under the same name has another plan by right.
    pub query: String,
    /// The lines of its plan.
    pub plan: Vec<String>,
}
