//! Which rows go by their dates: in every format, by its name or found out, in the spellings of other
//! languages, and none whose date cannot be read for sure; and what is refused with a proposal that
//! works.

use std::collections::BTreeSet;

use super::fixture::{Place, detail, hundred_rows, message};

pub(crate) use crate::support::configured::rule;
use litekeeper::config::DateFormat;
pub(crate) use litekeeper::config::Rule;
use litekeeper::error::Reason;
use litekeeper::terms::Outcome;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::support::sandbox::{Sandbox, said};
use crate::support::sql::value;

#[tokio::test]
async fn removes_rows_past_their_retention_in_every_format_with_and_without_an_index() {
    let dates = [
        ("TEXT", "date(j)", "iso"),
        ("DATE", "datetime(j)", "iso"),
        ("DATETIME", "strftime('%Y-%m-%dT%H:%M:%fZ', j)", "iso"),
        ("TEXT", "datetime(j, '+5 hours') || '+05:00'", "iso"),
        ("INTEGER", "unixepoch(j)", "unix_seconds"),
        ("", "unixepoch(j) * 1000", "unix_milliseconds"),
        ("REAL", "j", "julian_day"),
    ];
    for (declared, date, format) in dates {
        for (table, index) in [
            ("(id INTEGER PRIMARY KEY, at TYPE)", ""),
            ("(id INTEGER, at TYPE)", "CREATE INDEX i ON log(at DESC, id);"),
            ("(id INTEGER, at TYPE, PRIMARY KEY (id, at)) WITHOUT ROWID", ""),
            ("(rowid TEXT, id TEXT, at TYPE, PRIMARY KEY (id)) WITHOUT ROWID", "CREATE INDEX i ON log(at);"),
        ] {
            let create = format!("CREATE TABLE log{};", table.replace("TYPE", declared));
            let place = Place::new(&format!("{create} {index} {}", hundred_rows("log", date)));
            let finished = place.run(vec![rule("log")]).await;
            assert_eq!(finished.outcome, Outcome::Success, "{create} {date}: {:?}", finished.result);
            let left = place.numbers("SELECT CAST(id AS INTEGER) FROM log ORDER BY 1");
            assert_eq!(left, (41..=100).collect::<Vec<_>>(), "{create} {index} {date}");
            let rule = detail(&finished);
            assert_eq!(rule["format"], format);
            assert_eq!(
                (&rule["rows"], &rule["matched"], &rule["removed"]),
                (&100.into(), &40.into(), &40.into())
            );
            assert_eq!(rule["advice"].as_array().unwrap().is_empty(), !index.is_empty());
            let summary = &finished.result.unwrap().summary;
            assert!(summary.starts_with("removed 40 rows older than 20"), "{summary}");
            assert!(summary.ends_with("from log"), "{summary}");
        }
    }
}

#[tokio::test]
async fn never_deletes_rows_whose_date_cannot_be_read() {
    let unreadable = "INSERT INTO log(id, at) VALUES (201, NULL), (202, ''), (203, 'n/a'), (204, '2001'), \
        (205, '2001-02-31'), (206, '0000-00-00'), (207, x'323030312d30312d3031'), (208, 0), (209, 978307200), \
        (210, 97830760000), (211, 2451910.5), (212, '12:00'), (213, 'now'), (214, '0001-01-01T00:00:00Z'), \
        (215, '01/02/2001');";
    for index in ["", "CREATE INDEX i ON log(at);"] {
        let place = Place::new(&format!(
            "CREATE TABLE log(id INTEGER PRIMARY KEY, at); {index} {} {unreadable}",
            hundred_rows("log", "date(j)")
        ));
        let finished = place.run(vec![Rule { format: Some(DateFormat::Iso), ..rule("log") }]).await;
        assert_eq!(finished.outcome, Outcome::Success, "{:?}", finished.result);
        assert_eq!(place.number("SELECT count(*) FROM log WHERE id > 200"), 15);
        assert_eq!(place.number("SELECT count(*) FROM log WHERE id <= 200"), 60);
        assert_eq!(detail(&finished)["unreadable"], 15);
        assert!(finished.result.unwrap().summary.contains("15 rows without a readable date stay"));
    }
}

#[tokio::test]
async fn refuses_to_guess_where_dates_are_written_in_two_ways() {
    let place = Place::new(&format!(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at); {} UPDATE log SET at = unixepoch(at) WHERE id % 2;",
        hundred_rows("log", "datetime(j)")
    ));
    let (reason, message) = message(&place.run(vec![rule("log")]).await);
    assert_eq!(reason, Reason::Refused);
    assert!(message.contains("50 iso, 50 unix_seconds") && message.contains("set format ="), "{message}");
    assert_eq!(place.number("SELECT count(*) FROM log"), 100);
}

#[tokio::test]
async fn one_refused_rule_does_not_stop_the_others() {
    let place = Place::new(&format!(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, at); {}",
        hundred_rows("log", "date(j)")
    ));
    let finished = place.run(vec![rule("missing"), rule("log")]).await;
    assert_eq!(finished.outcome, Outcome::Failure);
    let report = finished.result.unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].reason, Reason::NotFound);
    assert_eq!(place.number("SELECT count(*) FROM log"), 60);
    // Where all are, each is named.
    let error = place.run(vec![rule("missing"), rule("gone")]).await.result.unwrap_err();
    assert_eq!(error.reason, Reason::NotFound);
    assert!(error.message.contains("missing") && error.message.contains("gone"), "{error}");
}

#[tokio::test]
async fn nothing_to_do_is_a_success() {
    let place = Place::new("CREATE TABLE log(id INTEGER PRIMARY KEY, at)");
    let finished = place.run(Vec::new()).await;
    assert_eq!(finished.result.unwrap().summary, "no rules configured");
    assert_eq!(place.run(vec![rule("log")]).await.outcome, Outcome::Success);
}

/// One row a day back from now: of 100, 40 are older than 60 days.
const ROWS: i64 = 100;

/// A table of such rows, whose dates are written by `write` from seconds since 1970.
fn table(sandbox: &Sandbox, name: &str, declared: &str, write: impl Fn(i64) -> Value) {
    let mut connection = Connection::open(sandbox.database()).unwrap();
    let transaction = connection.transaction().unwrap();
    let create =
        format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (id INTEGER PRIMARY KEY, at {declared})");
    transaction.execute_batch(&create).unwrap();
    let now = litekeeper::clock::now().timestamp();
    for id in 0..ROWS {
        let at = write(now - id * 86_400 - 3_600);
        transaction.execute(&format!("INSERT INTO {name} VALUES (?, ?)"), (id, at)).unwrap();
    }
    transaction.commit().unwrap();
}

fn rule_of(table: &str, format: &str) -> String {
    format!(
        "[[database.attendance.cleanup.rule]]\ntable = '{table}'\ncolumn = 'at'\nkeep = '60d'\nformat = '{format}'\n"
    )
}

/// The exit code, how many rows of `table` are gone, and what was said.
fn cleanup(sandbox: &Sandbox, table: &str, format: &str) -> (Option<i32>, i64, String) {
    sandbox.configure(&rule_of(table, format));
    let output = sandbox.litekeeper(&["cleanup", "attendance"]);
    (output.status.code(), gone(sandbox, table), said(&output))
}

fn gone(sandbox: &Sandbox, table: &str) -> i64 {
    ROWS - value::<i64>(&sandbox.database(), &format!("SELECT count(*) FROM {table}"))
}

fn clock(format: &str, seconds: i64) -> Value {
    Value::Text(chrono::DateTime::from_timestamp(seconds, 0).unwrap().format(format).to_string())
}

/// What is written in each numeric format, without a constant of the program: from the instant and
/// the unit that its name says.
fn number(format: DateFormat, seconds: i64) -> Value {
    let since = |epoch: &str| seconds - epoch.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
    Value::Integer(match format {
        DateFormat::Compact => return digits("%Y%m%d%H%M%S", seconds),
        DateFormat::UnixSeconds => seconds,
        DateFormat::UnixMilliseconds => seconds * 1_000,
        DateFormat::UnixMicroseconds => seconds * 1_000_000,
        DateFormat::UnixNanoseconds => seconds * 1_000_000_000,
        DateFormat::ChromiumMicroseconds => since("1601-01-01T00:00:00Z") * 1_000_000,
        DateFormat::WindowsFiletime => since("1601-01-01T00:00:00Z") * 10_000_000,
        DateFormat::DotnetTicks => since("0001-01-01T00:00:00Z") * 10_000_000,
        DateFormat::AppleSeconds => since("2001-01-01T00:00:00Z"),
        DateFormat::AppleNanoseconds => since("2001-01-01T00:00:00Z") * 1_000_000_000,
        // 2000-01-01 12:00 is the julian day 2451545.
        DateFormat::JulianDay => {
            return Value::Real(2_451_545.0 + since("2000-01-01T12:00:00Z") as f64 / 86_400.0);
        }
        DateFormat::Iso => panic!("no number"),
    })
}

fn digits(format: &str, seconds: i64) -> Value {
    match clock(format, seconds) {
        Value::Text(digits) => Value::Integer(digits.parse().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn as_text(number: Value) -> Value {
    match number {
        Value::Integer(number) => Value::Text(number.to_string()),
        Value::Real(number) => Value::Text(format!("{number:.6}")),
        other => other,
    }
}

#[test]
fn every_format_has_a_name_and_is_read_in_numbers_and_in_text_with_numbers() {
    let sandbox = Sandbox::empty();
    let mut rules = String::new();
    let mut tables = Vec::new();
    for (word, format) in DateFormat::ALL.into_iter().filter(|(_, format)| *format != DateFormat::Iso) {
        for (kind, declared) in [("integer", "INTEGER"), ("text", "TEXT"), ("real", "REAL"), ("none", "")] {
            for index in [false, true] {
                let name = format!("{word}_{kind}_{index}");
                table(&sandbox, &name, declared, |seconds| {
                    let number = number(format, seconds);
                    if kind == "text" { as_text(number) } else { number }
                });
                if index {
                    let sql = format!("CREATE INDEX i_{name} ON {name} (at)");
                    Connection::open(sandbox.database()).unwrap().execute_batch(&sql).unwrap();
                }
                rules += &rule_of(&name, word);
                tables.push(name);
            }
        }
    }
    sandbox.configure(&rules);
    let output = sandbox.litekeeper(&["cleanup", "attendance"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for table in &tables {
        assert_eq!(gone(&sandbox, table), 40, "{table}: {said}");
    }
    assert_eq!(tables.len(), 88);
}

#[test]
fn dates_as_go_rails_python_and_java_spell_them_are_found_out_and_read() {
    let sandbox = Sandbox::empty();
    let spellings = [
        "%Y-%m-%d %H:%M:%S UTC",
        "%Y-%m-%d %H:%M:%S +0000 UTC",
        "%Y-%m-%d %H:%M:%S.123456789 +0000 UTC m=+0.000012345",
        "%Y-%m-%d %H:%M:%S.123456 UTC",
        "%Y-%m-%d %H:%M:%S+0000",
        "%Y-%m-%d %H:%M:%S+00",
        "%Y-%m-%dT%H:%M:%S,123Z",
        "%Y-%m-%dT%H:%M:%SZ[UTC]",
        "%Y-%m-%d %H:%M:%S GMT",
        "%Y%m%dT%H%M%SZ",
        "%Y%m%d%H%M%S",
    ];
    for (at, spelled) in spellings.into_iter().enumerate() {
        let name = format!("t{at}");
        table(&sandbox, &name, "TEXT", |seconds| clock(spelled, seconds));
        let (code, gone, said) = cleanup(&sandbox, &name, "auto");
        assert_eq!((code, gone), (Some(0), 40), "{spelled}: {said}");
    }
}

/// How an instant in seconds since 1970 is written.
type Write<'w> = &'w dyn Fn(i64) -> Value;

/// Each word that a refusal puts in quotes and that is a format.
fn proposed(said: &str) -> BTreeSet<&'static str> {
    let words = DateFormat::ALL.into_iter().map(|(word, _)| word);
    words.filter(|word| said.contains(&format!("\"{word}\""))).collect()
}

#[test]
fn what_is_in_doubt_is_refused_and_each_format_that_is_proposed_works() {
    let sandbox = Sandbox::empty();
    let mixed = |seconds: i64| {
        if seconds % 2 == 0 { Value::Integer(seconds) } else { clock("%Y-%m-%d %H:%M:%S", seconds) }
    };
    let minutes = |seconds: i64| digits("%Y%m%d%H%M", seconds);
    let cases: [(&str, Write<'_>, &[&str]); 5] = [
        ("1995 or now", &|seconds| number(DateFormat::AppleSeconds, seconds), &["apple_seconds"]),
        ("1995 or now", &|seconds| number(DateFormat::AppleNanoseconds, seconds), &["apple_nanoseconds"]),
        ("1974 or now", &|seconds| number(DateFormat::WindowsFiletime, seconds), &["windows_filetime"]),
        ("1976 or now", &minutes, &["compact"]),
        (
            "two ways",
            &|seconds| mixed(seconds / 86_400 * 86_400 + seconds / 86_400 % 2),
            &["iso", "unix_seconds"],
        ),
    ];
    for (what, write, right) in cases {
        table(&sandbox, "log", "", write);
        let (code, none, said) = cleanup(&sandbox, "log", "auto");
        assert_eq!((code, none), (Some(1), 0), "{what}: {said}");
        let formats = proposed(&said);
        assert!(right.iter().all(|word| formats.contains(word)), "{what}: {said}");
        for format in formats {
            table(&sandbox, "log", "", write);
            let (code, gone, said) = cleanup(&sandbox, "log", format);
            // Rows go, or so many would that the guard of shares stops it.
            let stopped = code == Some(1) && gone == 0 && said.contains("max_share");
            assert!(
                stopped || code == Some(0) && gone > 0,
                "{what} as {format}: {code:?}, {gone} gone: {said}"
            );
            assert!(!right.contains(&format) || code == Some(0), "{what} as {format}: {said}");
        }
    }
}

#[test]
fn a_format_that_reads_no_row_of_many_fails_and_the_right_one_is_named() {
    let sandbox = Sandbox::empty();
    let iso = |seconds: i64| clock("%Y-%m-%d %H:%M:%S", seconds);
    let compact = |seconds: i64| number(DateFormat::Compact, seconds);
    for (write, wrong, right) in [
        (&iso as &dyn Fn(i64) -> Value, "julian_day", "iso"),
        (&iso, "unix_seconds", "iso"),
        // The year 2612 and later.
        (&compact, "unix_milliseconds", "compact"),
    ] {
        table(&sandbox, "log", "", write);
        let (code, none, said) = cleanup(&sandbox, "log", wrong);
        assert_eq!((code, none), (Some(1), 0), "{wrong}: {said}");
        assert!(said.contains(&format!("\"{right}\" (20")), "{wrong}: {said}");
        let (code, gone, said) = cleanup(&sandbox, "log", right);
        assert_eq!((code, gone), (Some(0), 40), "{right}: {said}");
    }
    // What nobody can read is no success either, and nothing is proposed that would not work.
    table(&sandbox, "log", "", |seconds| Value::Text(format!("on day {seconds}")));
    let (code, none, said) = cleanup(&sandbox, "log", "iso");
    assert_eq!((code, none), (Some(1), 0), "{said}");
    assert!(said.contains("none is a date") && said.contains("keep_rows"), "{said}");
    assert_eq!(proposed(&said), BTreeSet::from(["iso"]), "it is the one that is set: {said}");
}

#[test]
fn a_column_of_nulls_is_nothing_to_do_and_dates_among_many_are_found() {
    let sandbox = Sandbox::empty();
    for index in ["", "CREATE INDEX i ON log (at)"] {
        for format in ["auto", "unix_seconds"] {
            table(&sandbox, "log", "", |_| Value::Null);
            Connection::open(sandbox.database()).unwrap().execute_batch(index).unwrap();
            let (code, none, said) = cleanup(&sandbox, "log", format);
            assert_eq!((code, none), (Some(0), 0), "{format}: {said}");
        }
        // In the middle, where neither end of the table shows them.
        let connection = Connection::open(sandbox.database()).unwrap();
        connection
            .execute_batch(
                "WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                 INSERT INTO log SELECT i, CASE WHEN i BETWEEN 1500 AND 1519 THEN unixepoch('now', '-90 days') END FROM n",
            )
            .unwrap();
        drop(connection);
        sandbox.configure(&rule_of("log", "auto"));
        assert_eq!(sandbox.litekeeper(&["cleanup", "attendance"]).status.code(), Some(0));
        let left: i64 = value(&sandbox.database(), "SELECT count(at) FROM log");
        assert_eq!(left, 0);
    }
}
