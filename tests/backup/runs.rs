//! Backups made by the real daemon while an application in another process writes: whole, a state that existed, true
//! to their manifests; rotated and verified; and nothing left behind when a run fails or is killed.

use crate::support::application::{self, Application};
use crate::support::backups::*;
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon, run_until};
use crate::support::history::{self, runs, wait_for_run};
use crate::support::metrics::Metrics;
use crate::support::sandbox::{Sandbox, program};
use crate::support::soundness::assert_sound;
use crate::support::{skip, wait_until};
use litekeeper::sqlite::checkpoint::{Checkpoint, Mode, checkpoint};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(2);
const VERIFY_EACH_SECOND: &str = "[verify]\nschedule = \"* * * * * *\"\ncatch_up = false\n";

/// Adds so many MiB that do not compress.
fn ballast(application: &mut Application, mebibytes: u32) {
    application.sql("CREATE TABLE IF NOT EXISTS ballast (bytes BLOB NOT NULL)");
    application.sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {mebibytes}) \
         INSERT INTO ballast SELECT randomblob(1048000) FROM n"
    ));
}

fn python_says(database: &Path) -> String {
    let program = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\n\
                   print(c.execute('PRAGMA integrity_check').fetchone()[0], c.execute('SELECT max(seq) FROM journal').fetchone()[0])";
    application::script(database, program)
}

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

/// In WAL mode a writer that waits for nobody meets no lock of ours, however much it writes, and the copy ends.
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

/// Does `act` while the daemon is stopped in the middle of a backup of what does not compress. A backup that was done
/// before it could be stopped is not counted: the next one is tried.
fn in_the_middle_of_a_copy(sandbox: &Sandbox, daemon: &Daemon, mut act: impl FnMut()) {
    let written = || -> Option<u64> {
        let is_data = |name: &String| name.starts_with(".tmp-") && name.contains(".sqlite");
        let name = unfinished(sandbox).into_iter().find(is_data)?;
        Some(fs::metadata(directory(sandbox).join(name)).ok()?.len())
    };
    wait_until("the copy is caught in the middle", || {
        let size = fs::metadata(sandbox.database()).unwrap().len();
        wait_until("the copy begins", || written().filter(|bytes| *bytes > 0));
        daemon.signal(Signal::STOP);
        let caught = written().is_some_and(|bytes| bytes > 0 && bytes < size / 2);
        if caught {
            act();
        }
        daemon.signal(Signal::CONT);
        caught.then_some(())
    });
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

/// What is in the log of a database that nobody but litekeeper makes a checkpoint of.
fn log(sandbox: &Sandbox) -> Checkpoint {
    let connection = rusqlite::Connection::open(sandbox.database()).unwrap();
    checkpoint(&connection, Mode::Noop).unwrap().unwrap()
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

const KILLS: u64 = 24;

#[test]
fn a_daemon_killed_anywhere_in_a_backup_leaves_only_backups_that_restore() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 6);
    application.write_every(Duration::from_millis(5));
    let configuration = sandbox.configure(&format!("{BACKUP_EACH_SECOND}keep_last = 3\n"));
    run_until(&sandbox, &format!("{BACKUP_EACH_SECOND}keep_last = 3\n"), "backup", "success");
    let (size, stored) = (
        fs::metadata(sandbox.database()).unwrap().len(),
        manifests(&sandbox)[0]["stored_bytes"].as_u64().unwrap(),
    );
    for kill in 0..KILLS {
        // From the first byte of the copy to beyond the last of the packed file, where rotation works.
        let daemon = Daemon::spawn(&configuration, |_| ());
        daemon.wait_for_log("a backup begins", |line| line.contains("job started"));
        let (at_start, begun) = (bytes_in_directory(&sandbox), history::newest(&sandbox));
        let threshold = (size + stored + size / 4) * kill / KILLS;
        wait_until("it is far enough", || {
            let written = bytes_in_directory(&sandbox).saturating_sub(at_start);
            let ended = || {
                runs(&sandbox, "attendance", "backup").iter().any(|r| r.id >= begun && r.outcome != "running")
            };
            (written >= threshold || ended()).then_some(())
        });
        daemon.signal(Signal::KILL);
        daemon.wait();
    }
    run_until(&sandbox, &format!("{BACKUP_EACH_SECOND}keep_last = 3\n"), "backup", "success");
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
    let mut last = 0;
    // A run killed between the two leaves a manifest without its file, never a file without its manifest.
    let mut all = manifests(&sandbox);
    all.retain(|manifest| file(&sandbox, manifest).exists());
    assert!((1..=3).contains(&all.len()), "{all:?}");
    let stored =
        files(&sandbox).into_iter().filter(|name| Path::new(name).extension() == Some("gz".as_ref()));
    assert_eq!(stored.count(), all.len(), "{:?}", files(&sandbox));
    for manifest in &all {
        let name = manifest["file"].as_str().unwrap();
        let target = sandbox.path().join(format!("{name}.restored"));
        restored(&sandbox, name, &target).unwrap();
        let this = assert_sound(&target);
        assert!(this >= last, "{name} is newer and holds less");
        last = this;
    }
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&sandbox.database()), seen.last());
}

#[test]
fn a_stop_in_the_middle_leaves_nothing() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 30);
    let daemon = Daemon::start(
        &sandbox.configure(&format!("[daemon]\nshutdown_grace = \"0s\"\n{BACKUP_EACH_SECOND}")),
    );
    in_the_middle_of_a_copy(&sandbox, &daemon, || {
        daemon.signal(Signal::TERM);
    });
    assert_eq!(daemon.wait().0.code(), Some(0));
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
    let all = runs(&sandbox, "attendance", "backup");
    assert_eq!(all.last().unwrap().outcome, "interrupted", "{all:?}");
    for manifest in manifests(&sandbox) {
        assert!(file(&sandbox, &manifest).exists());
    }
}

/// A filesystem of its own, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, mebibytes: u64) -> Option<Self> {
        let size = format!("size={mebibytes}m,mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at))
    }

    /// Takes all that is free.
    fn fill(&self) {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let file = fs::File::create(self.0.join("filler")).unwrap();
        let all = stat.f_bavail * stat.f_frsize;
        let flags = rustix::fs::FallocateFlags::empty();
        for bytes in [all, all - all / 20] {
            if rustix::fs::fallocate(&file, flags, 0, bytes).is_ok() {
                break;
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_fails_the_run_leaves_nothing_and_is_survived() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount(sandbox.backups(), 200) else {
        return skip("only root can mount a small filesystem");
    };
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 30);
    application.write_every(Duration::from_millis(5));
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    in_the_middle_of_a_copy(&sandbox, &daemon, || {
        disk.fill();
    });
    let failed = wait_until("it fails", || {
        runs(&sandbox, "attendance", "backup").into_iter().find(|run| run.outcome == "failure")
    });
    assert_eq!(failed.reason, "no_space", "{failed:?}");
    assert!(
        failed.summary.contains(sandbox.backups().to_str().unwrap()),
        "it does not say where: {failed:?}"
    );
    // Now there is not even room to begin.
    let refused = wait_until("the next does not begin", || {
        runs(&sandbox, "attendance", "backup")
            .into_iter()
            .find(|run| run.id > failed.id && run.outcome == "failure")
    });
    assert_eq!(refused.reason, "no_space");
    wait_until("nothing is left", || unfinished(&sandbox).is_empty().then_some(()));
    fs::remove_file(disk.0.join("filler")).unwrap();
    wait_until("there is room again", || {
        runs(&sandbox, "attendance", "backup")
            .into_iter()
            .find(|run| run.id > refused.id && run.outcome == "success")
    });
    assert!(daemon.stop().success());
    assert_eq!(application.stop().errors, Vec::<String>::new());
    assert_sound(&sandbox.database());
}

#[test]
fn what_a_killed_run_left_does_not_take_the_room_of_the_next() {
    let sandbox = Sandbox::new();
    let Some(_disk) = Disk::mount(sandbox.backups(), 20) else {
        return skip("only root can mount a small filesystem");
    };
    let mut application = Application::start(&sandbox.database());
    ballast(&mut application, 5);
    fs::create_dir(directory(&sandbox)).unwrap();
    // Of a process that lives no more: no process has so high a number.
    let left = directory(&sandbox).join(".tmp-attendance_20200101T000000Z.sqlite.gz-4194305-0");
    fs::write(left, vec![1; 12 << 20]).unwrap();
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
}

// --- what is not made again

/// The detail of a run of `litekeeper backup`, which must succeed.
fn backed_up(sandbox: &Sandbox) -> serde_json::Value {
    let output = sandbox.litekeeper(&["backup", "attendance", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    run["detail"].clone()
}

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

/// Once its files have been quiet for a while, `stat` alone tells: not a page of the database is read.
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

/// All that is written is the backup itself: what compresses to nothing leaves room for nothing else.
#[test]
fn no_copy_of_the_database_lies_beside_a_backup_that_is_being_made() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    application.sql("CREATE TABLE ballast AS SELECT zeroblob(60000000) AS bytes");
    let Some(_disk) = Disk::mount(sandbox.backups(), 4) else {
        return skip("only root can mount a small filesystem");
    };
    sandbox.configure("");
    assert_eq!(backed_up(&sandbox)["unchanged"], false);
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
}

// --- verify

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

#[test]
fn verify_without_any_backup_fails_and_says_so() {
    let sandbox = Sandbox::new();
    let run = run_until(&sandbox, VERIFY_EACH_SECOND, "verify", "failure");
    assert_eq!(run.reason, "not_found", "{run:?}");
}

// --- what is there, and what is not

#[test]
fn backups_that_vanished_with_their_disk_are_missed_and_not_silently_begun_anew() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nskip_unchanged = false\n");
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    let away = sandbox.path().join("unmounted");
    fs::rename(sandbox.backups(), &away).unwrap();
    fs::create_dir(sandbox.backups()).unwrap();
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("mount its disk"), "{output:?}");
    assert_eq!(fs::read_dir(sandbox.backups()).unwrap().count(), 0, "begun anew");
    let status = sandbox.litekeeper(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("is the disk mounted"), "{status:?}");

    fs::remove_dir(sandbox.backups()).unwrap();
    fs::rename(&away, sandbox.backups()).unwrap();
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    assert_eq!(manifests(&sandbox).len(), 2);
}

#[test]
fn the_backup_of_a_damaged_database_says_so_and_removes_no_older_one() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    sandbox.configure("[backup]\nkeep_last = 1\n");
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    // No process has the file open now. The root page of a table becomes none.
    let root: u64 = {
        let connection = rusqlite::Connection::open(sandbox.database()).unwrap();
        connection
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'", [], |row| row.get(0))
            .unwrap()
    };
    let file = fs::OpenOptions::new().write(true).open(sandbox.database()).unwrap();
    file.write_all_at(&[0xFF; 4096], (root - 1) * 4096).unwrap();
    drop(file);
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert_eq!(output.status.code(), Some(12), "{output:?}");
    assert_eq!(manifests(&sandbox).len(), 2, "keep_last = 1 must not take the one before the damage");
}

#[test]
fn a_restore_that_meets_damage_marks_the_backup_and_the_next_takes_the_one_before_with_a_word() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nskip_unchanged = false\n");
    for _ in 0..2 {
        assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    }
    let newest = manifests(&sandbox).into_iter().max_by_key(|m| m["sequence"].as_u64()).unwrap();
    let stored = fs::OpenOptions::new().write(true).open(file(&sandbox, &newest)).unwrap();
    let middle = stored.metadata().unwrap().len() / 2;
    stored.write_all_at(&[0x55; 64], middle).unwrap();
    let target = sandbox.path().join("restored.sqlite");
    let restore = ["restore", "attendance", "--to", target.to_str().unwrap()];
    let output = sandbox.litekeeper(&restore);
    assert_eq!(output.status.code(), Some(12), "{output:?}");
    assert!(!target.exists());
    let output = sandbox.litekeeper(&restore);
    assert!(output.status.success(), "{output:?}");
    let name = newest["file"].as_str().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("passed over") && said.contains(name), "{said}");
    assert_sound(&target);
}

#[test]
fn a_backup_that_somebody_brought_back_without_its_manifest_is_not_removed() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nkeep_last = 1\n");
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    let brought = directory(&sandbox).join("attendance_20200101T000000Z.sqlite.gz");
    fs::copy(file(&sandbox, &manifests(&sandbox)[0]), &brought).unwrap();
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    assert!(brought.exists());
    assert_eq!(manifests(&sandbox).len(), 1);
}
