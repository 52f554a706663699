//! The backups of one database in a store: what there is, which are good, and the order in which their files
//! are written and removed. Must never touch a file that it did not name, and never count a backup as good
//! that is not known to be whole.
//!
//! A backup is its data file and its manifest, which is written before the data gets its name and removed after it.
//! Until the data has been read back, the manifest says that it does not count yet. So at every moment, and after any
//! crash, one that counts is whole, and a file without a manifest is not one that was made here.

pub(super) mod backup;
pub(super) mod inventory;
pub(super) mod manifest;
pub(super) mod name;
mod read_back;
pub mod rotation;
mod transfer;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use self::backup::{Backup, Made, State, judge};
use self::manifest::{Manifest, Snapshot, Verification, Written};
use self::name::BackupName;
use super::codec::{self, Compressor, Encoding, Sums};
use super::pace::Paced;
use super::{Added, Content, Entry, Lock, Put, Store};
use crate::clock;
use crate::config::Compression;
use crate::error::{Class, Error, Reason, Result};
use crate::terms::progress::Watch;

/// More than any manifest has: one that claims to be longer is not one.
const MAX_MANIFEST: u64 = 64 << 20;

/// A manifest without its file is left over when it is older than this.
const LEFT_OVER_AFTER: TimeDelta = TimeDelta::days(1);

/// How far names may be ahead of the time because several backups began in one second, or the clock was put right.
const AHEAD: TimeDelta = TimeDelta::minutes(1);

/// The backups of one database.
#[derive(Clone)]
pub struct Catalogue {
    database: String,
    store: Arc<dyn Store>,
    /// Manifests read before, by file and version: a place that tells versions is one where each look costs.
    read: Arc<Mutex<HashMap<(String, String), Manifest>>>,
}

impl Catalogue {
    /// The backups of `database` in `store`.
    pub fn new(database: &str, store: Arc<dyn Store>) -> Self {
        Self { database: database.to_owned(), store, read: Arc::default() }
    }

    /// Where they lie, for messages: a path or a URL.
    pub fn place(&self) -> String {
        self.store.place()
    }

    /// Whose they are.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// The place itself.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Bytes that may still be written there; `None` where there is no such limit.
    pub fn free_bytes(&self) -> Result<Option<u64>> {
        self.store.free_bytes()
    }

    /// All backups, the newest name first.
    pub fn list(&self) -> Result<Vec<Backup>> {
        let entries = self.store.list()?;
        let files: HashMap<&str, &Entry> = entries.iter().map(|e| (e.name.as_str(), e)).collect();
        let ours = entries.iter().filter_map(|e| Some((e, BackupName::parse(&e.name, &self.database)?)));
        let mut backups: Vec<Backup> = ours
            .map(|(entry, name)| self.load(entry, &name, files.get(name.manifest().as_str()).copied()))
            .collect();
        backups.sort_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
        Ok(backups)
    }

    /// The newest good backup.
    pub fn latest(&self) -> Result<Option<Backup>> {
        Ok(newest(self.list()?))
    }

    /// The newest backup of what the database held, sound or not.
    pub fn latest_of_any_state(&self) -> Result<Option<Backup>> {
        let is_one = |backup: &Backup| backup.is_good() || backup.is_of_damaged_database();
        Ok(self.list()?.into_iter().filter(is_one).max_by_key(Backup::age))
    }

    /// The newest good backup that began at `time` or before.
    pub fn at(&self, time: DateTime<Utc>) -> Result<Backup> {
        let all = self.list()?;
        newest(all.into_iter().filter(|b| b.time <= time).collect()).ok_or_else(|| {
            let time = time.format("%Y-%m-%d %H:%M:%S UTC");
            self.missing(&format!("no good backup of {} was begun at {time} or before", self.database))
        })
    }

    /// The backup that `selector` names: `latest` (the newest good one), a file name, one without its suffix,
    /// or the beginning of a time that only one has: `2026-11-23`, `20261123T05`.
    pub fn find(&self, selector: &str) -> Result<Backup> {
        if selector == "latest" {
            let none = || self.missing(&format!("there is no good backup of {}", self.database));
            return self.latest()?.ok_or_else(none);
        }
        let stamp: String =
            selector.chars().filter(|c| !matches!(c, '-' | ':')).collect::<String>().replace(' ', "T");
        let names = |b: &Backup| BackupName::parse(&b.name, &self.database);
        let exact = |b: &Backup| b.name == selector || names(b).is_some_and(|n| n.stem() == selector);
        let begins =
            |b: &Backup| !stamp.is_empty() && names(b).is_some_and(|n| n.stamp().starts_with(&stamp));

        let all = self.list()?;
        let mut found: Vec<Backup> = all.iter().filter(|b| exact(b)).cloned().collect();
        if found.is_empty() {
            found = all.into_iter().filter(begins).collect();
        }
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(self.missing(&format!("{} has no backup {selector:?}", self.database))),
            (Some(last), false) => {
                found.push(last);
                let names: Vec<&str> = found.iter().map(|b| b.name.as_str()).collect();
                Err(Error::new(
                    Reason::NotFound,
                    format!("{selector:?} could be any of {} backups: {}", names.len(), names.join(", ")),
                ))
            }
        }
    }

    /// What is to be done before a backup is made, and takes its time: leftovers are removed, and backups of runs that
    /// were killed are read back. To be called where nobody else makes a backup of this database.
    pub fn prepare(&self, watch: &dyn Watch) -> Result<()> {
        self.sweep()?;
        self.confirm_left_over(None, watch)
    }

    /// Makes a backup begun at `started`: `write` writes the pages and says what it saw. The stored file is read back
    /// before it counts. On any error nothing is left, but for one while it is read back, which the next run does
    /// again; one that `watch` has ends the work within a moment. Where a
    /// backup of that second exists, the name takes the next free second. Nothing is made where the pages are
    /// those that `unless` holds.
    pub fn add(
        &self,
        started: DateTime<Utc>,
        encoding: Encoding,
        unless: Option<Backup>,
        watch: &dyn Watch,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<Snapshot>,
    ) -> Result<Added> {
        let name = self.free_name(started, encoding.compression)?;
        let file = name.file();
        let mut made: Option<(Manifest, Lock)> = None;
        let put = self.store.put(&file, &mut |out| {
            let (snapshot, sums) = pack(&file, out, encoding, watch, write)?;
            let known = unless.as_ref().and_then(|known| known.manifest.as_ref());
            if known.is_some_and(|known| known.holds(&sums.raw)) {
                return Ok(Content::Same);
            }
            // Others wait for the lock below, not for a slow place.
            out.flush().map_err(|e| Error::io(format!("cannot write {file}"), &e))?;
            // Until the file has its name: nobody must take the manifest for a leftover, nor its number.
            let edit = self.store.edit()?;
            self.check_free(&name)?;
            let sequence = next_sequence(&self.list()?, started);
            let written = Written {
                database: &self.database,
                file: &file,
                sequence,
                started,
                finished: clock::now(),
                compression: encoding.compression,
                raw: sums.raw,
                stored: sums.stored,
            };
            let manifest = Manifest::new(snapshot, written);
            let json = manifest.to_json()?;
            made = Some((manifest, edit));
            self.store.replace(&name.manifest(), &json)?;
            Ok(Content::New)
        });
        match (put, made) {
            (Ok(Put::Same), _) => unless.map(Added::Same).ok_or_else(|| self.without_content(&file)),
            (Ok(Put::Made(size)), Some((manifest, edit))) => {
                let state = State::Unconfirmed;
                let backup = Backup { name: file, time: name.time, size, state, manifest: Some(manifest) };
                let began = Instant::now();
                let confirmed = self.hold(&backup).and_then(|held| {
                    // Only now may others look for backups that a killed run left.
                    drop(edit);
                    self.confirm(&backup, &held, watch)
                });
                let read_back = began.elapsed();
                confirmed.map(|backup| Added::Made(Made { backup, read_back })).map_err(|error| {
                    if error.class() == Class::Cancelled {
                        return error
                            .context(format!("{} was not read back; the next run does it", backup.name));
                    }
                    match self.discard(&backup) {
                        Ok(()) => error,
                        // It still does not count.
                        Err(left) => error.context(format!("{} could not be removed ({left})", backup.name)),
                    }
                })
            }
            (Ok(Put::Made(_)), None) => Err(self.without_content(&file)),
            (Err(e), made) => {
                if made.is_some() {
                    // If even that fails, a later run sweeps it away.
                    let _ = self.store.delete(&name.manifest());
                }
                Err(e)
            }
        }
    }

    fn without_content(&self, file: &str) -> Error {
        Error::new(Reason::Io, format!("{} made {file} without its content", self.store.place()))
    }

    /// Removes manifests whose file is not there: a run was killed while it made or removed a backup. Not the young
    /// ones, whose file may be on its way from elsewhere.
    fn sweep(&self) -> Result<()> {
        let _edit = self.store.edit()?;
        let entries = self.store.list()?;
        let names: HashSet<&str> = entries.iter().map(|e| e.name.as_str()).collect();
        for entry in entries.iter().filter(|e| clock::now() - e.modified > LEFT_OVER_AFTER) {
            let Some(stem) = entry.name.strip_suffix(".json") else { continue };
            let files = Compression::ALL.map(|packed| format!("{stem}.sqlite{}", codec::suffix(packed)));
            let is_ours = BackupName::parse(&files[0], &self.database).is_some();
            if is_ours && !files.iter().any(|file| names.contains(file.as_str())) {
                self.store.delete(&entry.name)?;
            }
        }
        Ok(())
    }

    /// Keeps rotation away from a backup for longer than one [`Catalogue::read`].
    pub fn hold(&self, backup: &Backup) -> Result<Lock> {
        self.store.hold(&backup.name)
    }

    /// Whether somebody holds or reads it now.
    pub fn in_use(&self, backup: &Backup) -> Result<bool> {
        self.store.is_held(&backup.name)
    }

    /// Pins or unpins a backup.
    pub fn pin(&self, backup: &Backup, pinned: bool) -> Result<Backup> {
        self.change(backup, |m| m.pinned = pinned)
    }

    /// Notes that the database still held at `until` what the backup holds.
    pub fn current(&self, backup: &Backup, until: DateTime<Utc>) -> Result<Backup> {
        self.change(backup, |m| m.current_until = Some(until))
    }

    /// Notes the result of a verification.
    pub fn verified(&self, backup: &Backup, result: &Verification) -> Result<Backup> {
        self.change(backup, |m| m.verification = Some(result.clone()))
    }

    /// Notes that a backup was found damaged, so that rotation, and whoever restores next, takes it for that.
    pub fn found_damaged(&self, backup: &Backup, error: &Error) -> Result<Backup> {
        let message = error.message.clone();
        self.verified(backup, &Verification { started: None, at: clock::now(), ok: false, message })
    }

    /// The same of one that was not damaged here: it holds what a damaged database holds, of which `what` is wrong.
    pub fn found_of_damaged_database(
        &self,
        backup: &Backup,
        what: &str,
        started: Option<DateTime<Utc>>,
    ) -> Result<Backup> {
        let message = what.to_owned();
        self.change(backup, |manifest| {
            manifest.damage = Some(message.clone());
            manifest.verification = Some(Verification { started, at: clock::now(), ok: false, message });
        })
    }

    /// Removes a backup, as it was seen. [`Reason::Locked`] while it is in use; [`Reason::Refused`] when it has
    /// changed since, for it may have been pinned or verified.
    pub fn remove(&self, seen: &Backup) -> Result<()> {
        self.remove_if(seen, || Ok(true))
    }

    /// The same where `still` says so, asked while nobody else can change what the backups say together;
    /// [`Reason::Refused`] where it does not.
    pub(super) fn remove_if(&self, seen: &Backup, still: impl FnOnce() -> Result<bool>) -> Result<()> {
        let _edit = self.store.edit()?;
        if !still()? {
            return Err(Error::new(
                Reason::Refused,
                format!("{} is needed now; it is not removed", seen.name),
            ));
        }
        let now = self.again(seen)?;
        if now != *seen || now.manifest.as_ref().is_some_and(|m| m.pinned) {
            let why = if now == *seen { "is pinned" } else { "has changed since it was looked at" };
            return Err(Error::new(Reason::Refused, format!("{} {why}; it is not removed", seen.name)));
        }
        let Some(_claim) = self.store.claim(&seen.name)? else {
            return Err(Error::new(
                Reason::Locked,
                format!("{} is being restored or verified; it is not removed", seen.name),
            ));
        };
        self.store.delete(&seen.name)?;
        self.delete_manifest(seen)
    }

    fn delete_manifest(&self, backup: &Backup) -> Result<()> {
        let Some(name) = BackupName::parse(&backup.name, &self.database) else { return Ok(()) };
        match self.store.delete(&name.manifest()) {
            Err(e) if e.reason != Reason::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Removes what is of no use to anybody, in use or not.
    pub(super) fn discard(&self, backup: &Backup) -> Result<()> {
        self.store.delete(&backup.name)?;
        self.delete_manifest(backup)
    }

    /// Reads the file of a backup as it is stored.
    pub(super) fn stored(&self, backup: &Backup) -> Result<Box<dyn Read + Send>> {
        self.store.get(&backup.name)
    }

    pub(super) fn change(&self, backup: &Backup, change: impl FnOnce(&mut Manifest)) -> Result<Backup> {
        let _edit = self.store.edit()?;
        let now = self.again(backup)?;
        let name = BackupName::parse(&now.name, &self.database);
        let (Some(mut manifest), Some(name)) = (now.manifest, name) else {
            return Err(Error::new(Reason::Refused, format!("{} cannot be marked: {}", now.name, now.state)));
        };
        change(&mut manifest);
        self.store.replace(&name.manifest(), &manifest.to_json()?)?;
        self.again(backup)
    }

    /// The backup as it is now.
    fn again(&self, backup: &Backup) -> Result<Backup> {
        let gone = || self.missing(&format!("{} is not there any more", backup.name));
        self.list()?.into_iter().find(|b| b.name == backup.name).ok_or_else(gone)
    }

    /// A name whose second no backup and no manifest has. Where names are already [a little ahead](AHEAD) of the time, it goes
    /// after them, though one between them was removed: a copy elsewhere may still have that.
    pub(super) fn free_name(&self, started: DateTime<Utc>, compression: Compression) -> Result<BackupName> {
        let entries = self.store.list()?;
        let mut name = BackupName::new(&self.database, started, compression);
        let names = entries.iter().filter_map(|entry| BackupName::parse(&entry.name, &self.database));
        let ahead =
            names.map(|other| other.time).filter(|time| (name.time..name.time + AHEAD).contains(time));
        if let Some(last) = ahead.max() {
            name.time = last + TimeDelta::seconds(1);
        }
        while is_taken(&entries, &name) {
            name.time += TimeDelta::seconds(1);
        }
        Ok(name)
    }

    /// Refuses a name that another machine took meanwhile: its manifest must not be overwritten. To be asked while
    /// [`Store::edit`] is held.
    pub(super) fn check_free(&self, name: &BackupName) -> Result<()> {
        if !is_taken(&self.store.list()?, name) {
            return Ok(());
        }
        let (stem, place) = (name.stem(), self.store.place());
        let text = format!(
            "{stem} was made in {place} by somebody else just now; give each machine a place of its own"
        );
        Err(Error::new(Reason::Refused, text))
    }

    fn load(&self, entry: &Entry, name: &BackupName, manifest: Option<&Entry>) -> Backup {
        let read = manifest.map(|manifest| self.manifest(manifest));
        let (state, manifest) = match read {
            None => (State::Incomplete, None),
            Some(Ok(m)) => (judge(&m, entry), Some(m)),
            Some(Err(e)) if e.reason == Reason::Damaged => (State::Damaged(e.message), None),
            Some(Err(e)) => (State::Unknown(e.message), None),
        };
        Backup { name: entry.name.clone(), time: name.time, size: entry.size, state, manifest }
    }

    fn manifest(&self, entry: &Entry) -> Result<Manifest> {
        let file = &entry.name;
        let key = entry.version.clone().map(|version| (file.clone(), version));
        // Whoever panicked was only looking or adding.
        let known = || self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(manifest) = key.as_ref().and_then(|key| known().get(key).cloned()) {
            return Ok(manifest);
        }
        let mut json = Vec::new();
        let read = self.store.get(file)?.take(MAX_MANIFEST).read_to_end(&mut json);
        read.map_err(|e| Error::io(format!("cannot read {file}"), &e))?;
        let manifest = Manifest::parse(&json)?;
        if let Some(key) = key {
            known().insert(key, manifest.clone());
        }
        Ok(manifest)
    }

    fn missing(&self, what: &str) -> Error {
        Error::new(
            Reason::NotFound,
            format!("{what}; `litekeeper backups {}` lists those in {}", self.database, self.store.place()),
        )
    }
}

fn newest(backups: Vec<Backup>) -> Option<Backup> {
    backups.into_iter().filter(Backup::is_good).max_by_key(Backup::age)
}

/// By the stem: the suffixes share a manifest.
fn is_taken(entries: &[Entry], name: &BackupName) -> bool {
    let stem = name.stem();
    entries.iter().any(|e| e.name.strip_prefix(&stem).is_some_and(|rest| rest.starts_with('.')))
}

/// One more than the highest there is, and no less than the time: a directory that begins anew must not fall behind
/// copies elsewhere, which have the old numbers. A manifest that cannot be read now may have the highest: numbers are left free for
/// it, so that no two backups have the same, of which the wrong one might be taken for the newer.
fn next_sequence(backups: &[Backup], started: DateTime<Utc>) -> u64 {
    let highest = backups.iter().filter_map(|b| b.manifest.as_ref()).map(|m| m.sequence).max();
    let hidden = backups.iter().filter(|b| b.manifest.is_none()).count() as u64;
    let next = highest.unwrap_or(0).saturating_add(hidden).saturating_add(1);
    next.max(u64::try_from(started.timestamp()).unwrap_or(0))
}

/// Packs what `write` writes, at the pace that is allowed.
fn pack(
    file: &str,
    out: &mut dyn Write,
    encoding: Encoding,
    watch: &dyn Watch,
    write: &mut dyn FnMut(&mut dyn Write) -> Result<Snapshot>,
) -> Result<(Snapshot, Sums)> {
    let failed = |e: io::Error| Error::io(format!("cannot write {file}"), &e);
    let mut stopped = None;
    let packed = Compressor::new(Paced::new(out, encoding.max_rate, watch, &mut stopped), encoding);
    let done = packed.map_err(failed).and_then(|mut packed| {
        let snapshot = write(&mut packed)?;
        Ok((snapshot, packed.finish().map_err(failed)?))
    });
    done.map_err(|error| stopped.unwrap_or(error))
}
