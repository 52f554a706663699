//! Which SQLite the application has, as far as it can be seen, and whether its checkpoints lose
//! commits (HAZARDS H29).

use crate::support::application::{Application, script};
use crate::support::daemon::Daemon;
use crate::support::restoring::{can_trace, traced};
use crate::support::sandbox::{Sandbox, program};
use crate::support::{skip, wait_until};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Its number, and whether it is one whose checkpoints can lose commits.
fn python_sqlite() -> (String, bool) {
    let number = script(Path::new("/"), "import sqlite3; print(sqlite3.sqlite_version)");
    let parts: Vec<u32> = number.split('.').map(|part| part.parse().unwrap()).collect();
    let is_mended = parts >= vec![3, 51, 3]
        || (parts[..2] == [3, 50] && parts[2] >= 7)
        || (parts[..2] == [3, 44] && parts[2] >= 6);
    (number, !is_mended)
}

#[test]
fn h29_names_the_sqlite_of_the_application_and_says_whether_its_checkpoints_lose_commits() {
    let sandbox = Sandbox::new();
    sandbox.configure("[health]\nschedule = \"* * * * * *\"\n");
    let (number, is_faulty) = python_sqlite();
    let words = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let nobody = words(&sandbox.litekeeper(&["check", "--environment"]));
    assert!(!nobody.contains(&format!("SQLite {number}")), "nobody has it open: {nobody}");

    let application = Application::start(&sandbox.database());
    for verb in [&["check", "--environment"][..], &["health", "attendance"]] {
        let output = sandbox.litekeeper(verb);
        assert!(output.status.success(), "{verb:?}: a warning is no failure: {}", words(&output));
        let said = words(&output);
        assert!(said.contains(&format!("uses SQLite {number}")), "{verb:?}: {said}");
        assert_eq!(said.contains("mended in 3.51.3"), is_faulty, "{verb:?}: {said}");
    }
    let daemon = Daemon::start(&sandbox.configuration());
    wait_until("the page names it", || {
        daemon.get("/").unwrap().body.contains(&format!("uses SQLite {number}")).then_some(())
    });
    let healthy = [("database", "attendance"), ("check", "application_sqlite")];
    if is_faulty {
        assert_eq!(daemon.metrics().get("litekeeper_healthy", &healthy), Some(1.0), "no alarm");
    }
    assert!(daemon.stop().success());
    drop(application);
}

#[test]
fn h29_what_cannot_be_seen_of_the_application_is_not_called_sound() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can be somebody else");
    }
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let _application = Application::start(&sandbox.database());
    for path in [sandbox.path(), &sandbox.data()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let copy = sandbox.path().join("litekeeper");
    fs::copy(program().get_program(), &copy).unwrap();
    let other = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy)
        .arg("--config")
        .arg(sandbox.configuration())
        .args(["check", "--environment"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.contains("uses cannot be seen") || line.contains("cannot be seen of all"))
        .collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with("warning")), "{said}");
    assert!(!said.contains("uses SQLite"), "{said}");
}

/// A process may map anything as if it were a program. To open and close a database would end our
/// locks on it (H1).
#[test]
fn h01_what_is_no_program_is_not_closed_again_and_a_database_is_not_opened() {
    if !can_trace() {
        return skip("strace cannot trace here");
    }
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let other = sandbox.path().join("other.sqlite");
    fs::copy(sandbox.database(), &other).unwrap();
    let script = "
import ctypes, mmap, os, sqlite3, sys
database, other = sys.argv[1:]
c = sqlite3.connect(database, isolation_level=None)
c.execute('SELECT count(*) FROM sqlite_schema').fetchone()
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
for name in (database, database + '-shm', other):
    f = os.open(name, os.O_RDWR)
    # So large that it lies below the libraries, and comes before them in the list.
    assert libc.mmap(None, 1 << 30, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_SHARED, f, 0) != 2 ** 64 - 1
print('ready', flush=True)
sys.stdin.read()
";
    let mut hostile = Command::new("python3")
        .args(["-I", "-c", script])
        .args([&sandbox.database(), &other])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(hostile.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let trace = sandbox.path().join("trace");
    let options = ["-y", "-e", "trace=open,openat,openat2,close"];
    let output = traced(&sandbox, &trace, &options, &["health", "attendance"]).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("uses SQLite"), "it was looked at");
    drop(hostile.stdin.take());
    hostile.wait().unwrap();

    let calls = fs::read_to_string(&trace).unwrap();
    // By the descriptor of what was looked at; SQLite's own files are opened so, too, but not with
    // this flag.
    let is_ours = |call: &str| call.contains("\"/proc/self/fd/") && call.contains("O_NOCTTY");
    let by_us: Vec<_> = calls.lines().filter(|call| is_ours(call)).collect();
    assert!(by_us.iter().any(|call| call.contains("other.sqlite>")), "{by_us:#?}");
    assert!(!by_us.iter().any(|call| call.contains("attendance.sqlite")), "{by_us:#?}");
    let descriptor = by_us
        .iter()
        .find_map(|call| {
            call.rsplit_once("= ")?.1.split_once('<').filter(|(_, path)| path.contains("other.sqlite"))
        })
        .map(|(number, _)| format!("close({number}<"))
        .unwrap();
    assert!(
        !calls.lines().any(|call| call.contains(&descriptor) && call.contains("other.sqlite")),
        "{descriptor}"
    );
}
