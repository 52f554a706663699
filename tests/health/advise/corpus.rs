//! Schemas as frameworks make them, and queries as they send them: each gets the index that it
//! needs, and only that.

use super::fixture::{advise, database, instructions, plan, proposed, watched};
use super::schemas::{DJANGO, POCKETBASE, RAILS};

use litekeeper::advice::Question;

/// A statement, and what is to be said: indexes in the order of the alphabet, or nothing. Without a
/// name it is the shape of a slow statement.
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

/// What is said must be so: the planner uses the index as soon as it is there, after ANALYZE, and
/// the query takes a tenth of the instructions.
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
