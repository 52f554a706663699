//! File descriptors: what the daemon does without, and what it says where there are too few.

use crate::support::application::create_database;
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::sandbox::{Sandbox, program, said};
use crate::support::{skip, wait_until};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

const MANY: usize = 40;

fn open_in(process: Pid) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).unwrap().count()
}

/// The program with a soft limit of its own, as a shell sets it.
fn limited(command: &mut Command, limit: &str) {
    let mut wrapped = Command::new("sh");
    wrapped.args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    *command = wrapped;
}

#[test]
fn no_descriptor_stays_open_for_a_database_that_no_job_uses_and_the_soft_limit_is_raised() {
    let sandbox = Sandbox::new();
    let mut databases = String::new();
    for n in 1..MANY {
        let path = sandbox.data().join(format!("d{n}.sqlite"));
        fs::copy(sandbox.database(), &path).unwrap();
        writeln!(databases, "[database.d{n}]\npath = {:?}", path.display().to_string()).unwrap();
    }
    let configuration = sandbox.configure(&databases);
    let daemon = Daemon::spawn(&configuration, |command| limited(command, "-S -n 256"));
    wait_until("the daemon is ready", || (daemon.get("/readyz").ok()?.status == 200).then_some(()));
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid().as_raw_nonzero())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
    // The looks at the files come and go.
    wait_until("fewer are open than there are databases", || (open_in(daemon.pid()) < MANY).then_some(()));
    assert!(daemon.stop().success());
}

#[test]
fn jobs_that_find_no_descriptor_make_the_daemon_not_ready_until_they_do() {
    if !rustix::process::geteuid().is_root() {
        return skip("to raise the limit of another process again takes root");
    }
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(""));
    let before = getrlimit(Resource::Nofile);
    let limit = |current: Option<u64>| {
        prlimit(Some(daemon.pid()), Resource::Nofile, Rlimit { current, maximum: before.maximum }).unwrap();
    };
    // Some for whoever asks for the page, or for a look at the files, and too few for a job.
    limit(Some((0..100).map(|_| open_in(daemon.pid())).min().unwrap() as u64 + 2));
    sandbox.configure(BACKUP_EACH_SECOND);
    let answer = wait_until("it is not ready", || {
        // The file cannot be read either while something else has the last descriptor.
        daemon.signal(Signal::HUP);
        let answer = daemon.get("/readyz").ok()?;
        answer.body.contains("descriptors").then_some(answer)
    });
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("attendance") && answer.body.contains("LimitNOFILE="), "{}", answer.body);
    limit(before.maximum);
    wait_until("it is ready again", || (daemon.get("/readyz").ok()?.status == 200).then_some(()));
    assert!(daemon.stop().success());
}

#[test]
fn a_check_says_when_there_are_fewer_descriptors_than_the_databases_need() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.database(), &[]);
    sandbox.configure("");
    let check = |limit: &str| {
        let mut command = program();
        command.arg("--config").arg(sandbox.configuration()).arg("check");
        limited(&mut command, limit);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = check("-n 100");
    assert!(
        text.contains("file descriptors for these databases and may have 100")
            && text.contains("LimitNOFILE="),
        "{text}"
    );
    assert!(!check("-S -n 100").contains("file descriptors"), "the soft limit can be raised");
}
