//! How much a run may remove, and for how long it may keep writers out (HAZARDS H9, H28).

use super::fixture::{Place, cascade, database, day, detail, log_with, message, users};
use std::time::Duration;

pub(crate) use crate::support::configured::rule;
pub(crate) use litekeeper::config::Rule;
use litekeeper::config::Triggers;
use litekeeper::error::Reason;
use litekeeper::terms::Outcome;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn h28_refuses_to_remove_more_of_a_table_than_its_share() {
    let place = log_with("");
    let limited = |share, rules| {
        let mut database = database(&place.path(), rules);
        database.cleanup.max_share = share;
        database
    };
    for dry_run in [false, true] {
        let finished = place.run_as(limited(0.39, vec![rule("log")]), dry_run).await;
        assert_eq!(finished.outcome, Outcome::Failure);
        let error = match &finished.result {
            Ok(report) => {
                // A rule that is refused removes nothing, in a preview as well.
                assert_eq!(
                    (&detail(&finished)["removed"], &detail(&finished)["matched"]),
                    (&0.into(), &40.into())
                );
                assert_eq!(report.summary, "would remove nothing");
                report.problems[0].clone()
            }
            Err(error) => error.clone(),
        };
        assert_eq!(error.reason, Reason::Refused);
        for part in ["40 of 100 rows of log (40%)", "older than 20", "allows 39%", "set a higher max_share"] {
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
        assert_eq!(place.number("SELECT count(*) FROM log"), 100);
    }
    // Two rules that stay below it one by one are one run: 20 rows, and then 20 more.
    let first = Rule { keep: Some(day(420)), ..rule("log") };
    let finished = place.run_as(limited(0.3, vec![first, rule("log")]), false).await;
    assert_eq!(finished.outcome, Outcome::Failure);
    assert!((79..=81).contains(&place.number("SELECT count(*) FROM log")));

    let place = log_with("");
    let mut just = database(&place.path(), vec![rule("log")]);
    just.cleanup.max_share = 0.4;
    assert_eq!(place.run_as(just, false).await.outcome, Outcome::Success);
}

#[tokio::test]
async fn h28_rows_that_become_old_while_a_run_deletes_do_not_take_it_past_its_share() {
    // What the application writes meanwhile, a trigger writes here: two old rows for each that
    // goes.
    let place = Place::new(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
         INSERT INTO log SELECT i, CASE WHEN i <= 200 THEN '2001-01-01' ELSE date('now') END FROM n; \
         CREATE TRIGGER more AFTER DELETE ON log BEGIN INSERT INTO log(at) VALUES (old.at), (old.at); END;",
    );
    let rule = Rule { triggers: Triggers::Allow, ..rule("log") };
    let mut database = database(&place.path(), vec![rule]);
    database.cleanup.max_share = 0.5;
    database.cleanup.when.timeout = Duration::from_secs(20);
    let finished = place.run_as(database, false).await;
    let report = finished.result.unwrap();
    assert_eq!(report.problems[0].reason, Reason::Refused, "{:?}", report.problems);
    assert!(report.problems[0].message.contains("allows 50%"), "{:?}", report.problems);
    // The batch that went past it was the last one: 100 rows, and then at most twice as many.
    let removed = report.detail["rules"][0]["removed"].as_u64().unwrap();
    assert!((251..=700).contains(&removed), "{removed}");
}

/// Endless work in one statement of ours.
pub(crate) const FOR_EVER: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

#[tokio::test(flavor = "multi_thread")]
async fn h09_a_batch_past_max_block_is_rolled_back_and_ends_its_rule() {
    let place = log_with(&format!("CREATE TRIGGER slow AFTER DELETE ON log BEGIN {FOR_EVER}; END;"));
    let slow = Rule { triggers: Triggers::Allow, ..rule("log") };
    let mut database = database(&place.path(), vec![slow]);
    database.maintain.max_block = Duration::from_millis(300);
    database.cleanup.when.timeout = Duration::from_secs(20);
    let (reason, message) = message(&place.run_as(database, false).await);
    assert_eq!(reason, Reason::Refused, "{message}");
    assert!(message.contains("maintain.max_block = 300ms") && message.contains("rolled back"), "{message}");
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn h09_outside_wal_mode_counting_holds_writers_up_no_longer_than_max_block() {
    // Foreign keys without an index are what makes looking at child rows slow.
    let place = Place::new(&format!(
        "PRAGMA journal_mode = delete; {} WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE \
         i < 400000) INSERT INTO visit(user) SELECT 50 FROM n;",
        users("REFERENCES users(id)")
    ));
    let mut database = database(&place.path(), vec![cascade("users")]);
    database.maintain.max_block = Duration::from_millis(5);
    let (reason, message) = message(&place.run_as(database, false).await);
    assert_eq!(reason, Reason::Deadline, "{message}");
    assert!(message.contains("writers wait for a reader in delete mode"), "{message}");
    assert_eq!(place.number("SELECT count(*) FROM users"), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_while_the_application_locks_the_file_stops_at_once_and_says_so() {
    let place = log_with("");
    place.open().pragma_update(None, "journal_mode", "delete").unwrap();
    // Readers still get in, and the first batch has to wait.
    let application = place.open();
    application.execute_batch("PRAGMA cache_size = 1; BEGIN IMMEDIATE").unwrap();
    let mut application = Some(application);
    let mut held = None;
    let look = move |_, cancel: &CancellationToken| {
        if let Some(application) = application.take() {
            // More than the cache holds goes into the file, and from then on nobody gets in.
            let much = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                        INSERT INTO log(at) SELECT hex(randomblob(2000)) FROM n";
            application.execute_batch(much).unwrap();
            held = Some(application);
            cancel.cancel();
        }
        let _ = &held;
    };
    let finished = place.run_watched(database(&place.path(), vec![rule("log")]), false, look).await;
    let (reason, message) = message(&finished);
    assert_eq!((finished.outcome, reason), (Outcome::Interrupted, Reason::Cancelled), "{message}");
    // A lock is waited for 30 s, and a run that does not stop is given up after 10 s.
    assert!(!message.contains("given up"), "{message}");
}

#[tokio::test]
async fn h28_guards_the_tables_that_a_cascade_reaches() {
    let place = Place::new(&(users("REFERENCES users") + "DELETE FROM visit WHERE user > 40;"));
    let mut database = database(&place.path(), vec![cascade("users")]);
    database.cleanup.max_share = 0.5;
    let (_, message) = message(&place.run_as(database, false).await);
    assert!(message.contains("8 of 9 rows of visit (88.9%)"), "{message}");
    assert_eq!(place.number("SELECT count(*) FROM users"), 100);
}
