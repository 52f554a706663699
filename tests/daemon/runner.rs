//! Every job goes through one runner: what it makes of a good run, a bad one, one that must stop,
//! one that panics, and one that may not start; and what the history says of each.

use crate::support::keeper::order;
use crate::support::process::child::{self, Child};
use crate::support::sandbox::Sandbox;
use crate::support::{PATIENCE, configured, counted, skip, wait_until};
use litekeeper::config::Database;
use litekeeper::error::{Error, Reason, Result};
use litekeeper::jobs::runner::{self, Order, RunEnd};
use litekeeper::jobs::{Access, Job, Report, Run as Working, Task};
use litekeeper::pool::Pool;
use litekeeper::state::State;
use litekeeper::state::runs::{self, Run};
use litekeeper::terms::{Cause, JobKind, Outcome};
use std::os::unix::fs::chown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

type Work = Box<dyn Fn(&Working) -> Result<Report> + Send + Sync>;

/// A job that does what the test says.
struct Test(Work);

impl Job for Test {
    const KIND: JobKind = JobKind::Maintain;

    fn run(&self, run: &Working) -> Result<Report> {
        (self.0)(run)
    }
}

pub(crate) fn job(work: impl Fn(&Working) -> Result<Report> + Send + Sync + 'static) -> Task {
    Test(Box::new(work)).into()
}

/// SQL that never ends by itself.
fn endless() -> Task {
    job(|run| {
        let sql = "UPDATE users SET name = (WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) \
                   SELECT max(n) FROM c)";
        run.write_within(PATIENCE, |c| Ok(c.execute_batch(sql)?))?;
        Ok(report())
    })
}

pub(crate) fn report() -> Report {
    Report::new("did it", &serde_json::json!({ "rows": 3 }))
}

pub(crate) struct Fixture {
    sandbox: Sandbox,
    pub(crate) database: Database,
    pool: Pool,
    pub(crate) state: State,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let sandbox = Sandbox::new();
        let name = format!("runner{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let database = configured::database(&name, &sandbox.database());
        counted::count(&name, &["maintain", "backup"], &[]);
        let (sender, _) = litekeeper::pool::slow_statements(1 << 20);
        let pool = Pool::new(&database, sender).unwrap();
        let state = State::open(&sandbox.state()).unwrap();
        Self { sandbox, database, pool, state }
    }

    pub(crate) async fn run(&self, job: Task) -> RunEnd {
        self.run_until(job, CancellationToken::new()).await
    }

    pub(crate) async fn run_until(&self, job: Task, cancel: CancellationToken) -> RunEnd {
        let order = Order { cancel, ..order(job, &self.database, &self.pool) };
        tokio::time::timeout(PATIENCE, runner::run(&self.state, order)).await.expect("the run hangs")
    }

    /// The newest row of the history first.
    fn history(&self) -> Vec<Run> {
        self.state.now(|c| runs::history(c, Some(&self.database.name), 10)).unwrap()
    }

    /// The only row of the history: outcome, reason and summary.
    pub(crate) fn row(&self) -> (Outcome, Option<String>, String) {
        let rows = self.history();
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert!(row.finished >= row.started);
        assert_eq!(
            (row.job.as_str(), row.cause.as_str(), row.pid),
            ("maintain", "manual", std::process::id())
        );
        (row.outcome.unwrap(), row.reason.clone(), row.summary.clone())
    }

    fn counted(&self, outcome: &str) -> f64 {
        let labels = [("database", self.database.name.as_str()), ("task", "maintain"), ("outcome", outcome)];
        counted::so_far().get("litekeeper_job_runs_total", &labels).unwrap()
    }

    pub(crate) fn assert_counted(&self, outcome: &str) {
        for each in ["success", "failure", "skipped", "interrupted"] {
            let expected = if each == outcome { 1.0 } else { 0.0 };
            assert!((self.counted(each) - expected).abs() < 0.1, "{each}");
        }
        let labels = [("database", self.database.name.as_str()), ("task", "maintain")];
        let running = counted::so_far().get("litekeeper_job_running", &labels).unwrap();
        assert!(running.abs() < 0.1, "it counts as running still");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_well_is_a_success_with_its_report() {
    let fixture = Fixture::new();
    let finished = fixture.run(job(|_| Ok(report()))).await;
    assert_eq!(finished.outcome, Outcome::Success);
    assert_eq!(fixture.row(), (Outcome::Success, None, "did it".to_owned()));
    assert_eq!(fixture.history()[0].detail["rows"], 3);
    fixture.assert_counted("success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_problems_is_a_failure_that_names_them_and_keeps_its_report() {
    let fixture = Fixture::new();
    let partly = |_: &Working| {
        let mut report = report();
        report.problems.push(Error::new(Reason::NoSpace, "the disk is full"));
        report.problems.push(Error::new(Reason::Refused, "a table was left out"));
        report.findings.push(Error::new(Reason::Damaged, "not a matter of the run"));
        Ok(report)
    };
    let finished = fixture.run(job(partly)).await;
    assert_eq!(finished.outcome, Outcome::Failure);
    let summary = "did it; the disk is full; a table was left out".to_owned();
    assert_eq!(fixture.row(), (Outcome::Failure, Some("no_space".to_owned()), summary));
    assert_eq!(fixture.history()[0].detail["rows"], 3);
    fixture.assert_counted("failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_error_is_a_failure_and_not_tried_again() {
    let fixture = Fixture::new();
    let attempts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&attempts);
    let finished = fixture
        .run(job(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Err(Error::new(Reason::Damaged, "broken"))
        }))
        .await;
    assert_eq!(finished.result.unwrap_err().reason, Reason::Damaged);
    assert_eq!(fixture.row(), (Outcome::Failure, Some("damaged".to_owned()), "broken".to_owned()));
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
    fixture.assert_counted("failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_error_is_tried_again_and_then_a_failure() {
    let [fixture, other] = [Fixture::new(), Fixture::new()];
    let attempts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&attempts);
    let busy = job(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(Reason::Busy, "locked by the application"))
    });
    // Busy once, then not.
    let once = AtomicU32::new(0);
    let better = job(move |_| match once.fetch_add(1, Ordering::Relaxed) {
        0 => Err(Error::new(Reason::PoolTimeout, "no connection")),
        _ => Ok(report()),
    });
    let (failed, succeeded) = tokio::join!(fixture.run(busy), other.run(better));
    assert_eq!((failed.outcome, succeeded.outcome), (Outcome::Failure, Outcome::Success));
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
    assert_eq!(fixture.row().1.as_deref(), Some("busy"));
    assert_eq!(other.row().0, Outcome::Success);
    fixture.assert_counted("failure");
    other.assert_counted("success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_between_attempts_is_interrupted() {
    let fixture = Fixture::new();
    let cancel = CancellationToken::new();
    let from_within = cancel.clone();
    let busy = job(move |_| {
        from_within.cancel();
        Err(Error::new(Reason::Busy, "locked by the application"))
    });
    assert_eq!(fixture.run_until(busy, cancel).await.outcome, Outcome::Interrupted);
    fixture.assert_counted("interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_is_interrupted_with_its_sql() {
    let fixture = Fixture::new();
    let cancel = CancellationToken::new();
    let later = std::thread::spawn({
        let (path, cancel) = (fixture.database.path.clone(), cancel.clone());
        move || {
            let probe = rusqlite::Connection::open(path).unwrap();
            probe.busy_timeout(Duration::ZERO).unwrap();
            wait_until("it has the lock", || probe.execute_batch("BEGIN IMMEDIATE; ROLLBACK").err());
            cancel.cancel();
        }
    });
    let finished = fixture.run_until(endless(), cancel).await;
    later.join().unwrap();
    assert_eq!(finished.outcome, Outcome::Interrupted);
    let (outcome, reason, _) = fixture.row();
    assert_eq!((outcome, reason.as_deref()), (Outcome::Interrupted, Some("cancelled")));
    fixture.assert_counted("interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_past_its_deadline_is_a_failure_and_its_sql_stops() {
    let mut fixture = Fixture::new();
    fixture.database.maintain.when.timeout = Duration::from_millis(200);
    assert_eq!(fixture.run(endless()).await.outcome, Outcome::Failure);
    assert_eq!(fixture.row().1.as_deref(), Some("deadline"));
    fixture.assert_counted("failure");
    let application = rusqlite::Connection::open(&fixture.database.path).unwrap();
    application.busy_timeout(Duration::ZERO).unwrap();
    application.execute_batch("UPDATE users SET email = 'x'").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failed_run_that_says_what_happened_and_the_next_one_works() {
    let fixture = Fixture::new();
    let finished = fixture.run(job(|_| panic!("on {}", "purpose"))).await;
    assert_eq!(finished.result.unwrap_err().reason, Reason::Panic);
    let (outcome, reason, summary) = fixture.row();
    assert_eq!((outcome, reason.as_deref()), (Outcome::Failure, Some("panic")));
    assert!(summary.contains("on purpose"), "{summary}");
    fixture.assert_counted("failure");
    assert_eq!(fixture.run(job(|_| Ok(report()))).await.outcome, Outcome::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_writes_to_the_database_by_a_hold_and_in_no_other_way() {
    let fixture = Fixture::new();
    // On the connection that was lent for a write as well.
    for by_hold in [false, true, false] {
        let work = job(move |run| {
            let delete =
                |c: &rusqlite::Connection| Ok(c.execute("DELETE FROM face_samples WHERE id = 1", [])?);
            if by_hold {
                run.write_within(PATIENCE, |t| delete(t))?;
            } else {
                run.sql(|c| delete(c))?;
            }
            Ok(report())
        });
        let result = fixture.run(work).await.result;
        assert_eq!(result.err().map(|error| error.reason), (!by_hold).then_some(Reason::Permission));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_has_one_exclusive_job_at_a_time_and_any_number_of_others() {
    let fixture = Fixture::new();
    let lock = fixture.state.lock(&fixture.database.name, JobKind::Backup).unwrap();
    let finished = fixture.run(job(|_| panic!("it may not start"))).await;
    assert_eq!(finished.outcome, Outcome::Skipped);
    let (outcome, reason, summary) = fixture.row();
    assert_eq!((outcome, reason.as_deref()), (Outcome::Skipped, Some("locked")));
    assert!(summary.contains("backup") && summary.contains(&std::process::id().to_string()), "{summary}");
    fixture.assert_counted("skipped");
    let mut shared = job(|_| Ok(report()));
    shared.access = Access::Shared;
    assert_eq!(fixture.run(shared).await.outcome, Outcome::Success);
    drop(lock);
    assert_eq!(fixture.run(job(|_| Ok(report()))).await.outcome, Outcome::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_take_its_lock_is_a_failure_and_does_not_start() {
    let fixture = Fixture::new();
    // Where the locks would lie there is a file.
    std::fs::write(fixture.sandbox.state().join("locks"), "").unwrap();
    let finished = fixture.run(job(|_| panic!("it may not start"))).await;
    assert_eq!(finished.outcome, Outcome::Failure);
    assert_eq!(fixture.row().0, Outcome::Failure);
    fixture.assert_counted("failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_comes_while_the_one_before_is_at_work_is_written_down_as_skipped() {
    let fixture = Fixture::new();
    runner::skip_overlap(&fixture.state, &fixture.database, &job(|_| Ok(report())), true).await;
    let rows = fixture.history();
    assert_eq!(
        (rows.len(), rows[0].outcome, rows[0].cause.as_str()),
        (1, Some(Outcome::Skipped), "schedule")
    );
    assert!(rows[0].summary.ends_with("before it has not ended yet"), "{}", rows[0].summary);
    fixture.assert_counted("skipped");
    // One that has not even begun cannot end.
    runner::skip_overlap(&fixture.state, &fixture.database, &job(|_| Ok(report())), false).await;
    let rows = fixture.history();
    assert!(
        rows.iter().any(|row| row.summary.ends_with("before it is still waiting for its turn")),
        "{rows:?}"
    );
}

/// Takes the lock of a database and has a run open, until it is told to end or killed.
#[test]
#[ignore = "the other process in the tests of this file"]
fn holder() {
    let Some(directory) = child::argument() else { return };
    let state = State::open(&directory).unwrap();
    let (database, job) = ("other", JobKind::Backup);
    let _lock = state.lock(database, job).unwrap();
    state.now(|c| runs::begin(c, database, job, Cause::Schedule, litekeeper::clock::now())).unwrap();
    child::say("holds it");
    child::wait();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_holds_between_processes_and_ends_with_the_one_that_holds_it() {
    let mut fixture = Fixture::new();
    fixture.database.name = "other".to_owned();
    counted::count("other", &["maintain", "backup"], &[]);
    let mut holder = Child::start("runner::holder", &fixture.sandbox.state());
    holder.said("holds it");
    let finished = fixture.run(job(|_| panic!("it may not start"))).await;
    assert_eq!(finished.outcome, Outcome::Skipped);
    let error = finished.result.unwrap_err();
    assert_eq!(error.reason, Reason::Locked);
    assert!(error.message.contains(&format!("backup (process {})", holder.id())), "{error}");

    assert_eq!(fixture.state.now(|c| runs::end_those_of_dead_processes(c)).unwrap(), 0, "it lives");
    holder.kill();
    assert_eq!(fixture.run(job(|_| Ok(report()))).await.outcome, Outcome::Success);
    assert_eq!(fixture.state.now(|c| runs::end_those_of_dead_processes(c)).unwrap(), 1);
    let rows = fixture.history();
    let dead = rows.iter().find(|run| run.job == "backup").unwrap();
    assert_eq!((dead.outcome, dead.pid), (Some(Outcome::Interrupted), holder.id()));
    assert!(dead.finished >= dead.started);
}

#[tokio::test(flavor = "multi_thread")]
async fn h03_a_sidecar_that_the_application_cannot_write_makes_the_run_a_failure_with_the_fix() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can give files away");
    }
    let fixture = Fixture::new();
    let owner = crate::support::application::APPLICATION;
    fixture.sandbox.give_data_to(owner);
    let work = job(|run| {
        let update = "UPDATE users SET email = 'x'";
        run.write_within(PATIENCE, |t| Ok(t.execute_batch(update)?))?;
        // As root leaves it where nothing takes care.
        chown(run.database.path.with_file_name("attendance.sqlite-shm"), Some(0), Some(0)).unwrap();
        Ok(report())
    });
    let finished = fixture.run(work).await;
    assert_eq!(finished.outcome, Outcome::Failure);
    let (_, reason, summary) = fixture.row();
    assert_eq!(reason.as_deref(), Some("wrong_owner"));
    assert!(summary.starts_with("did it; ") && summary.contains("chown 4711:4711"), "{summary}");
}
