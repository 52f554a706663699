//! The daemon's life, from outside: how it starts and how it stops, with real signals, and an
//! application in another process whose lock holds a job up for as long as a test needs.
#![allow(clippy::float_cmp, reason = "gauges and counters of whole numbers")]

use super::fixture::{EACH_SECOND, held_up, successful, wait_until_running};
use crate::support::daemon::Daemon;
use crate::support::history::{self, runs, wait_for_run};
use crate::support::sandbox::{Sandbox, copy_for_all};
use crate::support::soundness::assert_sound;
use crate::support::{PATIENCE, wait_until};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

#[test]
fn a_daemon_answers_that_it_is_ready_and_ends_with_success() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(""));
    assert_eq!(daemon.get("/healthz").unwrap().status, 200);
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
    assert_eq!(successful(&daemon), 1.0);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on() {
    let sandbox = Sandbox::new();
    let configuration = sandbox.configure(EACH_SECOND);
    let first = Daemon::start(&configuration);
    let (status, log) = Daemon::spawn(&configuration, |_| ()).wait();
    let log = log.join("\n");
    assert_eq!(status.code(), Some(11), "{log}");
    assert!(
        log.contains("another daemon uses") && log.contains(&sandbox.state().display().to_string()),
        "{log}"
    );
    assert!(log.contains(&format!("process {}", first.pid().as_raw_nonzero())), "{log}");
    wait_for_run(&sandbox, "backup", history::newest(&sandbox), "success");
    assert!(first.stop().success());
    // The lock died with its holder, though its file is still there.
    assert!(Daemon::start(&configuration).stop().success());
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named_and_ends_the_start() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let missing = sandbox.path().join("missing/state");
    for state in [&file, &missing] {
        let text = format!("[daemon]\nstate_dir = {:?}\n", state.display().to_string());
        let (status, log) = Daemon::spawn(&sandbox.configure(&text), |_| ()).wait();
        assert_eq!(status.code(), Some(1), "{log:?}");
        let last = log.last().unwrap();
        assert!(last.contains(&state.display().to_string()), "{last}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a directory");

    // Not writable: for root, by another user who may read it; for others, by its mode.
    let program = sandbox.path().join("litekeeper");
    copy_for_all(Path::new(env!("CARGO_BIN_EXE_litekeeper")), &program);
    for (path, mode) in [(sandbox.path().to_owned(), 0o755), (sandbox.state(), 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let configuration = sandbox.configure("");
    let (status, log) = Daemon::spawn(&configuration, |command| {
        let mut as_other = Command::new(&program);
        as_other.arg("--config").arg(&configuration).arg("run");
        as_other.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        if rustix::process::geteuid().is_root() {
            as_other.uid(65534).gid(65534);
        }
        *command = as_other;
    })
    .wait();
    assert_eq!(status.code(), Some(1), "{log:?}");
    let last = log.last().unwrap();
    assert!(last.contains(&sandbox.state().display().to_string()), "{last}");
}

#[test]
fn a_stop_waits_for_a_running_job_within_its_grace() {
    for signal in [Signal::TERM, Signal::INT] {
        let (sandbox, mut application) = held_up();
        let daemon =
            Daemon::start(&sandbox.configure(&format!("[daemon]\nshutdown_grace = \"10m\"\n{EACH_SECOND}")));
        wait_until_running(&daemon, "backup");
        daemon.signal(signal);
        daemon.wait_for_log("the stop", |line| line.contains("stopping"));
        wait_until("it says that it is not ready", || {
            (daemon.get("/readyz").unwrap().status == 503).then_some(())
        });
        application.release();
        assert_eq!(daemon.wait().0.code(), Some(0));
        let run = &runs(&sandbox, "attendance", "backup")[0];
        assert_eq!(run.outcome, "success", "{run:?}");
    }
}

#[test]
fn a_stop_interrupts_what_outlasts_its_grace() {
    let (sandbox, mut application) = held_up();
    let daemon =
        Daemon::start(&sandbox.configure(&format!("[daemon]\nshutdown_grace = \"100ms\"\n{EACH_SECOND}")));
    wait_until_running(&daemon, "backup");
    let (status, log) = {
        daemon.signal(Signal::TERM);
        daemon.wait()
    };
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(log.iter().any(|line| line.contains("shutdown_grace is over")), "{log:?}");
    let all = runs(&sandbox, "attendance", "backup");
    let interrupted: Vec<_> = all.iter().filter(|run| run.outcome == "interrupted").collect();
    assert_eq!(interrupted.len(), 1, "{all:?}");
    assert!(all.iter().all(|run| run.outcome != "running"), "{all:?}");
    assert_eq!(hidden(&sandbox), Vec::<String>::new());
    application.release();
    assert_sound(&sandbox.database());
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)]
    {
        let (sandbox, _application) = held_up();
        let daemon =
            Daemon::start(&sandbox.configure(&format!("[daemon]\nshutdown_grace = \"10m\"\n{EACH_SECOND}")));
        wait_until_running(&daemon, "backup");
        daemon.signal(first);
        daemon.wait_for_log("the stop", |line| line.contains("stopping"));
        daemon.signal(second);
        assert_eq!(code(daemon.wait().0), 1);
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().expect("it was killed")
}

/// Unfinished files beside the backups.
fn hidden(sandbox: &Sandbox) -> Vec<String> {
    let Ok(entries) = fs::read_dir(sandbox.backups().join("attendance")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') && name != ".lock").collect()
}

/// What systemd hears. With a running job, so that the stop takes a while.
#[test]
fn systemd_hears_of_the_start_the_reload_the_stop_and_each_heartbeat() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = |what: &str, pick: &dyn Fn(&str) -> bool| {
        let mut buffer = [0; 4096];
        let mut all = Vec::new();
        let start = Instant::now();
        loop {
            let length =
                systemd.recv(&mut buffer).unwrap_or_else(|e| panic!("no {what} ({e}); heard {all:?}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if pick(&message) {
                return (message, all);
            }
            all.push(message);
            assert!(start.elapsed() < PATIENCE, "no {what}; heard {all:?}");
        }
    };
    let daemon = Daemon::spawn(&sandbox.configure("[backup]\nschedule = \"@yearly\"\n"), |command| {
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "2000000");
    });
    let line = |wanted: &'static str| move |message: &str| message.lines().any(|line| line == wanted);
    heard("READY", &line("READY=1"));
    heard("WATCHDOG", &line("WATCHDOG=1"));
    daemon.signal(Signal::HUP);
    let (message, _) = heard("RELOADING", &line("RELOADING=1"));
    let monotonic =
        message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap_or_else(|| {
            panic!("RELOADING=1 and MONOTONIC_USEC must come in one message, not {message:?}");
        });
    assert!(monotonic.parse::<u64>().unwrap() > 0);
    heard("READY after the reload", &line("READY=1"));
    let (_, before) = heard("another WATCHDOG", &line("WATCHDOG=1"));
    assert!(before.iter().all(|message| !message.contains("STOPPING")));

    // A wrong file must not leave systemd waiting for the end of the reload.
    let mark = daemon.mark();
    sandbox.configure_as("nonsense");
    daemon.signal(Signal::HUP);
    heard("RELOADING", &line("RELOADING=1"));
    heard("READY after the refused reload", &line("READY=1"));
    daemon.wait_for_log_from(mark, "the reason", |line| line.contains("nonsense"));

    sandbox.configure("[backup]\nschedule = \"0 0 2 1 *\"\n");
    daemon.signal(Signal::HUP);
    let (status, _) = heard("STATUS", &|message: &str| message.starts_with("STATUS="));
    assert!(status.contains("1 database") && status.contains("backup of attendance"), "{status}");
    daemon.signal(Signal::TERM);
    let (stopping, _) = heard("STOPPING", &line("STOPPING=1"));
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC="), "{stopping}");
    assert_eq!(daemon.wait().0.code(), Some(0));
}

#[test]
fn a_reload_during_the_stop_is_passed_over() {
    let (sandbox, mut application) = held_up();
    let daemon =
        Daemon::start(&sandbox.configure(&format!("[daemon]\nshutdown_grace = \"10m\"\n{EACH_SECOND}")));
    wait_until_running(&daemon, "backup");
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("the stop", |line| line.contains("stopping"));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the answer", |line| line.contains("no reload"));
    application.release();
    assert_eq!(daemon.wait().0.code(), Some(0));
}
