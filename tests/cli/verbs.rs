//! The verbs on real files: what each prints, its exit code, its help, and what a look leaves as it
//! was.

use super::fixture::{
    assert_has_fields, backed_up, backup_files, json, kept, names_in, run, stuck_backup, text, without_wal,
};
use crate::support::daemon::Daemon;
use crate::support::sandbox::{Sandbox, copy_for_all, litekeeper, program};
use crate::support::skip;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn a_job_that_finds_another_run_at_work_is_locked_out() {
    let sandbox = without_wal();
    let (mut application, backup) = stuck_backup(&sandbox);
    let locked = json(&sandbox, 11, &["backup", "attendance"]);
    assert_eq!((&locked["outcome"], &locked["reason"]), (&"skipped".into(), &"locked".into()));
    let by = format!("backup (process {})", backup.id());
    assert!(locked["summary"].as_str().unwrap().contains(&by), "{locked}");
    application.release();
    let output = backup.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(backup_files(&sandbox).len(), 1);
}

#[test]
fn a_job_that_is_stopped_counts_as_interrupted() {
    let sandbox = without_wal();
    let (_application, backup) = stuck_backup(&sandbox);
    kill_process(Pid::from_child(&backup), Signal::TERM).unwrap();
    let output = backup.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(json(&sandbox, 0, &["history"])[0]["outcome"], "interrupted");
    assert_eq!(backup_files(&sandbox).len(), 0);
}

#[test]
fn a_dry_run_of_a_cleanup_tells_what_would_go_and_is_no_run() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        "[[database.attendance.cleanup.rule]]\ntable = \"attendance\"\ncolumn = \"date\"\nkeep = \"1d\"\n
         [cleanup]\nmax_share = \"100%\"",
    );
    let rows = || -> u64 {
        let connection = Connection::open(sandbox.database()).unwrap();
        connection.query_row("SELECT count(*) FROM attendance", [], |row| row.get(0)).unwrap()
    };
    let before = rows();
    let preview = json(&sandbox, 0, &["cleanup", "attendance", "--dry-run"]);
    let would_go = preview["detail"]["rules"][0]["removed"].as_u64().unwrap();
    assert!(would_go > 0, "{preview}");
    assert_eq!(rows(), before);
    let shown = run(&sandbox, 0, &["cleanup", "attendance", "--dry-run"]);
    let shown = text(&shown.stdout);
    assert!(
        shown.contains(" TABLE ") && shown.contains(" WOULD GO ") && !shown.contains("REMOVED"),
        "{shown}"
    );
    assert_eq!(json(&sandbox, 0, &["history"]), Value::Array(Vec::new()));

    run(&sandbox, 0, &["cleanup", "attendance"]);
    assert_eq!(rows(), before - would_go);
    assert_eq!(json(&sandbox, 0, &["history"])[0]["task"], "cleanup");
}

#[test]
fn what_a_check_finds_is_told_from_damage() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        "[[database.attendance.index]]\nname = \"idx_none\"\ntable = \"users\"\ncolumns = [\"email\"]",
    );
    let found = json(&sandbox, 1, &["health", "attendance"]);
    assert_eq!((&found["task"], &found["outcome"]), (&"health".into(), &"success".into()));
    assert!(found["findings"][0]["message"].as_str().unwrap().contains("idx_none"), "{found}");
    // Not merely that it was done.
    let ended = |job: &str| {
        let shown = run(&sandbox, 0, &["status"]);
        let row = text(&shown.stdout).lines().find_map(|line| line.trim_start().strip_prefix(job)).unwrap();
        row.trim_start().split(" now").next().unwrap().to_owned()
    };
    assert_eq!(ended("health "), "found something");

    // An index that lacks its rows.
    let connection = Connection::open(sandbox.database()).unwrap();
    let sql = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 1000000 WHERE name = 'idx_users_name'";
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let deep = json(&sandbox, 12, &["health", "attendance", "--deep"]);
    let jobs: Vec<_> = deep.as_array().unwrap().iter().map(|run| run["task"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["integrity", "health"]);
    assert_eq!([ended("health "), ended("integrity ")], ["FOUND DAMAGE", "FOUND DAMAGE"]);
}

#[test]
fn a_wrong_command_line_is_told_in_json_as_well() {
    let output = program().args(["backup", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["error"]["reason"], "usage");
    assert!(told["error"]["message"].as_str().unwrap().contains("<DB>"), "{told}");
    assert!(text(&output.stderr).contains("<DB>"), "{}", text(&output.stderr));
    let output = program().args(["backup"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
}

#[test]
fn a_demo_whose_address_is_taken_says_how_to_give_it_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let sandbox = Sandbox::empty();
    let dir = sandbox.path().join("demo");
    let address = taken.local_addr().unwrap().to_string();
    let output = program().args(["demo", "--listen", &address, "--dir"]).arg(&dir).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&address) && said.contains("--listen 127.0.0.1:"), "{said}");
    assert!(!dir.exists(), "a demo that cannot start was written");
}

#[test]
fn help_of_a_verb_is_found_both_ways() {
    let [one, other] =
        [["help", "backup"], ["backup", "--help"]].map(|args| program().args(args).output().unwrap());
    assert_eq!((one.status.code(), text(&one.stdout)), (Some(0), text(&other.stdout)));
    assert!(text(&one.stdout).contains("Exit codes:"), "{}", text(&one.stdout));
}

#[test]
fn names_that_are_not_there_are_told_from_wrong_usage_and_a_wrong_configuration() {
    let sandbox = kept();
    let unknown = run(&sandbox, 10, &["backup", "atendance"]);
    assert!(text(&unknown.stderr).contains("did you mean attendance?"), "{}", text(&unknown.stderr));
    for verb in ["status", "backups", "verify", "history", "slow", "maintain", "cleanup", "health"] {
        run(&sandbox, 10, &[verb, "nosuch"]);
    }
    let none = json(&sandbox, 10, &["restore", "attendance", "--to", "/nonexistent/x"]);
    assert_has_fields(&none["error"], "reason message");
    assert!(none["error"]["message"].as_str().unwrap().contains("no backups"), "{none}");

    for usage in [&["nosuch"][..], &["backup"], &["restore", "attendance"], &["history", "--limit", "x"]] {
        run(&sandbox, 2, usage);
    }
    run(&sandbox, 2, &["restore", "attendance", "--to", "x", "--at", "yesterday"]);
    run(&sandbox, 2, &["restore", "attendance", "latest", "--at", "2026-11-23 05:00", "--to", "x"]);

    sandbox.configure_as("[daemon]\nlisten = 1\nnosuch = 2\n");
    for verb in ["check", "status", "history", "run"] {
        run(&sandbox, 78, &[verb]);
    }
    let rejected = json(&sandbox, 78, &["check"]);
    assert_has_fields(&rejected, "config valid databases warnings problems environment");
    assert_eq!(rejected["valid"], false);
    let lines: Vec<_> = rejected["problems"].as_array().unwrap().iter().map(|p| p["line"].as_u64()).collect();
    assert_eq!(lines, [Some(2), Some(3)]);
    assert_has_fields(&rejected["problems"][0], "line column message help");
}

#[test]
fn every_verb_has_a_help_with_its_exit_codes() {
    let help = litekeeper(&["--help"]);
    let all = text(&help.stdout);
    let listed = all.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let verbs: Vec<_> = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.len() >= 15, "{verbs:?}");
    for verb in verbs {
        for flag in ["-h", "--help"] {
            let output = litekeeper(&[verb, flag]);
            assert_eq!(output.status.code(), Some(0), "{verb}");
            assert!(text(&output.stdout).contains("Exit codes:\n  0   "), "{verb}");
        }
    }
}

#[test]
fn a_look_creates_nothing() {
    let sandbox = kept();
    fs::remove_dir(sandbox.state()).unwrap();
    fs::remove_dir(sandbox.backups()).unwrap();
    let before = names_in(sandbox.path());
    let status = json(&sandbox, 0, &["status"]);
    assert_eq!((&status["ready"], &status["databases"][0]["name"]), (&false.into(), &"attendance".into()));
    assert_eq!(status["databases"][0]["size_bytes"], fs::metadata(sandbox.database()).unwrap().len());
    let shown = run(&sandbox, 0, &["status", "attendance"]);
    assert!(text(&shown.stdout).contains("none yet"), "{}", text(&shown.stdout));
    assert_eq!(text(&run(&sandbox, 0, &["history"]).stdout), "no runs yet\n");
    assert_eq!(json(&sandbox, 0, &["history"]), Value::Array(Vec::new()));
    assert_eq!(json(&sandbox, 0, &["slow"]), Value::Array(Vec::new()));
    run(&sandbox, 10, &["backups", "attendance"]);
    run(&sandbox, 0, &["check", "--environment"]);
    assert_eq!(names_in(sandbox.path()), before);
    assert_eq!(names_in(&sandbox.data()), BTreeSet::from([String::from("attendance.sqlite")]));
}

#[test]
fn without_a_daemon_the_status_is_what_the_history_tells() {
    let sandbox = backed_up();
    let status = json(&sandbox, 0, &["status", "attendance"]);
    let backup = &status["databases"][0]["jobs"][0];
    assert_eq!((&backup["task"], &backup["last"]["outcome"]), (&"backup".into(), &"success".into()));
    assert_eq!(status["databases"][0]["backups"], 1);
    let shown = run(&sandbox, 0, &["status"]);
    let shown = text(&shown.stdout);
    assert!(shown.starts_with("No daemon with this configuration answers"), "{shown}");
    assert!(shown.contains("\n  newest backup"), "{shown}");
    // The command's own are not the daemon's.
    assert_eq!((&status["pid"], &status["started"]), (&Value::Null, &Value::Null));

    sandbox.configure("[daemon]\nlisten = \"off\"");
    let shown = run(&sandbox, 0, &["status"]);
    assert!(
        text(&shown.stdout).starts_with("A daemon cannot be asked, as daemon.listen is \"off\""),
        "{}",
        text(&shown.stdout)
    );
}

#[test]
fn a_failure_is_the_first_thing_that_the_status_tells_of_a_database() {
    let sandbox = kept();
    fs::remove_file(sandbox.database()).unwrap();
    // Before any run has met it.
    let shown = run(&sandbox, 0, &["status"]);
    assert!(
        text(&shown.stdout).contains("  FAILURE  database: the file cannot be seen"),
        "{}",
        text(&shown.stdout)
    );
    let failed = json(&sandbox, 10, &["backup", "attendance"]);
    assert_eq!((&failed["outcome"], &failed["reason"]), (&"failure".into(), &"vanished".into()));
    let shown = run(&sandbox, 0, &["status"]);
    let lines: Vec<_> = text(&shown.stdout).lines().collect();
    let name = lines.iter().position(|line| line.starts_with("attendance ")).unwrap();
    assert!(lines[name + 1].starts_with("  FAILURE  backup: failed: "), "{lines:?}");
}

#[test]
fn the_status_is_that_of_the_running_daemon_of_this_configuration_and_no_other() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sandbox = Sandbox::new();
    // Asked on the loopback where it listens on every address.
    let listen = format!("[daemon]\nlisten = \"0.0.0.0:{}\"", free.port());
    let daemon = Daemon::start(&sandbox.configure(&listen));
    let pid = |sandbox: &Sandbox| json(sandbox, 0, &["status"])["pid"].as_i64().unwrap();
    assert_eq!(pid(&sandbox), i64::from(daemon.pid().as_raw_nonzero().get()));
    assert_eq!(json(&sandbox, 0, &["status"])["ready"], true);
    let environment = json(&sandbox, 0, &["check", "--environment"]);
    let listens =
        environment["environment"].as_array().unwrap().iter().find(|l| l["about"] == "daemon.listen");
    assert_has_fields(listens.unwrap(), "about result text");
    assert!(listens.unwrap()["text"].as_str().unwrap().contains("running daemon"), "{environment}");

    let other = Sandbox::new();
    other.configure(&listen);
    let status = json(&other, 0, &["status"]);
    assert_eq!(status["ready"], false, "another configuration's daemon was believed");
    assert_eq!(status["config_path"], other.configuration().to_str().unwrap());
    run(&other, 1, &["check", "--environment"]);
    assert!(daemon.stop().success());
    assert_eq!(json(&sandbox, 0, &["status"])["ready"], false);
}

#[test]
fn a_check_of_the_environment_names_what_is_wrong() {
    let sandbox = kept();
    assert_eq!(json(&sandbox, 0, &["check"])["environment"], Value::Null);
    let good = json(&sandbox, 0, &["check", "--environment"]);
    assert!(good["environment"].as_array().unwrap().iter().all(|look| look["result"] == "ok"), "{good}");

    // As a copy leaves it that ended early.
    let whole = fs::metadata(sandbox.database()).unwrap().len();
    let cut =
        |size| fs::OpenOptions::new().write(true).open(sandbox.database()).unwrap().set_len(size).unwrap();
    for size in [whole - 100, 0] {
        cut(size);
        let doubtful = json(&sandbox, 0, &["check", "--environment"]);
        let looks = doubtful["environment"].as_array().unwrap();
        let doubts: Vec<_> = looks.iter().filter(|look| look["result"] == "warning").collect();
        assert_eq!(doubts.len(), 1, "{size}: {doubtful}");
        assert!(doubts[0]["text"].as_str().unwrap().contains("was cut off"), "{doubtful}");
    }

    fs::remove_file(sandbox.database()).unwrap();
    fs::remove_dir(sandbox.backups()).unwrap();
    fs::write(sandbox.backups(), "a file").unwrap();
    let bad = json(&sandbox, 1, &["check", "--environment"]);
    let problems: Vec<_> = bad["environment"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|look| look["result"] == "problem")
        .map(|look| look["about"].as_str().unwrap())
        .collect();
    assert_eq!(problems, ["database.attendance.path", "database.attendance.backup.dir"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let sandbox = backed_up();
    let verbs =
        [&["history"][..], &["status"], &["backups", "attendance"], &["--help"], &["verify", "attendance"]];
    for verb in verbs {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program();
        command.arg("--config").arg(sandbox.configuration()).args(verb);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{verb:?}");
    }
    // A full disk is one.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = program();
    let output =
        command.arg("--config").arg(sandbox.configuration()).arg("history").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write the output"), "{}", text(&output.stderr));
}

#[test]
fn who_may_not_read_the_state_is_told_who_may() {
    if !rustix::process::geteuid().is_root() {
        return skip("playing another user takes root");
    }
    let sandbox = backed_up();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    open(sandbox.path());
    open(&sandbox.configuration());
    fs::set_permissions(sandbox.state(), fs::Permissions::from_mode(0o700)).unwrap();
    // Where the build lies, other users need not be let in.
    let copy = sandbox.path().join("litekeeper");
    copy_for_all(Path::new(program().get_program()), &copy);
    for verb in [&["history"][..], &["status"], &["backup", "attendance"]] {
        let mut command = Command::new(&copy);
        command.arg("--config").arg(sandbox.configuration()).args(verb).uid(65534).gid(65534);
        let output = command.current_dir("/").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{verb:?}");
        let said = text(&output.stderr);
        assert!(said.contains("user 65534 may not") && said.contains("state.db"), "{verb:?}: {said}");
    }
}
