//! The watch-list is timed, its plans are compared, and what is slow is logged, counted and kept by
//! its shape: run as the daemon runs it, beside an application in a process of its own.

use super::log::Log;
use crate::support::application::Application;
use crate::support::counted;
use crate::support::keeper::Keeper;
use crate::support::sandbox::Sandbox;
use litekeeper::config::Value;
use litekeeper::error::{Error, Reason};
use litekeeper::jobs::runner::RunEnd;
use litekeeper::jobs::watch::WatchList;
use litekeeper::pool::SlowStatement;
use litekeeper::queries::slow_log;
use litekeeper::state::slow;
use litekeeper::terms::Outcome;
use std::sync::Arc;
use std::time::Duration;

/// Some hundred thousand steps that find no row; the literal must not be seen anywhere.
const SLOW: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20011) \
                    SELECT n FROM c WHERE n = 'secret'";

/// A read of the file that never ends by itself.
const ENDLESS: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) \
                       SELECT count(*) FROM c, users WHERE c.n < 0";

/// What this process logs; the series of this database are counted from now on.
fn told(database: &str, queries: &[&str]) -> &'static Log {
    counted::count(database, &["watch"], queries);
    Log::of_this_process()
}

fn problems(finished: &RunEnd) -> &[Error] {
    &finished.result.as_ref().unwrap().problems
}

fn summary(finished: &RunEnd) -> &str {
    &finished.result.as_ref().unwrap().summary
}

/// By the name of a test's own database, so that tests do not see each other's series.
fn keeper(name: &str, options: &[&str]) -> Keeper {
    let mut keeper = Keeper::new(Sandbox::with_database(options));
    name.clone_into(&mut keeper.database.name);
    keeper
}

#[tokio::test]
async fn a_slow_statement_is_logged_counted_and_kept_by_its_shape() {
    let mut keeper = keeper("slow", &[]);
    let told = told("slow", &["numbers"]);
    keeper.database.watch.slow_threshold = Duration::from_micros(1);
    keeper.watch("numbers", SLOW);
    let log = slow_log::keep(keeper.state.clone(), keeper.slow_statements.take().unwrap());
    let log = tokio::spawn(log);
    let finished = keeper.run(WatchList).await;
    assert_eq!(finished.outcome, Outcome::Success, "{finished:?}");
    let state = keeper.state.clone();
    // The log ends when nobody can send any more.
    drop(keeper);
    log.await.unwrap();

    let shape = "SELECT n FROM c WHERE n = ?";
    let lines = told.lines(&["database=\"slow\"", "slow statement", shape]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("job=\"watch\""), "{}", lines[0]);
    assert!(told.lines(&["secret"]).is_empty() && told.lines(&["20011"]).is_empty());

    let since = chrono::DateTime::UNIX_EPOCH;
    let kept = state.now(|connection| slow::worst(connection, "slow", since, 100)).unwrap();
    let of_shape: Vec<_> = kept.iter().filter(|s| s.shape.ends_with(shape)).collect();
    assert_eq!(of_shape.len(), 1, "{kept:?}");
    assert_eq!((of_shape[0].count, of_shape[0].job.as_str()), (1, "watch"));
    assert!(of_shape[0].vm_steps > 20_000, "{of_shape:?}");
    // Each one counted once: as many as there are lines and executions.
    let labels = [("database", "slow"), ("task", "watch")];
    let executions: u64 = kept.iter().map(|s| s.count).sum();
    let counted = counted::so_far().get("litekeeper_slow_queries_total", &labels);
    assert_eq!(counted, Some(executions as f64));
    assert_eq!(told.lines(&["database=\"slow\"", "slow statement"]).len() as u64, executions);
}

fn slow_statement(database: &str, number: u32) -> SlowStatement {
    SlowStatement {
        database: database.to_owned(),
        job: "watch",
        sql: format!("SELECT {number}"),
        at: litekeeper::clock::now(),
        duration: Duration::from_secs(2),
        vm_steps: 1,
        full_scan_steps: 0,
        sorts: 0,
        automatic_indexes: 0,
        plan: None,
        names: Arc::default(),
    }
}

#[tokio::test]
async fn a_memory_that_cannot_be_written_is_told_of_once_and_not_for_each_statement() {
    let mut keeper = keeper("forgetful", &[]);
    let told = told("forgetful", &[]);
    keeper.state.now(|connection| Ok(connection.execute_batch("DROP TABLE slow_statement")?)).unwrap();
    for n in 0..3 {
        keeper.slow.send(slow_statement("forgetful", n));
    }
    let (state, statements) = (keeper.state.clone(), keeper.slow_statements.take().unwrap());
    let directory = keeper.sandbox.state().display().to_string();
    drop(keeper);
    slow_log::keep(state, statements).await;
    assert_eq!(told.lines(&["database=\"forgetful\"", "slow statement"]).len(), 3);
    assert_eq!(told.lines(&["slow statements are logged but not kept", &directory]).len(), 1);
}

#[tokio::test]
async fn statements_that_could_not_be_kept_are_told_of_in_one_line() {
    let keeper = keeper("hasty", &[]);
    let told = told("hasty", &[]);
    let (slow, statements) = litekeeper::pool::slow_statements(1);
    for n in 0..4 {
        slow.send(slow_statement("hasty", n));
    }
    drop(slow);
    slow_log::keep(keeper.state.clone(), statements).await;
    assert_eq!(told.lines(&["database=\"hasty\"", "slow statement"]).len(), 1);
    assert_eq!(told.lines(&["3 slow statements were counted, but not kept or logged"]).len(), 1);
}

#[tokio::test]
async fn nothing_to_watch_is_a_success() {
    let keeper = keeper("nothing", &[]);
    let finished = keeper.run(WatchList).await;
    assert_eq!((finished.outcome, summary(&finished)), (Outcome::Success, "no queries to watch"));
}

#[tokio::test]
async fn a_query_is_run_with_its_values_to_its_last_row() {
    let mut keeper = keeper("values", &[]);
    told("values", &["users"]);
    keeper.watch("users", "SELECT * FROM users WHERE id <= :most AND name <> :name");
    keeper.database.watch.queries[0].params =
        [("most".to_owned(), Value::Integer(7)), ("name".to_owned(), Value::Text("User 3".to_owned()))]
            .into();
    let finished = keeper.run(WatchList).await;
    let report = finished.result.unwrap();
    assert_eq!(report.detail[0]["rows"], 6, "{report:?}");
    assert_eq!(report.detail[0]["plan"][0], "SEARCH users USING INTEGER PRIMARY KEY (rowid<?)");
    let labels = [("database", "values"), ("query", "users")];
    assert_eq!(counted::so_far().get("litekeeper_watch_duration_seconds_count", &labels), Some(1.0));
}

#[tokio::test]
async fn a_query_that_fails_or_would_write_is_a_problem_and_the_others_run() {
    let mut keeper = keeper("failing", &[]);
    keeper.watch("wrong", "SELECT nothing FROM nowhere");
    keeper.watch("writes", "DELETE FROM users");
    keeper.watch("unbound", "SELECT * FROM users WHERE id = :id");
    keeper.watch("right", "SELECT name FROM users");
    let finished = keeper.run(WatchList).await;
    assert_eq!(finished.outcome, Outcome::Failure);
    let reasons: Vec<_> = problems(&finished).iter().map(|e| e.reason).collect();
    assert_eq!(reasons, [Reason::Sqlite, Reason::Refused, Reason::Config]);
    for (problem, name) in problems(&finished).iter().zip(["wrong", "writes", "unbound"]) {
        assert!(problem.message.starts_with(&format!("query {name}: ")), "{}", problem.message);
    }
    assert_eq!(finished.result.as_ref().unwrap().detail[0]["query"], "right");
    assert_eq!(finished.result.as_ref().unwrap().detail[0]["rows"], 20);
}

#[tokio::test]
async fn what_sqlite_has_against_a_query_quotes_no_value_of_it() {
    let mut keeper = keeper("quoting", &[]);
    for (name, sql) in [
        ("two", "SELECT 'a' FROM users WHERE name 'Zebulon'"),
        ("open", "SELECT * FROM users WHERE name = 'Zebulon"),
        ("blob", "SELECT * FROM users WHERE name x'2eb010'"),
        ("number", "SELECT * FROM users LIMIT 1 2eb010"),
        ("path", "SELECT json_extract('{}', 'Zebulon')"),
        ("word", "SELECT * FRM users"),
    ] {
        keeper.watch(name, sql);
    }
    let finished = keeper.run(WatchList).await;
    let told: Vec<_> = problems(&finished).iter().map(|problem| problem.message.to_lowercase()).collect();
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(told.iter().all(|text| !text.contains("zebulon") && !text.contains("2eb010")), "{told:?}");
    assert!(told[5].contains("near \"frm\""), "what helps to find the mistake stays: {told:?}");
}

#[tokio::test]
async fn a_plan_that_changed_is_told_of_once() {
    let mut keeper = keeper("plans", &[]);
    let told = told("plans", &["by_name", "by_id"]);
    keeper.watch("by_name", "SELECT id FROM users WHERE name = 'User 1'");
    keeper.watch("by_id", "SELECT name FROM users WHERE id = 1");
    let mut application = Application::start(&keeper.sandbox.database());
    let labels = [("database", "plans"), ("query", "by_name")];
    let changes = || counted::so_far().get("litekeeper_watch_plan_changes_total", &labels);
    for _ in 0..2 {
        let finished = keeper.run(WatchList).await;
        assert!(!summary(&finished).contains("another plan"), "{finished:?}");
    }
    assert_eq!(changes(), Some(0.0));

    application.sql("DROP INDEX idx_users_name");
    let finished = keeper.run(WatchList).await;
    let said = "another plan than before: by_name now reads users from end to end";
    assert!(summary(&finished).ends_with(said), "{finished:?}");
    assert_eq!(finished.result.as_ref().unwrap().detail[0]["scans_new"][0], "users");
    assert_eq!(changes(), Some(1.0));
    let lines = told.lines(&["the query plan changed", "database=\"plans\""]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    for words in [
        "a SEARCH became a SCAN",
        "before=\"SEARCH users USING COVERING INDEX idx_users_name",
        "after=\"SCAN users\"",
    ] {
        assert!(lines[0].contains(words), "{words:?} is not in {}", lines[0]);
    }

    let finished = keeper.run(WatchList).await;
    assert!(!summary(&finished).contains("another plan"), "{finished:?}");
    // Another query by the same name has another plan by right.
    "SELECT id FROM users WHERE id = 1".clone_into(&mut keeper.database.watch.queries[0].sql);
    keeper.run(WatchList).await;
    assert_eq!(changes(), Some(1.0));
}

#[tokio::test]
async fn a_query_that_failed_once_is_compared_with_its_plan_before_that() {
    let mut keeper = keeper("gaps", &[]);
    keeper.watch("by_name", "SELECT id FROM users WHERE name = 'User 1'");
    let mut application = Application::start(&keeper.sandbox.database());
    keeper.run(WatchList).await;
    application.sql("ALTER TABLE users RENAME TO people");
    assert_eq!(keeper.run(WatchList).await.outcome, Outcome::Failure);
    application.sql("ALTER TABLE people RENAME TO users");
    application.sql("DROP INDEX idx_users_name");
    let finished = keeper.run(WatchList).await;
    assert!(summary(&finished).contains("another plan than before: by_name"), "{finished:?}");
}

#[tokio::test]
async fn a_plan_that_became_better_is_told_of_without_alarm() {
    let mut keeper = keeper("better", &[]);
    let told = told("better", &["by_email"]);
    keeper.watch("by_email", "SELECT id FROM users WHERE email = 'a'");
    keeper.run(WatchList).await;
    Application::start(&keeper.sandbox.database()).sql("CREATE INDEX by_email ON users (email)");
    let finished = keeper.run(WatchList).await;
    assert!(summary(&finished).ends_with("another plan than before: by_email"), "{finished:?}");
    let lines = told.lines(&["the query plan changed", "database=\"better\""]);
    assert!(lines.len() == 1 && !lines[0].contains("became a SCAN"), "{lines:?}");
}

#[tokio::test]
async fn an_alias_that_is_text_is_in_no_plan() {
    let mut keeper = keeper("aliases", &[]);
    let told = told("aliases", &["alias"]);
    keeper.watch("alias", "SELECT name FROM users AS 'Zacharias' WHERE name > ''");
    let finished = keeper.run(WatchList).await;
    assert_eq!(
        finished.result.as_ref().unwrap().detail[0]["plan"][0],
        "SEARCH ? USING COVERING INDEX idx_users_name (name>?)"
    );
    Application::start(&keeper.sandbox.database()).sql("DROP INDEX idx_users_name");
    keeper.run(WatchList).await;
    assert_eq!(told.lines(&["the query plan changed", "database=\"aliases\""]).len(), 1);
    assert!(told.lines(&["Zacharias"]).is_empty());
}

#[tokio::test]
async fn h09_a_watched_query_holds_up_writers_no_longer_than_they_may_be() {
    let mut keeper = keeper("blocking", &["--journal-mode", "delete"]);
    // Enough for the short one on a machine with much else to do: the wait for a lock is a part of
    // it.
    keeper.database.maintain.max_block = Duration::from_secs(2);
    keeper.watch("endless", ENDLESS);
    keeper.watch("short", "SELECT 1");
    let mut application = Application::start(&keeper.sandbox.database());
    application.write_every(Duration::from_millis(20));
    application.wait_for_commits(5);
    let finished = keeper.run(WatchList).await;
    let reasons: Vec<_> = problems(&finished).iter().map(|e| e.reason).collect();
    assert_eq!(reasons, [Reason::Deadline], "{finished:?}");
    assert_eq!(finished.result.as_ref().unwrap().detail[0]["query"], "short");
    // Its SQL really stopped: writers get in again.
    application.wait_for_commits(5);
    assert!(application.stop().errors.is_empty());
}

#[tokio::test]
async fn a_watched_query_has_the_same_limit_where_writers_do_not_wait() {
    let mut keeper = keeper("unending", &[]);
    told("unending", &["endless"]);
    keeper.database.maintain.max_block = Duration::from_millis(100);
    keeper.watch("endless", ENDLESS);
    let finished = keeper.run(WatchList).await;
    let [problem] = problems(&finished) else { panic!("{finished:?}") };
    assert_eq!((problem.reason, problem.message.contains("maintain.max_block")), (Reason::Deadline, true));
    // That it took so long is what whoever watches wants to see.
    let labels = [("database", "unending"), ("query", "endless")];
    assert_eq!(counted::so_far().get("litekeeper_watch_duration_seconds_count", &labels), Some(1.0));
}

#[tokio::test]
async fn h11_a_long_read_gives_up_when_the_log_grows_behind_it() {
    let mut keeper = keeper("growing", &[]);
    keeper.database.maintain.max_wal = 64 << 10;
    keeper.watch("endless", ENDLESS);
    let mut application = Application::start(&keeper.sandbox.database());
    application.write_every(Duration::from_millis(1));
    let finished = keeper.run(WatchList).await;
    let [problem] = problems(&finished) else { panic!("{finished:?}") };
    assert_eq!(problem.reason, Reason::Deadline);
    assert!(problem.message.contains("maintain.max_wal"), "{}", problem.message);
    application.wait_for_commits(1);
    assert!(application.stop().errors.is_empty());
}
