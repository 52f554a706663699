//! A run that hears nothing when it is told to stop, as the last part of a VACUUM, or one that waits
//! for a disk. These take the runner's patience, ten seconds: there is no other way to be given up.

use super::runner::{Fixture, job, report};
use crate::support::wait_until;
use litekeeper::jobs::Task;
use litekeeper::terms::{JobKind, Outcome};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A job that ends when the sender is dropped, and tells when it has begun.
fn deaf() -> (Task, Sender<()>, Arc<Notify>) {
    let (let_go, released) = channel::<()>();
    let (released, entered) = (Mutex::new(released), Arc::new(Notify::new()));
    let enters = Arc::clone(&entered);
    let deaf = job(move |run| {
        run.sql(|_| {
            enters.notify_one();
            let _ = released.lock().unwrap().recv();
            Ok(report())
        })
    });
    (deaf, let_go, entered)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_given_up_keeps_its_lock_until_its_work_really_ends() {
    let fixture = Fixture::new();
    let (deaf, let_go, entered) = deaf();
    let stop = CancellationToken::new();
    let run = fixture.run_until(deaf, stop.clone());
    let stop_it = async {
        entered.notified().await;
        stop.cancel();
    };
    let (finished, ()) = tokio::join!(run, stop_it);
    assert_eq!(finished.outcome, Outcome::Interrupted);
    assert!(finished.result.unwrap_err().message.contains("given up"));
    let next = fixture.run(job(|_| Ok(report()))).await;
    assert_eq!(next.outcome, Outcome::Skipped);
    drop(let_go);
    wait_until("the lock is free", || fixture.state.lock(&fixture.database.name, JobKind::Backup).ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_given_up_past_its_deadline_is_a_failure_as_any_that_is_late() {
    let mut fixture = Fixture::new();
    fixture.database.maintain.when.timeout = Duration::from_millis(200);
    let (deaf, let_go, _) = deaf();
    let finished = fixture.run(deaf).await;
    drop(let_go);
    let (outcome, reason, summary) = fixture.row();
    assert_eq!((outcome, reason.as_deref()), (Outcome::Failure, Some("deadline")));
    assert!(summary.contains("given up"), "{summary}");
    assert_eq!(finished.outcome, Outcome::Failure);
    fixture.assert_counted("failure");
}
