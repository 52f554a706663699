//! What a job wants to know the next time it runs: any serialisable value, by database and name.
//! Must never hold what a job cannot do without: the state may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::status::{CheckStatus, TableStatus};
use super::trends::{Size, Trend};
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::access::Identity;
use crate::sqlite::files::stamp::Stamp;

/// A fact: its name in `state.db`, and the type that is kept under it. Where nothing is kept, it is
/// that type's default.
#[derive(Debug)]
pub struct Fact<T> {
    name: &'static str,
    kept: PhantomData<fn() -> T>,
}

impl<T> Clone for Fact<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Fact<T> {}

impl<T> Fact<T> {
    /// Of this name; one name has one type.
    pub const fn new(name: &'static str) -> Self {
        Self { name, kept: PhantomData }
    }
}

/// Which tables ANALYZE treated the last time. Written and read by maintenance.
pub const ANALYZED: Fact<Vec<String>> = Fact::new("analyzed");
/// What the files looked like before the newest backup was made. Written and read by the backup.
pub const BACKED_UP: Fact<Option<BackupMark>> = Fact::new("backed_up");
/// The last attempt at each index, by its name. Written and read by maintenance.
pub const BUILDS: Fact<BTreeMap<String, Build>> = Fact::new("index_builds");
/// What the newest backup holds, to notice a database that has shrunk. Written by the backup, and
/// lowered by maintenance and cleanup; read by the backup.
pub const CONTENT: Fact<Option<Content>> = Fact::new("content");
/// Where copies of the backups were made, by the copy's name. Written and read by the backup.
pub const COPIES: Fact<BTreeMap<String, String>> = Fact::new("copies");
/// Damage of the file. Written by whichever job meets it, and by the check of integrity; read by
/// all that write.
pub const DAMAGE: Fact<Option<Damage>> = Fact::new("damage");
/// Names of the indexes that a check found wrong. The check of integrity writes them, maintenance
/// and recover rebuild them and take them off, the backup spares old ones for them.
pub const DAMAGED_INDEXES: Fact<Vec<String>> = Fact::new("damaged_indexes");
/// What the checks found, one entry per check. Written by health and integrity, read by the status.
pub const HEALTH: Fact<Vec<CheckStatus>> = Fact::new("health");
/// Declared indexes that are not as declared, those that are damaged, and what is advised: name and
/// word. Written by health and integrity, read by the metrics.
pub const INDEX_PROBLEMS: Fact<Vec<(String, String)>> = Fact::new("index_problems");
/// Which indexes the plans of watched queries and slow statements had. Written and read by health.
pub const INDEX_USE: Fact<IndexUse> = Fact::new("index_use");
/// What the file looked like when its tables were measured. Written and read by health.
pub const MEASURED: Fact<Option<Measurement>> = Fact::new("measured");
/// What each kind of job left out the last time, because only the application can do it, by the
/// kind's word. Written and read by the runner, which tells of what is new.
pub const LEFT_OUT: Fact<BTreeMap<String, BTreeSet<String>>> = Fact::new("left_out");
/// Who has kept the write-ahead log from being emptied. Written and read by the checkpoint.
pub const PIN: Fact<Option<Pin>> = Fact::new("pin");
/// The watched queries by name. Written by watch, read by health.
pub const PLANS: Fact<BTreeMap<String, WatchedPlan>> = Fact::new("plans");
/// Callers that got no connection in time when health last looked. Written and read by health.
pub const POOL_TIMEOUTS: Fact<Option<PoolTimeouts>> = Fact::new("pool_timeouts");
/// What the largest tables and indexes measured. Written and read by health.
pub const SIZES: Fact<Vec<Size>> = Fact::new("sizes");
/// Bytes of the file that are free. Written by health and maintenance, read by the status.
pub const SPACE: Fact<Option<Space>> = Fact::new("space");
/// How fast the file is rewritten. Written and read by maintenance.
pub const SPEEDS: Fact<Speeds> = Fact::new("rewrite_speeds");
/// Sizes of the tables, largest first. Written by health; read by the status, maintenance and
/// health.
pub const TABLES: Fact<Vec<TableStatus>> = Fact::new("tables");
/// How the sizes went. Written by health, read by the status.
pub const TRENDS: Fact<Vec<Trend>> = Fact::new("trends");

/// Keeps `value` in place of an earlier one, whatever that was: [`update`] where the new one
/// depends on it.
pub fn remember<T: Serialize>(
    connection: &Connection,
    database: &str,
    fact: Fact<T>,
    value: &T,
) -> Result<()> {
    let name = fact.name;
    let text = serde_json::to_string(value)
        .map_err(|e| Error::new(Reason::Io, format!("cannot keep the fact {name}: {e}")))?;
    connection.execute(
        "INSERT INTO fact (database, name, value, at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO UPDATE SET value = excluded.value, at = excluded.at",
        (database, name, text, clock::now().timestamp_millis()),
    )?;
    Ok(())
}

/// The value of a fact. One that an older or newer version wrote and this one cannot read counts as
/// none.
pub fn recall<T>(connection: &Connection, database: &str, fact: Fact<T>) -> Result<T>
where
    T: DeserializeOwned + Default,
{
    Ok(recall_dated(connection, database, fact)?.map(|(value, _)| value).unwrap_or_default())
}

/// The same with when it was kept, as far as that is known; `None` where there is none.
pub fn recall_dated<T: DeserializeOwned>(
    connection: &Connection,
    database: &str,
    fact: Fact<T>,
) -> Result<Option<(T, Option<DateTime<Utc>>)>> {
    let row = connection
        .query_row(
            "SELECT value, at FROM fact WHERE database = ?1 AND name = ?2",
            (database, fact.name),
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
        )
        .optional()?;
    Ok(row.and_then(|(text, at)| {
        let at = clock::past(DateTime::from_timestamp_millis(at)?, clock::now());
        Some((serde_json::from_str(&text).ok()?, at))
    }))
}

/// Changes what is kept, and gives what `change` gives. In one transaction, which has the write
/// lock from its beginning: another process may change the same.
pub fn update<T, R>(
    connection: &mut Connection,
    database: &str,
    fact: Fact<T>,
    change: impl FnOnce(&mut T) -> R,
) -> Result<R>
where
    T: DeserializeOwned + Serialize + Default,
{
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let changed = update_in(&transaction, database, fact, change)?;
    transaction.commit()?;
    Ok(changed)
}

/// The same within a transaction that has the write lock already, where several facts belong
/// together.
pub fn update_in<T, R>(
    transaction: &Transaction<'_>,
    database: &str,
    fact: Fact<T>,
    change: impl FnOnce(&mut T) -> R,
) -> Result<R>
where
    T: DeserializeOwned + Serialize + Default,
{
    let mut value = recall(transaction, database, fact)?;
    let changed = change(&mut value);
    remember(transaction, database, fact, &value)?;
    Ok(changed)
}

/// Lowers what the next backup expects to find, after a job of ours made the pages in use fewer:
/// `before` and `after` are their bytes. A database that shrank for another reason is still
/// noticed.
pub fn shrunk_on_purpose(connection: &mut Connection, database: &str, before: u64, after: u64) -> Result<()> {
    update(connection, database, CONTENT, |content| {
        let Some(content) = content else { return };
        // What had been added since the last backup was not expected; that it is gone again lowers
        // nothing.
        let missing_already = content.bytes.saturating_sub(before);
        content.bytes = content.bytes.min(after.saturating_add(missing_already));
    })
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
pub struct Measurement {
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
    /// The watched queries by name, with [`WatchedPlan::query`] and since when each has that text.
    #[serde(default)]
    pub queries: BTreeMap<String, (String, DateTime<Utc>)>,
}

/// A watched query and its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedPlan {
    /// SHA-256 of its text: another query under the same name has another plan by right.
    pub query: String,
    /// The lines of its plan.
    pub plan: Vec<String>,
}

/// What the files looked like before the newest backup was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupMark {
    /// The database's files before its pages were read.
    pub stamp: Stamp,
    /// The backup that holds that state.
    pub backup: String,
}

/// The last attempt at an index.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Build {
    /// For which writers were held.
    pub seconds: f64,
    /// Bytes in use of the whole file then.
    pub used: u64,
    /// It was built; otherwise interrupted after `seconds`.
    pub is_built: bool,
}

/// Bytes in use that were rewritten for each second in which writers were held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Speeds {
    /// By VACUUM.
    pub vacuum: Option<f64>,
    /// By a compact copy that was put in place.
    pub overwrite: Option<f64>,
}

/// A reader that keeps the write-ahead log from being emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// When it was first seen.
    pub since: DateTime<Utc>,
    /// How much of the log can be moved into the database: the reader stands behind it. Another
    /// number is another reader.
    pub moved_pages: u64,
    /// Who it is, in words; empty where that cannot be seen.
    pub by: String,
    /// When it was last told of.
    pub(super) told: DateTime<Utc>,
}
