//! What the journal of systemd is given, which here is a socket of the test in its place.

use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::sandbox::Sandbox;
use crate::support::{PATIENCE, skip};
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

/// Runs the program with its stderr as the journal's stream, and `journal` in the place of the
/// journal's directory; without one there is none.
fn under_systemd(command: &mut Command, journal: Option<&Path>) {
    const SCRIPT: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
         if [ -n \"$JOURNAL\" ]; then mount --bind \"$JOURNAL\" /run/systemd/journal; fi && \
         JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) && export JOURNAL_STREAM && exec \"$@\"";
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(command.get_program()).args(command.get_args());
    wrapped.env("JOURNAL", journal.unwrap_or(Path::new("")));
    wrapped.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    *command = wrapped;
}

fn may_mount() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn each_entry_of_the_journal_has_its_level_and_the_fields_database_job_and_run() {
    if !may_mount() {
        return skip("to put a socket in the journal's place takes root");
    }
    let sandbox = Sandbox::new();
    let directory = sandbox.path().join("journal");
    fs::create_dir(&directory).unwrap();
    let journal = UnixDatagram::bind(directory.join("socket")).unwrap();
    journal.set_read_timeout(Some(PATIENCE)).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("[daemon]\nlisten = \"{}\"\n{BACKUP_EACH_SECOND}", taken.local_addr().unwrap());
    let daemon =
        Daemon::spawn(&sandbox.configure(&listen), |command| under_systemd(command, Some(&directory)));
    let mut buffer = vec![0; 1 << 16];
    let mut next = |wanted: &str| loop {
        let length = journal.recv(&mut buffer).unwrap();
        let entry = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if entry.contains(wanted) {
            return entry;
        }
    };
    let error = next("another process has that port");
    assert!(
        error.contains("\nPRIORITY=3\n") && error.contains("\nSYSLOG_IDENTIFIER=litekeeper\n"),
        "{error}"
    );
    let done = next("job done");
    let message = done.lines().next().unwrap();
    assert!(message.starts_with("MESSAGE=") && message.contains("attendance"), "{done}");
    for field in ["PRIORITY=6", "DATABASE=attendance", "JOB=backup"] {
        assert!(done.lines().any(|line| line == field), "{field} in {done}");
    }
    let run = done.lines().find_map(|line| line.strip_prefix("RUN=")).unwrap();
    assert!(run.parse::<i64>().unwrap() > 0);
    assert!(daemon.stop().success());
}

#[test]
fn without_the_journals_socket_each_line_has_its_level_in_front() {
    if !may_mount() {
        return skip("to hide the journal takes root");
    }
    let sandbox = Sandbox::new();
    let daemon = Daemon::spawn(&sandbox.configure(""), |command| under_systemd(command, None));
    daemon.wait_for_log("the start", |line| line.starts_with("<6>") && line.contains("configuration loaded"));
    assert!(daemon.stop().success());
    // What ends the start is an error, each line of it.
    let daemon = Daemon::spawn(&sandbox.configure_as("nonsense\n"), |command| under_systemd(command, None));
    let (status, log) = daemon.wait();
    assert_eq!(status.code(), Some(78), "{log:?}");
    assert!(log.len() > 1 && log.iter().all(|line| line.starts_with("<3>")), "{log:?}");
}
