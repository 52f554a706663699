//! One run of a job, whoever asked for it: lock, history row, attempts, deadline, panic, the
//! sidecars' owner afterwards, log line and metrics. Knows no kind of job.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::waits::Waits;
use super::{Access, Report, Run, Task, Terms, damage};
use crate::clock;
use crate::config::Database;
use crate::error::{Class, Error, Reason, Result};
use crate::metrics::events::{JobFinished, JobSkipped, JobStarted, LeftOut, WritersHeld};
use crate::pool::{Call, Pool};
use crate::sqlite::files::{access, read_only};
use crate::sqlite::pauses::Pauses;
use crate::sqlite::write::hold::Holds;
use crate::state::State;
use crate::state::facts::{self, LEFT_OUT};
use crate::state::locks::Lock;
use crate::state::runs::{self, Ending};
use crate::terms::progress::Progress;
use crate::terms::{Cause, JobKind, Outcome};

/// Attempts at a run whose error may go away by itself, and the pause before each further one.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];

/// How long a run may go on after it was told to stop, before it is given up. SQL stops within
/// milliseconds; this is for a run that waits for a disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a look at files before and after a run may take. A disk that hangs has had its say in the
/// run's own result, and the daemon's end waits for this as well.
const TO_LOOK: Duration = Duration::from_secs(2);

/// A run to be made.
pub struct Order {
    /// What to do.
    pub task: Task,
    /// To which database.
    pub database: Arc<Database>,
    /// Over which connections.
    pub pool: Pool,
    /// Why.
    pub cause: Cause,
    /// The zone in which the operator counts hours and days.
    pub zone: Tz,
    /// Stops it.
    pub cancel: CancellationToken,
    /// Stops it before its next slice, because a blackout has begun.
    pub blackout: CancellationToken,
    /// Told how far it is.
    pub progress: watch::Sender<Option<Progress>>,
}

/// How a run ended, for whoever asked for it.
#[derive(Debug)]
pub struct RunEnd {
    /// As in the history.
    pub outcome: Outcome,
    /// The report, or why there is none.
    pub result: Result<Report>,
}

/// Makes a run and writes it down. Never panics and never fails itself: trouble with the history is
/// logged, and the run counts all the same.
pub async fn run(state: &State, order: Order) -> RunEnd {
    if order.task.writes
        && let Some(why) = unwritable(&order).await
    {
        return skip(state, &order, why).await;
    }
    if order.task.access == Access::Preview {
        let run = started_run(state, &order, clock::now());
        let result = attempts(&order.task, &run, None).await;
        return RunEnd { outcome: ending(&result).outcome, result };
    }
    let (kind, database) = (order.task.kind, Arc::clone(&order.database));
    let lock = match order.task.access {
        Access::Exclusive => locked(state, &order).await.map(Some),
        Access::Shared | Access::Preview => Ok(None),
    };
    let lock = match lock {
        Err(error) if error.reason == Reason::Locked => return skip(state, &order, error).await,
        lock => lock,
    };
    let started = clock::now();
    let began = Instant::now();
    let id = {
        let (name, cause) = (database.name.clone(), order.cause);
        noted(state.with(move |c| runs::begin(c, &name, kind, cause, started)).await)
    };
    let number = id.unwrap_or_default();
    JobStarted { database: &database.name, job: kind.as_str(), run: number }.emit();

    let run = started_run(state, &order, started);
    let mut result = match &lock {
        Ok(lock) => attempts(&order.task, &run, lock.as_ref()).await,
        // Not a run that another one forestalls, but one that cannot be made: somebody must look at
        // it.
        Err(error) => Err(error.clone()),
    };
    let path = database.path.clone();
    let sidecars = tokio::task::spawn_blocking(move || access::check_sidecars(&path));
    if let Ok(Ok(Err(error))) = tokio::time::timeout(TO_LOOK, sidecars).await
        && error.reason == Reason::WrongOwner
    {
        match &mut result {
            Ok(report) => report.problems.push(error),
            Err(first) => first.message = format!("{first}; {error}"),
        }
    }
    drop(lock);
    if let Ok(report) = &result {
        tell_left_out(state, &database.name, kind, &report.left_out).await;
    }

    let ending = ending(&result);
    let finished = clock::now();
    JobFinished {
        database: &database.name,
        job: kind.as_str(),
        run: number,
        outcome: ending.outcome,
        reason: ending.reason,
        summary: &ending.summary,
        duration: began.elapsed(),
        at: finished,
    }
    .emit();
    let outcome = ending.outcome;
    if let Some(id) = id {
        noted(state.with(move |c| runs::end(c, id, finished, &ending)).await);
    }
    let result = match result {
        Ok(Report { skipped: Some(why), .. }) => Err(why),
        result => result,
    };
    RunEnd { outcome, result }
}

/// Tells of what a run left out, where the run of this kind before it did not: once, and not again
/// each night.
async fn tell_left_out(state: &State, database: &str, kind: JobKind, left_out: &[String]) {
    let now: BTreeSet<String> = left_out.iter().cloned().collect();
    let name = database.to_owned();
    let exchanged = state.with(move |c| {
        let known = facts::recall(c, &name, LEFT_OUT)?.remove(kind.as_str()).unwrap_or_default();
        if known == now {
            return Ok(Vec::new());
        }
        let new = now.difference(&known).cloned().collect::<Vec<_>>();
        facts::update(c, &name, LEFT_OUT, |all| all.insert(kind.as_str().to_owned(), now))?;
        Ok(new)
    });
    for what in noted(exchanged.await).unwrap_or_default() {
        LeftOut { database, job: kind.as_str(), what: &what }.emit();
    }
}

/// Why nothing that the job is for can be done: the database lies where nothing can be written.
async fn unwritable(order: &Order) -> Option<Error> {
    let (path, kind) = (order.database.path.clone(), order.task.kind);
    let look = tokio::task::spawn_blocking(move || read_only::why(&path));
    // A disk that hangs has its say in the run itself.
    let why = tokio::time::timeout(TO_LOOK, look).await.ok()?.ok()??;
    Some(why.context(format!("no {kind} is done")))
}

/// The lock of the database, for a run that must be alone.
async fn locked(state: &State, order: &Order) -> Result<Arc<Lock>> {
    let (state, database, kind) = (state.clone(), Arc::clone(&order.database), order.task.kind);
    let lock = tokio::task::spawn_blocking(move || state.lock(&database.name, kind));
    lock.await.unwrap_or_else(|_| Err(Error::new(Reason::Panic, "taking a lock panicked"))).map(Arc::new)
}

fn started_run(state: &State, order: &Order, started: DateTime<Utc>) -> Arc<Run> {
    let (kind, database) = (order.task.kind, &order.database);
    let deadline =
        (order.task.terms != Terms::Unlimited).then(|| Instant::now() + database.when(kind).timeout);
    Arc::new(Run {
        kind,
        database: Arc::clone(database),
        pool: order.pool.clone(),
        state: state.clone(),
        call: Call::new(kind.as_str(), &order.cancel, deadline),
        blackout: order.blackout.clone(),
        holds: holds(&database.name, kind.as_str()),
        pauses: Pauses::new(&database.path, database.pool.busy_timeout),
        waits: Waits::default(),
        progress: order.progress.clone(),
        on_damage: damage::met,
        started,
        zone: order.zone,
    })
}

fn holds(database: &str, job: &'static str) -> Holds {
    let database = database.to_owned();
    Holds::new(move |duration| WritersHeld { database: &database, job, duration }.emit())
}

/// Writes down a run that did not start because the same job is still running or, where it
/// `has_begun` not, waiting.
pub async fn skip_overlap(state: &State, database: &Database, task: &Task, has_begun: bool) {
    let what = if has_begun { "has not ended yet" } else { "is still waiting for its turn" };
    let error = Error::new(Reason::Locked, format!("the {} before it {what}", task.kind));
    write_skip(state, database, task, Cause::Schedule, &error).await;
}

async fn skip(state: &State, order: &Order, error: Error) -> RunEnd {
    if order.task.terms != Terms::Optional && order.task.access != Access::Preview {
        write_skip(state, &order.database, &order.task, order.cause, &error).await;
    }
    RunEnd { outcome: Outcome::Skipped, result: Err(error) }
}

async fn write_skip(state: &State, database: &Database, task: &Task, cause: Cause, error: &Error) {
    let kind = task.kind;
    JobSkipped { database: &database.name, job: kind.as_str(), because: &error.message }.emit();
    let ending = skipped(error);
    let name = database.name.clone();
    noted(
        state
            .with(move |c| {
                let now = clock::now();
                let id = runs::begin(c, &name, kind, cause, now)?;
                runs::end(c, id, now, &ending)
            })
            .await,
    );
}

async fn attempts(task: &Task, run: &Arc<Run>, lock: Option<&Arc<Lock>>) -> Result<Report> {
    let mut pauses = PAUSES.iter();
    loop {
        let result = attempt(task, run, lock).await;
        let Err(error) = &result else { return result };
        let Some(pause) = pauses.next().filter(|_| error.class() == Class::Transient) else { return result };
        tracing::info!(
            database = run.database.name,
            job = %task.kind,
            pause_seconds = pause.as_secs(),
            "will try again: {error}"
        );
        tokio::select! {
            () = tokio::time::sleep(*pause) => {}
            () = run.call.cancel.cancelled() => {}
        }
        run.go_on()?;
    }
}

/// One attempt, on a thread of its own. One that is given up keeps the database's lock until it
/// really ends: what it began may still be writing, and must stay the only one.
async fn attempt(task: &Task, run: &Arc<Run>, lock: Option<&Arc<Lock>>) -> Result<Report> {
    let work = {
        let (task, run, lock) = (task.clone(), Arc::clone(run), lock.cloned());
        move || {
            let _lock = lock;
            // Whoever closes a connection to a damaged file must know; the job itself meets an
            // error of the state again.
            let _ = damage::known(&run);
            (task.work)(&run)
        }
    };
    let patience = async {
        run.call.ended().await;
        // Asked before the thread is left to itself, which cancels the call.
        let why = run.go_on().err().map_or(Reason::Cancelled, |error| error.reason);
        tokio::time::sleep(PATIENCE).await;
        why
    };
    tokio::select! {
        result = run.call.on_thread(work) => result,
        why = patience => Err(Error::new(why, "did not stop when told to, and was given up")),
    }
}

fn ending(result: &Result<Report>) -> Ending {
    match result {
        Ok(Report { skipped: Some(why), .. }) => skipped(why),
        Ok(report) => {
            let problem = report.problems.first();
            let texts = report.problems.iter().map(|p| p.message.as_str()).filter(|t| *t != report.summary);
            let left_out = report.left_out.iter().filter(|what| !report.summary.contains(*what));
            let left_out = left_out.map(|what| format!("left out: {what}")).collect::<Vec<_>>();
            let texts = texts.chain(left_out.iter().map(String::as_str));
            Ending {
                outcome: if problem.is_some() { Outcome::Failure } else { Outcome::Success },
                // A run that did its work may have found something, or left something out.
                reason: report.reason().map(Reason::as_str),
                summary: std::iter::once(report.summary.as_str()).chain(texts).collect::<Vec<_>>().join("; "),
                detail: report.detail.clone(),
            }
        }
        Err(error) => Ending {
            outcome: match error.class() {
                Class::Cancelled => Outcome::Interrupted,
                Class::Transient | Class::Permanent => Outcome::Failure,
            },
            reason: Some(error.reason.as_str()),
            summary: error.message.clone(),
            detail: serde_json::Value::Null,
        },
    }
}

fn skipped(why: &Error) -> Ending {
    Ending {
        outcome: Outcome::Skipped,
        reason: Some(why.reason.as_str()),
        summary: why.message.clone(),
        detail: serde_json::Value::Null,
    }
}

/// The history is worth less than the run: trouble with it is said and passed over.
fn noted<T>(result: Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::error!("the run history is incomplete: {error}")).ok()
}
