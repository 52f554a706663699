//! Who has the database open is named, and nothing is touched; where not all processes can be seen,
//! the operator must say that nobody has.

use super::fixture::{assert_refused, assert_restores, is_root};
use crate::support::application::{APPLICATION, Application, Owner};
use crate::support::backups::{directory, files};
use crate::support::restoring::{
    ALL_SEEN, IN_PLACE, assert_restored, commits, json, killed_in_wal_mode, look, moved_on, stderr,
};
use crate::support::sandbox::{Sandbox, copy_for_all, program};
use crate::support::skip;
use crate::support::soundness::assert_sound;
use litekeeper::state::State;
use litekeeper::terms::JobKind;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

#[test]
fn h18_a_database_that_an_idle_application_has_open_is_not_replaced_and_the_application_is_named() {
    for journal_mode in ["wal", "delete", "truncate", "persist"] {
        let (sandbox, mut states) = moved_on(&["--journal-mode", journal_mode]);
        let mut application = Application::start(&sandbox.database());
        let name = format!("process {} (", application.pid());
        assert_refused(&sandbox, 11, &[&name, "python3, user ", "stop it"]);
        // It goes on as if nothing had been.
        application.write_every(std::time::Duration::from_millis(1));
        application.wait_for_commits(3);
        states.now = application.pause();
        assert_eq!(application.stop().errors, Vec::<String>::new());

        assert_restores(&sandbox);
        assert_restored(&sandbox, states);
        // The application goes on from there.
        assert!(commits(&sandbox, 2) > states.backup);
        assert_sound(&sandbox.database());
    }
}

#[test]
fn h21_an_application_that_never_lets_go_is_named() {
    for journal_mode in ["wal", "delete"] {
        let (sandbox, _) = moved_on(&["--journal-mode", journal_mode]);
        let application =
            Application::start_with(&sandbox.database(), &["--locking-mode", "exclusive"], None);
        assert_refused(&sandbox, 11, &[&format!("process {}", application.pid())]);
    }
}

/// Runs it as the application's user, who may not look into the processes of others.
fn as_application(sandbox: &Sandbox, args: &[&str]) -> Output {
    let binary = sandbox.path().join("litekeeper");
    copy_for_all(Path::new(program().get_program()), &binary);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=4711", "--regid=4711", "--clear-groups", "--"]).arg(binary);
    command.arg("--config").arg(sandbox.configuration()).args(args).output().unwrap()
}

#[test]
fn without_a_look_into_all_processes_it_is_refused_until_the_operator_says_that_nobody_has_it_open() {
    if !is_root() {
        return;
    }
    let (sandbox, states) = moved_on(&["--journal-mode", "delete"]);
    sandbox.give_data_to(APPLICATION);
    for dir in [sandbox.backups(), directory(&sandbox), sandbox.state(), sandbox.state().join("locks")] {
        chown(dir, Some(APPLICATION.uid), Some(APPLICATION.gid)).unwrap();
    }
    for name in
        fs::read_dir(directory(&sandbox)).unwrap().chain(fs::read_dir(sandbox.state().join("locks")).unwrap())
    {
        chown(name.unwrap().path(), Some(APPLICATION.uid), Some(APPLICATION.gid)).unwrap();
    }
    let before = look(&sandbox);
    let refused = as_application(&sandbox, &ALL_SEEN);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--accept-unseen"), "{}", stderr(&refused));
    assert_eq!(look(&sandbox), before);

    // A lock tells of one that cannot be looked into.
    let mut unseen = Application::start(&sandbox.database());
    unseen.hold_write();
    let refused = as_application(&sandbox, &IN_PLACE);
    assert_eq!(refused.status.code(), Some(11), "{}", stderr(&refused));
    assert!(stderr(&refused).contains(&format!("process {}", unseen.pid())), "{}", stderr(&refused));
    unseen.stop();

    let output = as_application(&sandbox, &IN_PLACE);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::metadata(sandbox.database()).unwrap().uid(), APPLICATION.uid);
    assert_restored(&sandbox, states);
}

/// The first PID namespace has this number (PROC_PID_INIT_INO in linux/proc_ns.h).
#[test]
fn root_outside_of_any_container_needs_to_accept_nothing() {
    let (sandbox, states) = moved_on(&[]);
    let sees_all = rustix::process::geteuid().is_root()
        && fs::read_link("/proc/self/ns/pid").unwrap() == Path::new("pid:[4026531836]");
    let output = sandbox.litekeeper(&ALL_SEEN);
    assert_eq!(output.status.success(), sees_all, "{}", stderr(&output));
    if sees_all {
        assert_restored(&sandbox, states);
    } else {
        assert!(stderr(&output).contains("--accept-unseen"), "{}", stderr(&output));
    }
}

#[test]
fn another_user_than_the_databases_is_refused() {
    if !is_root() {
        return;
    }
    let (sandbox, _) = moved_on(&[]);
    sandbox.give_data_to(Owner { uid: 4712, gid: 4711 });
    fs::set_permissions(sandbox.data(), fs::Permissions::from_mode(0o2775)).unwrap();
    fs::set_permissions(sandbox.database(), fs::Permissions::from_mode(0o660)).unwrap();
    fs::remove_dir_all(sandbox.state()).unwrap();
    for path in [sandbox.backups(), directory(&sandbox)] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    for name in files(&sandbox) {
        chown(directory(&sandbox).join(name), Some(4711), Some(4711)).unwrap();
    }
    let before = look(&sandbox);
    let refused = as_application(&sandbox, &IN_PLACE);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("run it as root"), "{}", stderr(&refused));
    assert_eq!(look(&sandbox), before);
}

/// Removed under the application, which goes on with the file that has no name any more.
#[test]
fn h18_an_application_that_still_has_the_removed_database_open_is_named() {
    let (sandbox, states) = moved_on(&["--journal-mode", "delete"]);
    let application = Application::start(&sandbox.database());
    fs::remove_file(sandbox.database()).unwrap();
    assert_refused(&sandbox, 11, &[&format!("process {}", application.pid())]);
    application.kill();
    assert_restores(&sandbox);
    assert_eq!(assert_sound(&sandbox.database()), states.backup);
}

#[test]
fn a_job_that_is_at_work_is_not_disturbed() {
    let (sandbox, states) = moved_on(&[]);
    let lock = State::open(&sandbox.state()).unwrap().lock("attendance", JobKind::Maintain).unwrap();
    assert_refused(&sandbox, 11, &["in use by maintain"]);
    json(&sandbox, 11, &[&IN_PLACE[..], &["--dry-run"]].concat());
    drop(lock);
    assert_restores(&sandbox);
    assert_restored(&sandbox, states);
}

#[test]
fn a_dry_run_says_what_would_happen_and_who_is_in_the_way_and_changes_nothing() {
    let (sandbox, states) = killed_in_wal_mode();
    let dry = [&IN_PLACE[..], &["--dry-run"]].concat();
    let before = look(&sandbox);
    let free = json(&sandbox, 0, &dry);
    assert_eq!((&free["refused"], &free["holders"]), (&serde_json::json!([]), &serde_json::json!([])));
    assert!(free["plan"].as_array().unwrap().len() >= 5, "{free}");
    assert!(free["plan"].to_string().contains("attendance.sqlite-wal"), "{free}");
    assert_eq!(look(&sandbox), before);

    let application = Application::start(&sandbox.database());
    let before = look(&sandbox);
    let refused = json(&sandbox, 11, &dry);
    assert_eq!(refused["holders"][0]["pid"], application.pid());
    assert!(refused["refused"][0].as_str().unwrap().contains("open in process"), "{refused}");
    assert_eq!(look(&sandbox), before);
    application.stop();
    assert_eq!(assert_sound(&sandbox.database()), states.now);
}

/// Processes outside are not seen from there, but their locks stand in the way.
#[test]
fn in_a_container_it_is_refused_until_the_operator_says_that_nobody_has_it_open() {
    let contained = |args: &[&str], sandbox: &Sandbox| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc"]).arg(program().get_program());
        command.arg("--config").arg(sandbox.configuration()).args(args).output().unwrap()
    };
    if !Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .status()
        .is_ok_and(|s| s.success())
    {
        return skip("only root can make a PID namespace");
    }
    let (sandbox, states) = moved_on(&[]);
    let refused = contained(&ALL_SEEN, &sandbox);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--accept-unseen"), "{}", stderr(&refused));

    let application = Application::start(&sandbox.database());
    let before = look(&sandbox);
    let refused = contained(&IN_PLACE, &sandbox);
    assert_eq!(refused.status.code(), Some(11), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("is locked"), "{}", stderr(&refused));
    assert_eq!(look(&sandbox), before);
    application.stop();
    let output = contained(&IN_PLACE, &sandbox);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_restored(&sandbox, states);
}
