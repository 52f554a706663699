//! HAZARDS H3: an application can write the sidecars of its database, whoever else opened it. Takes
//! root, who alone can play several users.

use super::fixture::{Fixture, call, soon};
use crate::support::application::{APPLICATION, Application, Owner};
use crate::support::calls::OnThread as _;
use crate::support::process::child::{self, Child};
use crate::support::sandbox::{Sandbox, copy_for_all};
use crate::support::{configured, skip};
use litekeeper::pool::Pool;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

const SHARED: u32 = 4713;

/// Writes to a database through a pool, says how that went, and keeps the pool open until told to
/// end.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other process in the tests of this file"]
async fn writer() {
    let Some(path) = child::argument() else { return };
    let database = configured::database("db", &path);
    let (sender, _slow) = litekeeper::pool::slow_statements(1 << 20);
    let pool = Pool::new(&database, sender).unwrap();
    let write = |c: &mut rusqlite::Connection| Ok(c.execute_batch("UPDATE users SET email = 'ours'")?);
    match soon(pool.on_thread(&call(), write)).await {
        Ok(()) => child::say("result ok"),
        Err(error) => child::say(&format!("result {}: {}", error.reason, error.message)),
    }
    child::wait();
}

/// A database of the application, of this group and mode, in a directory of this group and mode;
/// and a test binary that everybody may run.
fn sandbox(group: u32, mode: u32, directory_mode: u32) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.give_data_to(Owner { uid: APPLICATION.uid, gid: group });
    fs::set_permissions(sandbox.database(), fs::Permissions::from_mode(mode)).unwrap();
    chown(sandbox.data(), Some(APPLICATION.uid), Some(group)).unwrap();
    fs::set_permissions(sandbox.data(), fs::Permissions::from_mode(directory_mode)).unwrap();
    let binary = sandbox.path().join("part");
    copy_for_all(&std::env::current_exe().unwrap(), &binary);
    (sandbox, binary)
}

fn write_as(prefix: &[&str], sandbox: &Sandbox, binary: &std::path::Path) -> (Child, String) {
    let child = Child::start_as("pool::owners::writer", &sandbox.database(), binary, prefix);
    let said = child.said("result");
    (child, said)
}

fn may_not_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("only root can play several users");
    }
    !root
}

fn files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(sandbox.data()).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

const OTHER: [&str; 5] = ["setpriv", "--reuid=4712", "--regid=4712", "--groups=4713", "--"];
const WITHOUT_CHOWN: [&str; 4] = ["setpriv", "--bounding-set=-chown", "--inh-caps=-chown", "--"];

#[test]
fn h03_another_user_is_refused_with_the_fix_and_leaves_nothing_behind() {
    if may_not_run() {
        return;
    }
    for (group, mode, directory_mode) in [
        (APPLICATION.gid, 0o644, 0o777), // may read but not write
        (SHARED, 0o664, 0o777),          // may write, but what it creates is of its own group
        (SHARED, 0o640, 0o2777),         // the group may only read
    ] {
        let (sandbox, binary) = sandbox(group, mode, directory_mode);
        let (child, said) = write_as(&OTHER, &sandbox, &binary);
        assert!(said.starts_with("wrong_owner: "), "{mode:o} in {directory_mode:o}: {said}");
        assert!(said.contains("litekeeper@4711.service") && said.contains("share a group: "), "{said}");
        assert_eq!(files(&sandbox), [sandbox.database()]);
        assert!(child.end().success());
    }
}

#[test]
fn h03_another_user_of_a_shared_group_leaves_sidecars_that_the_application_writes() {
    if may_not_run() {
        return;
    }
    let (sandbox, binary) = sandbox(SHARED, 0o660, 0o2770);
    let (child, said) = write_as(&OTHER, &sandbox, &binary);
    assert_eq!(said, "ok");
    let sidecars = files(&sandbox);
    assert_eq!(sidecars.len(), 3, "{sidecars:?}");
    for path in &sidecars[1..] {
        let metadata = fs::metadata(path).unwrap();
        assert_eq!((metadata.gid(), metadata.mode() & 0o777), (SHARED, 0o660), "{}", path.display());
    }
    let member = Owner { uid: APPLICATION.uid, gid: SHARED };
    let mut application = Application::start_with(&sandbox.database(), &[], Some(member));
    application.sql("UPDATE users SET email = 'the application''s'");
    assert!(child.end().success());
    application.sql("UPDATE users SET email = 'the application''s again'");
}

#[test]
fn h03_root_gives_the_sidecars_to_the_owner_or_does_not_open_at_all() {
    if may_not_run() {
        return;
    }
    let (sandbox, binary) = sandbox(APPLICATION.gid, 0o640, 0o750);
    let (child, said) = write_as(&WITHOUT_CHOWN, &sandbox, &binary);
    assert!(said.starts_with("wrong_owner: ") && said.contains("CAP_CHOWN"), "{said}");
    assert_eq!(files(&sandbox), [sandbox.database()]);
    assert!(child.end().success());

    let (child, said) = write_as(&["setpriv", "--"], &sandbox, &binary);
    assert_eq!(said, "ok");
    let sidecars = files(&sandbox);
    assert_eq!(sidecars.len(), 3, "{sidecars:?}");
    for path in sidecars {
        assert_eq!(fs::metadata(&path).unwrap().uid(), APPLICATION.uid, "{}", path.display());
    }
    let mut application = Application::start_with(&sandbox.database(), &[], Some(APPLICATION));
    application.sql("UPDATE users SET email = 'the application''s'");
    assert!(child.end().success());
}

/// Says what the operator is warned of.
#[test]
#[ignore = "the other process in the next test"]
fn warned() {
    let Some(path) = child::argument() else { return };
    child::say(&format!("result {}", litekeeper::sqlite::files::access::warnings(&path).join(" ")));
    child::wait();
}

#[test]
fn h03_the_owner_is_warned_where_a_group_that_writes_the_database_would_be_locked_out() {
    if may_not_run() {
        return;
    }
    let owner = ["setpriv", "--reuid=4711", "--regid=4711", "--groups=4713", "--"];
    for (group, mode, directory_mode, is_warned) in [
        (SHARED, 0o660, 0o770, true),
        (SHARED, 0o660, 0o2770, false),
        (SHARED, 0o640, 0o770, false),
        (APPLICATION.gid, 0o660, 0o770, false),
    ] {
        let (sandbox, binary) = sandbox(group, mode, directory_mode);
        let child = Child::start_as("pool::owners::warned", &sandbox.database(), &binary, &owner);
        let said = child.said("result");
        assert_eq!(said.contains("chgrp 4713"), is_warned, "{group} {mode:o} {directory_mode:o}: {said}");
        assert!(child.end().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h03_the_owner_opens_its_own_database_whatever_its_mode() {
    let fixture = Fixture::new(|_| ());
    fs::set_permissions(&fixture.database.path, fs::Permissions::from_mode(0o600)).unwrap();
    fixture.sql("UPDATE users SET email = 'ours'").await.unwrap();
}
