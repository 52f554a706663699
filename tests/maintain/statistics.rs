//! The planner's statistics.

use std::path::Path;

use litekeeper::config::{Analyze, Query};
use litekeeper::error::Reason;
use litekeeper::sqlite::hold::{Holds, write};
use litekeeper::sqlite::statistics::{compute, put};
use rusqlite::Connection;
use serde_json::json;

use crate::fixture::{as_application, database, fill, maintain, number, state, text};
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
async fn auto_holds_writers_once_for_each_table_that_needs_it() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    let state = state(&sandbox);
    let auto = database(&path, |d| d.maintain.analyze = Analyze::Auto);
    let ran = maintain(&state, &auto).await;
    let treated = ran.step("analyze")["treated"].as_array().unwrap().len();
    assert!(treated > 2, "{}", ran.step("analyze"));
    // One more to look.
    assert_eq!(ran.step("analyze")["held"]["times"], treated + 1);
    let again = maintain(&state, &auto).await;
    let found = again.step("analyze")["found"].as_str().unwrap();
    assert!(found.starts_with("statistics of 0 of "), "{found}");
    assert!(found.contains("; last refreshed "), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watched_queries_that_are_planned_in_another_way_are_named() {
    let sandbox = Sandbox::new();
    let path = sandbox.database();
    // Without statistics SQLite takes the index on the equal sign; with them it knows that all rows are alike there.
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
