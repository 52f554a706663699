//! What a caretaker beside a live application must never do: the hazards that backups, restores and
//! a daemon that holds connections can meet, each with a real application in another process.

use crate::support::application::Application;
use crate::support::backups::{directory, file, files, manifests, restored, unfinished};
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon, run_until};
use crate::support::history::wait_for_run;
use crate::support::process::trace::opened_and_closed;
use crate::support::sandbox::Sandbox;
use crate::support::skip;
use crate::support::soundness::assert_sound;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

fn sidecar(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[test]
fn h17_a_restore_refuses_a_place_with_sidecars_of_another_database() {
    let sandbox = Sandbox::new();
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    for suffix in ["-wal", "-shm", "-journal"] {
        let target = sandbox.path().join(format!("restored{suffix}.sqlite"));
        let old = sidecar(&target, suffix);
        fs::write(&old, "old data").unwrap();
        let refused = restored(&sandbox, "latest", &target).unwrap_err();
        assert_eq!(refused.reason, litekeeper::error::Reason::Refused);
        assert!(refused.message.contains(&old.display().to_string()), "{refused}");
        assert!(!target.exists());
        assert_eq!(fs::read_to_string(&old).unwrap(), "old data");
    }
}

#[test]
fn h18_a_restore_never_replaces_a_file() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    application.write_every(Duration::from_millis(1));
    let refused = restored(&sandbox, "latest", &sandbox.database()).unwrap_err();
    assert_eq!(refused.reason, litekeeper::error::Reason::Refused);
    let link = sandbox.path().join("link.sqlite");
    symlink("nowhere", &link).unwrap();
    restored(&sandbox, "latest", &link).unwrap_err();
    application.wait_for_commits(5);
    let seen = application.stop();
    assert_eq!(
        (assert_sound(&sandbox.database()), seen.errors),
        (seen.commits.last().unwrap().seq, Vec::new())
    );
    let strays = fs::read_dir(sandbox.data())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("restoring"));
    assert_eq!(strays.count(), 0);
    // What failed halfway leaves nothing either.
    let target = sandbox.path().join("restored.sqlite");
    let backup = file(&sandbox, &manifests(&sandbox)[0]);
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&backup, bytes).unwrap();
    let name = backup.file_name().unwrap().to_str().unwrap();
    assert_eq!(restored(&sandbox, name, &target).unwrap_err().reason, litekeeper::error::Reason::Damaged);
    let left: Vec<_> = fs::read_dir(sandbox.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("restor")), "{left:?}");
}

#[test]
fn h19_what_persists_in_the_file_is_as_the_application_left_it() {
    for (journal_mode, auto_vacuum, page_size) in
        [("wal", "none", "4096"), ("delete", "incremental", "1024"), ("persist", "full", "8192")]
    {
        let options =
            ["--journal-mode", journal_mode, "--auto-vacuum", auto_vacuum, "--page-size", page_size];
        let sandbox = Sandbox::with_database(&options);
        let mut application = Application::start(&sandbox.database());
        let mut settings = || {
            [
                "journal_mode",
                "auto_vacuum",
                "page_size",
                "user_version",
                "application_id",
                "schema_version",
                "encoding",
            ]
            .map(|pragma| application.sql(&format!("PRAGMA {pragma}"))[0].clone())
        };
        let before = settings();
        run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
        run_until(&sandbox, "[verify]\nschedule = \"* * * * * *\"\n", "verify", "success");
        assert_eq!(settings(), before);
        // Of another connection's: a setting of the file, not of the one that asked.
        let mut other = Application::start(&sandbox.database());
        let expected = if journal_mode == "persist" { "delete" } else { journal_mode };
        assert_eq!(other.sql("PRAGMA journal_mode")[0], expected);
    }
}

/// fsync of the data, then its name, then fsync of the directory; and all that again for the
/// manifest, which makes it a backup.
#[test]
fn h20_a_backup_gets_its_name_only_when_it_is_durable() {
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
    {
        return skip("strace is missing or may not trace");
    }
    let sandbox = Sandbox::new();
    let (configuration, trace) = (sandbox.configure(BACKUP_EACH_SECOND), sandbox.path().join("trace"));
    let daemon = Daemon::spawn(&configuration, |command| {
        let mut traced = Command::new("strace");
        // -D: the daemon stays our child. -y: descriptors with their paths.
        traced
            .args([
                "-D",
                "-f",
                "-y",
                "-qq",
                "-e",
                "trace=fsync,fdatasync,rename,renameat,renameat2,linkat",
                "-o",
            ])
            .arg(&trace);
        traced.arg(command.get_program()).args(command.get_args());
        traced.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = traced;
    });
    wait_for_run(&sandbox, "backup", 0, "success");
    assert!(daemon.stop().success());
    let trace = fs::read_to_string(&trace).unwrap();
    let manifest = &manifests(&sandbox)[0];
    let name = manifest["file"].as_str().unwrap();
    let dir = directory(&sandbox).display().to_string();
    let calls: Vec<&str> =
        trace.lines().filter(|line| line.contains(&dir) && !line.contains("resumed")).collect();
    let mut at = 0;
    for published in [name.replace(".sqlite.gz", ".json"), name.to_owned()] {
        let renamed = calls
            .iter()
            .position(|call| call.contains("rename") && call.contains(&format!("\"{published}\"")))
            .unwrap_or_else(|| panic!("{published} is not renamed in\n{}", calls.join("\n")));
        let temporary = format!("/.tmp-{published}");
        let flushed =
            calls[..renamed].iter().rposition(|call| call.contains("fsync") && call.contains(&temporary));
        let flushed =
            flushed.unwrap_or_else(|| panic!("{published} is not flushed before in\n{}", calls.join("\n")));
        let settled = calls[renamed..]
            .iter()
            .position(|call| call.contains("fsync(") && call.contains(&format!("<{dir}>")));
        let settled = renamed
            + settled.unwrap_or_else(|| panic!("the directory is not flushed after\n{}", calls.join("\n")));
        assert!(at <= flushed && flushed < renamed && renamed < settled);
        at = settled;
    }
}

#[test]
fn h21_an_application_that_never_lets_go_is_reported_in_its_own_words_and_not_waited_for_for_ever() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        let mut owner = Application::start_with(&sandbox.database(), &["--locking-mode", "exclusive"], None);
        owner.write_every(Duration::from_millis(5));
        let daemon = Daemon::start(
            &sandbox.configure(&format!("{BACKUP_EACH_SECOND}[pool]\nbusy_timeout = \"50ms\"\n")),
        );
        let run = wait_for_run(&sandbox, "backup", 0, "failure");
        assert_eq!(run.reason, "held");
        assert!(
            run.summary.contains("locking_mode = EXCLUSIVE") && run.summary.contains("busy_timeout (50ms)"),
            "{run:?}"
        );
        assert_eq!(daemon.get("/readyz").unwrap().status, 200);
        assert_eq!(owner.stop().errors, Vec::<String>::new());
        wait_for_run(&sandbox, "backup", run.id, "success");
        assert!(daemon.stop().success());
        assert_sound(&sandbox.database());
    }
}

#[test]
fn h22_a_hot_journal_is_recovered_by_sqlite_and_no_commit_is_lost() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let mut application = Application::start(&sandbox.database());
    application.write_every(Duration::from_millis(1));
    application.wait_for_commits(20);
    let last = application.pause();
    // A transaction larger than the cache reaches the file before it is committed.
    application.sql("PRAGMA cache_size = 5");
    application.sql("BEGIN IMMEDIATE");
    application.sql("UPDATE attendance SET confidence = 0, time_in = time_in || 'spoilt'");
    application.sql("DELETE FROM journal");
    let journal = sidecar(&sandbox.database(), "-journal");
    application.kill();
    assert!(fs::metadata(&journal).unwrap().len() > 0, "the crash left no journal");

    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let target = sandbox.path().join("restored.sqlite");
    restored(&sandbox, "latest", &target).unwrap();
    assert_eq!(assert_sound(&target), last);
    assert_eq!(assert_sound(&sandbox.database()), last);
}

#[test]
fn h22_a_log_left_by_a_crash_is_data() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    application.sql("PRAGMA wal_autocheckpoint = 0");
    application.write_every(Duration::from_millis(1));
    application.wait_for_commits(30);
    let seen = application.kill();
    assert!(fs::metadata(sidecar(&sandbox.database(), "-wal")).unwrap().len() > 0);
    run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "success");
    let target = sandbox.path().join("restored.sqlite");
    restored(&sandbox, "latest", &target).unwrap();
    for database in [target, sandbox.database()] {
        let last = assert_sound(&database);
        assert!((seen.last()..=seen.last() + 1).contains(&last), "{last}, {} acknowledged", seen.last());
    }
}

#[test]
fn h23_a_database_with_a_second_name_is_warned_of() {
    let sandbox = Sandbox::new();
    fs::hard_link(sandbox.database(), sandbox.data().join("other.sqlite")).unwrap();
    let daemon = Daemon::start(&sandbox.configure(""));
    let database = sandbox.database().display().to_string();
    daemon.wait_for_log("the warning", |line| {
        line.contains("WARN") && line.contains(&database) && line.contains("2 hard links")
    });
    assert!(daemon.stop().success());
}

#[test]
fn h27_links_in_place_of_backup_directories_are_not_followed() {
    let sandbox = Sandbox::new();
    let elsewhere = sandbox.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let nothing_elsewhere = || assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);

    symlink(&elsewhere, directory(&sandbox)).unwrap();
    let run = run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "failure");
    assert_eq!(run.reason, "refused");
    assert!(run.summary.contains("symbolic link"), "{run:?}");
    nothing_elsewhere();

    fs::remove_file(directory(&sandbox)).unwrap();
    fs::remove_dir(sandbox.backups()).unwrap();
    symlink(&elsewhere, sandbox.backups()).unwrap();
    let run = run_until(&sandbox, BACKUP_EACH_SECOND, "backup", "failure");
    assert_eq!(run.reason, "refused");
    nothing_elsewhere();
}

/// Any open and close of the file beside SQLite drops the locks that SQLite's own connections hold.
/// The daemon's opens of it are SQLite's: for reading and writing, and kept as long as a connection
/// lives.
#[test]
fn h01_the_daemon_opens_the_database_as_often_as_it_opens_connections() {
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
    {
        return skip("strace is missing or may not trace");
    }
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    application.write_every(Duration::from_millis(2));
    // Open from one backup to the next, however slow the machine is.
    let kept_open = format!("{BACKUP_EACH_SECOND}[pool]\nidle = \"10m\"\n");
    let (configuration, trace) = (sandbox.configure(&kept_open), sandbox.path().join("trace"));
    let daemon = Daemon::spawn(&configuration, |command| {
        let mut traced = Command::new("strace");
        traced.args(["-D", "-f", "-y", "-qq", "-e", "trace=open,openat,openat2,close", "-o"]).arg(&trace);
        traced.arg(command.get_program()).args(command.get_args());
        traced.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = traced;
    });
    let mut made = 0;
    for _ in 0..2 {
        made = wait_for_run(&sandbox, "backup", made, "success").id;
    }
    daemon.get("/api/status").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the reload", |line| line.contains("nothing changed"));
    // With its one connection in the pool, nothing has closed the file so far.
    assert_eq!(opened_and_closed(&fs::read_to_string(&trace).unwrap(), &sandbox.database()).1, 0);
    assert!(daemon.stop().success());
    let (opens, _) = opened_and_closed(&fs::read_to_string(&trace).unwrap(), &sandbox.database());
    assert_eq!(opens.len(), 1, "{opens:?}");
    assert!(opens[0].contains("O_RDWR") && !opens[0].contains("O_CREAT"), "{opens:?}");
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&sandbox.database()), seen.last());
    assert!(!files(&sandbox).is_empty() && unfinished(&sandbox).is_empty());
}
