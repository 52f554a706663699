//! `restore --in-place` beside real applications: who has the database open is named and nothing is touched; the old set
//! is kept whole, and nothing of it gets into the restored database.

use crate::support::application::{Application, Owner};
use crate::support::backups::{directory, file, files, gunzipped, manifests};
use crate::support::restoring::{
    ALL_SEEN, IN_PLACE, assert_restored, backed_up, beside, can_trace, commits, commits_as, json, kept,
    killed_in_rollback_mode, killed_in_wal_mode, look, moved_on, stderr, traced, unfinished,
};
use crate::support::sandbox::{Sandbox, copy_for_all, program};
use crate::support::soundness::{assert_sound, check};
use crate::support::{skip, wait_until};
use litekeeper::config::JobKind;
use litekeeper::state::State;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const APPLICATION: Owner = Owner { uid: 4711, gid: 4711 };

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("only root can play several users");
    }
    is_root
}

/// Refused as locked, with these words, and nothing changed.
fn assert_refused(sandbox: &Sandbox, code: i32, words: &[&str]) {
    let before = look(sandbox);
    let output = sandbox.litekeeper(&IN_PLACE);
    let said = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    assert_eq!(look(sandbox), before);
}

fn restored(sandbox: &Sandbox) {
    let output = sandbox.litekeeper(&IN_PLACE);
    assert!(output.status.success(), "{}", stderr(&output));
}

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

        restored(&sandbox);
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

        restored(&sandbox);
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

/// What lies beside the database when the command is typed need not have been there when it was printed.
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
    let words: Vec<&str> =
        command.strip_prefix("litekeeper ").unwrap().split(' ').chain(["--accept-unseen"]).collect();
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
    // As acl(5) and the kernel's posix_acl_xattr.h have it: user::rw-, user:4712:rw-, group::r--, mask::rw-, other::---.
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
    restored(&sandbox);
    assert_eq!((of(&database), of(&kept(&sandbox)[0])), (before, before));
    assert_eq!(before.0, APPLICATION.uid);
    for (name, value) in &attributes {
        let mut found = [0; 256];
        let length = getxattr(&database, *name, &mut found[..]).unwrap();
        assert_eq!(&found[..length], value, "{name}");
    }
    assert!(commits_as(&sandbox, 2, Some(APPLICATION)) > states.backup);
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

/// Removed under the application, which goes on with the file that has no name any more.
#[test]
fn h18_an_application_that_still_has_the_removed_database_open_is_named() {
    let (sandbox, states) = moved_on(&["--journal-mode", "delete"]);
    let application = Application::start(&sandbox.database());
    fs::remove_file(sandbox.database()).unwrap();
    assert_refused(&sandbox, 11, &[&format!("process {}", application.pid())]);
    application.kill();
    restored(&sandbox);
    assert_eq!(assert_sound(&sandbox.database()), states.backup);
}

#[test]
fn a_link_to_a_database_that_is_gone_leads_to_its_place() {
    let (sandbox, states) = moved_on(&[]);
    let real = sandbox.path().join("real");
    fs::create_dir(&real).unwrap();
    fs::remove_file(sandbox.database()).unwrap();
    symlink("../real/there.sqlite", sandbox.database()).unwrap();
    restored(&sandbox);
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

/// The application's SQLite may be newer than ours. Its last commits are in the log, and must get into the kept file.
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
    restored(&sandbox);
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
fn a_job_that_is_at_work_is_not_disturbed() {
    let (sandbox, states) = moved_on(&[]);
    let lock = State::open(&sandbox.state()).unwrap().lock("attendance", JobKind::Maintain).unwrap();
    assert_refused(&sandbox, 11, &["in use by maintain"]);
    json(&sandbox, 11, &[&IN_PLACE[..], &["--dry-run"]].concat());
    drop(lock);
    restored(&sandbox);
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
    restored(&sandbox);
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

#[test]
fn a_directory_without_room_is_refused_before_anything_is_written() {
    let small = |path: &Path| {
        let options = ["-t", "tmpfs", "-o", "size=400k", "tmpfs"];
        Command::new("mount").args(options).arg(path).output().is_ok_and(|output| output.status.success())
    };
    let (sandbox, _) = moved_on(&[]);
    let aside = sandbox.path().join("aside");
    fs::copy(sandbox.database(), &aside).unwrap();
    if !small(&sandbox.data()) {
        return skip("only root can mount");
    }
    fs::copy(&aside, sandbox.database()).unwrap();
    let filler = sandbox.data().join("filler");
    fs::write(&filler, vec![1; 200 << 10]).unwrap();
    let refused = std::panic::catch_unwind(|| assert_refused(&sandbox, 1, &["free", "needs"]));
    assert!(Command::new("umount").arg(sandbox.data()).status().unwrap().success());
    refused.unwrap();
}

#[test]
fn h26_a_backup_that_is_being_restored_is_not_rotated_away_by_another_process() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nkeep_last = 1\nskip_unchanged = false\n");
    let sql = "CREATE TABLE noise (x); INSERT INTO noise SELECT randomblob(1 << 20) FROM attendance LIMIT 48";
    rusqlite::Connection::open(sandbox.database()).unwrap().execute_batch(sql).unwrap();
    backed_up(&sandbox);
    let held = files(&sandbox);
    let mut command = program();
    command.arg("--config").arg(sandbox.configuration()).args(IN_PLACE);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the restore has begun", || (!unfinished(&sandbox).is_empty()).then_some(()));
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    // Another machine's view: its lock is not ours, so that its backup is not kept out.
    sandbox.configure(&format!(
        "[daemon]\nstate_dir = {:?}\n[backup]\nkeep_last = 1\nskip_unchanged = false\n",
        sandbox.path().join("other").to_str().unwrap()
    ));
    backed_up(&sandbox);
    assert!(held.iter().all(|name| files(&sandbox).contains(name)), "{held:?} in {:?}", files(&sandbox));
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    // Nobody holds it any more.
    backed_up(&sandbox);
    assert!(!held.iter().any(|name| files(&sandbox).contains(name)), "{held:?} in {:?}", files(&sandbox));
}

/// Stopped between its last look and the rename: whoever opens the database now gets the old file, waits for the lock,
/// and would use the new one's log. The fourth flush is that of the directory before the rename.
#[test]
fn h18_who_opens_the_old_file_at_the_last_moment_is_kept_from_it_until_it_has_closed_it() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    for journal_mode in ["wal", "delete"] {
        let (sandbox, states) = moved_on(&["--journal-mode", journal_mode]);
        let trace = sandbox.path().join("trace");
        let options = ["-e", "trace=fsync,renameat", "-e", "inject=fsync:signal=STOP:when=4"];
        let child = traced(&sandbox, &trace, &options, &IN_PLACE);
        let pid = Pid::from_child(&child);
        wait_until("it is stopped", || {
            fs::read_to_string(&trace).unwrap_or_default().contains("stopped by").then_some(())
        });
        assert!(!fs::read_to_string(&trace).unwrap().contains("renameat("));
        let late = Command::new("python3")
            .args(["-Ic", "import sqlite3, sys\nsqlite3.connect(sys.argv[1], timeout = 600).execute('DELETE FROM users')"])
            .arg(sandbox.database())
            .spawn();
        let mut late = late.unwrap();
        let open = format!("/proc/{}/fd", late.id());
        wait_until("the late one has it open", || {
            fs::read_dir(&open)
                .ok()?
                .find_map(|fd| (fs::read_link(fd.ok()?.path()).ok()? == sandbox.database()).then_some(()))
        });
        kill_process(pid, Signal::CONT).unwrap();
        wait_until("it has the new file", || {
            (fs::read_to_string(&trace).unwrap().contains("renameat(") && kept(&sandbox).len() == 1)
                .then_some(())
        });
        let lines = crate::support::process::lines::Lines::default();
        let mut child = child;
        lines.read(child.stderr.take().unwrap());
        let said =
            lines.wait_for("who it waits for", 0, |line| line.contains("process").then(|| line.to_owned()));
        assert!(said.contains("opened the old file") || said.contains(&late.id().to_string()), "{said}");
        assert!(child.try_wait().unwrap().is_none() && late.try_wait().unwrap().is_none());
        if journal_mode == "wal" {
            late.kill().unwrap();
            late.wait().unwrap();
            assert!(child.wait().unwrap().success());
        } else {
            // The operator does not wait, and is told what to do at once.
            kill_process(pid, Signal::INT).unwrap();
            lines.wait_for("what to do", 0, |line| line.contains("end it at once").then_some(()));
            assert_eq!(child.wait().unwrap().code(), Some(1));
            late.kill().unwrap();
            late.wait().unwrap();
        }
        assert_restored(&sandbox, states);
    }
}

/// Each of its steps may fail. What was moved aside by then is put back, a file that SQLite could not use included.
#[test]
fn a_step_that_fails_leaves_the_old_database_as_it_was() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let of_no_use = || {
        let (sandbox, states) = killed_in_wal_mode();
        // Its log as well: one that happens to hold the first page makes a database of the file again.
        fs::write(sandbox.database(), "no database").unwrap();
        fs::write(beside(&sandbox.database(), "-wal"), "no log").unwrap();
        (sandbox, states)
    };
    for (scene, is_sound) in [(killed_in_wal_mode as fn() -> _, true), (of_no_use, false)] {
        let (sandbox, states) = scene();
        let content = || ["", "-wal"].map(|suffix| fs::read(beside(&sandbox.database(), suffix)).ok());
        let before = content();
        let mut failed = 0;
        for call in ["fchown", "fchmod", "ftruncate", "linkat", "unlinkat", "renameat2", "renameat", "fsync"]
        {
            for n in 1.. {
                let inject = format!("inject={call}:error=EIO:when={n}");
                let options = ["-e", &format!("trace={call}"), "-e", &inject];
                let child = traced(&sandbox, &sandbox.path().join("trace"), &options, &IN_PLACE);
                let output = child.wait_with_output().unwrap();
                if output.status.success() {
                    break;
                }
                failed += 1;
                let at = format!("{call} number {n}: {}\n{:?}", stderr(&output), look(&sandbox));
                assert!(output.status.code() == Some(1) && stderr(&output).contains("rror"), "{at}");
                assert!(unfinished(&sandbox).is_empty(), "{at}");
                if stderr(&output).contains("is in place") {
                    assert_eq!(check(&sandbox.database()), Ok(states.backup), "{at}");
                    break;
                }
                assert!(kept(&sandbox).is_empty(), "{at}");
                if is_sound {
                    assert_eq!(check(&sandbox.database()), Ok(states.now), "{at}");
                } else {
                    assert!(content() == before, "{at}");
                }
            }
            // As it was, for the next one.
            for old in fs::read_dir(sandbox.data()).unwrap().map(|entry| entry.unwrap().path()) {
                let name = old.to_str().unwrap();
                let Some((_, rest)) = name.split_once(".before-restore-") else { continue };
                fs::rename(&old, beside(&sandbox.database(), &rest[16..])).unwrap();
            }
        }
        assert!(failed >= 7, "only {failed}");
    }
}

/// The data of the new file; what lies beside the old one out of the way; the rename: each is on disk before the next.
/// And nothing is removed by its name once that is the new database's.
#[test]
fn h20_nothing_of_the_old_set_can_be_found_beside_the_new_database_after_a_power_cut() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let scenes: [fn() -> _; 3] = [
        killed_in_wal_mode,
        killed_in_rollback_mode,
        // Its journal stays behind, of no further use.
        || {
            let (sandbox, states) = moved_on(&["--journal-mode", "delete"]);
            let sql = "PRAGMA journal_mode = persist; UPDATE users SET email = 'new'";
            rusqlite::Connection::open(sandbox.database()).unwrap().execute_batch(sql).unwrap();
            assert!(beside(&sandbox.database(), "-journal").exists());
            (sandbox, states)
        },
    ];
    for scene in scenes {
        let (sandbox, states) = scene();
        let trace = sandbox.path().join("trace");
        let calls = "trace=fsync,fdatasync,linkat,unlink,unlinkat,rename,renameat,renameat2";
        let child = traced(&sandbox, &trace, &["-y", "-e", calls], &IN_PLACE);
        assert!(child.wait_with_output().unwrap().status.success());
        assert_restored(&sandbox, states);
        let trace = fs::read_to_string(trace).unwrap();
        let data = sandbox.data().display().to_string();
        let ours: Vec<&str> = trace.lines().filter(|line| line.contains(&data)).collect();
        let all = ours.join("\n");
        let last = |before: usize, what: &dyn Fn(&str) -> bool| {
            let found = ours[..before].iter().rposition(|line| what(line));
            found.unwrap_or_else(|| panic!("not found in\n{all}"))
        };
        let named =
            last(ours.len(), &|line| line.contains("renameat(") && line.contains("\"attendance.sqlite\""));
        let flushed = |line: &str| line.contains("sync(") && line.contains(&format!("<{data}>"));
        let cleared = last(named, &flushed);
        let moved = last(named, &|line| line.contains("unlink") || line.contains("attendance.sqlite-"));
        let written = last(named, &|line| line.contains("sync(") && line.contains(".restoring-"));
        assert!(written < cleared && moved < cleared && cleared < named, "{all}");
        assert!(ours[named + 1..].iter().all(|line| flushed(line)) && ours.len() > named + 1, "{all}");
    }
}

#[test]
fn what_a_killed_restore_left_is_removed_by_the_next_and_that_of_a_living_one_is_not() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let sql = "CREATE TABLE noise (x); INSERT INTO noise SELECT randomblob(1 << 20) FROM attendance LIMIT 48";
    rusqlite::Connection::open(sandbox.database()).unwrap().execute_batch(sql).unwrap();
    backed_up(&sandbox);
    let to = sandbox.data().join("restored.sqlite");
    let args = ["restore", "attendance", "--to", to.to_str().unwrap()];
    let halfway = || {
        let before = unfinished(&sandbox);
        let mut command = program();
        command.arg("--config").arg(sandbox.configuration()).args(args);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let name = wait_until("the restore has begun", || {
            unfinished(&sandbox).into_iter().find(|name| !before.contains(name))
        });
        kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
        (child, name)
    };
    let (mut killed, left) = halfway();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(unfinished(&sandbox), [left]);
    let (living, its) = halfway();
    assert_eq!(unfinished(&sandbox), [its.as_str()]);
    let output = sandbox.litekeeper(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(unfinished(&sandbox), [its]);
    let first = fs::metadata(&to).unwrap().ino();
    kill_process(Pid::from_child(&living), Signal::CONT).unwrap();
    let output = living.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("exists"), "{}", stderr(&output));
    assert_eq!((fs::metadata(&to).unwrap().ino(), unfinished(&sandbox).len()), (first, 0));
}

/// As on NFS.
#[test]
fn a_filesystem_that_cannot_rename_without_replacing_gets_the_file_all_the_same_and_over_nothing() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let (sandbox, states) = moved_on(&[]);
    let to = sandbox.data().join("restored.sqlite");
    let args = ["restore", "attendance", "--to", to.to_str().unwrap()];
    let restore = || {
        let options = ["-e", "trace=renameat2", "-e", "inject=renameat2:error=EINVAL"];
        traced(&sandbox, &sandbox.path().join("trace"), &options, &args).wait_with_output().unwrap()
    };
    let output = restore();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(assert_sound(&to), states.backup);
    assert_eq!((fs::metadata(&to).unwrap().nlink(), unfinished(&sandbox)), (1, Vec::new()));
    assert_eq!(restore().status.code(), Some(1));
}
