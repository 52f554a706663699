//! Backups by hand: dry, bounded, listed, verified, pinned and partly done.

use super::fixture::{assert_has_fields, backed_up, backup_files, json, kept, run, start, text};
use crate::support::application::Application;
use crate::support::sandbox::Sandbox;
use crate::support::{skip, wait_until};
use litekeeper::store::BackupName;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

#[test]
fn a_dry_run_of_a_backup_says_what_rotation_will_do_and_does_nothing() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nkeep_last = 2\nskip_unchanged = false\n");
    let nothing_yet = json(&sandbox, 0, &["backup", "attendance", "--dry-run"]);
    assert_eq!(nothing_yet["detail"]["backups"], serde_json::json!([]));
    assert!(!sandbox.backups().join("attendance").exists());
    for _ in 0..2 {
        run(&sandbox, 0, &["backup", "attendance"]);
    }
    let before = backup_files(&sandbox);
    let told = json(&sandbox, 0, &["backup", "attendance", "--dry-run"]);
    let lines = told["detail"]["backups"].as_array().unwrap();
    let said: Vec<_> =
        lines.iter().map(|l| (l["rotation"].as_str().unwrap(), l["why"].as_str().unwrap())).collect();
    assert_eq!(
        said,
        [
            ("makes it", "last 1 of 2, newest good"),
            ("keeps it", "last 2 of 2"),
            ("removes it", "past keep_last = 2"),
        ]
    );
    assert!(before[0].to_str().unwrap().contains(lines[2]["name"].as_str().unwrap()), "{told}");
    assert_eq!(backup_files(&sandbox), before);
    let history = json(&sandbox, 0, &["history", "attendance"]);
    assert_eq!(history.as_array().unwrap().len(), 2, "a dry run is no run: {history}");
    let output = run(&sandbox, 0, &["backup", "attendance", "--dry-run"]);
    assert!(text(&output.stdout).contains("would keep 1 older one and remove 1"), "{}", text(&output.stdout));
    // And so it does.
    run(&sandbox, 0, &["backup", "attendance"]);
    let after = backup_files(&sandbox);
    assert_eq!((after.len(), &after[0]), (2, &before[1]));
}

#[test]
fn a_backup_at_a_rate_that_takes_hours_ends_when_it_is_told_to() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nmax_rate = \"1KiB\"\n");
    let mut application = Application::start(&sandbox.database());
    application.sql("CREATE TABLE ballast AS SELECT randomblob(3000000) AS bytes");
    let mut backup = start(&sandbox, &["backup", "attendance"]);
    let tasks = PathBuf::from(format!("/proc/{}/task", backup.id()));
    wait_until("it packs", || {
        let mut names = fs::read_dir(&tasks)
            .ok()?
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.any(|name| name.trim() == "compress").then_some(())
    });
    kill_process(Pid::from_child(&backup), Signal::INT).unwrap();
    assert!(!backup.wait().unwrap().success());
    let left: Vec<_> =
        fs::read_dir(sandbox.backups().join("attendance")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == ".lock"), "{left:?}");
}

#[test]
fn a_backup_made_by_hand_is_listed_verified_and_in_the_history() {
    let sandbox = kept();
    let made = json(&sandbox, 0, &["backup", "attendance"]);
    assert_has_fields(&made, "database job outcome reason summary detail problems findings");
    assert_eq!(
        (&made["database"], &made["task"], &made["outcome"]),
        (&"attendance".into(), &"backup".into(), &"success".into())
    );
    let name = made["detail"]["name"].as_str().unwrap();
    assert!(BackupName::parse(name, "attendance").is_some(), "{name}");

    let states = || text(&run(&sandbox, 0, &["backups", "attendance"]).stdout).to_owned();
    assert!(states().contains("  unverified  "), "{}", states());
    let verified = json(&sandbox, 0, &["verify", "attendance", name]);
    assert!(states().contains("  verified "), "{}", states());
    assert_eq!((&verified["task"], &verified["outcome"]), (&"verify".into(), &"success".into()));

    let list = json(&sandbox, 0, &["backups", "attendance"]);
    let [only] = list.as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_has_fields(
        only,
        "name path time stored_bytes raw_bytes state why verification pinned keep reasons",
    );
    assert_eq!((&only["name"], &only["state"], &only["keep"]), (&name.into(), &"good".into(), &true.into()));
    assert_eq!(only["verification"]["ok"], true);
    let file = fs::metadata(only["path"].as_str().unwrap()).unwrap();
    assert_eq!(only["stored_bytes"], file.len());
    assert!(only["reasons"].as_array().unwrap().contains(&"newest verified".into()), "{only}");

    let history = json(&sandbox, 0, &["history", "attendance"]);
    let jobs: Vec<_> = history.as_array().unwrap().iter().map(|run| run["task"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["verify", "backup"]);
    let run = &history[1];
    assert_has_fields(run, "id database job cause pid started finished outcome reason summary detail");
    assert_eq!((&run["cause"], &run["detail"]), (&"manual".into(), &made["detail"]));
    assert_eq!(json(&sandbox, 0, &["history", "--limit", "1"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_pinned_backup_says_so_until_it_is_unpinned() {
    let sandbox = backed_up();
    let pinned = json(&sandbox, 0, &["pin", "attendance", "latest"]);
    assert_has_fields(&pinned, "database backup pinned");
    assert_eq!(pinned["pinned"], true);
    let listed = |sandbox: &Sandbox| json(sandbox, 0, &["backups", "attendance"])[0].clone();
    assert_eq!(listed(&sandbox)["pinned"], true);
    assert!(listed(&sandbox)["reasons"].as_array().unwrap().contains(&"pinned".into()));
    assert_eq!(json(&sandbox, 0, &["unpin", "attendance", "latest"])["pinned"], false);
    assert_eq!(listed(&sandbox)["pinned"], false);
    run(&sandbox, 10, &["pin", "attendance", "1999"]);
}

#[test]
fn a_backup_that_cannot_remove_an_old_one_is_partly_done() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nkeep_last = 1\nskip_unchanged = false\n");
    run(&sandbox, 0, &["backup", "attendance"]);
    let [old] = backup_files(&sandbox).try_into().unwrap();
    // Not even root removes an immutable file.
    let attribute = |change: &str| Command::new("chattr").arg(change).arg(&old).status();
    if !attribute("+i").is_ok_and(|status| status.success()) {
        return skip("chattr +i works for root only, and not on every filesystem");
    }
    let partly = json(&sandbox, 3, &["backup", "attendance"]);
    assert!(attribute("-i").unwrap().success());
    assert_eq!(partly["outcome"], "failure");
    let [problem] = partly["problems"].as_array().unwrap().as_slice() else { panic!("{partly}") };
    assert_has_fields(problem, "reason message");
    assert_eq!(backup_files(&sandbox).len(), 2);
}

#[test]
fn a_backup_that_is_brought_to_a_copy_is_not_told_as_one_that_a_killed_run_left() {
    let sandbox = Sandbox::new();
    let copy = sandbox.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let table = "[[database.attendance.backup.copy]]\nname = \"second\"\ndir = ";
    sandbox.configure(&format!("{table}{:?}", copy.to_str().unwrap()));
    let output = run(&sandbox, 0, &["--log-level", "info", "backup", "attendance"]);
    assert!(fs::read_dir(copy.join("attendance")).unwrap().count() >= 2, "nothing was brought");
    let log = text(&output.stderr);
    assert!(log.contains("job done") && !log.contains("read this backup back"), "{log}");
}
