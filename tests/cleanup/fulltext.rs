//! What only the application can read as it was written: full-text tables that a rule's deletes
//! would reach by triggers, asked first, without keeping anybody from writing; and indexes in the
//! order of its own collation.

use std::time::Duration;

use litekeeper::config::{Rule, Triggers};
use litekeeper::error::Reason;
use litekeeper::jobs::runner::RunEnd;
use litekeeper::terms::Outcome;

use super::fixture::{Place, database, hundred_rows, message, rule, unlink};
use crate::support::application::script;

/// 100 notes, of which 40 are old, and a full-text table of them, made by the tokenizer `porter`.
/// `said` takes its place in the schema, as a tokenizer of the application's takes the place of
/// SQLite's.
fn notes(module: &str, said: &str, triggers: &str) -> Place {
    let place = Place::new(&format!(
        "CREATE TABLE notes(id INTEGER PRIMARY KEY, at TEXT, text TEXT); {} \
         UPDATE notes SET text = 'some words and running texts of number ' || id; \
         CREATE VIRTUAL TABLE search USING {module}; {triggers}",
        hundred_rows("notes", "date(j)")
    ));
    let fill = if module.contains("content=notes") {
        "INSERT INTO search(search) VALUES ('rebuild')"
    } else {
        "INSERT INTO search(rowid, text) SELECT id, text FROM notes"
    };
    place.open().execute_batch(fill).unwrap();
    assert!(module.contains("porter"), "{module}");
    place
        .open()
        .execute_batch(&format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'porter', '{said}') \
             WHERE name = 'search' AND '{said}' <> ''; PRAGMA writable_schema = RESET"
        ))
        .unwrap();
    place
}

async fn run(place: &Place) -> RunEnd {
    place.run(vec![Rule { triggers: Triggers::Allow, ..rule("notes") }]).await
}

const BESIDE: &str = "fts5(text, content=notes, content_rowid=id, tokenize='porter')";
const COMMAND: &str = "CREATE TRIGGER d AFTER DELETE ON notes BEGIN \
    INSERT INTO search(search, rowid, text) VALUES ('delete', old.id, old.text); END;";
const DELETE: &str =
    "CREATE TRIGGER d BEFORE DELETE ON notes BEGIN DELETE FROM search WHERE rowid = old.id; END;";
const DELETE_4: &str =
    "CREATE TRIGGER d BEFORE DELETE ON notes BEGIN DELETE FROM search WHERE docid = old.id; END;";
/// By a table in between.
const INDIRECT: &str = "CREATE TABLE gone(id INTEGER, text TEXT); \
    CREATE TRIGGER d AFTER DELETE ON notes BEGIN INSERT INTO gone VALUES (old.id, old.text); END; \
    CREATE TRIGGER e AFTER INSERT ON gone BEGIN \
    INSERT INTO search(search, rowid, text) VALUES ('delete', new.id, new.text); END;";

#[tokio::test]
async fn h34_a_full_text_table_of_another_tokenizer_is_left_alone_and_so_are_the_rows() {
    for (module, triggers, said) in [
        (BESIDE, COMMAND, "unicode61"),
        (BESIDE, DELETE, "unicode61"),
        (BESIDE, INDIRECT, "unicode61"),
        ("fts5(text, tokenize='porter')", DELETE, "unicode61"),
        ("fts4(text, content=notes, tokenize=porter)", DELETE_4, "simple"),
        ("fts4(text, tokenize=porter)", DELETE_4, "simple"),
    ] {
        // The tokenizer that made it: all goes well.
        let place = notes(module, "porter", triggers);
        let finished = run(&place).await;
        assert_eq!(finished.outcome, Outcome::Success, "{module} {triggers}: {:?}", finished.result);
        assert_eq!(place.number("SELECT count(*) FROM notes"), 60);
        assert_eq!(place.number("SELECT count(*) FROM search WHERE search MATCH 'words'"), 60);

        let place = notes(module, said, triggers);
        let preview = place.preview(vec![Rule { triggers: Triggers::Allow, ..rule("notes") }]).await;
        assert_eq!(preview.outcome, Outcome::Failure, "{module} {triggers}");
        let (reason, text) = message(&run(&place).await);
        assert_eq!(reason, Reason::Refused, "{text}");
        assert!(text.contains("the full-text table search") && text.contains("tokenizer"), "{text}");
        assert_eq!(place.number("SELECT count(*) FROM notes"), 100);
        // The application, with its own, finds all of it in order.
        let own = place.open();
        own.execute_batch(&format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '{said}', 'porter') \
             WHERE name = 'search'; PRAGMA writable_schema = RESET"
        ))
        .unwrap();
        let columns = if module.starts_with("fts5") {
            "(search, rank) VALUES ('integrity-check', 1)"
        } else {
            "(search) VALUES ('integrity-check')"
        };
        own.execute_batch(&format!("INSERT INTO search{columns}")).unwrap();
    }
}

#[tokio::test]
async fn h34_what_cannot_be_compared_is_not_written_to() {
    // Nothing is stored that the index could be compared with.
    let place = notes("fts5(text, content='', tokenize='porter')", "porter", COMMAND);
    let (reason, text) = message(&run(&place).await);
    assert_eq!(reason, Reason::Refused);
    assert!(text.contains("its content is not stored"), "{text}");
    // Where a row is forgotten by its number, no word of it is asked for.
    let place = notes("fts5(text, content='', contentless_delete=1, tokenize='porter')", "porter", DELETE);
    assert_eq!(run(&place).await.outcome, Outcome::Success);
    // A tokenizer that only the application has.
    for (module, triggers) in [
        (BESIDE, COMMAND),
        (BESIDE, DELETE),
        (BESIDE, INDIRECT),
        ("fts5(text, tokenize='porter')", DELETE),
        ("fts4(text, content=notes, tokenize=porter)", DELETE_4),
        ("fts4(text, tokenize=porter)", DELETE_4),
    ] {
        let place = notes(module, "calibre", triggers);
        let (reason, text) = message(&run(&place).await);
        assert_eq!(reason, Reason::Unsupported, "{text}");
        assert!(text.contains("calibre") && text.contains("only the application has"), "{text}");
        assert_eq!(place.number("SELECT count(*) FROM notes"), 100);
    }
}

#[tokio::test]
async fn h34_an_unlinked_row_reaches_full_text_tables_as_well() {
    let made = |said: &str| {
        let place = notes(BESIDE, said, COMMAND);
        place
            .open()
            .execute_batch(
                "CREATE TABLE author(id INTEGER PRIMARY KEY, at TEXT); INSERT INTO author VALUES (1, '2001-01-01'); \
                 ALTER TABLE notes ADD COLUMN author INTEGER REFERENCES author; UPDATE notes SET author = 1 WHERE id = 5; \
                 CREATE TRIGGER u AFTER UPDATE ON notes BEGIN \
                   INSERT INTO search(search, rowid, text) VALUES ('delete', old.id, old.text); \
                   INSERT INTO search(rowid, text) VALUES (new.id, new.text); END;",
            )
            .unwrap();
        place
    };
    let by = || vec![Rule { triggers: Triggers::Allow, ..unlink("author") }];
    let place = made("unicode61");
    let (reason, text) = message(&place.run(by()).await);
    assert_eq!(reason, Reason::Refused);
    assert!(text.contains("the full-text table search"), "{text}");
    assert_eq!(place.number("SELECT count(*) FROM notes WHERE author = 1"), 1);
    let place = made("porter");
    assert_eq!(place.run(by()).await.outcome, Outcome::Success);
    assert_eq!(place.number("SELECT count(*) FROM notes WHERE author IS NULL"), 100);
}

/// All the while somebody else has the write lock, and a preview waits for none.
#[tokio::test]
async fn h34_asking_takes_no_write_lock_and_leaves_nothing_behind() {
    for (said, outcome) in [("porter", Outcome::Success), ("unicode61", Outcome::Failure)] {
        let place = notes(BESIDE, said, COMMAND);
        let writer = place.open();
        writer.execute_batch("BEGIN IMMEDIATE; UPDATE notes SET text = 'other' WHERE id = 99").unwrap();
        // The second one asks on the same connection: what the first left there would be in its
        // way.
        let by = Rule { triggers: Triggers::Allow, ..rule("notes") };
        let mut database = database(&place.path(), vec![by.clone(), by]);
        database.pool.busy_timeout = Duration::ZERO;
        let finished = place.run_as(database, true).await;
        let problems = &finished.result.as_ref().unwrap().problems;
        assert_eq!(finished.outcome, outcome, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.message.contains("does not agree")), "{problems:?}");
        writer.execute_batch("ROLLBACK").unwrap();
    }
}

/// The application has a collation of its own under SQLite's name, and its index is in that order.
#[tokio::test]
async fn h34_an_index_in_the_order_of_the_applications_own_collation_is_no_damage() {
    let place = Place::new(&format!(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at TEXT, name TEXT COLLATE NOCASE); {} \
         UPDATE log SET name = 'name ' || (id * 37 % 100);",
        hundred_rows("log", "date(j)")
    ));
    let index = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
        c.create_collation('NOCASE', lambda a, b: (a < b) - (a > b)); \
        c.execute('CREATE INDEX n ON log(name)'); c.close()";
    script(&place.path(), index);
    let (reason, text) = message(&place.run(vec![rule("log")]).await);
    assert_eq!(reason, Reason::Refused, "{text}");
    assert!(text.contains("an index of log") && text.contains("a collation of its own"), "{text}");
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);
    // Damage would have stopped every other rule as well.
    place.open().execute_batch("CREATE TABLE other(id INTEGER PRIMARY KEY, at TEXT); INSERT INTO other(at) VALUES ('2001-01-01')").unwrap();
    place.run(vec![rule("log"), rule("other")]).await;
    assert_eq!(place.number("SELECT count(*) FROM other"), 0);
}
