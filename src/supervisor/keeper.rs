//! One database in the daemon's care: its configuration, its connections, what is seen of its
//! files, who has it, and what becomes of each of its jobs. A job is in one slot at a time. Must
//! never wait, nor look at a file on this thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::follower::Handover;
use crate::clock::Moment;
use crate::config::Database;
use crate::jobs::{Terms, registry};
use crate::pool::Pool;
use crate::survey::disk::{self, OnDisk};
use crate::survey::needs;
use crate::survey::overview::{LiveDatabase, LiveJob};
use crate::survey::remote::Remote;
use crate::terms::progress::Progress;
use crate::terms::{Cause, JobKind};

/// A disk that has not answered for so long hangs. Longer than a first look into a bucket takes.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// Looks at a time, of all databases: each takes some descriptors for as long as it lasts.
static LOOKS: Semaphore = Semaphore::const_new(needs::LOOKS_AT_FILES);

/// A look that takes longer counts no more among those.
const LATE_AFTER: Duration = Duration::from_secs(1);

/// A database that is kept.
pub(super) struct Keeper {
    pub(super) database: Arc<Database>,
    pub(super) pool: Pool,
    pub(super) disk: Disk,
    pub(super) handover: Handover,
    pub(super) jobs: BTreeMap<JobKind, Slot>,
    /// It is no longer configured, and stays until its last run has ended.
    pub(super) is_leaving: bool,
}

/// What becomes of one job.
#[derive(Default)]
pub(super) enum Slot {
    /// It is not due.
    #[default]
    Idle,
    /// It waits until the database is the daemon's again, or its disk answers.
    HeldBack(Cause),
    /// It waits for the end of a blackout.
    Postponed(Cause),
    /// It waits for its turn.
    Waiting(Cause),
    /// It is at work.
    Running(RunInProgress),
}

/// A run at work.
pub(super) struct RunInProgress {
    pub(super) cancel: CancellationToken,
    pub(super) blackout: CancellationToken,
    since: Moment,
    progress: watch::Receiver<Option<Progress>>,
    /// It came due again while it could not have begun, and is asked for again when this run ends.
    pub(super) again: Option<Cause>,
}

impl RunInProgress {
    pub(super) fn new(progress: watch::Receiver<Option<Progress>>) -> Self {
        let (cancel, blackout) = (CancellationToken::new(), CancellationToken::new());
        Self { cancel, blackout, since: Moment::now(), progress, again: None }
    }
}

impl Keeper {
    pub(super) fn new(database: Arc<Database>, pool: Pool, handover: Handover) -> Self {
        let (disk, jobs) = (Disk::default(), BTreeMap::new());
        Self { database, pool, disk, handover, jobs, is_leaving: false }
    }

    pub(super) fn slot(&mut self, kind: JobKind) -> &mut Slot {
        self.jobs.entry(kind).or_default()
    }

    /// The runs at work.
    pub(super) fn running(&self) -> impl Iterator<Item = (JobKind, &RunInProgress)> {
        self.jobs.iter().filter_map(|(kind, slot)| match slot {
            Slot::Running(run) => Some((*kind, run)),
            _ => None,
        })
    }

    pub(super) fn is_at_work(&self) -> bool {
        self.running().next().is_some()
    }

    /// Whether a job may use the database now.
    pub(super) fn is_at_hand(&self) -> bool {
        self.handover.is_ours() && self.disk.silent_since().is_none()
    }

    /// Forgets whatever has not begun.
    pub(super) fn forget_what_waits(&mut self) {
        for slot in self.jobs.values_mut() {
            match slot {
                Slot::Running(run) => run.again = None,
                slot => *slot = Slot::Idle,
            }
        }
    }

    /// Until the database is at hand again; once, however often it comes due meanwhile.
    pub(super) fn hold_back(&mut self, kind: JobKind, cause: Cause) {
        if registry::task(kind).terms == Terms::Optional {
            return;
        }
        *self.slot(kind) = Slot::HeldBack(cause);
        let database = &self.database.name;
        if let Some(to) = self.handover.to() {
            tracing::info!(database, job = %kind, by = to.by, "due while a restore has the database; it runs afterwards");
        } else if self.disk.silent_since().is_some() {
            tracing::info!(database, job = %kind, "due while its disk does not answer; it runs when that does");
        }
    }

    /// Until its blackout ends; once, however often it is due within.
    pub(super) fn postpone(&mut self, kind: JobKind, cause: Cause) {
        *self.slot(kind) = Slot::Postponed(cause);
        let key = kind.blackout_key();
        tracing::info!(database = self.database.name, job = %kind, key, "due within its blackout; it runs when that ends");
    }

    /// Takes the jobs out of the slots that `choose` names, and why they were due.
    pub(super) fn take(&mut self, choose: impl Fn(JobKind, &Slot) -> Option<Cause>) -> Vec<(JobKind, Cause)> {
        let mut taken = Vec::new();
        for (kind, slot) in &mut self.jobs {
            if let Some(cause) = choose(*kind, slot) {
                *slot = Slot::Idle;
                taken.push((*kind, cause));
            }
        }
        taken
    }

    /// For the status.
    pub(super) fn live(
        &self,
        now: DateTime<Utc>,
        next_run: impl Fn(JobKind) -> Option<DateTime<Utc>>,
    ) -> LiveDatabase {
        let jobs = JobKind::SCHEDULED.into_iter().map(|kind| {
            let slot = self.jobs.get(&kind).unwrap_or(&Slot::Idle);
            let job = LiveJob {
                next_run: next_run(kind),
                running: match slot {
                    Slot::Running(run) => Some((run.since.by(now), *run.progress.borrow())),
                    _ => None,
                },
                queued: match slot {
                    Slot::Waiting(_) | Slot::HeldBack(_) => true,
                    Slot::Running(run) => run.again.is_some(),
                    Slot::Idle | Slot::Postponed(_) => false,
                },
                postponed: matches!(slot, Slot::Postponed(_)),
            };
            (kind, job)
        });
        LiveDatabase {
            pool: self.pool.state(),
            handed_over: self.handover.to().cloned(),
            disk: self.disk.seen.clone(),
            disk_silent_since: self
                .disk
                .silent_since()
                .or_else(|| self.disk.never_seen_since())
                .map(|since| since.by(now)),
            jobs: jobs.collect(),
        }
    }
}

/// What was last seen of a database's files. One look at a time: a disk that hangs keeps one
/// thread, and freezes what is known of this database and of no other.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) seen: Option<Arc<OnDisk>>,
    /// The look that has not come back.
    looking: Option<Looking>,
    /// Since when the disk does not answer; until a look comes back.
    silent_since: Option<Moment>,
}

/// A look that has begun.
struct Looking {
    at: Arc<Database>,
    began: Moment,
}

/// A look that has come back.
pub(super) struct Look {
    pub(super) at: Arc<Database>,
    /// `None` where it panicked.
    seen: Option<OnDisk>,
}

impl Disk {
    /// Begins a look, unless one is under way.
    pub(super) fn look(&mut self, at: &Arc<Database>, remote: &Remote, tell: &mpsc::UnboundedSender<Look>) {
        if self.looking.is_some() {
            return;
        }
        let at = Arc::clone(at);
        self.looking = Some(Looking { at: Arc::clone(&at), began: Moment::now() });
        let (database, remote, tell) = (Arc::clone(&at), remote.clone(), tell.clone());
        tokio::spawn(async move {
            let turn = LOOKS.acquire().await;
            let mut look = tokio::task::spawn_blocking(move || disk::of(&database, Some(&remote)));
            let seen = tokio::select! {
                seen = &mut look => seen.ok(),
                // The others do not wait for a disk that hangs.
                () = sleep(LATE_AFTER) => {
                    drop(turn);
                    look.await.ok()
                }
            };
            // Nobody listens any more only while the process ends.
            let _ = tell.send(Look { at, seen });
        });
    }

    /// The look has come back; not one at what was configured before.
    pub(super) fn saw(&mut self, look: Look) {
        if !self.looking.as_ref().is_some_and(|looking| Arc::ptr_eq(&looking.at, &look.at)) {
            return;
        }
        (self.looking, self.silent_since) = (None, None);
        if let Some(seen) = look.seen {
            self.seen = Some(Arc::new(seen));
        }
    }

    /// Waits no more for a look at what was configured before. What hung there hangs until a look
    /// at the new places comes back.
    pub(super) fn look_anew(&mut self) {
        self.looking = None;
    }

    /// Decides whether the disk hangs, for all that happens until it answers.
    pub(super) fn judge(&mut self) {
        let late = self.looking.as_ref().filter(|looking| looking.began.elapsed() >= SILENT_AFTER);
        self.silent_since = self.silent_since.or(late.map(|looking| looking.began));
    }

    /// Whether a look may come back within `patience` of its beginning.
    pub(super) fn is_awaited(&self, patience: Duration) -> bool {
        self.looking.as_ref().is_some_and(|looking| looking.began.elapsed() < patience)
    }

    /// Since when nothing at all is known.
    fn never_seen_since(&self) -> Option<Moment> {
        self.looking.as_ref().filter(|_| self.seen.is_none()).map(|looking| looking.began)
    }

    /// Since when the disk does not answer, where it has been silent for too long.
    pub(super) fn silent_since(&self) -> Option<Moment> {
        self.silent_since
    }
}
