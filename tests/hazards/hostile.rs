//! What a file whose author means harm, a backup that somebody has changed, and other users of the machine can take from
//! litekeeper: not its time for ever, not its memory, not the disk, not its word about the database (HAZARDS H27).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::application::Application;
use crate::support::backups::{directory, file, manifests, sha256sum};
use crate::support::daemon::{BACKUP_EACH_SECOND, Daemon};
use crate::support::history::{self, wait_for_run};
use crate::support::http::request;
use crate::support::sandbox::{Sandbox, program};
use crate::support::sql::edit;
use crate::support::{PATIENCE, wait_until};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// In one function of SQLite's, which looks at nothing: millions of times it compares millions of bytes.
const FOR_EVER: &str = "instr(printf('%.*c', 8000000, 'x'), printf('%.*c', 4000000, 'x') || 'y') = 0";

/// A value of 400 MB, and one of 800 MB made of it.
const LARGE: &str = "length(hex(zeroblob(400000000))) > 0";

/// A table whose one row is in it without its CHECK, and without the expression of its index, having been asked.
fn with_expression(path: &Path, expression: &str) {
    edit(
        path,
        &format!(
            "PRAGMA ignore_check_constraints = ON; CREATE TABLE hostile (a CHECK ({expression})); \
             CREATE INDEX by_a ON hostile (abs(a)); INSERT INTO hostile VALUES (1); PRAGMA writable_schema = ON; \
             UPDATE sqlite_schema SET sql = replace(sql, 'abs(a)', '{}') WHERE name = 'by_a'",
            expression.replace('\'', "''")
        ),
    );
}

fn spawned(sandbox: &Sandbox, args: &[&str]) -> Child {
    let mut command = program();
    command.arg("--config").arg(sandbox.configuration()).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs a command that must end, though it may hang.
fn ended(sandbox: &Sandbox, args: &[&str]) -> Output {
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
    assert!(in_time, "{args:?} did not end: {}", text(&output));
    output
}

fn wait_until_or(mut ask: impl FnMut() -> bool) -> bool {
    let since = std::time::Instant::now();
    while since.elapsed() < PATIENCE {
        if ask() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    false
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The processes that `parent` has started to check a file.
fn inspectors(parent: Pid) -> Vec<Pid> {
    let all =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let of = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        of == Some(parent.as_raw_nonzero().get()) && line.ends_with(b"\0inspect\0")
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// Time that a process has computed, in hundredths of a second.
fn ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let time = stat.rsplit(") ").next().and_then(|rest| rest.split_whitespace().nth(11)?.parse().ok());
    time.unwrap_or(0)
}

fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !stat.is_empty() && !rest.starts_with('Z'))
}

/// The application empties the log, which no reader and no lock keeps it from.
fn assert_log_can_be_emptied(application: &mut Application) {
    assert_eq!(application.sql("PRAGMA wal_checkpoint(TRUNCATE)"), serde_json::json!([0, 0, 0]));
}

/// A run each twenty seconds, so that there is time to look between two.
const SELDOM: &str = "[health]\nintegrity = \"full\"\nintegrity_schedule = \"*/20 * * * * *\"\nintegrity_timeout = \"2s\"\n\
                      [maintain]\nmax_block = \"1s\"\n";

#[test]
fn h27_a_check_that_takes_for_ever_ends_in_its_time_and_holds_nothing_afterwards() {
    for mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", mode]);
        with_expression(&sandbox.database(), FOR_EVER);
        let daemon = Daemon::start(&sandbox.configure(SELDOM));
        let mut application = Application::start(&sandbox.database());
        wait_for_run(&sandbox, "integrity", 0, "failure");
        assert_eq!(inspectors(daemon.pid()), [], "{mode}");
        if mode == "wal" {
            assert_log_can_be_emptied(&mut application);
        }
        application.write_every(Duration::from_millis(1));
        application.wait_for_commits(3);
        assert_eq!(application.stop().errors, Vec::<String>::new(), "{mode}");
        assert!(daemon.stop().success());
    }
}

#[test]
fn h27_what_takes_for_ever_to_verify_is_given_up_in_its_time() {
    let sandbox = Sandbox::new();
    with_expression(&sandbox.database(), FOR_EVER);
    sandbox.configure("[verify]\ntimeout = \"2s\"\n");
    assert!(ended(&sandbox, &["backup", "attendance"]).status.success());
    let output = ended(&sandbox, &["verify", "attendance"]);
    let text = text(&output);
    assert!(text.contains("took longer than it may") && !text.contains("damaged"), "{text}");
    assert!(crate::support::backups::catalogue(&sandbox).latest().unwrap().is_some());
}

#[test]
fn h27_a_check_that_takes_for_ever_ends_with_the_daemon_however_that_ends() {
    let sandbox = Sandbox::new();
    with_expression(&sandbox.database(), FOR_EVER);
    let configuration = sandbox
        .configure("[health]\nintegrity_schedule = \"* * * * * *\"\n[daemon]\nshutdown_grace = \"1s\"\n");
    for signal in [Signal::KILL, Signal::TERM] {
        let daemon = Daemon::start(&configuration);
        let (parent, checks) = (
            daemon.pid(),
            wait_until("a check is at work", || {
                let all = inspectors(daemon.pid());
                (!all.is_empty()).then_some(all)
            }),
        );
        assert!(inspectors(parent).len() == 1);
        daemon.signal(signal);
        daemon.wait();
        for check in checks {
            wait_until("the check has ended", || (!is_alive(check)).then_some(()));
        }
        assert_log_can_be_emptied(&mut Application::start(&sandbox.database()));
    }
}

/// As from a terminal: the signal reaches all processes of the group.
#[test]
fn h27_a_check_that_is_interrupted_at_the_keyboard_says_that_it_was_stopped() {
    let sandbox = Sandbox::new();
    with_expression(&sandbox.database(), FOR_EVER);
    sandbox.configure("");
    let mut command = program();
    command
        .arg("--config")
        .arg(sandbox.configuration())
        .args(["health", "attendance", "--deep"])
        .process_group(0);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let check =
        wait_until("a check is at work", || inspectors(pid).into_iter().find(|check| ticks(*check) > 10));
    // It is not the one that is told: when to end is said by its parent.
    for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
        kill_process(check, signal).unwrap();
    }
    let before = ticks(check);
    wait_until("the check goes on, or is gone", || {
        (!is_alive(check) || ticks(check) > before + 10).then_some(())
    });
    assert!(is_alive(check), "ended by a signal that was not its parent's word");
    kill_process_group(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = text(&output);
    assert!(!output.status.success() && text.contains("stopped before it was finished"), "{text}");
    assert!(!text.contains("unexpectedly"), "{text}");
}

#[test]
fn h27_a_check_whose_process_is_killed_is_not_done_and_nothing_is_called_damaged() {
    let sandbox = Sandbox::new();
    with_expression(&sandbox.database(), FOR_EVER);
    sandbox.configure("");
    let mut command = spawned(&sandbox, &["health", "attendance", "--deep"]);
    let parent = Pid::from_child(&command);
    let mut killed = Vec::new();
    // That of the whole file, and that of the table.
    while wait_until("the next check, or the end", || {
        let next = inspectors(parent).into_iter().find(|pid| !killed.contains(pid));
        match next {
            Some(pid) => {
                killed.push(pid);
                let _ = kill_process(pid, Signal::KILL);
                Some(true)
            }
            None => command.try_wait().unwrap().map(|_| false),
        }
    }) {}
    let output = command.wait_with_output().unwrap();
    let text = text(&output);
    assert!(!killed.is_empty() && text.contains("was killed"), "{text}");
    assert!(!text.contains("damaged"), "{text}");
}

/// KiB that the largest process of a command had, the command's own included.
fn most_memory(sandbox: &Sandbox, args: &[&str]) -> (u64, String) {
    const MEASURE: &str = "import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut command = Command::new("python3");
    command.args(["-I", "-c", MEASURE, program().get_program().to_str().unwrap()]);
    let output = command.arg("--config").arg(sandbox.configuration()).args(args).output().unwrap();
    let all = text(&output);
    (String::from_utf8(output.stdout).unwrap().trim().parse().unwrap(), all)
}

#[test]
fn h27_a_small_file_takes_little_memory_to_check_whatever_its_schema_says() {
    let sandbox = Sandbox::new();
    with_expression(&sandbox.database(), LARGE);
    sandbox.configure("[health]\nintegrity = \"full\"\n");
    ended(&sandbox, &["backup", "attendance"]);
    for args in [&["health", "attendance", "--deep"][..], &["verify", "attendance"]] {
        let (kib, text) = most_memory(&sandbox, args);
        assert!(kib < 256 << 10, "{args:?} took {kib} KiB: {text}");
        assert!(text.contains("takes more memory than the file has any use for"), "{args:?}: {text}");
        assert!(!text.contains("damaged"), "{args:?}: {text}");
    }
}

#[test]
fn h27_what_a_file_holds_it_may_also_compute_with() {
    let sandbox = Sandbox::new();
    edit(
        &sandbox.database(),
        "CREATE TABLE large (a TEXT CHECK (length(hex(a)) > 0), b AS (upper(a)) STORED);
         CREATE INDEX by_word ON large (lower(a)); INSERT INTO large VALUES (printf('%.*c', 20000000, 'x'))",
    );
    sandbox.configure("[health]\nintegrity = \"full\"\n");
    for args in
        [&["health", "attendance", "--deep"][..], &["backup", "attendance"], &["verify", "attendance"]]
    {
        let output = ended(&sandbox, args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
    }
}

#[test]
fn h27_views_upon_views_are_not_looked_into() {
    const VIEWS: usize = 600;
    let sandbox = Sandbox::new();
    let nested = (1..VIEWS).map(|n| {
        let before = n - 1;
        format!("CREATE VIEW v{n} AS SELECT x.a FROM v{before} AS x, v{before} AS y;")
    });
    edit(
        &sandbox.database(),
        &(String::from("CREATE VIEW v0 AS SELECT 1 AS a;") + &nested.collect::<String>()),
    );
    sandbox.configure(
        "[[database.attendance.cleanup.rule]]\ntable = \"attendance\"\ncolumn = \"date\"\nkeep = \"3650d\"\n",
    );
    for args in [
        &["backup", "attendance"][..],
        &["verify", "attendance"],
        &["health", "attendance"],
        &["health", "attendance", "--deep"],
        &["cleanup", "attendance"],
        &["maintain", "attendance"],
    ] {
        let output = ended(&sandbox, args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
    }
}

/// Two backups. Changes the file and the manifest of the newest.
fn tampered(sandbox: &Sandbox, change: impl FnOnce(&Path, &mut Value)) -> String {
    for _ in 0..2 {
        assert!(ended(sandbox, &["backup", "attendance"]).status.success());
        edit(&sandbox.database(), "CREATE TABLE IF NOT EXISTS more (a); INSERT INTO more VALUES (1)");
    }
    let mut newest = manifests(sandbox).pop().unwrap();
    let backup = file(sandbox, &newest);
    change(&backup, &mut newest);
    let name = backup.file_name().unwrap().to_str().unwrap().to_owned();
    let manifest = directory(sandbox).join(name.replace(".sqlite.gz", ".json"));
    assert!(manifest.exists());
    fs::write(manifest, newest.to_string()).unwrap();
    name
}

/// The newest backup is found damaged, so that the one before it is the newest good one; and nothing is said of the
/// database, which goes on being maintained.
fn assert_only_the_backup_is_bad(sandbox: &Sandbox, name: &str, verified: &Output, words: &str) {
    let said = text(verified);
    assert!(said.contains(words) && !verified.status.success(), "{said}");
    let of_database = sandbox.database().display().to_string();
    assert!(!said.contains(&of_database), "{said}");
    let list = sandbox.litekeeper(&["backups", "attendance", "--json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert!(list.to_string().contains(words), "{list}");
    let good = crate::support::backups::catalogue(sandbox).latest().unwrap().unwrap();
    assert_ne!(good.name, name);
    for args in [&["health", "attendance", "--deep"][..], &["maintain", "attendance"]] {
        let output = ended(sandbox, args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
    }
}

#[test]
fn h27_a_backup_that_unpacks_to_more_than_its_manifest_says_is_damaged_and_fills_no_disk() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let name = tampered(&sandbox, |backup, manifest| {
        let zeros =
            Command::new("sh").arg("-c").arg("head -c 1G /dev/zero | gzip -1 > \"$0\"").arg(backup).status();
        assert!(zeros.unwrap().success());
        manifest["stored_bytes"] = fs::metadata(backup).unwrap().len().into();
        manifest["stored_sha256"] = sha256sum(backup).into();
    });
    // A file of more than 16 MiB ends the command with SIGXFSZ.
    let mut command = Command::new("prlimit");
    command.arg("--fsize=16777216").arg(program().get_program()).arg("--config").arg(sandbox.configuration());
    let verified = command.args(["verify", "attendance"]).output().unwrap();
    assert_only_the_backup_is_bad(&sandbox, &name, &verified, "more bytes than its manifest says");
}

#[test]
fn h27_a_backup_whose_file_is_another_is_damaged_though_it_holds_the_same() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let name = tampered(&sandbox, |_, manifest| manifest["stored_sha256"] = "0".repeat(64).into());
    let verified = ended(&sandbox, &["verify", "attendance"]);
    assert_only_the_backup_is_bad(&sandbox, &name, &verified, "is not the one that its manifest describes");
}

#[test]
fn h27_a_manifest_says_nothing_of_the_database() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 3] = [
        ("and its manifest says 7", |manifest| manifest["tables"]["attendance"] = 7.into()),
        ("has no table ghost", |manifest| manifest["tables"]["ghost"] = 7.into()),
        ("its schema is not the one in its manifest", |manifest| {
            manifest["schema_sha256"] = "0".repeat(64).into();
        }),
    ];
    for (words, change) in changes {
        let sandbox = Sandbox::new();
        sandbox.configure("");
        let name = tampered(&sandbox, |_, manifest| change(manifest));
        let verified = ended(&sandbox, &["verify", "attendance"]);
        assert_only_the_backup_is_bad(&sandbox, &name, &verified, words);
        // The database is not even asked, and the backup is none of a damaged one.
        assert!(!text(&verified).contains("the database itself"), "{}", text(&verified));
        assert!(manifests(&sandbox).pop().unwrap()["damage"].is_null(), "{words}");
    }
}

#[test]
fn h27_a_damaged_file_put_in_the_place_of_a_backup_says_nothing_of_the_database() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\ncompression = \"none\"\n");
    for _ in 0..2 {
        assert!(ended(&sandbox, &["backup", "attendance"]).status.success());
        edit(&sandbox.database(), "CREATE TABLE IF NOT EXISTS more (a); INSERT INTO more VALUES (1)");
    }
    let mut newest = manifests(&sandbox).pop().unwrap();
    let backup = file(&sandbox, &newest);
    let mut bytes = fs::read(&backup).unwrap();
    let page = usize::try_from(newest["page_size"].as_u64().unwrap()).unwrap();
    for leaf in bytes.chunks_mut(page).skip(2) {
        leaf.fill(0xA5);
    }
    fs::write(&backup, bytes).unwrap();
    for sum in ["raw_sha256", "stored_sha256"] {
        newest[sum] = sha256sum(&backup).into();
    }
    let manifest = backup.to_str().unwrap().replace(".sqlite", ".json");
    fs::write(manifest, newest.to_string()).unwrap();
    let verified = ended(&sandbox, &["verify", "attendance"]);
    let name = backup.file_name().unwrap().to_str().unwrap();
    assert_only_the_backup_is_bad(&sandbox, name, &verified, "integrity_check says");
}

/// The number of connections that another process has opened to the daemon and holds. Of an answer to what it sends it
/// reads the first byte on each.
struct Crowd(Child);

impl Crowd {
    fn new(address: SocketAddr, connections: usize, send: &str) -> Self {
        const CROWD: &str = "import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for _ in range(int(sys.argv[3])):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((sys.argv[1], int(sys.argv[2])))
    try:
        s.sendall(sys.argv[4].encode())
    except OSError:
        pass
    held.append(s)
if sys.argv[4]:
    for s in held:
        s.recv(1)
print('held', flush=True)
sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-I", "-c", CROWD, &address.ip().to_string(), &address.port().to_string()]);
        command.args([&connections.to_string(), send]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        Self(child)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn h27_a_thousand_idle_connections_stop_no_backup() {
    let sandbox = Sandbox::new();
    let configuration = sandbox.configure(BACKUP_EACH_SECOND);
    let daemon = Daemon::spawn(&configuration, |command| {
        let mut limited = Command::new("prlimit");
        limited.arg("--nofile=1024:1024").arg(command.get_program()).args(command.get_args());
        limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = limited;
    });
    let _crowd = Crowd::new(daemon.address(), 1100, "");
    let before = history::newest(&sandbox);
    wait_for_run(&sandbox, "backup", before, "success");
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid().as_raw_nonzero())).unwrap().count();
    assert!(descriptors < 200, "{descriptors} descriptors are open");
    // Those who say nothing are sent away, and there is room again.
    wait_until("the daemon answers again", || {
        daemon.get("/healthz").ok().filter(|answer| answer.status == 200).map(drop)
    });
}

#[test]
fn h27_who_does_not_send_a_request_is_sent_away() {
    let sandbox = Sandbox::new();
    let daemon = Daemon::start(&sandbox.configure(""));
    for begun in ["", "GET /metrics HTTP/1.1\r\nHost: local"] {
        let mut silent = TcpStream::connect(daemon.address()).unwrap();
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        silent.write_all(begun.as_bytes()).unwrap();
        let mut answer = Vec::new();
        silent.read_to_end(&mut answer).unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
}

fn memory(daemon: &Daemon, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn h27_clients_that_do_not_read_take_no_more_memory_than_one() {
    const DATABASES: usize = 250;
    let sandbox = Sandbox::new();
    let names = (0..DATABASES).map(|n| {
        let name = format!("d{n}-{}", "x".repeat(58));
        format!("[database.{name}]\npath = \"{}\"\n", sandbox.data().join(format!("{n}.sqlite")).display())
    });
    let daemon = Daemon::start(&sandbox.configure(&names.collect::<String>()));
    let page = daemon.get("/metrics").unwrap().body.len() as u64 >> 10;
    assert!(page > 1 << 10, "a page of {page} KiB shows nothing");
    let before = memory(&daemon, "VmHWM:");
    let _crowd = Crowd::new(daemon.address(), 60, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // All of them have been answered; and somebody else still is.
    wait_until("the daemon answers", || {
        daemon.get("/metrics").ok().filter(|answer| answer.status == 200).map(drop)
    });
    let more = memory(&daemon, "VmHWM:").saturating_sub(before);
    assert!(more < 12 * page, "{more} KiB more for 60 clients, of a page of {page} KiB");
}

#[test]
fn h27_a_name_that_somebody_else_owns_is_not_answered() {
    let sandbox = Sandbox::new();
    let configuration = sandbox.configure("[daemon]\nhosts = [\"status.example.org\"]\n");
    let daemon = Daemon::start(&configuration);
    let asked = |path: &str, headers: &str| {
        request(daemon.address(), &format!("GET {path} HTTP/1.0\r\n{headers}\r\n")).unwrap()
    };
    for path in ["/", "/metrics", "/api/status", "/healthz", "/readyz", "/style.css"] {
        let refused = asked(path, "Host: evil.example:9742\r\n");
        assert_eq!(refused.status, 421, "{path}");
        assert!(refused.body.contains("daemon.hosts"), "{}", refused.body);
        for host in ["127.0.0.1:9742", "localhost", "prometheus-target:9742", "status.example.org"] {
            assert_eq!(asked(path, &format!("Host: {host}\r\n")).status, 200, "{path} {host}");
        }
        assert_eq!(asked(path, "").status, 200, "{path}");
    }
}
