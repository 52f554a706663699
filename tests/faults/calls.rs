//! System calls that fail: each of a run's, one run after another, until a run makes no further
//! call of that kind.

use crate::scene::{Before, KEPT, Scene, said};
use crate::support::backups::{directory, unfinished};
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::history::{newest, wait_for_run};
use crate::support::{skip, wait_until};
use crate::tracer::{self, CHANGING, Call, Traced, Tracer};
use rusqlite::Connection;
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Which calls of a kind fail, each in a run of its own.
#[derive(Clone, Copy)]
enum Which {
    Each,
    /// The first ones, and ever fewer of the later ones, for what a run does a hundred times.
    Some,
}

/// Lets calls of each of these kinds fail, until a run makes no further one.
fn sweep(
    scene: &mut Scene,
    kinds: &[&str],
    which: Which,
    fault: &str,
    mut judge: impl FnMut(&mut Scene, &Before, &Fault),
) {
    // The history's log is begun by one run and held open: it is flushed no more, and has no part
    // in the counting.
    let reader = Connection::open(scene.sandbox.state().join("state.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM run").unwrap();
    scene.backup();
    let mut met = 0;
    for kind in kinds {
        let mut nth = 1;
        loop {
            let before = scene.before();
            let strace = Tracer::new(CHANGING).inject(kind, fault, nth);
            let traced = strace.run(&scene.sandbox, &["backup", "attendance"]);
            let failed: Vec<Call> = traced.calls.iter().filter(|call| call.failed()).cloned().collect();
            if failed.is_empty() {
                assert_eq!(traced.output.status.code(), Some(0), "{}", said(&traced.output));
                assert!(scene.assert_nothing_lost(&before).is_some());
                break;
            }
            met += 1;
            judge(scene, &before, &Fault { failed, traced });
            // Whatever it was, it is over.
            scene.backup();
            nth += match which {
                Which::Each => 1,
                Which::Some => 1 + nth / 6,
            };
        }
    }
    println!("{met} calls of {kinds:?} failed with {fault}");
    assert!(met > 0, "no run made a call of {kinds:?}");
}

/// A run and what it met.
struct Fault {
    failed: Vec<Call>,
    traced: Traced,
}

impl Fault {
    fn failed_in(&self, place: &str) -> bool {
        self.failed.iter().any(|call| call.text.contains(place))
    }

    fn told(&self) -> String {
        let failed: Vec<&str> = self.failed.iter().map(|call| call.text.as_str()).collect();
        format!("{}\n{}", failed.join("\n"), said(&self.traced.output))
    }
}

/// Exit 0 and 3 say that there is a new backup, and 1 that there is none; and only 0 needs no
/// words.
fn assert_honest(scene: &mut Scene, before: &Before, fault: &Fault) -> Option<String> {
    let made = scene.assert_nothing_lost(before);
    match fault.traced.output.status.code() {
        Some(0 | 3) => {
            assert!(made.is_some(), "no backup was made, and it says so to nobody: {}", fault.told());
        }
        // It failed; or broke before it began, or at what is no disk, such as the end of a pipe.
        _ => assert_eq!(made, None, "{}", fault.told()),
    }
    if fault.traced.output.status.code() != Some(0) {
        let said = said(&fault.traced.output);
        assert!(
            ["litekeeper: ", "problem: ", "error: ", "error while loading", "panicked"]
                .iter()
                .any(|word| said.contains(word)),
            "{}",
            fault.told()
        );
    }
    made
}

#[test]
fn a_flush_that_fails_fails_the_backup_and_is_not_tried_again() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    let mut scene = Scene::new();
    let place = directory(&scene.sandbox).display().to_string();
    let (mut files, mut directories) = (0, 0);
    sweep(&mut scene, &["fsync", "fdatasync"], Which::Each, "error=EIO", |scene, before, fault| {
        let made = assert_honest(scene, before, fault);
        scene.assert_clean();
        if !fault.failed_in(&place) {
            return;
        }
        scene.assert_loud(&fault.traced.output, &place);
        let file = fault.failed.iter().find_map(|call| call.text.split_once("/.tmp-")?.1.split('>').next());
        if let Some(file) = file {
            files += 1;
            assert_eq!(made, None, "{}", fault.told());
            // After a failed fsync the pages count as clean: a second one would say that all is
            // well.
            let after = fault.traced.calls.iter().skip_while(|call| !call.failed()).skip(1);
            let again = after.filter(|call| call.text.contains(file)).find(|call| {
                call.name().contains("sync") || call.name().contains("rename") || call.name() == "linkat"
            });
            assert!(again.is_none(), "{again:?} after {}", fault.told());
        } else {
            directories += 1;
        }
    });
    // Data and manifest, and the directory after each.
    assert!(files >= 2 && directories >= 2, "{files} files, {directories} times the directory");
    scene.end();
}

#[test]
fn a_rename_that_fails_fails_the_backup() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    let mut scene = Scene::new();
    let place = directory(&scene.sandbox).display().to_string();
    let mut met = 0;
    sweep(
        &mut scene,
        &["?rename", "?renameat", "renameat2", "linkat"],
        Which::Each,
        "error=EIO",
        |scene, before, fault| {
            assert_eq!(assert_honest(scene, before, fault), None);
            scene.assert_loud(&fault.traced.output, &place);
            scene.assert_clean();
            met += 1;
        },
    );
    assert!(met >= 2, "data and manifest, but {met}");
    scene.end();
}

#[test]
fn a_removal_that_fails_is_told_and_the_new_backup_counts() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    let mut scene = Scene::new();
    let mut met = 0;
    sweep(&mut scene, &["?unlink", "unlinkat"], Which::Each, "error=EIO", |scene, before, fault| {
        let made = assert_honest(scene, before, fault);
        let oldest = before.backups.first().unwrap();
        if fault.failed_in(&format!("\"{}", oldest.split('.').next().unwrap())) {
            met += 1;
            assert!(made.is_some());
            assert_eq!(fault.traced.output.status.code(), Some(3), "{}", fault.told());
            scene.assert_loud(&fault.traced.output, oldest.split('.').next().unwrap());
        }
    });
    assert!(met >= 2, "data and manifest, but {met}");
    scene.end();
}

#[test]
fn whatever_fails_to_open_close_or_lock_a_run_says_truly_whether_there_is_a_backup() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    let mut scene = Scene::new();
    for (kind, which, fault) in [
        ("close", Which::Some, "error=EIO"),
        ("?open", Which::Some, "error=ENFILE"),
        ("openat", Which::Some, "error=ENFILE"),
        ("flock", Which::Some, "error=ENOLCK"),
        ("ftruncate", Which::Each, "error=EIO"),
        ("fchmod", Which::Each, "error=EPERM"),
        ("pwrite64", Which::Some, "error=ENOSPC"),
    ] {
        sweep(&mut scene, &[kind], which, fault, |scene, before, fault| {
            assert_honest(scene, before, fault);
        });
    }
    scene.end();
}

/// Stops a daemon in the middle of writing a backup; gives the file that it writes, `None` where it
/// was done first.
fn stopped_while_it_writes(scene: &Scene, daemon: &Daemon) -> Option<PathBuf> {
    let place = directory(&scene.sandbox);
    let written = || {
        let packed = |name: &String| name.contains(".sqlite.gz");
        let path = place.join(unfinished(&scene.sandbox).into_iter().find(packed)?);
        fs::metadata(&path).is_ok_and(|file| file.len() > 0).then_some(path)
    };
    wait_until("a backup is being written", written);
    daemon.signal(Signal::STOP);
    // Far from its end: there is a write to come.
    written().filter(|path| fs::metadata(path).unwrap().len() < 4 << 20)
}

#[test]
fn a_write_that_fails_in_the_daemon_fails_that_run_alone() {
    if let Err(why) = tracer::check() {
        return skip(&why);
    }
    let mut scene = Scene::new();
    scene.ballast(8);
    let place = directory(&scene.sandbox).display().to_string();
    for (error, reason) in [("EIO", "io"), ("EDQUOT", "no_space")] {
        let before = scene.before();
        let mut after = newest(&scene.sandbox);
        let configuration = scene.sandbox.configure(&format!("{BACKUP_EACH_SECOND}keep_last = {KEPT}\n"));
        let daemon = Daemon::start(&configuration);
        let run = loop {
            let Some(file) = stopped_while_it_writes(&scene, &daemon) else {
                daemon.signal(Signal::CONT);
                after = wait_for_run(&scene.sandbox, "backup", after, "success").id;
                continue;
            };
            let calls = "write,pwrite64,writev,pwritev";
            let strace = Tracer::new(calls).of([file]).inject(calls, &format!("error={error}"), 1);
            let _attached = Attached::new(&strace, &daemon);
            daemon.signal(Signal::CONT);
            break wait_for_run(&scene.sandbox, "backup", after, "failure");
        };
        assert_eq!(run.reason, reason, "{run:?}");
        assert!(run.summary.contains(&place), "{run:?}");
        let labels = [("database", "attendance"), ("task", "backup"), ("outcome", "failure")];
        daemon.wait_for_metrics("it counts", |metrics| {
            (metrics.get("litekeeper_job_runs_total", &labels)? >= 1.0).then_some(())
        });
        wait_for_run(&scene.sandbox, "backup", run.id, "success");
        assert!(daemon.stop().success());
        assert!(scene.listed().len() >= before.backups.len());
        for backup in scene.listed() {
            scene.prove(&backup.name);
        }
        scene.assert_clean();
    }
    scene.end();
}

/// strace on a process that runs. Dropped, it lets go of it.
struct Attached(Child);

impl Attached {
    /// Returns when it holds all threads.
    fn new(strace: &Tracer, daemon: &Daemon) -> Self {
        let mut command = strace.strace();
        command.arg("-p").arg(daemon.pid().as_raw_nonzero().to_string());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        wait_until("strace is attached", || {
            let threads = fs::read_dir(format!("/proc/{}/task", daemon.pid().as_raw_nonzero())).unwrap();
            let traced = format!("TracerPid:\t{}\n", child.id());
            let mut states =
                threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).ok());
            states.all(|state| state.contains(&traced)).then_some(())
        });
        Self(child)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // By a signal that it handles: killed, it would leave the daemon stopped.
        let _ = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}
