//! A source that goes away, shrinks, is replaced, cannot be read or is damaged, before and in the
//! middle of a backup. What was backed up is a state that existed, or nothing; and it is told.

use crate::scene::{Before, KEPT, Scene, said};
use crate::support::backups::unfinished;
use crate::support::restoring::traced;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::{skip, wait_until};
use crate::tracer::{self, Tracer};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::FileExt;
use std::process::{Output, Stdio};

/// Runs a backup that is stopped at its `nth` read of the database, does `deed`, and lets it go on
/// to its end.
fn meanwhile(sandbox: &Sandbox, nth: usize, deed: impl FnOnce()) -> Output {
    let strace = Tracer::new("pread64").of([sandbox.database()]).inject("pread64", "signal=STOP", nth);
    let mut command = strace.strace();
    command.arg(env!("CARGO_BIN_EXE_litekeeper")).arg("--config").arg(sandbox.configuration());
    let child = command.args(["backup", "attendance"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap();
    // Not the state of the process, which under strace stops at each call for a moment.
    wait_until("the backup is stopped", || strace.is_stopped().then_some(()));
    let traced = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let stopped = Pid::from_raw(traced.split_whitespace().next().unwrap().parse().unwrap()).unwrap();
    deed();
    kill_process(stopped, Signal::CONT).unwrap();
    child.wait_with_output().unwrap()
}

/// A database of 3 MiB of which nobody holds a page in a log, and a few backups of it.
fn settled() -> (Scene, Before) {
    let mut scene = Scene::new();
    scene.ballast(3);
    scene.backup();
    scene.application.pause();
    let before = one_more_commit(&mut scene);
    (scene, before)
}

/// A change, so that there is something to back up, and all of it in the file itself.
fn one_more_commit(scene: &mut Scene) -> Before {
    scene.application.sql("UPDATE users SET email = email || 'x' WHERE id = 1");
    scene.application.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    scene.before_nothing_new()
}

/// The descriptors that the backup has open still lead to what the application wrote.
#[test]
fn a_database_that_is_removed_or_replaced_in_the_middle_is_backed_up_as_it_was_or_not_at_all() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    for replaced in [false, true] {
        let (mut scene, before) = settled();
        let (database, away) = (scene.sandbox.database(), scene.sandbox.path().join("away.sqlite"));
        let other = scene.sandbox.data().join("other");
        let output = meanwhile(&scene.sandbox, 300, || {
            fs::rename(&database, &away).unwrap();
            if replaced {
                fs::write(&other, vec![7; 1 << 20]).unwrap();
                fs::rename(&other, &database).unwrap();
            }
        });
        let next = scene.sandbox.litekeeper(&["backup", "attendance"]);
        assert!(!next.status.success(), "{}", said(&next));
        scene.assert_loud(&next, database.to_str().unwrap());
        assert_eq!(database.exists(), replaced, "it was made anew");
        assert_eq!(fs::metadata(&database).map_or(0, |file| file.len()), if replaced { 1 << 20 } else { 0 });
        fs::rename(&away, &database).unwrap();
        let made = scene.assert_nothing_lost(&before);
        assert_eq!(made.is_some(), output.status.success(), "{}", said(&output));
        scene.assert_clean();
        scene.application.write_every(std::time::Duration::from_millis(20));
        scene.backup();
        scene.end();
    }
}

/// A file that a copy or a filesystem left short: SQLite reads zeros past its end, which is an
/// error only where it looks at what the page is.
#[test]
fn a_database_that_is_cut_short_in_the_middle_fails_the_run() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    // Where a table begins, and in what is stored in it.
    for pages in [15, 400] {
        let (mut scene, before) = settled();
        let database = scene.sandbox.database();
        let whole = fs::read(&database).unwrap();
        let output = meanwhile(&scene.sandbox, 12, || {
            fs::OpenOptions::new().write(true).open(&database).unwrap().set_len(pages * 4096).unwrap();
        });
        let file = fs::OpenOptions::new().write(true).open(&database).unwrap();
        file.write_all_at(&whole, 0).unwrap();
        drop(file);
        assert_eq!(scene.assert_nothing_lost(&before), None, "{}", said(&output));
        scene.assert_loud(&output, database.to_str().unwrap());
        scene.assert_clean();
        scene.end();
    }
}

#[test]
fn a_database_that_cannot_be_read_fails_the_run_whichever_page_it_is() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    let (mut scene, mut before) = settled();
    let database = scene.sandbox.database();
    let (mut nth, mut failed) = (1, 0);
    loop {
        let strace = Tracer::new("pread64").of([database.clone()]).inject("pread64", "error=EIO", nth);
        let traced = strace.run(&scene.sandbox, &["backup", "attendance"]);
        let made = scene.assert_nothing_lost(&before);
        scene.assert_clean();
        if !traced.calls.iter().any(tracer::Call::failed) {
            assert!(made.is_some(), "{}", said(&traced.output));
            break;
        }
        if made.is_some() {
            // It was read again, or was not needed for the copy: what was made has been restored
            // and found sound.
            let told = said(&traced.output);
            assert!(traced.output.status.success() || told.contains("problem: "), "{told}");
        } else {
            failed += 1;
            scene.assert_loud(&traced.output, database.to_str().unwrap());
        }
        // strace counts by thread: where the second look at the file was another thread's, it met
        // an error, too.
        if traced.calls.iter().filter(|call| call.failed()).count() > 1 {
            let looked = scene.sandbox.litekeeper(&["health", "attendance", "--deep"]);
            assert_eq!(looked.status.code(), Some(0), "{}", said(&looked));
        }
        before = one_more_commit(&mut scene);
        nth += 1 + nth / 3;
    }
    assert!(failed >= 10, "{failed} reads failed");
    scene.end();
}

/// A disk that hangs for a moment, a cable, a network: whole when it is read again.
#[test]
fn reads_that_fail_for_a_while_are_told_as_that_and_leave_no_damage_behind() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    let (scene, _) = settled();
    let (sandbox, database) = (&scene.sandbox, scene.sandbox.database());
    let trace = sandbox.path().join("trace");
    // Each thread and each process reads the header, the schema and a few pages before.
    let fails = |args: &[&str]| {
        let path = database.to_str().unwrap();
        let inject = "inject=pread64:error=EIO:when=12+";
        let options = ["-e", "trace=pread64", "-P", path, "-e", inject];
        let output = traced(sandbox, &trace, &options, args).wait_with_output().unwrap();
        assert!(fs::read_to_string(&trace).unwrap().contains("EIO"), "no read failed: {}", said(&output));
        output
    };
    let output = fails(&["--json", "backup", "attendance"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &told["reason"]), (Some(1), &"io".into()), "{told}");
    assert!(told["summary"].as_str().unwrap().contains(database.to_str().unwrap()), "{told}");
    // Nobody has to step in.
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert!(output.status.success(), "{}", said(&output));

    let output = fails(&["health", "attendance", "--deep"]);
    assert!(!output.status.success() && !said(&output).contains("damaged"), "{}", said(&output));
    assert!(said(&output).contains("could not be read"), "{}", said(&output));
    for args in [&["backup", "attendance"][..], &["health", "attendance", "--deep"]] {
        let output = sandbox.litekeeper(args);
        assert!(output.status.success(), "{}", said(&output));
    }
    scene.end();
}

/// Writes nonsense over the page where a table begins, as a disk may.
fn damage(sandbox: &Sandbox, table: &str) {
    let sql = format!("SELECT rootpage FROM sqlite_schema WHERE name = '{table}'");
    let root: u64 = crate::support::sql::value(&sandbox.database(), &sql);
    let file = fs::OpenOptions::new().write(true).open(sandbox.database()).unwrap();
    file.write_all_at(&[0xFF; 4096], (root - 1) * 4096).unwrap();
}

/// All of it may be worth having, but no older one is given up for it.
#[test]
fn the_backups_of_a_database_seen_to_be_damaged_are_told_and_push_out_none_from_before() {
    let scene = Scene::new();
    let before = scene.before();
    let Scene { sandbox, application, .. } = scene;
    application.stop();
    damage(&sandbox, "journal");
    for _ in 0..=KEPT {
        let output = sandbox.litekeeper(&["backup", "attendance"]);
        assert_eq!(output.status.code(), Some(12), "{}", said(&output));
        assert!(said(&output).contains("the database is damaged"), "{}", said(&output));
    }
    assert_eq!(unfinished(&sandbox), Vec::<String>::new());
    for name in &before.backups {
        assert_restores(&sandbox, name);
    }
}

/// A backup does not look at every page, and no run of it is worth waiting for one that does.
#[test]
fn damage_that_no_backup_sees_does_not_push_out_the_newest_that_was_verified_and_verify_finds_it() {
    let scene = Scene::new();
    let Scene { sandbox, application, .. } = scene;
    application.stop();
    let output = sandbox.litekeeper(&["--json", "verify", "attendance"]);
    assert!(output.status.success(), "{}", said(&output));
    let verified: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let verified = verified["detail"]["name"].as_str().unwrap();
    damage(&sandbox, "attendance");
    for _ in 0..=KEPT {
        sandbox.litekeeper(&["backup", "attendance"]);
    }
    let output = sandbox.litekeeper(&["verify", "attendance"]);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    assert_restores(&sandbox, verified);
}

fn assert_restores(sandbox: &Sandbox, name: &str) {
    let target = sandbox.path().join("restored.sqlite");
    let output = sandbox.litekeeper(&["restore", "attendance", name, "--to", target.to_str().unwrap()]);
    assert!(output.status.success(), "{name}: {}", said(&output));
    assert_sound(&target);
    fs::remove_file(&target).unwrap();
}
