//! Who may start now. Holds what runs and what waits, as a value; must never start, stop or await anything.
//!
//! - An exclusive job (it writes, or reads for long) has its database for itself among exclusive jobs, and
//!   takes one of `width` places over all databases. Where it cannot start it waits in line; a job that waits
//!   for its database does not hold up those behind it that wait for another.
//! - A shared job (health, watch) starts at once, beside an exclusive one, and takes no place: it is short and
//!   only reads, and a long VACUUM of two databases must not blind the checks of all the others.
//! - A job that runs or waits already is skipped, never doubled.

use std::collections::{BTreeMap, VecDeque};

use crate::config::JobKind;

/// One run of one job, from its admission to its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The database.
    pub database: String,
    /// The job.
    pub kind: JobKind,
    /// Whether it excludes the other exclusive jobs of its database.
    pub exclusive: bool,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
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
    width: usize,
    /// Whether the run is exclusive, by database and job.
    running: BTreeMap<(String, JobKind), bool>,
    /// Exclusive runs, first come first. Between calls none of them could start.
    waiting: VecDeque<Ticket>,
}

impl Admission {
    /// With places for `width` exclusive jobs at the same time; at least 1.
    pub fn new(width: usize) -> Self {
        Self { width: width.max(1), running: BTreeMap::new(), waiting: VecDeque::new() }
    }

    /// Asks to start a job.
    pub fn request(&mut self, database: &str, kind: JobKind, exclusive: bool) -> Verdict {
        let waits = self.waiting.iter().any(|t| t.kind == kind && t.database == database);
        if waits || self.running.contains_key(&(database.to_owned(), kind)) {
            return Verdict::Skipped;
        }
        if exclusive && !self.has_place_for(database) {
            self.waiting.push_back(Ticket { database: database.to_owned(), kind, exclusive });
            return Verdict::Queued;
        }
        self.running.insert((database.to_owned(), kind), exclusive);
        Verdict::Start
    }

    /// A run has ended: returns those to start now.
    pub fn finished(&mut self, database: &str, kind: JobKind) -> Vec<Ticket> {
        self.running.remove(&(database.to_owned(), kind));
        self.admit()
    }

    /// Changes the number of places (at least 1): returns those to start now. What runs beyond a smaller
    /// number goes on to its end.
    pub fn set_width(&mut self, width: usize) -> Vec<Ticket> {
        self.width = width.max(1);
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
            if self.has_place_for(&ticket.database) {
                self.running.insert((ticket.database.clone(), ticket.kind), ticket.exclusive);
                start.push(ticket);
            } else {
                self.waiting.push_back(ticket);
            }
        }
        start
    }

    fn has_place_for(&self, database: &str) -> bool {
        let mut exclusive = self.running.iter().filter(|&(_, &exclusive)| exclusive).map(|(key, _)| key);
        exclusive.clone().count() < self.width && exclusive.all(|(of, _)| of != database)
    }
}
