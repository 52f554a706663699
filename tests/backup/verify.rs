//! Verification: what is good, what is damaged, and what only the application can check.

use super::fixture::VERIFY_EACH_SECOND;
use crate::support::application::{self};
use crate::support::backups::*;
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon, run_until};
use crate::support::history::wait_for_run;
use crate::support::metrics::Metrics;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use std::fs;
use std::os::unix::fs::FileExt;

#[test]
fn a_good_backup_is_verified_and_says_so() {
    let sandbox = Sandbox::new();
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    run_until(&sandbox, VERIFY_EACH_SECOND, "verify", "success");
    let manifest = manifests(&sandbox).pop().unwrap();
    let verification = &manifest["verification"];
    assert_eq!(verification["ok"], true, "{manifest}");
    let time =
        |key: &str| verification[key].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!(time("started") < time("at"), "{manifest}");
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
}

#[test]
fn verify_before_the_first_backup_is_skipped_and_says_that_there_is_none() {
    let sandbox = Sandbox::new();
    let run = run_until(&sandbox, VERIFY_EACH_SECOND, "verify", "skipped");
    assert_eq!(run.reason, "not_found", "{run:?}");
    assert!(run.summary.starts_with("there is no backup of attendance"), "{run:?}");
    // By hand it was asked for, and cannot be done.
    let output = sandbox.litekeeper(&["verify", "attendance"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(10), "{told}");
    assert!(told.contains("there is no backup of attendance") && !told.contains("No such file"), "{told}");
}

#[test]
fn a_flipped_bit_is_damage_and_the_backup_no_longer_counts() {
    let sandbox = Sandbox::new();
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let manifest = manifests(&sandbox).pop().unwrap();
    let stored = file(&sandbox, &manifest);
    let middle = fs::metadata(&stored).unwrap().len() / 2;
    let handle = fs::File::options().read(true).write(true).open(&stored).unwrap();
    let mut byte = [0];
    handle.read_exact_at(&mut byte, middle).unwrap();
    handle.write_all_at(&[byte[0] ^ 16], middle).unwrap();

    let daemon = Daemon::start(&sandbox.configure(VERIFY_EACH_SECOND));
    let run = wait_for_run(&sandbox, "verify", 0, "failure");
    assert_eq!(run.reason, "damaged", "{run:?}");
    assert!(run.summary.contains(manifest["file"].as_str().unwrap()), "{run:?}");
    daemon.wait_for_metrics("it no longer counts", |metrics| {
        let of = |name| metrics.get(name, &[("database", "attendance")]);
        (of("litekeeper_backups") == Some(0.0) && of("litekeeper_backups_damaged") == Some(1.0)).then_some(())
    });
    assert!(daemon.stop().success());
    assert_eq!(manifests(&sandbox)[0]["verification"]["ok"], false);
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
    // All there is, until a good one is made.
    assert!(stored.exists());
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    assert!(!stored.exists());
    let target = sandbox.path().join("restored.sqlite");
    restored(&sandbox, "latest", &target).unwrap();
    assert_sound(&target);
}

#[test]
fn a_truncated_backup_does_not_go_unnoticed_behind_an_older_good_one() {
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    }
    let newest = manifests(&sandbox).pop().unwrap();
    let stored = file(&sandbox, &newest);
    let handle = fs::File::options().write(true).open(&stored).unwrap();
    handle.set_len(newest["stored_bytes"].as_u64().unwrap() - 1).unwrap();
    let run = run_until(&sandbox, VERIFY_EACH_SECOND, "verify", "failure");
    assert_eq!(run.reason, "damaged");
    assert!(run.summary.contains(newest["file"].as_str().unwrap()), "{run:?}");
    // The newest good one was verified all the same.
    assert!(manifests(&sandbox).iter().any(|manifest| manifest["verification"]["ok"] == true));
}

#[test]
fn h16_what_only_the_application_can_check_is_not_called_damaged() {
    let sandbox = Sandbox::new();
    let program = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\n\
        c.create_collation('ours', lambda a, b: (a > b) - (a < b))\n\
        c.create_function('half', 1, lambda x: x // 2, deterministic=True)\n\
        c.execute('CREATE TABLE words (word TEXT COLLATE ours)')\n\
        c.execute('CREATE INDEX by_word ON words (word)')\n\
        c.execute('CREATE TABLE numbers (n INTEGER)')\n\
        c.execute('CREATE INDEX by_half ON numbers (half(n))')\n\
        c.executemany('INSERT INTO words VALUES (?)', [('b',), ('a',)])\n\
        c.executemany('INSERT INTO numbers VALUES (?)', [(3,), (5,)])\nc.commit()";
    application::script(&sandbox.database(), program);
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let run = run_until(&sandbox, VERIFY_EACH_SECOND, "verify", "success");
    assert!(run.summary.contains("cannot be checked"), "{run:?}");
    assert!(run.summary.contains("table words") && run.summary.contains("table numbers"), "{run:?}");
    assert_eq!(manifests(&sandbox)[0]["verification"]["ok"], serde_json::Value::Null);
    // It counts as before, as neither: not as the newest verified one, and not as damaged.
    let listed = sandbox.litekeeper(&["backups", "attendance", "--json"]).stdout;
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    assert_eq!((&listed[0]["state"], &listed[0]["verification"]), (&"good".into(), &serde_json::Value::Null));
    assert_eq!(listed[0]["reasons"], serde_json::json!(["last 1 of 10", "newest good"]));
    let daemon = Daemon::start(&sandbox.configure(""));
    let of = |metrics: &Metrics, name: &str| metrics.get(name, &[("database", "attendance")]);
    daemon.wait_for_metrics("the backup counts", |metrics| {
        (of(metrics, "litekeeper_backups") == Some(1.0)).then_some(())
    });
    let metrics = daemon.metrics();
    assert_eq!(of(&metrics, "litekeeper_backups_damaged"), Some(0.0));
    let verified = of(&metrics, "litekeeper_backup_verified_timestamp_seconds");
    assert!(verified.is_none_or(f64::is_nan), "{verified:?}");
    assert!(daemon.stop().success());
    let (target, pages) =
        (sandbox.path().join("restored.sqlite"), manifests(&sandbox)[0]["raw_bytes"].as_u64());
    restored(&sandbox, "latest", &target).unwrap();
    assert_eq!(Some(fs::metadata(&target).unwrap().len()), pages);
}

#[test]
fn rows_that_break_a_rule_in_the_database_too_are_told_and_are_no_damage() {
    let sandbox = Sandbox::new();
    let program = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\n\
        c.execute('CREATE TABLE owner (id INTEGER PRIMARY KEY)')\n\
        c.execute('CREATE TABLE thing (owner INTEGER REFERENCES owner (id))')\n\
        c.executemany('INSERT INTO thing VALUES (?)', [(3,), (5,)])\nc.commit()";
    application::script(&sandbox.database(), program);
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let run = run_until(&sandbox, VERIFY_EACH_SECOND, "verify", "success");
    let expected = "as in the database itself, 2 rows of thing refer to rows of owner that do not exist";
    assert!(run.summary.ends_with(expected), "{run:?}");
    assert_eq!(manifests(&sandbox)[0]["verification"]["ok"], true);
}
