//! What was last seen where backups lie. Of each place, the manifests that were read, so that a
//! look reads those that have changed. Of buckets, all of it: a look there costs requests, money
//! and an unknown time, so it is taken in the background, and seldom. Must never hold up whoever
//! asks, but for the moment in which nothing is known yet.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::store::{Catalogue, Inventory, Manifests};

/// What is seen is at most this old, and what this process did not do itself is noticed as late.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// How long somebody waits who asks for what nobody has seen yet, of however many places.
pub(super) const FIRST_LOOK: Duration = Duration::from_secs(5);

/// What was seen, by place.
#[derive(Clone, Default)]
pub struct Remote(Arc<Inner>);

#[derive(Default)]
struct Inner {
    seen: Mutex<HashMap<String, Sighting>>,
    changed: Condvar,
    manifests: Mutex<HashMap<String, Arc<Manifests>>>,
}

#[derive(Default)]
struct Sighting {
    known: Option<Result<Inventory>>,
    /// Kept from look to look, with its connections.
    catalogue: Option<Catalogue>,
    /// When the look began; `None`: look again.
    at: Option<Instant>,
    looking: bool,
}

impl Remote {
    /// The manifests that were read in `place`.
    pub fn manifests(&self, place: &str) -> Arc<Manifests> {
        let mut all = self.0.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(place.to_owned()).or_default())
    }

    /// Begins a look at `place` where the last one is too old.
    pub fn look(&self, place: &str, open: impl FnOnce() -> Result<Catalogue> + Send + 'static) {
        let mut all = self.lock();
        let seen = all.entry(place.to_owned()).or_default();
        if seen.looking || seen.at.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        (seen.looking, seen.at) = (true, Some(Instant::now()));
        let (this, of, kept) = (self.clone(), place.to_owned(), seen.catalogue.take());
        drop(all);
        let look = move || {
            let opened = kept.map_or_else(open, Ok);
            let known = opened.as_ref().map_err(Clone::clone).and_then(|c| c.known(clock::now()));
            this.saw(of, known, opened.ok());
        };
        if let Err(error) = std::thread::Builder::new().name("buckets".into()).spawn(look) {
            self.saw(place.to_owned(), Err(Error::io("cannot start a thread", &error)), None);
        }
    }

    fn saw(&self, place: String, known: Result<Inventory>, catalogue: Option<Catalogue>) {
        let mut all = self.lock();
        let seen = all.entry(place).or_default();
        (seen.looking, seen.known, seen.catalogue) = (false, Some(known), catalogue);
        drop(all);
        self.0.changed.notify_all();
    }

    /// What is known of the backups in `place`. Where nobody has seen anything yet, waits for that
    /// until the time of `until`.
    pub fn known(&self, place: &str, until: Instant) -> Result<Inventory> {
        let is_unknown =
            |all: &mut HashMap<String, Sighting>| all.get(place).is_none_or(|seen| seen.known.is_none());
        let patience = until.saturating_duration_since(Instant::now());
        let waited = self.0.changed.wait_timeout_while(self.lock(), patience, is_unknown);
        let (all, _) = waited.unwrap_or_else(PoisonError::into_inner);
        all.get(place)
            .and_then(|seen| seen.known.clone())
            .unwrap_or_else(|| Err(Error::new(Reason::Io, format!("{place} has not answered yet"))))
    }

    /// Something was done in `place`, or is over: what was seen there counts no more.
    pub fn look_again(&self, is_meant: impl Fn(&str) -> bool) {
        for (_, seen) in self.lock().iter_mut().filter(|(place, _)| is_meant(place)) {
            seen.at = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Sighting>> {
        // Whoever panicked was only reading or writing one value.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
