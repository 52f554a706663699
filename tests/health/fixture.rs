//! A database to be checked, and what the checks said of it.

use crate::support::application;
use crate::support::keeper::Keeper;
use crate::support::sql::{self, edit};
use litekeeper::config::{Index, Missing};
use litekeeper::error::Error;
use litekeeper::jobs::runner::RunEnd;
use litekeeper::terms::Verdict;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(crate) const HEALTH_CHECKS: [&str; 4] = ["pool", "indexes", "table_sizes", "query_performance"];

pub(crate) const INTEGRITY_CHECKS: [&str; 2] = ["integrity", "foreign_keys"];

pub(crate) fn number(path: &Path, sql: &str) -> u64 {
    sql::value(path, sql)
}

/// The application as a program that brings its own collation and functions.
pub(crate) fn python(path: &Path, script: &str) {
    let setup = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.create_collation('german', lambda a, b: (a.lower() > b.lower()) - (a.lower() < b.lower()))
db.create_function('fold', 1, lambda text: text.lower(), deterministic=True)
";
    application::script(path, &format!("{setup}{script}\ndb.commit()"));
}

/// Bytes that are no page, over a page of a file that is closed.
pub(crate) fn overwrite_page(path: &Path, page: u64) {
    let size = number(path, "PRAGMA page_size");
    edit(path, "PRAGMA wal_checkpoint(TRUNCATE)");
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0xA5; usize::try_from(size).unwrap()], (page - 1) * size).unwrap();
}

pub(crate) fn findings(finished: &RunEnd) -> &[Error] {
    &finished.result.as_ref().unwrap().findings
}

pub(crate) fn problems(finished: &RunEnd) -> &[Error] {
    &finished.result.as_ref().unwrap().problems
}

#[track_caller]
pub(crate) fn assert_verdict(keeper: &Keeper, name: &str, expected: Verdict, words: &[&str]) {
    let (verdict, detail) = keeper.check(name);
    assert_eq!(verdict, expected, "{name}: {detail}");
    for word in words {
        assert!(detail.contains(word), "{word:?} is not in {detail:?}");
    }
}

pub(crate) fn declare(keeper: &mut Keeper, name: &str, table: &str, columns: &[&str]) {
    keeper.database.indexes.push(Index {
        name: name.to_owned(),
        table: table.to_owned(),
        columns: columns.iter().map(|&c| c.to_owned()).collect(),
        missing: Missing::Report,
    });
}

/// 500 articles, and an index of their words beside them.
pub(crate) const ARTICLES: &str = "
    CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO articles SELECT i, 'running title ' || i FROM n;
    CREATE VIRTUAL TABLE words USING fts5 (title, tokenize = ascii, content = articles, content_rowid = id);
    INSERT INTO words (words) VALUES ('rebuild');";
