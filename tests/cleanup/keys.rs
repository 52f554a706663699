//! Rows of other tables that point at one that goes: refused, cascaded, or let go, as the rule and
//! the schema say (HAZARDS H14).

use super::fixture::{ORPHANS, Place, cascade, detail, hundred_rows, message, users};

pub(crate) use crate::support::configured::rule;
use litekeeper::error::Reason;
use litekeeper::terms::Outcome;

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
    // 70 answers an old post; 71 points at the answer of an old one, and 72 at 71. 39 is old
    // itself.
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
