//! Retention: what goes, what stays whatever a rule says, and what the application notices of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::application::{self, Application, create_database};
use crate::support::configured;
pub(crate) use crate::support::configured::rule;
use crate::support::keeper::order;
use crate::support::process::child::{self, Child};
use crate::support::soundness::assert_sound;
pub(crate) use litekeeper::config::Rule;
use litekeeper::config::{Children, Database, DateFormat, Triggers};
use litekeeper::error::Reason;
use litekeeper::jobs::Progress;
pub(crate) use litekeeper::jobs::cleanup::Cleanup as Job;
use litekeeper::jobs::runner::{self, Finished, Order};
use litekeeper::pool::Pool;
use litekeeper::state::State;
use litekeeper::state::runs::Outcome;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(crate) fn day(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

pub(crate) fn cascade(table: &str) -> Rule {
    Rule { children: Children::Cascade, ..rule(table) }
}

pub(crate) fn unlink(table: &str) -> Rule {
    Rule { children: Children::Unlink, ..rule(table) }
}

/// With these rules alone, and limits that no test reaches by chance.
pub(crate) fn database(path: &Path, rules: Vec<Rule>) -> Database {
    let mut database = configured::database("attendance", path);
    database.pool.busy_timeout = Duration::from_secs(30);
    database.cleanup.when.timeout = Duration::from_secs(600);
    database.cleanup.max_share = 1.0;
    database.cleanup.rules = rules;
    database
}

/// A database made by `sql`, in a directory of its own.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new(sql: &str) -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap() };
        this.open()
            .execute_batch(&format!("PRAGMA foreign_keys = off; PRAGMA journal_mode = wal; {sql}"))
            .unwrap();
        this
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("database.sqlite")
    }

    pub(crate) fn open(&self) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(30)).unwrap();
        connection
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.open().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn numbers(&self, sql: &str) -> Vec<i64> {
        let connection = self.open();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    pub(crate) async fn run(&self, rules: Vec<Rule>) -> Finished {
        self.run_as(database(&self.path(), rules), false).await
    }

    pub(crate) async fn preview(&self, rules: Vec<Rule>) -> Finished {
        self.run_as(database(&self.path(), rules), true).await
    }

    pub(crate) async fn run_as(&self, database: Database, dry_run: bool) -> Finished {
        self.run_watched(database, dry_run, |_, _| {}).await
    }

    /// Tells `look` of each step of the progress, with what stops the run.
    pub(crate) async fn run_watched(
        &self,
        database: Database,
        dry_run: bool,
        mut look: impl FnMut(Progress, &CancellationToken) + Send + 'static,
    ) -> Finished {
        let state = State::open(&self.directory.path().join("state")).unwrap();
        let pool = Pool::new(&database, mpsc::unbounded_channel().0).unwrap();
        let (progress, mut seen) = watch::channel(None);
        let cancel = CancellationToken::new();
        let order = Order { cancel: cancel.clone(), progress, ..order(Job { dry_run }, &database, &pool) };
        let watching = tokio::spawn(async move {
            while seen.changed().await.is_ok() {
                let progress = *seen.borrow_and_update();
                if let Some(progress) = progress {
                    look(progress, &cancel);
                }
            }
        });
        let finished = runner::run(&state, order).await;
        watching.await.unwrap();
        finished
    }
}

pub(crate) fn detail(finished: &Finished) -> &Value {
    &finished.result.as_ref().unwrap().detail["rules"][0]
}

pub(crate) fn message(finished: &Finished) -> (Reason, String) {
    let error = finished.result.as_ref().unwrap_err();
    (error.reason, error.message.clone())
}

/// 100 rows of `table`, numbered from 1, the first 40 of them older than a year, with dates as `date` writes the
/// instant `julianday` in SQL.
pub(crate) fn hundred_rows(table: &str, date: &str) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100), \
         t(i, j) AS (SELECT i, julianday('now') - CASE WHEN i <= 40 THEN 400 + i ELSE i END FROM n) \
         INSERT INTO {table}(id, at) SELECT i, {date} FROM t;"
    )
}

#[tokio::test]
async fn removes_rows_past_their_retention_in_every_format_with_and_without_an_index() {
    let dates = [
        ("TEXT", "date(j)", "iso"),
        ("DATE", "datetime(j)", "iso"),
        ("DATETIME", "strftime('%Y-%m-%dT%H:%M:%fZ', j)", "iso"),
        ("TEXT", "datetime(j, '+5 hours') || '+05:00'", "iso"),
        ("INTEGER", "unixepoch(j)", "unix_seconds"),
        ("", "unixepoch(j) * 1000", "unix_milliseconds"),
        ("REAL", "j", "julian_day"),
    ];
    for (declared, date, format) in dates {
        for (table, index) in [
            ("(id INTEGER PRIMARY KEY, at TYPE)", ""),
            ("(id INTEGER, at TYPE)", "CREATE INDEX i ON log(at DESC, id);"),
            ("(id INTEGER, at TYPE, PRIMARY KEY (id, at)) WITHOUT ROWID", ""),
            ("(rowid TEXT, id TEXT, at TYPE, PRIMARY KEY (id)) WITHOUT ROWID", "CREATE INDEX i ON log(at);"),
        ] {
            let create = format!("CREATE TABLE log{};", table.replace("TYPE", declared));
            let place = Place::new(&format!("{create} {index} {}", hundred_rows("log", date)));
            let finished = place.run(vec![rule("log")]).await;
            assert_eq!(finished.outcome, Outcome::Success, "{create} {date}: {:?}", finished.result);
            let left = place.numbers("SELECT CAST(id AS INTEGER) FROM log ORDER BY 1");
            assert_eq!(left, (41..=100).collect::<Vec<_>>(), "{create} {index} {date}");
            let rule = detail(&finished);
            assert_eq!(rule["format"], format);
            assert_eq!(
                (&rule["rows"], &rule["matched"], &rule["removed"]),
                (&100.into(), &40.into(), &40.into())
            );
            assert_eq!(rule["advice"].as_array().unwrap().is_empty(), !index.is_empty());
            let summary = &finished.result.unwrap().summary;
            assert!(summary.starts_with("removed 40 rows older than 20"), "{summary}");
            assert!(summary.ends_with("from log"), "{summary}");
        }
    }
}

#[tokio::test]
async fn never_deletes_rows_whose_date_cannot_be_read() {
    let unreadable = "INSERT INTO log(id, at) VALUES (201, NULL), (202, ''), (203, 'n/a'), (204, '2001'), \
        (205, '2001-02-31'), (206, '0000-00-00'), (207, x'323030312d30312d3031'), (208, 0), (209, 978307200), \
        (210, 97830760000), (211, 2451910.5), (212, '12:00'), (213, 'now'), (214, '0001-01-01T00:00:00Z'), \
        (215, '01/02/2001');";
    for index in ["", "CREATE INDEX i ON log(at);"] {
        let place = Place::new(&format!(
            "CREATE TABLE log(id INTEGER PRIMARY KEY, at); {index} {} {unreadable}",
            hundred_rows("log", "date(j)")
        ));
        let finished = place.run(vec![Rule { format: Some(DateFormat::Iso), ..rule("log") }]).await;
        assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        assert_eq!(place.number("SELECT count(*) FROM log WHERE id > 200"), 15);
        assert_eq!(place.number("SELECT count(*) FROM log WHERE id <= 200"), 60);
        assert_eq!(detail(&finished)["unreadable"], 15);
        assert!(finished.result.unwrap().summary.contains("15 rows without a readable date stay"));
    }
}

#[tokio::test]
async fn refuses_to_guess_where_dates_are_written_in_two_ways() {
    let place = Place::new(&format!(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at); {} UPDATE log SET at = unixepoch(at) WHERE id % 2;",
        hundred_rows("log", "datetime(j)")
    ));
    let (reason, message) = message(&place.run(vec![rule("log")]).await);
    assert_eq!(reason, Reason::Refused);
    assert!(message.contains("50 iso, 50 unix_seconds") && message.contains("set format ="), "{message}");
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);
}

#[tokio::test]
async fn one_refused_rule_does_not_stop_the_others() {
    let place = Place::new(&format!(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at); {}",
        hundred_rows("log", "date(j)")
    ));
    let finished = place.run(vec![rule("missing"), rule("log")]).await;
    assert_eq!(finished.outcome, Outcome::Failure);
    let report = finished.result.unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].reason, Reason::NotFound);
    assert_eq!(place.number("SELECT count(*) FROM log"), 60);
    // Where all are, each is named.
    let error = place.run(vec![rule("missing"), rule("gone")]).await.result.unwrap_err();
    assert_eq!(error.reason, Reason::NotFound);
    assert!(error.message.contains("missing") && error.message.contains("gone"), "{error}");
}

#[tokio::test]
async fn nothing_to_do_is_a_success() {
    let place = Place::new("CREATE TABLE log(id INTEGER PRIMARY KEY, at)");
    let finished = place.run(Vec::new()).await;
    assert_eq!(finished.result.unwrap().summary, "no rules configured");
    assert_eq!(place.run(vec![rule("log")]).await.outcome, Outcome::Success);
}

/// Users, of whom 1 to 40 are old, and what points at them; every tenth user has two rows in `visit`.
pub(crate) fn users(reference: &str) -> String {
    format!(
        "CREATE TABLE users(id INTEGER PRIMARY KEY, at TEXT); {} \
         CREATE TABLE visit(id INTEGER PRIMARY KEY, user {reference}); \
         INSERT INTO visit(user) SELECT id FROM users WHERE id % 10 = 0; \
         INSERT INTO visit(user) SELECT id FROM users WHERE id % 10 = 0; \
         INSERT INTO visit(user) VALUES (NULL); \
         CREATE TABLE note(visit REFERENCES visit ON DELETE CASCADE); INSERT INTO note SELECT id FROM visit;",
        hundred_rows("users", "date(j)")
    )
}

pub(crate) const ORPHANS: &str = "SELECT count(*) FROM pragma_foreign_key_check";

#[tokio::test]
async fn h14_refuses_while_rows_of_other_tables_point_at_rows_that_would_go() {
    for action in ["", "ON DELETE CASCADE", "ON DELETE SET NULL"] {
        let place = Place::new(&users(&format!("REFERENCES users(id) {action}")));
        let (reason, message) = message(&place.run(vec![rule("users")]).await);
        assert_eq!(reason, Reason::Refused);
        assert!(message.contains("8 rows of visit (visit.user) point"), "{message}");
        assert_eq!(place.number("SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM visit)"), 121);
        // The very rows in the way gone, the rest may go.
        place.open().execute("DELETE FROM visit WHERE user <= 40", []).unwrap();
        assert_eq!(place.run(vec![rule("users")]).await.outcome, Outcome::Success);
        assert_eq!(place.number("SELECT count(*) FROM users"), 60);
    }
}

#[tokio::test]
async fn h14_cascades_all_the_way_down_where_the_rule_says_so_and_the_preview_counts_it() {
    for index in ["", "CREATE INDEX v ON visit(user); CREATE INDEX n ON note(visit);"] {
        let place = Place::new(&(users("REFERENCES users") + index));
        let preview = place.preview(vec![cascade("users")]).await;
        assert_eq!(place.number("SELECT count(*) FROM visit"), 21);
        let finished = place.run(vec![cascade("users")]).await;
        for finished in [&preview, &finished] {
            assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
            assert_eq!(detail(finished)["removed"], 40);
            assert_eq!(detail(finished)["children"]["visit"]["removed"], 8);
            assert_eq!(detail(finished)["children"]["note"]["removed"], 8);
        }
        assert_eq!(place.number("SELECT count(*) FROM users"), 60);
        assert_eq!(place.number("SELECT count(*) FROM visit"), 13);
        assert_eq!(place.number("SELECT count(*) FROM note"), 13);
        assert_eq!(place.number(ORPHANS), 0);
    }
}

#[tokio::test]
async fn h14_honours_set_null_and_set_default_of_the_schema() {
    for (action, left) in [("SET NULL", "user IS NULL"), ("SET DEFAULT", "user = 99")] {
        let place = Place::new(&users(&format!("DEFAULT 99 REFERENCES users(id) ON DELETE {action}")));
        let finished = place.run(vec![cascade("users")]).await;
        assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        assert_eq!(detail(&finished)["children"]["visit"]["changed"], 8);
        assert_eq!(place.number("SELECT count(*) FROM visit"), 21);
        let nulls = i64::from(action == "SET NULL");
        assert_eq!(place.number(&format!("SELECT count(*) FROM visit WHERE {left}")), 8 + nulls);
        assert_eq!(place.number(ORPHANS), 0);
    }
}

#[tokio::test]
async fn h14_a_default_that_points_at_nothing_rolls_the_batch_back() {
    let place = Place::new(&users("DEFAULT 1000 REFERENCES users(id) ON DELETE SET DEFAULT"));
    let (reason, message) = message(&place.run(vec![cascade("users")]).await);
    assert_eq!(reason, Reason::Refused);
    assert!(message.contains("rolled back"), "{message}");
    assert_eq!(place.number("SELECT count(*) FROM users"), 100);
    assert_eq!(place.number("SELECT count(*) FROM visit WHERE user = 1000"), 0);
}

#[tokio::test]
async fn h14_follows_composite_keys_circles_and_rows_that_point_at_their_own_table() {
    let place = Place::new(&format!(
        "CREATE TABLE post(id INTEGER PRIMARY KEY, at TEXT, a TEXT, b TEXT, parent INTEGER REFERENCES post, \
           best INTEGER REFERENCES answer, UNIQUE (a, b)); {} \
         CREATE TABLE answer(id INTEGER PRIMARY KEY, y, x, FOREIGN KEY (x, y) REFERENCES post(a, b)); \
         UPDATE post SET a = 'a' || id, b = 'b' || id; \
         INSERT INTO answer SELECT id, b, a FROM post WHERE id IN (3, 50, 60); \
         UPDATE post SET parent = id WHERE id = 1; \
         UPDATE post SET parent = 2 WHERE id IN (39, 70); \
         UPDATE post SET best = 3 WHERE id IN (3, 71); UPDATE post SET parent = 71 WHERE id = 72;",
        hundred_rows("post", "date(j)")
    ));
    // 70 answers an old post; 71 points at the answer of an old one, and 72 at 71. 39 is old itself.
    let finished = place.run(vec![rule("post")]).await;
    let (_, message) = message(&finished);
    assert!(
        message.contains(
            "1 row of answer (answer (x, y)) and 1 row of post within retention (post.parent) point"
        ),
        "{message}"
    );
    place.open().execute("UPDATE post SET parent = NULL, best = NULL WHERE id IN (70, 71)", []).unwrap();
    let preview = place.preview(vec![cascade("post")]).await;
    let finished = place.run(vec![cascade("post")]).await;
    for finished in [&preview, &finished] {
        assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        assert_eq!(detail(finished)["removed"], 40);
        assert_eq!(detail(finished)["children"]["answer"]["removed"], 1);
    }
    assert_eq!(place.numbers("SELECT id FROM post ORDER BY id"), (41..=100).collect::<Vec<_>>());
    assert_eq!(place.numbers("SELECT id FROM answer ORDER BY id"), [50, 60]);
    assert_eq!(place.number(ORPHANS), 0);
}

#[tokio::test]
async fn h14_rows_that_only_look_as_if_they_pointed_at_one_that_goes_stay() {
    // To a foreign key, 7 is the text '7', and not '07' nor '7.0': the parent's column decides.
    let place = Place::new(
        "CREATE TABLE users(id INTEGER PRIMARY KEY, at TEXT, code TEXT UNIQUE); \
         INSERT INTO users VALUES (1, '2001-01-01', '07'), (2, '2001-01-01', '7.0'), (3, date('now'), '7'), \
           (4, '2001-01-01', '8'); \
         CREATE TABLE visit(id INTEGER PRIMARY KEY, code INTEGER REFERENCES users(code)); \
         CREATE INDEX v ON visit(code); INSERT INTO visit VALUES (1, 7), (2, 8);",
    );
    assert_eq!(place.number(ORPHANS), 0);
    let finished = place.run(vec![cascade("users")]).await;
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    assert_eq!(place.numbers("SELECT id FROM users"), [3]);
    assert_eq!(place.numbers("SELECT id FROM visit"), [1]);
}

#[tokio::test]
async fn h14_what_pointed_at_nothing_before_is_left_as_it_is() {
    let place = Place::new(&(users("REFERENCES users(id)") + "INSERT INTO visit(user) VALUES (12345);"));
    let finished = place.run(vec![cascade("users")]).await;
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    assert_eq!(place.number("SELECT count(*) FROM visit WHERE user = 12345"), 1);
}

pub(crate) const TRIGGER: &str = "CREATE TABLE gone(id); \
    CREATE TRIGGER keep_trace AFTER DELETE ON log BEGIN INSERT INTO gone VALUES (old.id); END;";

pub(crate) fn log_with(more: &str) -> Place {
    let rows = hundred_rows("log", "date(j)");
    Place::new(&format!("CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT); {rows} {more}"))
}

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
    // What the application writes meanwhile, a trigger writes here: two old rows for each that goes.
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

#[tokio::test]
async fn a_failing_batch_is_rolled_back_as_a_whole_and_the_ones_before_stay() {
    // Row 130 of 200 cannot go: the first batch has 100 rows, in the order of the index.
    let place = Place::new(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX i ON log(at); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) \
         INSERT INTO log SELECT i, 1000000000 + i FROM n; \
         CREATE TRIGGER guard BEFORE DELETE ON log WHEN old.id = 130 BEGIN SELECT RAISE(ABORT, 'kept'); END;",
    );
    let allowed = Rule { triggers: Triggers::Allow, ..rule("log") };
    let mut database = database(&place.path(), vec![allowed]);
    // So long that the second batch takes all that is left.
    database.cleanup.batch_target = Duration::from_secs(60);
    let finished = place.run_as(database, false).await;
    assert_eq!(finished.outcome, Outcome::Failure);
    assert_eq!(place.numbers("SELECT id FROM log ORDER BY id"), (101..=200).collect::<Vec<_>>());
    let report = finished.result.unwrap();
    assert!(report.problems[0].message.contains("a trigger refuses"), "{:?}", report.problems);
    assert_eq!(report.detail["rules"][0]["removed"], 100);
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

/// Of tables so large that a look at all their rows takes longer than a batch, which every table does in this test.
#[tokio::test]
async fn h15_large_tables_are_not_looked_at_from_end_to_end_in_each_batch() {
    let place = visits("UPDATE gone SET n = n + 1");
    let mut database = database(&place.path(), vec![Rule { triggers: Triggers::Allow, ..rule("visit") }]);
    database.cleanup.batch_target = Duration::from_nanos(1);
    database.watch.slow_threshold = Duration::ZERO;
    let state = State::open(&place.directory.path().join("state")).unwrap();
    let (sender, mut statements) = mpsc::unbounded_channel();
    let pool = Pool::new(&database, sender).unwrap();
    let finished = runner::run(&state, order(Job { dry_run: false }, &database, &pool)).await;
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

/// 6,000 old orders with three items each, to be removed in many batches.
pub(crate) const ORDERS: &str = "CREATE TABLE orders(id INTEGER PRIMARY KEY, at INTEGER); CREATE INDEX i ON orders(at); \
    CREATE TABLE item(orders INTEGER REFERENCES orders); CREATE INDEX o ON item(orders); \
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) \
    INSERT INTO orders SELECT i, 1000000000 + i FROM n; \
    INSERT INTO item SELECT id FROM orders, (VALUES (1), (2), (3));";

/// The orders' rule in thousands of batches, so that whoever stops the run is in time.
pub(crate) fn in_small_batches(path: &Path) -> Database {
    let mut database = database(path, vec![cascade("orders")]);
    database.cleanup.batch_target = Duration::from_nanos(1);
    database
}

/// Some orders are gone, not all; each with all its items, the oldest first.
pub(crate) fn assert_whole_batches(place: &Place) {
    let left = place.numbers("SELECT id FROM orders ORDER BY id");
    assert!((1..6_000).contains(&left.len()), "{} orders are left", left.len());
    assert_eq!(left[0] + i64::try_from(left.len()).unwrap(), 6_001);
    let whole = "SELECT count(*) FROM (SELECT orders FROM item GROUP BY orders HAVING count(*) = 3)";
    assert_eq!(place.number(whole), i64::try_from(left.len()).unwrap());
    assert_eq!(place.number("SELECT count(DISTINCT orders) FROM item"), i64::try_from(left.len()).unwrap());
}

#[tokio::test]
async fn cancelled_in_the_middle_it_leaves_whole_batches_and_the_next_run_goes_on() {
    let place = Place::new(ORDERS);
    let finished = place
        .run_watched(in_small_batches(&place.path()), false, |progress, cancel| {
            if progress.done > 0 {
                cancel.cancel();
            }
        })
        .await;
    assert_eq!(finished.outcome, Outcome::Interrupted);
    assert!(message(&finished).1.contains("rows had been removed before"), "{:?}", finished.result);
    assert_whole_batches(&place);
    let finished = place.run(vec![cascade("orders")]).await;
    assert_eq!(finished.outcome, Outcome::Success);
    assert_eq!(place.number("SELECT count(*) FROM orders") + place.number("SELECT count(*) FROM item"), 0);
}

/// Cleans a database up, until it is killed.
#[tokio::test]
#[ignore = "the other process in the tests of this file"]
async fn victim() {
    let Some(path) = child::argument() else { return };
    let place = Place { directory: tempfile::tempdir().unwrap() };
    let say = |progress: Progress, _: &CancellationToken| {
        if progress.done > 0 {
            child::say("removed some");
        }
    };
    place.run_watched(in_small_batches(&path), false, say).await;
}

#[tokio::test]
async fn killed_in_the_middle_it_leaves_whole_batches() {
    let place = Place::new(ORDERS);
    let mut victim = Child::start("rows::victim", &place.path());
    victim.said("removed some");
    victim.kill();
    assert_whole_batches(&place);
    assert_eq!(place.run(vec![cascade("orders")]).await.outcome, Outcome::Success);
    assert_eq!(place.number("SELECT count(*) FROM item"), 0);
}

#[tokio::test]
async fn an_application_that_writes_all_the_time_sees_no_error_and_loses_nothing() {
    for mode in ["wal", "delete"] {
        let place = Place { directory: tempfile::tempdir().unwrap() };
        create_database(&place.path(), &["--rows", "5000", "--journal-mode", mode]);
        let old = place.number("SELECT count(*) FROM attendance WHERE date < date('now', '-365 days')");
        let mut application = Application::start(&place.path());
        application.write_every(Duration::from_millis(5));
        application.wait_for_commits(5);
        let by_date = Rule { column: Some("date".into()), ..rule("attendance") };
        let finished = place.run(vec![by_date]).await;
        application.wait_for_commits(5);
        let last = application.pause();
        let seen = application.stop();
        assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        assert_eq!(detail(&finished)["removed"], old, "{mode}");
        assert!(detail(&finished)["batches"].as_u64().unwrap() > 1);
        assert_eq!(seen.errors, Vec::<String>::new(), "{mode}");
        assert_eq!(assert_sound(&place.path()), last, "{mode}");
    }
}

#[tokio::test]
async fn a_preview_writes_nothing_and_waits_for_no_writer() {
    let place = Place { directory: tempfile::tempdir().unwrap() };
    create_database(&place.path(), &["--rows", "500"]);
    let mut application = Application::start(&place.path());
    application.hold_write();
    let watcher = place.open();
    let version = || watcher.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).unwrap();
    let before = version();
    let mut database =
        database(&place.path(), vec![Rule { column: Some("date".into()), ..rule("attendance") }]);
    // A write would find the lock taken, and fail.
    database.pool.busy_timeout = Duration::ZERO;
    let finished = place.run_as(database, true).await;
    let old = place.number("SELECT count(*) FROM attendance WHERE date < date('now', '-365 days')");
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
    assert_eq!(detail(&finished)["removed"], old);
    assert!(finished.result.unwrap().summary.starts_with("would remove "));
    assert_eq!(version(), before);
    application.release();
    assert_eq!(place.number("SELECT count(*) FROM attendance"), 500);
}
