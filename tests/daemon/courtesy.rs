//! What the daemon does so that the applications do not notice it: hours without heavy jobs, one
//! heavy job a disk, low priority, and write-ahead logs that are kept short between runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::fixture::reload;
use crate::support::application::{Application, create_database};
use crate::support::daemon::{Daemon, database, job};
use crate::support::history::{self, runs, wait_for_run};
use crate::support::sandbox::Sandbox;
use crate::support::soundness::assert_sound;
use crate::support::sql::wal_bytes;
use crate::support::wait_until;
use chrono::{DateTime, Datelike, TimeDelta, Utc};

/// Windows that hold now, for a day at least, in UTC, and not on some day of the week.
fn now() -> String {
    let free = (Utc::now() + TimeDelta::days(3)).weekday();
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let days: Vec<_> = days.into_iter().filter(|day| *day != free.to_string()).collect();
    format!("[\"00:00-24:00 {}\"]", days.join(","))
}

// --- blackout

const MAINTAIN_EACH_SECOND: &str = "[maintain]\nschedule = \"* * * * * *\"\ncatch_up = false\n";

#[test]
fn what_is_due_within_a_blackout_runs_once_when_it_ends() {
    let sandbox = Sandbox::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("[daemon]\nlisten = \"{free}\"\n");
    let postponed = format!("{listen}{MAINTAIN_EACH_SECOND}blackout = {}\n", now());
    let daemon = Daemon::start(&sandbox.configure(&postponed));
    daemon.wait_for_log("the run to be postponed", |line| line.contains("due within its blackout"));
    let until = wait_until("the status says so", || {
        let status = daemon.status();
        let job = job(&status, "attendance", "maintain")?;
        (job["postponed"] == true).then(|| job["next_run"].as_str().unwrap().to_owned())
    });
    assert!(until.ends_with("T00:00:00Z"), "{until}");
    let shown = String::from_utf8(sandbox.litekeeper(&["status"]).stdout).unwrap();
    let day = until.parse::<DateTime<Utc>>().unwrap().weekday();
    assert!(shown.contains(&format!("waits until {day} 00:00 (blackout)")), "{shown}");
    let next = daemon.wait_for_metrics("the next run", |metrics| {
        let labels = [("database", "attendance"), ("task", "maintain")];
        metrics.get("litekeeper_job_next_run_timestamp_seconds", &labels)
    });
    let seconds = until.parse::<DateTime<Utc>>().unwrap().timestamp() as f64;
    assert!((next - seconds).abs() < 1.0, "{next} {seconds}");
    // Due each second, it is told of once, and is no run that was skipped.
    assert_eq!(daemon.log().iter().filter(|line| line.contains("due within its blackout")).count(), 1);
    assert_eq!(runs(&sandbox, "attendance", "maintain"), []);

    sandbox.configure(&format!("{listen}[maintain]\nschedule = \"@yearly\"\ncatch_up = false\n"));
    reload(&daemon, "success");
    wait_for_run(&sandbox, "maintain", 0, "success");
    assert!(daemon.stop().success());
    assert_eq!(runs(&sandbox, "attendance", "maintain").len(), 1);
}

#[test]
fn a_cleanup_that_reaches_a_blackout_stops_between_two_batches_and_the_next_one_goes_on() {
    let sandbox = Sandbox::with_database(&["--rows", "150000"]);
    let configure = |schedule: &str, blackout: &str, target: &str| {
        sandbox.configure(&format!(
            "[cleanup]\nschedule = \"{schedule}\"\ncatch_up = false\nmax_share = \"100%\"\nbatch_target = \"{target}\"\nblackout = {blackout}\n\
             [[database.attendance.cleanup.rule]]\ntable = \"attendance\"\ncolumn = \"date\"\nkeep = \"1d\"\n"
        ))
    };
    let daemon = Daemon::start(&configure("* * * * * *", "[]", "1ms"));
    wait_until("the cleanup has removed some", || {
        let status = daemon.status();
        job(&status, "attendance", "cleanup")?["running"]["progress"]["done"]
            .as_u64()
            .filter(|done| *done > 0)
    });
    configure("* * * * * *", &now(), "1ms");
    reload(&daemon, "success");
    let run = wait_for_run(&sandbox, "cleanup", 0, "interrupted");
    assert_eq!(run.reason, "blackout", "{run:?}");
    assert!(
        run.summary.contains("stopped at ")
            && run.summary.contains(" by cleanup.blackout; the next run goes on"),
        "{run:?}"
    );
    let removed = run.summary.split("; ").last().unwrap();
    assert!(removed.contains("had been removed before"), "{run:?}");
    wait_until("the next one waits", || {
        (job(&daemon.status(), "attendance", "cleanup")?["postponed"] == true).then_some(())
    });
    let page = wait_until("the page shows that it waits", || {
        daemon.get("/").ok().map(|answer| answer.body).filter(|page| page.contains("(blackout)"))
    });
    assert!(!page.contains("was interrupted"), "{page}");

    // What is left goes in larger ones.
    configure("@yearly", "[]", "100ms");
    reload(&daemon, "success");
    wait_for_run(&sandbox, "cleanup", run.id, "success");
    assert!(daemon.stop().success());
    assert_sound(&sandbox.database());
}

#[test]
fn a_run_by_hand_goes_on_within_a_blackout_with_a_note() {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!("[maintain]\nblackout = {}\n", now()));
    let output = sandbox.litekeeper(&["maintain", "attendance"]);
    let stderr = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("within maintain.blackout (00:00-24:00 "), "{stderr}");
    let output = sandbox.litekeeper(&["backup", "attendance"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

// --- disks

#[test]
fn a_second_heavy_job_on_a_disk_waits_unless_it_is_allowed() {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let library = sandbox.data().join("library.sqlite");
    create_database(&library, &[]);
    let mut application = Application::start(&sandbox.database());
    application.hold_exclusive();
    let configure = |places: u32| {
        sandbox.configure(&format!(
            "[daemon]\nparallel_jobs = 8\njobs_per_disk = {places}\n[pool]\nbusy_timeout = \"10m\"\n\
             [backup]\nschedule = \"* * * * * *\"\ncatch_up = false\nskip_unchanged = false\n\
             [health]\nschedule = \"* * * * * *\"\n[database.library]\npath = {:?}\n",
            library.display().to_string()
        ))
    };
    let daemon = Daemon::start(&configure(1));
    wait_until("the second database waits for the disk", || {
        let status = daemon.status();
        (job(&status, "library", "backup")?["queued"] == true
            && !job(&status, "attendance", "backup")?["running"].is_null())
        .then_some(())
    });
    let before = runs(&sandbox, "library", "backup").iter().filter(|run| run.outcome == "success").count();
    // What is light does not wait.
    let health = runs(&sandbox, "library", "health").len();
    wait_until("two more checks of health", || {
        (runs(&sandbox, "library", "health").len() > health + 2).then_some(())
    });
    let made = || runs(&sandbox, "library", "backup").iter().filter(|run| run.outcome == "success").count();
    assert_eq!(made(), before);
    configure(0);
    reload(&daemon, "success");
    wait_until("it runs beside the other", || (made() > before).then_some(()));
    assert!(!job(&daemon.status(), "attendance", "backup").unwrap()["running"].is_null());
    application.release();
    assert!(daemon.stop().success());
}

// --- priority

/// Nice values of the daemon's threads, by their names.
fn priorities(daemon: &Daemon) -> BTreeMap<String, Vec<i32>> {
    let mut all: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    let tasks = format!("/proc/{}/task", daemon.pid().as_raw_nonzero());
    for task in fs::read_dir(tasks).unwrap() {
        // It may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (name, rest) = stat.rsplit_once(") ").unwrap();
        let nice = rest.split_whitespace().nth(16).unwrap().parse().unwrap();
        all.entry(name.split_once('(').unwrap().1.to_owned()).or_default().push(nice);
    }
    all
}

#[test]
fn threads_that_compress_stand_back_unless_the_application_waits_for_them() {
    for journal_mode in ["wal", "delete"] {
        let sandbox = Sandbox::with_database(&["--journal-mode", journal_mode, "--rows", "20000"]);
        let slowly =
            "[backup]\nschedule = \"* * * * * *\"\ncatch_up = false\nthreads = 2\nmax_rate = \"16KiB\"\n";
        let daemon =
            Daemon::start(&sandbox.configure(&format!("[daemon]\nshutdown_grace = \"0s\"\n{slowly}")));
        let usual = priorities(&daemon).remove("litekeeper").unwrap()[0];
        // A thread lowers itself when it has begun.
        let wanted = if journal_mode == "wal" { 10 } else { usual };
        let all = wait_until("two threads compress", || {
            let all = priorities(&daemon);
            (*all.get("compress")? == [wanted, wanted]).then_some(all)
        });
        let others = all.iter().filter(|(name, _)| *name != "compress").flat_map(|(_, nice)| nice);
        assert!(others.clone().count() > 2 && others.clone().all(|nice| *nice == usual), "{all:?}");
        assert!(daemon.stop().success());
    }
}

// --- write-ahead logs

const SMALL_LOG: &str = "[maintain]\nmax_wal = \"1MiB\"\n";

/// A writer and a reader: writes until the log is past 1 MiB, which no checkpoint of the
/// application's own can empty while another reads. Both go on.
fn grow_log(sandbox: &Sandbox) -> (Application, Application) {
    let (mut writer, mut reader) =
        (Application::start(&sandbox.database()), Application::start(&sandbox.database()));
    reader.hold_read();
    writer.write_every(Duration::from_millis(1));
    wait_until("the log is past max_wal", || (wal_bytes(&sandbox.database()) > 2 << 20).then_some(()));
    (writer, reader)
}

fn holds(daemon: &Daemon, job: &str, le: Option<&str>) -> f64 {
    let labels = [("database", "attendance"), ("task", job)];
    let metrics = daemon.metrics();
    match le {
        None => metrics.get("litekeeper_write_hold_seconds_count", &labels),
        Some(le) => metrics.get("litekeeper_write_hold_seconds_bucket", &[labels[0], labels[1], ("le", le)]),
    }
    .unwrap()
}

fn pinned(daemon: &Daemon) -> f64 {
    daemon.metrics().get("litekeeper_wal_pinned_seconds", &[("database", "attendance")]).unwrap_or(0.0)
}

#[test]
fn h12_a_reader_that_keeps_the_log_is_reported_and_the_log_is_emptied_when_it_ends() {
    let sandbox = Sandbox::new();
    let (mut writer, mut reader) = grow_log(&sandbox);
    let daemon = Daemon::start(&sandbox.configure(SMALL_LOG));
    let line = daemon.wait_for_log("the reader to be reported", |line| line.contains("cannot be emptied"));
    assert!(
        line.contains(&format!("process {} (", reader.pid())) && !line.contains(&writer.pid().to_string()),
        "{line}"
    );
    wait_until("the metric tells for how long", || (pinned(&daemon) > 0.0).then_some(()));
    let status = wait_until("the status tells it", || {
        let status = daemon.status();
        let since = &database(&status, "attendance")?["wal_pinned"]["since"];
        since.is_string().then(|| database(&status, "attendance").unwrap().clone())
    });
    assert!(status["wal_pinned"]["by"].as_str().unwrap().contains(&reader.pid().to_string()), "{status}");
    assert!(daemon.get("/").unwrap().body.contains("the write-ahead log cannot be emptied"));
    let shown = String::from_utf8(sandbox.litekeeper(&["status"]).stdout).unwrap();
    assert!(shown.contains("wal: the write-ahead log cannot be emptied"), "{shown}");
    // Nothing that could keep writers out was tried: it would have been in vain.
    assert!(holds(&daemon, "checkpoint", None) < 1.0);

    reader.release();
    writer.pause();
    wait_until("the log is emptied", || (wal_bytes(&sandbox.database()) == 0).then_some(()));
    daemon.wait_for_log("the end to be told", |line| line.contains("no longer kept from being emptied"));
    wait_until("the metric says so", || (pinned(&daemon) == 0.0).then_some(()));
    assert!(holds(&daemon, "checkpoint", None) >= 1.0);
    // A wait of 25 ms for the last reader, and what the machine adds.
    let longer = holds(&daemon, "checkpoint", None) - holds(&daemon, "checkpoint", Some("0.5"));
    assert!(longer < 1.0, "{longer}");
    let run = runs(&sandbox, "attendance", "checkpoint").pop().unwrap();
    assert_eq!((run.cause.as_str(), run.outcome.as_str()), ("upkeep", "success"), "{run:?}");
    assert!(daemon.stop().success());
    assert_eq!(writer.stop().errors, Vec::<String>::new());
    reader.stop();
    assert_sound(&sandbox.database());
}

/// The lock of a checkpoint (WAL_CKPT_LOCK in SQLite's wal.c), for as long as this program runs.
const CHECKPOINTS: &str = "
import fcntl, sys
log = open(sys.argv[1] + '-shm', 'r+b')
fcntl.lockf(log, fcntl.LOCK_EX, 1, 121)
print('locked', flush=True)
sys.stdin.read()
";

/// With each commit, an application tries to move a log that is past 1000 pages; in vain, and the
/// longer the log, the longer.
#[test]
fn h12_a_reader_is_reported_also_where_the_application_is_at_a_checkpoint_each_time() {
    let sandbox = Sandbox::new();
    let (mut writer, mut reader) = grow_log(&sandbox);
    let mut other = Command::new("python3");
    other.args(["-I", "-c", CHECKPOINTS]).arg(sandbox.database());
    let mut other = other.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut locked = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut locked).unwrap();
    assert_eq!(locked, "locked\n");

    let daemon = Daemon::start(&sandbox.configure(SMALL_LOG));
    let line = daemon.wait_for_log("the reader to be reported", |line| line.contains("cannot be emptied"));
    assert!(line.contains(&format!("process {} (", reader.pid())), "{line}");
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    reader.release();
    writer.pause();
    daemon.wait_for_log("the end to be told", |line| line.contains("no longer kept from being emptied"));
    assert!(daemon.stop().success());
    assert_eq!(writer.stop().errors, Vec::<String>::new());
    reader.stop();
    assert_sound(&sandbox.database());
}

#[test]
fn h13_a_log_that_a_replicator_owns_is_left_alone_between_runs_too() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.data().join(".attendance.sqlite-litestream")).unwrap();
    let (mut writer, reader) = grow_log(&sandbox);
    writer.pause();
    let before = wal_bytes(&sandbox.database());
    let daemon =
        Daemon::start(&sandbox.configure(&format!("{SMALL_LOG}[health]\nschedule = \"* * * * * *\"\n")));
    wait_until("the daemon has seen the log", || {
        (database(&daemon.status(), "attendance")?["wal_bytes"] == before).then_some(())
    });
    let seen = history::newest(&sandbox);
    wait_until("it had its time to act", || {
        (runs(&sandbox, "attendance", "health").iter().filter(|run| run.id > seen).count() >= 3).then_some(())
    });
    assert_eq!(runs(&sandbox, "attendance", "checkpoint"), []);
    assert_eq!(wal_bytes(&sandbox.database()), before);
    assert!(daemon.stop().success());
    drop(reader);
}

#[test]
fn what_keeps_writers_out_is_counted_by_job() {
    let sandbox = Sandbox::new();
    let mut application = Application::start(&sandbox.database());
    let daemon = Daemon::start(&sandbox.configure(&format!("{MAINTAIN_EACH_SECOND}max_wal = \"0B\"\n")));
    application.write_every(Duration::from_millis(5));
    wait_until("maintenance has emptied the log", || (holds(&daemon, "maintain", None) >= 1.0).then_some(()));
    wait_until("the daemon has emptied it between runs", || {
        (holds(&daemon, "checkpoint", None) >= 1.0).then_some(())
    });
    assert!(daemon.stop().success());
    assert_eq!(application.stop().errors, Vec::<String>::new());
}
