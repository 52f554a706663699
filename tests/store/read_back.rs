//! A backup counts once it was read back as it was written.

use super::fixture::{GZIP, PLAIN, Place, ZSTD, at, x};
use litekeeper::config::Keep;
use litekeeper::error::{Error, Reason, Result};
use litekeeper::store::{Backup, Catalogue, Content, Entry, Local, Lock, Put, State, Store};
use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A store whose disk says that all is well and has one bit of each backup wrong.
struct Lies(Local);

impl Store for Lies {
    fn place(&self) -> String {
        self.0.place()
    }
    fn put(&self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> Result<Content>) -> Result<Put> {
        self.0.put(name, &mut |out| {
            let mut bytes = Vec::new();
            let content = write(&mut bytes)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            out.write_all(&bytes).map(|()| content).map_err(|e| Error::io("cannot write", &e))
        })
    }
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.0.replace(name, bytes)
    }
    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        self.0.get(name)
    }
    fn entry(&self, name: &str) -> Result<Option<Entry>> {
        self.0.entry(name)
    }
    fn list(&self) -> Result<Vec<Entry>> {
        self.0.list()
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.0.delete(name)
    }
    fn free_bytes(&self) -> Result<Option<u64>> {
        self.0.free_bytes()
    }
    fn hold(&self, name: &str) -> Result<Lock> {
        self.0.hold(name)
    }
    fn claim(&self, name: &str) -> Result<Option<Lock>> {
        self.0.claim(name)
    }
    fn edit(&self) -> Result<Lock> {
        self.0.edit()
    }
}

#[test]
fn a_backup_that_does_not_read_back_as_it_was_written_fails_and_leaves_nothing() {
    let place = Place::new();
    let before = place.add("2026-11-23T04:00:00", b"x");
    for encoding in [GZIP, ZSTD, PLAIN] {
        let lies = Catalogue::new("app", Arc::new(Lies(Local::open(place.base.path(), "app").unwrap())));
        let error = lies.add(at("2026-11-23T05:00:00"), encoding, None, &|| Ok(()), &mut x).unwrap_err();
        assert_eq!(error.reason, Reason::Damaged);
        assert!(error.message.contains("does not read back as it was written"), "{error}");
        assert_eq!(place.files().len(), 2, "{:?}", place.files());
        assert_eq!(place.listed(), [(before.name.clone(), true)]);
    }
}

/// Puts a backup back to what it is between getting its name and being read back.
fn unconfirm(place: &Place, backup: &Backup) {
    let json = place.path(&backup.name.replace("sqlite.gz", "json"));
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert!(manifest.get("unconfirmed").is_none(), "one that counts says nothing of it: {manifest}");
    manifest["unconfirmed"] = true.into();
    fs::write(json, manifest.to_string()).unwrap();
}

#[test]
fn a_backup_counts_only_once_it_was_read_back_which_the_next_run_does_for_one_that_was_killed() {
    let place = Place::new();
    let [whole, altered, read] = [5, 6, 7].map(|hour| place.add(&format!("2026-11-23T0{hour}:00:00"), b"x"));
    for backup in [&whole, &altered, &read] {
        unconfirm(&place, backup);
    }
    let mut bytes = fs::read(place.path(&altered.name)).unwrap();
    bytes[12] ^= 1;
    fs::write(place.path(&altered.name), bytes).unwrap();
    let states = || place.catalogue.list().unwrap().into_iter().map(|b| b.state).collect::<Vec<_>>();
    assert_eq!(states(), [State::Unconfirmed, State::Unconfirmed, State::Unconfirmed]);
    assert_eq!(place.catalogue.latest().unwrap(), None);
    let nothing = Keep { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 };
    let planned = place.catalogue.plan(&nothing, litekeeper::zone::Zone::UTC).unwrap();
    assert!(planned.iter().all(|(_, decision)| decision.keep), "{planned:?}");

    // Somebody reads it: perhaps the run that made it.
    let reader = place.catalogue.hold(&read).unwrap();
    let next = place.add("2026-11-23T08:00:00", b"x");
    let good = |backup: &Backup| (backup.name.clone(), true);
    assert_eq!(place.listed(), [good(&next), (read.name.clone(), false), good(&whole)]);
    drop(reader);
    let last = place.add("2026-11-23T09:00:00", b"x");
    assert_eq!(place.listed(), [good(&last), good(&next), good(&read), good(&whole)]);
    assert_eq!(place.files().len(), 8, "{:?}", place.files());
}

#[test]
fn a_run_that_is_stopped_while_it_reads_back_leaves_what_the_next_one_counts_and_before_that_nothing() {
    let place = Place::new();
    // The last look at whether to go on is the one after the last byte that was read back.
    let looks = AtomicU64::new(0);
    let count = || {
        looks.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    let made = place
        .catalogue
        .add(at("2026-11-23T05:00:00"), GZIP, None, &count, &mut x)
        .unwrap()
        .made()
        .unwrap()
        .backup;
    place.catalogue.remove(&made).unwrap();
    let mut read_back = 0;
    for stop_at in 1..=looks.into_inner() {
        let look = AtomicU64::new(0);
        let go_on = || {
            let now = look.fetch_add(1, Ordering::SeqCst) + 1;
            if now < stop_at { Ok(()) } else { Err(Error::new(Reason::Cancelled, "told to stop")) }
        };
        let stopped = place.catalogue.add(at("2026-11-23T05:00:00"), GZIP, None, &go_on, &mut x);
        assert_eq!(stopped.unwrap_err().reason, Reason::Cancelled, "at look {stop_at}");
        for left in place.catalogue.list().unwrap() {
            assert_eq!(left.state, State::Unconfirmed, "at look {stop_at}");
            read_back += 1;
            place.catalogue.prepare(&|| Ok(())).unwrap();
            let counted = place.catalogue.latest().unwrap().unwrap();
            assert_eq!(counted.name, left.name);
            place.catalogue.remove(&counted).unwrap();
        }
        assert_eq!(place.files(), Vec::<String>::new(), "at look {stop_at}");
    }
    assert!(read_back > 0, "none was stopped while it read back");
}
