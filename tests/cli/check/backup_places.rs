//! What `check` and `backups` say of where backups lie and how far back they reach.

use crate::support::disk::Disk;
use crate::support::sandbox::{Sandbox, said};
use crate::support::skip;
use std::fs;

fn checked(sandbox: &Sandbox) -> String {
    let output = sandbox.litekeeper(&["check", "--environment"]);
    assert!(output.status.success(), "{}", said(&output));
    // As one line, however it is broken.
    said(&output).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn check_warns_of_backups_on_the_filesystem_of_the_database_until_some_lie_elsewhere() {
    const WARNING: &str = "lies on the filesystem of the database itself";
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let told = checked(&sandbox);
    assert!(told.contains(WARNING) && told.contains("there is no copy elsewhere"), "{told}");
    let away = sandbox.path().join("away");
    fs::create_dir(&away).unwrap();
    let copy =
        format!("[[database.attendance.backup.copy]]\nname = \"away\"\ndir = \"{}\"\n", away.display());
    sandbox.configure(&copy);
    let told = checked(&sandbox);
    assert!(told.contains(WARNING) && told.contains("so does the copy"), "{told}");
    let Some(_disk) = Disk::memory(&away, "64m") else { return skip("needs the right to mount") };
    assert!(!checked(&sandbox).contains(WARNING), "{}", checked(&sandbox));
}

#[test]
fn check_and_backups_say_how_far_back_backups_reach() {
    let sandbox = Sandbox::new();
    // Nothing but a database: what is said is of the defaults.
    let database = sandbox.database();
    sandbox.configure_as(&format!("[database.attendance]\npath = \"{}\"\n", database.display()));
    let defaults = "the last 10, 24 hourly, 7 daily, 4 weekly, 12 monthly: 12 months back";
    let output = sandbox.litekeeper(&["check"]);
    assert!(said(&output).contains(&format!("backups of attendance: keeps {defaults}")), "{}", said(&output));
    // The newest ones alone.
    sandbox.configure("[backup]\nschedule = \"@hourly\"\n");
    let output = sandbox.litekeeper(&["check"]);
    assert!(said(&output).contains("keeps the last 10: 10 hours back"), "{}", said(&output));
    assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    let output = sandbox.litekeeper(&["backups", "attendance"]);
    assert!(said(&output).contains("rotation keeps the last 10: 10 hours back"), "{}", said(&output));
}
