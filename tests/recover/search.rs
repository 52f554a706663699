//! Full-text tables and R*Trees of a new file, whose content lost rows: with the real binary.

use super::commands::{configured, expect, leaves, overwrite, recover, rows, target};
use crate::support::sandbox::Sandbox;
use rusqlite::Connection;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

/// 500 articles, an index of their words, and one of the leaf pages lost.
fn damaged(sandbox: &Sandbox, index: &str) -> PathBuf {
    let path = sandbox.data().join("search.sqlite");
    let _ = std::fs::remove_file(&path);
    let sql = format!(
        "CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT, body TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO articles SELECT i, 'running title ' || i, 'some words of an article that is about nothing' FROM n;
         {index}"
    );
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    let lost = leaves(&path, "articles")[2];
    overwrite(&path, lost, 0xa5);
    path
}

fn recovered(sandbox: &Sandbox, path: &Path) -> (Output, Value) {
    let _ = std::fs::remove_file(target(sandbox));
    recover(sandbox, &["--file", path.to_str().unwrap()])
}

/// How many a search finds, or what is wrong with it.
fn found(sandbox: &Sandbox) -> Result<i64, String> {
    let connection = Connection::open(target(sandbox)).unwrap();
    let sql = "SELECT count(title) FROM (SELECT title FROM words WHERE words MATCH 'running')";
    connection.query_row(sql, [], |row| row.get(0)).map_err(|e| e.to_string())
}

#[test]
fn a_full_text_table_whose_content_lost_rows_is_made_anew() {
    let sandbox = configured(&[]);
    for index in [
        "CREATE VIRTUAL TABLE words USING fts5 (title, body, content = articles, content_rowid = id);",
        "CREATE VIRTUAL TABLE words USING fts5 (title, body, tokenize = 'porter ascii', content = articles, content_rowid = id);",
        "CREATE VIRTUAL TABLE words USING fts4 (title, body, content=\"articles\");",
    ] {
        let path = damaged(&sandbox, &format!("{index} INSERT INTO words (words) VALUES ('rebuild');"));
        let outcome = recovered(&sandbox, &path);
        expect(&outcome, 3, "salvaged");
        assert_eq!(outcome.1["detail"]["rebuilt_search"], serde_json::json!(["words"]), "{:#}", outcome.1);
        let left = rows(&target(&sandbox), "articles");
        assert!((400..500).contains(&left));
        assert_eq!(found(&sandbox), Ok(left), "{index}");
        assert_eq!(outcome.1["problems"].as_array().unwrap().len(), 1, "{:#}", outcome.1);
    }
}

/// Under the name of one of SQLite's: the words of every row are others than those that SQLite
/// would find.
#[test]
fn h34_what_a_tokenizer_of_the_application_made_is_named_and_left_as_it_is() {
    let sandbox = configured(&[]);
    for (by, said) in [("trigram", "unicode61"), ("trigram", "not_known")] {
        let index = format!(
            "CREATE VIRTUAL TABLE words USING fts5 (title, body, tokenize = {by}, content = articles, content_rowid = id);
             INSERT INTO words (words) VALUES ('rebuild');
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, '{by}', '{said}') WHERE name = 'words';"
        );
        let path = damaged(&sandbox, &index);
        let outcome = recovered(&sandbox, &path);
        expect(&outcome, 3, "salvaged");
        assert_eq!(outcome.1["detail"].get("rebuilt_search"), None, "{:#}", outcome.1);
        let unchecked = outcome.1["detail"]["unchecked"].to_string();
        assert!(unchecked.contains("words") && unchecked.contains("'rebuild'"), "{said}: {unchecked}");
        // As it was: with the words of the lost rows as well.
        assert_eq!(rows(&target(&sandbox), "words_docsize"), 500);
    }
}

#[test]
fn what_only_the_application_can_fill_again_is_named_where_rows_are_lost() {
    let sandbox = configured(&[]);
    let path = damaged(
        &sandbox,
        "CREATE VIRTUAL TABLE bare USING fts5 (title, content = '');
         INSERT INTO bare (rowid, title) SELECT id, title FROM articles;
         CREATE VIRTUAL TABLE places USING rtree (id, low, high);
         INSERT INTO places SELECT id, id, id + 1 FROM articles;",
    );
    let outcome = recovered(&sandbox, &path);
    expect(&outcome, 3, "salvaged");
    let warnings = outcome.1["detail"]["warnings"].to_string();
    assert!(warnings.contains("the R*Tree places may still have rows"), "{warnings}");
    assert!(warnings.contains("the full-text table without content bare may still"), "{warnings}");
}

#[test]
fn an_r_tree_that_does_not_fit_together_is_named_with_what_mends_it() {
    let sandbox = configured(&[]);
    let path = damaged(
        &sandbox,
        "CREATE VIRTUAL TABLE places USING rtree (id, low, high);
         INSERT INTO places SELECT id, id, id + 1 FROM articles;
         DELETE FROM places_rowid WHERE rowid > 490;",
    );
    let outcome = recovered(&sandbox, &path);
    expect(&outcome, 12, "salvaged");
    let problems = outcome.1["problems"].to_string();
    assert!(problems.contains("In RTree places") || problems.contains("In RTree main.places"), "{problems}");
    assert!(problems.contains("have the application fill it again"), "{problems}");
}
