//! A disk that hangs, as one that fails or a network filesystem whose server is down: it holds up
//! its own databases, and neither the others nor the daemon.

use crate::support::application::create_database;
use crate::support::daemon::{Daemon, database};
use crate::support::sandbox::Sandbox;
use crate::support::{skip, wait_until};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory in which every look hangs, until this is dropped.
struct Hang(Child);

impl Hang {
    fn over(directory: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/hangs.py");
        let mut child = Command::new("python3")
            .arg(script)
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "hangs\n");
        Self(child)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

const NAMES: [&str; 4] = ["alder", "birch", "cedar", "dogwood"];

/// Each database with its backups in a directory of its own, of its name but for those that were
/// moved.
fn configuration(sandbox: &Sandbox, more: &str, moved: &[&str]) -> String {
    let of = |name: &str| {
        let directory = sandbox.path().join(if moved.contains(&name) { "moved" } else { name });
        let directory = directory.display();
        format!(
            "[database.{name}]\npath = \"{directory}/app.sqlite\"\n[database.{name}.backup]\ndir = \"{directory}/backups\"\n"
        )
    };
    let state = sandbox.state();
    format!(
        "[daemon]\nstate_dir = \"{}\"\nlisten = \"127.0.0.1:0\"\nparallel_jobs = 2\nshutdown_grace = \"0s\"\n\
         [backup]\nschedule = \"* * * * * *\"\ncatch_up = false\nskip_unchanged = false\nkeep_last = 3\n\
         keep_hourly = 0\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n\
         [health]\nschedule = \"never\"\nintegrity_schedule = \"never\"\n\
         [maintain]\nschedule = \"never\"\n[verify]\nschedule = \"never\"\n{more}{}",
        state.display(),
        NAMES.map(of).concat()
    )
}

fn backups(daemon: &Daemon, database: &str) -> f64 {
    let labels = [("database", database), ("task", "backup"), ("outcome", "success")];
    daemon.metrics().get("litekeeper_job_runs_total", &labels).unwrap_or(0.0)
}

/// How often the watchdog was fed. All that is sent is read: a daemon whose systemd does not listen
/// waits for it.
fn watchdog(systemd: UnixDatagram) -> Arc<AtomicU32> {
    let fed = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&fed);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = systemd.recv(&mut buffer) {
            let is_fed = buffer[..length].split(|byte| *byte == b'\n').any(|line| line == b"WATCHDOG=1");
            count.fetch_add(u32::from(is_fed), Ordering::SeqCst);
        }
    });
    fed
}

/// Some more runs end well than until now.
fn wait_for_backups(daemon: &Daemon, databases: &[&str]) {
    let before: Vec<f64> = databases.iter().map(|name| backups(daemon, name)).collect();
    wait_until(&format!("{databases:?} are backed up"), || {
        let all = databases.iter().zip(&before);
        all.into_iter().all(|(name, before)| backups(daemon, name) > before + 2.0).then_some(())
    });
}

#[test]
fn two_disks_that_hang_hold_up_neither_the_other_databases_nor_the_daemon() {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        return skip("to mount a filesystem that hangs takes root and /dev/fuse");
    }
    let sandbox = Sandbox::new();
    for name in NAMES.iter().chain(&["moved"]) {
        let directory = sandbox.path().join(name);
        fs::create_dir_all(directory.join("backups")).unwrap();
        create_database(&directory.join("app.sqlite"), &[]);
    }
    let socket = sandbox.path().join("notify");
    let fed = watchdog(UnixDatagram::bind(&socket).unwrap());
    let path = sandbox.configure_as(&configuration(&sandbox, "", &[]));
    let daemon = Daemon::spawn(&path, |command| {
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "4000000");
    });
    wait_until("the daemon is ready", || (daemon.get("/readyz").ok()?.status == 200).then_some(()));
    wait_for_backups(&daemon, &NAMES);

    let [alder, _birch] = ["alder", "birch"].map(|name| Hang::over(&sandbox.path().join(name)));
    let not_ready = wait_until("it is seen that they hang", || {
        let answer = daemon.get("/readyz").unwrap();
        let is_told = |name: &&str| answer.body.contains(&format!("the disk of {name}, "));
        ["alder", "birch"].iter().all(is_told).then_some(answer)
    });
    assert_eq!(not_ready.status, 503);
    assert!(!not_ready.body.contains("cedar") && !not_ready.body.contains("dogwood"), "{}", not_ready.body);
    // Both places for runs may be taken by runs that wait for those disks.
    wait_for_backups(&daemon, &["cedar", "dogwood"]);

    let status = daemon.status();
    let is_silent = |name: &str| {
        let database = database(&status, name).unwrap();
        assert!(database["size_bytes"].as_u64() > Some(0), "what was seen before is shown: {database}");
        !database["disk_silent_since"].is_null()
    };
    assert_eq!(NAMES.map(is_silent), [true, true, false, false]);
    let page = daemon.get("/").unwrap().body;
    assert_eq!(page.matches("of its backups, does not answer; its jobs wait").count(), 2, "{page}");

    let before = fed.load(Ordering::SeqCst);
    wait_until("the watchdog is fed", || (fed.load(Ordering::SeqCst) > before + 1).then_some(()));
    let mark = daemon.mark();
    let slower = "[database.cedar.watch]\nslow_threshold = \"7s\"\n";
    sandbox.configure_as(&configuration(&sandbox, slower, &[]));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log_from(mark, "the reload", |line| line.contains("changed cedar"));
    wait_for_backups(&daemon, &["cedar", "dogwood"]);

    let mark = daemon.mark();
    drop(alder);
    daemon.wait_for_log_from(mark, "that it answers", |line| {
        line.contains("the disk answers again") && line.contains("alder")
    });
    wait_for_backups(&daemon, &["alder", "cedar", "dogwood"]);

    // What is configured no more is waited for no more.
    sandbox.configure_as(&configuration(&sandbox, slower, &["birch"]));
    daemon.signal(Signal::HUP);
    wait_until("no disk hangs", || (daemon.get("/readyz").ok()?.status == 200).then_some(()));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().0.code(), Some(0), "with one of them still hanging");
}

/// Buckets that do not answer, be they many, are no disk that hangs: what is known of the rest is
/// told, and the jobs go on.
#[test]
fn buckets_that_do_not_answer_hold_up_no_look_at_the_disk() {
    let sandbox = Sandbox::new();
    // Whoever connects waits for an answer.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let copy = |name: &str| {
        format!("[[database.attendance.backup.copy]]\nname = \"{name}\"\ndir = \"s3://{name}\"\n")
    };
    let copies = ["one", "two", "three", "four"];
    let path = sandbox.configure(&format!("[backup]\ndir = \"s3://backups\"\n{}", copies.map(copy).concat()));
    let daemon = Daemon::spawn(&path, |command| {
        command.env("AWS_ENDPOINT_URL", format!("http://{}", deaf.local_addr().unwrap()));
        command.env("AWS_ALLOW_HTTP", "true");
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    });
    let shown = wait_until("a look is back", || {
        let status = daemon.status();
        database(&status, "attendance").filter(|shown| shown["size_bytes"].as_u64() > Some(0)).cloned()
    });
    let unknown = shown.to_string().matches("has not answered yet").count();
    assert_eq!(unknown, 1 + copies.len(), "{shown}");
    assert!(daemon.log().iter().all(|line| !line.contains("does not answer")), "{:?}", daemon.log());
    assert!(daemon.stop().success());
}
