//! The planner's statistics.

use std::path::Path;

use litekeeper::config::{Analyze, Query};
use litekeeper::error::Reason;
use litekeeper::sqlite::upkeep::statistics::{compute, put};
use litekeeper::sqlite::write::hold::{Holds, write};
use litekeeper::state::facts::{self, TABLES};
use litekeeper::state::status::TableStatus;
use rusqlite::Connection;
use serde_json::json;

use crate::fixture::{as_application, database, fill, maintain, number, preview, state, text};
use crate::support::application::Application;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;

#[tokio::test(flavor = "multi_thread")]
async fn h25_analyze_adds_no_kind_of_statistics_that_was_not_there() {
    for analyze in [Analyze::Auto, Analyze::Always] {
        let sandbox = Sandbox::new();
        let path = sandbox.database();
        let mut application = Application::start(&path);
        let statistics = "SELECT group_concat(name) FROM sqlite_master WHERE name LIKE 'sqlite_stat%'";
        assert_eq!(application.sql(statistics), json!([null]));
        let database = database(&path, |d| d.maintain.analyze = analyze);
        let ran = maintain(&state(&sandbox), &database).await;
        assert_eq!(ran.decision("analyze"), "done", "{:?}", ran.finished.result);
        assert_eq!(application.sql(statistics), json!(["sqlite_stat1"]));
        let known =
            "SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'attendance' AND idx = 'idx_attendance_date'";
        assert_eq!(application.sql(known), json!([1]));
        application.stop();
        assert_sound(&path);
        if analyze == Analyze::Auto {
            let again = maintain(&state(&sandbox), &database).await;
            assert_eq!((again.decision("analyze"), again.why("analyze")), ("skipped", "ANALYZE not needed"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h25_samples_that_the_application_has_are_kept_up_to_date() {
    for analyze in [Analyze::Auto, Analyze::Always] {
        let sandbox = Sandbox::new();
        let path = sandbox.database();
        // Ours makes sqlite_stat4, as an application's SQLite with STAT4 does.
        Connection::open(&path).unwrap().execute_batch("ANALYZE").unwrap();
        let samples = "SELECT count(*) FROM sqlite_stat4 WHERE idx = 'idx_attendance_date'";
        assert!(number(&path, samples) > 0);
        // Ten times as many rows, so that the statistics are off.
        as_application(
            &path,
            "c.execute('INSERT INTO attendance (user_id, date, time_in, confidence) SELECT a.user_id, a.date, \
             a.time_in, a.confidence FROM attendance AS a JOIN (SELECT id FROM users LIMIT 20)')",
        );
        let before = text(&path, "SELECT stat FROM sqlite_stat1 WHERE idx = 'idx_attendance_date'");
        let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.analyze = analyze)).await;
        assert_eq!(ran.decision("analyze"), "done", "{:?}", ran.finished.result);
        assert!(number(&path, samples) > 0);
        assert_ne!(text(&path, "SELECT stat FROM sqlite_stat1 WHERE idx = 'idx_attendance_date'"), before);
    }
}

/// All statistics of a database, in no order.
fn statistics(path: &Path, table: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let columns = match table {
        "sqlite_stat1" => "tbl, idx, stat",
        _ => "tbl, idx, neq, nlt, ndlt, hex(sample)",
    };
    let sql = format!("SELECT concat_ws('|', {columns}) AS line FROM {table} ORDER BY line");
    let mut statement = connection.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Index by index, so that writers get their turn in between.
#[tokio::test(flavor = "multi_thread")]
async fn auto_gives_what_sqlites_own_estimate_gives_and_holds_writers_for_one_index_at_a_time() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    // More rows than the estimate looks at, in tables of each kind.
    as_application(
        &path,
        "c.executescript('''CREATE TABLE plain (a, b, c); CREATE INDEX plain_a ON plain (a); CREATE INDEX plain_bc ON plain (b, c);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO plain SELECT i % 100, i / 50, i FROM n;
         CREATE TABLE keyed (a, b, PRIMARY KEY (a, b)) WITHOUT ROWID; CREATE INDEX keyed_b ON keyed (b);
         INSERT INTO keyed SELECT a, c FROM plain;
         CREATE TABLE part (a); CREATE INDEX part_a ON part (a) WHERE a < 50; INSERT INTO part SELECT a FROM plain;
         CREATE TABLE later (a); INSERT INTO later SELECT a FROM plain; ANALYZE later;
         CREATE INDEX later_a ON later (a); CREATE INDEX later_aa ON later (a, a + 1);''')",
    );
    let auto = database(&path, |d| d.maintain.analyze = Analyze::Auto);
    let ran = maintain(&state(&sandbox), &auto).await;
    assert_eq!(ran.decision("analyze"), "done", "{:?}", ran.finished.result);
    let of = |table: &str| {
        ran.statements.iter().filter(|sql| sql.starts_with("ANALYZE") && sql.contains(table)).count()
    };
    assert_eq!(["plain", "keyed", "part", "later"].map(of), [2, 1, 1, 1], "{:?}", ran.statements);

    let ours = statistics(&path, "sqlite_stat1");
    let plain = Connection::open(&path).unwrap();
    plain.execute_batch("PRAGMA analysis_limit = 2000; ANALYZE").unwrap();
    assert_eq!(ours, statistics(&path, "sqlite_stat1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn always_gives_what_plain_analyze_gives_and_holds_writers_once() {
    for samples in [false, true] {
        let sandbox = Sandbox::new();
        let path = sandbox.database();
        fill(&path, 2);
        as_application(
            &path,
            "c.execute('CREATE TABLE keyed (a TEXT, b, PRIMARY KEY (a, b)) WITHOUT ROWID')",
        );
        as_application(&path, "c.execute('INSERT INTO keyed SELECT date, id FROM attendance')");
        if samples {
            // Ours makes sqlite_stat4, as an application's SQLite with STAT4 does.
            Connection::open(&path)
                .unwrap()
                .execute_batch("ANALYZE; DELETE FROM sqlite_stat1; DELETE FROM sqlite_stat4")
                .unwrap();
        }
        let application = Application::start(&path);
        let ran =
            maintain(&state(&sandbox), &database(&path, |d| d.maintain.analyze = Analyze::Always)).await;
        application.stop();
        assert_eq!(ran.decision("analyze"), "done", "{:?}", ran.finished.result);
        assert!(ran.why("analyze").ends_with("on a copy"), "{}", ran.why("analyze"));
        assert_eq!(ran.step("analyze")["held"]["times"], 1);
        assert_sound(&path);

        let kinds = if samples { &["sqlite_stat1", "sqlite_stat4"][..] } else { &["sqlite_stat1"] };
        let ours: Vec<_> = kinds.iter().map(|kind| statistics(&path, kind)).collect();
        Connection::open(&path).unwrap().execute_batch("ANALYZE").unwrap();
        let plain: Vec<_> = kinds.iter().map(|kind| statistics(&path, kind)).collect();
        assert_eq!(ours, plain);
        assert!(plain.iter().all(|rows| rows.len() > 5), "{plain:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_wal_mode_full_statistics_are_computed_in_place_and_it_is_said() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let path = sandbox.database();
    let ran = maintain(&state(&sandbox), &database(&path, |d| d.maintain.analyze = Analyze::Always)).await;
    assert_eq!(ran.decision("analyze"), "done", "{:?}", ran.finished.result);
    assert!(
        ran.why("analyze").contains("in delete mode making a copy holds writers as well"),
        "{}",
        ran.why("analyze")
    );
    let ours = statistics(&path, "sqlite_stat1");
    Connection::open(&path).unwrap().execute_batch("ANALYZE").unwrap();
    assert_eq!(ours, statistics(&path, "sqlite_stat1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_another_schema_are_not_put_in() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let copy = sandbox.path().join("copy");
    std::fs::copy(&path, &copy).unwrap();
    let computed = compute(&Connection::open(&copy).unwrap(), None).unwrap();
    as_application(&path, "c.execute('DROP INDEX idx_users_name')");
    let mut connection = Connection::open(&path).unwrap();
    let refused = write(&mut connection, &Holds::new(|_| {}), |t| put(t, &computed)).unwrap_err();
    assert_eq!(refused.reason, Reason::Refused, "{refused}");
    let kept = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'sqlite_stat%'";
    assert_eq!(number(&path, kept), 0, "rolled back");
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_holds_writers_once_for_each_index_of_the_tables_that_need_it() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let state = state(&sandbox);
    let auto = database(&path, |d| d.maintain.analyze = Analyze::Auto);
    let ran = maintain(&state, &auto).await;
    assert_eq!(ran.step("analyze")["treated"], json!(["attendance", "face_samples", "ledger", "users"]));
    // One more to look.
    let indexes = number(&path, "SELECT count(*) FROM sqlite_schema WHERE type = 'index'");
    assert_eq!(ran.step("analyze")["held"]["times"], indexes + 1);
    let again = maintain(&state, &auto).await;
    let found = again.step("analyze")["found"].as_str().unwrap();
    assert!(found.starts_with("statistics of 0 of "), "{found}");
    assert!(found.contains("; last refreshed "), "{found}");
}

/// SQLite counts the entries of an index while it holds writers up.
#[tokio::test(flavor = "multi_thread")]
async fn a_preview_expects_writers_to_be_held_the_longer_the_more_rows_a_table_has() {
    let sandbox = Sandbox::new();
    let (state, database) =
        (state(&sandbox), database(&sandbox.database(), |d| d.maintain.analyze = Analyze::Auto));
    let mut expected = Vec::new();
    for rows in [1_000, 50_000_000] {
        let tables = [TableStatus { table: "attendance".into(), size_bytes: None, rows: Some(rows) }];
        state.now(|c| facts::remember(c, "attendance", TABLES, &tables.to_vec())).unwrap();
        let ran = preview(&state, &database).await;
        assert_eq!(ran.decision("analyze"), "planned");
        expected.push(ran.step("analyze")["expected"]["hold_seconds"].as_f64().unwrap());
    }
    assert!(expected[0] < 0.05 && expected[1] > 0.5, "{expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_queries_that_are_planned_in_another_way_are_named() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    // Without statistics SQLite takes the index on the equal sign; with them it knows that all rows
    // are alike there.
    as_application(
        &path,
        "c.executescript('''CREATE TABLE skewed (same, different, id INTEGER PRIMARY KEY);
         CREATE INDEX by_same ON skewed (same); CREATE INDEX by_different ON skewed (different);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO skewed (same, different) SELECT 1, i FROM n;''')",
    );
    let query = |name: &str, sql: &str| Query { name: name.into(), sql: sql.into(), params: [].into() };
    let database = database(&path, |d| {
        d.maintain.analyze = Analyze::Always;
        d.watch.queries = vec![
            query("turns", "SELECT * FROM skewed WHERE same = 1 AND different BETWEEN 7 AND 9"),
            query("stays", "SELECT * FROM skewed WHERE id = 7"),
            query("fails", "SELECT * FROM nowhere"),
        ];
    });
    let state = state(&sandbox);
    let ran = maintain(&state, &database).await;
    assert_eq!(ran.step("analyze")["plans_changed"], json!(["turns"]), "{:?}", ran.finished.result);
    let again = maintain(&state, &database).await;
    assert_eq!(again.step("analyze")["plans_changed"], json!([]));
}
