//! Every statement of the work is timed, once, and those of nobody else.

use super::fixture::{Fixture, LONG, call};
use crate::support::calls::OnThread as _;
use crate::support::counted;
use litekeeper::pool::{Pool, SlowStatement, slow_statements};
use std::time::Duration;

/// A pool that tells of every statement.
fn telling() -> Fixture {
    Fixture::new(|d| (d.pool.size, d.watch.slow_threshold) = (1, Duration::ZERO))
}

fn texts(slow: &[SlowStatement]) -> Vec<&str> {
    slow.iter().map(|statement| statement.sql.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_of_the_work_is_told_once_and_nothing_else_is() {
    let mut fixture = telling();
    fixture.sql("CREATE TABLE log (x); CREATE TRIGGER t AFTER INSERT ON log BEGIN UPDATE users SET name = name; END").await.unwrap();
    fixture.slow_so_far();
    // Among them what runs statements of its own, and what fires a trigger.
    for sql in [
        "SELECT 1",
        "INSERT INTO log VALUES (1)",
        "VACUUM",
        "ANALYZE",
        "PRAGMA optimize(0x10002)",
        "REINDEX",
        "DROP TABLE log",
    ] {
        // The call before gave the connection back, and the pool has asked it whether it still
        // lives.
        fixture.sql(sql).await.unwrap();
        assert_eq!(texts(&fixture.slow_so_far()), [sql]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_with_a_comment_in_front_is_told() {
    let mut fixture = telling();
    let sql = "-- today's\nSELECT count(*) FROM attendance";
    fixture.sql(sql).await.unwrap();
    assert_eq!(texts(&fixture.slow_so_far()), [sql]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_run_while_another_gives_its_rows_are_told() {
    let mut fixture = telling();
    let call = call();
    let work = fixture.pool.on_thread(&call, |c| {
        let mut outer = c.prepare("PRAGMA table_list")?;
        let mut rows = outer.query([])?;
        rows.next()?;
        c.execute("UPDATE users SET name = name", [])?;
        Ok(())
    });
    work.await.unwrap();
    assert_eq!(texts(&fixture.slow_so_far()), ["UPDATE users SET name = name", "PRAGMA table_list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_statement_is_what_it_did() {
    let mut fixture = telling();
    fixture.sql("SELECT * FROM attendance WHERE confidence < 0 ORDER BY time_in").await.unwrap();
    fixture.sql("SELECT * FROM attendance a, face_samples f WHERE a.time_in = f.captured_at").await.unwrap();
    fixture.sql("SELECT * FROM users WHERE id = 1").await.unwrap();
    let told = fixture.slow_so_far();
    let [scan, join, lookup] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((scan.database.as_str(), scan.job), (fixture.database.name.as_str(), "maintain"));
    assert_eq!((scan.full_scan_steps, scan.sorts, scan.automatic_indexes), (999, 1, 0));
    assert!(scan.vm_steps > 1000, "{scan:?}");
    assert!(join.automatic_indexes > 0, "{join:?}");
    assert_eq!((lookup.full_scan_steps, lookup.sorts, lookup.automatic_indexes), (0, 0, 0));
    assert!((1..100).contains(&lookup.vm_steps), "{lookup:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_statement_is_told_with_the_steps_of_each_run() {
    let mut fixture = telling();
    for _ in 0..3 {
        let call = call();
        let count = fixture.pool.on_thread(&call, |c| {
            let mut statement = c.prepare_cached("SELECT sum(confidence) FROM attendance")?;
            Ok(statement.query_row([], |row| row.get::<_, f64>(0))?)
        });
        count.await.unwrap();
    }
    let told = fixture.slow_so_far();
    assert_eq!(told.len(), 3);
    assert!(told[0].vm_steps > 1000);
    assert!(told.iter().all(|one| one.vm_steps == told[0].vm_steps), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_faster_than_the_threshold_is_timed_but_not_told() {
    let mut fixture = Fixture::new(|d| d.watch.slow_threshold = LONG);
    fixture.sql("SELECT 1; SELECT 2").await.unwrap();
    assert_eq!(texts(&fixture.slow_so_far()), Vec::<&str>::new());
    let labels = [("database", fixture.database.name.as_str()), ("task", "maintain")];
    let timed = counted::so_far().get("litekeeper_query_duration_seconds_count", &labels);
    assert_eq!(timed, Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_panic_the_pool_works_and_its_own_statements_are_told_to_nobody() {
    let mut fixture = telling();
    let call = call();
    let panicking =
        fixture.pool.on_thread(&call, |_| -> litekeeper::error::Result<()> { panic!("on purpose") });
    assert_eq!(panicking.await.unwrap_err().reason, litekeeper::error::Reason::Panic);
    // A new connection is opened for it.
    fixture.sql("SELECT 1").await.unwrap();
    assert_eq!(texts(&fixture.slow_so_far()), ["SELECT 1"]);
}

/// Nobody takes them: more than may wait are counted, and so are those of one piece of work that
/// are more than are told of.
#[tokio::test(flavor = "multi_thread")]
async fn slow_statements_that_nobody_can_keep_up_with_are_counted_and_do_not_pile_up() {
    let fixture = telling();
    let (slow, mut waiting) = slow_statements(2);
    let pool = Pool::new(&fixture.database, slow).unwrap();
    for _ in 0..5 {
        pool.on_thread(&call(), |c| Ok(c.execute_batch("SELECT 1")?)).await.unwrap();
    }
    assert_eq!(waiting.take_dropped(), 3);
    assert!(waiting.try_recv().is_some() && waiting.try_recv().is_some() && waiting.try_recv().is_none());
    let dropped = fixture.counted("litekeeper_slow_queries_dropped_total");
    assert!((dropped - 3.0).abs() < f64::EPSILON, "{dropped}");

    let work = pool.on_thread(&call(), |c| Ok(c.execute_batch(&"SELECT 1;".repeat(1_000))?));
    work.await.unwrap();
    assert_eq!(waiting.take_dropped(), 998);
    assert_eq!(waiting.take_dropped(), 0, "each is told of once");
}
