//! The guards of a cleanup by the real program, beside an application of another process that
//! commits all the while.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use crate::support::application::Application;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::sql::{edit, value};
use crate::support::wait_until;

/// A rule of the attendance database as TOML.
fn rule(more: &str) -> String {
    format!("[[database.attendance.cleanup.rule]]\n{more}\n")
}

/// The exit code, and all that was printed.
fn cleanup(sandbox: &Sandbox) -> (Option<i32>, String) {
    let output = sandbox.litekeeper(&["cleanup", "attendance"]);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn number(application: &mut Application, sql: &str) -> u64 {
    application.sql(sql)[0].as_u64().unwrap()
}

/// It commits before, meanwhile and afterwards, without an error, and nothing of it is lost.
fn beside(sandbox: &Sandbox, check: impl FnOnce(&mut Application)) {
    let mut application = Application::start(&sandbox.database());
    application.write_every(Duration::from_millis(2));
    application.wait_for_commits(2);
    check(&mut application);
    application.wait_for_commits(2);
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&sandbox.database()), seen.last());
}

/// The application has foreign keys on, SQLite's default is off, and our build's is on.
#[test]
fn h14_what_points_at_a_row_that_goes_stays_with_it_or_goes_with_it() {
    let sandbox = Sandbox::with_database(&[]);
    beside(&sandbox, |application| {
        for statement in [
            "INSERT INTO users SELECT id + 1000, name, email, '2001-01-01T00:00:00Z' FROM users",
            "INSERT INTO face_samples (user_id, embedding, captured_at) SELECT id, x'01', '2001-01-01' FROM users WHERE id > 1000",
            "INSERT INTO attendance (user_id, date, time_in, confidence) SELECT id, '2001-02-03', '08:00', 1 FROM users WHERE id > 1000",
        ] {
            application.sql(statement);
        }
        let left = |application: &mut Application| {
            ["users WHERE id > 1000", "face_samples WHERE user_id > 1000", "attendance WHERE user_id > 1000"]
                .map(|rows| number(application, &format!("SELECT count(*) FROM {rows}")))
        };
        assert_eq!(left(application), [20, 20, 20]);

        let users = "table = 'users'\ncolumn = 'created_at'\nkeep = '5000d'";
        sandbox.configure(&rule(users));
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("20 rows of face_samples")
                && said.contains("20 of 40 rows of face_samples")
                && !said.contains("children = \"cascade\""),
            "the schema has no ON DELETE CASCADE: {said}"
        );
        assert_eq!(left(application), [20, 20, 20]);

        sandbox.configure(&rule(&format!("{users}\nchildren = 'cascade'")));
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(left(application), [0, 0, 0], "{said}");
    });
}

#[test]
fn h15_triggers_of_the_application_fire_only_where_the_rule_allows_them() {
    let sandbox = Sandbox::with_database(&[]);
    beside(&sandbox, |application| {
        application.sql("CREATE TABLE gone (id INTEGER)");
        application.sql(
            "CREATE TRIGGER note AFTER DELETE ON attendance BEGIN INSERT INTO gone VALUES (old.id); END",
        );
        let rows = "SELECT count(*) FROM attendance WHERE source IS NULL";
        let before = number(application, rows);
        let attendance = "table = 'attendance'\ncolumn = 'date'\nkeep = '730d'";

        sandbox.configure(&rule(attendance));
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("attendance.note") && said.contains("triggers = \"allow\""), "{said}");
        assert_eq!(number(application, rows), before);

        sandbox.configure(&rule(&format!("{attendance}\ntriggers = 'allow'")));
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(0), "{said}");
        let removed = before - number(application, rows);
        assert!(removed > 300, "{removed} of {before}: {said}");
        assert_eq!(number(application, "SELECT count(*) FROM gone"), removed);

        // SQLite takes a trigger whose function nobody has, and finds that out when it fires.
        application.sql("CREATE TRIGGER ask AFTER DELETE ON users BEGIN SELECT only_theirs(old.id); END");
        application.sql("INSERT INTO users VALUES (1001, 'Old', NULL, '2001-01-01T00:00:00Z')");
        sandbox.configure(&rule("table = 'users'\ncolumn = 'created_at'\nkeep = '5000d'\ntriggers = 'allow'\nchildren = 'cascade'"));
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("only_theirs"), "{said}");
        assert_eq!(number(application, "SELECT count(*) FROM users WHERE id = 1001"), 1);
    });
}

/// As after a clock of 2099: nearly all is past its retention.
#[test]
fn h28_a_run_that_would_remove_nearly_all_removes_nothing() {
    let sandbox = Sandbox::with_database(&[]);
    beside(&sandbox, |application| {
        let rows = "SELECT count(*) FROM attendance WHERE source IS NULL";
        let before = number(application, rows);
        let attendance = rule("table = 'attendance'\ncolumn = 'date'\nkeep = '30d'");
        sandbox.configure(&attendance);
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("max_share allows 50%"), "{said}");
        assert_eq!(number(application, rows), before);

        sandbox.configure(&format!("[cleanup]\nmax_share = '100%'\n{attendance}"));
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(0), "{said}");
        assert!(number(application, rows) < before / 10, "{said}");
    });
}

/// As Home Assistant's states: each names the one before it. The application goes on adding such,
/// which point at the oldest that is left.
#[test]
fn h33_rows_within_retention_stay_though_they_point_at_rows_that_go() {
    let sandbox = Sandbox::with_database(&[]);
    beside(&sandbox, |application| {
        for statement in [
            "CREATE TABLE states (id INTEGER PRIMARY KEY, at TEXT, old INTEGER REFERENCES states)",
            "CREATE INDEX o ON states (old)",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO states \
             SELECT i, CASE WHEN i <= 2000 THEN '2001-01-01' ELSE date('now') END, nullif(i - 1, 0) FROM n",
            "CREATE TRIGGER follow AFTER INSERT ON attendance BEGIN \
             INSERT INTO states (at, old) VALUES (date('now'), (SELECT min(id) FROM states)); END",
        ] {
            application.sql(statement);
        }
        application.wait_for_commits(2);
        let states = "[cleanup]\nmax_share = '100%'\n".to_owned()
            + &rule("table = 'states'\ncolumn = 'at'\nkeep = '365d'");
        for (children, code) in [("refuse", 1), ("cascade", 1), ("unlink", 0)] {
            sandbox.configure(&format!("{states}children = '{children}'\n"));
            let (ended, said) = cleanup(&sandbox);
            assert_eq!(ended, Some(code), "{children}: {said}");
            let old = if code == 0 { 0 } else { 2_000 };
            assert_eq!(number(application, "SELECT count(*) FROM states WHERE id <= 2000"), old, "{said}");
            if code == 1 {
                assert!(
                    said.contains("of states within retention (states.old) point at rows that would go"),
                    "{said}"
                );
                assert!(
                    said.contains("children = \"unlink\"") && !said.contains("children = \"cascade\""),
                    "{said}"
                );
            } else {
                assert!(
                    said.contains("removed 2,000 rows older than") && said.contains("(unlinking "),
                    "{said}"
                );
            }
            // Whatever was there, and whatever came meanwhile.
            let linked = "SELECT count(*) FROM states WHERE id BETWEEN 2002 AND 3000 AND old = id - 1";
            assert_eq!(number(application, linked), 999);
            let missing = "SELECT max(id) - 2000 - count(*) FROM states WHERE id > 2000";
            assert_eq!(number(application, missing), 0, "{children}: {said}");
            assert_eq!(number(application, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
        }
    });
}

/// As Wagtail's pages, each of which names its newest revision.
#[test]
fn h33_live_content_that_points_at_rows_that_go_is_unlinked_and_never_proposed_for_removal() {
    let sandbox = Sandbox::with_database(&[]);
    beside(&sandbox, |application| {
        for statement in [
            "CREATE TABLE revision (id INTEGER PRIMARY KEY, at TEXT NOT NULL)",
            "CREATE TABLE page (id INTEGER PRIMARY KEY, latest INTEGER NULL REFERENCES revision DEFERRABLE INITIALLY DEFERRED)",
            "CREATE INDEX l ON page (latest)",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO revision \
             SELECT i, CASE WHEN i <= 160 THEN '2001-01-01' ELSE date('now') END FROM n",
            "INSERT INTO page SELECT id, id FROM revision",
        ] {
            application.sql(statement);
        }
        let revisions = "table = 'revision'\ncolumn = 'at'\nkeep = '365d'";
        sandbox.configure(&rule(revisions));
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("160 rows of page (page.latest) point at rows that would go"), "{said}");
        assert!(
            said.contains("160 of 400 rows of page") && !said.contains("children = \"cascade\""),
            "{said}"
        );
        sandbox.configure(&rule(&format!("{revisions}\nchildren = 'unlink'")));
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(number(application, "SELECT count(*) FROM revision"), 240);
        assert_eq!(number(application, "SELECT count(*) FROM page"), 400);
        assert_eq!(number(application, "SELECT count(*) FROM page WHERE latest IS NULL AND id <= 160"), 160);
        assert_eq!(number(application, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    });
}

/// The application's process has `porter`, and the schema that everybody else reads says
/// `unicode61`: as where it has registered a tokenizer of its own under that name, which Calibre
/// does.
#[test]
fn h34_the_full_text_index_of_an_application_with_its_own_tokenizer_is_not_spoilt() {
    let sandbox = Sandbox::with_database(&[]);
    beside(&sandbox, |application| {
        for statement in [
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, at TEXT, text TEXT)",
            "CREATE VIRTUAL TABLE search USING fts5 (text, content = notes, content_rowid = id, tokenize = 'porter')",
            "CREATE TRIGGER i AFTER INSERT ON notes BEGIN INSERT INTO search (rowid, text) VALUES (new.id, new.text); END",
            "CREATE TRIGGER d AFTER DELETE ON notes BEGIN \
             INSERT INTO search (search, rowid, text) VALUES ('delete', old.id, old.text); END",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO notes \
             SELECT i, CASE WHEN i <= 400 THEN '2001-01-01' ELSE date('now') END, 'running words of number ' || i FROM n",
            "PRAGMA writable_schema = ON",
        ] {
            application.sql(statement);
        }
        let say = |application: &mut Application, from: &str, to: &str| {
            application.sql(&format!(
                "UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE name = 'search'"
            ));
        };
        let sound = |application: &mut Application, left: u64| {
            assert_eq!(number(application, "SELECT count(*) FROM notes"), left);
            assert_eq!(number(application, "SELECT count(*) FROM search WHERE search MATCH 'run'"), left);
            // An error of its own fails the test.
            application.sql("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)");
        };
        say(application, "porter", "unicode61");
        sandbox.configure(&rule("table = 'notes'\ncolumn = 'at'\nkeep = '365d'\ntriggers = 'allow'"));
        let (code, said) = cleanup(&sandbox);
        sound(application, 1000);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("the full-text table search") && said.contains("tokenizer of its own"),
            "{said}"
        );

        say(application, "unicode61", "porter");
        let (code, said) = cleanup(&sandbox);
        assert_eq!(code, Some(0), "{said}");
        sound(application, 600);
    });
}

/// Two connections in rollback mode that keep everybody out for most of the time, one after the
/// other.
fn beside_busy_writers(sandbox: &Sandbox, check: impl FnOnce()) {
    const HELD: Duration = Duration::from_millis(600);
    const FREE: Duration = Duration::from_millis(40);
    let (stop, begun) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = Connection::open(sandbox.database()).unwrap();
            writer.busy_timeout(Duration::from_secs(60)).unwrap();
            while !stop.load(Ordering::Relaxed) {
                writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
                begun.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(HELD);
                writer.execute_batch("COMMIT").unwrap();
                std::thread::sleep(FREE);
            }
        });
        wait_until("the application writes", || (begun.load(Ordering::Relaxed) > 0).then_some(()));
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        stop.store(true, Ordering::Relaxed);
        checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// In rollback mode a look at the file takes its turn among them, and is no reason to give up.
#[test]
fn beside_busy_writers_outside_wal_mode_a_run_does_its_work_and_does_not_run_out_of_time() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let rows = "SELECT count(*) FROM attendance WHERE date < date('now', '-730 days')";
    edit(&sandbox.database(), "UPDATE attendance SET date = '2001-01-01' WHERE id % 10 = 0");
    let before: i64 = value(&sandbox.database(), rows);
    assert!(before > 50, "{before}");
    let old = rule("table = 'attendance'\ncolumn = 'date'\nkeep = '730d'");
    let nobody_waits = "[pool]\npause_timeout = '0s'\nbusy_timeout = '60s'\n[maintain]\nmax_block = '60s'\n";
    // Without rules, with one that finds nothing, and with one that removes rows.
    for (rules, left) in [
        ("", before),
        (rule("table = 'attendance'\ncolumn = 'date'\nkeep = '36000d'").as_str(), before),
        (&old, 0),
    ] {
        sandbox.configure(&format!("{nobody_waits}{rules}"));
        beside_busy_writers(&sandbox, || {
            for _ in 0..3 {
                let (code, said) = cleanup(&sandbox);
                assert_eq!(code, Some(0), "{said}");
                assert!(!said.contains("took longer"), "{said}");
            }
        });
        assert_eq!(value::<i64>(&sandbox.database(), rows), left);
    }
}
