//! Triggers of the table that is cleaned up, and what of the application they call (HAZARDS H15).

use super::fixture::{Place, TRIGGER, cascade, database, detail, log_with, message, users};
use std::time::Duration;

use crate::support::application;
pub(crate) use crate::support::configured::rule;
use crate::support::keeper::order;
pub(crate) use litekeeper::config::Rule;
use litekeeper::config::Triggers;
use litekeeper::error::Reason;
use litekeeper::jobs::cleanup::Cleanup;
use litekeeper::jobs::runner;
use litekeeper::pool::Pool;
use litekeeper::state::State;
use litekeeper::terms::Outcome;

#[tokio::test]
async fn h15_refuses_a_table_with_delete_triggers_unless_the_rule_allows_them() {
    let place = log_with(TRIGGER);
    let (reason, message) = message(&place.run(vec![rule("log")]).await);
    assert_eq!(reason, Reason::Refused);
    assert!(message.contains("log.keep_trace") && message.contains("triggers = \"allow\""), "{message}");
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);

    let finished = place.run(vec![Rule { triggers: Triggers::Allow, ..rule("log") }]).await;
    assert_eq!(detail(&finished)["triggers"][0], "log.keep_trace");
    assert_eq!(place.number("SELECT count(*) FROM log"), 60);
    assert_eq!(place.number("SELECT count(*) FROM gone"), 40);
}

#[tokio::test]
async fn h15_refuses_a_cascade_into_a_table_with_delete_triggers() {
    let place = Place::new(
        &(users("REFERENCES users")
            + "CREATE TABLE gone(id); CREATE TRIGGER t DELETE ON note BEGIN INSERT INTO gone VALUES (1); END;"),
    );
    let (_, message) = message(&place.run(vec![cascade("users")]).await);
    assert!(message.contains("note.t"), "{message}");
    assert_eq!(place.number("SELECT count(*) FROM users"), 100);
}

#[tokio::test]
async fn h15_triggers_of_other_events_do_not_stand_in_the_way() {
    let place = log_with(
        "CREATE TRIGGER delete_not AFTER UPDATE ON log BEGIN DELETE FROM log WHERE id = old.id; END;",
    );
    assert_eq!(place.run(vec![rule("log")]).await.outcome, Outcome::Success);
}

#[tokio::test]
async fn h15_a_function_or_collation_of_the_application_is_a_clear_error_and_nothing_is_deleted() {
    let trigger = "CREATE TRIGGER tell AFTER DELETE ON log BEGIN SELECT app_notify(old.id); END;";
    let place = log_with(trigger);
    let (reason, text) = message(&place.run(vec![Rule { triggers: Triggers::Allow, ..rule("log") }]).await);
    assert_eq!(reason, Reason::Unsupported);
    assert!(text.contains("app_notify") && text.contains("only the application has"), "{text}");
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);

    let place = log_with("");
    let program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
        c.create_collation('app_order', lambda a, b: (a > b) - (a < b)); \
        c.execute('CREATE INDEX by_app ON log(at COLLATE app_order)'); c.close()";
    application::script(&place.path(), program);
    let (reason, text) = message(&place.run(vec![rule("log")]).await);
    assert_eq!(reason, Reason::Unsupported);
    assert!(text.contains("app_order"), "{text}");
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);
}

/// 300 old visits of users, and a trigger.
pub(crate) fn visits(trigger: &str) -> Place {
    Place::new(&format!(
        "CREATE TABLE user(id INTEGER PRIMARY KEY); CREATE TABLE gone(n); INSERT INTO gone VALUES (0); \
         CREATE TABLE visit(id INTEGER PRIMARY KEY, at INTEGER, user REFERENCES user); \
         CREATE INDEX i ON visit(at); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) \
         INSERT INTO visit SELECT i, 1000000000 + i, i % 7 FROM n; INSERT INTO user SELECT DISTINCT user FROM visit; \
         CREATE TRIGGER after_visit AFTER DELETE ON visit BEGIN {trigger}; END;"
    ))
}

/// Of tables so large that a look at all their rows takes longer than a batch, which every table
/// does in this test.
#[tokio::test]
async fn h15_large_tables_are_not_looked_at_from_end_to_end_in_each_batch() {
    let place = visits("UPDATE gone SET n = n + 1");
    let mut database = database(&place.path(), vec![Rule { triggers: Triggers::Allow, ..rule("visit") }]);
    database.cleanup.batch_target = Duration::from_nanos(1);
    database.watch.slow_threshold = Duration::ZERO;
    let state = State::open(&place.directory.path().join("state")).unwrap();
    let (sender, mut statements) = litekeeper::pool::slow_statements(1 << 20);
    let pool = Pool::new(&database, sender).unwrap();
    let finished = runner::run(&state, order(Cleanup, &database, &pool)).await;
    drop(pool);
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    assert_eq!(place.number("SELECT n FROM gone"), 300);
    let mut looks = 0;
    while let Some(statement) = statements.recv().await {
        looks += u64::from(statement.sql.contains("foreign_key_check"));
    }
    // Before, after the first batch, and at the end.
    assert_eq!(looks, 3);
    assert!(detail(&finished)["batches"].as_u64().unwrap() > 100, "{:?}", detail(&finished));
}

#[tokio::test]
async fn h15_a_trigger_that_leaves_rows_pointing_at_nothing_is_stopped_however_large_the_tables_are() {
    for (target, left, says) in
        [(Duration::from_secs(10), 300, "rolled back"), (Duration::from_nanos(1), 200, "triggers")]
    {
        let place = visits("DELETE FROM user WHERE id = old.user");
        let mut database = database(&place.path(), vec![Rule { triggers: Triggers::Allow, ..rule("visit") }]);
        database.cleanup.batch_target = target;
        let finished = place.run_as(database, false).await;
        assert_eq!(finished.outcome, Outcome::Failure);
        let said = match &finished.result {
            Ok(report) => report.problems[0].message.clone(),
            Err(error) => error.message.clone(),
        };
        assert!(said.contains(says), "{said}");
        assert_eq!(place.number("SELECT count(*) FROM visit"), left);
    }
}

#[tokio::test]
async fn what_a_trigger_says_of_the_rows_that_it_keeps_is_not_repeated() {
    let place = log_with(
        "UPDATE log SET at = at || ' 10:00'; CREATE TRIGGER tell BEFORE DELETE ON log BEGIN \
           SELECT RAISE(ABORT, 'the one of ' || old.at || ' stays'); END;",
    );
    let (reason, text) = message(&place.run(vec![Rule { triggers: Triggers::Allow, ..rule("log") }]).await);
    assert_eq!(reason, Reason::Sqlite);
    assert!(text.contains("a trigger refuses") && !text.contains("10:00"), "{text}");
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);
}

#[tokio::test]
async fn rows_that_a_trigger_keeps_do_not_keep_the_run_going() {
    // Rows of one date, in more than one batch.
    let place = Place::new(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT); CREATE INDEX i ON log(at); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) \
         INSERT INTO log SELECT i, '2001-01-01' FROM n; \
         CREATE TRIGGER guard BEFORE DELETE ON log WHEN old.id % 2 BEGIN SELECT RAISE(IGNORE); END;",
    );
    let mut database = database(&place.path(), vec![Rule { triggers: Triggers::Allow, ..rule("log") }]);
    // Batches that shrink to a row, and an end for what would otherwise go round for ever.
    database.cleanup.batch_target = Duration::from_nanos(1);
    database.cleanup.when.timeout = Duration::from_secs(30);
    let finished = place.run_as(database, false).await;
    assert_eq!((&detail(&finished)["matched"], &detail(&finished)["removed"]), (&300.into(), &150.into()));
    assert!(detail(&finished)["batches"].as_u64().unwrap() > 1);
    assert_eq!(place.number("SELECT count(*) FROM log WHERE id % 2"), 150);
}
