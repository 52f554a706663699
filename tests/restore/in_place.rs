//! `restore --in-place`: the old set is kept whole, nothing of it gets into the restored database,
//! and the new file is as the old one was: its owner, its rights, its place.

use super::fixture::{assert_refused, assert_restores, is_root};
use crate::support::application::APPLICATION;
use crate::support::application::Application;
use crate::support::backups::{file, gunzipped, manifests};
use crate::support::restoring::{
    IN_PLACE, assert_restored, backed_up, beside, commits_as, json, kept, killed_in_rollback_mode,
    killed_in_wal_mode, moved_on, stderr,
};
use crate::support::skip;
use crate::support::soundness::{assert_sound, check};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

#[test]
fn h17_what_a_killed_application_left_beside_the_database_is_kept_with_it_and_not_played_into_the_restored_one()
 {
    for killed in [killed_in_wal_mode, killed_in_rollback_mode] {
        let (sandbox, states) = killed();
        // The way that everybody tries first: the old data is back, or the database is damaged.
        let naive = sandbox.path().join("naive");
        assert!(Command::new("cp").arg("-a").arg(sandbox.data()).arg(&naive).status().unwrap().success());
        let copy = naive.join("attendance.sqlite");
        gunzipped(&file(&sandbox, &manifests(&sandbox)[0]), &copy);
        assert_ne!(check(&copy), Ok(states.backup));

        assert_restores(&sandbox);
        for suffix in ["-wal", "-journal"] {
            assert!(!beside(&sandbox.database(), suffix).exists());
        }
        assert_restored(&sandbox, states);
    }
}

#[test]
fn the_commands_that_are_printed_put_the_old_database_back() {
    let (sandbox, states) = killed_in_wal_mode();
    let told = json(&sandbox, 0, &IN_PLACE);
    // The application has begun to use the restored one, and was killed.
    let mut application = Application::start(&sandbox.database());
    application.write_every(std::time::Duration::from_millis(1));
    application.wait_for_commits(2);
    application.kill();
    for command in told["back"].as_array().unwrap() {
        assert!(Command::new("sh").args(["-ec", command.as_str().unwrap()]).status().unwrap().success());
    }
    assert_eq!(assert_sound(&sandbox.database()), states.now);
    assert_eq!(kept(&sandbox), Vec::<std::path::PathBuf>::new());
}

/// What lies beside the database when the command is typed need not have been there when it was
/// printed.
#[test]
fn what_a_restore_to_a_new_file_prints_puts_its_backup_in_place_whatever_was_left_beside_it_meanwhile() {
    let (sandbox, mut states) = moved_on(&[]);
    let new = sandbox.data().join("new.sqlite");
    let told = json(&sandbox, 0, &["restore", "attendance", "--to", new.to_str().unwrap()]);
    let mut application = Application::start(&sandbox.database());
    application.write_every(std::time::Duration::from_millis(1));
    application.wait_for_commits(5);
    states.now = application.kill().last();
    assert!(beside(&sandbox.database(), "-wal").exists());
    let command = told["next"].as_array().unwrap().last().unwrap().as_str().unwrap();
    let configured = format!("litekeeper --config {} ", sandbox.configuration().display());
    let words: Vec<&str> =
        command.strip_prefix(&configured).unwrap().split(' ').chain(["--accept-unseen"]).collect();
    let output = sandbox.litekeeper(&words);
    assert!(output.status.success(), "{command}: {}", stderr(&output));
    assert_restored(&sandbox, states);
}

#[test]
fn owner_group_mode_access_list_and_attributes_are_those_of_the_old_database() {
    if !is_root() {
        return;
    }
    let (sandbox, states) = moved_on(&[]);
    sandbox.give_data_to(APPLICATION);
    let database = sandbox.database();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o640)).unwrap();
    // As acl(5) and the kernel's posix_acl_xattr.h have it: user::rw-, user:4712:rw-, group::r--,
    // mask::rw-, other::---.
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, allowed, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 6, 4712), (4, 4, u32::MAX), (0x10, 6, u32::MAX), (0x20, 0, u32::MAX)]
    {
        list.extend([&tag.to_le_bytes()[..], &allowed.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    let attributes = [("system.posix_acl_access", list), ("user.owner", b"attendance".to_vec())];
    for (name, value) in &attributes {
        if setxattr(&database, *name, value, XattrFlags::empty()).is_err() {
            return skip("this filesystem has no access lists or attributes");
        }
    }
    let of = |path: &Path| {
        let file = fs::metadata(path).unwrap();
        (file.uid(), file.gid(), file.mode())
    };
    let before = of(&database);
    assert_restores(&sandbox);
    assert_eq!((of(&database), of(&kept(&sandbox)[0])), (before, before));
    assert_eq!(before.0, APPLICATION.uid);
    for (name, value) in &attributes {
        let mut found = [0; 256];
        let length = getxattr(&database, *name, &mut found[..]).unwrap();
        assert_eq!(&found[..length], value, "{name}");
    }
    assert!(commits_as(&sandbox, 2, Some(APPLICATION)) > states.backup);
}

#[test]
fn a_damaged_backup_is_refused_before_anything_is_touched() {
    let (sandbox, _) = killed_in_wal_mode();
    let backup = file(&sandbox, &manifests(&sandbox)[0]);
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&backup, bytes).unwrap();
    assert_refused(&sandbox, 12, &["damaged"]);
}

#[test]
fn a_missing_database_is_restored_and_what_lay_beside_it_is_kept() {
    let (sandbox, states) = killed_in_wal_mode();
    fs::remove_file(sandbox.database()).unwrap();
    let log = fs::read(beside(&sandbox.database(), "-wal")).unwrap();
    let told = json(&sandbox, 0, &IN_PLACE);
    assert_eq!(assert_sound(&sandbox.database()), states.backup);
    let old = told["kept"].as_array().unwrap().iter().map(|path| path.as_str().unwrap());
    let old = old.filter(|path| path.ends_with("-wal")).collect::<Vec<_>>();
    assert_eq!(fs::read(old[0]).unwrap(), log);
    assert!(told["warnings"].to_string().contains("missing"), "{told}");
}

#[test]
fn a_link_to_a_database_that_is_gone_leads_to_its_place() {
    let (sandbox, states) = moved_on(&[]);
    let real = sandbox.path().join("real");
    fs::create_dir(&real).unwrap();
    fs::remove_file(sandbox.database()).unwrap();
    symlink("../real/there.sqlite", sandbox.database()).unwrap();
    assert_restores(&sandbox);
    assert_eq!(assert_sound(&real.join("there.sqlite")), states.backup);
    assert!(sandbox.database().is_symlink());
}

#[test]
fn a_database_that_sqlite_cannot_even_lock_is_moved_aside_with_all_that_belongs_to_it() {
    let overwritten = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[..4096].fill(0xa5);
        fs::write(path, bytes).unwrap();
    };
    let emptied = |path: &Path| fs::write(path, "").unwrap();
    for (killed, break_it) in [
        (killed_in_wal_mode as fn() -> _, &emptied as &dyn Fn(&Path)),
        (killed_in_rollback_mode, &emptied),
        (|| moved_on(&["--journal-mode", "delete"]), &overwritten),
    ] {
        let (sandbox, states) = killed();
        let database = sandbox.database();
        break_it(&database);
        let read = |base: &Path| ["", "-wal", "-journal"].map(|suffix| fs::read(beside(base, suffix)).ok());
        let before = read(&database);
        let told = json(&sandbox, 0, &IN_PLACE);
        assert!(told["warnings"].to_string().contains("kept as they were"), "{told}");
        assert!(read(&kept(&sandbox)[0]) == before);
        assert_eq!(assert_sound(&database), states.backup);
    }
}

/// The application's SQLite may be newer than ours. Its last commits are in the log, and must get
/// into the kept file.
#[test]
fn a_database_whose_schema_only_its_application_understands_is_locked_and_completed_all_the_same() {
    let (sandbox, states) = moved_on(&[]);
    let program = "
import os, signal, sqlite3, sys
if os.fork() == 0:
    c = sqlite3.connect(sys.argv[1], isolation_level=None)
    c.execute('PRAGMA writable_schema = ON')
    c.execute(\"UPDATE sqlite_schema SET sql = 'CREATE TABLE users IN THE FUTURE' WHERE name = 'users'\")
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
";
    crate::support::application::script(&sandbox.database(), program);
    let has_it = |path: &Path| fs::read(path).unwrap().windows(13).any(|bytes| bytes == b"IN THE FUTURE");
    assert!(!has_it(&sandbox.database()) && has_it(&beside(&sandbox.database(), "-wal")));
    let told = json(&sandbox, 0, &IN_PLACE);
    assert!(!told["warnings"].to_string().contains("of no use"), "{told}");
    assert_eq!(told["kept"].as_array().unwrap().len(), 1, "{told}");
    assert!(has_it(&kept(&sandbox)[0]));
    assert_eq!(assert_sound(&sandbox.database()), states.backup);
}

/// A page in the middle: SQLite can lock it, and complete it from its log.
#[test]
fn a_database_with_a_damaged_page_is_replaced() {
    let (sandbox, states) = killed_in_wal_mode();
    let mut bytes = fs::read(sandbox.database()).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(sandbox.database(), bytes).unwrap();
    assert_restores(&sandbox);
    assert_eq!(assert_sound(&sandbox.database()), states.backup);
    assert_eq!(kept(&sandbox).len(), 1);
}

#[test]
fn the_state_of_a_time_is_put_in_place_without_any_state_of_a_daemon() {
    let (sandbox, states) = moved_on(&[]);
    let first = manifests(&sandbox)[0]["started"].as_str().unwrap().to_owned();
    // The next backup has a name of a later second.
    backed_up(&sandbox);
    assert_eq!(manifests(&sandbox).len(), 2);
    fs::remove_dir_all(sandbox.state()).unwrap();
    let stamp = first.split('.').next().unwrap().trim_end_matches('Z').to_owned() + "Z";
    let told = json(&sandbox, 0, &[&IN_PLACE[..], &["--at", &stamp]].concat());
    assert_eq!(told["backup"], manifests(&sandbox)[0]["file"]);
    assert_restored(&sandbox, states);
    assert!(!sandbox.state().exists());
}

#[test]
fn a_database_with_a_second_name_is_refused_and_a_link_to_it_stays_one() {
    let (sandbox, states) = moved_on(&[]);
    let second = sandbox.path().join("second.sqlite");
    fs::hard_link(sandbox.database(), &second).unwrap();
    assert_refused(&sandbox, 1, &["2 hard links"]);
    fs::remove_file(second).unwrap();

    let real = sandbox.data().join("real.sqlite");
    fs::rename(sandbox.database(), &real).unwrap();
    symlink("real.sqlite", sandbox.database()).unwrap();
    assert_restores(&sandbox);
    assert!(sandbox.database().is_symlink() && !real.is_symlink());
    assert_restored(&sandbox, states);
}

#[test]
fn a_database_that_is_mounted_as_a_single_file_is_refused() {
    let (sandbox, _) = moved_on(&[]);
    let on_itself = |path: &Path| {
        Command::new("mount")
            .arg("--bind")
            .args([path, path])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !on_itself(&sandbox.database()) {
        return skip("only root can mount");
    }
    let refused = std::panic::catch_unwind(|| assert_refused(&sandbox, 1, &["mount of a single file"]));
    assert!(Command::new("umount").arg(sandbox.database()).status().unwrap().success());
    refused.unwrap();
}
