//! Backups made by the real daemon while an application in another process writes: whole, a state
//! that existed, true to their manifests, and rotated.

use super::fixture::{PAUSE, ballast, in_the_middle_of_a_copy, log, python_says};
use crate::support::application::Application;
use crate::support::backups::*;
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon, run_until};
use crate::support::history::{runs, wait_for_run};
use crate::support::sandbox::{Sandbox, program};
use crate::support::soundness::assert_sound;
use crate::support::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_backup_is_a_state_that_existed_while_the_application_wrote() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        let mut application = Application::start(&sandbox.database());
        // More than is copied in one step, so that commits fall between two.
        ballast(&mut application, 10);
        application.write_every(PAUSE);
        let before = application.wait_for_commits(20);
        let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
        wait_for_run(&sandbox, "backup", 0, "success");
        let first = wait_until("a manifest", || manifests(&sandbox).into_iter().next());
        let after = application.wait_for_commits(1);
        assert!(daemon.stop().success());
        let restored = sandbox.path().join("restored.sqlite");
        gunzipped(&file(&sandbox, &first), &restored);
        let last = assert_sound(&restored);
        // The one that is being acknowledged may be in it.
        assert!((before..=after + 1).contains(&last), "{journal_mode}: {last} is not in {before}..={after}");
        assert_eq!(python_says(&restored), format!("ok {last}"));
        let seen = application.stop();
        assert_eq!(seen.errors, Vec::<String>::new());
        assert_eq!(assert_sound(&sandbox.database()), seen.last());
    }
}

#[test]
fn the_manifest_tells_the_truth() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    application.sql("PRAGMA user_version = 42");
    application.sql("PRAGMA application_id = 4711");
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let manifest = &manifests(&sandbox).pop().unwrap();
    let (stored, raw) = (file(&sandbox, manifest), sandbox.path().join("raw.sqlite"));
    gunzipped(&stored, &raw);
    assert_eq!(manifest["stored_sha256"], sha256sum(&stored));
    assert_eq!(manifest["raw_sha256"], sha256sum(&raw));
    assert_eq!(manifest["stored_bytes"], fs::metadata(&stored).unwrap().len());
    assert_eq!(manifest["raw_bytes"], fs::metadata(&raw).unwrap().len());
    for (field, sql) in [
        ("page_size", "PRAGMA page_size"),
        ("page_count", "PRAGMA page_count"),
        ("user_version", "PRAGMA user_version"),
        ("application_id", "PRAGMA application_id"),
    ] {
        assert_eq!(manifest[field], application.sql(sql)[0], "{field}");
    }
    for table in ["users", "attendance", "face_samples", "ledger", "journal"] {
        assert_eq!(
            manifest["tables"][table],
            application.sql(&format!("SELECT count(*) FROM {table}"))[0],
            "{table}"
        );
    }
    assert_eq!(manifest["tables"].as_object().unwrap().len(), 5);
    assert_eq!(manifest["source"], sandbox.database().to_str().unwrap());
    assert_eq!(manifest["database"], "attendance");
    assert_eq!((&manifest["pinned"], &manifest["verification"]), (&false.into(), &serde_json::Value::Null));
    let started: chrono::DateTime<chrono::Utc> = manifest["started"].as_str().unwrap().parse().unwrap();
    let name = format!("attendance_{}.sqlite.gz", started.format("%Y%m%dT%H%M%SZ"));
    assert_eq!(manifest["file"], name);
    // Whoever may not read the database must not read its backup.
    assert_eq!(fs::metadata(&stored).unwrap().permissions().mode() & 0o007, 0);
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
}

#[test]
fn every_way_of_packing_restores() {
    for (keys, suffix) in [
        ("compression = \"none\"\n", ".sqlite"),
        ("level = 1\nthreads = 1\n", ".sqlite.gz"),
        ("level = 9\nthreads = 3\n", ".sqlite.gz"),
    ] {
        let sandbox = Sandbox::new();
        let mut application = Application::start(&sandbox.database());
        ballast(&mut application, 3);
        run_until(&sandbox, &format!("{BACKUP_EACH_SECOND}{keys}"), "backup", "success");
        let name = manifests(&sandbox)[0]["file"].as_str().unwrap().to_owned();
        assert_eq!(&name[name.find('.').unwrap()..], suffix);
        let target = sandbox.path().join("restored.sqlite");
        restored(&sandbox, &name, &target).unwrap();
        assert_sound(&target);
    }
}

#[test]
fn h26_rotation_keeps_the_newest_and_what_is_in_use() {
    let sandbox = Sandbox::new();
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let oldest = manifests(&sandbox)[0]["file"].as_str().unwrap().to_owned();
    // Somebody restores it, in this process, for as long as we like.
    let catalogue = catalogue(&sandbox);
    let held = catalogue.hold(&catalogue.find(&oldest).unwrap()).unwrap();
    let daemon = Daemon::start(&sandbox.configure(&format!("{BACKUP_EACH_SECOND}keep_last = 2\n")));
    let names = || {
        let all = manifests(&sandbox);
        all.iter().map(|manifest| manifest["file"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut made = 0;
    for _ in 0..3 {
        made = wait_for_run(&sandbox, "backup", made, "success").id;
    }
    wait_until("rotation", || (names().len() == 3).then_some(()));
    assert_eq!(names()[0], oldest);
    drop(held);
    wait_until("it goes", || (!names().contains(&oldest)).then_some(()));
    assert!(daemon.stop().success());
    let kept = names();
    assert_eq!(kept.len(), 2);
    let last =
        runs(&sandbox, "attendance", "backup").into_iter().rfind(|run| run.outcome == "success").unwrap();
    assert!(last.summary.starts_with(kept.last().unwrap()), "the newest is gone: {kept:?}, {last:?}");
    assert_eq!(files(&sandbox).len(), 4, "each with its manifest");
}

#[test]
fn h05_a_missing_or_empty_database_is_a_failed_backup_and_is_not_created() {
    let sandbox = Sandbox::new();
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let before = files(&sandbox);

    fs::remove_file(sandbox.database()).unwrap();
    let run = run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "failure");
    assert_eq!(run.reason, "vanished");
    assert!(!sandbox.database().exists());

    fs::write(sandbox.database(), "").unwrap();
    let run = run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "failure");
    assert_eq!(run.reason, "shrunken");
    assert_eq!(fs::metadata(sandbox.database()).unwrap().len(), 0);

    fs::write(
        sandbox.database(),
        "no database, but a text of some length, so that SQLite can tell".repeat(100),
    )
    .unwrap();
    let run = run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "failure");
    assert_eq!(run.reason, "not_a_database", "{run:?}");

    assert_eq!(files(&sandbox), before);
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
}

#[test]
fn h06_a_database_that_has_shrunk_is_a_failed_backup() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 2);
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let before = files(&sandbox);

    application.sql("ALTER TABLE users RENAME TO people");
    let run = run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "failure");
    assert_eq!(run.reason, "shrunken");
    assert!(run.summary.contains("users") && run.summary.contains("--accept-smaller"), "{run:?}");
    application.sql("ALTER TABLE people RENAME TO users");

    application.sql("UPDATE ballast SET bytes = x'00'");
    let run = run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "failure");
    assert_eq!(run.reason, "shrunken");
    assert!(run.summary.contains("MiB at the last backup"), "{run:?}");

    assert_eq!(files(&sandbox), before);
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
    ballast(&mut application, 2);
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
}

#[test]
fn a_memory_that_cannot_be_read_costs_no_backup_neither_a_new_one_nor_an_old_one() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nkeep_last = 1\nskip_unchanged = false\n");
    let backup = || sandbox.litekeeper(&["backup", "attendance"]).status.code();
    assert_eq!(backup(), Some(0));
    let memory = rusqlite::Connection::open(sandbox.state().join("state.db")).unwrap();
    memory.execute_batch("ALTER TABLE fact RENAME TO lost").unwrap();
    assert_eq!(
        backup(),
        Some(3),
        "partly done: it is made, and nobody knows whether the database has shrunk"
    );
    let backups = || files(&sandbox).iter().filter(|name| name.contains(".sqlite")).count();
    assert_eq!(backups(), 2);
    memory.execute_batch("ALTER TABLE lost RENAME TO fact").unwrap();
    assert_eq!(backup(), Some(0));
    assert_eq!(backups(), 1);
}

/// In WAL mode a writer that waits for nobody meets no lock of ours, however much it writes, and
/// the copy ends.
#[test]
fn h10_h12_a_writer_that_never_waits_neither_stops_a_backup_nor_is_stopped() {
    let sandbox = Sandbox::new();
    let mut application = Application::start_with(&sandbox.database(), &["--busy-timeout", "0"], None);
    ballast(&mut application, 10);
    application.write_every(Duration::from_millis(1));
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    let mut made = 0;
    for _ in 0..3 {
        made = wait_for_run(&sandbox, "backup", made, "success").id;
    }
    assert!(daemon.stop().success());
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&sandbox.database()), seen.last());
}

#[test]
fn h11_a_log_that_grows_too_much_ends_the_run() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 40);
    application.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let daemon =
        Daemon::start(&sandbox.configure(&format!("{BACKUP_EACH_SECOND}[maintain]\nmax_wal = \"100KiB\"\n")));
    in_the_middle_of_a_copy(&sandbox, &daemon, || {
        // Pages of their own: 100 KiB of log and more.
        application.sql("INSERT INTO ballast VALUES (randomblob(1000000))");
    });
    let failed = wait_until("it gives up", || {
        runs(&sandbox, "attendance", "backup").into_iter().find(|run| run.outcome == "failure")
    });
    assert_eq!(failed.reason, "deadline");
    assert!(failed.summary.contains("max_wal"), "{failed:?}");
    // The log is pinned no longer, and the next run succeeds.
    wait_until("a later backup", || {
        runs(&sandbox, "attendance", "backup")
            .into_iter()
            .find(|run| run.id > failed.id && run.outcome == "success")
    });
    // The daemon's own checkpoint of a log past max_wal may be at work at the same moment.
    wait_until("the application can empty the log", || {
        (application.sql("PRAGMA wal_checkpoint(TRUNCATE)")[0] == 0).then_some(())
    });
    assert!(daemon.stop().success());
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
}

#[test]
fn what_the_application_committed_during_a_backup_is_out_of_the_log_when_it_goes_on() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 40);
    application.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    application.sql("PRAGMA wal_autocheckpoint = 0");
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    in_the_middle_of_a_copy(&sandbox, &daemon, || {
        ballast(&mut application, 8);
        let log = log(&sandbox);
        assert!(log.log_pages > 1900 && log.moved_pages == 0, "{log:?}");
    });
    wait_until("the log is moved", || log(&sandbox).is_complete().then_some(()));
    assert!(daemon.stop().success());
    application.stop();
}

#[test]
fn h11_a_log_that_grew_until_a_backup_was_given_up_is_not_left_to_the_application() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nmax_rate = \"8KiB\"\n[maintain]\nmax_wal = \"1MiB\"\n");
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 10);
    application.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    application.sql("PRAGMA wal_autocheckpoint = 0");
    let mut backup = program();
    backup.arg("--config").arg(sandbox.configuration()).args(["backup", "attendance"]);
    let backup = backup.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the copy begins", || unfinished(&sandbox).into_iter().find(|name| name.contains(".sqlite")));
    // It shall not see the log grow before it sees the commit.
    let pid = Pid::from_child(&backup);
    kill_process(pid, Signal::STOP).unwrap();
    ballast(&mut application, 8);
    kill_process(pid, Signal::CONT).unwrap();
    let output = backup.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("max_wal"), "{said}");
    assert!(log(&sandbox).is_complete(), "{:?}", log(&sandbox));
    application.stop();
}

#[test]
fn h09_outside_wal_mode_writers_wait_no_longer_than_max_block() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 20);
    let run = run_until(
        &sandbox,
        &format!("{BACKUP_EACH_SECOND}[maintain]\nmax_block = \"1ms\"\n"),
        "backup",
        "failure",
    );
    assert_eq!(run.reason, "deadline");
    assert!(run.summary.contains("max_block") && run.summary.contains("WAL mode"), "{run:?}");
    assert_eq!(files(&sandbox), Vec::<String>::new());
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
    application.sql("INSERT INTO ballast VALUES (x'00')");
}

#[test]
fn h04_commits_that_are_only_in_the_log_are_in_the_backup() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    application.sql("PRAGMA wal_autocheckpoint = 0");
    application.write_every(PAUSE);
    application.wait_for_commits(10);
    let last = application.pause();
    let main_file = sandbox.path().join("main.sqlite");
    fs::copy(sandbox.database(), &main_file).unwrap();
    assert_eq!(assert_sound(&main_file), 0, "they are not in the file itself");
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let target = sandbox.path().join("restored.sqlite");
    restored(&sandbox, "latest", &target).unwrap();
    assert_eq!(assert_sound(&target), last);
}
