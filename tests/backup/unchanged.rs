//! What is not made again, and what a run says of itself.

use super::fixture::backed_up;
use crate::support::application::Application;
use crate::support::backups::*;
use crate::support::daemon::Daemon;
use crate::support::disk::Disk;
use crate::support::history::runs;
use crate::support::sandbox::Sandbox;
use crate::support::{skip, wait_until};
use std::fs;

#[test]
fn a_database_to_which_nothing_was_committed_gets_no_new_file_and_its_newest_backup_counts_as_fresh() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    sandbox.configure("");
    let first = backed_up(&sandbox);
    assert_eq!(first["unchanged"], false);
    let again = backed_up(&sandbox);
    assert_eq!((&again["unchanged"], &again["name"]), (&true.into(), &first["name"]));
    let [manifest] = manifests(&sandbox).try_into().unwrap();
    assert_eq!(manifest["current_until"], again["current"]);
    assert!(manifest["current_until"].as_str() > manifest["started"].as_str());
    let daemon = Daemon::start(&sandbox.configure("[backup]\nschedule = \"never\"\n"));
    let until: chrono::DateTime<chrono::Utc> = again["current"].as_str().unwrap().parse().unwrap();
    daemon.wait_for_metrics("it counts as fresh", |metrics| {
        let newest =
            metrics.get("litekeeper_backup_newest_timestamp_seconds", &[("database", "attendance")])?;
        ((newest - until.timestamp() as f64).abs() < 1.0).then_some(())
    });
    assert!(daemon.stop().success());
    sandbox.configure("");

    application.sql("INSERT INTO users (name, created_at) VALUES ('New', '2025-01-01')");
    let changed = backed_up(&sandbox);
    assert_eq!(changed["unchanged"], false);
    assert_ne!(changed["name"], first["name"]);
    let target = sandbox.path().join("restored.sqlite");
    restored(&sandbox, "latest", &target).unwrap();
    let sql = "SELECT count(*) FROM users WHERE name = 'New'";
    let restored = rusqlite::Connection::open(&target).unwrap();
    assert_eq!(restored.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 1);

    // What is not as it was is made again: another packing, a damaged newest one, one that is gone.
    sandbox.configure("[backup]\ncompression = \"none\"\n");
    assert_eq!(backed_up(&sandbox)["unchanged"], false);
    assert_eq!(backed_up(&sandbox)["unchanged"], true);
    fs::write(directory(&sandbox).join(backed_up(&sandbox)["name"].as_str().unwrap()), "short").unwrap();
    let made = backed_up(&sandbox);
    assert_eq!(made["unchanged"], false);
    fs::remove_file(directory(&sandbox).join(made["name"].as_str().unwrap())).unwrap();
    assert_eq!(backed_up(&sandbox)["unchanged"], false);
    sandbox.configure("[backup]\ncompression = \"none\"\nskip_unchanged = false\n");
    assert_eq!(backed_up(&sandbox)["unchanged"], false);
    assert_eq!(application.stop().errors, Vec::<String>::new());
}

/// Once its files have been quiet for a while, `stat` alone tells: not a page of the database is
/// read.
#[test]
fn a_quiet_database_is_not_even_opened() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    backed_up(&sandbox);
    // A change in the same tick of the clock would not be seen.
    let stamp = || fs::metadata(sandbox.database()).unwrap().modified().unwrap();
    let before = stamp();
    wait_until("the stamp is old enough to be believed", || {
        let done = backed_up(&sandbox);
        assert_eq!(done["unchanged"], true);
        (done["read_transaction_seconds"] == 0.0).then_some(())
    });
    assert_eq!(stamp(), before);
    let mut application = Application::start(&sandbox.database());
    application.sql("INSERT INTO users (name, created_at) VALUES ('New', '2025-01-01')");
    assert_eq!(backed_up(&sandbox)["unchanged"], false);
}

#[test]
fn outside_wal_mode_the_run_says_for_how_long_writers_had_to_wait() {
    for (mode, waits) in [("delete", true), ("wal", false)] {
        let sandbox = Sandbox::with_database(&["--journal-mode", mode]);
        sandbox.configure("");
        let done = backed_up(&sandbox);
        assert!(done["read_transaction_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(done["writers_held_seconds"].as_f64().unwrap() > 0.0, waits, "{mode}: {done}");
        let run = runs(&sandbox, "attendance", "backup").pop().unwrap();
        assert_eq!(run.summary.contains("writers had to wait"), waits, "{run:?}");
    }
}

/// All that is written is the backup itself: what compresses to nothing leaves room for nothing
/// else.
#[test]
fn no_copy_of_the_database_lies_beside_a_backup_that_is_being_made() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    application.sql("CREATE TABLE ballast AS SELECT zeroblob(60000000) AS bytes");
    let Some(_disk) = Disk::memory(&sandbox.backups(), "4m") else {
        return skip("only root can mount a small filesystem");
    };
    sandbox.configure("");
    assert_eq!(backed_up(&sandbox)["unchanged"], false);
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
}
