//! The command line: the real program on real files, its output and its exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use litekeeper::store::BackupName;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use support::application::Application;
use support::daemon::Daemon;
use support::sandbox::{Sandbox, copy_for_all, litekeeper, program};
use support::soundness::assert_sound;
use support::{skip, wait_until};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs a verb that must end with this code.
fn run(sandbox: &Sandbox, code: i32, args: &[&str]) -> Output {
    let output = sandbox.litekeeper(args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\nstdout: {out}\nstderr: {err}");
    output
}

/// Its output, which is one JSON value.
fn json(sandbox: &Sandbox, code: i32, args: &[&str]) -> Value {
    let output = run(sandbox, code, &[args, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stdout)))
}

fn assert_has_fields(value: &Value, names: &str) {
    let found: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(found, names.split(' ').collect());
}

fn kept() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    sandbox
}

fn backed_up() -> Sandbox {
    let sandbox = kept();
    run(&sandbox, 0, &["backup", "attendance"]);
    sandbox
}

/// Files of backups, oldest first, without manifests.
fn backup_files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let dir = sandbox.backups().join("attendance");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "gz"));
    files.sort();
    files
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every table with every row, in order.
fn content(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut tables =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let tables: Vec<(String, String)> =
        tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let mut content = Vec::new();
    for (name, sql) in tables {
        content.push(sql);
        let mut rows = connection.prepare(&format!("SELECT * FROM \"{name}\" ORDER BY rowid")).unwrap();
        let columns = rows.column_count();
        let rows = rows.query_map([], |row| {
            Ok((0..columns).map(|n| format!("{:?}", row.get_ref(n).unwrap())).collect::<Vec<_>>().join("|"))
        });
        content.extend(rows.unwrap().map(Result::unwrap));
    }
    content
}

fn start(sandbox: &Sandbox, args: &[&str]) -> Child {
    let mut command = program();
    command.arg("--config").arg(sandbox.configuration()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A backup that cannot get on, as the application keeps everybody out of its database, and holds its lock.
fn stuck_backup(sandbox: &Sandbox) -> (Application, Child) {
    let mut application = Application::start(&sandbox.database());
    application.hold_exclusive();
    let backup = start(sandbox, &["backup", "attendance"]);
    let lock = sandbox.state().join("locks/attendance.lock");
    let holder = format!("backup (process {})", backup.id());
    wait_until("the backup has its lock", || fs::read_to_string(&lock).ok()?.contains(&holder).then_some(()));
    (application, backup)
}

fn without_wal() -> Sandbox {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    sandbox.configure("");
    sandbox
}

#[test]
fn a_dry_run_of_a_backup_says_what_rotation_will_do_and_does_nothing() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nkeep_last = 2\nskip_unchanged = false\n");
    let nothing_yet = json(&sandbox, 0, &["backup", "attendance", "--dry-run"]);
    assert_eq!(nothing_yet["detail"]["backups"], serde_json::json!([]));
    assert!(!sandbox.backups().join("attendance").exists());
    for _ in 0..2 {
        run(&sandbox, 0, &["backup", "attendance"]);
    }
    let before = backup_files(&sandbox);
    let told = json(&sandbox, 0, &["backup", "attendance", "--dry-run"]);
    let lines = told["detail"]["backups"].as_array().unwrap();
    let said: Vec<_> =
        lines.iter().map(|l| (l["rotation"].as_str().unwrap(), l["why"].as_str().unwrap())).collect();
    assert_eq!(
        said,
        [
            ("makes it", "last 1 of 2, newest good"),
            ("keeps it", "last 2 of 2"),
            ("removes it", "past keep_last = 2"),
        ]
    );
    assert!(before[0].to_str().unwrap().contains(lines[2]["name"].as_str().unwrap()), "{told}");
    assert_eq!(backup_files(&sandbox), before);
    let history = json(&sandbox, 0, &["history", "attendance"]);
    assert_eq!(history.as_array().unwrap().len(), 2, "a dry run is no run: {history}");
    let output = run(&sandbox, 0, &["backup", "attendance", "--dry-run"]);
    assert!(text(&output.stdout).contains("would keep 1 older one and remove 1"), "{}", text(&output.stdout));
    // And so it does.
    run(&sandbox, 0, &["backup", "attendance"]);
    let after = backup_files(&sandbox);
    assert_eq!((after.len(), &after[0]), (2, &before[1]));
}

#[test]
fn a_backup_at_a_rate_that_takes_hours_ends_when_it_is_told_to() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nmax_rate = \"1KiB\"\n");
    let mut application = Application::start(&sandbox.database());
    application.sql("CREATE TABLE ballast AS SELECT randomblob(3000000) AS bytes");
    let mut backup = start(&sandbox, &["backup", "attendance"]);
    let tasks = PathBuf::from(format!("/proc/{}/task", backup.id()));
    wait_until("it packs", || {
        let mut names = fs::read_dir(&tasks)
            .ok()?
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.any(|name| name.trim() == "compress").then_some(())
    });
    kill_process(Pid::from_child(&backup), Signal::INT).unwrap();
    assert!(!backup.wait().unwrap().success());
    let left: Vec<_> =
        fs::read_dir(sandbox.backups().join("attendance")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == ".lock"), "{left:?}");
}

#[test]
fn a_backup_made_by_hand_is_listed_verified_and_in_the_history() {
    let sandbox = kept();
    let made = json(&sandbox, 0, &["backup", "attendance"]);
    assert_has_fields(&made, "database job outcome reason summary detail problems findings");
    assert_eq!(
        (&made["database"], &made["job"], &made["outcome"]),
        (&"attendance".into(), &"backup".into(), &"success".into())
    );
    let name = made["detail"]["name"].as_str().unwrap();
    assert!(BackupName::parse(name, "attendance").is_some(), "{name}");

    let states = || text(&run(&sandbox, 0, &["backups", "attendance"]).stdout).to_owned();
    assert!(states().contains("  unverified  "), "{}", states());
    let verified = json(&sandbox, 0, &["verify", "attendance", name]);
    assert!(states().contains("  verified "), "{}", states());
    assert_eq!((&verified["job"], &verified["outcome"]), (&"verify".into(), &"success".into()));

    let list = json(&sandbox, 0, &["backups", "attendance"]);
    let [only] = list.as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_has_fields(
        only,
        "name path time stored_bytes raw_bytes state why verification pinned keep reasons",
    );
    assert_eq!((&only["name"], &only["state"], &only["keep"]), (&name.into(), &"good".into(), &true.into()));
    assert_eq!(only["verification"]["ok"], true);
    let file = fs::metadata(only["path"].as_str().unwrap()).unwrap();
    assert_eq!(only["stored_bytes"], file.len());
    assert!(only["reasons"].as_array().unwrap().contains(&"newest verified".into()), "{only}");

    let history = json(&sandbox, 0, &["history", "attendance"]);
    let jobs: Vec<_> = history.as_array().unwrap().iter().map(|run| run["job"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["verify", "backup"]);
    let run = &history[1];
    assert_has_fields(run, "id database job cause pid started finished outcome reason summary detail");
    assert_eq!((&run["cause"], &run["detail"]), (&"manual".into(), &made["detail"]));
    assert_eq!(json(&sandbox, 0, &["history", "--limit", "1"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_pinned_backup_says_so_until_it_is_unpinned() {
    let sandbox = backed_up();
    let pinned = json(&sandbox, 0, &["pin", "attendance", "latest"]);
    assert_has_fields(&pinned, "database backup pinned");
    assert_eq!(pinned["pinned"], true);
    let listed = |sandbox: &Sandbox| json(sandbox, 0, &["backups", "attendance"])[0].clone();
    assert_eq!(listed(&sandbox)["pinned"], true);
    assert!(listed(&sandbox)["reasons"].as_array().unwrap().contains(&"pinned".into()));
    assert_eq!(json(&sandbox, 0, &["unpin", "attendance", "latest"])["pinned"], false);
    assert_eq!(listed(&sandbox)["pinned"], false);
    run(&sandbox, 10, &["pin", "attendance", "1999"]);
}

#[test]
fn what_is_restored_equals_what_was_backed_up() {
    let sandbox = backed_up();
    let to = sandbox.path().join("restored.sqlite");
    fs::set_permissions(sandbox.database(), fs::Permissions::from_mode(0o640)).unwrap();
    let told = json(&sandbox, 0, &["restore", "attendance", "--to", to.to_str().unwrap()]);
    assert_has_fields(&told, "database backup begun to bytes dry_run check warnings next");
    assert_eq!((&told["to"], &told["dry_run"]), (&to.to_str().unwrap().into(), &false.into()));
    let file = fs::metadata(&to).unwrap();
    assert_eq!(told["bytes"], file.len());
    assert!(told["check"].is_string() && told["warnings"] == Value::Array(Vec::new()), "{told}");
    assert_eq!(file.permissions().mode() & 0o7777, 0o600, "who else may read it is not known");
    let chmod = format!("chmod 0640 {}", to.display());
    assert!(told["next"].as_array().unwrap().contains(&chmod.as_str().into()), "{told}");

    assert_sound(&to);
    let content_now = content(&to);
    assert!(content_now.len() > 1000, "{} rows", content_now.len());
    assert!(content_now == content(&sandbox.database()));
}

#[test]
fn after_a_disaster_the_configuration_and_the_backups_are_enough() {
    let sandbox = backed_up();
    let before = content(&sandbox.database());
    fs::remove_dir_all(sandbox.data()).unwrap();
    fs::remove_dir_all(sandbox.state()).unwrap();
    fs::create_dir(sandbox.data()).unwrap();
    run(&sandbox, 0, &["restore", "attendance", "--to", sandbox.database().to_str().unwrap()]);
    assert!(content(&sandbox.database()) == before);
    assert!(!sandbox.state().exists());
}

#[test]
fn a_dry_run_of_a_restore_writes_nothing() {
    let sandbox = backed_up();
    let to = sandbox.path().join("restored.sqlite");
    let told = json(&sandbox, 0, &["restore", "attendance", "--to", to.to_str().unwrap(), "--dry-run"]);
    assert_eq!((&told["dry_run"], &told["next"]), (&true.into(), &Value::Array(Vec::new())));
    assert!(!to.exists());
}

#[test]
fn the_state_of_a_time_is_that_of_the_newest_backup_before_it() {
    let sandbox = Sandbox::new();
    sandbox.configure("[daemon]\ntimezone = \"Europe/Berlin\"");
    run(&sandbox, 0, &["backup", "attendance"]);
    // The same backup under the name of another time.
    let now = backup_files(&sandbox).pop().unwrap();
    let then = now.with_file_name("attendance_20260701T100000Z.sqlite.gz");
    fs::copy(&now, &then).unwrap();
    let stem = |path: &Path| path.to_str().unwrap().trim_end_matches(".sqlite.gz").to_owned();
    let manifest = fs::read_to_string(format!("{}.json", stem(&now))).unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    fs::write(format!("{}.json", stem(&then)), manifest.replace(&name(&now), &name(&then))).unwrap();

    let at = |code, time: &str| {
        let to = sandbox.path().join("restored.sqlite");
        json(
            &sandbox,
            code,
            &["restore", "attendance", "--at", time, "--to", to.to_str().unwrap(), "--dry-run"],
        )
    };
    // Noon in Berlin is ten o'clock UTC in summer.
    assert_eq!(at(0, "2026-07-01 12:00")["backup"], name(&then).as_str());
    assert_eq!(at(10, "2026-07-01 11:59:59")["error"]["reason"], "not_found");
    assert_eq!(at(0, "2026-07-01T11:00:00+01:00")["backup"], name(&then).as_str());
    assert_eq!(at(0, "2099-01-01 00:00")["backup"], name(&now).as_str());
    let to = "/nonexistent/restored.sqlite";
    let twice = run(&sandbox, 2, &["restore", "attendance", "--at", "2026-10-25 02:30", "--to", to]);
    assert!(text(&twice.stderr).contains("2026-10-25T02:30:00+02:00"), "{}", text(&twice.stderr));
}

#[test]
fn h17_a_restore_refuses_a_target_that_exists_or_has_sidecars() {
    let sandbox = backed_up();
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let dir = sandbox.path().join(format!("target{suffix}"));
        fs::create_dir(&dir).unwrap();
        let to = dir.join("restored.sqlite");
        let occupied = dir.join(format!("restored.sqlite{suffix}"));
        fs::write(&occupied, "precious").unwrap();
        let refused = run(&sandbox, 1, &["restore", "attendance", "--to", to.to_str().unwrap()]);
        assert!(text(&refused.stderr).contains(occupied.to_str().unwrap()), "{}", text(&refused.stderr));
        assert_eq!(fs::read_to_string(&occupied).unwrap(), "precious");
        assert_eq!(names_in(&dir).len(), 1, "{:?}", names_in(&dir));
    }
}

#[test]
fn h16_what_only_the_application_can_check_is_restored_with_a_warning() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let connection = Connection::open(sandbox.database()).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE names (name TEXT COLLATE NOCASE); CREATE INDEX by_name ON names (name);
             INSERT INTO names VALUES ('a'), ('b');
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'theirs') WHERE name = 'names';",
        )
        .unwrap();
    drop(connection);
    run(&sandbox, 0, &["backup", "attendance"]);
    let to = sandbox.path().join("restored.sqlite");
    let told = json(&sandbox, 0, &["restore", "attendance", "--to", to.to_str().unwrap()]);
    assert_eq!(told["check"], Value::Null);
    assert!(told["warnings"][0].as_str().unwrap().contains("theirs"), "{told}");
    assert!(to.exists());
}

#[test]
fn a_damaged_backup_is_not_restored_and_leaves_nothing() {
    let sandbox = backed_up();
    let backup = backup_files(&sandbox).pop().unwrap();
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&backup, bytes).unwrap();
    let dir = sandbox.path().join("target");
    fs::create_dir(&dir).unwrap();
    let to = dir.join("restored.sqlite");
    let told = json(&sandbox, 12, &["restore", "attendance", "--to", to.to_str().unwrap()]);
    assert_has_fields(&told, "error");
    assert_eq!(told["error"]["reason"], "damaged");
    assert_eq!(names_in(&dir), BTreeSet::new());

    let verified = json(&sandbox, 12, &["verify", "attendance"]);
    assert_eq!((&verified["outcome"], &verified["reason"]), (&"failure".into(), &"damaged".into()));
    // Known as damaged from now on, it is no longer the newest good one.
    assert_eq!(json(&sandbox, 0, &["backups", "attendance"])[0]["state"], "damaged");
    run(&sandbox, 10, &["restore", "attendance", "--to", to.to_str().unwrap()]);
}

#[test]
fn a_restore_that_is_stopped_leaves_nothing() {
    let sandbox = kept();
    // Large enough that the signal comes before the end.
    let sql = "CREATE TABLE noise (x); INSERT INTO noise SELECT randomblob(1 << 20) FROM attendance LIMIT 48";
    Connection::open(sandbox.database()).unwrap().execute_batch(sql).unwrap();
    run(&sandbox, 0, &["backup", "attendance"]);
    let dir = sandbox.path().join("target");
    fs::create_dir(&dir).unwrap();
    let child =
        start(&sandbox, &["restore", "attendance", "--to", dir.join("restored.sqlite").to_str().unwrap()]);
    wait_until("the restore has begun", || (!names_in(&dir).is_empty()).then_some(()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("stopped"), "{}", text(&output.stderr));
    assert_eq!(names_in(&dir), BTreeSet::new());
}

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
fn a_backup_that_cannot_remove_an_old_one_is_partly_done() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nkeep_last = 1\nskip_unchanged = false\n");
    run(&sandbox, 0, &["backup", "attendance"]);
    let [old] = backup_files(&sandbox).try_into().unwrap();
    // Not even root removes an immutable file.
    let attribute = |change: &str| Command::new("chattr").arg(change).arg(&old).status();
    if !attribute("+i").is_ok_and(|status| status.success()) {
        return skip("chattr +i works for root only, and not on every filesystem");
    }
    let partly = json(&sandbox, 3, &["backup", "attendance"]);
    assert!(attribute("-i").unwrap().success());
    assert_eq!(partly["outcome"], "failure");
    let [problem] = partly["problems"].as_array().unwrap().as_slice() else { panic!("{partly}") };
    assert_has_fields(problem, "reason message");
    assert_eq!(backup_files(&sandbox).len(), 2);
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
    assert_eq!(json(&sandbox, 0, &["history"])[0]["job"], "cleanup");
}

#[test]
fn what_a_check_finds_is_told_from_damage() {
    let sandbox = Sandbox::new();
    sandbox.configure(
        "[[database.attendance.index]]\nname = \"idx_none\"\ntable = \"users\"\ncolumns = [\"email\"]",
    );
    let found = json(&sandbox, 1, &["health", "attendance"]);
    assert_eq!((&found["job"], &found["outcome"]), (&"health".into(), &"success".into()));
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
    let jobs: Vec<_> = deep.as_array().unwrap().iter().map(|run| run["job"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["integrity", "health"]);
    assert_eq!([ended("health "), ended("integrity ")], ["FOUND DAMAGE", "FOUND DAMAGE"]);
}

#[test]
fn a_backup_that_is_brought_to_a_copy_is_not_told_as_one_that_a_killed_run_left() {
    let sandbox = Sandbox::new();
    let copy = sandbox.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let table = "[[database.attendance.backup.copy]]\nname = \"second\"\ndir = ";
    sandbox.configure(&format!("{table}{:?}", copy.to_str().unwrap()));
    let output = run(&sandbox, 0, &["--log-level", "info", "backup", "attendance"]);
    assert!(fs::read_dir(copy.join("attendance")).unwrap().count() >= 2, "nothing was brought");
    let log = text(&output.stderr);
    assert!(log.contains("job done") && !log.contains("read this backup back"), "{log}");
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
    assert_eq!((&backup["kind"], &backup["last"]["outcome"]), (&"backup".into(), &"success".into()));
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

#[test]
fn the_documents_of_a_package_have_every_command_and_none_that_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let output = litekeeper(&["documents", dir.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let help = litekeeper(&["--help"]);
    let commands = text(&help.stdout).split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let is_new = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let verbs = commands.lines().filter(is_new).filter_map(|line| line.split_whitespace().next());
    let verbs: BTreeSet<&str> = verbs.filter(|verb| *verb != "help").collect();
    assert!(verbs.len() > 10, "{verbs:?}");

    let mut pages: BTreeSet<String> = verbs.iter().map(|verb| format!("litekeeper-{verb}.1")).collect();
    pages.insert("litekeeper.1".to_owned());
    let names = |dir: &Path| -> BTreeSet<String> {
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(&dir.path().join("man1")), pages);
    for page in &pages {
        let page = fs::read_to_string(dir.path().join("man1").join(page)).unwrap();
        for part in [".SH NAME", ".SH SYNOPSIS", ".SH NOTES\n.nf\n", "Exit codes:"] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }
    for file in ["litekeeper.bash", "_litekeeper", "litekeeper.fish"] {
        let completions = fs::read_to_string(dir.path().join("completions").join(file)).unwrap();
        for verb in &verbs {
            assert!(completions.contains(verb), "{file} does not know {verb}");
        }
        for hidden in ["inspect", "watch-locks", "documents"] {
            assert!(!completions.contains(hidden), "{file} offers {hidden}");
        }
    }
    // What they say to the shells that are here is not wrong.
    let script = dir.path().join("completions/litekeeper.bash");
    let check = Command::new("bash").arg("-n").arg(script).output().unwrap();
    assert!(check.status.success(), "{}", text(&check.stderr));
}

#[test]
fn documents_that_cannot_be_written_are_an_error_that_names_the_place() {
    let output = litekeeper(&["documents", "/dev/null/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/dev/null/nowhere/man1"), "{}", text(&output.stderr));
}

/// The names in a value, wherever they are in it.
fn fields_of(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.keys().cloned());
            fields.values().for_each(|field| fields_of(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| fields_of(item, into)),
        _ => {}
    }
}

#[test]
fn every_name_in_json_is_in_the_reference() {
    let sandbox = backed_up();
    sandbox.configure(
        "[[database.attendance.backup.copy]]\nname = \"second\"\ndir = \"/tmp/litekeeper-nowhere\"\n\
         [[database.attendance.cleanup.rule]]\ntable = \"attendance\"\nkeep_rows = 1000000\n\
         [[database.attendance.index]]\nname = \"i\"\ntable = \"attendance\"\ncolumns = [\"user_id\"]\n\
         [database.attendance.watch.q]\nsql = \"SELECT count(*) FROM attendance\"\n",
    );
    let restored = sandbox.path().join("restored.sqlite");
    let salvaged = sandbox.path().join("salvaged.sqlite");
    let restore = ["restore", "attendance", "--to", restored.to_str().unwrap()];
    let recover = ["recover", "attendance", "--always", "--to", salvaged.to_str().unwrap()];
    let mut names = BTreeSet::new();
    for args in [
        &["check", "--environment"][..],
        &["backup", "attendance", "--dry-run"],
        &["backup", "attendance"],
        &["verify", "attendance"],
        &["cleanup", "attendance", "--dry-run"],
        &["cleanup", "attendance"],
        &["maintain", "attendance", "--dry-run"],
        &["maintain", "attendance"],
        &["health", "attendance", "--deep"],
        &["backups", "attendance"],
        &["pin", "attendance", "latest"],
        &restore,
        &["restore", "attendance", "--in-place", "--dry-run"],
        &recover,
        &["history"],
        &["slow"],
        &["advise", "attendance"],
        &["status"],
        &["status", "nothing"],
    ] {
        let output = sandbox.litekeeper(&[args, &["--json"]].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        fields_of(&value, &mut names);
    }
    assert!(names.len() > 60, "only {names:?} were printed");
    let page = include_str!("../docs/reference/json.md");
    let words: BTreeSet<&str> = page.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let missing: Vec<&String> = names.iter().filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "names that docs/reference/json.md does not have: {missing:?}");
}
