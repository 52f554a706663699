//! What is made or removed in several steps, and is cut short between two of them.

use super::fixture::{GZIP, Place, at, snapshot};
use litekeeper::error::{Error, Reason, Result};
use litekeeper::store::{Backup, Catalogue, Content, Entry, Local, Lock, Put, State, Store};
use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;

/// A store in which one kind of step fails, as when the process ends just before it.
struct Breaks {
    inner: Local,
    delete_of: &'static str,
    replace: bool,
    put: bool,
}

impl Store for Breaks {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn put(&self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> Result<Content>) -> Result<Put> {
        if !self.put {
            return self.inner.put(name, write);
        }
        self.inner.put(name, &mut |out| write(out).and(Err(Error::new(Reason::Io, "broken"))))
    }
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.replace { Err(Error::new(Reason::Io, "broken")) } else { self.inner.replace(name, bytes) }
    }
    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        self.inner.get(name)
    }
    fn entry(&self, name: &str) -> Result<Option<Entry>> {
        self.inner.entry(name)
    }
    fn list(&self) -> Result<Vec<Entry>> {
        self.inner.list()
    }
    fn delete(&self, name: &str) -> Result<()> {
        if name.ends_with(self.delete_of) {
            return Err(Error::new(Reason::Io, "broken"));
        }
        self.inner.delete(name)
    }
    fn free_bytes(&self) -> Result<Option<u64>> {
        self.inner.free_bytes()
    }
    fn hold(&self, name: &str) -> Result<Lock> {
        self.inner.hold(name)
    }
    fn claim(&self, name: &str) -> Result<Option<Lock>> {
        self.inner.claim(name)
    }
    fn edit(&self) -> Result<Lock> {
        self.inner.edit()
    }
}

impl Place {
    fn breaks(&self, delete_of: &'static str, replace: bool) -> Breaks {
        let inner = Local::open(self.base.path(), "app").unwrap();
        Breaks { inner, delete_of, replace, put: false }
    }

    fn breaking(&self, delete_of: &'static str, replace: bool) -> Catalogue {
        Catalogue::new("app", Arc::new(self.breaks(delete_of, replace)))
    }
}

#[test]
fn a_removal_cut_short_leaves_no_backup_that_looks_good() {
    let place = Place::new();
    let made = place.add("2026-11-23T05:00:00", b"x");
    // The file is the first to go: where it cannot, all stays.
    assert!(place.breaking(".sqlite.gz", false).remove(&made).is_err());
    assert_eq!(place.listed(), [(made.name.clone(), true)]);
    // A manifest alone is no backup.
    assert!(place.breaking(".json", false).remove(&made).is_err());
    assert_eq!(place.listed(), []);
    assert_eq!(place.files(), ["app_20261123T050000Z.json"]);
}

#[test]
fn a_backup_has_its_manifest_before_its_name_and_leaves_nothing_where_either_fails() {
    let place = Place::new();
    let write = &mut |out: &mut dyn Write| {
        out.write_all(b"x").unwrap();
        Ok(snapshot())
    };
    assert!(
        place.breaking("none", true).add(at("2026-11-23T05:00:00"), GZIP, None, &|| Ok(()), write).is_err()
    );
    assert_eq!(place.files(), Vec::<String>::new());
    // The process ends between the two: neither the name nor the clearing away happens.
    let cut_short = Breaks { put: true, ..place.breaks(".json", false) };
    let cut_short = Catalogue::new("app", Arc::new(cut_short));
    assert!(cut_short.add(at("2026-11-23T06:00:00"), GZIP, None, &|| Ok(()), write).is_err());
    assert_eq!(place.listed(), []);
    let left = place.base.path().join("app/app_20261123T060000Z.json");
    assert!(left.exists());
    // It stays as long as its file may be on the way, and goes with the next backup after that.
    place.add("2026-11-23T07:00:00", b"x");
    assert!(left.exists());
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 3600);
    fs::File::options().write(true).open(&left).unwrap().set_modified(long_ago).unwrap();
    let foreign = left.with_file_name("notes.json");
    fs::write(&foreign, "{}").unwrap();
    fs::File::options().write(true).open(&foreign).unwrap().set_modified(long_ago).unwrap();
    place.add("2026-11-23T08:00:00", b"x");
    assert!(!left.exists() && foreign.exists());
    assert_eq!(place.listed().len(), 2);
}

#[test]
fn an_orphan_is_not_removed_while_its_manifest_is_on_its_way() {
    let place = Place::new();
    let write = &mut |out: &mut dyn Write| {
        out.write_all(b"x").unwrap();
        Ok(snapshot())
    };
    let made = place
        .catalogue
        .add(at("2026-11-23T05:00:00"), GZIP, None, &|| Ok(()), write)
        .unwrap()
        .made()
        .unwrap()
        .backup;
    // Seen between the two steps, acted upon after the second.
    let seen = Backup { state: State::Incomplete, manifest: None, ..made.clone() };
    assert_eq!(place.catalogue.remove(&seen).unwrap_err().reason, Reason::Refused);
    assert_eq!(place.listed(), [(made.name, true)]);
}
