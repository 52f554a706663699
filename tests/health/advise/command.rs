//! `advise` itself: what it tells, and what it leaves alone.

use super::fixture::execution;
use crate::support::sandbox::Sandbox;
use crate::support::sql::{self, edit};
use litekeeper::state::State;
use litekeeper::state::slow;
use serde_json::Value;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    edit(
        &sandbox.database(),
        "DROP INDEX idx_attendance_user_date; DROP INDEX idx_attendance_date; DROP INDEX idx_users_name;",
    );
    sandbox.configure(
        "[database.attendance.watch.todays_attendance]
         sql = \"SELECT a.* FROM attendance a WHERE a.user_id = :user AND a.date = 'SECRET'\"
         params = { user = 1 }",
    );
    sandbox
}

fn record(sandbox: &Sandbox, job: &'static str, shape: &str) {
    State::open(&sandbox.state()).unwrap().now(|c| slow::record(c, &execution(job, shape))).unwrap();
}

#[test]
fn advise_tells_what_would_help_the_watched_and_the_slow_and_changes_nothing() {
    let sandbox = sandbox();
    let schema = "SELECT group_concat(name || coalesce(sql, '')) FROM sqlite_schema";
    let before: String = sql::value(&sandbox.database(), schema);
    record(&sandbox, "watch", "SELECT * FROM attendance WHERE date = ?");
    record(&sandbox, "maintain", "VACUUM");
    record(&sandbox, "watch", "SELECT fold(name) FROM users");

    let output = sandbox.litekeeper(&["advise", "attendance", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let advice: Value = serde_json::from_slice(&output.stdout).unwrap();
    let proposals = advice["proposals"].as_array().unwrap();
    let sqls: Vec<_> = proposals.iter().map(|p| p["sql"].as_str().unwrap()).collect();
    // With a row or two a day, one on the day serves both.
    assert_eq!(sqls, [r#"CREATE INDEX "idx_attendance_date" ON "attendance" ("date")"#]);
    let serves: Vec<_> = proposals[0]["serves"].as_array().unwrap().iter().map(|s| &s["query"]).collect();
    assert_eq!(serves, [&Value::from("todays_attendance"), &Value::Null]);
    assert_eq!(advice["judged"], 2);
    assert_eq!(advice["unjudged"][0]["shape"], "SELECT fold(name) FROM users");

    let output = sandbox.litekeeper(&["advise", "attendance"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for words in [
        sqls[0],
        "query todays_attendance",
        "slow statement: SELECT * FROM attendance WHERE date = ?",
        "now    SCAN a",
        "then   SEARCH a USING INDEX idx_attendance_date (date=?)",
        "cannot be judged: slow statement: SELECT fold(name) FROM users: no such function: fold",
    ] {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("SECRET") && !stderr.contains("SECRET"), "{text}{stderr}");
    assert_eq!(sql::value::<String>(&sandbox.database(), schema), before);
    let kept: i64 = sql::value(&sandbox.state().join("state.db"), "SELECT count(*) FROM slow_statement");
    assert_eq!(kept, 3, "its own reading is nobody's slow statement");
}

#[test]
fn a_declared_index_that_is_missing_is_proposed_under_its_name_with_what_it_makes_needless() {
    let sandbox = sandbox();
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        INSERT INTO attendance (user_id, date, time_in, confidence) SELECT 1 + i % 100, date('2024-01-01', (i / 100) || ' days'), 'x', 1 FROM n;";
    edit(&sandbox.database(), &format!("{rows} CREATE INDEX by_user ON attendance (user_id)"));
    sandbox.configure(
        "[[database.attendance.index]]
         name = \"ours\"
         table = \"attendance\"
         columns = [\"user_id\", \"date\"]
         [database.attendance.watch.todays_attendance]
         sql = \"SELECT a.* FROM attendance a WHERE a.user_id = :user AND a.date = '2024-02-01'\"
         params = { user = 1 }",
    );
    let output = sandbox.litekeeper(&["advise", "attendance", "--json"]);
    let advice: Value = serde_json::from_slice(&output.stdout).unwrap();
    let proposals = advice["proposals"].as_array().unwrap();
    let [proposal] = &proposals[..] else { panic!("{advice:#}") };
    assert_eq!(proposal["sql"], r#"CREATE INDEX "ours" ON "attendance" ("user_id", "date")"#);
    assert_eq!(proposal["replaces"], serde_json::json!([r#"DROP INDEX "by_user""#]));

    // With it a view would be gone.
    edit(
        &sandbox.database(),
        "CREATE VIEW of_user AS SELECT date FROM attendance INDEXED BY by_user WHERE user_id = 1",
    );
    let output = sandbox.litekeeper(&["advise", "attendance", "--json"]);
    let advice: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(advice["proposals"][0]["sql"], proposal["sql"]);
    assert_eq!(advice["proposals"][0]["replaces"], serde_json::json!([]));
}

#[test]
fn advise_says_what_it_lacks() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    assert_eq!(sandbox.litekeeper(&["advise", "nothing"]).status.code(), Some(10));
    let output = sandbox.litekeeper(&["advise", "attendance"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("[database.attendance.watch.QUERY]"), "{text}");
    std::fs::remove_file(sandbox.database()).unwrap();
    sandbox.configure("[database.attendance.watch.q]\nsql = \"SELECT 1\"");
    assert_eq!(sandbox.litekeeper(&["advise", "attendance"]).status.code(), Some(10));
}
