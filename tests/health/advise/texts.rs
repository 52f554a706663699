//! Queries whose text stands in the way of an index: told so where another text would help, and
//! else not.

use super::fixture::{HISTORY, advise, database, proposed, watched};
use super::schemas::{ATTENDANCE, DJANGO, GUIDE, POCKETBASE, RAILS};

use litekeeper::advice::Question;

/// What the text of a query could say better: subject, and a part of the other text or of the
/// advice. In each schema one index more, for the queries here.
#[test]
fn a_query_whose_text_stands_in_the_way_is_told_so_with_the_plan_of_the_other_text() {
    let guide = format!(
        "{ATTENDANCE} CREATE INDEX ud ON attendance (user_id, date); CREATE INDEX n ON users (name);"
    );
    let django = format!(
        "{DJANGO} CREATE INDEX author ON blog_post (author_id); CREATE INDEX title ON blog_post (title);"
    );
    let rails = format!(
        "{RAILS} CREATE INDEX placed ON orders (placed_at); CREATE TABLE imports (sku integer, note text);
        CREATE INDEX sku ON products (sku); INSERT INTO imports VALUES (1, 'a'), (2, 'b');"
    );
    let cases: [(&str, &str, &str, &[&str]); 9] = [
        (
            &rails,
            "SELECT * FROM orders WHERE state = 'paid' ORDER BY placed_at DESC LIMIT 25 OFFSET 5000",
            "offset",
            &["WHERE (state = ?) AND placed_at < ? ORDER BY placed_at DESC LIMIT ?"],
        ),
        (
            &guide,
            "SELECT name FROM users ORDER BY name LIMIT 20 OFFSET 1000",
            "offset",
            &["WHERE name > ? ORDER BY"],
        ),
        (&django, "SELECT * FROM blog_post WHERE title LIKE '%77%'", "wildcard", &["FTS5"]),
        (&django, "SELECT * FROM blog_post WHERE title LIKE 'Title 77%'", "like", &["title GLOB ?"]),
        (
            &rails,
            "SELECT * FROM orders WHERE date(placed_at) = '2021-01-01'",
            "function",
            &["(placed_at >= ? AND placed_at < date(?, ?))"],
        ),
        (
            &guide,
            "SELECT * FROM users WHERE lower(name) = 'name 77'",
            "function",
            &["name = ? COLLATE NOCASE"],
        ),
        (
            &django,
            "SELECT * FROM auth_user u WHERE u.username = 'user5' AND u.id IN (SELECT p.author_id FROM blog_post p WHERE p.views > 10)",
            "exists",
            &["EXISTS (SELECT ? FROM blog_post p WHERE (p.views > ?) AND p.author_id = u.id)"],
        ),
        (
            &guide,
            "SELECT * FROM attendance WHERE user_id = :user AND date >= '2023-06-01'",
            "covering",
            &["SELECT user_id, date FROM"],
        ),
        (
            &rails,
            "SELECT p.name FROM imports i JOIN products p ON p.sku = i.sku",
            "affinity",
            &["p.sku = CAST(i.sku AS TEXT)"],
        ),
    ];
    let mut wrong = Vec::new();
    for (schema, sql, subject, words) in cases {
        let connection = database(schema);
        let advice = advise(&connection, &[watched("it", sql)]);
        let told = serde_json::to_value(&advice.hints).unwrap();
        let told = told.as_array().unwrap();
        let text = |hint: &serde_json::Value| format!("{} {}", hint["rewritten"], hint["text"]);
        let is_it = |hint: &&serde_json::Value| {
            hint["subject"] == subject && words.iter().all(|word| text(hint).contains(word))
        };
        let others: Vec<_> = told.iter().filter(|hint| !is_it(hint)).collect();
        match told.iter().find(is_it) {
            None => wrong.push(format!("{sql}\n  wanted {subject} {words:?}\n  got {told:#?}")),
            Some(hint) => {
                assert_ne!(hint["before"], hint["after"], "{sql}");
                assert!(others.is_empty(), "{sql}: {others:#?}");
                assert!(hint["gain"].as_f64().is_none_or(|gain| gain < 1000.0), "{hint:#?}");
                let everything = serde_json::to_string(&told).unwrap();
                assert!(
                    !["paid", "77", "user5", "2021-01-01"].iter().any(|literal| everything.contains(literal)),
                    "{everything}"
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_query_that_is_well_put_is_told_nothing() {
    let indexed = format!("{ATTENDANCE} CREATE INDEX ud ON attendance (user_id, date); CREATE INDEX d ON attendance (date);
        CREATE INDEX n ON users (name); CREATE INDEX c ON users (created_at); CREATE INDEX u ON face_samples (user_id);");
    let connection = database(&indexed);
    let questions: Vec<_> =
        GUIDE.into_iter().chain([HISTORY]).map(|(name, sql)| watched(name, sql)).collect();
    let advice = advise(&connection, &questions);
    assert!(advice.hints.is_empty(), "{:#?}", advice.hints);
    let rails = database(RAILS);
    for sql in [
        "SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND o.state = 'open')",
        // As many rows either way.
        "SELECT * FROM users u WHERE u.id IN (SELECT o.user_id FROM orders o WHERE o.state = 'open')",
        "SELECT * FROM orders WHERE user_id = :user ORDER BY id LIMIT 5",
        "SELECT * FROM orders ORDER BY id LIMIT 5 OFFSET 1",
    ] {
        let advice = advise(&rails, &[watched("it", sql)]);
        assert!(advice.hints.is_empty() && advice.proposals.is_empty(), "{sql}: {advice:#?}");
    }
}

#[test]
fn a_function_that_an_index_is_on_is_not_said_to_have_none() {
    let query = watched("it", "SELECT * FROM users WHERE lower(name) = 'name 77'");
    for (index, is_told) in [
        ("UNIQUE INDEX by_lower ON users (lower(name), id)", false),
        ("INDEX by_lower ON users (LOWER ( \"name\" ) DESC)", false),
        ("INDEX by_upper ON users (upper(name))", true),
        ("INDEX by_lower ON users (lower(name) COLLATE NOCASE)", true),
        ("INDEX by_name ON users (name)", true),
    ] {
        let connection = database(&format!("{ATTENDANCE} CREATE {index};"));
        let hints = advise(&connection, std::slice::from_ref(&query)).hints;
        assert_eq!(
            hints.iter().any(|hint| hint.text.contains("no index on name")),
            is_told,
            "{index}: {hints:#?}"
        );
        assert!(is_told || hints.is_empty(), "{index}: {hints:#?}");
    }
}

#[test]
fn what_only_the_application_can_plan_is_named_with_the_reason() {
    let connection = database(&format!("{POCKETBASE} CREATE VIRTUAL TABLE search USING fts5 (title);
        CREATE TABLE labels (name TEXT);
        PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE labels (name TEXT COLLATE german)' WHERE name = 'labels';"));
    let cut = format!("SELECT {}", "a_long_name, ".repeat(200));
    let shape = litekeeper::sql::fingerprint::shape(&cut);
    let questions = [
        watched("words", "SELECT * FROM search WHERE search MATCH 'x'"),
        watched("folded", "SELECT * FROM posts WHERE fold(title) = 'x'"),
        watched("sorted", "SELECT * FROM labels WHERE name = 'x'"),
        watched("mistyped", "SELECT * FROM post"),
        Question::slow(&shape, 1),
        watched("fine", "SELECT * FROM posts WHERE author = 'u5'"),
    ];
    let advice = advise(&connection, &questions);
    let why: Vec<_> = advice.unjudged.iter().map(|u| (u.query.as_deref(), u.why.as_str())).collect();
    let words =
        ["virtual table", "no such function: fold", "german", "no such table: post", "only its beginning"];
    assert_eq!(why.len(), words.len(), "{why:?}");
    for ((_, why), word) in why.iter().zip(words) {
        assert!(why.contains(word), "{why} does not say {word}");
    }
    assert_eq!(proposed(&advice), ["posts(author)"], "the others are judged all the same");
}
