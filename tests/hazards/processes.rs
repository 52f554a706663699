//! A command of ours that must end in its time, and the processes that it starts.

use std::fs;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::sandbox::{Sandbox, program, said};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) fn spawned(sandbox: &Sandbox, args: &[&str]) -> Child {
    let mut command = program();
    command.arg("--config").arg(sandbox.configuration()).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs a command that must end, though it may hang.
pub(crate) fn ended(sandbox: &Sandbox, args: &[&str]) -> Output {
    let mut child = spawned(sandbox, args);
    let pid = Pid::from_child(&child);
    let watched = std::thread::spawn(move || {
        let ended = wait_until_or(|| child.try_wait().unwrap().is_some());
        if !ended {
            kill_process(pid, Signal::KILL).unwrap();
        }
        (ended, child.wait_with_output().unwrap())
    });
    let (in_time, output) = watched.join().unwrap();
    assert!(in_time, "{args:?} did not end: {}", said(&output));
    output
}

pub(crate) fn wait_until_or(mut ask: impl FnMut() -> bool) -> bool {
    let since = std::time::Instant::now();
    while since.elapsed() < PATIENCE {
        if ask() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    false
}

/// The processes that `parent` has started to check a file.
pub(crate) fn inspectors(parent: Pid) -> Vec<Pid> {
    let all =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let of = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        of == Some(parent.as_raw_nonzero().get()) && line.ends_with(b"\0--inspect\0")
    })
    .filter_map(Pid::from_raw)
    .collect()
}
