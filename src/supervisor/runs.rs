//! Starting runs and taking note of their ends. Must never wait for one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::Supervisor;
use super::events::EndOfRun;
use super::keeper::{Keeper, RunInProgress, Slot};
use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::jobs::runner::{self, Order};
use crate::jobs::{Access, Terms, registry};
use crate::schedule::admission::{Claim, Decision, Ticket};
use crate::schedule::blackout;
use crate::schedule::catch_up::{self, LastStart};
use crate::state::runs::{self as history, Run};
use crate::terms::{Cause, JobKind};

impl Supervisor {
    /// Starts, once each, the runs that were missed while the daemon was down or cut short when it
    /// stopped.
    pub(super) async fn catch_up(&mut self, now: DateTime<Utc>) -> Result<()> {
        let databases: Vec<_> = self.keepers.values().map(|keeper| Arc::clone(&keeper.database)).collect();
        let mut ahead = Vec::new();
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
            let started =
                |kind| last.get(&kind).map(|run| run.started.map_or(LastStart::Unknown, LastStart::At));
            ahead.extend(
                last.iter()
                    .filter(|(_, run)| run.started.is_none())
                    .map(|(kind, _)| format!("{kind} of {}", database.name)),
            );
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
        if let Some(first) = ahead.first() {
            let more = if ahead.len() > 1 { format!(" and {} more", ahead.len() - 1) } else { String::new() };
            tracing::warn!(
                "the clock was ahead at the last run of {first}{more}: when that was is not known; what was due \
                 meanwhile happens as soon as it may"
            );
        }
        Ok(())
    }

    /// What was postponed until now, and what is due. A job that is both is one run.
    pub(super) fn start_what_is_due(&mut self, now: DateTime<Utc>) {
        let zone = self.config.daemon.timezone;
        let mut free = BTreeMap::new();
        for (name, keeper) in &mut self.keepers {
            let database = Arc::clone(&keeper.database);
            let postponed = keeper.take(|kind, slot| match slot {
                Slot::Postponed(cause) if !blackout::holds(&database.when(kind).blackout, zone, now) => {
                    Some(*cause)
                }
                _ => None,
            });
            free.extend(postponed.into_iter().map(|(kind, cause)| ((name.clone(), kind), cause)));
        }
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
        for (name, keeper) in &self.keepers {
            let sliced = keeper.running().filter(|(kind, _)| kind.works_in_slices());
            for (_, run) in sliced.filter(|(kind, _)| self.is_blacked_out(name, *kind, now)) {
                run.blackout.cancel();
            }
        }
    }

    fn is_blacked_out(&self, name: &str, kind: JobKind, now: DateTime<Utc>) -> bool {
        let zone = self.config.daemon.timezone;
        let windows = self.keepers.get(name).map(|keeper| &keeper.database.when(kind).blackout);
        kind.is_heavy() && windows.is_some_and(|windows| blackout::holds(windows, zone, now))
    }

    pub(super) fn request(&mut self, name: &str, kind: JobKind, cause: Cause) {
        let is_blacked_out = self.is_blacked_out(name, kind, clock::now());
        let Some(keeper) = self.keepers.get_mut(name).filter(|keeper| !keeper.is_leaving) else { return };
        let task = registry::task(kind);
        let is_optional = task.terms == Terms::Optional;
        let may_begin = keeper.is_at_hand() && !is_blacked_out;
        match keeper.slot(kind) {
            // It is due already, and happens once, however often that is.
            Slot::HeldBack(_) | Slot::Postponed(_) => return,
            Slot::Running(run) if !may_begin => {
                run.again = run.again.or((!is_optional).then_some(cause));
                return;
            }
            Slot::Running(_) | Slot::Waiting(_) if is_optional => return,
            slot @ (Slot::Running(_) | Slot::Waiting(_)) => {
                let has_begun = matches!(slot, Slot::Running(_));
                let (state, database) = (self.state.clone(), Arc::clone(&keeper.database));
                tokio::spawn(async move { runner::skip_overlap(&state, &database, &task, has_begun).await });
                return;
            }
            Slot::Idle => {}
        }
        if !keeper.is_at_hand() {
            return keeper.hold_back(kind, cause);
        }
        if is_blacked_out {
            return keeper.postpone(kind, cause);
        }
        let disk = keeper.disk.seen.as_ref().and_then(|seen| seen.device);
        let claim = Claim { exclusive: task.access == Access::Exclusive, heavy: kind.is_heavy(), disk };
        match self.admission.request(name, kind, claim) {
            Decision::Start => self.start(name, kind, cause),
            Decision::Queued => *keeper.slot(kind) = Slot::Waiting(cause),
            // The slot and the admission know the same runs.
            Decision::Skipped => {}
        }
    }

    fn start(&mut self, name: &str, kind: JobKind, cause: Cause) {
        let Some(keeper) = self.keepers.get_mut(name) else { return };
        let (progress, watched) = watch::channel(None);
        let run = RunInProgress::new(watched);
        let order = Order {
            task: registry::task(kind),
            database: Arc::clone(&keeper.database),
            pool: keeper.pool.clone(),
            cause,
            zone: self.config.daemon.timezone,
            cancel: run.cancel.clone(),
            blackout: run.blackout.clone(),
            progress,
        };
        *keeper.slot(kind) = Slot::Running(run);
        let (state, ended) = (self.state.clone(), self.ended.clone());
        let database = name.to_owned();
        tokio::spawn(async move {
            let end = runner::run(&state, order).await;
            let is_starved = |error: &Error| error.reason == Reason::NoDescriptors;
            let is_starved = match &end.result {
                Ok(report) => report.problems.iter().any(is_starved),
                Err(error) => is_starved(error),
            };
            // Nobody listens any more only while the process ends.
            let _ = ended.send(EndOfRun { database, kind, is_starved });
        });
    }

    /// Takes note of the end of a run, and starts what waited for it.
    pub(super) fn finished(&mut self, ended: &EndOfRun) {
        let EndOfRun { database: name, kind, is_starved } = ended;
        let is_news = if *is_starved {
            self.starving.insert((name.clone(), *kind))
        } else {
            self.starving.remove(&(name.clone(), *kind))
        };
        if is_news {
            self.tell_who_starves();
        }
        // A database's files lie in a directory of its name, whatever the bucket.
        self.remote.look_again(|place| place.ends_with(&format!("/{name}")));
        let mut again = None;
        if let Some(keeper) = self.keepers.get_mut(name) {
            if let Slot::Running(run) = std::mem::take(keeper.slot(*kind)) {
                again = run.again;
            }
            if keeper.is_leaving && !keeper.is_at_work() {
                self.keepers.remove(name);
            }
        }
        let admitted = self.admission.finished(name, *kind);
        if let Some(cause) = again {
            self.request(name, *kind, cause);
        }
        self.start_admitted(admitted);
        self.let_go_where_idle(name);
        self.refresh();
    }

    pub(super) fn start_admitted(&mut self, tickets: Vec<Ticket>) {
        let mut tickets = VecDeque::from(tickets);
        while let Some(Ticket { database: name, kind, .. }) = tickets.pop_front() {
            let is_blacked_out = self.is_blacked_out(&name, kind, clock::now());
            let Some(keeper) = self.keepers.get_mut(&name) else { continue };
            let cause = match std::mem::take(keeper.slot(kind)) {
                Slot::Waiting(cause) => cause,
                slot => {
                    *keeper.slot(kind) = slot;
                    continue;
                }
            };
            if is_blacked_out || !keeper.is_at_hand() {
                // That began while it waited for its turn, which is now another's.
                if keeper.is_at_hand() {
                    keeper.postpone(kind, cause);
                } else {
                    keeper.hold_back(kind, cause);
                }
                tickets.extend(self.admission.finished(&name, kind));
            } else {
                self.start(&name, kind, cause);
            }
        }
    }

    /// Tells which databases have jobs that fail for lack of descriptors.
    pub(super) fn tell_who_starves(&mut self) {
        self.starving.retain(|(name, _)| self.keepers.contains_key(name));
        let names: BTreeSet<_> = self.starving.iter().map(|(name, _)| name.clone()).collect();
        self.readiness.starving(names.into_iter().collect());
    }

    /// Asks again for the jobs that were held back, of a database that is at hand.
    pub(super) fn resume(&mut self, name: &str) {
        let Some(keeper) = self.keepers.get_mut(name).filter(|keeper| keeper.is_at_hand()) else { return };
        let held_back = keeper.take(|_, slot| match slot {
            Slot::HeldBack(cause) => Some(*cause),
            _ => None,
        });
        for (kind, cause) in held_back {
            self.request(name, kind, cause);
        }
    }

    /// A run that waits for a disk which does not answer takes no place of the others, and none
    /// begins there.
    pub(super) fn make_way_for_silent_disks(&mut self) {
        for keeper in self.keepers.values_mut() {
            keeper.disk.judge();
        }
        let is_silent = |keeper: &&Keeper| keeper.disk.silent_since().is_some();
        let silent: BTreeSet<String> =
            self.keepers.values().filter(is_silent).map(|keeper| keeper.database.name.clone()).collect();
        if silent == *self.admission.silent() {
            return;
        }
        for name in silent.difference(self.admission.silent()) {
            tracing::error!(
                database = name,
                "the disk of the database, or of its backups, does not answer; its jobs wait until it does"
            );
        }
        let answering: Vec<String> = self.admission.silent().difference(&silent).cloned().collect();
        for name in answering.iter().filter(|name| self.keepers.contains_key(*name)) {
            tracing::info!(database = name, "the disk answers again");
        }
        self.readiness.silent(silent.iter().cloned().collect());
        let admitted = self.admission.set_silent(silent);
        self.start_admitted(admitted);
        for name in answering {
            self.resume(&name);
        }
    }
}
