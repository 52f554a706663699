//! The guards of a cleanup by the real program, beside an application of another process that commits all the while.

use std::time::Duration;

use crate::support::application::Application;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;

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
                && said.contains("20 of 20 rows of face_samples")
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
