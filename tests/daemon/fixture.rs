//! A daemon whose job is held up for as long as a test needs, and what it counts.
#![allow(clippy::float_cmp, reason = "gauges and counters of whole numbers")]

use crate::support::application::{Application, create_database};
use crate::support::daemon::Daemon;
use crate::support::sandbox::Sandbox;
use crate::support::wait_until;
use rustix::process::Signal;

/// A backup each second, and a wait for the application's lock that outlasts every test.
pub(crate) const EACH_SECOND: &str =
    "[backup]\nschedule = \"* * * * * *\"\ncatch_up = false\n[pool]\nbusy_timeout = \"10m\"\n";

/// A database whose application locks everybody out, so that each job on it waits until it is
/// released.
pub(crate) fn held_up() -> (Sandbox, Application) {
    let sandbox = Sandbox::with_database(&["--journal-mode", "delete"]);
    let mut application = Application::start(&sandbox.database());
    application.hold_exclusive();
    (sandbox, application)
}

pub(crate) fn wait_until_running(daemon: &Daemon, job: &str) {
    daemon.wait_for_metrics(&format!("{job} is running"), |metrics| {
        let running = metrics.get("litekeeper_job_running", &[("database", "attendance"), ("task", job)]);
        (running == Some(1.0)).then_some(())
    });
}

pub(crate) fn count(daemon: &Daemon, database: &str, job: &str, outcome: &str) -> f64 {
    let labels = [("database", database), ("task", job), ("outcome", outcome)];
    daemon.metrics().get("litekeeper_job_runs_total", &labels).unwrap_or(0.0)
}

/// HUP, and what the log says from then until the daemon has finished with it.
pub(crate) fn reload(daemon: &Daemon, outcome: &str) -> String {
    let total = |daemon: &Daemon, outcome: &str| {
        daemon.metrics().get("litekeeper_config_reloads_total", &[("outcome", outcome)]).unwrap()
    };
    let (mark, before) = (daemon.mark(), total(daemon, outcome));
    let other = if outcome == "success" { "failure" } else { "success" };
    let others = total(daemon, other);
    daemon.signal(Signal::HUP);
    wait_until(&format!("a reload ends with {outcome}"), || {
        assert!(total(daemon, other) <= others, "the reload was a {other}");
        (total(daemon, outcome) > before).then_some(())
    });
    let word = if outcome == "success" { "reloaded" } else { "rejected" };
    daemon.wait_for_log_from(mark, word, |line| line.contains("configuration"));
    daemon.log()[mark..].join("\n")
}

pub(crate) fn successful(daemon: &Daemon) -> f64 {
    daemon.metrics().get("litekeeper_config_last_reload_successful", &[]).unwrap()
}

pub(crate) fn second_database(sandbox: &Sandbox) -> String {
    let path = sandbox.data().join("library.sqlite");
    if !path.exists() {
        create_database(&path, &[]);
    }
    format!("[database.library]\npath = {:?}\n", path.display().to_string())
}
