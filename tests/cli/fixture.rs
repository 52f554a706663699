//! A verb run to its end with the code that it must have, and its output as text or JSON.

use crate::support::application::Application;
use crate::support::sandbox::{Sandbox, program};
use crate::support::wait_until;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs a verb that must end with this code.
pub(crate) fn run(sandbox: &Sandbox, code: i32, args: &[&str]) -> Output {
    let output = sandbox.litekeeper(args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\nstdout: {out}\nstderr: {err}");
    output
}

/// Its output, which is one JSON value.
pub(crate) fn json(sandbox: &Sandbox, code: i32, args: &[&str]) -> Value {
    let output = run(sandbox, code, &[args, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stdout)))
}

pub(crate) fn assert_has_fields(value: &Value, names: &str) {
    let found: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(found, names.split(' ').collect());
}

pub(crate) fn kept() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    sandbox
}

pub(crate) fn backed_up() -> Sandbox {
    let sandbox = kept();
    run(&sandbox, 0, &["backup", "attendance"]);
    sandbox
}

/// Files of backups, oldest first, without manifests.
pub(crate) fn backup_files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let dir = sandbox.backups().join("attendance");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "gz"));
    files.sort();
    files
}

pub(crate) fn names_in(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

pub(crate) fn start(sandbox: &Sandbox, args: &[&str]) -> Child {
    let mut command = program();
    command.arg("--config").arg(sandbox.configuration()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A backup that cannot get on, as the application keeps everybody out of its database, and holds
/// its lock.
pub(crate) fn stuck_backup(sandbox: &Sandbox) -> (Application, Child) {
    let mut application = Application::start(&sandbox.database());
    application.hold_exclusive();
    let backup = start(sandbox, &["backup", "attendance"]);
    let lock = sandbox.state().join("locks/attendance.lock");
    let holder = format!("backup (process {})", backup.id());
    wait_until("the backup has its lock", || fs::read_to_string(&lock).ok()?.contains(&holder).then_some(()));
    (application, backup)
}

pub(crate) fn without_wal() -> Sandbox {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    sandbox.configure("");
    sandbox
}
