//! Who asks for connections, and what ends the SQL on them: the end of the run, a deadline, the
//! length of the write-ahead log. One guard watches for all of that, beside the thread on which the
//! SQL runs. Must never look at a file on a thread of the runtime.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::session::Limits;
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::paths::wal_bytes;
use crate::terms::progress::{Stop, Unit, Watch};

/// How often the write-ahead log is looked at. A fast disk writes some 100 MiB meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Who asks for a connection, and within which limits. One run has one, and clones it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The job, for labels and the slow log.
    pub job: &'static str,
    /// Stops the work and its SQL.
    pub cancel: CancellationToken,
    /// Stops the work and its SQL at this instant.
    pub deadline: Option<Instant>,
    /// How long the write-ahead log may become meanwhile.
    pub log: Option<LogLimit>,
    /// It only reads: it takes its turn among writers soon, and holds none up while it waits.
    is_read: bool,
    /// How long it may read, with the time apart for which it waits for locks.
    allowance: Option<Duration>,
    /// Which files its first use found: one run works on one database.
    pub(super) generation: Arc<OnceLock<u64>>,
    pub(super) uses: Arc<Uses>,
}

/// How long the write-ahead log may become while it is read.
#[derive(Debug, Clone)]
pub struct LogLimit {
    /// The database, not a link to it.
    pub database: PathBuf,
    /// Bytes of its log.
    pub bytes: u64,
    /// What the work ends with past that.
    pub error: Error,
}

/// What the guard knows of the connection that a run has now.
#[derive(Debug, Default)]
pub(super) struct Uses {
    current: Mutex<Current>,
    /// A use is late before the guard would look.
    sooner: Notify,
    /// A use has a limit on the log.
    has_log: Notify,
}

#[derive(Debug, Default)]
struct Current {
    limits: Option<Arc<Limits>>,
    log: Option<LogLimit>,
    /// When the guard looks again by itself.
    looks_at: Option<Instant>,
}

impl Call {
    /// A call, or all those of one run, which clones it. It is cancelled with `cancel`, or by
    /// itself.
    pub fn new(job: &'static str, cancel: &CancellationToken, deadline: Option<Instant>) -> Self {
        let cancel = cancel.child_token();
        Self {
            job,
            cancel,
            deadline,
            log: None,
            is_read: false,
            allowance: None,
            generation: Arc::default(),
            uses: Arc::default(),
        }
    }

    /// A call of the same run that its end does not stop.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            generation: Arc::clone(&self.generation),
            ..Self::new(self.job, &CancellationToken::new(), None)
        }
    }

    /// The same call with a limit of its own, counted from now, where that is earlier.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let own = Instant::now() + limit;
        let deadline = self.deadline.map_or(own, |deadline| deadline.min(own));
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// The same call for work that only reads.
    #[must_use]
    pub fn reading(&self) -> Self {
        Self { is_read: true, ..self.clone() }
    }

    /// The same, with a limit on how long it reads: the wait for a lock that somebody holds is not
    /// the fault of the work, and holds nobody up.
    #[must_use]
    pub fn reading_within(&self, limit: Duration) -> Self {
        Self { is_read: true, allowance: Some(limit), ..self.clone() }
    }

    /// The same call, which ends when the write-ahead log is too long.
    #[must_use]
    pub fn within_log(&self, log: LogLimit) -> Self {
        Self { log: Some(log), ..self.clone() }
    }

    /// An error when it is cancelled or late. For work between statements.
    pub fn check(&self) -> Result<()> {
        self.limits(Duration::ZERO).check()
    }

    pub(super) fn limits(&self, busy_timeout: Duration) -> Limits {
        Limits::new(self.deadline, busy_timeout, self.cancel.clone()).reading(self.is_read, self.allowance)
    }

    /// Waits until it is cancelled or late.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = until(self.deadline) => {}
        }
    }

    /// Waits for something of the asynchronous world, on a thread that may: of a run, with the
    /// runtime entered. `None` where the call ended first.
    pub(super) fn wait_for<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        Handle::current().block_on(async {
            tokio::select! {
                // A call that has ended already gets nothing.
                biased;
                () = self.ended() => None,
                got = what => Some(got),
            }
        })
    }

    /// Does `work` on a thread of its own, named after the job, on which it may use connections and
    /// wait, with the guard beside it until it ends. Nobody waits any more when what is returned
    /// is dropped: the call is cancelled then, and the thread ends soon after.
    ///
    /// Errors: those of `work`; `panic` where it panicked.
    pub async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, ended) = oneshot::channel();
        let runtime = Handle::current();
        let at_work = CancellationToken::new();
        let over = at_work.clone().drop_guard();
        let work = move || {
            let _over = over;
            let _entered = runtime.enter();
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)));
            // Where nobody waits any more, nobody needs the result.
            let _ = done.send(result);
        };
        let thread = std::thread::Builder::new().name(self.job.to_owned()).spawn(work);
        thread.map_err(|e| Error::io("cannot start a thread", &e))?;
        let guarded = self.clone();
        // Not within this future: whoever waits for it may be held up by a terminal.
        tokio::spawn(async move { at_work.run_until_cancelled(guarded.guard()).await });
        let abandoned = self.cancel.clone().drop_guard();
        let silent = |_| Err(Error::new(Reason::Panic, "its thread ended without a word"));
        let result = ended.await.unwrap_or_else(silent);
        abandoned.disarm();
        result
    }

    /// Ends the SQL of this call when it must stop, of whichever connection it has; goes on for
    /// ever.
    async fn guard(&self) -> Infallible {
        tokio::select! {
            never = self.stop_when_cancelled() => never,
            never = self.interrupt_when_late() => never,
            never = self.stop_for_the_log() => never,
        }
    }

    async fn stop_when_cancelled(&self) -> Infallible {
        self.cancel.cancelled().await;
        if let Some(limits) = &self.uses.current().limits {
            limits.interrupt();
        }
        // Uses that begin from here on see it by themselves.
        std::future::pending().await
    }

    async fn interrupt_when_late(&self) -> Infallible {
        loop {
            let next = self.uses.next_deadline();
            tokio::select! {
                () = until(next) => {}
                () = self.uses.sooner.notified() => continue,
            }
            if let Some(limits) = self.uses.late() {
                limits.interrupt();
                // Once is enough, and the next use comes with its own.
                self.uses.sooner.notified().await;
            }
        }
    }

    async fn stop_for_the_log(&self) -> Infallible {
        loop {
            self.uses.has_log.notified().await;
            loop {
                tokio::time::sleep(BETWEEN_LOOKS).await;
                let Some((limits, log)) = self.uses.logged() else { break };
                let database = log.database.clone();
                // A look at a disk that hangs ends no other watch of this guard.
                let bytes = tokio::task::spawn_blocking(move || wal_bytes(&database)).await.unwrap_or(0);
                if bytes > log.bytes {
                    limits.stop(log.error);
                }
            }
        }
    }
}

impl Watch for Call {
    fn go_on(&self) -> Result<()> {
        self.check()
    }

    fn at(&self, _: u64, _: u64, _: Unit) {}

    fn stop(&self) -> Stop {
        let call = self.clone();
        Arc::new(move || call.check().is_err())
    }
}

impl Uses {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is in use within `limits` until what is returned is dropped.
    pub(super) fn begin<'u>(&'u self, call: &Call, limits: &Arc<Limits>) -> Use<'u> {
        let mut current = self.current();
        current.limits = Some(Arc::clone(limits));
        current.log.clone_from(&call.log);
        let is_sooner = limits.deadline().is_some_and(|own| current.looks_at.is_none_or(|known| own < known));
        drop(current);
        if is_sooner {
            self.sooner.notify_one();
        }
        if call.log.is_some() {
            self.has_log.notify_one();
        }
        Use(self)
    }

    /// When the present use is late; the guard looks again then.
    fn next_deadline(&self) -> Option<Instant> {
        let mut current = self.current();
        current.looks_at = current.limits.as_ref().and_then(|limits| limits.deadline());
        current.looks_at
    }

    /// The present use, where it is late.
    fn late(&self) -> Option<Arc<Limits>> {
        let mut current = self.current();
        let late = current.limits.clone().filter(|limits| limits.is_late());
        if late.is_some() {
            current.looks_at = None;
        }
        late
    }

    fn logged(&self) -> Option<(Arc<Limits>, LogLimit)> {
        let current = self.current();
        current.limits.clone().zip(current.log.clone())
    }
}

/// One use of a connection.
pub(super) struct Use<'u>(&'u Uses);

impl Drop for Use<'_> {
    fn drop(&mut self) {
        let mut current = self.0.current();
        (current.limits, current.log) = (None, None);
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_default();
    Error::new(Reason::Panic, format!("the run panicked, which is a defect in litekeeper: {text}"))
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
