//! Tables that need what only their application has: their structure is checked all the same, and
//! what that cannot tell is said.

use super::fixture::{number, python};
use crate::support::sandbox::{Sandbox, said};
use crate::support::sql::edit;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Output;

/// Each of these tables is one that no check of SQLite's begins with without the application.
const TABLES: &str = "
db.executescript('''
    CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT COLLATE german, born TEXT);
    CREATE INDEX by_name ON people (name);
    CREATE INDEX by_born ON people (born);
    CREATE TABLE keyed (k TEXT COLLATE german PRIMARY KEY, v, w) WITHOUT ROWID;
    CREATE INDEX keyed_v ON keyed (v);
    CREATE TABLE towns (id INTEGER PRIMARY KEY, name TEXT NOT NULL, n INTEGER,
      g TEXT NOT NULL AS (fold(name)) VIRTUAL, s TEXT AS (fold(name)) STORED, CHECK (fold(name) <> 'x'));
    CREATE INDEX by_expression ON towns (fold(name));
    CREATE INDEX by_generated ON towns (g);
    CREATE INDEX by_stored ON towns (s);
    CREATE INDEX some ON towns (n) WHERE fold(name) > 'm';
''')
import random
random.seed(3)
def words():
    for i in range(2000):
        yield ''.join(random.choice('abcdeFGHIJ') for _ in range(8)) + str(i), i
for name, i in words():
    db.execute('INSERT INTO people (name, born) VALUES (?, ?)', (name, i))
    db.execute('INSERT INTO keyed VALUES (?, ?, ?)', (name, i, name * 9))
    db.execute('INSERT INTO towns (name, n) VALUES (?, ?)', (name, i))";

fn sandbox(tables: &str) -> Sandbox {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    python(&sandbox.database(), tables);
    sandbox.configure("[health]\nintegrity = \"full\"\n");
    sandbox
}

fn deep(sandbox: &Sandbox) -> Output {
    sandbox.litekeeper(&["health", "attendance", "--deep"])
}

/// The first two rows of the first leaf of a table or index change places, in a file that nobody
/// has open. Its root is not a leaf.
fn swap_rows(database: &Path, tree: &str) {
    let size = number(database, "PRAGMA page_size");
    let root = number(database, &format!("SELECT rootpage FROM sqlite_schema WHERE name = '{tree}'"));
    let file = fs::OpenOptions::new().read(true).write(true).open(database).unwrap();
    let read = |at: u64, count: usize| {
        let mut bytes = vec![0; count];
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    let page = |number: u64| (number - 1) * size;
    let big = |bytes: &[u8]| bytes.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    assert!([2, 5].contains(&read(page(root), 1)[0]), "{tree} has more than one page");
    let cell = big(&read(page(root) + 12, 2));
    let leaf = page(big(&read(page(root) + cell, 4)));
    let pointers = read(leaf + 8, 4);
    file.write_all_at(&[&pointers[2..], &pointers[..2]].concat(), leaf + 8).unwrap();
}

#[test]
fn finds_damage_below_a_check_that_needs_the_applications_function() {
    let sandbox = sandbox(TABLES);
    let before = deep(&sandbox);
    assert_eq!(before.status.code(), Some(0), "{}", said(&before));
    swap_rows(&sandbox.database(), "towns");
    let found = deep(&sandbox);
    assert_eq!(found.status.code(), Some(12), "{}", said(&found));
    for words in
        ["table towns, page", "out of order", "CHECK constraints cannot be told without the function fold"]
    {
        assert!(said(&found).contains(words), "{words:?} is not in {}", said(&found));
    }
}

#[test]
fn finds_damage_below_a_column_that_needs_the_applications_collation() {
    for (tree, damage) in [("people", "table people, page"), ("keyed", "table keyed")] {
        let sandbox = sandbox(TABLES);
        let database = sandbox.database();
        if tree == "people" {
            swap_rows(&database, tree);
        } else {
            // Its rows are in an order that nobody here knows; that a page is none is seen.
            let root = number(&database, "SELECT rootpage FROM sqlite_schema WHERE name = 'keyed'");
            super::fixture::overwrite_page(&database, root);
        }
        let found = deep(&sandbox);
        assert_eq!(found.status.code(), Some(12), "{}", said(&found));
        assert!(said(&found).contains(damage), "{}", said(&found));
    }
}

#[test]
fn an_entry_that_is_missing_is_counted_whatever_the_order_of_the_index_is() {
    let sandbox = sandbox(TABLES);
    let database = sandbox.database();
    // The row goes, and its entry stays: to SQLite the index is none while it is partial.
    let root = number(&database, "SELECT rootpage FROM sqlite_schema WHERE name = 'by_name'");
    edit(
        &database,
        "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'by_name'; PRAGMA writable_schema = RESET",
    );
    edit(&database, "DELETE FROM people WHERE id = 7");
    edit(
        &database,
        &format!(
            "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES \
             ('index', 'by_name', 'people', {root}, 'CREATE INDEX by_name ON people (name)')"
        ),
    );
    let found = deep(&sandbox);
    assert_eq!(found.status.code(), Some(12), "{}", said(&found));
    assert!(
        said(&found).contains("indexes that do not agree with their tables: by_name"),
        "{}",
        said(&found)
    );
}

#[test]
fn an_order_that_only_the_application_knows_is_named_and_never_called_wrong() {
    let sandbox = sandbox(TABLES);
    let found = deep(&sandbox);
    assert_eq!(found.status.code(), Some(0), "{}", said(&found));
    for index in ["by_name", "keyed_v", "by_expression", "by_generated", "some"] {
        let words = format!("order of index {index} cannot be told without the ");
        assert!(said(&found).contains(&words), "{words:?} is not in {}", said(&found));
    }
    for words in ["order of index by_born", "order of index by_stored", "damaged", "do not agree"] {
        assert!(!said(&found).contains(words), "{words:?} is in {}", said(&found));
    }
    // The application takes the file as it was: nothing of ours stands in for its own.
    python(&sandbox.database(), "assert db.execute('PRAGMA integrity_check').fetchall() == [('ok',)]");
}

#[test]
fn a_backup_of_damage_below_such_a_table_does_not_verify() {
    let sandbox = sandbox(TABLES);
    swap_rows(&sandbox.database(), "towns");
    assert_eq!(sandbox.litekeeper(&["backup", "attendance"]).status.code(), Some(0));
    let verified = sandbox.litekeeper(&["verify", "attendance"]);
    assert_eq!(verified.status.code(), Some(12), "{}", said(&verified));
    assert!(said(&verified).contains("out of order"), "{}", said(&verified));
}
