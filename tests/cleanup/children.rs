//! What points at a row that goes: a rule keeps what is within its retention by whatever way it is
//! reached, and says what each choice would do.

use std::path::PathBuf;

use litekeeper::config::{ArchiveFormat, Rule, Triggers};
use litekeeper::error::Reason;
use litekeeper::jobs::runner::RunEnd;
use litekeeper::terms::Outcome;
use serde_json::json;

use super::fixture::{ORPHANS, Place, cascade, database, detail, hundred_rows, message, rule, unlink};

/// Revisions, of which 1 to 40 are old, and 50 pages that point at the first 50 of them.
fn pages(reference: &str, more: &str) -> Place {
    Place::new(&format!(
        "CREATE TABLE revision(id INTEGER PRIMARY KEY, at TEXT); {} \
         CREATE TABLE page(id INTEGER PRIMARY KEY, latest {reference}); CREATE INDEX l ON page(latest); \
         INSERT INTO page SELECT id, id FROM revision WHERE id <= 50; {more}",
        hundred_rows("revision", "date(j)")
    ))
}

fn untouched(place: &Place) {
    assert_eq!(place.numbers("SELECT count(*) FROM revision UNION ALL SELECT count(*) FROM page"), [100, 50]);
    assert_eq!(place.number("SELECT count(*) FROM page WHERE latest IS id"), 50);
}

fn succeeded(finished: &RunEnd) {
    assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
}

#[tokio::test]
async fn h33_unlinks_what_stays_whatever_the_schema_does_on_delete() {
    for action in
        ["", "ON DELETE CASCADE", "ON DELETE RESTRICT", "ON DELETE SET NULL", "DEFERRABLE INITIALLY DEFERRED"]
    {
        let place = pages(&format!("INTEGER REFERENCES revision {action}"), "");
        let preview = place.preview(vec![unlink("revision")]).await;
        untouched(&place);
        let finished = place.run(vec![unlink("revision")]).await;
        for (finished, verb) in [(&preview, "would remove"), (&finished, "removed")] {
            succeeded(finished);
            assert_eq!(detail(finished)["removed"], 40);
            assert_eq!(detail(finished)["children"], json!({ "page": { "removed": 0, "changed": 40 } }));
            let summary = &finished.result.as_ref().unwrap().summary;
            assert!(summary.starts_with(&format!("{verb} 40 rows older than 20")), "{summary}");
            assert!(summary.ends_with("from revision (unlinking 40 rows of page)"), "{summary}");
        }
        let after = "SELECT count(*) FROM page UNION ALL SELECT count(*) FROM page WHERE latest = id \
                     UNION ALL SELECT count(*) FROM page WHERE latest IS NULL";
        assert_eq!(place.numbers(after), [50, 10, 40], "{action}");
        assert_eq!(place.number(ORPHANS), 0);
    }
}

#[tokio::test]
async fn h33_cascade_is_proposed_only_where_the_schema_says_on_delete_cascade() {
    for (reference, unlinks, cascades) in [
        ("INTEGER REFERENCES revision", true, false),
        ("INTEGER REFERENCES revision ON DELETE RESTRICT", true, false),
        ("INTEGER REFERENCES revision ON DELETE SET NULL", true, false),
        ("INTEGER REFERENCES revision ON DELETE CASCADE", true, true),
        ("INTEGER NOT NULL REFERENCES revision", false, false),
        ("INTEGER NOT NULL REFERENCES revision ON DELETE CASCADE", false, true),
    ] {
        let place = pages(reference, "");
        let (reason, text) = message(&place.run(vec![rule("revision")]).await);
        assert_eq!(reason, Reason::Refused);
        assert!(text.contains("40 rows of page (page.latest) point at rows that would go"), "{text}");
        assert_eq!(text.contains("children = \"unlink\""), unlinks, "{reference}: {text}");
        assert_eq!(text.contains("children = \"cascade\""), cascades, "{reference}: {text}");
        assert_eq!(text.contains("page.latest cannot be NULL"), !unlinks, "{reference}: {text}");
        if !reference.contains("SET NULL") {
            assert!(text.contains("40 of 50 rows of page"), "{reference}: {text}");
        }
        untouched(&place);
    }
    // Not where a cascade would go on to what the schema does not remove, in another table …
    let more = "CREATE TABLE menu(page INTEGER NOT NULL REFERENCES page); INSERT INTO menu VALUES (7), (45);";
    let place = pages("INTEGER NOT NULL REFERENCES revision ON DELETE CASCADE", more);
    let (_, text) = message(&place.run(vec![rule("revision")]).await);
    assert!(text.contains("1 of 2 rows of menu and 40 of 50 rows of page"), "{text}");
    assert!(!text.contains("children = "), "{text}");
    // … but where it does not come that far.
    place.open().execute("UPDATE menu SET page = 45", []).unwrap();
    let (_, text) = message(&place.run(vec![rule("revision")]).await);
    assert!(text.contains("children = \"cascade\""), "{text}");
}

/// 1,000 states, of which 1 to 600 are old, each of which but the first points at the one before
/// it.
fn chain() -> Place {
    Place::new(
        "CREATE TABLE states(id INTEGER PRIMARY KEY, at TEXT, old INTEGER REFERENCES states); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO states \
         SELECT i, date('now', '-' || CASE WHEN i <= 600 THEN 1400 - i ELSE (1000 - i) / 4 END || ' days'), nullif(i - 1, 0) \
         FROM n; CREATE INDEX a ON states(at); CREATE INDEX o ON states(old);",
    )
}

fn kept(place: &Place) {
    let left = place.numbers("SELECT id FROM states WHERE id > 600 ORDER BY id");
    assert_eq!(left, (601..=1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn h33_rows_within_retention_stay_though_they_point_at_old_ones() {
    for (children, archive) in [
        (unlink as fn(&str) -> Rule, false),
        (unlink, true),
        (cascade, false),
        (rule as fn(&str) -> Rule, false),
    ] {
        let place = chain();
        let mut by = children("states");
        if archive {
            by.archive = Some(ArchiveFormat::Sqlite);
            by.archive_dir = Some(place.directory.path().join("archive"));
        }
        let unlinks = by.children == litekeeper::config::Children::Unlink;
        let preview = place.preview(vec![by.clone()]).await;
        // In batches that shrink to single rows.
        let mut small = database(&place.path(), vec![by.clone()]);
        small.cleanup.batch_target = std::time::Duration::from_nanos(1);
        let finished = place.run_as(small, false).await;
        kept(&place);
        assert_eq!(place.number(ORPHANS), 0);
        if !unlinks {
            let (reason, text) = message(&finished);
            assert_eq!(reason, Reason::Refused);
            assert!(
                text.contains("1 row of states within retention (states.old) points at rows that"),
                "{text}"
            );
            assert!(
                text.contains("children = \"unlink\"") && !text.contains("children = \"cascade\""),
                "{text}"
            );
            assert_eq!(place.number("SELECT count(*) FROM states WHERE id <= 600"), 600);
            continue;
        }
        for finished in [&preview, &finished] {
            succeeded(finished);
            assert_eq!(
                (&detail(finished)["matched"], &detail(finished)["removed"]),
                (&json!(600), &json!(600))
            );
            assert_eq!(detail(finished)["unlinked"], 1, "{:?}", detail(finished));
            assert_eq!(detail(finished)["children"], json!({}));
        }
        assert_eq!(place.number("SELECT count(*) FROM states WHERE id <= 600"), 0);
        assert_eq!(place.numbers("SELECT id FROM states WHERE old IS NULL"), [601]);
        if archive {
            let [file]: [PathBuf; 1] = crate::archive::files(&place).try_into().unwrap();
            let links =
                "SELECT count(*) FROM states UNION ALL SELECT count(*) FROM states WHERE old = id - 1";
            let archive = rusqlite::Connection::open(file).unwrap();
            let mut links = archive.prepare(links).unwrap();
            let found: Vec<i64> =
                links.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            assert_eq!(found, [600, 599], "an archived row is as it was, and none that stays is among them");
            assert_eq!(detail(&finished)["archived"], 600);
            // Not all in one transaction, however long the chain is.
            assert!(detail(&finished)["batches"].as_u64().unwrap() > 3, "{:?}", detail(&finished));
        }
    }
}

#[tokio::test]
async fn h33_a_cascade_never_comes_back_to_rows_that_the_rule_keeps() {
    // A post's answers go with it; newer posts point at an answer.
    let posts = |reference: &str| {
        Place::new(&format!(
            "CREATE TABLE post(id INTEGER PRIMARY KEY, at TEXT, best {reference}); {} \
             CREATE TABLE answer(id INTEGER PRIMARY KEY, post INTEGER REFERENCES post ON DELETE CASCADE); \
             INSERT INTO answer SELECT id, id FROM post WHERE id <= 45; \
             UPDATE post SET best = 7 WHERE id IN (7, 8, 71, 72);",
            hundred_rows("post", "date(j)")
        ))
    };
    let place = posts("INTEGER REFERENCES answer ON DELETE CASCADE");
    for by in [rule("post"), cascade("post")] {
        let (reason, text) = message(&place.run(vec![by]).await);
        assert_eq!(reason, Reason::Refused);
        assert!(text.contains("2 rows of post within retention"), "{text}");
        assert!(!text.contains("children = \"cascade\""), "{text}");
        assert_eq!(
            place.numbers("SELECT count(*) FROM post UNION ALL SELECT count(*) FROM answer"),
            [100, 45]
        );
    }
    succeeded(&place.run(vec![unlink("post")]).await);
    assert_eq!(place.numbers("SELECT count(*) FROM post UNION ALL SELECT count(*) FROM answer"), [60, 45]);
    assert_eq!(place.numbers("SELECT id FROM post WHERE best = 7"), [71, 72]);
    // Where the schema itself unlinks them, a cascade does.
    let place = posts("INTEGER REFERENCES answer ON DELETE SET NULL");
    let finished = place.run(vec![cascade("post")]).await;
    succeeded(&finished);
    assert_eq!((&detail(&finished)["removed"], &detail(&finished)["unlinked"]), (&json!(40), &json!(2)));
    assert_eq!(detail(&finished)["children"], json!({ "answer": { "removed": 40, "changed": 0 } }));
    assert!(finished.result.as_ref().unwrap().summary.contains("and with them 40 rows of answer"));
    assert_eq!(place.numbers("SELECT count(*) FROM post UNION ALL SELECT count(*) FROM answer"), [60, 5]);
    assert_eq!(place.number(ORPHANS), 0);
}

#[tokio::test]
async fn h33_a_key_that_cannot_be_null_is_not_unlinked_and_the_refusal_says_why() {
    for (child, says) in [
        ("(id INTEGER PRIMARY KEY, r INTEGER NOT NULL REFERENCES revision)", "child.r cannot be NULL"),
        ("(r INTEGER PRIMARY KEY REFERENCES revision)", "child.r cannot be NULL"),
        (
            "(r INTEGER, s TEXT, PRIMARY KEY (s, r), FOREIGN KEY (r) REFERENCES revision) WITHOUT ROWID",
            "child.r cannot be NULL",
        ),
        ("(r INTEGER REFERENCES revision, s TEXT, PRIMARY KEY (r, s))", "child.r cannot be NULL"),
        ("(s INTEGER, r INTEGER AS (s) REFERENCES revision)", "child.r cannot be NULL"),
        ("(r INTEGER NOT NULL REFERENCES revision ON DELETE SET NULL)", "child.r cannot be NULL"),
        (
            "(r INTEGER NOT NULL REFERENCES revision ON DELETE SET DEFAULT)",
            "child.r cannot be NULL and has no default",
        ),
        (
            "(r INTEGER UNIQUE REFERENCES revision); CREATE TABLE grandchild(r REFERENCES child(r))",
            "child.r cannot be changed, as rows of grandchild point at it",
        ),
    ] {
        let column = if child.contains("AS (s)") { "s" } else { "r" };
        let rest = if child.contains("s TEXT") { ", s) SELECT 7, 'x'" } else { ") SELECT 7" };
        let place =
            pages("INTEGER", &format!("CREATE TABLE child{child}; INSERT INTO child({column}{rest};"));
        let preview = place.preview(vec![unlink("revision")]).await;
        let problems = &preview.result.as_ref().unwrap().problems;
        assert!(problems[0].message.contains(says), "{child}: {problems:?}");
        let (reason, text) = message(&place.run(vec![unlink("revision")]).await);
        assert_eq!(reason, Reason::Refused);
        assert!(
            text.contains("1 row of child (child.r) points at rows that would go") && text.contains(says),
            "{text}"
        );
        untouched(&place);
        // Said as soon as it can be known, before such a row is there.
        place.open().execute("DELETE FROM child", []).unwrap();
        let finished = place.run(vec![unlink("revision")]).await;
        succeeded(&finished);
        assert!(detail(&finished)["advice"].to_string().contains(says), "{:?}", detail(&finished));
    }
}

#[tokio::test]
async fn h33_of_a_composite_key_what_may_be_null_becomes_null_and_no_other_key_is_touched() {
    for (child, left) in [
        // The shop may not be NULL.
        (
            "shop INTEGER NOT NULL, visit INTEGER, FOREIGN KEY (shop, visit) REFERENCES visit(shop, id)",
            "shop = 1 AND visit IS NULL",
        ),
        // The shop is a key of its own.
        (
            "shop INTEGER REFERENCES shops, visit INTEGER, FOREIGN KEY (shop, visit) REFERENCES visit(shop, id)",
            "shop = 1 AND visit IS NULL",
        ),
        (
            "shop INTEGER, visit INTEGER, FOREIGN KEY (shop, visit) REFERENCES visit(shop, id)",
            "shop IS NULL AND visit IS NULL",
        ),
    ] {
        let place = Place::new(&format!(
            "CREATE TABLE shops(id INTEGER PRIMARY KEY); INSERT INTO shops VALUES (1); \
             CREATE TABLE visit(id INTEGER PRIMARY KEY, at TEXT, shop INTEGER DEFAULT 1, UNIQUE (shop, id)); {} \
             CREATE TABLE bill(id INTEGER PRIMARY KEY, {child}); \
             INSERT INTO bill SELECT id, 1, id FROM visit WHERE id > 30 AND id <= 50;",
            hundred_rows("visit", "date(j)")
        ));
        let finished = place.run(vec![unlink("visit")]).await;
        succeeded(&finished);
        assert_eq!(detail(&finished)["children"]["bill"]["changed"], 10);
        assert_eq!(place.number("SELECT count(*) FROM bill WHERE shop = 1 AND visit = id"), 10);
        assert_eq!(
            place.number(&format!("SELECT count(*) FROM bill WHERE id <= 40 AND {left}")),
            10,
            "{child}"
        );
        assert_eq!(place.number(ORPHANS), 0);
    }
}

#[tokio::test]
async fn h33_a_check_that_forbids_null_rolls_the_batch_back() {
    // Of a row behind those that are tried beforehand.
    let place = pages("INTEGER REFERENCES revision CHECK (latest IS NOT NULL OR id < 20)", "");
    let (_, text) = message(&place.run(vec![unlink("revision")]).await);
    assert!(text.contains("page.latest cannot be changed") && text.contains("CHECK"), "{text}");
    untouched(&place);
}

#[tokio::test]
async fn h15_a_trigger_on_update_fires_where_a_row_is_unlinked_only_if_the_rule_allows_it() {
    let place = pages(
        "INTEGER REFERENCES revision",
        "CREATE TABLE told(n); CREATE TRIGGER t AFTER UPDATE OF latest ON page BEGIN INSERT INTO told VALUES (new.id); END; \
         CREATE TRIGGER other AFTER UPDATE OF id ON page BEGIN SELECT RAISE(ABORT, 'no'); END;",
    );
    let (_, text) = message(&place.run(vec![unlink("revision")]).await);
    assert!(text.contains("page (on UPDATE)") && text.contains("triggers = \"allow\""), "{text}");
    untouched(&place);
    let finished = place.run(vec![Rule { triggers: Triggers::Allow, ..unlink("revision") }]).await;
    succeeded(&finished);
    assert_eq!(place.number("SELECT count(*) FROM told"), 40);
}

#[tokio::test]
async fn h28_a_share_of_another_table_is_not_said_to_be_old() {
    let place = pages("INTEGER REFERENCES revision ON DELETE CASCADE", "");
    let mut limited = database(&place.path(), vec![cascade("revision")]);
    limited.cleanup.max_share = 0.5;
    let (_, text) = message(&place.run_as(limited, false).await);
    assert!(
        text.contains(
            "40 of 50 rows of page (80%) would be removed with rows of revision that are older than"
        ),
        "{text}"
    );
    untouched(&place);
}
