//! Without damage, every row is what SQL says that it is.

use super::random::Random;
use super::{databases, rows};
use litekeeper::sqlite::{pages, salvage};
use proptest::prelude::*;
use rusqlite::Connection;

#[test]
fn a_sound_database_comes_back_row_by_row() {
    for name in databases::NAMES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sqlite");
        databases::create(name, &path);
        let original = rows::tables(&Connection::open(&path).unwrap());
        let (target, told) = rows::salvaged(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(rows::tables(&target), original, "{name}");
        assert_eq!(told.lost_and_found, None, "{name}");
        assert_eq!(told.left_out, Vec::<String>::new(), "{name}");
        assert!(
            told.tables.iter().all(|table| table.is_whole() && table.pages_lost == 0),
            "{name}: {told:?}"
        );
        let check: String = target.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "{name}");
        let schema = |c: &Connection| -> Vec<(String, String)> {
            let sql = "SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name";
            c.prepare(sql)
                .unwrap()
                .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))
                .unwrap()
                .map(Result::unwrap)
                .collect()
        };
        assert_eq!(schema(&target), schema(&Connection::open(&path).unwrap()), "{name}");
    }
}

fn made(sql: &str) -> (Connection, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(&format!("PRAGMA page_size = 1024; {sql}")).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    (connection, bytes)
}

fn numbers(connection: &Connection, sql: &str) -> Vec<usize> {
    connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn pages_of_like_tables_that_changed_places_find_back() {
    let (connection, mut bytes) = made(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, text TEXT); CREATE TABLE b (id INTEGER PRIMARY KEY, text TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
         INSERT INTO a SELECT i, 'of a ' || i FROM n;
         INSERT INTO b SELECT id + 10000, 'of b ' || id FROM a;",
    );
    let leaf = |table: &str| {
        let sql = format!(
            "SELECT pageno - 1 FROM dbstat WHERE name = '{table}' AND pagetype = 'leaf' ORDER BY path"
        );
        let leaves = numbers(&connection, &sql);
        leaves[leaves.len() / 2]
    };
    let (one, other) = (leaf("a"), leaf("b"));
    for at in 0..1024 {
        bytes.swap(one * 1024 + at, other * 1024 + at);
    }
    let (target, told) = rows::salvaged(&bytes).unwrap();
    assert_eq!(rows::tables(&target), rows::tables(&connection), "{told:#?}");
    assert!(told.tables.iter().all(|table| table.pages_found == 1), "{told:#?}");
}

#[test]
fn h24_deleted_rows_come_back_into_no_table() {
    let (connection, sound) = made(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
         INSERT INTO t SELECT i, 'row ' || i FROM n;
         DELETE FROM t WHERE id > 300;",
    );
    let root = numbers(&connection, "SELECT rootpage - 1 FROM sqlite_schema")[0];
    // Nothing leads to the rows any more; and then the list of free pages is not to be trusted
    // either.
    for trusted in [true, false] {
        let mut damaged = sound.clone();
        damaged[root * 1024..(root + 1) * 1024].fill(0);
        // How many pages are free.
        damaged[39] ^= u8::from(!trusted);
        let (target, told) = rows::salvaged(&damaged).unwrap();
        let in_table = numbers(&target, "SELECT id FROM t ORDER BY id");
        assert!(in_table.iter().all(|id| *id <= 300), "{told:#?}");
        assert_eq!(in_table.len() == 300, trusted, "{told:#?}");
        if !trusted {
            assert!(told.lost_and_found_rows >= 300, "{told:#?}");
        }
    }
}

#[test]
fn what_lies_on_free_pages_is_shown_only_when_it_is_asked_for() {
    let (_connection, bytes) = made(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
         INSERT INTO t SELECT i, 'row ' || i FROM n;
         DELETE FROM t WHERE id > 300;",
    );
    for (asked, least) in [(false, 0), (true, 100)] {
        let holder = rows::Held(&bytes);
        let database = pages::Database::open(&holder).unwrap();
        let target = Connection::open_in_memory().unwrap();
        let told = salvage::salvage(&database, &target, asked, &|| Ok(())).unwrap();
        assert_eq!(told.tables[0].kept, 300);
        assert!(told.lost_and_found_rows >= least && asked == (told.lost_and_found_rows > 0), "{told:#?}");
    }
}

/// A value as SQL has it.
fn value() -> impl Strategy<Value = String> {
    let long = prop_oneof![4 => 0..20_usize, 2 => 20..600_usize, 1 => 600..6_000_usize];
    let text = (any::<u32>(), long.clone()).prop_map(|(seed, length)| {
        let letters = "aé€😀 z'0";
        let mut random = Random::new(seed.into());
        let text: String = (0..length)
            .map(|_| letters.chars().nth(random.below(letters.chars().count())).unwrap())
            .collect();
        format!("'{}'", text.replace('\'', "''"))
    });
    let blob = (any::<u32>(), long).prop_map(|(seed, length)| {
        let mut random = Random::new(seed.into());
        let hex: Vec<String> = (0..length).map(|_| format!("{:02x}", random.below(256))).collect();
        format!("x'{}'", hex.concat())
    });
    prop_oneof![
        Just("NULL".to_owned()),
        (-3..3_i64).prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| format!("({} - 1)", number.saturating_add(1))),
        any::<i32>().prop_map(|number| format!("{number}.5")),
        text,
        blob,
    ]
}

#[derive(Debug, Clone)]
struct Plan {
    page_size: u32,
    encoding: &'static str,
    auto_vacuum: u32,
    /// Of the key: rowid, INTEGER PRIMARY KEY, WITHOUT ROWID.
    kind: u32,
    types: Vec<&'static str>,
    rows: Vec<(i64, Vec<String>)>,
    deleted: i64,
    added: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let types = ["", "INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC"];
    let tables = (
        prop::sample::select(vec![512_u32, 1024, 4096, 65_536]),
        prop::sample::select(vec!["UTF-8", "UTF-16le", "UTF-16be"]),
        0..3_u32,
        0..3_u32,
        prop::collection::vec(prop::sample::select(types.to_vec()), 1..6),
        1..7_i64,
        any::<bool>(),
    );
    tables.prop_flat_map(|(page_size, encoding, auto_vacuum, kind, types, deleted, added)| {
        let row = (any::<i64>(), prop::collection::vec(value(), types.len()));
        prop::collection::vec(row, 0..60).prop_map(move |rows| Plan {
            page_size,
            encoding,
            auto_vacuum,
            kind,
            types: types.clone(),
            rows,
            deleted,
            added,
        })
    })
}

fn written(plan: &Plan, path: &std::path::Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    let columns: Vec<String> =
        plan.types.iter().enumerate().map(|(at, kind)| format!("c{at} {kind}")).collect();
    let (key, end) = match plan.kind {
        0 => ("k INT", ""),
        1 => ("k INTEGER PRIMARY KEY", ""),
        _ => ("k INT PRIMARY KEY", " WITHOUT ROWID"),
    };
    // The key neither first nor last.
    let (first, rest) = columns.split_first().unwrap();
    let all: Vec<&str> = [first.as_str(), key].into_iter().chain(rest.iter().map(String::as_str)).collect();
    let mut sql = format!(
        "PRAGMA page_size = {}; PRAGMA encoding = '{}'; PRAGMA auto_vacuum = {}; CREATE TABLE t ({}){end};
         CREATE INDEX by_text ON t (c0 COLLATE NOCASE DESC, k); CREATE INDEX by_key ON t (k, c0 COLLATE RTRIM);
         CREATE INDEX of_some ON t (c0) WHERE k > 0; CREATE INDEX of_sums ON t (c0, abs(k / 2)); BEGIN;",
        plan.page_size,
        plan.encoding,
        plan.auto_vacuum,
        all.join(", ")
    );
    let insert = |(key, values): &(i64, Vec<String>)| {
        let names: Vec<String> = (0..values.len()).map(|at| format!("c{at}")).collect();
        let rowid = if plan.kind == 0 { ", rowid" } else { "" };
        // The lowest number has no literal.
        let key = format!("({} - 1)", key.saturating_add(1));
        let twice = if plan.kind == 0 { format!(", {key}") } else { String::new() };
        let (names, values) = (names.join(", "), values.join(", "));
        format!("INSERT OR IGNORE INTO t ({names}, k{rowid}) VALUES ({values}, {key}{twice});")
    };
    let (early, late) = plan.rows.split_at(plan.rows.len() / 2);
    sql.extend(early.iter().map(insert));
    sql.extend([format!("DELETE FROM t WHERE abs(k % 7) = {};", plan.deleted)]);
    if plan.added {
        sql += "ALTER TABLE t ADD COLUMN later DEFAULT 'then'; CREATE INDEX by_later ON t (later, c0);";
    }
    sql.extend(late.iter().map(insert));
    connection.execute_batch(&(sql + "COMMIT")).unwrap();
    connection
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_read_as_sql_reads_it(plan in plan()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let connection = written(&plan, &path);
        let original = rows::tables(&connection);
        drop(connection);
        let (target, told) = rows::salvaged(&std::fs::read(&path).unwrap()).unwrap();
        prop_assert_eq!(rows::tables(&target), original);
        prop_assert_eq!(told.lost_and_found_rows, 0);
        // Nothing is in doubt where nothing is wrong.
        prop_assert_eq!((told.lost_and_found_by_index, told.stale_indexes), (None, vec![]));
        prop_assert!(told.tables.iter().all(|table| table.is_whole() && table.pages_lost == 0));
    }
}
