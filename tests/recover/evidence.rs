//! Rows to which nothing leads any more, what the indexes say of them, and what only an index
//! knows: with the real binary.

use super::commands::{configured, expect, leaves, overwrite, recover, rows, table, target};
use crate::support::sandbox::Sandbox;
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A file with this in it, in rollback mode and closed.
fn made(sandbox: &Sandbox, sql: &str) -> PathBuf {
    let path = sandbox.data().join("file.sqlite");
    let _ = fs::remove_file(&path);
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    path
}

fn recovered(sandbox: &Sandbox, path: &Path) -> (Output, Value) {
    let _ = fs::remove_file(target(sandbox));
    recover(sandbox, &["--file", path.to_str().unwrap()])
}

/// The rows of a query, each as one text.
fn shown(path: &Path, sql: &str) -> BTreeSet<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>| {
        let value = |at| format!("{:?}", row.get_unwrap::<_, rusqlite::types::Value>(at));
        Ok((0..columns).map(value).collect::<Vec<_>>().join("|"))
    };
    statement.query_map([], text).unwrap().map(Result::unwrap).collect()
}

fn root(path: &Path, name: &str) -> u64 {
    let sql = "SELECT rootpage - 1 FROM sqlite_schema WHERE name = ?1";
    Connection::open(path).unwrap().query_row(sql, [name], |row| row.get(0)).unwrap()
}

/// Overwrites the pages that lead to the rows of these two tables.
fn lose_roots(path: &Path, names: [&str; 2]) {
    for name in names {
        overwrite(path, root(path, name), 0xa5);
    }
}

fn problem(outcome: &(Output, Value)) -> String {
    outcome.1["problems"].to_string()
}

/// Two tables of one shape, with the same rowids.
const TWINS: &str = "
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount INTEGER, note TEXT);
    CREATE TABLE offers (id INTEGER PRIMARY KEY, customer TEXT, amount INTEGER, note TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO orders SELECT i, 'Order of ' || (i * 7 % 997), i * 31 % 10007, 'a note of some length' FROM n;
    INSERT INTO offers SELECT id, 'Offer to ' || (id * 11 % 997), id * 37 % 10007, 'a note of some length' FROM orders;";

#[test]
fn rows_under_lost_root_pages_go_to_the_table_whose_indexes_have_them() {
    let sandbox = configured(&[]);
    for indexes in [
        "CREATE INDEX a ON orders (customer); CREATE INDEX b ON offers (customer);",
        "CREATE INDEX a ON orders (customer COLLATE NOCASE DESC, note); CREATE INDEX b ON offers (amount DESC);",
        "CREATE INDEX a ON orders (note COLLATE RTRIM, amount); CREATE UNIQUE INDEX b ON offers (customer, id);",
        // One says enough: the other table's rows are those that are not in it.
        "CREATE INDEX a ON orders (customer);",
    ] {
        for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
            let path = made(&sandbox, &format!("PRAGMA encoding = '{encoding}'; {TWINS} {indexes}"));
            let names = ["orders", "offers"];
            let before = names.map(|name| shown(&path, &format!("SELECT * FROM {name}")));
            lose_roots(&path, names);
            let outcome = recovered(&sandbox, &path);
            expect(&outcome, 0, "salvaged");
            for (name, rows) in names.iter().zip(&before) {
                let kept = shown(&target(&sandbox), &format!("SELECT * FROM {name}"));
                assert!(kept == *rows, "{name}, {indexes}: {:#}", outcome.1);
            }
            let told = table(&outcome.1, "orders");
            assert_eq!((&told["rows_by_index"], &told["kept"]), (&2000.into(), &2000.into()), "{told}");
            assert!(outcome.1["detail"]["lost_and_found_by_index"].is_null(), "{:#}", outcome.1);
            let check = shown(&target(&sandbox), "PRAGMA integrity_check");
            assert_eq!(check, BTreeSet::from(["Text(\"ok\")".to_owned()]), "{indexes}");
        }
    }
}

#[test]
fn rows_of_like_tables_without_rowids_find_their_table_by_its_indexes() {
    let sandbox = configured(&[]);
    let path = made(
        &sandbox,
        "CREATE TABLE sold (shop TEXT, day INTEGER, amount INTEGER, PRIMARY KEY (shop, day)) WITHOUT ROWID;
         CREATE TABLE bought (shop TEXT, day INTEGER, amount INTEGER, PRIMARY KEY (shop, day)) WITHOUT ROWID;
         CREATE INDEX by_amount ON sold (amount); CREATE INDEX by_value ON bought (amount DESC);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO sold SELECT 'shop number ' || (i % 50), i, i * 31 % 10007 FROM n;
         INSERT INTO bought SELECT shop, day, day * 37 % 10007 FROM sold;",
    );
    let names = ["sold", "bought"];
    let before = names.map(|name| shown(&path, &format!("SELECT * FROM {name}")));
    // The rows on the root page itself are lost.
    lose_roots(&path, names);
    let outcome = recovered(&sandbox, &path);
    expect(&outcome, 3, "salvaged");
    for (name, rows) in names.iter().zip(&before) {
        let kept = shown(&target(&sandbox), &format!("SELECT * FROM {name}"));
        assert!(kept.is_subset(rows) && kept.len() > 2900, "{name}: {} {:#}", kept.len(), outcome.1);
        // What the index has of the lost ones is there, and only that.
        let lost = shown(
            &target(&sandbox),
            &format!(
                "SELECT c1, c2, c0 FROM lost_and_found_by_index WHERE tbl = '{name}' AND what = 'missing'"
            ),
        );
        let missing: BTreeSet<String> = rows.difference(&kept).cloned().collect();
        assert_eq!(lost, missing, "{name}");
        assert_eq!(table(&outcome.1, name)["only_in_index"], missing.len(), "{:#}", outcome.1);
    }
}

/// A tree of three levels: everything below one page of the middle is cut off.
#[test]
fn rows_under_lost_pages_in_the_middle_of_a_tree_find_their_table_by_its_indexes() {
    let sandbox = configured(&[]);
    let indexes = "CREATE INDEX a ON orders (amount, customer); CREATE INDEX b ON offers (amount, customer);";
    let path = made(&sandbox, &format!("PRAGMA page_size = 512; {TWINS} {indexes}"));
    let names = ["orders", "offers"];
    let before = names.map(|name| shown(&path, &format!("SELECT * FROM {name}")));
    for name in names {
        let sql = "SELECT pageno - 1 FROM dbstat WHERE name = ?1 AND pagetype = 'internal' AND path <> '/'
                   ORDER BY path LIMIT 1 OFFSET 1";
        let page: u64 = Connection::open(&path).unwrap().query_row(sql, [name], |row| row.get(0)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 512], page * 512).unwrap();
    }
    let outcome = recovered(&sandbox, &path);
    expect(&outcome, 0, "salvaged");
    for (name, rows) in names.iter().zip(&before) {
        assert!(shown(&target(&sandbox), &format!("SELECT * FROM {name}")) == *rows, "{:#}", outcome.1);
        assert!(table(&outcome.1, name)["rows_by_index"].as_u64().unwrap() > 100, "{:#}", outcome.1);
    }
}

/// An index whose values fit any row by chance is no evidence, and neither is one that has not
/// these rows.
#[test]
fn h24_rows_that_may_be_of_two_tables_go_to_neither() {
    let sandbox = configured(&[]);
    for index in ["", "CREATE INDEX chance ON orders (note);"] {
        let path = made(&sandbox, &format!("{TWINS} {index}"));
        lose_roots(&path, ["orders", "offers"]);
        let outcome = recovered(&sandbox, &path);
        expect(&outcome, 3, "salvaged");
        for name in ["orders", "offers"] {
            assert_eq!(rows(&target(&sandbox), name), 0, "{index}: {:#}", outcome.1);
        }
        assert_eq!(rows(&target(&sandbox), "lost_and_found"), 4000, "{index}");
    }
}

#[test]
fn rows_that_only_one_table_can_have_are_given_to_it_and_that_is_said() {
    let sandbox = configured(&[]);
    let path = made(&sandbox, &format!("{TWINS} CREATE TABLE other (a TEXT, b BLOB); DROP TABLE offers;"));
    let before = shown(&path, "SELECT * FROM orders");
    lose_roots(&path, ["orders", "other"]);
    let outcome = recovered(&sandbox, &path);
    assert!(shown(&target(&sandbox), "SELECT * FROM orders") == before, "{:#}", outcome.1);
    assert_eq!(table(&outcome.1, "orders")["rows_by_columns"], 2000, "{:#}", outcome.1);
}

#[test]
fn a_row_that_its_index_has_otherwise_is_in_doubt_and_both_are_kept() {
    let sandbox = configured(&[]);
    let path = made(&sandbox, &format!("{TWINS} CREATE INDEX by_customer ON orders (customer, amount);"));
    let data = fs::read(&path).unwrap();
    let wanted = b"a note of some length";
    let of_777 = format!("Order of {}", 777 * 7 % 997);
    let at = (0..data.len())
        .find(|at| {
            // The row, and not its entry: there the note follows.
            data[*at..].starts_with(of_777.as_bytes())
                && data[at + of_777.len()..].iter().take(40).any(|byte| *byte == b'a')
                && data[*at..(at + 60).min(data.len())].windows(wanted.len()).any(|part| part == wanted)
        })
        .unwrap();
    File::options().write(true).open(&path).unwrap().write_all_at(b"Xrder", at as u64).unwrap();
    let outcome = recovered(&sandbox, &path);
    expect(&outcome, 3, "salvaged");
    let id = shown(&target(&sandbox), "SELECT id FROM orders WHERE customer LIKE 'Xrder%'");
    assert_eq!(id.len(), 1);
    let both = shown(
        &target(&sandbox),
        "SELECT tbl, idx, what, columns, c0, (SELECT customer FROM orders WHERE orders.id = known.id) AS now
         FROM lost_and_found_by_index AS known",
    );
    let text = |what: &str, first: &str| {
        let rest = &of_777[1..];
        format!(
            "Text(\"orders\")|Text(\"by_customer\")|Text(\"{what}\")|Text(\"customer, amount\")|Text(\"{first}{rest}\")|Text(\"X{rest}\")"
        )
    };
    assert_eq!(both, BTreeSet::from([text("index", "O"), text("row", "X")]));
    assert_eq!(table(&outcome.1, "orders")["in_doubt"], 1, "{:#}", outcome.1);
    assert!(
        problem(&outcome).contains("1 row in doubt, because an index has other values"),
        "{}",
        problem(&outcome)
    );
    assert_eq!(rows(&target(&sandbox), "orders"), 2000);
}

/// A rebuild in place would take the row's value for the right one, and the other would be gone.
#[test]
fn an_index_that_has_other_values_than_a_row_is_not_rebuilt_in_place() {
    let sandbox = configured(&["--journal-mode", "delete"]);
    let path = sandbox.database();
    // The row changes while nobody knows of the index.
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE aside AS SELECT * FROM sqlite_schema WHERE name = 'idx_users_name';
             PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'idx_users_name';",
        )
        .unwrap();
    drop(connection);
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "UPDATE users SET name = 'Somebody else' WHERE id = 7; PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema SELECT * FROM aside; DROP TABLE aside;",
        )
        .unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let outcome = recover(&sandbox, &["attendance"]);
    expect(&outcome, 3, "salvaged");
    assert_eq!(fs::read(&path).unwrap(), before);
    let damage = outcome.1["detail"]["damage"].to_string();
    assert!(damage.contains("index idx_users_name has other values than 1 row of its table"), "{damage}");
    assert_eq!(table(&outcome.1, "users")["in_doubt"], 1, "{:#}", outcome.1);
    let both = shown(&target(&sandbox), "SELECT id, what, c0 = 'Somebody else' FROM lost_and_found_by_index");
    let expected = ["Integer(7)|Text(\"index\")|Integer(0)", "Integer(7)|Text(\"row\")|Integer(1)"];
    assert_eq!(both, expected.map(str::to_owned).into());
}

#[test]
fn what_an_index_still_has_of_rows_that_are_lost_is_kept_as_such() {
    let sandbox = configured(&[]);
    let path = made(
        &sandbox,
        &format!(
            "{TWINS} CREATE INDEX by_customer ON orders (customer); CREATE INDEX by_amount ON orders (amount);"
        ),
    );
    let before = shown(&path, "SELECT id, customer, amount FROM orders");
    let lost = leaves(&path, "orders")[3];
    overwrite(&path, lost, 0);
    let outcome = recovered(&sandbox, &path);
    expect(&outcome, 3, "salvaged");
    let kept = shown(&target(&sandbox), "SELECT id, customer, amount FROM orders");
    let known = shown(
        &target(&sandbox),
        "SELECT one.id, one.c0, other.c0 FROM lost_and_found_by_index AS one, lost_and_found_by_index AS other
         WHERE one.id = other.id AND one.columns = 'customer' AND other.columns = 'amount' AND one.what = 'missing'",
    );
    let missing: BTreeSet<String> = before.difference(&kept).cloned().collect();
    assert!(missing.len() > 20);
    assert_eq!(known, missing);
    let told = table(&outcome.1, "orders");
    assert_eq!(
        (&told["only_in_index"], told["in_doubt"].as_u64()),
        (&missing.len().into(), Some(0)),
        "{told}"
    );
    let words = format!("columns of {} lost rows in lost_and_found_by_index", missing.len());
    assert!(problem(&outcome).contains(&words), "{}", problem(&outcome));
}

#[test]
fn what_is_lost_of_a_table_that_is_left_out_is_counted() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("own.sqlite");
    crate::support::application::script(
        &path,
        "import sqlite3, sys\n\
         c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.create_function('year_of', 1, lambda t: int(t[:4]), deterministic=True)\n\
         c.execute('CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT, at TEXT, year INTEGER AS (year_of(at)) STORED)')\n\
         c.execute('CREATE INDEX by_code ON item (code)')\n\
         c.execute('CREATE TABLE like_it (id INTEGER PRIMARY KEY, code TEXT, at TEXT, year INTEGER)')\n\
         c.execute('BEGIN')\n\
         c.executemany(\"INSERT INTO item (code, at) VALUES (?, '2026-01-01')\", [('abc-%d' % i,) for i in range(3000)])\n\
         c.execute('COMMIT')\n\
         c.close()",
    );
    let pages = leaves(&path, "item");
    overwrite(&path, pages[2], 0xa5);
    // Nothing leads to its other rows either, and a table that would take them has a hole.
    lose_roots(&path, ["item", "like_it"]);
    let outcome = recovered(&sandbox, &path);
    expect(&outcome, 3, "salvaged");
    let told = table(&outcome.1, "item");
    let found = told["set_aside"].as_u64().unwrap();
    assert!((2500..3000).contains(&found), "{told}");
    assert_eq!((&told["left_out"], &told["expected"]), (&true.into(), &3000.into()), "{told}");
    assert_eq!(rows(&target(&sandbox), "lost_and_found"), i64::try_from(found).unwrap());
    assert_eq!(rows(&target(&sandbox), "like_it"), 0, "they are not its rows");
    let words = format!("table item: {} of 3000 rows by its indexes", 3000 - found);
    assert!(problem(&outcome).contains(&words), "{}", problem(&outcome));
}

#[test]
fn texts_that_are_none_in_the_encoding_of_the_file_are_counted_and_kept() {
    let sandbox = configured(&[]);
    let path = made(
        &sandbox,
        "CREATE TABLE t (a TEXT, b); CREATE TABLE lost (c);
         INSERT INTO t VALUES ('fine', 1), (CAST(x'ff41' AS TEXT), CAST(x'c3' AS TEXT)), ('\u{e4}', CAST(x'ff' AS BLOB));",
    );
    let outcome = recover(&sandbox, &["--always", "--file", path.to_str().unwrap()]);
    expect(&outcome, 0, "salvaged");
    assert_eq!(table(&outcome.1, "t")["invalid_texts"], 2, "{:#}", outcome.1);
    let warnings = outcome.1["detail"]["warnings"].to_string();
    assert!(warnings.contains("2 texts are not valid in the encoding of the file"), "{warnings}");
    let kept: i64 = Connection::open(target(&sandbox))
        .unwrap()
        .query_row(
            "SELECT count(*) FROM t WHERE CAST(a AS BLOB) = x'ff41' AND CAST(b AS BLOB) = x'c3'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(kept, 1);
}

#[test]
fn h16_what_cannot_be_checked_here_is_not_called_damage() {
    let sandbox = configured(&[]);
    let path = sandbox.data().join("own.sqlite");
    crate::support::application::script(
        &path,
        "import sqlite3, sys\n\
         c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
         c.create_collation('own', lambda a, b: (a > b) - (a < b))\n\
         c.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE own UNIQUE)')\n\
         c.execute(\"INSERT INTO t VALUES (1, 'a')\")\n\
         c.close()",
    );
    let outcome = recovered(&sandbox, &path);
    expect(&outcome, 1, "unknown");
    assert_eq!(outcome.1["detail"].get("damage"), None, "{:#}", outcome.1);
    assert!(outcome.1["detail"]["unchecked"].to_string().contains("own"), "{:#}", outcome.1);
}
