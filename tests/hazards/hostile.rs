//! What a file whose author means harm can take from litekeeper: not its time for ever, not its
//! memory (HAZARDS H27).

use super::processes::{ended, inspectors, spawned};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::application::Application;
use crate::support::daemon::Daemon;
use crate::support::history::wait_for_run;
use crate::support::process::memory::most_memory;
use crate::support::sandbox::{Sandbox, program, said};
use crate::support::sql::edit;
use crate::support::wait_until;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// In one function of SQLite's, which looks at nothing: millions of times it compares millions of
/// bytes.
const FOR_EVER: &str = "instr(printf('%.*c', 8000000, 'x'), printf('%.*c', 4000000, 'x') || 'y') = 0";

/// A value of 400 MB, and one of 800 MB made of it.
const LARGE: &str = "length(hex(zeroblob(400000000))) > 0";

/// A table whose one row is in it without its CHECK, and without the expression of its index,
/// having been asked.
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
    let text = said(&output);
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
    let text = said(&output);
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
    let text = said(&output);
    assert!(!killed.is_empty() && text.contains("was killed"), "{text}");
    assert!(!text.contains("damaged"), "{text}");
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
        assert!(output.status.success(), "{args:?}: {}", said(&output));
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
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    }
}
