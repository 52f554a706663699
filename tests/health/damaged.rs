//! What the daemon does with a database that is damaged: it keeps every backup from before, writes
//! nothing, says what to do, and does nothing else. And what is not damage.

use crate::support::application::Application;
use crate::support::backups::{files, manifests};
use crate::support::daemon::Daemon;
use crate::support::history::{Run, runs, wait_for_run};
use crate::support::sandbox::{Sandbox, said};
use crate::support::soundness::assert_sound;
use crate::support::sql;
use crate::support::wait_until;
use rusqlite::Connection;
use rustix::process::Signal;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const LOOKING: &str = r#"
[backup]
schedule = "* * * * * *"
keep_last = 1
[health]
integrity_schedule = "* * * * * *"
"#;

/// What writes into the file as well.
pub(crate) const WRITING: &str = r#"
[cleanup]
schedule = "* * * * * *"
max_share = "100%"
[maintain]
schedule = "* * * * * *"
vacuum = "always"
analyze = "always"
reindex = "always"
[[database.attendance.cleanup.rule]]
table = "attendance"
column = "date"
keep = "365d"
"#;

const OLD_ROWS: &str = "SELECT count(*) FROM attendance WHERE date < date('now', '-366 days')";

/// A page of rows in the middle of the table becomes none, in a file that nobody has open; gives
/// its place and what was there. Its table is counted by an index, so that no backup sees it.
fn damage(database: &Path) -> (u64, Vec<u8>) {
    let connection = Connection::open(database).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let pages: Vec<u64> = connection
        .prepare("SELECT pageno FROM dbstat WHERE name = 'attendance' AND pagetype = 'leaf' ORDER BY path")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let size: usize = connection.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
    drop(connection);
    let place = (pages[pages.len() / 2] - 1) * size as u64;
    let file = OpenOptions::new().read(true).write(true).open(database).unwrap();
    let mut before = vec![0; size];
    file.read_exact_at(&mut before, place).unwrap();
    file.write_all_at(&vec![0xA5; size], place).unwrap();
    (place, before)
}

fn wait_for_failure(sandbox: &Sandbox, job: &str) -> Run {
    wait_until(&format!("{job} is refused"), || {
        runs(sandbox, "attendance", job).into_iter().find(|run| run.outcome == "failure")
    })
}

fn is_healthy(daemon: &Daemon) -> Option<f64> {
    daemon.metrics().get("litekeeper_healthy", &[("database", "attendance"), ("check", "integrity")])
}

#[test]
fn a_daemon_that_finds_damage_keeps_what_is_from_before_writes_nothing_and_says_what_to_do() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let mut application = Application::start(&database);
    application.write_every(Duration::from_millis(20));
    sandbox.configure("[backup]\nkeep_last = 3\n");
    for _ in 0..3 {
        application.wait_for_commits(2);
        assert!(sandbox.litekeeper(&["backup", "attendance"]).status.success());
    }
    application.stop();
    let before = files(&sandbox);
    let old_rows: u64 = sql::value(&database, OLD_ROWS);
    assert!(old_rows > 0 && before.len() == 6, "{old_rows} {before:?}");
    damage(&database);

    let mut application = Application::start(&database);
    application.write_every(Duration::from_millis(20));
    // The check first, so that no rotation comes before it.
    sandbox.configure("[health]\nintegrity_schedule = \"* * * * * *\"\n");
    let daemon = Daemon::start(&sandbox.configuration());
    wait_until("the check finds it", || (is_healthy(&daemon) == Some(0.0)).then_some(()));
    sandbox.configure(&format!("{LOOKING}{}", WRITING.replace("[health]", "")));
    daemon.signal(Signal::HUP);

    for job in ["cleanup", "maintain"] {
        let run = wait_for_failure(&sandbox, job);
        assert_eq!(run.reason, "damaged", "{run:?}");
    }
    wait_until("three more backups are made", || {
        let made = runs(&sandbox, "attendance", "backup").into_iter().filter(|run| run.outcome == "failure");
        (made.count() >= 3).then_some(())
    });
    let page = daemon.get("/api/status").unwrap();
    let status: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    let checks = status["databases"][0]["health"].as_array().unwrap();
    let detail =
        checks.iter().find(|check| check["check"] == "integrity").unwrap()["detail"].as_str().unwrap();
    for way in ["litekeeper.toml restore attendance --to", "litekeeper.toml recover attendance --to"] {
        assert!(detail.contains(way), "{detail}");
    }
    let is_alarm = |line: &String| line.contains("check failed") && line.contains("\"integrity\"");
    let alarms: Vec<String> = daemon.log().into_iter().filter(is_alarm).collect();
    assert_eq!(alarms.len(), 1, "once: {alarms:?}");
    assert!(daemon.stop().success());

    let seen = application.stop();
    assert!(seen.errors.is_empty(), "the application saw {:?}", seen.errors);
    let now = files(&sandbox);
    let gone: Vec<_> = before.iter().filter(|name| !now.contains(name)).collect();
    assert!(gone.is_empty(), "{gone:?} are from before the damage, and gone");
    let (damaged, sound): (Vec<_>, Vec<_>) =
        manifests(&sandbox).into_iter().partition(|manifest| manifest["verification"]["ok"] == false);
    assert_eq!(sound.len(), 3, "{sound:?}");
    assert!(damaged.len() >= 3, "those made since count as damaged: {damaged:?}");
    // The index counts them, of which nothing was damaged.
    let still: u64 = sql::value(&database, OLD_ROWS);
    assert_eq!(still, old_rows, "rows went from a damaged table");

    // Another file in its place: everything goes on.
    let output = sandbox.litekeeper(&["restore", "attendance", "--in-place"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_sound(&database);
    let last = crate::support::history::newest(&sandbox);
    let daemon = Daemon::start(&sandbox.configuration());
    for job in ["cleanup", "maintain", "integrity"] {
        wait_for_run(&sandbox, job, last, "success");
    }
    wait_until("old backups are removed again", || {
        let now = files(&sandbox);
        before.iter().any(|name| !now.contains(name)).then_some(())
    });
    assert!(daemon.stop().success());
    assert_eq!(sql::value::<u64>(&database, OLD_ROWS), 0);
}

#[test]
fn a_job_that_comes_upon_damage_lets_no_other_write_until_a_check_finds_none() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    sandbox.configure(WRITING);
    let run = |verb: &[&str]| sandbox.litekeeper(&[verb, &["attendance"]].concat());
    let (place, page) = damage(&database);
    let output = run(&["cleanup"]);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    let bytes = fs::read(&database).unwrap();
    for verb in ["maintain", "cleanup"] {
        let output = run(&[verb]);
        assert_eq!(output.status.code(), Some(12), "{}", said(&output));
        let said = said(&output);
        for word in ["nothing is written", "cleanup met it", "litekeeper.toml health attendance --deep"] {
            assert!(said.contains(word), "{word} is not in: {said}");
        }
    }
    assert!(fs::read(&database).unwrap() == bytes, "the file was changed");
    let output = run(&["health", "--deep"]);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    let output = run(&["maintain"]);
    assert!(!said(&output).contains("cleanup met it"), "the check knows more: {}", said(&output));

    // As if the disk had only stammered: the same file, in order again. Only a check lets jobs
    // write again.
    OpenOptions::new().write(true).open(&database).unwrap().write_all_at(&page, place).unwrap();
    assert_eq!(run(&["maintain"]).status.code(), Some(12));
    assert!(run(&["health", "--deep"]).status.success());
    for verb in ["maintain", "cleanup"] {
        let output = run(&[verb]);
        assert!(output.status.success(), "{}", said(&output));
    }
}

/// In the order of making: their numbers and names.
type Copies = Vec<(u64, String)>;

/// The copies that count as damaged, and the others.
fn damaged_and_sound(place: &Path) -> (Copies, Copies) {
    let mut all = (Vec::new(), Vec::new());
    for entry in fs::read_dir(place.join("attendance")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|end| end == "json") {
            let manifest: serde_json::Value = serde_json::from_slice(&fs::read(&entry).unwrap()).unwrap();
            let name = manifest["file"].as_str().unwrap().to_owned();
            let is_damaged = manifest["verification"]["ok"] == false;
            let of = if is_damaged { &mut all.0 } else { &mut all.1 };
            of.push((manifest["sequence"].as_u64().unwrap(), name));
        }
    }
    all.0.sort();
    all.1.sort();
    all
}

#[test]
fn an_unchanged_damaged_database_gets_one_copy_and_no_message_grows() {
    let sandbox = Sandbox::new();
    sandbox.configure("[backup]\nkeep_last = 1\n");
    let run = |verb: &[&str]| sandbox.litekeeper(&[verb, &["attendance"]].concat());
    assert!(run(&["backup"]).status.success());
    let (_, good) = damaged_and_sound(&sandbox.backups());
    damage(&sandbox.database());
    assert_eq!(run(&["health", "--deep"]).status.code(), Some(12));
    let mut lengths = Vec::new();
    for _ in 0..6 {
        let (backup, verify) = (run(&["backup"]), run(&["verify"]));
        assert_eq!((backup.status.code(), verify.status.code()), (Some(12), Some(12)), "{}", said(&verify));
        let words = said(&backup);
        assert!(words.contains("1 damaged copy is kept"), "{words}");
        let both = format!("{words}{}", said(&verify));
        lengths.push(both.lines().filter(|line| line.starts_with("problem: ")).map(str::len).sum::<usize>());
    }
    let (damaged, sound) = damaged_and_sound(&sandbox.backups());
    assert_eq!((damaged.len(), sound), (1, good), "nothing was committed");
    assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "{lengths:?}");
    let output = run(&["restore", "--dry-run", "--to", "/nowhere/there"]);
    assert!(!said(&output).contains(&damaged[0].1), "{}", said(&output));
}

#[test]
fn of_a_changing_damaged_database_the_newest_three_copies_are_kept_beside_all_good_ones_in_every_place() {
    let sandbox = Sandbox::new();
    let away = sandbox.path().join("away");
    fs::create_dir(&away).unwrap();
    let configure = |keep: u32| {
        let copy = format!("[[database.attendance.backup.copy]]\nname = \"away\"\ndir = {away:?}");
        sandbox.configure(&format!("[backup]\nkeep_last = {keep}\n{copy}\nkeep_last = {keep}\n"));
    };
    configure(9);
    let database = sandbox.database();
    let change = |n: u32| sql::edit(&database, &format!("CREATE TABLE change_{n} (a)"));
    // One a second: of several, later ones would take over the names of those that went, and which
    // is which is told by names.
    let backup = || {
        let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = second();
        wait_until("the next second", || (second() > now).then_some(()));
        sandbox.litekeeper(&["backup", "attendance"])
    };
    for n in 0..3 {
        change(n);
        assert!(backup().status.success());
    }
    let (_, good) = damaged_and_sound(&sandbox.backups());
    assert_eq!(good.len(), 3);
    // From now on each would go if it were not for the damage.
    configure(1);
    damage(&database);
    assert_eq!(sandbox.litekeeper(&["health", "attendance", "--deep"]).status.code(), Some(12));
    let mut made = Vec::new();
    for n in 3..9 {
        change(n);
        let output = backup();
        assert_eq!(output.status.code(), Some(12), "{}", said(&output));
        made.extend(damaged_and_sound(&sandbox.backups()).0.into_iter().next_back());
        let kept = match n {
            3 => "1 damaged copy is kept\n",
            4 => "2 damaged copies are kept\n",
            5 => "3 damaged copies are kept\n",
            _ => "3 damaged copies are kept, 1 older removed\n",
        };
        assert!(said(&output).contains(kept), "{}", said(&output));
        // As a verification of a copy that was brought while the damage was not known would mark
        // it.
        for entry in fs::read_dir(sandbox.backups().join("attendance")).unwrap().map(|e| e.unwrap().path()) {
            let to = away.join("attendance").join(entry.file_name().unwrap());
            let is_of = |name: &str| entry.to_str().unwrap().contains(name.split('.').next().unwrap());
            if made.iter().any(|(_, name)| is_of(name)) {
                fs::copy(&entry, to).unwrap();
            }
        }
    }
    assert_eq!(damaged_and_sound(&sandbox.backups()), (made[3..].to_vec(), good.clone()));
    change(9);
    let output = backup();
    assert_eq!(output.status.code(), Some(12));
    assert_eq!(
        damaged_and_sound(&away),
        (made[3..].to_vec(), good),
        "in the other place, too: {}",
        said(&output)
    );

    // Once it is in order, a good one takes their place.
    assert!(sandbox.litekeeper(&["restore", "attendance", "--in-place"]).status.success());
    change(10);
    assert!(backup().status.success());
    let (damaged, sound) = damaged_and_sound(&sandbox.backups());
    assert_eq!((damaged.len(), sound.len()), (0, 1), "{damaged:?} {sound:?}");
}

/// As if the disk had only stammered: the pages are those that were found good.
#[test]
fn a_backup_that_was_restored_and_found_good_is_not_called_damaged_for_the_same_pages() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let run = |verb: &[&str]| sandbox.litekeeper(&[verb, &["attendance"]].concat());
    assert!(run(&["backup"]).status.success() && run(&["verify"]).status.success());
    let (place, page) = damage(&sandbox.database());
    assert_eq!(run(&["health", "--deep"]).status.code(), Some(12));
    OpenOptions::new().write(true).open(sandbox.database()).unwrap().write_all_at(&page, place).unwrap();
    let (_, before) = damaged_and_sound(&sandbox.backups());
    let output = run(&["backup"]);
    assert_eq!(output.status.code(), Some(12), "what is known is told: {}", said(&output));
    assert_eq!(damaged_and_sound(&sandbox.backups()), (Vec::new(), before));
}

#[test]
fn damage_that_only_a_verification_sees_stops_rotation_here_and_in_copies() {
    let sandbox = Sandbox::new();
    let copies = sandbox.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let copy = format!("[[database.attendance.backup.copy]]\nname = \"away\"\ndir = {copies:?}\n");
    sandbox.configure(&format!("[backup]\nkeep_last = 2\nskip_unchanged = false\n{copy}"));
    let backup = || sandbox.litekeeper(&["backup", "attendance"]);
    assert!(backup().status.success());
    let sound = manifests(&sandbox)[0]["file"].as_str().unwrap().to_owned();
    damage(&sandbox.database());
    let output = backup();
    assert!(output.status.success(), "no backup looks at every page: {}", said(&output));
    let output = sandbox.litekeeper(&["verify", "attendance"]);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    for _ in 0..3 {
        let output = backup();
        assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    }
    for place in [sandbox.backups(), copies] {
        assert!(place.join("attendance").join(&sound).exists(), "{sound} is gone from {}", place.display());
    }
    let output = sandbox.litekeeper(&["restore", "attendance", "--in-place"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_sound(&sandbox.database());
    let output = sandbox.litekeeper(&["health", "attendance"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = sandbox.litekeeper(&["--json", "status", "attendance"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = status["databases"][0]["health"].as_array().unwrap();
    let integrity = checks.iter().find(|check| check["check"] == "integrity").unwrap();
    assert_eq!(integrity["result"], "unknown", "{integrity}");
    let output = backup();
    assert!(output.status.success(), "{}", said(&output));
}
