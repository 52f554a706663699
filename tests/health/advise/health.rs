//! What the check of indexes advises: the needless, the missing, the declared and the unused.

use super::fixture::execution;
use crate::support::keeper::Keeper;
use crate::support::sandbox::Sandbox;
use crate::support::sql::edit;
use chrono::{TimeDelta, Utc};
use litekeeper::config::{Index, Missing};
use litekeeper::jobs::health::Health;
use litekeeper::state::facts::{INDEX_PROBLEMS, INDEX_USE, IndexUse, PLANS, WatchedPlan};
use litekeeper::state::slow::{self, Execution};
use litekeeper::terms::Verdict;
use std::collections::BTreeMap;

async fn advised(keeper: &Keeper) -> Vec<(String, String)> {
    keeper.run(Health).await;
    assert_eq!(keeper.check("indexes").0, Verdict::Good, "advice is no fault: {}", keeper.check("indexes").1);
    let mut problems: Vec<(String, String)> = keeper.fact(INDEX_PROBLEMS).unwrap();
    problems.sort();
    problems
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(index, word)| ((*index).to_owned(), (*word).to_owned())).collect()
}

const SCHEMA: &str = "
    CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c TEXT, u UNIQUE, p REFERENCES users (id), q REFERENCES users (id));
    CREATE TABLE inside (id INTEGER PRIMARY KEY REFERENCES users (id), x);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
    INSERT INTO t SELECT i, i, i, i, i, NULL, NULL FROM n;
    CREATE INDEX ab ON t (a, b);
    CREATE INDEX a ON t (a);
    CREATE INDEX ba ON t (b, a);
    CREATE INDEX ab_again ON t (a, b);
    CREATE INDEX ab_backwards ON t (a DESC, b DESC);
    CREATE INDEX ab_mixed ON t (a, b DESC);
    CREATE UNIQUE INDEX c_unique ON t (c);
    CREATE INDEX cb ON t (c, b);
    CREATE INDEX c_plain ON t (c);
    CREATE INDEX c_nocase ON t (c COLLATE NOCASE);
    CREATE INDEX part_ab ON t (a, b) WHERE c IS NOT NULL;
    CREATE INDEX part_a ON t (a) WHERE c is not null;
    CREATE INDEX part_other ON t (a) WHERE c = 'x';
    CREATE INDEX u_again ON t (u);
    CREATE INDEX on_id ON t (id);
    CREATE INDEX lower_c ON t (lower(c));
    CREATE INDEX lower_c_again ON t ( LOWER (\"c\") );
    CREATE INDEX q_known ON t (q, a) WHERE q IS NOT NULL;";

#[tokio::test]
async fn needless_indexes_and_keys_without_one_are_advised_with_the_statement_that_settles_it() {
    let keeper = Keeper::new(Sandbox::new());
    edit(&keeper.sandbox.database(), SCHEMA);
    let expected = [
        ("a", "redundant"),
        ("ab_again", "duplicate"),
        ("ab_backwards", "duplicate"),
        ("c_plain", "duplicate"),
        ("idx_t_p", "foreign_key"),
        ("lower_c_again", "duplicate"),
        ("on_id", "duplicate"),
        ("part_a", "redundant"),
        ("u_again", "duplicate"),
    ];
    assert_eq!(advised(&keeper).await, pairs(&expected));
    let (_, detail) = keeper.check("indexes");
    for (name, word) in expected {
        let statement = match word {
            "foreign_key" => r#"CREATE INDEX "idx_t_p" ON "t" ("p")"#.to_owned(),
            _ => format!(r#"DROP INDEX "{name}""#),
        };
        assert!(detail.contains(&statement), "{statement} is not in {detail}");
        edit(&keeper.sandbox.database(), &statement);
    }
    assert_eq!(advised(&keeper).await, []);
}

#[tokio::test]
async fn a_key_whose_declared_index_is_missing_is_told_of_once() {
    let mut keeper = Keeper::new(Sandbox::new());
    edit(&keeper.sandbox.database(), "DROP INDEX idx_attendance_user_date");
    keeper.database.indexes.push(Index {
        name: "ours".to_owned(),
        table: "attendance".to_owned(),
        columns: vec!["user_id".to_owned(), "date".to_owned()],
        missing: Missing::Report,
    });
    keeper.run(Health).await;
    assert_eq!(keeper.fact::<Vec<(String, String)>>(INDEX_PROBLEMS).unwrap(), pairs(&[("ours", "missing")]));
}

#[tokio::test]
async fn a_declared_index_may_be_on_a_generated_column() {
    let mut keeper = Keeper::new(Sandbox::new());
    edit(
        &keeper.sandbox.database(),
        "ALTER TABLE users ADD COLUMN initial TEXT AS (substr(name, 1, 1)); CREATE INDEX by_initial ON users (initial)",
    );
    keeper.database.indexes.push(Index {
        name: "by_initial".to_owned(),
        table: "users".to_owned(),
        columns: vec!["initial".to_owned()],
        missing: Missing::Report,
    });
    assert_eq!(advised(&keeper).await, []);
}

#[tokio::test]
async fn a_declared_index_is_wanted_and_the_other_one_is_needless() {
    let mut keeper = Keeper::new(Sandbox::new());
    edit(&keeper.sandbox.database(), "CREATE INDEX newer ON users (name)");
    assert_eq!(advised(&keeper).await, pairs(&[("newer", "duplicate")]));
    keeper.database.indexes.push(Index {
        name: "newer".to_owned(),
        table: "users".to_owned(),
        columns: vec!["name".to_owned()],
        missing: Missing::Report,
    });
    assert_eq!(advised(&keeper).await, pairs(&[("idx_users_name", "duplicate")]));
}

#[tokio::test]
async fn an_index_that_a_statement_names_is_not_to_be_dropped() {
    let mut keeper = Keeper::new(Sandbox::new());
    let database = keeper.sandbox.database();
    edit(&database, "CREATE INDEX newer ON users (name); CREATE INDEX third ON users (name)");
    assert_eq!(advised(&keeper).await, pairs(&[("newer", "duplicate"), ("third", "duplicate")]));
    edit(
        &database,
        "CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT count(*) FROM users INDEXED BY \"Newer\" WHERE name = 'x'; END",
    );
    assert_eq!(advised(&keeper).await, pairs(&[("idx_users_name", "duplicate"), ("third", "duplicate")]));
    keeper.watch("by_name", "SELECT id FROM users INDEXED BY idx_users_name WHERE name = 'x'");
    assert_eq!(advised(&keeper).await, pairs(&[("third", "duplicate")]));
    let slow = execution("watch", "SELECT id FROM users indexed by third WHERE name = ?");
    keeper.state.now(|c| slow::record(c, &slow)).unwrap();
    assert_eq!(advised(&keeper).await, []);
}

#[tokio::test]
async fn an_index_counts_as_unused_only_where_many_queries_were_watched_for_long() {
    let keeper = Keeper::new(Sandbox::new());
    let queries = |count: usize| -> BTreeMap<String, WatchedPlan> {
        let plan = |n: usize| match n % 3 {
            0 => "SEARCH u USING INDEX idx_users_name (name=?)",
            1 => "SCAN users",
            _ => "SEARCH attendance USING COVERING INDEX idx_attendance_user_date (user_id=?)",
        };
        let watched = |n| WatchedPlan { query: String::new(), plan: vec![plan(n).to_owned()] };
        (0..count).map(|n| (format!("query_{n}"), watched(n))).collect()
    };
    let since = |days| {
        let at = Utc::now() - TimeDelta::days(days);
        let queries = queries(20).into_keys().map(|query| (query, (String::new(), at)));
        IndexUse { used: [].into(), queries: queries.collect() }
    };
    for (count, days, expected) in [
        (9, 30, &[][..]),
        (10, 6, &[]),
        (10, 8, &[("idx_attendance_date", "unused"), ("idx_users_created_at", "unused")]),
    ] {
        keeper.pretend(PLANS, &queries(count));
        keeper.pretend(INDEX_USE, &since(days));
        assert_eq!(advised(&keeper).await, pairs(expected), "{count} queries for {days} days");
    }
    let (_, detail) = keeper.check("indexes");
    for words in
        ["none of the 10 watched queries", "7 of which read users", "DROP INDEX \"idx_users_created_at\""]
    {
        assert!(detail.contains(words), "{words} is not in {detail}");
    }
    // What was in use once stays used, also when its query has gone from the list.
    keeper.pretend(INDEX_USE, &IndexUse { used: ["idx_attendance_date".to_owned()].into(), ..since(8) });
    assert_eq!(advised(&keeper).await, pairs(&[("idx_users_created_at", "unused")]));
    // One of ten is new, or has another text than a week ago: that is no evidence yet.
    let mut known = since(8);
    known.queries.remove("query_3");
    keeper.pretend(INDEX_USE, &known);
    assert_eq!(advised(&keeper).await, []);
    known.queries = since(8).queries;
    known.queries.insert("query_3".to_owned(), ("another text".to_owned(), Utc::now() - TimeDelta::days(8)));
    keeper.pretend(INDEX_USE, &known);
    assert_eq!(advised(&keeper).await, []);
}

#[tokio::test]
async fn an_index_in_use_is_not_called_unused_whatever_its_name_and_whoever_uses_it() {
    let keeper = Keeper::new(Sandbox::new());
    edit(
        &keeper.sandbox.database(),
        "DROP INDEX idx_users_name; DROP INDEX idx_users_created_at;
         CREATE INDEX \"users' index, by name\" ON users (name);
         CREATE INDEX slow_one ON users (created_at);
         CREATE INDEX nobodys ON users (email);",
    );
    let used = "SEARCH users USING INDEX users? index, by name (name=?)";
    let queries: BTreeMap<String, WatchedPlan> = (0..10)
        .map(|n| (format!("query_{n}"), WatchedPlan { query: String::new(), plan: vec![used.to_owned()] }))
        .collect();
    let at = Utc::now() - TimeDelta::days(8);
    let since = queries.keys().map(|query| (query.clone(), (String::new(), at))).collect();
    keeper.pretend(PLANS, &queries);
    keeper.pretend(INDEX_USE, &IndexUse { used: [].into(), queries: since });
    let slow = Execution {
        plan: Some(vec!["SEARCH users USING INDEX slow_one (created_at<?)".to_owned()]),
        ..execution("cleanup", "DELETE FROM users WHERE created_at < ?")
    };
    keeper.state.now(|c| slow::record(c, &slow)).unwrap();
    keeper.run(Health).await;
    let problems: Vec<(String, String)> = keeper.fact(INDEX_PROBLEMS).unwrap();
    assert_eq!(problems, pairs(&[("nobodys", "unused")]));
}

#[tokio::test]
async fn the_index_for_a_foreign_key_gets_a_name_that_is_free() {
    let keeper = Keeper::new(Sandbox::new());
    edit(
        &keeper.sandbox.database(),
        "CREATE TABLE t (id INTEGER PRIMARY KEY, \"p-q\" REFERENCES users (id), \"p q\" REFERENCES users (id));
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
         INSERT INTO t SELECT i, NULL, NULL FROM n;
         CREATE TABLE idx_t_p_q (x);",
    );
    let names = [("idx_t_p_q_2", "foreign_key"), ("idx_t_p_q_3", "foreign_key")];
    assert_eq!(advised(&keeper).await, pairs(&names));
    let (_, detail) = keeper.check("indexes");
    for create in detail.split(": ").filter(|part| part.starts_with("CREATE INDEX")) {
        edit(&keeper.sandbox.database(), create.split(';').next().unwrap());
    }
    assert_eq!(advised(&keeper).await, []);
}
