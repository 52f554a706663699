//! Advice: the right index or none, each one proved on rows: created where there are many, and counted in the
//! instructions that its query takes before and after.

use chrono::Utc;
use litekeeper::config::{Query, Value};
use litekeeper::queries::advice::{self, Advice, Question};
use litekeeper::queries::known::Known;
use litekeeper::state::slow::Execution;
use rusqlite::{Connection, StatementStatus};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The attendance database of the manual, without its indexes.
const ATTENDANCE: &str = "
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, created_at TEXT NOT NULL);
    CREATE TABLE face_samples (
        id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
        embedding BLOB NOT NULL, captured_at TEXT NOT NULL);
    CREATE TABLE attendance (
        id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id), date TEXT NOT NULL,
        time_in TEXT NOT NULL, time_out TEXT, confidence REAL NOT NULL);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO users SELECT i, 'Name ' || (i * 7919 % 2003), 'user' || i || '@example.com', date('2020-01-01', i || ' days') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO face_samples SELECT i, 1 + i * 31 % 2000, zeroblob(512), date('2020-01-01', (i / 6) || ' days') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 39999)
    INSERT INTO attendance SELECT i + 1, 1 + i % 100, date('2023-01-01', (i / 100) || ' days'), '08:00:00', NULL, 0.9 FROM n;";

/// What the manual's application asks most, and the indexes that its configuration declares for it.
const GUIDE: [(&str, &str); 5] = [
    ("user_by_name", "SELECT * FROM users WHERE name = 'Name 77'"),
    ("new_users", "SELECT * FROM users WHERE created_at >= '2025-06-01' ORDER BY created_at"),
    ("samples_of_user", "SELECT id, embedding FROM face_samples WHERE user_id = :user"),
    ("todays_attendance", "SELECT a.* FROM attendance a WHERE a.user_id = :user AND a.date = '2024-01-15'"),
    (
        "day",
        "SELECT u.name, a.time_in FROM attendance a JOIN users u ON u.id = a.user_id WHERE a.date = '2024-01-15'",
    ),
];

/// A statement that was slow just now.
fn execution(job: &'static str, shape: &str) -> Execution {
    Execution {
        database: "attendance".to_owned(),
        job,
        shape: shape.to_owned(),
        at: Utc::now(),
        duration: Duration::from_secs(2),
        vm_steps: 1,
        full_scan_steps: 1,
        sorts: 0,
        automatic_indexes: 0,
        plan: None,
    }
}
const HISTORY: (&str, &str) = (
    "history",
    "SELECT date, time_in FROM attendance WHERE user_id = :user AND date >= '2024-01-20' ORDER BY date DESC",
);
const GUIDES_INDEXES: [(&str, &[&str]); 5] = [
    ("attendance", &["date"]),
    ("attendance", &["user_id", "date"]),
    ("face_samples", &["user_id"]),
    ("users", &["created_at"]),
    ("users", &["name"]),
];

fn database(sql: &str) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

fn watched(name: &str, sql: &str) -> Question {
    let params: BTreeMap<_, _> =
        [("user", 42), ("p", 77)].map(|(n, v)| (n.to_owned(), Value::Integer(v))).into();
    Question::watched(&Query { name: name.to_owned(), sql: sql.to_owned(), params }, &Known::default())
}

fn advise(connection: &Connection, questions: &[Question]) -> Advice {
    let material = advice::read(connection, questions, Instant::now() + Duration::from_secs(60)).unwrap();
    advice::judge(&material, questions).unwrap()
}

/// `table(key, key)` of each proposal, in their order.
fn proposed(advice: &Advice) -> Vec<String> {
    let keys = |sql: &str| {
        let (_, on) = sql.split_once(" ON ").unwrap();
        on.replace(" (", "(").replace('"', "")
    };
    let mut all: Vec<_> = advice.proposals.iter().map(|p| keys(&p.sql)).collect();
    all.sort();
    all
}

/// Instructions that a query takes.
fn instructions(connection: &Connection, question: &Question, sql: &str) -> f64 {
    let mut statement = connection.prepare(sql).unwrap();
    for at in 1..=statement.parameter_count() {
        let value = if question.name.is_some() { 42 } else { 7 };
        statement.raw_bind_parameter(at, value).unwrap();
    }
    let mut rows = statement.raw_query();
    while rows.next().unwrap().is_some() {}
    drop(rows);
    f64::from(statement.get_status(StatementStatus::VmStep))
}

fn plan(connection: &Connection, sql: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    for at in 1..=statement.parameter_count() {
        statement.raw_bind_parameter(at, 42).unwrap();
    }
    let mut rows = statement.raw_query();
    let mut plan = String::new();
    while let Some(row) = rows.next().unwrap() {
        plan += &row.get::<_, String>(3).unwrap();
        plan.push('\n');
    }
    plan
}

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
    let known = Known::new(["accounts".to_owned(), "id".to_owned()]);
    let sql = "SELECT count(*) AS \"__count\" FROM \"accounts\" WHERE \"id\" = \"Ann\"";
    let query = Query { name: "q".to_owned(), sql: sql.to_owned(), params: BTreeMap::new() };
    assert_eq!(Question::watched(&query, &known).shape, known.shape(sql));
    assert!(!Question::watched(&query, &known).shape.contains("Ann"));
}

/// Rows of a corpus: a thousand to forty thousand for each table, in no order that an index would have.
const DJANGO: &str = "
    CREATE TABLE auth_user (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, username varchar(150) NOT NULL UNIQUE, email varchar(254) NOT NULL,
        is_active bool NOT NULL, date_joined datetime NOT NULL, last_login datetime NULL);
    CREATE TABLE blog_post (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, author_id integer NOT NULL REFERENCES auth_user (id),
        title varchar(200) NOT NULL, slug varchar(50) NOT NULL UNIQUE, status varchar(10) NOT NULL,
        published_at datetime NULL, views integer unsigned NOT NULL CHECK (views >= 0));
    CREATE TABLE blog_comment (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, post_id bigint NOT NULL REFERENCES blog_post (id),
        user_id integer NOT NULL REFERENCES auth_user (id), created datetime NOT NULL, body text NOT NULL,
        is_public bool NOT NULL);
    CREATE TABLE blog_tag (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, name varchar(50) NOT NULL UNIQUE);
    CREATE TABLE blog_post_tags (
        id integer NOT NULL PRIMARY KEY AUTOINCREMENT, post_id bigint NOT NULL, tag_id bigint NOT NULL,
        UNIQUE (post_id, tag_id));
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO auth_user SELECT i, 'user' || i, 'User' || i || '@example.com', i % 5 > 0, date('2020-01-01', i || ' days'),
        iif(i % 100 = 0, NULL, date('2024-01-01', (i % 365) || ' days')) FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    INSERT INTO blog_post SELECT i, 1 + i * 37 % 2000, 'Title ' || i, 'title-' || i,
        iif(i % 10 < 6, 'published', iif(i % 10 < 9, 'draft', 'hidden')),
        date('2015-01-01', (i * 7919 % 4000) || ' days'), i * 104729 % 100003 FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
    INSERT INTO blog_comment SELECT i, 1 + i * 7919 % 4000, 1 + i * 31 % 2000,
        datetime('2020-01-01', (i * 7907 % 30000) || ' hours'), 'A comment of some length, as people write them.', 1 FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO blog_tag SELECT i, 'tag' || i FROM n;
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 7999)
    INSERT INTO blog_post_tags SELECT i + 1, 1 + i / 2, 1 + (i * 31 + i / 2) % 200 FROM n;";

const RAILS: &str = "
    CREATE TABLE users (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, email varchar NOT NULL, created_at datetime(6) NOT NULL);
    CREATE TABLE orders (
        id integer PRIMARY KEY AUTOINCREMENT NOT NULL, user_id integer NOT NULL, state varchar NOT NULL, total decimal(10,2),
        placed_at datetime(6) NOT NULL, deleted_at datetime(6));
    CREATE INDEX index_orders_on_user_id ON orders (user_id);
    CREATE INDEX index_orders_live ON orders (placed_at) WHERE deleted_at IS NULL;
    CREATE TABLE line_items (
        id integer PRIMARY KEY AUTOINCREMENT NOT NULL, order_id integer NOT NULL, product_id integer NOT NULL, quantity integer);
    CREATE TABLE products (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, sku varchar, name varchar, category varchar);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO users SELECT i, 'u' || i || '@example.com', datetime('2020-01-01', i || ' hours') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO orders SELECT i, 1 + i * 37 % 2000, substr('new  paid open sent done ', 1 + 5 * (i % 5), 4), i % 1000,
        datetime('2020-01-01', (i * 7919 % 20000) || ' hours'), iif(i % 50 = 0, '2024-01-01', NULL) FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
    INSERT INTO line_items SELECT i, 1 + i * 7919 % 20000, 1 + i * 31 % 2000, 1 + i / 7 % 10 FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO products SELECT i, 'sku-' || i, 'Product ' || (i * 7919 % 2000), 'category ' || (i % 100) FROM n;";

const POCKETBASE: &str = "
    CREATE TABLE `users` (`id` TEXT PRIMARY KEY DEFAULT ('r'||lower(hex(randomblob(7)))) NOT NULL, `name` TEXT DEFAULT '' NOT NULL);
    CREATE TABLE `posts` (
        `id` TEXT PRIMARY KEY DEFAULT ('r'||lower(hex(randomblob(7)))) NOT NULL, `author` TEXT DEFAULT '' NOT NULL,
        `title` TEXT DEFAULT '' NOT NULL, `tags` JSON DEFAULT '[]' NOT NULL, `created` TEXT DEFAULT '' NOT NULL);
    CREATE TABLE `sessions` (`token` TEXT PRIMARY KEY, `user` TEXT NOT NULL, `expires` INTEGER NOT NULL) WITHOUT ROWID;
    CREATE VIEW `v_posts` AS SELECT p.id, p.title, u.name AS author_name FROM posts p JOIN users u ON u.id = p.author;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO users SELECT 'u' || i, 'Name ' || i FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO posts SELECT 'p' || i, 'u' || (1 + i * 37 % 500), 'Title ' || i, '{\"main\": \"t' || (i % 300) || '\"}',
        datetime('2020-01-01', (i * 7919 % 10000) || ' hours') FROM n;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO sessions SELECT hex(i * 7919), 'u' || (1 + i * 31 % 500), 1700000000 + i * 7907 % 10000 FROM n;";

/// A statement, and what is to be said: indexes in the order of the alphabet, or nothing. Without a name it is the shape
/// of a slow statement.
struct Case {
    slow: bool,
    sql: &'static str,
    indexes: &'static [&'static str],
}

const fn case(sql: &'static str, indexes: &'static [&'static str]) -> Case {
    Case { slow: false, sql, indexes }
}

const fn slow(sql: &'static str, indexes: &'static [&'static str]) -> Case {
    Case { slow: true, sql, indexes }
}

const NOTHING: &[&str] = &[];

const DJANGO_CASES: [Case; 20] = [
    case("SELECT * FROM blog_comment WHERE post_id = :p", &["blog_comment(post_id)"]),
    case(
        "SELECT * FROM blog_comment WHERE post_id = :p ORDER BY created DESC LIMIT 20",
        &["blog_comment(post_id, created)"],
    ),
    case("SELECT * FROM auth_user WHERE username = 'user5'", NOTHING),
    case("SELECT * FROM auth_user WHERE email = 'User5@example.com'", &["auth_user(email)"]),
    // Two values: the index would lead to most rows.
    case("SELECT * FROM auth_user WHERE is_active = 1", NOTHING),
    case(
        "SELECT * FROM blog_post WHERE status = 'published' ORDER BY published_at DESC LIMIT 10",
        &["blog_post(status, published_at)"],
    ),
    case(
        "SELECT p.*, u.username FROM blog_post p JOIN auth_user u ON u.id = p.author_id WHERE u.username = 'user77'",
        &["blog_post(author_id)"],
    ),
    // Reads all rows whatever happens.
    case(
        "SELECT t.name, count(*) FROM blog_post_tags pt JOIN blog_tag t ON t.id = pt.tag_id GROUP BY t.name",
        NOTHING,
    ),
    case(
        "SELECT p.* FROM blog_post p JOIN blog_post_tags pt ON pt.post_id = p.id WHERE pt.tag_id = :p",
        &["blog_post_tags(tag_id)"],
    ),
    // One in a hundred has none.
    case("SELECT * FROM auth_user WHERE last_login IS NULL", &["auth_user(last_login)"]),
    case("SELECT * FROM auth_user WHERE last_login IS NOT NULL", NOTHING),
    case("SELECT * FROM blog_post WHERE title LIKE '%sqlite%'", NOTHING),
    case("SELECT * FROM blog_post WHERE title LIKE 'title 77%'", &["blog_post(title COLLATE NOCASE)"]),
    case("SELECT * FROM auth_user WHERE lower(email) = 'user5@example.com'", &["auth_user(lower(email))"]),
    case(
        "SELECT * FROM blog_comment WHERE user_id = :user OR post_id = :p",
        &["blog_comment(post_id)", "blog_comment(user_id)"],
    ),
    case("SELECT * FROM blog_comment WHERE user_id IN (1, 2, 3)", &["blog_comment(user_id)"]),
    case(
        "SELECT count(*) FROM blog_comment WHERE created >= '2021-01-01' AND created < '2021-01-08'",
        &["blog_comment(created)"],
    ),
    case("SELECT max(created) FROM blog_comment", &["blog_comment(created)"]),
    case("SELECT * FROM blog_post ORDER BY views DESC LIMIT 10", &["blog_post(views)"]),
    case("SELECT * FROM blog_post WHERE status <> 'draft'", NOTHING),
];

const RAILS_CASES: [Case; 15] = [
    // Ten orders of a user: one column more is not worth it.
    case("SELECT * FROM orders WHERE user_id = :user AND state = 'paid'", NOTHING),
    case("SELECT * FROM orders WHERE deleted_at IS NULL AND placed_at >= '2022-04-01'", NOTHING),
    case("SELECT * FROM line_items WHERE order_id = :p", &["line_items(order_id)"]),
    case(
        "SELECT o.id, sum(l.quantity) FROM orders o JOIN line_items l ON l.order_id = o.id WHERE o.user_id = :user GROUP BY o.id",
        &["line_items(order_id)"],
    ),
    case(
        "SELECT * FROM users WHERE id IN (SELECT user_id FROM orders WHERE placed_at = '2021-01-01 05:00:00')",
        &["orders(placed_at)"],
    ),
    case("SELECT * FROM products WHERE category = 'category 7' ORDER BY name", &["products(category, name)"]),
    case("SELECT state, count(*) FROM orders GROUP BY state", NOTHING),
    case(
        "SELECT * FROM orders WHERE state = 'paid' ORDER BY placed_at DESC LIMIT 25 OFFSET 500",
        &["orders(state, placed_at)"],
    ),
    case(
        "SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND o.state = 'open')",
        NOTHING,
    ),
    case(
        "SELECT * FROM line_items WHERE product_id = :p AND quantity > 5",
        &["line_items(product_id, quantity)"],
    ),
    case(
        "SELECT * FROM users WHERE email = 'U5@EXAMPLE.COM' COLLATE NOCASE",
        &["users(email COLLATE NOCASE)"],
    ),
    case("SELECT * FROM orders WHERE total > 10", NOTHING),
    slow("DELETE FROM line_items WHERE order_id = ?", &["line_items(order_id)"]),
    slow("SELECT * FROM users WHERE email = ?", &["users(email)"]),
    slow("SELECT * FROM products WHERE sku IN (?, …)", &["products(sku)"]),
];

const POCKETBASE_CASES: [Case; 10] = [
    case("SELECT * FROM posts WHERE id = 'p5'", NOTHING),
    case(
        "SELECT * FROM posts WHERE author = 'u5' ORDER BY created DESC LIMIT 5",
        &["posts(author, created)"],
    ),
    case("SELECT * FROM sessions WHERE user = 'u5'", &["sessions(user)"]),
    case("SELECT * FROM sessions WHERE token = '1EEF'", NOTHING),
    // Nobody knows how many rows that leaves.
    slow("DELETE FROM sessions WHERE expires < ?", NOTHING),
    case("SELECT * FROM v_posts WHERE author_name = 'Name 5'", &["posts(author)", "users(name)"]),
    case(
        "SELECT * FROM posts WHERE json_extract(tags, '$.main') = 't5'",
        &["posts(json_extract(tags, '$.main'))"],
    ),
    case("SELECT * FROM posts WHERE title GLOB 'Title 12*'", &["posts(title)"]),
    // The users, who are all wanted, cost as much as what would be saved.
    case("SELECT name FROM users UNION ALL SELECT title FROM posts WHERE author = 'u5'", NOTHING),
    slow("UPDATE posts SET title = ? WHERE author = ?", &["posts(author)"]),
];

fn corpus() -> [(&'static str, &'static str, &'static [Case]); 3] {
    [
        ("Django", DJANGO, &DJANGO_CASES),
        ("Rails", RAILS, &RAILS_CASES),
        ("PocketBase", POCKETBASE, &POCKETBASE_CASES),
    ]
}

fn question(case: &Case) -> Question {
    if case.slow { Question::slow(case.sql, 3) } else { watched("it", case.sql) }
}

#[test]
fn each_query_of_the_corpus_gets_the_index_that_it_needs_and_only_that() {
    let mut wrong = Vec::new();
    for (name, schema, cases) in corpus() {
        let connection = database(schema);
        for case in cases {
            let advice = advise(&connection, &[question(case)]);
            let got = proposed(&advice);
            if got != case.indexes || !advice.unjudged.is_empty() {
                wrong.push(format!(
                    "{name}: {}\n  wanted {:?}\n  got    {got:?} {:?}",
                    case.sql, case.indexes, advice.unjudged
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is said must be so: the planner uses the index as soon as it is there, after ANALYZE, and the query takes a
/// tenth of the instructions.
#[test]
fn whatever_is_proposed_is_used_once_it_is_created_and_makes_its_query_ten_times_cheaper() {
    let mut proposals = 0;
    for (name, schema, cases) in corpus() {
        let connection = database(schema);
        for case in cases {
            let question = question(case);
            let advice = advise(&connection, std::slice::from_ref(&question));
            let sql = &case.sql.replace(", …", ", ?, ?");
            let savepoint = |sql: &str| connection.execute_batch(sql).unwrap();
            let before = (!case.slow).then(|| instructions(&connection, &question, sql));
            savepoint("SAVEPOINT before");
            for proposal in &advice.proposals {
                connection.execute_batch(&proposal.sql).unwrap();
            }
            let uses_all = |when: &str| {
                let plan = plan(&connection, sql);
                assert!(!serde_json::to_string(&advice).unwrap().contains("lk_tried"), "{advice:#?}");
                for proposal in &advice.proposals {
                    let is_used = plan.split_whitespace().any(|word| word == proposal.index);
                    assert!(is_used, "{name}, {when}: {sql} does not use {}:\n{plan}", proposal.sql);
                }
            };
            uses_all("created");
            if let Some(before) = before.filter(|_| !advice.proposals.is_empty()) {
                let after = instructions(&connection, &question, sql);
                assert!(before / after >= 10.0, "{name}: {sql}: {before} → {after}");
            }
            connection.execute_batch("ANALYZE").unwrap();
            uses_all("analyzed");
            proposals += advice.proposals.len();
            savepoint("ROLLBACK TO before; RELEASE before; ANALYZE sqlite_schema");
        }
    }
    assert!(proposals > 20, "{proposals}");
}

/// What the text of a query could say better: subject, and a part of the other text or of the advice. In each schema one
/// index more, for the queries here.
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
fn what_only_the_application_can_plan_is_named_with_the_reason() {
    let connection = database(&format!("{POCKETBASE} CREATE VIRTUAL TABLE search USING fts5 (title);
        CREATE TABLE labels (name TEXT);
        PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE labels (name TEXT COLLATE german)' WHERE name = 'labels';"));
    let cut = format!("SELECT {}", "a_long_name, ".repeat(200));
    let shape = litekeeper::queries::fingerprint::shape(&cut);
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

mod health {
    use super::execution;
    use crate::support::keeper::Keeper;
    use crate::support::sandbox::Sandbox;
    use crate::support::sql::edit;
    use chrono::{TimeDelta, Utc};
    use litekeeper::config::{Index, Missing};
    use litekeeper::jobs::health::Health;
    use litekeeper::state::facts::{INDEX_PROBLEMS, INDEX_USE, IndexUse, PLANS, Watched};
    use litekeeper::state::slow::{self, Execution};
    use litekeeper::state::status::Verdict;
    use std::collections::BTreeMap;

    async fn advised(keeper: &Keeper) -> Vec<(String, String)> {
        keeper.run(Health).await;
        assert_eq!(
            keeper.check("indexes").0,
            Verdict::Good,
            "advice is no fault: {}",
            keeper.check("indexes").1
        );
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
        assert_eq!(
            keeper.fact::<Vec<(String, String)>>(INDEX_PROBLEMS).unwrap(),
            pairs(&[("ours", "missing")])
        );
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
        let queries = |count: usize| -> BTreeMap<String, Watched> {
            let plan = |n: usize| match n % 3 {
                0 => "SEARCH u USING INDEX idx_users_name (name=?)",
                1 => "SCAN users",
                _ => "SEARCH attendance USING COVERING INDEX idx_attendance_user_date (user_id=?)",
            };
            let watched = |n| Watched { query: String::new(), plan: vec![plan(n).to_owned()] };
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
        known
            .queries
            .insert("query_3".to_owned(), ("another text".to_owned(), Utc::now() - TimeDelta::days(8)));
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
        let queries: BTreeMap<String, Watched> = (0..10)
            .map(|n| (format!("query_{n}"), Watched { query: String::new(), plan: vec![used.to_owned()] }))
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
}

mod command {
    use super::execution;
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
}
