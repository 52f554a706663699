//! A damaged history, which no backup needs, keeps nobody from his work; and what is in it is for
//! nobody else's eyes.

use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::history::{runs, wait_for_run};
use crate::support::sandbox::Sandbox;
use crate::support::wait_until;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

fn moved_aside(sandbox: &Sandbox) -> Vec<String> {
    let names = fs::read_dir(sandbox.state()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("state.db.damaged-")).collect();
    names.sort();
    names
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_damaged_history_is_moved_aside_and_the_daemon_starts() {
    let sandbox = Sandbox::new();
    let text = "no database, and long enough to be seen as none. ".repeat(50);
    fs::write(sandbox.state().join("state.db"), &text).unwrap();
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    wait_for_run(&sandbox, "backup", 0, "success");
    let name = moved_aside(&sandbox).pop().unwrap();
    let line = daemon.wait_for_log("the warning", |line| line.contains("was moved aside"));
    assert!(line.contains(&name) && line.contains("state.db is damaged"), "{line}");
    let kept = sandbox.state().join(name);
    assert_eq!((fs::read_to_string(&kept).unwrap(), mode(&kept)), (text, 0o600));
    assert!(daemon.stop().success());
}

#[test]
fn of_damaged_histories_the_last_three_are_kept() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    for n in 0..5 {
        fs::write(sandbox.state().join("state.db"), format!("damaged {n} ").repeat(200)).unwrap();
        assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    }
    let kept = moved_aside(&sandbox);
    let texts = kept.iter().map(|name| fs::read_to_string(sandbox.state().join(name)).unwrap());
    let begins: Vec<String> = texts.map(|text| text[..9].to_owned()).collect();
    assert_eq!(begins, ["damaged 2", "damaged 3", "damaged 4"]);
}

/// The pages of all tables, while the daemon works with them.
#[test]
fn a_history_that_is_damaged_under_the_daemon_is_moved_aside_and_the_runs_go_on() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    let before = wait_for_run(&sandbox, "backup", 0, "success");
    assert!(daemon.stop().success());
    let path = sandbox.state().join("state.db");
    let pages = fs::metadata(&path).unwrap().len() / 4096;
    let file = fs::File::options().write(true).open(&path).unwrap();
    for page in 1..pages {
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
    }
    drop(file);
    let daemon = Daemon::spawn(&sandbox.configuration(), |_| ());
    wait_until("it is moved aside", || moved_aside(&sandbox).pop());
    wait_until("the daemon is ready", || (daemon.get("/readyz").ok()?.status == 200).then_some(()));
    wait_until("a run is in the new one", || {
        runs(&sandbox, "attendance", "backup")
            .into_iter()
            .find(|run| run.outcome == "success" && *run != before)
    });
    assert!(daemon.stop().success());
}

#[test]
fn the_history_is_for_nobody_elses_eyes() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(BACKUP_EACH_SECOND));
    wait_for_run(&sandbox, "backup", 0, "success");
    let files = || ["state.db", "state.db-wal", "state.db-shm"].map(|name| sandbox.state().join(name));
    assert_eq!(files().map(|file| mode(&file)), [0o600; 3]);
    assert!(daemon.stop().success());
    // As an older version left it.
    fs::set_permissions(sandbox.state().join("state.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let daemon = Daemon::start(&sandbox.configuration());
    wait_for_run(&sandbox, "backup", runs(&sandbox, "attendance", "backup").last().unwrap().id, "success");
    assert_eq!(files().map(|file| mode(&file)), [0o600; 3]);
    assert!(daemon.stop().success());
}
