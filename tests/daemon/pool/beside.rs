//! HAZARDS H1 and H2: locks that an application relies on are never dropped behind SQLite's back.

use super::fixture::{Fixture, LONG, call, soon};
use crate::support::application::Application;
use crate::support::calls::OnThread as _;
use crate::support::daemon::Daemon;
use crate::support::process::trace::opened_and_closed;
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::{skip, wait_until};
use litekeeper::sqlite::files::{access, paths};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Puts strace before the daemon, as its grandchild: the daemon stays our child.
fn traced(command: &mut Command, trace: &Path) {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-y", "-qq", "-e", "trace=open,openat,openat2,creat", "-o"]).arg(trace);
    strace.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    *command = strace;
}

/// The lines of a trace that open this file.
fn opens(trace: &Path, path: &Path) -> Vec<String> {
    opened_and_closed(&String::from_utf8_lossy(&fs::read(trace).unwrap()), path).0
}

/// How often a process has a file open.
fn open_in(pid: i32, path: &Path) -> usize {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).filter(|target| target == path).count()
}

#[test]
fn h01_the_daemon_opens_the_database_and_its_sidecars_through_sqlite_alone() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("strace is not installed");
    }
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        let mut application = Application::start(&sandbox.database());
        application.write_every(Duration::from_millis(20));
        let configuration =
            sandbox.configure("[backup]\nschedule = \"* * * * * *\"\n[health]\nschedule = \"* * * * * *\"");
        let trace = sandbox.path().join("trace");
        let daemon = Daemon::spawn(&configuration, |command| traced(command, &trace));
        let labels = [("database", "attendance"), ("task", "backup"), ("outcome", "success")];
        let runs = |m: &crate::support::metrics::Metrics| m.get("litekeeper_job_runs_total", &labels);
        daemon.wait_for_metrics("three backups were made", |metrics| runs(metrics).filter(|n| *n >= 3.0));

        let pid = daemon.pid().as_raw_nonzero().get();
        let database = fs::canonicalize(sandbox.database()).unwrap();
        // What was opened is still open: no descriptor of it was ever closed, so no lock was
        // dropped with it.
        wait_until("as many are open as were opened", || {
            let (opened, open) = (opens(&trace, &database).len(), open_in(pid, &database));
            (opened == open && open > 0).then_some(())
        });
        assert!(daemon.stop().success());
        let all =
            ["", "-wal", "-shm", "-journal"].map(|suffix| opens(&trace, &paths::sidecar(&database, suffix)));
        let all = all.concat();
        assert!(!all.is_empty());
        // What SQLite opens is what was looked at; nothing else in the program opens files like
        // that.
        let is_sqlites = |line: &str| ["/proc/self/fd/", "O_NOFOLLOW"].iter().any(|by| line.contains(by));
        let ours: Vec<_> = all.iter().filter(|line| !is_sqlites(line)).collect();
        assert!(ours.is_empty(), "opened beside SQLite: {ours:#?}");
        let seen = application.stop();
        assert_eq!(seen.errors, Vec::<String>::new());
        assert_eq!(assert_sound(&sandbox.database()), seen.last());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h01_no_commit_is_lost_while_two_pools_write_beside_the_application() {
    for (journal_mode, commits) in [("wal", 400), ("delete", 200)] {
        let options = ["--journal-mode", journal_mode];
        let one =
            Fixture::on(Sandbox::with_database(&options), |d| (d.pool.size, d.pool.busy_timeout) = (2, LONG));
        // Young connections come and go, which opens and closes the file through SQLite.
        let path = one.database.path.clone();
        let (sender, _slow) = litekeeper::pool::slow_statements(1 << 20);
        let mut again = one.database.clone();
        again.pool.recycle = Duration::from_millis(20);
        let two = litekeeper::pool::Pool::new(&again, sender).unwrap();
        let serve = ["--synchronous", "off", "--busy-timeout", "60000"];
        let mut application = Application::start_with(&path, &serve, None);
        // An application without any pause leaves the lock free for an instant at a time: on a
        // quick machine SQLite's look every 100 ms misses that for minutes.
        application.write_every(Duration::from_millis(1));

        let stop = Arc::new(AtomicBool::new(false));
        let looks = std::thread::spawn({
            let (stop, path) = (Arc::clone(&stop), path.clone());
            move || {
                let mut looks = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    access::check(&path).unwrap();
                    access::check_sidecars(&path).unwrap();
                    let _ = (access::warnings(&path), paths::wal_bytes(&path));
                    looks += 1;
                    std::thread::yield_now();
                }
                looks
            }
        });
        let writers = [one.pool.clone(), one.pool.clone(), two.clone()].map(|pool| {
            tokio::spawn(async move {
                for _ in 0..commits {
                    let call = call();
                    let write = pool.on_thread(&call, |c| {
                        c.execute_batch("PRAGMA synchronous = OFF")?;
                        Ok(c.execute("INSERT INTO users (name, created_at) VALUES ('ours', '')", [])?)
                    });
                    write.await.unwrap();
                }
            })
        });
        for writer in writers {
            soon(writer).await.unwrap();
        }
        application.wait_for_commits(1);
        stop.store(true, Ordering::Relaxed);
        assert!(looks.join().unwrap() > 100);
        let seen = application.stop();
        assert_eq!(seen.errors, Vec::<String>::new());
        assert!(seen.commits.len() > 100, "the application wrote only {} times", seen.commits.len());
        assert_eq!(one.number("SELECT count(*) FROM users WHERE name = 'ours'").await.unwrap(), 3 * commits);
        assert_eq!(assert_sound(&path), seen.last());
        two.close();
    }
}

#[test]
fn h02_exactly_one_sqlite_is_linked() {
    let lock: toml::Table = include_str!("../../../Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    for name in ["libsqlite3-sys", "rusqlite", "deadpool-sqlite"] {
        let copies = packages.iter().filter(|package| package["name"].as_str() == Some(name)).count();
        assert_eq!(copies, 1, "{name}");
    }
    // Other bindings bring a second SQLite under another name.
    let bindings = |name: &str| name.contains("sqlite") && name.ends_with("-sys") || name == "sqlx-sqlite";
    let all: Vec<_> =
        packages.iter().filter_map(|p| p["name"].as_str()).filter(|name| bindings(name)).collect();
    assert_eq!(all, ["libsqlite3-sys"]);
}
