//! The program under strace, which lets a system call fail or kills the process in it. strace
//! counts per thread and kind of call: where several threads come to the call of that number, each
//! of them meets the fault.

use crate::support::sandbox::Sandbox;
use crate::support::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Seek;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Calls that change what is on a disk, or who may.
pub const CHANGING: &str = "?open,openat,write,pwrite64,fsync,fdatasync,?rename,?renameat,renameat2,linkat,?unlink,\
                            unlinkat,ftruncate,flock,fchmod,close";

/// What strace is told, but for the program.
pub struct Tracer {
    calls: String,
    inject: Option<String>,
    paths: Vec<PathBuf>,
    traces: TempDir,
}

/// A system call as strace shows it, descriptors with their paths.
#[derive(Debug, Clone)]
pub struct Call {
    /// Seconds since 1970 at its begin.
    at: f64,
    pub text: String,
}

impl Call {
    /// Whether this is the one that was made to fail.
    pub fn failed(&self) -> bool {
        self.text.contains("(INJECTED)")
    }

    /// Whether the process ended in it.
    pub fn is_the_last(&self) -> bool {
        self.text.ends_with("= ?")
    }

    pub fn name(&self) -> &str {
        self.text.split('(').next().unwrap()
    }
}

pub struct Traced {
    pub output: Output,
    /// In the order of their beginnings.
    pub calls: Vec<Call>,
}

/// A process that goes no further.
pub struct Stopped {
    strace: Child,
    tracer: Tracer,
    errors: File,
}

/// Somebody else than the test told the process to end: a signal from outside, or strace, which
/// sends SIGTERM to what it traces when it fails itself. What was to be seen was not.
#[derive(Debug)]
pub struct Disturbed(pub String);

impl Stopped {
    /// SIGKILL, and gone when this returns.
    pub fn kill(mut self) -> Result<(), Disturbed> {
        if self.strace.try_wait().unwrap().is_some() {
            return Err(self
                .tracer
                .disturbance(&mut self.errors)
                .expect("strace ended before what it traces"));
        }
        let children = format!("/proc/{0}/task/{0}/children", self.strace.id());
        for traced in fs::read_to_string(children).unwrap().split_whitespace() {
            let pid = Pid::from_raw(traced.parse().unwrap()).unwrap();
            kill_process(pid, Signal::KILL).unwrap();
        }
        self.strace.wait().unwrap();
        Ok(())
    }
}

impl Traced {
    pub fn was_killed(&self) -> bool {
        self.output.status.signal().is_some()
    }
}

/// Whether strace can be used; the reason where it cannot.
pub fn check() -> Result<(), String> {
    match Command::new("strace").args(["-f", "--seccomp-bpf", "-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("strace may not trace: {}", String::from_utf8_lossy(&output.stderr))),
        Err(e) => Err(format!("strace: {e}")),
    }
}

impl Tracer {
    /// Looks at these calls, a list as strace has it.
    pub fn new(calls: &str) -> Self {
        let traces = TempDir::with_prefix("litekeeper-trace-").unwrap();
        Self { calls: calls.to_owned(), inject: None, paths: Vec::new(), traces }
    }

    /// Only those with one of these paths, exactly as the program names them, or with a descriptor
    /// of one.
    pub fn of(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.paths.extend(paths);
        self
    }

    /// Lets the `nth` of `calls` meet `fault`: `error=EIO`, `signal=KILL`.
    pub fn inject(mut self, calls: &str, fault: &str, nth: usize) -> Self {
        self.inject = Some(format!("inject={calls}:{fault}:when={nth}"));
        self
    }

    /// Runs `litekeeper ARGS` to its end.
    pub fn run(self, sandbox: &Sandbox, args: &[&str]) -> Traced {
        self.count(sandbox, args).0
    }

    /// The same, with how often the busiest thread made each kind of call.
    pub fn count(self, sandbox: &Sandbox, args: &[&str]) -> (Traced, BTreeMap<String, usize>) {
        let mut command = self.strace();
        command.arg(env!("CARGO_BIN_EXE_litekeeper")).arg("--config").arg(sandbox.configuration()).args(args);
        let output = command.output().unwrap();
        let mut most = BTreeMap::new();
        for file in self.files() {
            let mut of_this = BTreeMap::new();
            for call in read(&file) {
                *of_this.entry(call.name().to_owned()).or_insert(0) += 1;
            }
            for (kind, count) in of_this {
                let highest = most.entry(kind).or_insert(0);
                *highest = count.max(*highest);
            }
        }
        (Traced { output, calls: self.calls() }, most)
    }

    /// Starts `litekeeper ARGS` and waits until a SIGSTOP that was injected has stopped it; `None`
    /// where it ended before.
    pub fn stop(self, sandbox: &Sandbox, args: &[&str]) -> Result<Option<Stopped>, Disturbed> {
        let mut command = self.strace();
        command.arg(env!("CARGO_BIN_EXE_litekeeper")).arg("--config").arg(sandbox.configuration()).args(args);
        let mut errors = tempfile::tempfile().unwrap();
        let mut strace = command.stdout(Stdio::null()).stderr(errors.try_clone().unwrap()).spawn().unwrap();
        let stopped = wait_until("it is stopped, or ends", || {
            if self.is_stopped() { Some(true) } else { strace.try_wait().unwrap().map(|_| false) }
        });
        if stopped {
            return Ok(Some(Stopped { strace, tracer: self, errors }));
        }
        let status = strace.wait().unwrap();
        match self.disturbance(&mut errors) {
            Some(disturbed) => Err(disturbed),
            None if status.success() => Ok(None),
            None => panic!("{status}: {}", text(&mut errors)),
        }
    }

    /// Who else told the process to end, if anybody did.
    fn disturbance(&self, errors: &mut File) -> Option<Disturbed> {
        let traces = self.files().map(|file| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned());
        let traces = traces.collect::<String>();
        let signals =
            traces.lines().filter(|line| line.contains(" --- SIGTERM ") || line.contains(" --- SIGINT "));
        let said = text(errors);
        let all: Vec<_> = said.lines().filter(|line| line.contains("strace: ")).chain(signals).collect();
        (!all.is_empty()).then(|| Disturbed(all.join("; ")))
    }

    /// strace with its options, still without what it traces.
    pub fn strace(&self) -> Command {
        let mut command = Command::new("strace");
        command.args(["-ff", "-ttt", "-y", "-q", "-s", "1000000", "-e"]).arg(format!("trace={}", self.calls));
        if self.inject.as_ref().is_none_or(|inject| !inject.contains("signal=")) {
            // Twice as fast, but signals would be lost.
            command.arg("--seccomp-bpf");
        }
        for path in &self.paths {
            command.arg("-P").arg(path);
        }
        if let Some(inject) = &self.inject {
            command.arg("-e").arg(inject);
        }
        command.arg("-o").arg(self.traces.path().join("trace"));
        for name in ["LITEKEEPER_CONFIG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1").env("RUST_BACKTRACE", "0").stdin(Stdio::null());
        command
    }

    /// What was traced so far.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls: Vec<Call> = self.files().flat_map(|file| read(&file)).collect();
        calls.sort_by(|a, b| a.at.total_cmp(&b.at));
        calls
    }

    /// Whether a SIGSTOP that was injected has stopped the process.
    pub fn is_stopped(&self) -> bool {
        self.files()
            .any(|file| fs::read_to_string(file).is_ok_and(|trace| trace.contains("stopped by SIGSTOP")))
    }

    /// One for each thread.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        fs::read_dir(self.traces.path()).unwrap().map(|entry| entry.unwrap().path())
    }
}

fn text(file: &mut File) -> String {
    file.rewind().unwrap();
    std::io::read_to_string(file).unwrap()
}

fn read(file: &Path) -> Vec<Call> {
    let trace = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
    trace.lines().filter_map(call).collect()
}

fn call(line: &str) -> Option<Call> {
    let (at, text) = line.split_once(' ')?;
    // Signals and ends are no calls.
    let is_call = text.starts_with(|c: char| c.is_ascii_lowercase());
    Some(Call { at: at.parse().ok()?, text: text.trim_end().to_owned() }).filter(|_| is_call)
}
