//! The guide's queries and odd schemas: each gets its index once, or none, and no more.

use super::fixture::{HISTORY, advise, database, instructions, plan, proposed, watched};
use super::schemas::{ATTENDANCE, DJANGO, GUIDE};

use litekeeper::advice::Question;
use litekeeper::config::Query;
use litekeeper::queries::known::SchemaNames;
use rusqlite::Connection;
use std::collections::BTreeMap;

const GUIDES_INDEXES: [(&str, &[&str]); 5] = [
    ("attendance", &["date"]),
    ("attendance", &["user_id", "date"]),
    ("face_samples", &["user_id"]),
    ("users", &["created_at"]),
    ("users", &["name"]),
];

#[test]
fn the_guides_queries_get_the_guides_indexes_each_ten_times_cheaper_and_nothing_more() {
    let connection = database(ATTENDANCE);
    let texts: Vec<_> = GUIDE.into_iter().chain([HISTORY]).collect();
    let questions: Vec<_> = texts.iter().map(|(name, sql)| watched(name, sql)).collect();
    let advice = advise(&connection, &questions);
    let expected: Vec<_> =
        GUIDES_INDEXES.iter().map(|(table, columns)| format!("{table}({})", columns.join(", "))).collect();
    assert_eq!(proposed(&advice), expected);
    assert_eq!(advice.unjudged.len(), 0);

    let steps = |connection: &Connection| -> BTreeMap<String, f64> {
        texts
            .iter()
            .zip(&questions)
            .map(|((n, sql), q)| ((*n).to_owned(), instructions(connection, q, sql)))
            .collect()
    };
    let before = steps(&connection);
    for proposal in &advice.proposals {
        connection.execute_batch(&proposal.sql).unwrap();
        assert!(!proposal.serves.is_empty());
    }
    let after = steps(&connection);
    for proposal in &advice.proposals {
        for served in &proposal.serves {
            let name = served.query.as_ref().unwrap();
            let gain = before[name] / after[name];
            assert!(gain >= 10.0, "{name}: {} → {}", before[name], after[name]);
            assert!((0.2..5.0).contains(&(served.gain / gain)), "{name}: said {}, is {gain}", served.gain);
        }
    }
    let again = advise(&connection, &questions);
    assert_eq!(proposed(&again), [""; 0], "what exists is not proposed");
    connection.execute_batch("ANALYZE").unwrap();
    assert_eq!(proposed(&advise(&connection, &questions)), [""; 0]);
}

#[test]
fn one_index_is_proposed_where_it_serves_several_queries_as_well_as_several_would() {
    let connection = database(ATTENDANCE);
    let today = ("today", "SELECT * FROM attendance WHERE user_id = :user AND date = '2024-01-15'");
    let day = ("day", "SELECT * FROM attendance WHERE date = '2024-01-15'");
    let first = ("first", "SELECT * FROM attendance WHERE date = '2024-01-15' ORDER BY time_in LIMIT 3");
    for (queries, expected) in [
        (&[today][..], &["attendance(user_id, date)"][..]),
        // The order of the keys does not matter to the one, and does to the other.
        (&[today, day], &["attendance(date, user_id)"]),
        // The one is the beginning of the other.
        (&[day, first], &["attendance(date, time_in)"]),
        (&[day, HISTORY], &["attendance(date)", "attendance(user_id, date)"]),
    ] {
        let questions: Vec<_> = queries.iter().map(|(name, sql)| watched(name, sql)).collect();
        let advice = advise(&connection, &questions);
        assert_eq!(proposed(&advice), expected);
        let served: usize = advice.proposals.iter().map(|proposal| proposal.serves.len()).sum();
        assert_eq!(served, queries.len());
    }
}

#[test]
fn the_size_said_is_about_the_size_taken() {
    let connection = database(ATTENDANCE);
    let questions: Vec<_> = GUIDE.iter().map(|(name, sql)| watched(name, sql)).collect();
    let advice = advise(&connection, &questions);
    assert!(!advice.proposals.is_empty());
    for proposal in &advice.proposals {
        connection.execute_batch(&proposal.sql).unwrap();
        let taken: f64 = connection
            .query_row("SELECT sum(pgsize) FROM dbstat WHERE name = ?1", [&proposal.index], |row| row.get(0))
            .unwrap();
        #[allow(clippy::cast_precision_loss, reason = "bytes")]
        let said = proposal.size_bytes as f64;
        assert!((0.85..1.2).contains(&(said / taken)), "{}: said {said}, takes {taken}", proposal.index);
    }
}

/// Rows with documents that are longer than what is sampled of a value.
const DOCUMENTS: &str = "
    CREATE TABLE accounts (
        id INTEGER PRIMARY KEY, email TEXT NOT NULL, settings TEXT NOT NULL, created_at TEXT NOT NULL,
        plan TEXT GENERATED ALWAYS AS (json_extract(settings, '$.plan')) VIRTUAL);
    CREATE TABLE pairs (\"group\" TEXT NOT NULL, \"order\" TEXT NOT NULL, value ANY, PRIMARY KEY (\"group\", \"order\")) STRICT, WITHOUT ROWID;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO accounts (id, email, settings, created_at)
        SELECT i, 'u' || i || '@example.com', json_object('plan', iif(i % 4, 'free', 'team'), 'about', hex(zeroblob(250))),
            datetime('2020-01-01', (i * 7919 % 20000) || ' hours') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO pairs SELECT 'a group with a long name ' || (i % 100), 'o' || i, i FROM n;";

#[test]
fn a_value_in_a_long_document_that_a_quarter_of_the_rows_has_gets_no_index() {
    let connection = database(DOCUMENTS);
    let questions = [
        watched("by_plan", "SELECT id FROM accounts WHERE plan = 'team'"),
        watched("by_path", "SELECT id FROM accounts WHERE json_extract(settings, '$.plan') = 'team'"),
    ];
    assert!(proposed(&advise(&connection, &questions)).is_empty());
}

#[test]
fn an_index_that_sqlite_would_refuse_is_not_proposed() {
    let connection = database(DOCUMENTS);
    let local = "SELECT id FROM accounts WHERE date(created_at, 'localtime') = '2021-05-01'";
    assert!(connection.execute_batch("CREATE INDEX x ON accounts (date(created_at, 'localtime'))").is_err());
    assert!(proposed(&advise(&connection, &[watched("local", local)])).is_empty());
    let utc = "SELECT id FROM accounts WHERE date(created_at) = '2021-05-01'";
    assert_eq!(proposed(&advise(&connection, &[watched("utc", utc)])), ["accounts(date(created_at))"]);
}

#[test]
fn the_size_of_an_index_counts_the_key_of_a_table_without_rowids() {
    let connection = database(DOCUMENTS);
    let advice = advise(&connection, &[watched("pair", "SELECT value FROM pairs WHERE \"order\" = 'o77'")]);
    let [proposal] = &advice.proposals[..] else { panic!("{advice:?}") };
    connection.execute_batch(&proposal.sql).unwrap();
    let taken: u64 = connection
        .query_row("SELECT sum(pgsize) FROM dbstat WHERE name = ?1", [&proposal.index], |row| row.get(0))
        .unwrap();
    let said = proposal.size_bytes;
    assert!(said * 100 > taken * 85 && said * 100 < taken * 120, "said {said}, takes {taken}");
}

#[test]
fn all_that_is_proposed_and_hinted_at_can_be_created_together() {
    let connection = database(DOCUMENTS);
    let questions = [
        watched("exact", "SELECT id FROM accounts WHERE email = 'u77@example.com'"),
        watched("folded", "SELECT id FROM accounts WHERE upper(email) = 'U78@EXAMPLE.COM'"),
    ];
    let advice = advise(&connection, &questions);
    let hinted: Vec<&String> = advice.hints.iter().flat_map(|hint| &hint.indexes).collect();
    assert!(!hinted.is_empty() && advice.proposals.len() == 2, "{advice:?}");
    for sql in advice.proposals.iter().map(|proposal| &proposal.sql).chain(hinted) {
        connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn an_index_is_known_by_its_whole_name() {
    let connection = database(DOCUMENTS);
    connection.execute_batch("CREATE INDEX \"on plan\" ON accounts (plan)").unwrap();
    // Three quarters of the rows, by the index that there is.
    let sql = "SELECT email FROM accounts WHERE plan = 'free' AND created_at = '2020-02-01 00:00:00'";
    assert!(plan(&connection, sql).contains("USING INDEX on plan (plan=?)"));
    assert_eq!(proposed(&advise(&connection, &[watched("q", sql)])), ["accounts(created_at)"]);
}

#[test]
fn a_table_that_the_subquery_has_as_well_is_not_told_to_use_exists() {
    let connection = database(&format!("{DJANGO} CREATE INDEX author ON blog_post (author_id)"));
    let told = |column: &str, alias: &str| {
        let sql = format!(
            "SELECT * FROM auth_user u WHERE u.username = 'user5' AND {column} IN \
             (SELECT {alias}.author_id FROM blog_post {alias} WHERE {alias}.views > 10)"
        );
        !advise(&connection, &[watched("q", &sql)]).hints.is_empty()
    };
    assert!(told("u.id", "p"));
    // Inside, `u.id` would be the post's.
    assert!(!told("u.id", "u"));
    assert!(!told("u.is_active + u.id", "p"), "the sum is searched, not the column");
}

#[test]
fn a_page_is_told_of_whichever_way_its_offset_is_written() {
    let connection = database(DOCUMENTS);
    for limit in ["LIMIT 20 OFFSET 15000", "LIMIT 15000, 20"] {
        let sql = format!("SELECT * FROM accounts ORDER BY id {limit}");
        let advice = advise(&connection, &[watched("page", &sql)]);
        let [hint] = &advice.hints[..] else { panic!("{limit}: {advice:?}") };
        let rewritten = "SELECT * FROM accounts WHERE id > ? ORDER BY id LIMIT ?";
        assert_eq!(hint.rewritten.as_deref(), Some(rewritten));
    }
}

#[test]
fn a_view_is_not_read_to_judge_a_query_of_it() {
    let connection = database(DOCUMENTS);
    // Would be read from end to end, and fails on the way.
    connection
        .execute_batch("CREATE VIEW v AS SELECT id, email, json_extract('no JSON', '$.x') AS x FROM accounts")
        .unwrap();
    let advice =
        advise(&connection, &[watched("of_view", "SELECT id FROM v WHERE email = 'u7@example.com'")]);
    assert_eq!(proposed(&advice), ["accounts(email)"]);
}

#[test]
fn the_slow_runs_of_a_watched_query_are_not_judged_beside_it() {
    let known = SchemaNames::new(["accounts".to_owned(), "id".to_owned()]);
    let sql = "SELECT count(*) AS \"__count\" FROM \"accounts\" WHERE \"id\" = \"Ann\"";
    let query = Query { name: "q".to_owned(), sql: sql.to_owned(), params: BTreeMap::new() };
    assert_eq!(Question::watched(&query, &known).shape, known.shape(sql));
    assert!(!Question::watched(&query, &known).shape.contains("Ann"));
}
