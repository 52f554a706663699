//! What else than rows an application relies on, and finds in the new file: what the header keeps
//! for it.

use super::commands::{configured, expect, recover, target};
use crate::support::application::script;
use rusqlite::Connection;
use std::fs;
use std::path::Path;

const PRAGMAS: [&str; 6] =
    ["page_size", "encoding", "auto_vacuum", "journal_mode", "user_version", "application_id"];

fn pragmas(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let one = |name: &&str| {
        let value: rusqlite::types::Value =
            connection.pragma_query_value(None, name, |row| row.get(0)).unwrap();
        format!("{name} {value:?}")
    };
    PRAGMAS.iter().map(one).collect()
}

fn warnings(json: &serde_json::Value) -> String {
    json["detail"]["warnings"].to_string()
}

#[test]
fn what_the_header_keeps_for_the_application_is_in_the_new_file() {
    let sandbox = configured(&[]);
    let kinds = [
        (512, "UTF-16le", 1, "wal", 7, 4711),
        (65_536, "UTF-16be", 2, "delete", -1, i32::MIN),
        (4096, "UTF-8", 0, "wal", i32::MAX, -7),
    ];
    for (at, (page_size, encoding, auto_vacuum, journal_mode, user_version, application_id)) in
        kinds.into_iter().enumerate()
    {
        let path = sandbox.data().join(format!("{at}.sqlite"));
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(&format!(
                "PRAGMA page_size = {page_size}; PRAGMA encoding = '{encoding}'; PRAGMA auto_vacuum = {auto_vacuum};
                 CREATE TABLE t (a); INSERT INTO t VALUES (1);
                 PRAGMA user_version = {user_version}; PRAGMA application_id = {application_id};"
            ))
            .unwrap();
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", journal_mode, |row| row.get(0)).unwrap();
        assert_eq!(mode, journal_mode);
        drop(connection);
        let outcome = recover(&sandbox, &["--always", "--file", path.to_str().unwrap()]);
        expect(&outcome, 0, "salvaged");
        assert_eq!(pragmas(&target(&sandbox)), pragmas(&path));
        assert_eq!(outcome.1["detail"].get("warnings"), None, "{:#}", outcome.1);
        fs::remove_file(target(&sandbox)).unwrap();
    }
}

#[test]
fn what_a_damaged_header_said_is_kept_as_far_as_it_goes_and_doubted_aloud() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("headless.sqlite");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1); PRAGMA user_version = 7; PRAGMA application_id = 11;")
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[..16].fill(0);
    fs::write(&path, bytes).unwrap();
    let outcome = recover(&sandbox, &["--file", path.to_str().unwrap()]);
    expect(&outcome, 0, "salvaged");
    let kept = pragmas(&target(&sandbox));
    assert_eq!(kept[4..], ["user_version Integer(7)", "application_id Integer(11)"]);
    assert!(
        warnings(&outcome.1).contains("whether user_version 7 and application_id 11 are right"),
        "{:#}",
        outcome.1
    );
}

/// An extension that keeps checksums there would find them all wrong in a new file: it has to add
/// them itself.
#[test]
fn bytes_that_an_extension_keeps_in_each_page_are_not_carried_over_and_that_is_said() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("reserved.sqlite");
    let sql = "PRAGMA page_size = 4096; CREATE TABLE t (a); DROP TABLE t; VACUUM";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 4096);
    bytes[20] = 8;
    bytes[105..107].copy_from_slice(&4088_u16.to_be_bytes());
    fs::write(&path, bytes).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE t (a);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO t SELECT hex(randomblob(i)) FROM n;",
        )
        .unwrap();
    let original = super::rows::tables(&connection);
    drop(connection);
    assert_eq!(fs::read(&path).unwrap()[20], 8);
    let outcome = recover(&sandbox, &["--always", "--file", path.to_str().unwrap()]);
    expect(&outcome, 0, "salvaged");
    assert!(warnings(&outcome.1).contains("keeps 8 bytes for an extension"), "{:#}", outcome.1);
    assert_eq!(fs::read(target(&sandbox)).unwrap()[20], 0);
    assert_eq!(super::rows::tables(&Connection::open(target(&sandbox)).unwrap()), original);
}

/// Its collation and its function decide nothing that is stored; of the index, the order.
#[test]
fn h16_a_table_that_only_names_what_the_application_has_keeps_its_rows_under_its_name() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("own.sqlite");
    let application = "\
        import sqlite3, sys\n\
        c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        c.create_collation('own', lambda a, b: (a[::-1] > b[::-1]) - (a[::-1] < b[::-1]))\n\
        c.create_function('is_fine', 1, lambda a: a is not None, deterministic=True)\n\
        c.create_function('twice', 1, lambda a: 2 * a, deterministic=True)\n";
    script(
        &path,
        &format!(
            "{application}\
             c.execute('CREATE TABLE plain (id INTEGER PRIMARY KEY, a TEXT COLLATE own, b CHECK (is_fine(b)))')\n\
             c.execute('CREATE TABLE computed (a, b AS (twice(a)) STORED)')\n\
             c.execute('CREATE INDEX by_a ON plain (a)')\n\
             c.execute('CREATE INDEX by_b ON plain (b)')\n\
             c.executemany('INSERT INTO plain VALUES (?, ?, ?)', [(3 * i, 'row %d' % i, i) for i in range(100)])\n\
             c.executemany('INSERT INTO computed (a) VALUES (?)', [(i,) for i in range(10)])\n\
             c.close()"
        ),
    );
    let outcome = recover(&sandbox, &["--always", "--file", path.to_str().unwrap()]);
    expect(&outcome, 3, "salvaged");
    let left_out: Vec<_> =
        outcome.1["detail"]["left_out"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    assert!(left_out[0].starts_with("table computed: ") && left_out[0].contains("twice"), "{left_out:?}");
    assert!(left_out[1].starts_with("index by_a: ") && left_out[1].contains("own"), "{left_out:?}");
    assert_eq!(super::commands::rows(&target(&sandbox), "lost_and_found"), 10);
    // The application finds its rows, makes its index, and all is in order.
    script(
        &target(&sandbox),
        &format!(
            "{application}\
             assert c.execute('SELECT * FROM plain').fetchall() == [(3 * i, 'row %d' % i, i) for i in range(100)]\n\
             assert c.execute(\"SELECT sql FROM sqlite_schema WHERE name = 'plain'\").fetchone()[0].endswith('CHECK (is_fine(b)))')\n\
             c.execute('CREATE INDEX by_a ON plain (a)')\n\
             assert c.execute('PRAGMA integrity_check').fetchall() == [('ok',)]\n\
             c.close()"
        ),
    );
}

/// The tables of its content are there row by row, and what is in them does not fit together.
#[test]
fn a_full_text_index_that_does_not_fit_its_own_content_is_made_anew_in_the_new_file() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("search.sqlite");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE VIRTUAL TABLE search USING fts4 (text);
             INSERT INTO search VALUES ('some words'), ('other words');
             UPDATE search_content SET c0text = 'never indexed' WHERE docid = 1;",
        )
        .unwrap();
    // No page is damaged, and the database itself is not changed.
    let outcome = recover(&sandbox, &["--file", path.to_str().unwrap()]);
    expect(&outcome, 1, "rows");
    let outcome = recover(&sandbox, &["--file", path.to_str().unwrap(), "--always"]);
    expect(&outcome, 0, "salvaged");
    assert_eq!(outcome.1["detail"]["rebuilt_search"], serde_json::json!(["search"]), "{:#}", outcome.1);
    let connection = Connection::open(target(&sandbox)).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// The application attached the file under a name of its own when it made it; SQLite reads such a
/// trigger in any file, and takes its text from nobody.
#[test]
fn a_trigger_that_names_the_schema_under_which_it_was_made_is_kept() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("texts.sqlite");
    script(
        &path,
        "import sqlite3, sys\n\
         c = sqlite3.connect(':memory:', isolation_level=None)\n\
         c.execute('ATTACH ? AS texts', [sys.argv[1]])\n\
         c.executescript('''CREATE TABLE texts.books (id INTEGER PRIMARY KEY, book); CREATE TABLE texts.todo (book);\n\
         CREATE VIEW texts.open AS SELECT * FROM todo;\n\
         CREATE TRIGGER texts.\"done; twice\" AFTER INSERT ON texts.books BEGIN DELETE FROM todo WHERE book = new.book; END;\n\
         CREATE TRIGGER texts.opened INSTEAD OF INSERT ON texts.open BEGIN INSERT INTO todo VALUES (new.book); END;\n\
         INSERT INTO texts.todo VALUES (7)''')",
    );
    let texts = |path: &Path| -> Vec<(String, String, String)> {
        let connection = Connection::open(path).unwrap();
        let sql =
            "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger') ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let outcome = recover(&sandbox, &["--always", "--file", path.to_str().unwrap()]);
    expect(&outcome, 0, "salvaged");
    assert_eq!(texts(&target(&sandbox)), texts(&path));
    let connection = Connection::open(target(&sandbox)).unwrap();
    connection.execute_batch("INSERT INTO open VALUES (8); INSERT INTO books VALUES (1, 7)").unwrap();
    let left: Vec<i64> = connection
        .prepare("SELECT book FROM todo")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(left, [8], "both triggers fire");
}

/// What SQLite does not read either is left out, with a word, and costs nothing else.
#[test]
fn a_trigger_that_nobody_can_read_is_left_out_and_the_others_are_kept() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("odd.sqlite");
    script(
        &path,
        "import sqlite3, sys\n\
         c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.executescript('''CREATE TABLE t (a); INSERT INTO t VALUES (1);\n\
         CREATE TRIGGER odd AFTER INSERT ON t BEGIN SELECT 1; END;\n\
         CREATE TRIGGER other AFTER INSERT ON t BEGIN SELECT 2; END;\n\
         PRAGMA writable_schema = ON;\n\
         UPDATE sqlite_schema SET sql = replace(sql, 'ON t', 'ON x.t') WHERE name = 'other';\n\
         UPDATE sqlite_schema SET sql = 'CREATE TRIGGER odd AFTER WISHING ON t' WHERE name = 'odd';''')",
    );
    let outcome = recover(&sandbox, &["--always", "--file", path.to_str().unwrap()]);
    expect(&outcome, 3, "salvaged");
    assert!(outcome.1["detail"]["left_out"].to_string().contains("trigger odd"), "{:#}", outcome.1);
    let connection = Connection::open(target(&sandbox)).unwrap();
    let triggers: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(triggers, ["other"]);
    connection.execute_batch("INSERT INTO t VALUES (2)").unwrap();
}
