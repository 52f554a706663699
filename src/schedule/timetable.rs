//! Every job of every database with its next run. Knows nothing of what is running or may run: that
//! is `admission`'s.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{calendar, jitter};
use crate::config::{Database, When};
use crate::terms::JobKind;
use crate::zone::Zone;

/// A clock that goes back by more than this was set; by less, it was disciplined.
const CLOCK_SET_BACK: TimeDelta = TimeDelta::seconds(5);

/// A run that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The database.
    pub database: String,
    /// The job.
    pub kind: JobKind,
    /// The instant that the schedule names, without jitter.
    pub due_at: DateTime<Utc>,
}

/// The next run of every job.
#[derive(Debug, Clone)]
pub struct Timetable {
    zone: Zone,
    jobs: BTreeMap<(String, JobKind), Job>,
    /// The latest time that [`Timetable::due`] was told.
    latest: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone)]
struct Job {
    when: When,
    next: Option<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    due_at: DateTime<Utc>,
    /// `due_at` and its jitter.
    starts_at: DateTime<Utc>,
}

impl Timetable {
    /// An empty one that reads schedules in `zone`.
    pub const fn new(zone: Zone) -> Self {
        Self { zone, jobs: BTreeMap::new(), latest: None }
    }

    /// Reads all schedules in another zone from now on.
    pub fn set_zone(&mut self, zone: Zone, now: DateTime<Utc>) {
        if zone != self.zone {
            self.zone = zone;
            self.recompute(now);
        }
    }

    /// Adds a database with the jobs `kinds`, or takes over its new configuration. A job whose
    /// schedule and jitter are as before keeps its next run, even one that is due this very second.
    pub fn set_database(&mut self, database: &Database, kinds: &[JobKind], now: DateTime<Utc>) {
        let name = &database.name;
        self.jobs.retain(|(of, kind), _| of != name || kinds.contains(kind));
        for &kind in kinds {
            let when = database.when(kind);
            let key = (name.clone(), kind);
            let same = |job: &Job| job.when.schedule == when.schedule && job.when.jitter == when.jitter;
            if !self.jobs.get(&key).is_some_and(same) {
                let next = next_run(self.zone, name, kind, when, now);
                self.jobs.insert(key, Job { when: when.clone(), next });
            }
        }
    }

    /// Forgets a database.
    pub fn remove_database(&mut self, database: &str) {
        self.jobs.retain(|(of, _), _| of != database);
    }

    /// Takes out what is due, earliest first, each job at most once however long the last call was
    /// ago (a suspended machine does not run what it slept through many times over).
    pub fn due(&mut self, now: DateTime<Utc>) -> Vec<Due> {
        if self.latest.is_some_and(|latest| now < latest - CLOCK_SET_BACK) {
            // Next runs reckoned by the wrong clock could be years away.
            self.latest = Some(now);
            self.recompute(now);
        }
        self.latest = self.latest.max(Some(now));
        let mut due = Vec::new();
        for ((database, kind), job) in &mut self.jobs {
            if let Some(run) = job.next.filter(|run| run.starts_at <= now) {
                due.push((
                    run.starts_at,
                    Due { database: database.clone(), kind: *kind, due_at: run.due_at },
                ));
                job.next = next_run(self.zone, database, *kind, &job.when, now);
            }
        }
        due.sort_by_key(|&(starts_at, _)| starts_at);
        due.into_iter().map(|(_, due)| due).collect()
    }

    /// When the job starts next, jitter included; `None` for an unknown job and for one that never
    /// runs.
    pub fn next_run(&self, database: &str, kind: JobKind) -> Option<DateTime<Utc>> {
        let job = self.jobs.get(&(database.to_owned(), kind))?;
        job.next.map(|run| run.starts_at)
    }

    fn recompute(&mut self, now: DateTime<Utc>) {
        for ((database, kind), job) in &mut self.jobs {
            job.next = next_run(self.zone, database, *kind, &job.when, now);
        }
    }
}

/// The first run that starts strictly after `now`. One that was due before and waits for its jitter
/// counts, so that a restart in that moment does not lose it.
fn next_run(zone: Zone, database: &str, kind: JobKind, when: &When, now: DateTime<Utc>) -> Option<Entry> {
    let jitter = TimeDelta::from_std(when.jitter).ok()?;
    let mut after = now.checked_sub_signed(jitter)?;
    loop {
        let due_at = calendar::next(&when.schedule, zone, after)?;
        let starts_at = due_at + jitter::offset(database, kind, due_at, when.jitter);
        if starts_at > now {
            return Some(Entry { due_at, starts_at });
        }
        after = due_at;
    }
}
