//! What a snapshot holds, asked by SQL in the snapshot's own transaction before its pages are
//! taken: tables and rows. Must never keep the application waiting for a number: rows are counted
//! only while that is quick.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::{Error, Reason, Result};
use crate::sql::quoting::quoted;
use crate::sqlite::copy::snapshot::Snapshot;
use crate::sqlite::look::schema;
use crate::state::facts::Content;
use crate::store;
use crate::store::codec::hash;
use crate::terms::progress::Watch;

/// Rows of all tables together are counted for the manifest for no longer than this …
const COUNTING: Duration = Duration::from_millis(250);
/// … and where the application's writers wait meanwhile, than this.
const COUNTING_WHILE_WRITERS_WAIT: Duration = Duration::from_millis(25);

/// Tables, with their rows where they were counted.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) tables: BTreeMap<String, Option<u64>>,
    /// To notice the next time that the database has shrunk.
    pub(super) content: Content,
    /// The first damage that SQLite told of on the way.
    pub(super) met: Option<Error>,
}

/// Reads them. `watch` is asked between tables.
pub(super) fn read(snapshot: &Snapshot<'_>, place: PathBuf, watch: &dyn Watch) -> Result<Contents> {
    let connection = snapshot.connection();
    let until =
        Instant::now() + if snapshot.blocks_writers() { COUNTING_WHILE_WRITERS_WAIT } else { COUNTING };
    let (mut tables, mut with_rows, mut met) = (BTreeMap::new(), Vec::new(), None);
    for table in schema::tables(connection)? {
        watch.go_on()?;
        let counted = match rows(connection, &table.name, until) {
            Err(error) if error.reason == Reason::Damaged => {
                met.get_or_insert(error);
                RowCount::Unknown
            }
            // Needs something that only the application has.
            other => other.unwrap_or(RowCount::Unknown),
        };
        // A table that we cannot read is not an empty one.
        if counted != RowCount::All(0) {
            with_rows.push(table.name.clone());
        }
        tables.insert(table.name, if let RowCount::All(rows) = counted { Some(rows) } else { None });
    }
    let content = Content { place, bytes: snapshot.facts.used_bytes(), tables: with_rows };
    Ok(Contents { tables, content, met })
}

/// What the manifest tells of the snapshot, with the `damage` that the database has.
#[expect(clippy::expect_used, reason = "the header of a database has 32 bits for each of these")]
pub(super) fn described(
    snapshot: &Snapshot<'_>,
    source: &Path,
    contents: &Contents,
    damage: Option<String>,
) -> store::Snapshot {
    let small = |n: i64| i32::try_from(n).expect("a number of the header");
    let facts = &snapshot.facts;
    store::Snapshot {
        source: source.to_owned(),
        page_size: u32::try_from(facts.page_size).expect("at most 65536"),
        page_count: facts.pages,
        sqlite_version: rusqlite::version().to_owned(),
        user_version: small(facts.user_version),
        application_id: small(facts.application_id),
        schema_sha256: hash::sha256(snapshot.schema.as_bytes()),
        tables: contents.tables.clone(),
        damage,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum RowCount {
    All(u64),
    Unknown,
}

/// Rows of a table; `Unknown` where `until` came first.
fn rows(connection: &Connection, table: &str, until: Instant) -> Result<RowCount> {
    /// Rows between two looks at the clock.
    const STRIDE: u64 = 256;
    let named = |e: rusqlite::Error| Error::from(e).context(table);
    let mut statement =
        connection.prepare(&format!("SELECT 1 FROM main.{}", quoted(table))).map_err(named)?;
    let mut all = statement.query([]).map_err(named)?;
    let mut count = 0;
    while all.next().map_err(named)?.is_some() {
        count += 1;
        if count % STRIDE == 1 && Instant::now() > until {
            return Ok(RowCount::Unknown);
        }
    }
    Ok(RowCount::All(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_only_while_that_is_quick() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE empty (a); CREATE TABLE t (a);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
                 INSERT INTO t SELECT i FROM n",
            )
            .unwrap();
        let rows = |table, until| rows(&connection, table, until).unwrap();
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(rows("t", later), RowCount::All(50_000));
        assert_eq!(rows("t", Instant::now()), RowCount::Unknown);
        assert_eq!(rows("empty", Instant::now()), RowCount::All(0), "that it is empty is always known");
    }
}
