//! The shape of a statement: what it keeps, and that it never shows data.

use litekeeper::sql::fingerprint::{LONGEST, shape};
use proptest::prelude::*;

#[track_caller]
fn assert_shape(expected: &str, statements: &[&str]) {
    for sql in statements {
        assert_eq!(shape(sql), expected, "shape of {sql}");
    }
}

#[test]
fn replaces_literals_and_parameters() {
    assert_shape(
        "SELECT * FROM t WHERE a = ? AND b = ?",
        &[
            "SELECT * FROM t WHERE a = 1 AND b = 'x'",
            "SELECT * FROM t WHERE a = 1.5e-3 AND b = 'it''s; -- \"x\"'",
            "SELECT * FROM t WHERE a = 0xFF AND b = x'c0ffee'",
            "SELECT * FROM t WHERE a = .5 AND b = 1_000",
            "SELECT * FROM t WHERE a = ?1 AND b = ?",
            "SELECT * FROM t WHERE a = :a AND b = @b",
            "SELECT * FROM t WHERE a = $a::b AND b = #1",
            "SELECT * FROM t WHERE a = -1 AND b = - +5",
        ],
    );
}

#[test]
fn keeps_null_and_truth() {
    assert_shape("SELECT NULL, TRUE, a IS NOT NULL", &["select null, true, a is not null"]);
}

#[test]
fn keeps_a_subtraction_apart_from_a_negative_number() {
    assert_shape("SELECT a - ?, (b) - ?, ?", &["select a -5, (b)-5, -5", "select a - 7 , (b) - 1,+3"]);
    assert_shape("SELECT ? - ?, ?", &["select 0xe-5, 1e-5"]);
    assert_shape("SELECT CASE WHEN a THEN ? END - ?", &["SELECT CASE WHEN a THEN -1 END - 1"]);
}

#[test]
fn drops_comments_and_folds_white_space() {
    assert_shape(
        "SELECT a, b FROM t WHERE f(a) <> ?",
        &[
            "select a,b from t where f(a)<>1",
            "\u{feff}select\t a -- 'note\n , b /* /* secret */ from\r\n t where f ( a ) <> 1 ; ; ",
            "select a, b from t where f(a) <> 1 /* open",
            "select a, b from t where f(a) <> 1 --",
            "select a, b from t where f(a) <> 1\0 and 'never read by SQLite'",
        ],
    );
}

#[test]
fn keeps_names_as_written() {
    assert_shape(
        r#"SELECT t."Id", `a b`, [c d], Größe, t.select FROM "T" AS key"#,
        &[r#"select t . "Id", `a b`, [c d], Größe, t.select from "T" as key"#],
    );
}

#[test]
fn shows_no_text_in_double_quotes_that_is_no_plain_identifier() {
    assert_shape("SELECT ?, ?, ?", &[r#"select "ann@example.org", "two words", """""#]);
    assert_shape("SELECT ?, ?", &["select [a\nb], `a\u{85}b`"]);
}

#[test]
fn shows_no_control_characters() {
    assert_shape("SELECT a b", &["select\u{1b} a\u{85}b\u{7f}"]);
}

#[test]
fn shows_nothing_of_what_never_closes() {
    assert_shape("SELECT ?", &["select 'abc", "select \"abc", "select `abc", "select [abc", "select x'abc"]);
}

#[test]
fn gives_lists_of_any_length_one_shape() {
    assert_shape(
        "SELECT * FROM t WHERE a IN (?, …) AND b NOT IN (?, …)",
        &[
            "select * from t where a in (1) and b not in ('x')",
            "select * from t where a in(1,-2,:c) and b not in ('x', null, x'00')",
        ],
    );
    assert_shape(
        "DELETE FROM t WHERE a IN (SELECT b FROM c)",
        &["delete from t where a in (select b from c)"],
    );
    assert_shape("SELECT a IN (b, ?), c IN ()", &["select a in (b, 1), c in ()"]);
}

#[test]
fn gives_several_rows_one_shape() {
    assert_shape("INSERT INTO t(a, b) VALUES (?, ?)", &["insert into t (a, b) values (1, 'x')"]);
    assert_shape(
        "INSERT INTO t(a, b) VALUES (?, max(?, ?)), … ON CONFLICT DO NOTHING",
        &[
            "insert into t(a,b) values (1, max(2,3)), (4, 5) on conflict do nothing",
            "insert into t(a,b) values (1, max(2,3)), (4, 5), (null, 6) on conflict do nothing",
        ],
    );
    assert_shape(
        "WITH a(x) AS (VALUES (?), …), b(y) AS (VALUES (?)) SELECT x, y FROM a, b",
        &["with a(x) as (values (1), (2)), b(y) as (values (3)) select x, y from a, b"],
    );
}

#[test]
fn keeps_operators_whole() {
    assert_shape("SELECT a || b, c ->> ?, d << ?, e != f, g % ?", &["select a||b,c->>'$.x',d<<2,e!=f,g%3"]);
}

#[test]
fn is_bounded_and_says_that_it_was_cut() {
    let columns = vec!["größe"; 1000].join(", ");
    let shape = shape(&format!("SELECT {columns} FROM t"));
    assert!(shape.chars().count() <= LONGEST);
    assert!(shape.chars().count() > LONGEST - 20);
    assert!(shape.starts_with("SELECT größe, größe") && shape.ends_with('…'), "{shape}");
}

/// Pieces that are complete in themselves, so that what follows them is not inside of them.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "select", "FROM", "in", "values", "AND", "(", ")", "(", ")", ",", ".", ";", "*", "-", "+", "->",
        "||", "/", "<", "=", ":", "@", "$", "/* c */", "-- c\n", "NULL", "x", "e", "…", "\u{feff}", "\u{1}",
        "?", "?3", ":p", "t1", "Größe", "'a''b'", "x'00'", "\"q\"", "\"q r\"", "[q]", "`q`", "1", "-2", "1e",
        "0x1", ".5",
    ]);
    fixed.prop_map(str::to_owned)
}

/// Statements with a hole for a literal at `█`.
fn statement() -> impl Strategy<Value = String> {
    (prop::collection::vec(piece(), 0..12), prop::collection::vec(piece(), 0..12))
        .prop_map(|(before, after)| format!("{} █ {}", before.join(" "), after.join(" ")))
}

/// Literals that all carry the same mark.
fn marked() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "'zqmark'",
        "'a ''zqmark'' b'",
        "'-- zqmark'",
        "'/* zqmark'",
        "'\nzqmark\n'",
        "\"the zqmark\"",
        "\"zqmark\"\"\"",
        "\"zqmark.\"",
        "x'zqmark'",
        "-'zqmark'",
        "0zqmark",
        "1.zqmark",
        "0xzqmark",
        "5e3zqmark",
        "'zqmark",
        "\"zqmark",
        "x'zqmark",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn is_its_own_shape_for_any_text(text in any::<String>()) {
        let once = shape(&text);
        prop_assert_eq!(shape(&once), once);
    }

    #[test]
    fn is_its_own_shape_for_pieces_of_sql(pieces in prop::collection::vec(piece(), 0..40), glue in prop::sample::select(vec!["", " "])) {
        let once = shape(&pieces.join(glue));
        prop_assert_eq!(shape(&once), once);
    }

    #[test]
    fn never_shows_a_literal(statement in statement(), literal in marked()) {
        let shown = shape(&statement.replace('█', literal));
        prop_assert!(!shown.contains("zqmark"), "{}", shown);
    }

    #[test]
    fn does_not_depend_on_the_literal(
        statement in statement(),
        // None has a sign: after a name that is a subtraction.
        one in prop::sample::select(vec!["1", "'a'", "x'00'", "1.5e+3", ":p", "?7", "\"a b\""]),
        other in prop::sample::select(vec!["42", ".5", "'b -- c'", "X''", "0xABC", "@q", "?", "'it''s'"]),
    ) {
        prop_assert_eq!(shape(&statement.replace('█', one)), shape(&statement.replace('█', other)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn is_its_own_shape_when_cut(pieces in prop::collection::vec(piece(), 900..2500)) {
        let once = shape(&pieces.join(" "));
        prop_assert!(once.chars().count() <= LONGEST);
        prop_assert_eq!(shape(&once), once);
    }
}

#[test]
fn is_still_the_same_statement_to_sqlite() {
    let database = rusqlite::Connection::open_in_memory().unwrap();
    database.execute_batch("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, \"c d\" REAL)").unwrap();
    for sql in [
        "select a, -b, a - 1, b || 'x' from t where b like 'x%' and a between -1 and +5 order by a desc limit 3",
        "select count(*), max(a, 1) from t group by b having count(*) > 1",
        "insert into t(a, b, [c d]) values (1, 'x', .5) on conflict(a) do update set b = excluded.b returning a",
        "update t set b = case when a is not null then 'x' else b end where `c d` <> 1e3",
        "with recursive n(x) as (select 1 union all select x + 1 from n where x < 9) select x, b ->> '$.y' from n, t",
        "delete from t where exists (select 1 from t as u where u.a = t.a) -- x",
    ] {
        database.prepare(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let shape = shape(sql);
        database.prepare(&shape).unwrap_or_else(|e| panic!("{shape}: {e}"));
    }
}
