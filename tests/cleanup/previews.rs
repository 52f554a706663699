//! A preview refuses what the run will refuse, and nothing else: the same rule is looked at by both.

use super::fixture::{Place, detail, hundred_rows, message, rule, unlink};
use litekeeper::config::{Rule, Triggers};
use litekeeper::error::Reason;
use litekeeper::jobs::runner::RunEnd;
use litekeeper::terms::Outcome;

fn allowed(table: &str) -> Rule {
    Rule { triggers: Triggers::Allow, ..rule(table) }
}

/// What a preview says stands in the way.
fn refusal(previewed: &RunEnd) -> (Reason, String) {
    let problem = &previewed.result.as_ref().unwrap().problems[0];
    assert_eq!(detail(previewed)["removed"], 0);
    assert_eq!(detail(previewed)["refused"], problem.message);
    (problem.reason, problem.message.clone())
}

/// Notes in a full-text table that agrees with them, and the trigger by which it follows.
fn notes(module: &str, trigger: &str) -> Place {
    Place::new(&format!(
        "CREATE TABLE note (id INTEGER PRIMARY KEY, at TEXT); {} UPDATE note SET at = at || ' 10:00'; \
         CREATE VIRTUAL TABLE words USING {module}; INSERT INTO words (words) VALUES ('rebuild'); \
         CREATE TRIGGER follows AFTER DELETE ON note BEGIN {trigger}; END;",
        hundred_rows("note", "date(j)")
    ))
}

#[tokio::test]
async fn a_trigger_that_sqlite_compiles_and_cannot_run_is_refused_by_preview_and_run_alike() {
    // Right for FTS5, and an unknown command for FTS4.
    let wrong = "INSERT INTO words (words, rowid, at) VALUES ('delete', old.id, old.at)";
    let place = notes("fts4 (at, content=note)", wrong);
    let previewed = refusal(&place.preview(vec![allowed("note")]).await);
    let ran = message(&place.run(vec![allowed("note")]).await);
    assert_eq!(previewed, ran);
    let (reason, text) = ran;
    assert_eq!(reason, Reason::Refused);
    assert!(
        text.contains("the triggers of note cannot be run: SQL logic error") && text.contains("correct them"),
        "{text}"
    );
    assert_eq!(place.number("SELECT count(*) FROM note"), 100);

    for (module, right) in [
        ("fts5 (at, content=note, content_rowid=id)", wrong),
        ("fts4 (at, content=note)", "DELETE FROM words WHERE docid = old.id"),
    ] {
        let place = notes(module, right);
        assert_eq!(place.preview(vec![allowed("note")]).await.outcome, Outcome::Success, "{module}");
        let ran = place.run(vec![allowed("note")]).await;
        assert_eq!(ran.outcome, Outcome::Success, "{module}: {:?}", ran.result);
        assert_eq!(place.number("SELECT count(*) FROM note"), 60);
    }
}

#[tokio::test]
async fn a_key_that_a_check_keeps_from_being_null_is_refused_by_preview_and_run_alike() {
    let place = Place::new(&format!(
        "CREATE TABLE log (id INTEGER PRIMARY KEY, at TEXT); {} \
         CREATE TABLE child (id INTEGER PRIMARY KEY, log INTEGER REFERENCES log CHECK (log IS NOT NULL)); \
         INSERT INTO child (log) SELECT id FROM log;",
        hundred_rows("log", "date(j)")
    ));
    let previewed = refusal(&place.preview(vec![unlink("log")]).await);
    let ran = message(&place.run(vec![unlink("log")]).await);
    assert_eq!(previewed, ran);
    assert_eq!(ran.0, Reason::Refused);
    assert!(ran.1.contains("child.log cannot be changed: CHECK constraint failed"), "{}", ran.1);
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);
}

#[tokio::test]
async fn a_trigger_that_goes_by_other_rows_is_not_judged_by_their_absence() {
    // Refuses where a setting is missing, needs a row for a column that may not be NULL, and asks a
    // view.
    let place = Place::new(&format!(
        "CREATE TABLE log (id INTEGER PRIMARY KEY, at TEXT); {} \
         CREATE TABLE setting (name TEXT PRIMARY KEY, value); INSERT INTO setting VALUES ('may', 7); \
         CREATE VIEW may AS SELECT value FROM setting WHERE name = 'may'; \
         CREATE TABLE trace (id INTEGER NOT NULL, value INTEGER NOT NULL); \
         CREATE TRIGGER asks BEFORE DELETE ON log WHEN NOT EXISTS (SELECT 1 FROM may) \
           BEGIN SELECT RAISE(ABORT, 'no'); END; \
         CREATE TRIGGER traces AFTER DELETE ON log \
           BEGIN INSERT INTO trace VALUES (old.id, (SELECT value FROM may)); END;",
        hundred_rows("log", "date(j)")
    ));
    assert_eq!(place.preview(vec![allowed("log")]).await.outcome, Outcome::Success);
    assert_eq!(place.run(vec![allowed("log")]).await.outcome, Outcome::Success);
    assert_eq!(place.number("SELECT count(*) FROM log"), 60);
    assert_eq!(place.number("SELECT count(*) FROM trace WHERE value = 7"), 40);
}

#[tokio::test]
async fn no_index_is_advised_on_the_key_by_which_a_table_is_ordered() {
    let advised = |of: &RunEnd| detail(of)["advice"].to_string();
    let millis = "CAST((j - 2440587.5) * 86400000 AS INTEGER)";
    let rows = hundred_rows("log", millis).replace("log(id, at) SELECT i, ", "log(at) SELECT ");
    for (table, is_ordered) in [
        ("log (at INTEGER PRIMARY KEY)", true),
        ("log (at INTEGER PRIMARY KEY) WITHOUT ROWID", true),
        ("log (at INTEGER, n INTEGER DEFAULT 1, PRIMARY KEY (at, n)) WITHOUT ROWID", true),
        ("log (n INTEGER DEFAULT 1, at INTEGER, PRIMARY KEY (n, at)) WITHOUT ROWID", false),
        ("log (id INTEGER PRIMARY KEY, at INTEGER)", false),
    ] {
        let place = Place::new(&format!("CREATE TABLE {table}; {rows}"));
        let previewed = advised(&place.preview(vec![rule("log")]).await);
        assert_eq!(previewed.contains("CREATE INDEX"), !is_ordered, "{table}: {previewed}");
        let ran = place.run(vec![rule("log")]).await;
        assert_eq!((advised(&ran), &detail(&ran)["removed"]), (previewed, &40.into()), "{table}");
    }
}
