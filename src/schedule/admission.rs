//! Who may start now. Holds what runs and what waits, as a value; must never start, stop or await
//! anything.
//!
//! - An exclusive job has its database for itself among exclusive jobs.
//! - A heavy job takes one of `width` places over all databases, and one of `per_disk` on the disk
//!   of its database.
//! - Where a job cannot start it waits in line; one that waits for its database or its disk does
//!   not hold up those behind it that wait for another.
//! - A job that is neither (health, watch) takes one of [`LIGHT`] places of its own: it is short and
//!   only reads, and a long VACUUM of two databases must not blind the checks of all the others.
//!   Not more at once: where hundreds of databases have one schedule, each job would take its
//!   thread, its connection and its descriptors in the same second.
//! - A job that runs or waits already is skipped, never doubled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config::Daemon;
use crate::terms::JobKind;

/// Light jobs over all databases. A second is enough for hundreds of them.
pub const LIGHT: usize = 32;

/// The device that a file lies on (`st_dev`). A disk with several filesystems counts as several.
pub type Disk = u64;

/// What a job takes for itself while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Its database, among exclusive jobs.
    pub exclusive: bool,
    /// A place, and one on its disk.
    pub heavy: bool,
    /// The disk of its database; `None` where that cannot be told, which then counts for no disk.
    pub disk: Option<Disk>,
}

/// One run of one job, from its admission to its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The database.
    pub database: String,
    /// The job.
    pub kind: JobKind,
    /// What it takes.
    pub claim: Claim,
}

/// How many heavy jobs there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    /// Over all databases; at least 1.
    pub all: usize,
    /// On one disk; 0: no limit.
    pub per_disk: usize,
}

impl Width {
    /// As configured.
    pub const fn of(daemon: &Daemon) -> Self {
        Self { all: daemon.parallel_jobs, per_disk: daemon.jobs_per_disk }
    }
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start it now; it counts as running until [`Admission::finished`].
    Start,
    /// It waits; a later call returns its ticket.
    Queued,
    /// The same job of the same database runs or waits already.
    Skipped,
}

/// What runs and what waits.
#[derive(Debug, Clone)]
pub struct Admission {
    width: Width,
    /// What each run takes, by database and job.
    running: BTreeMap<(String, JobKind), Claim>,
    /// First come first. Between calls none of them could start.
    waiting: VecDeque<Ticket>,
    /// Databases whose disk does not answer: their runs, which only wait, take no place of others.
    silent: BTreeSet<String>,
}

impl Admission {
    /// With places for `width` heavy jobs at the same time.
    pub const fn new(width: Width) -> Self {
        Self { width, running: BTreeMap::new(), waiting: VecDeque::new(), silent: BTreeSet::new() }
    }

    /// Asks to start a job.
    pub fn request(&mut self, database: &str, kind: JobKind, claim: Claim) -> Decision {
        let waits = self.waiting.iter().any(|t| t.kind == kind && t.database == database);
        if waits || self.running.contains_key(&(database.to_owned(), kind)) {
            return Decision::Skipped;
        }
        if !self.has_place_for(database, claim) {
            self.waiting.push_back(Ticket { database: database.to_owned(), kind, claim });
            return Decision::Queued;
        }
        self.running.insert((database.to_owned(), kind), claim);
        Decision::Start
    }

    /// A run has ended: returns those to start now.
    pub fn finished(&mut self, database: &str, kind: JobKind) -> Vec<Ticket> {
        self.running.remove(&(database.to_owned(), kind));
        self.admit()
    }

    /// Changes the number of places: returns those to start now. What runs beyond a smaller number
    /// goes on to its end.
    pub fn set_width(&mut self, width: Width) -> Vec<Ticket> {
        self.width = width;
        self.admit()
    }

    /// The databases whose disk does not answer.
    pub const fn silent(&self) -> &BTreeSet<String> {
        &self.silent
    }

    /// Changes which those are: returns the runs to start now.
    pub fn set_silent(&mut self, silent: BTreeSet<String>) -> Vec<Ticket> {
        self.silent = silent;
        self.admit()
    }

    /// Takes the waiting runs of a database out of the line and returns them. What runs stays until
    /// [`Admission::finished`].
    pub fn remove_database(&mut self, database: &str) -> Vec<Ticket> {
        let (gone, stay): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|t| t.database == database);
        self.waiting = stay.into();
        gone
    }

    /// What runs, by database and job.
    pub fn running(&self) -> impl Iterator<Item = (&str, JobKind)> {
        self.running.keys().map(|(database, kind)| (database.as_str(), *kind))
    }

    /// What waits, in the order of its requests.
    pub fn queued(&self) -> impl Iterator<Item = (&str, JobKind)> {
        self.waiting.iter().map(|t| (t.database.as_str(), t.kind))
    }

    fn admit(&mut self) -> Vec<Ticket> {
        let mut start = Vec::new();
        for ticket in std::mem::take(&mut self.waiting) {
            if self.has_place_for(&ticket.database, ticket.claim) {
                self.running.insert((ticket.database.clone(), ticket.kind), ticket.claim);
                start.push(ticket);
            } else {
                self.waiting.push_back(ticket);
            }
        }
        start
    }

    fn has_place_for(&self, database: &str, claim: Claim) -> bool {
        let at_work = self.running.iter().filter(|((of, _), _)| !self.silent.contains(of));
        let heavy = || at_work.clone().map(|(_, other)| other).filter(|other| other.heavy);
        let beside = || heavy().filter(|other| other.disk.is_some() && other.disk == claim.disk).count();
        let database_is_taken =
            || self.running.iter().any(|((of, _), other)| other.exclusive && of == database);
        let light = || at_work.clone().filter(|(_, other)| !other.heavy).count();
        let has_disk = || self.width.per_disk == 0 || beside() < self.width.per_disk;
        !(claim.exclusive && database_is_taken())
            && if claim.heavy {
                heavy().count() < self.width.all.max(1) && has_disk()
            } else {
                light() < LIGHT
            }
    }
}
