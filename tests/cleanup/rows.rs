//! Which rows go by their dates: in every format, and none whose date cannot be read for sure.

use super::fixture::{Place, detail, hundred_rows, message};

pub(crate) use crate::support::configured::rule;
use litekeeper::config::DateFormat;
pub(crate) use litekeeper::config::Rule;
use litekeeper::error::Reason;
use litekeeper::terms::Outcome;

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
