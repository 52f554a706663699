//! An application that reads before it writes, in one transaction, as many frameworks do: SQLite
//! refuses its write at once where a lock or a commit of ours lies in between. It never does
//! (HAZARDS H35).

use std::fs;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use crate::support::application::Application;
use crate::support::process::lines::Lines;
use crate::support::sandbox::{Sandbox, program};
use crate::support::soundness::assert_sound;
use crate::support::sql::edit;
use crate::support::wait_until;
use rustix::process::{Flock, FlockType, Pid, Signal, fcntl_getlk, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

/// Longer than any test waits for one.
const LONG: &str = "[pool]\nbusy_timeout = \"60s\"\n";

fn rule(keep: &str, more: &str) -> String {
    format!(
        "[[database.attendance.cleanup.rule]]\ntable = \"attendance\"\ncolumn = \"date\"\nkeep = \"{keep}\"\n{more}\n\
         [database.attendance.cleanup]\nmax_share = \"100%\"\n"
    )
}

/// A run of the real program by hand, which a test goes on beside.
struct Run {
    process: Child,
    out: Lines,
    log: Lines,
}

impl Run {
    fn start(sandbox: &Sandbox, verb: &str) -> Self {
        let mut command = program();
        command.arg("--config").arg(sandbox.configuration());
        command.args(["--json", "--log-level", "info", verb, "attendance"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (out, log) = (Lines::default(), Lines::default());
        out.read(process.stdout.take().unwrap());
        log.read(process.stderr.take().unwrap());
        Self { process, out, log }
    }

    fn wait_until_it_waits(&self) {
        self.log.wait_for("the run to wait", 0, |line| {
            line.contains("waiting for a pause between the application's transactions").then_some(())
        });
    }

    /// Its exit status and what it printed.
    fn end(mut self) -> (ExitStatus, Value) {
        let status = self.process.wait().unwrap();
        assert!(self.out.wait_for_end());
        let printed = self.out.all().join("\n");
        let report = serde_json::from_str(&printed)
            .unwrap_or_else(|e| panic!("{e}: {printed:?}, {:?}", self.log.all()));
        (status, report)
    }

    /// The process that it has started to look at the application.
    fn watcher(&self) -> Pid {
        let tasks = format!("/proc/{}/task", self.process.id());
        wait_until("it has started the process that looks", || {
            let children = fs::read_dir(&tasks).unwrap().filter_map(|task| {
                // A thread may have ended meanwhile.
                fs::read_to_string(task.unwrap().path().join("children")).ok()
            });
            let children: Vec<i32> = children
                .flat_map(|of_thread| {
                    of_thread.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
                })
                .collect();
            let is_watcher = |pid: &&i32| {
                fs::read_to_string(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.contains("watch-locks"))
            };
            children.iter().find(is_watcher).and_then(|pid| Pid::from_raw(*pid))
        })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both fail only where it ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether somebody has the write lock: the byte of WAL_WRITE_LOCK in the `-shm`, or of RESERVED in
/// the database (wal.c, os_unix.c). No connection of this process is open, whose locks closing the
/// file would end.
fn is_written(sandbox: &Sandbox, journal_mode: &str) -> bool {
    let database = sandbox.database();
    let (path, start) = if journal_mode == "wal" {
        (format!("{}-shm", database.display()).into(), 120)
    } else {
        (database, 0x4000_0001)
    };
    let lock = Flock { start, length: 1, ..FlockType::WriteLock.into() };
    fcntl_getlk(fs::File::open(path).unwrap(), &lock).unwrap().is_some()
}

fn old_rows(application: &mut Application) -> u64 {
    application.sql("SELECT count(*) FROM attendance WHERE source IS NULL")[0].as_u64().unwrap()
}

#[test]
fn h35_a_cleanup_waits_for_a_transaction_that_has_read_and_has_yet_to_write() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        sandbox.configure(&format!("{LONG}{}", rule("365d", "")));
        let mut application = Application::start(&sandbox.database());
        let before = old_rows(&mut application);
        application.hold_read();
        let cleanup = Run::start(&sandbox, "cleanup");
        cleanup.wait_until_it_waits();
        let written = application.upgrade();
        assert!(written.is_ok(), "{journal_mode}: {written:?}");
        let (status, report) = cleanup.end();
        assert!(status.success(), "{journal_mode}: {report}");
        assert!(old_rows(&mut application) < before, "{journal_mode}: {report}");
        assert_eq!(application.stop().errors, Vec::<String>::new());
        assert_eq!(assert_sound(&sandbox.database()), written.unwrap());
    }
}

/// The batch is made long by a trigger: the application's transaction begins in its midst, and
/// writes when it has been rolled back.
#[test]
fn h35_a_batch_during_which_a_transaction_has_begun_is_not_committed() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode]);
        sandbox.configure(&format!("{LONG}{}", rule("1080d", "triggers = \"allow\"")));
        let mut application = Application::start(&sandbox.database());
        application.sql(
            "CREATE TRIGGER slow AFTER DELETE ON attendance BEGIN SELECT count(*) FROM (WITH RECURSIVE n(i) AS \
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n); END",
        );
        let before = old_rows(&mut application);
        let cleanup = Run::start(&sandbox, "cleanup");
        wait_until("the batch has the lock", || is_written(&sandbox, journal_mode).then_some(()));
        application.hold_read();
        cleanup.wait_until_it_waits();
        let written = application.upgrade();
        assert!(written.is_ok(), "{journal_mode}: {written:?}");
        let (status, report) = cleanup.end();
        assert!(status.success(), "{journal_mode}: {report}");
        assert!(old_rows(&mut application) < before, "{journal_mode}: {report}");
        application.stop();
        assert_eq!(assert_sound(&sandbox.database()), written.unwrap());
    }
}

#[test]
fn h35_a_cleanup_gives_up_for_now_beside_an_application_that_leaves_no_pause() {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!("{LONG}pause_timeout = \"3s\"\n{}", rule("365d", "")));
    let mut application = Application::start(&sandbox.database());
    let before = old_rows(&mut application);
    application.transact_every(Duration::ZERO, Duration::from_millis(20));
    application.wait_for_commits(5);
    let (status, report) = Run::start(&sandbox, "cleanup").end();
    assert_eq!(status.code(), Some(3), "{report}");
    assert_eq!(report["reason"], "no_pause", "{report}");
    let message = report["summary"].as_str().unwrap();
    assert!(message.contains("gave up for now") && message.contains("the next run goes on"), "{message}");
    let last = application.pause();
    assert_eq!(application.seen().errors, Vec::<String>::new());

    let (status, report) = Run::start(&sandbox, "cleanup").end();
    assert!(status.success(), "{report}");
    assert!(old_rows(&mut application) < before, "{report}");
    application.stop();
    assert_eq!(assert_sound(&sandbox.database()), last);
}

#[test]
fn h35_an_incremental_vacuum_waits_for_a_transaction_that_has_read_and_has_yet_to_write() {
    let sandbox = Sandbox::with_database(&["--auto-vacuum", "incremental", "--rows", "20000"]);
    sandbox.configure(&format!(
        "{LONG}[maintain]\nvacuum = \"incremental\"\nanalyze = \"never\"\nreindex = \"never\"\n"
    ));
    let mut application = Application::start(&sandbox.database());
    application.sql("DELETE FROM attendance WHERE id < 15000");
    let free = |application: &mut Application| application.sql("PRAGMA freelist_count")[0].as_u64().unwrap();
    let before = free(&mut application);
    application.hold_read();
    let maintain = Run::start(&sandbox, "maintain");
    maintain.wait_until_it_waits();
    assert_eq!(free(&mut application), before);
    let written = application.upgrade();
    assert!(written.is_ok(), "{written:?}");
    let (status, report) = maintain.end();
    assert!(status.success(), "{report}");
    assert!(before > 10 && free(&mut application) < before / 2, "{report}");
    application.stop();
    assert_eq!(assert_sound(&sandbox.database()), written.unwrap());
}

/// The steps of a maintenance, each with what was decided of it.
fn steps(report: &Value) -> Vec<(String, String)> {
    let steps = report["detail"]["steps"].as_array().unwrap().iter();
    let text = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    steps.map(|step| (text(step, "step"), text(step, "decision"))).collect()
}

/// What holds writers for longer than any pause lasts is left for a quieter moment, but for the
/// repair of what is wrong.
#[test]
fn h35_what_holds_writers_for_long_is_done_at_a_quiet_moment_or_left_for_the_next_run() {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!(
        "{LONG}pause_timeout = \"2s\"\n[maintain]\nvacuum = \"always\"\nanalyze = \"always\"\nreindex = \"always\"\n"
    ));
    let mut application = Application::start(&sandbox.database());
    application.hold_read();
    let maintain = Run::start(&sandbox, "maintain");
    maintain.wait_until_it_waits();
    let (status, report) = maintain.end();
    assert!(status.success(), "{report}");
    let summary = report["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("REINDEX ") && summary.contains(": gave up for now: for 2s the application"),
        "{report}"
    );
    for what in ["VACUUM", "ANALYZE"] {
        assert!(summary.contains(&format!("; {what}: gave up for now, too: ")), "{what}: {report}");
    }
    let left = |step: &str| steps(&report).contains(&(step.to_owned(), "skipped".to_owned()));
    assert!(left("reindex") && left("vacuum") && left("analyze"), "{report}");
    let written = application.upgrade();
    assert!(written.is_ok(), "{written:?}");

    let (status, report) = Run::start(&sandbox, "maintain").end();
    assert!(status.success() && !report.to_string().contains("gave up"), "{report}");
    let done = steps(&report).into_iter().filter(|(_, decision)| decision == "done").count();
    assert!(done >= 4, "{report}");
    application.stop();
}

/// What is started here runs on this one of the processors, whatever else the machine has to do.
fn on_processor<T>(number: usize, start: impl FnOnce() -> T) -> T {
    let all = sched_getaffinity(None).unwrap();
    let mut processors = (0..CpuSet::MAX_CPU).filter(|processor| all.is_set(*processor)).cycle();
    let mut one = CpuSet::new();
    one.set(processors.nth(number).unwrap());
    sched_setaffinity(None, &one).unwrap();
    let started = start();
    sched_setaffinity(None, &all).unwrap();
    started
}

/// Its writes wait for the lock, as those of Rails 7.1 do, and none can fail: it need not be quiet.
#[test]
fn h35_nobody_waits_for_an_application_that_reads_often_and_takes_the_write_lock_as_it_begins() {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!(
        "{LONG}pause_timeout = \"5m\"\n[maintain]\nvacuum = \"always\"\nanalyze = \"always\"\nreindex = \"always\"\n"
    ));
    // How it begins is seen only while it runs: on the other processor.
    let serve = ["--busy-timeout", "60000"];
    let mut application = on_processor(0, || Application::start_with(&sandbox.database(), &serve, None));
    application.browse(Duration::from_millis(1));
    application.wait_for_commits(10);
    let (status, report) = on_processor(1, || Run::start(&sandbox, "maintain")).end();
    assert!(status.success() && !report.to_string().contains("gave up"), "{report}");
    for step in ["reindex", "vacuum", "analyze"] {
        assert!(steps(&report).contains(&(step.to_owned(), "done".to_owned())), "{step}: {report}");
    }
    let seen = application.stop();
    assert_eq!(seen.errors, Vec::<String>::new());
    assert_eq!(assert_sound(&sandbox.database()), seen.last());
}

/// It gives wrong answers: that goes before a transaction that may fail.
#[test]
fn h35_a_damaged_index_is_rebuilt_though_the_application_is_never_quiet_and_a_sound_one_is_not() {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!(
        "{LONG}pause_timeout = \"1s\"\n[maintain]\nvacuum = \"never\"\nanalyze = \"never\"\nreindex = \"always\"\n"
    ));
    let database = sandbox.database();
    // A row that came while the indexes were out of the schema is missing from them.
    edit(
        &database,
        "CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE tbl_name = 'users' AND type = 'index'; \
         PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE tbl_name = 'users' AND type = 'index'",
    );
    edit(
        &database,
        "INSERT INTO users VALUES (1000, 'x', 'y', 'z'); \
         PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM kept",
    );
    let health = sandbox.litekeeper(&["health", "attendance", "--deep"]);
    assert!(!health.status.success(), "{}", String::from_utf8_lossy(&health.stdout));
    let mut application = Application::start(&database);
    application.hold_read();
    let (status, report) = Run::start(&sandbox, "maintain").end();
    assert!(status.success(), "{report}");
    let reindex = report["detail"]["steps"].as_array().unwrap().iter().find(|step| step["step"] == "reindex");
    let reindex = reindex.unwrap();
    assert_eq!(reindex["treated"], json!(["idx_users_created_at", "idx_users_name"]), "{report}");
    let why = reindex["why"].as_str().unwrap();
    assert!(why.starts_with("rebuilt 2 indexes; REINDEX ") && why.contains(": gave up for now"), "{why}");
    application.release();
    application.stop();
    assert_sound(&database);
}

#[test]
fn h35_the_process_that_looks_at_the_locks_ends_with_its_run_even_where_that_is_killed() {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!("{LONG}{}", rule("365d", "")));
    let mut application = Application::start(&sandbox.database());
    application.hold_read();
    let mut cleanup = Run::start(&sandbox, "cleanup");
    cleanup.wait_until_it_waits();
    let watcher = cleanup.watcher();
    cleanup.process.kill().unwrap();
    cleanup.process.wait().unwrap();
    wait_until("it has ended", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", watcher.as_raw_nonzero())).unwrap_or_default();
        // Nobody may be there to wait for it: then it stays as a dead one.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
    assert!(application.upgrade().is_ok());

    // And the other way round: a run whose process was killed starts another one.
    application.hold_read();
    let cleanup = Run::start(&sandbox, "cleanup");
    cleanup.wait_until_it_waits();
    kill_process(cleanup.watcher(), Signal::KILL).unwrap();
    let written = wait_until("another one looks", || {
        let watcher = cleanup.watcher();
        fs::read_to_string(format!("/proc/{}/stat", watcher.as_raw_nonzero()))
            .ok()
            .filter(|s| !s.contains(") Z "))
    });
    assert!(!written.is_empty());
    assert!(application.upgrade().is_ok());
    let (status, report) = cleanup.end();
    assert!(status.success(), "{report}");
    application.stop();
}
