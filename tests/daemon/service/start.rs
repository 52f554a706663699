//! The start: a port that somebody else has, and when others may count on the daemon.

use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::history::wait_for_run;
use crate::support::sandbox::{Sandbox, said};
use crate::support::{PATIENCE, wait_until};
use rustix::process::Signal;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;

#[test]
fn a_port_in_use_is_an_error_and_the_daemon_goes_on_and_takes_it_once_it_is_free() {
    let sandbox = Sandbox::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let listen = format!("[daemon]\nlisten = \"{address}\"\n{BACKUP_EACH_SECOND}");
    let daemon = Daemon::spawn(&sandbox.configure(&listen), |_| ());
    let error = daemon.wait_for_log("the error", |line| line.contains("ERROR"));
    assert!(
        error.contains(&address.to_string()) && error.contains("another process has that port"),
        "{error}"
    );
    wait_for_run(&sandbox, "backup", 0, "success");

    // A command finds the daemon all the same, and why it cannot be asked.
    let status = said(&sandbox.litekeeper(&["status"]));
    let process = format!("The daemon runs as process {} and cannot be asked", daemon.pid().as_raw_nonzero());
    let status = status.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(status.contains(&process) && status.contains("another process has that port"), "{status}");

    drop(other);
    daemon.signal(Signal::HUP);
    assert_eq!(daemon.address(), address);
    wait_until("it is ready", || (daemon.get("/readyz").ok()?.status == 200).then_some(()));
    // Told once, however often it was tried.
    assert_eq!(daemon.log().iter().filter(|line| line.contains("another process has that port")).count(), 1);
    assert!(daemon.stop().success());
}

#[test]
fn whoever_has_waited_for_the_start_finds_the_daemon_ready_and_its_databases_known() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let daemon = Daemon::spawn(&sandbox.configure(""), |command| {
        command.env("NOTIFY_SOCKET", &socket);
    });
    let mut buffer = [0; 4096];
    loop {
        let length = systemd.recv(&mut buffer).unwrap();
        if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") {
            break;
        }
    }
    // Asked once, and not until it is so.
    let ready = daemon.get("/readyz").unwrap();
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    let status = said(&sandbox.litekeeper(&["status"]));
    assert!(status.contains("has run for") && status.contains("attendance"), "{status}");
    assert!(!status.contains("not ready"), "{status}");
    assert!(daemon.stop().success());
}
