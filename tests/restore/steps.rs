//! The steps of a restore in place: one that fails, is late, or is cut short leaves the old
//! database or the new one, whole.

use super::fixture::assert_refused;
use crate::support::backups::files;
use crate::support::disk::Disk;
use crate::support::restoring::{
    IN_PLACE, assert_restored, backed_up, beside, can_trace, kept, killed_in_rollback_mode,
    killed_in_wal_mode, look, moved_on, stderr, traced, unfinished,
};
use crate::support::sandbox::{Sandbox, program};
use crate::support::soundness::{assert_sound, check};
use crate::support::{skip, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

#[test]
fn a_directory_without_room_is_refused_before_anything_is_written() {
    let (sandbox, _) = moved_on(&[]);
    let aside = sandbox.path().join("aside");
    fs::copy(sandbox.database(), &aside).unwrap();
    let Some(_disk) = Disk::memory(&sandbox.data(), "400k") else {
        return skip("only root can mount");
    };
    fs::copy(&aside, sandbox.database()).unwrap();
    let filler = sandbox.data().join("filler");
    fs::write(&filler, vec![1; 200 << 10]).unwrap();
    assert_refused(&sandbox, 1, &["free", "needs"]);
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

/// Stopped between its last look and the rename: whoever opens the database now gets the old file,
/// waits for the lock, and would use the new one's log. The fourth flush is that of the directory
/// before the rename.
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

/// Each of its steps may fail. What was moved aside by then is put back, a file that SQLite could
/// not use included.
#[test]
fn a_step_that_fails_leaves_the_old_database_as_it_was() {
    if !can_trace() {
        return skip("strace is missing or may not trace");
    }
    let of_no_use = || {
        let (sandbox, states) = killed_in_wal_mode();
        // Its log as well: one that happens to hold the first page makes a database of the file
        // again.
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

/// The data of the new file; what lies beside the old one out of the way; the rename: each is on
/// disk before the next. And nothing is removed by its name once that is the new database's.
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
            // What is written is locked already, and is not taken for that of a dead process.
            let is_written = |name: &String| {
                !before.contains(name)
                    && fs::metadata(sandbox.data().join(name)).is_ok_and(|file| file.len() > 0)
            };
            unfinished(&sandbox).into_iter().find(is_written)
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
