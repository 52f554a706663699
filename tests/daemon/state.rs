//! The daemon's memory: one file, several processes, bounded, and never a reason for a run to fail.

use crate::support::process::child::{self, Child};
use crate::support::skip;
use chrono::{DateTime, TimeDelta, Utc};
use litekeeper::error::Reason;
use litekeeper::state::State;
use litekeeper::state::runs::{self, Ending};
use litekeeper::state::slow::{self, Execution};
use litekeeper::terms::JobKind;
use litekeeper::terms::{Cause, Outcome};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + second, 0).unwrap()
}

fn ending(outcome: Outcome) -> Ending {
    Ending { outcome, reason: None, summary: "did it".to_owned(), detail: serde_json::json!({ "a": [1] }) }
}

/// Writes a run that began at this second.
fn write(state: &State, database: &str, job: JobKind, second: i64, outcome: Option<Outcome>) -> i64 {
    let run = state.now(|c| {
        let id = runs::begin(c, database, job, Cause::CatchUp, at(second))?;
        if let Some(outcome) = outcome {
            runs::end(c, id, at(second) + TimeDelta::seconds(1), &ending(outcome))?;
        }
        Ok(id)
    });
    run.unwrap()
}

pub(crate) fn state() -> (tempfile::TempDir, State) {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path()).unwrap();
    (directory, state)
}

#[test]
fn the_history_is_kept_over_a_restart_and_read_back_as_written() {
    let (directory, state) = state();
    let id = write(&state, "a", JobKind::Backup, 5, Some(Outcome::Success));
    let open = write(&state, "a", JobKind::Health, 6, None);
    drop(state);
    let state = State::open(directory.path()).unwrap();
    let rows = state.now(|c| runs::history(c, Some("a"), 10)).unwrap();
    assert_eq!(rows.iter().map(|run| run.id).collect::<Vec<_>>(), [open, id]);
    let run = &rows[1];
    assert_eq!((run.database.as_str(), run.job.as_str(), run.cause.as_str()), ("a", "backup", "catch_up"));
    assert_eq!((run.started, run.finished), (Some(at(5)), Some(at(6))));
    assert_eq!((run.outcome, run.reason.clone()), (Some(Outcome::Success), None));
    assert_eq!((run.summary.as_str(), &run.detail), ("did it", &serde_json::json!({ "a": [1] })));
    assert_eq!((rows[0].finished, rows[0].outcome), (None, None));
}

#[test]
fn the_newest_run_of_each_sort_is_found() {
    let (_directory, state) = state();
    write(&state, "a", JobKind::Backup, 1, Some(Outcome::Success));
    // By their numbers: the clock may have been set back.
    let failure = write(&state, "a", JobKind::Backup, -2, Some(Outcome::Failure));
    let open = write(&state, "a", JobKind::Backup, -3, None);
    write(&state, "a", JobKind::Backup, 4, Some(Outcome::Skipped));
    write(&state, "a", JobKind::Health, 5, Some(Outcome::Success));
    write(&state, "b", JobKind::Backup, 6, Some(Outcome::Success));
    let ids = state.now(|c| {
        let found = [
            runs::newest(c, "a", JobKind::Backup)?,
            runs::newest_ended(c, "a", JobKind::Backup)?,
            runs::newest(c, "a", JobKind::Verify)?,
        ];
        let last_success = runs::last_success(c, "a", JobKind::Backup, at(100))?;
        Ok((found.map(|run| run.map(|run| run.id)), last_success))
    });
    assert_eq!(ids.unwrap(), ([Some(open), Some(failure), None], Some(at(2))));
}

#[test]
fn the_history_keeps_the_last_thousand_runs_of_each_job() {
    let (_directory, state) = state();
    write(&state, "a", JobKind::Health, 0, Some(Outcome::Success));
    write(&state, "b", JobKind::Backup, 0, Some(Outcome::Success));
    state.now(|c| Ok(c.pragma_update(None, "synchronous", "off")?)).unwrap();
    for second in 1..=1005 {
        write(&state, "a", JobKind::Backup, second, Some(Outcome::Success));
    }
    let rows = state.now(|c| runs::history(c, None, 5000)).unwrap();
    let of =
        |database: &str, job: &str| rows.iter().filter(|r| r.database == database && r.job == job).count();
    assert_eq!((of("a", "backup"), of("a", "health"), of("b", "backup")), (1000, 1, 1));
    let oldest = rows.iter().filter(|r| r.job == "backup" && r.database == "a").map(|r| r.started).min();
    assert_eq!(oldest, Some(Some(at(6))), "the oldest went");
}

#[test]
fn a_run_whose_process_died_is_interrupted_and_one_whose_process_lives_is_not() {
    let (_directory, state) = state();
    let mut dead = std::process::Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let mut living = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let row = |change: &str, pid: u32| {
        let id = write(&state, "a", JobKind::Backup, 1, None);
        let sql = format!("UPDATE run SET {change} WHERE id = ?1 AND ?2 > 0");
        state.now(|c| Ok(c.execute(&sql, (id, pid))?)).unwrap();
        id
    };
    let (ours, other_boot) =
        (std::process::id(), "process = 'f0 ' || substr(process, instr(process, ' ') + 1)");
    let dead = [
        row("pid = ?2", dead.id()),
        row("pid = ?2, process = ''", dead.id()),
        // Another process has the number now: this one, and one that we may not know everything
        // about.
        row("process = process || '1'", ours),
        row(other_boot, ours),
        row("pid = ?2", living.id()),
        // Written by an older version under our number, which was that of a process before us.
        row("process = ''", ours),
    ];
    let alive = [row("pid = pid", ours), row("pid = ?2, process = ''", living.id())];
    let outcomes = || {
        let rows = state.now(|c| runs::history(c, None, 10)).unwrap();
        move |id| rows.iter().find(|run| run.id == id).unwrap().outcome
    };
    // Whoever only looks sees it as well.
    for _ in 0..2 {
        assert_eq!(dead.map(outcomes()), [Some(Outcome::Interrupted); 6]);
        assert_eq!(alive.map(outcomes()), [None; 2]);
        state.now(|c| runs::end_those_of_dead_processes(c)).unwrap();
    }
    assert_eq!(state.now(|c| runs::end_those_of_dead_processes(c)).unwrap(), 0);
    living.kill().unwrap();
    living.wait().unwrap();
}

const WRITES: i64 = 200;

/// Opens the memory, which may be new, and writes to it.
#[test]
#[ignore = "the other process in the tests of this file"]
fn writer() {
    let Some(directory) = child::argument() else { return };
    let state = State::open(&directory).unwrap();
    for second in 0..WRITES {
        write(&state, "other", JobKind::Backup, second, Some(Outcome::Success));
    }
    child::say("wrote");
}

#[test]
fn several_processes_create_and_write_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new");
    fs::create_dir(&path).unwrap();
    let children = [(); 3].map(|()| Child::start("state::writer", &path));
    let state = State::open(&path).unwrap();
    for second in 0..WRITES {
        write(&state, "ours", JobKind::Backup, second, Some(Outcome::Success));
    }
    for child in children {
        child.said("wrote");
        assert!(child.end().success());
    }
    let rows = state.now(|c| runs::history(c, None, 5000)).unwrap();
    assert_eq!(rows.len(), usize::try_from(4 * WRITES).unwrap());
    assert!(rows.iter().all(|run| run.outcome == Some(Outcome::Success)));
}

#[test]
fn who_opens_it_waits_for_nobody_who_writes() {
    let (directory, state) = state();
    let writer = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    drop(State::open(directory.path()).unwrap());
    drop((state, writer));
}

#[test]
fn a_memory_of_a_newer_version_or_of_another_kind_is_refused_and_left_as_it_is() {
    let (directory, state) = state();
    state.now(|c| Ok(c.pragma_update(None, "user_version", 99)?)).unwrap();
    drop(state);
    let path = directory.path().join("state.db");
    let error = State::open(directory.path()).err().unwrap();
    assert!(error.message.contains("newer") && error.message.contains(path.to_str().unwrap()), "{error}");
    assert_eq!(error.reason, Reason::Config);

    let other = tempfile::tempdir().unwrap();
    let text = "no database, and long enough to be seen as none. ".repeat(50);
    fs::write(other.path().join("state.db"), &text).unwrap();
    let error = State::open(other.path()).err().unwrap();
    assert_eq!(error.reason, Reason::NotADatabase);
    assert!(error.message.contains("state.db") && error.message.contains("move it away"), "{error}");
    assert_eq!(fs::read_to_string(other.path().join("state.db")).unwrap(), text);
}

#[test]
fn its_directory_is_created_where_the_parent_exists_and_named_where_it_cannot_be() {
    let place = tempfile::tempdir().unwrap();
    State::open(&place.path().join("new")).unwrap();
    assert!(place.path().join("new/state.db").is_file());
    let missing = place.path().join("no/such");
    let error = State::open(&missing).err().unwrap();
    assert!(error.message.contains(missing.to_str().unwrap()), "{error}");
}

#[test]
fn what_root_creates_belongs_to_the_daemons_user() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can give files away");
    }
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(4711), Some(4712)).unwrap();
    let state = State::open(directory.path()).unwrap();
    write(&state, "a", JobKind::Backup, 1, Some(Outcome::Success));
    let _lock = state.lock("a", JobKind::Backup).unwrap();
    for name in ["state.db", "state.db-wal", "state.db-shm", "locks", "locks/a.lock"] {
        let metadata = fs::metadata(directory.path().join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (4711, 4712), "{name}");
    }
}

#[test]
fn a_lock_file_that_is_a_link_is_not_followed() {
    let (directory, state) = state();
    drop(state.lock("a", JobKind::Backup).unwrap());
    let target = directory.path().join("precious");
    fs::write(&target, "precious").unwrap();
    let lock = directory.path().join("locks/b.lock");
    std::os::unix::fs::symlink(&target, &lock).unwrap();
    assert!(state.lock("b", JobKind::Backup).is_err());
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    let mode = fs::metadata(directory.path().join("locks/a.lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "others have no business with it");
}

/// Who comes next may look before the new holder has written who it is.
#[test]
fn a_lock_that_was_let_go_names_nobody_any_more() {
    let (directory, state) = state();
    let file = directory.path().join("locks/a.lock");
    let lock = state.lock("a", JobKind::Backup).unwrap();
    assert!(fs::read_to_string(&file).unwrap().starts_with("backup (process "));
    drop(lock);
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    let _held = fs::File::open(&file).and_then(|file| file.lock().map(|()| file)).unwrap();
    let error = state.lock("a", JobKind::Backup).unwrap_err();
    assert!(error.message.contains("in use by another run"), "{error}");
}

/// A process that has just been begun has what this one has open until its own program runs; the
/// kernel knows a lock by that.
#[test]
fn a_lock_that_was_let_go_is_free_though_processes_are_begun_all_the_while() {
    let (_directory, state) = state();
    let begins = std::thread::spawn(|| {
        for _ in 0..500 {
            assert!(std::process::Command::new("true").status().unwrap().success());
        }
    });
    while !begins.is_finished() {
        drop(state.lock("a", JobKind::Backup).unwrap());
    }
    begins.join().unwrap();
}

#[test]
fn two_databases_are_locked_independently_and_one_only_once() {
    let (_directory, state) = state();
    let first = state.lock("a", JobKind::Backup).unwrap();
    let _other = state.lock("b", JobKind::Backup).unwrap();
    assert_eq!(state.lock("a", JobKind::Health).unwrap_err().reason, Reason::Locked);
    drop(first);
    drop(state.lock("a", JobKind::Health).unwrap());
}

#[test]
fn slow_statements_add_up_by_shape_and_the_oldest_shapes_go() {
    let (_directory, state) = state();
    state.now(|c| Ok(c.pragma_update(None, "synchronous", "off")?)).unwrap();
    let execution = |shape: &str, second, millis| Execution {
        database: "a".to_owned(),
        job: "watch",
        shape: shape.to_owned(),
        at: at(second),
        duration: Duration::from_millis(millis),
        vm_steps: 10,
        full_scan_steps: 2,
        sorts: 1,
        automatic_indexes: 0,
        plan: None,
    };
    let record = |execution: Execution| state.now(|c| slow::record(c, &execution)).unwrap();
    record(execution("SELECT ?", 1, 1500));
    record(execution("SELECT ?", 3, 500));
    record(execution("DELETE", 2, 1000));
    let worst = state.now(|c| slow::worst(c, "a", at(0), 10)).unwrap();
    assert_eq!(worst.iter().map(|shape| shape.shape.as_str()).collect::<Vec<_>>(), ["SELECT ?", "DELETE"]);
    let select = &worst[0];
    assert_eq!((select.count, select.vm_steps, select.full_scan_steps), (2, 20, 4));
    assert!((select.total_seconds - 2.0).abs() < 1e-9 && (select.max_seconds - 1.5).abs() < 1e-9);
    assert_eq!((select.first_seen, select.last_seen), (Some(at(1)), Some(at(3))));
    assert_eq!(state.now(|c| slow::worst(c, "a", at(3), 10)).unwrap().len(), 1, "those since then");
    assert_eq!(state.now(|c| slow::worst(c, "b", at(0), 10)).unwrap(), []);
    for number in 0..500 {
        record(execution(&format!("SELECT {number}"), 10 + number, 1));
    }
    let left = state.now(|c| slow::worst(c, "a", at(0), 1000)).unwrap();
    assert_eq!(left.len(), 500);
    assert!(left.iter().all(|shape| shape.last_seen >= Some(at(10))), "those seen longest ago went");
}

#[tokio::test]
async fn a_panic_while_it_is_used_is_an_error_and_it_works_on() {
    let (_directory, state) = state();
    let panicking = state.with(|c| -> litekeeper::error::Result<()> {
        c.execute_batch("BEGIN IMMEDIATE")?;
        panic!("on purpose")
    });
    assert_eq!(panicking.await.unwrap_err().reason, Reason::Panic);
    state.with(|c| runs::begin(c, "a", JobKind::Backup, Cause::Manual, at(0)).map(|_| ())).await.unwrap();
    assert_eq!(finished_by_others(state.directory()), 1, "what is written after it is really there");
}

/// Rows that another connection sees.
fn finished_by_others(directory: &Path) -> i64 {
    let other = rusqlite::Connection::open(directory.join("state.db")).unwrap();
    other.query_row("SELECT count(*) FROM run", [], |row| row.get(0)).unwrap()
}
