//! Proves what the other tests stand on: an application in another process whose every acknowledged
//! commit can be counted, and a check that tells a state which existed from any other.

use crate::support::application::{Application, Owner};
use crate::support::daemon::listening;
use crate::support::metrics::Metrics;
use crate::support::sandbox::Sandbox;
use crate::support::skip;
use crate::support::soundness::{assert_sound, check};
use rusqlite::Connection;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(1);

#[test]
fn acknowledged_commits_survive_a_kill_of_the_application() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        let mut application = Application::start(&sandbox.database());
        application.write_every(PAUSE);
        application.wait_for_commits(50);
        let seen = application.kill();
        let last = assert_sound(&sandbox.database());
        // The one that was committed when the kill came may be unheard of.
        assert!(
            (seen.last()..=seen.last() + 1).contains(&last),
            "{last} in the file, {} heard of",
            seen.last()
        );
        assert_eq!(seen.errors, Vec::<String>::new());
    }
}

#[test]
fn two_applications_write_at_once_and_no_number_is_lost_or_twice() {
    let sandbox = Sandbox::new();
    let mut both = [(); 2].map(|()| Application::start(&sandbox.database()));
    for application in &mut both {
        application.write_every(PAUSE);
    }
    for application in &both {
        application.wait_for_commits(50);
    }
    // Sound at any moment, not only at rest.
    assert!(assert_sound(&sandbox.database()) >= 50);
    let seen = both.map(Application::stop);
    let mut numbers: Vec<u64> = seen.iter().flat_map(|one| &one.commits).map(|commit| commit.seq).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=assert_sound(&sandbox.database())).collect::<Vec<_>>());
    assert!(seen.iter().all(|one| one.errors.is_empty()), "{seen:?}");
}

#[test]
fn a_database_that_never_existed_so_is_not_sound() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    application.write_every(PAUSE);
    application.wait_for_commits(10);
    application.stop();
    let copy = sandbox.path().join("copy.sqlite");
    for tamper in [
        "DELETE FROM journal WHERE seq = 5",
        "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)",
        "UPDATE journal SET sum = sum + 1 WHERE seq = 5",
        "UPDATE ledger SET balance = balance + 1 WHERE account = 'assets'",
        "UPDATE ledger SET balance = balance + 1 WHERE account = 'debts'",
        "DELETE FROM attendance WHERE source = 5",
        "INSERT INTO attendance (user_id, date, time_in, confidence, source) VALUES (1, '', '', 1, 5)",
        "INSERT INTO attendance (user_id, date, time_in, confidence, source) VALUES (1, '', '', 1, 1000000)",
        "PRAGMA foreign_keys = OFF; DELETE FROM users WHERE id = 1",
        // An index that lacks its rows: damage that only the check of integrity sees.
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = NULL WHERE name = 'idx_users_name'",
    ] {
        std::fs::copy(sandbox.database(), &copy).unwrap();
        assert!(check(&copy).is_ok());
        Connection::open(&copy).unwrap().execute_batch(tamper).unwrap();
        assert!(check(&copy).is_err(), "after {tamper}");
    }
}

#[test]
fn what_the_application_holds_others_wait_for() {
    let sandbox = Sandbox::new();
    let mut holder = Application::start(&sandbox.database());
    let mut other = Application::start_with(&sandbox.database(), &["--busy-timeout", "0"], None);
    let write = "sql INSERT INTO users (name, created_at) VALUES ('Somebody', '2025-01-01')";

    holder.hold_write();
    assert!(other.command(write).unwrap_err().contains("locked"));
    assert!(holder.command("write 1").is_err(), "it would wait for itself");
    holder.release();
    other.command(write).unwrap();

    holder.hold_read();
    other.command(write).unwrap();
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    assert_eq!(other.sql(checkpoint)[0], 1, "the reader does not hold up the checkpoint");
    holder.release();
    assert_eq!(other.sql(checkpoint)[0], 0);
}

#[test]
fn an_application_in_exclusive_locking_mode_lets_nobody_in_until_it_ends() {
    let sandbox = Sandbox::new();
    let mut owner = Application::start_with(&sandbox.database(), &["--locking-mode", "exclusive"], None);
    owner.write_every(PAUSE);
    owner.wait_for_commits(2);
    let other = Connection::open(sandbox.database()).unwrap();
    other.busy_timeout(Duration::ZERO).unwrap();
    let count = || other.query_row("SELECT count(*) FROM journal", [], |row| row.get::<_, u32>(0));
    assert!(count().is_err());
    let seen = owner.stop();
    assert_eq!(u64::from(count().unwrap()), seen.last());
}

#[test]
fn an_error_of_the_application_is_seen() {
    let sandbox = Sandbox::new();
    let mut holder = Application::start(&sandbox.database());
    let mut application = Application::start_with(&sandbox.database(), &["--busy-timeout", "0"], None);
    holder.hold_write();
    application.write_every(PAUSE);
    assert!(application.wait_for_error().contains("locked"));
    holder.release();
    application.wait_for_commits(1);
    let last = application.pause();
    let seen = application.seen();
    assert_eq!(seen.last(), last);
    assert!(!seen.errors.is_empty());
    assert!(seen.worst_wait() > Duration::ZERO);
}

#[test]
fn an_application_of_another_user_owns_what_it_writes() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can start an application as another user");
    }
    let owner = Owner { uid: 65534, gid: 65534 };
    let sandbox = Sandbox::new();
    sandbox.give_data_to(owner);
    let mut application = Application::start_with(&sandbox.database(), &[], Some(owner));
    application.write_every(PAUSE);
    application.wait_for_commits(1);
    let wal = std::fs::metadata(sandbox.data().join("attendance.sqlite-wal")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&wal), owner.uid);
}

#[test]
fn extra_configuration_is_merged_over_what_every_test_needs() {
    let sandbox = Sandbox::empty();
    let path = sandbox.configure("[backup]\nschedule = \"@daily\"\n[database.attendance.pool]\nsize = 1\n");
    let text: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    assert_eq!(text["backup"]["schedule"].as_str(), Some("@daily"));
    assert_eq!(text["backup"]["dir"].as_str(), sandbox.backups().to_str());
    assert_eq!(text["health"]["integrity_schedule"].as_str(), Some("never"));
    assert_eq!(text["daemon"]["listen"].as_str(), Some("127.0.0.1:0"));
    assert_eq!(text["database"]["attendance"]["path"].as_str(), sandbox.database().to_str());
    assert_eq!(text["database"]["attendance"]["pool"]["size"].as_integer(), Some(1));
}

#[test]
fn a_page_of_metrics_is_read_by_name_and_labels() {
    let page = "# HELP a A.\n# TYPE a counter\na{x=\"1\",y=\"a \\\"b\\\"\\\\c\\nd, }\"} 2\nb 1e3\nh_bucket{le=\"+Inf\"} 4\n";
    let metrics = Metrics::parse(page);
    assert_eq!(metrics.get("a", &[("y", "a \"b\"\\c\nd, }"), ("x", "1")]), Some(2.0));
    assert_eq!(metrics.get("a", &[("x", "1")]), None);
    assert_eq!(metrics.get("b", &[]), Some(1000.0));
    assert_eq!(
        metrics.all("h_bucket").map(|(labels, value)| (labels["le"].as_str(), value)).next(),
        Some(("+Inf", 4.0))
    );
    assert_eq!(metrics.names().count(), 3);
}

#[test]
fn the_daemons_address_is_read_from_a_log_of_either_format() {
    let address = Some("127.0.0.1:34567".parse().unwrap());
    assert_eq!(
        listening("2025-06-18T12:00:00Z  INFO litekeeper::http: listening addr=127.0.0.1:34567"),
        address
    );
    assert_eq!(listening("INFO listening addr=127.0.0.1:34567 version=1"), address);
    assert_eq!(
        listening(r#"{"level":"INFO","fields":{"message":"listening","addr":"127.0.0.1:34567"}}"#),
        address
    );
    assert_eq!(listening(r#"{"addr":"127.0.0.1:34567","message":"listening"}"#), address);
    assert_eq!(listening("INFO backup finished"), None);
}
