//! The real daemon: `litekeeper run` as a child process, its log read line by line, its page asked
//! over HTTP.

use super::history::{self, Run, wait_for_run};
use super::http::{self, Response};
use super::metrics::Metrics;
use super::process::lines::Lines;
use super::sandbox::{Sandbox, program};
use super::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A backup in each second, and none before; also of a database that nobody writes to.
pub const BACKUP_EACH_SECOND: &str =
    "[backup]\nschedule = \"* * * * * *\"\ncatch_up = false\nskip_unchanged = false\n";

/// Runs a daemon until a run of `job` has ended with `outcome`.
pub fn run_until(sandbox: &Sandbox, configuration: &str, job: &str, outcome: &str) -> Run {
    let before = history::newest(sandbox);
    let daemon = Daemon::start(&sandbox.configure(configuration));
    let run = wait_for_run(sandbox, job, before, outcome);
    assert!(daemon.stop().success());
    run
}

/// A running daemon. Dropped, it is killed, and its log is shown where the test failed.
pub struct Daemon {
    child: Child,
    log: Lines,
}

impl Daemon {
    /// Starts it and returns when `/readyz` says so.
    pub fn start(configuration: &Path) -> Self {
        let this = Self::spawn(configuration, |_| ());
        wait_until("the daemon is ready", || {
            assert!(this.log.is_open(), "the daemon ended:\n{}", this.log.all().join("\n"));
            (this.get("/readyz").ok()?.status == 200).then_some(())
        });
        this
    }

    /// Starts it and does not wait; `adapt` may set its environment or its user.
    pub fn spawn(configuration: &Path, adapt: impl FnOnce(&mut Command)) -> Self {
        let mut command = program();
        command.arg("--config").arg(configuration).arg("run");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        adapt(&mut command);
        let mut child = command.spawn().unwrap();
        let log = Lines::default();
        log.read(child.stdout.take().unwrap());
        log.read(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Where it listens, from the log line `listening addr=…`, in either log format; waits for that
    /// line.
    pub fn address(&self) -> SocketAddr {
        self.log.wait_for("the daemon to listen", 0, listening)
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> std::io::Result<Response> {
        http::get(self.address(), path)
    }

    /// What it says of itself and its databases, as `/api/status` has it.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.get("/api/status").unwrap().body).unwrap()
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Metrics {
        let page = self.get("/metrics").unwrap();
        assert_eq!(page.status, 200, "{}", page.body);
        Metrics::parse(&page.body)
    }

    /// Asks `/metrics` until `pick` finds something in it.
    pub fn wait_for_metrics<T>(&self, what: &str, mut pick: impl FnMut(&Metrics) -> Option<T>) -> T {
        wait_until(what, || pick(&self.metrics()))
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// A mark in the log, for [`Self::wait_for_log_from`].
    pub fn mark(&self) -> usize {
        self.log.count()
    }

    /// The first line of the whole log, what is still to come included, for which `pick` is true.
    pub fn wait_for_log(&self, what: &str, pick: impl FnMut(&str) -> bool) -> String {
        self.wait_for_log_from(0, what, pick)
    }

    /// The same after a mark: what a signal sent after it brought about.
    pub fn wait_for_log_from(&self, mark: usize, what: &str, mut pick: impl FnMut(&str) -> bool) -> String {
        self.log.wait_for(what, mark, |line| pick(line).then(|| line.to_owned()))
    }

    /// HUP, TERM, KILL, STOP, CONT.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for its end, which something else brings about.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        assert!(self.log.wait_for_end(), "the daemon did not end");
        (self.child.wait().unwrap(), self.log.all())
    }

    /// TERM, and how it ended.
    pub fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait().0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only where it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon\n{}\n---", self.log.all().join("\n"));
        }
    }
}

/// The address in the log line of a daemon that listens.
pub fn listening(line: &str) -> Option<SocketAddr> {
    let at = line.contains("listening").then(|| line.find("addr"))??;
    let value = line[at + "addr".len()..].trim_start_matches(['"', '=', ':', ' ']);
    value.split(['"', ' ', ',', '}']).next()?.parse().ok()
}

/// Of a status, the database of this name.
pub fn database<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["databases"].as_array().unwrap().iter().find(|database| database["name"] == name)
}

/// Of a status, the job of this kind of a database.
pub fn job<'a>(status: &'a Value, name: &str, kind: &str) -> Option<&'a Value> {
    database(status, name)?["jobs"].as_array().unwrap().iter().find(|job| job["task"] == kind)
}
