//! Starting runs and taking note of their ends. Must never wait for one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::handover::Handover;
use super::overview::{LiveDatabase, LiveJob};
use super::{Kept, Supervisor, lock};
use crate::clock;
use crate::error::Result;
use crate::jobs::runner::{self, Order};
use crate::jobs::{Access, Terms, registry};
use crate::schedule::admission::{Claim, Ticket, Verdict};
use crate::schedule::{blackout, catch_up};
use crate::state::runs as history;
use crate::state::runs::Run;
use crate::terms::progress::Progress;
use crate::terms::{Cause, JobKind};

/// A run that has ended.
pub(super) struct Ended {
    database: String,
    kind: JobKind,
}

/// A run in progress.
pub(super) struct InProgress {
    pub(super) cancel: CancellationToken,
    blackout: CancellationToken,
    since: DateTime<Utc>,
    progress: watch::Receiver<Option<Progress>>,
}

impl Supervisor {
    /// Starts, once each, the runs that were missed while the daemon was down or cut short when it stopped.
    pub(super) async fn catch_up(&mut self, now: DateTime<Utc>) -> Result<()> {
        let databases: Vec<_> = self.kept.values().map(|kept| Arc::clone(&kept.database)).collect();
        for database in databases {
            let name = database.name.clone();
            let last: BTreeMap<JobKind, Run> = self
                .state
                .with(move |c| {
                    let newest = |kind| Ok(history::newest(c, &name, kind)?.map(|run| (kind, run)));
                    JobKind::SCHEDULED.into_iter().filter_map(|kind| newest(kind).transpose()).collect()
                })
                .await?;
            let zone = self.config.daemon.timezone;
            let started = |kind| last.get(&kind).map(|run| run.started);
            let missed = catch_up::missed(&database, &registry::kinds(&database), zone, started, now);
            for kind in registry::kinds(&database) {
                let cut_short = last.get(&kind).is_some_and(Run::was_cut_short);
                if missed.iter().any(|(missed, _)| *missed == kind) {
                    tracing::info!(database = database.name, job = %kind, "a run was missed; it happens as soon as it may");
                } else if cut_short && database.when(kind).catch_up {
                    tracing::info!(database = database.name, job = %kind, "the last run was cut short; it happens again as soon as it may");
                } else {
                    continue;
                }
                self.request(&database.name, kind, Cause::CatchUp);
            }
        }
        Ok(())
    }

    /// What was postponed until now, and what is due. A job that is both is one run.
    pub(super) fn start_what_is_due(&mut self, now: DateTime<Utc>) {
        let (still, free) = std::mem::take(&mut self.postponed)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|((name, kind), _)| self.is_blacked_out(name, *kind, now));
        self.postponed = still;
        for ((name, kind), cause) in &free {
            self.request(name, *kind, *cause);
        }
        for due in self.timetable.due(now) {
            if !free.contains_key(&(due.database.clone(), due.kind)) {
                self.request(&due.database, due.kind, Cause::Schedule);
            }
        }
    }

    /// Tells the runs that work in slices that a blackout has begun.
    pub(super) fn stop_for_blackouts(&self, now: DateTime<Utc>) {
        let sliced = self.running.iter().filter(|((_, kind), _)| kind.works_in_slices());
        for (_, run) in sliced.filter(|((name, kind), _)| self.is_blacked_out(name, *kind, now)) {
            run.blackout.cancel();
        }
    }

    fn is_blacked_out(&self, name: &str, kind: JobKind, now: DateTime<Utc>) -> bool {
        let zone = self.config.daemon.timezone;
        let of =
            |kept: &Kept| kind.is_heavy() && blackout::holds(&kept.database.when(kind).blackout, zone, now);
        self.kept.get(name).is_some_and(of)
    }

    pub(super) fn request(&mut self, name: &str, kind: JobKind, cause: Cause) {
        if self.handovers.get_mut(name).is_some_and(|handover| handover.hold_back(name, kind, cause)) {
            return;
        }
        if self.is_blacked_out(name, kind, clock::now()) {
            return self.postpone(name, kind, cause);
        }
        let Some(kept) = self.kept.get(name) else { return };
        let task = registry::task(kind);
        let disk = lock(&self.seen).get(name).and_then(|seen| seen.device);
        let claim = Claim { exclusive: task.access == Access::Exclusive, heavy: kind.is_heavy(), disk };
        match self.admission.request(name, kind, claim) {
            Verdict::Start => self.start(name, kind, cause),
            Verdict::Queued => {
                self.waiting.insert((name.to_owned(), kind), cause);
            }
            Verdict::Skipped if task.terms == Terms::Optional => {}
            Verdict::Skipped => {
                let (state, database) = (self.state.clone(), Arc::clone(&kept.database));
                let has_begun = self.running.contains_key(&(name.to_owned(), kind));
                tokio::spawn(async move { runner::skip_overlap(&state, &database, &task, has_begun).await });
            }
        }
    }

    /// Until its blackout ends; once, however often it is due within.
    fn postpone(&mut self, name: &str, kind: JobKind, cause: Cause) {
        if let Entry::Vacant(entry) = self.postponed.entry((name.to_owned(), kind)) {
            entry.insert(cause);
            let key = kind.blackout_key();
            tracing::info!(database = name, job = %kind, key, "due within its blackout; it runs when that ends");
        }
    }

    fn start(&mut self, name: &str, kind: JobKind, cause: Cause) {
        let Some(kept) = self.kept.get(name) else { return };
        let (cancel, blackout) = (CancellationToken::new(), CancellationToken::new());
        let (progress, watched) = watch::channel(None);
        let order = Order {
            task: registry::task(kind),
            database: Arc::clone(&kept.database),
            pool: kept.pool.clone(),
            cause,
            zone: self.config.daemon.timezone,
            cancel: cancel.clone(),
            blackout: blackout.clone(),
            progress,
        };
        let key = (name.to_owned(), kind);
        self.running.insert(key, InProgress { cancel, blackout, since: clock::now(), progress: watched });
        let (state, ended) = (self.state.clone(), self.ended.clone());
        let database = name.to_owned();
        tokio::spawn(async move {
            runner::run(&state, order).await;
            // Nobody listens any more only while the process ends.
            let _ = ended.send(Ended { database, kind });
        });
    }

    /// Takes note of the end of a run, and starts what waited for it.
    pub(super) fn finished(&mut self, ended: &Ended) {
        self.running.remove(&(ended.database.clone(), ended.kind));
        // A database's files lie in a directory of its name, whatever the bucket.
        self.remote.look_again(|place| place.ends_with(&format!("/{}", ended.database)));
        let admitted = self.admission.finished(&ended.database, ended.kind);
        self.start_admitted(admitted);
        self.let_go_where_idle(&ended.database);
        self.refresh();
    }

    pub(super) fn start_admitted(&mut self, tickets: Vec<Ticket>) {
        let mut tickets = VecDeque::from(tickets);
        while let Some(Ticket { database, kind, .. }) = tickets.pop_front() {
            let cause = self.waiting.remove(&(database.clone(), kind)).unwrap_or(Cause::Schedule);
            if self.is_blacked_out(&database, kind, clock::now()) {
                // A blackout began while it waited for its turn, which is now another's.
                self.postpone(&database, kind, cause);
                tickets.extend(self.admission.finished(&database, kind));
            } else {
                self.start(&database, kind, cause);
            }
        }
    }

    pub(super) fn live_database(&self, kept: &Kept) -> LiveDatabase {
        let name = &kept.database.name;
        let handover = self.handovers.get(name);
        let jobs = JobKind::SCHEDULED.into_iter().map(|kind| {
            let running = self.running.get(&(name.clone(), kind));
            let job = LiveJob {
                next_run: self.timetable.next_run(name, kind),
                running: running.map(|run| (run.since, *run.progress.borrow())),
                queued: self.waiting.contains_key(&(name.clone(), kind))
                    || handover.is_some_and(|handover| handover.holds_back(kind)),
                postponed: self.postponed.contains_key(&(name.clone(), kind)),
            };
            (kind, job)
        });
        LiveDatabase {
            pool: kept.pool.state(),
            handed_over: handover.and_then(Handover::to).cloned(),
            jobs: jobs.collect(),
        }
    }
}
