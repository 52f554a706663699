//! Which rows go: the newest so many, so many bytes, and dates by the clock of a zone. Against
//! naive models.

use super::fixture::{Place, Rule, database, detail, hundred_rows, log_with, message, rule};
use chrono::{Duration as Span, Utc};
use litekeeper::error::Reason;
use litekeeper::terms::Outcome;
use litekeeper::zone::Zone;
use proptest::prelude::*;
use std::fmt::Write as _;

/// A row: its number, and how many days ago its date lies, if it has one that can be read.
type Row = (i64, Option<u16>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Few days for many rows, so that several share one.
    let date = prop_oneof![4 => (360u16..370).prop_map(Some), 1 => Just(None)];
    prop::collection::btree_map(-50i64..200, date, 0..60).prop_map(|rows| rows.into_iter().collect())
}

/// The rows that are left, one after the other: oldest first, as long as something says that it
/// goes.
fn left(rows: &[Row], keep_rows: u64, keep_days: Option<u16>, by_date: bool) -> Vec<i64> {
    let mut judged: Vec<_> = rows.iter().filter(|row| !by_date || row.1.is_some()).copied().collect();
    // Long ago first.
    judged.sort_by_key(|(id, days)| (if by_date { -i32::from(days.unwrap()) } else { 0 }, *id));
    let mut left: Vec<i64> = rows.iter().filter(|row| by_date && row.1.is_none()).map(|row| row.0).collect();
    let count = judged.len() as u64;
    for (at, (id, days)) in judged.into_iter().enumerate() {
        let is_old = keep_days.is_some_and(|keep| days.unwrap() > keep);
        if count - at as u64 <= keep_rows && !is_old {
            left.push(id);
        }
    }
    left.sort_unstable();
    left
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 50, ..ProptestConfig::default() })]
    #[test]
    fn what_keep_rows_leaves_is_what_a_naive_model_leaves(
        rows in rows(), keep_rows in 1u64..40, keep_days in prop::option::of(362u16..368), schema in 0usize..5,
    ) {
        let (create, by_date) = [
            ("CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT);", true),
            ("CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT); CREATE INDEX i ON log(at DESC, id);", true),
            ("CREATE TABLE log(id INTEGER, at TEXT, PRIMARY KEY (id)) WITHOUT ROWID; CREATE INDEX i ON log(at);", true),
            ("CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT); CREATE INDEX i ON log(at);", false),
            ("CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT) WITHOUT ROWID;", false),
        ][schema];
        let mut sql = String::from(create);
        for (id, days) in &rows {
            let date = days.map_or("'n/a'".to_owned(), |days| format!("date('now', '-{days} days')"));
            write!(sql, "INSERT INTO log VALUES ({id}, {date});").unwrap();
        }
        let place = Place::new(&sql);
        let keep_days = keep_days.filter(|_| by_date);
        let by = Rule {
            column: by_date.then(|| "at".to_owned()),
            keep: keep_days.map(|days| super::fixture::day(days.into())),
            keep_rows: Some(keep_rows),
            format: Some(litekeeper::config::DateFormat::Iso),
            ..rule("log")
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let preview = runtime.block_on(place.preview(vec![by.clone()]));
        let mut database = database(&place.path(), vec![by]);
        // Batches of a few rows, so that one ends among rows of one date.
        database.cleanup.batch_target = std::time::Duration::from_nanos(1);
        let finished = runtime.block_on(place.run_as(database, false));
        prop_assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        let expected = left(&rows, keep_rows, keep_days, by_date);
        prop_assert_eq!(&detail(&preview)["removed"], &serde_json::Value::from(rows.len() - expected.len()));
        prop_assert_eq!(&detail(&finished)["removed"], &serde_json::Value::from(rows.len() - expected.len()));
        prop_assert_eq!(place.numbers("SELECT id FROM log ORDER BY id"), expected);
    }
}

fn content_bytes(place: &Place) -> i64 {
    place.number(
        "SELECT sum(pgsize - unused) FROM dbstat WHERE aggregate = TRUE AND name IN \
         (SELECT name FROM sqlite_schema WHERE tbl_name = 'log')",
    )
}

#[tokio::test]
async fn max_size_removes_the_oldest_rows_until_table_and_indexes_fit_and_no_more() {
    let place = Place::new(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT, body TEXT); CREATE INDEX i ON log(at); \
         CREATE INDEX b ON log(body); CREATE TABLE other(body); INSERT INTO other VALUES (zeroblob(1000000)); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         INSERT INTO log SELECT i, datetime('now', (i - 20000) || ' minutes'), hex(randomblob(60)) FROM n;",
    );
    let before = content_bytes(&place);
    let most = before * 2 / 3;
    let by = Rule { keep: None, max_size: Some(most.cast_unsigned()), ..rule("log") };
    let finished = place.run(vec![by.clone()]).await;
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    assert_eq!(detail(&finished)["size_bytes"], before);
    let after = content_bytes(&place);
    assert!(after <= most && after > most * 98 / 100, "{before} came to {after} of {most}");
    let count = place.number("SELECT count(*) FROM log");
    assert_eq!(place.number("SELECT min(id) FROM log"), 20_001 - count);
    let text = finished.result.unwrap().summary;
    assert!(text.contains("beyond the newest ") && text.contains("fit into max_size = "), "{text}");
    // What rows have left free on their pages is not counted, and makes no further rows go.
    assert_eq!(detail(&place.run(vec![by]).await)["removed"], 0);
}

#[tokio::test]
async fn h28_guards_a_table_against_a_limit_of_rows_as_well() {
    let place = log_with("");
    let by = Rule { column: None, keep: None, keep_rows: Some(10), ..rule("log") };
    let mut database = database(&place.path(), vec![by]);
    database.cleanup.max_share = 0.5;
    let (reason, message) = message(&place.run_as(database, false).await);
    assert_eq!(reason, Reason::Refused);
    assert!(
        message.contains("90 of 100 rows of log (90%) would be removed as beyond the newest 10 rows"),
        "{message}"
    );
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);
}

#[tokio::test]
async fn text_without_an_offset_is_read_by_the_clock_of_the_rules_zone() {
    let zone = Zone::named("Asia/Kathmandu").unwrap();
    let cutoff = Utc::now() - Span::days(365);
    let mut sql =
        String::from("CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT); CREATE INDEX i ON log(at);");
    for (id, at) in [
        (1, (cutoff - Span::minutes(30)).with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string()),
        (2, (cutoff + Span::minutes(30)).with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string()),
        (3, (cutoff - Span::minutes(30)).with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%:z").to_string()),
        (4, (cutoff + Span::minutes(30)).format("%Y-%m-%dT%H:%M:%SZ").to_string()),
    ] {
        write!(sql, "INSERT INTO log VALUES ({id}, '{at}');").unwrap();
    }
    let place = Place::new(&sql);
    let preview = place.preview(vec![Rule { timezone: zone, ..rule("log") }]).await;
    let finished = place.run(vec![Rule { timezone: zone, ..rule("log") }]).await;
    assert_eq!(place.numbers("SELECT id FROM log"), [2, 4]);
    for finished in [preview, finished] {
        assert_eq!(detail(&finished)["timezone"], "Asia/Kathmandu");
        let by_the_clock = cutoff.with_timezone(&zone).format("older than %Y-%m-%d %H:").to_string();
        let why = detail(&finished)["goes"][0].as_str().unwrap();
        assert!(why.starts_with(&by_the_clock) && why.ends_with(" Asia/Kathmandu"), "{why}");
    }
}

#[tokio::test]
async fn what_is_free_afterwards_and_what_comes_of_it_is_said() {
    let place = Place::new(&format!(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT, body); {} UPDATE log SET body = zeroblob(50000);",
        hundred_rows("log", "date(j)")
    ));
    let next = |vacuum, min_size| {
        let mut database = database(&place.path(), vec![rule("log")]);
        (database.maintain.vacuum, database.maintain.vacuum_min_size) = (vacuum, min_size);
        database
    };
    let finished = place.run_as(next(litekeeper::config::Vacuum::Auto, 1 << 30), false).await;
    let free = place.number("PRAGMA freelist_count");
    let pages = place.number("PRAGMA page_count");
    assert!(free * 3 > pages, "{free} of {pages}");
    let space = finished.result.unwrap().detail["space"].as_str().unwrap().to_owned();
    assert!(space.contains("maintain.vacuum_min_size = 1.0 GiB"), "{space}");
}

/// A text by its bytes is another text there, behind which every row lies.
#[tokio::test]
async fn keep_rows_leaves_as_many_in_a_database_in_utf_16() {
    for (encoding, index) in [("UTF-16le", "CREATE INDEX i ON log(at);"), ("UTF-16be", "")] {
        let place = Place { directory: tempfile::tempdir().unwrap() };
        let sql = format!(
            "PRAGMA encoding = '{encoding}'; PRAGMA journal_mode = wal; \
             CREATE TABLE log(id TEXT PRIMARY KEY, at TEXT) WITHOUT ROWID; {index} \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) \
             INSERT INTO log SELECT i || 'it''s žluť' || char(0) || 'x', date('2020-01-01', (i / 2) || ' days') FROM n;"
        );
        place.open().execute_batch(&sql).unwrap();
        let by = Rule { keep: None, keep_rows: Some(4), ..rule("log") };
        let finished = place.run(vec![by]).await;
        assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        let left = "SELECT CAST(id AS INTEGER) FROM log ORDER BY id";
        assert_eq!(place.numbers(left), [6, 7, 8, 9], "{encoding}");
    }
}
