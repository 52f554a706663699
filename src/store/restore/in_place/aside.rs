//! The old database and the files beside it, put under another name, and the new one under theirs.
//! Must leave, wherever it is cut off, a database under the name that is complete, and nothing
//! beside it that is not its own (HAZARDS H17).

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock;
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::access::Identity;
use crate::sqlite::files::aliases::BEFORE_RESTORE;
use crate::sqlite::files::paths::SIDECARS;
use crate::store::local::directory::Directory;
use crate::store::restore::unfinished::HiddenFile;

/// Puts the old set aside, `old` and the files beside it, and `new` in its place; gives the names
/// of what is kept. `is_settled`: nothing beside the old database belongs to it any more. Undone
/// where it fails half-way.
pub(in crate::store) fn swap(
    dir: &Directory,
    name: &str,
    old: Option<Identity>,
    is_settled: bool,
    new: &mut HiddenFile<'_>,
) -> Result<Vec<String>> {
    let kept = match old {
        Some(old) => kept_name(dir, name, old)?,
        None => free_name(dir, name)?,
    };
    let mut aside = Aside { dir, name, kept: &kept, linked: false, moved: Vec::new() };
    let put = aside.put(old, is_settled).and_then(|()| dir.sync()).and_then(|()| new.publish_over(name));
    if let Err(error) = put {
        aside.back();
        return Err(error);
    }
    dir.sync()
        .map_err(|e| e.context("the restored database is in place, but a power cut might undo that"))?;
    let beside = aside.moved.iter().map(|suffix| format!("{kept}{suffix}"));
    Ok(old.is_some().then(|| kept.clone()).into_iter().chain(beside).collect())
}

/// The old set on its way to its other name.
struct Aside<'a> {
    dir: &'a Directory,
    name: &'a str,
    kept: &'a str,
    linked: bool,
    moved: Vec<&'static str>,
}

impl Aside<'_> {
    fn put(&mut self, old: Option<Identity>, is_settled: bool) -> Result<()> {
        if let Some(old) = old {
            self.linked = self.dir.link(self.name, self.kept)?;
            // Taken by a try that was killed, it is the same file.
            if !self.linked && !second_names(self.dir, self.name, old)?.iter().any(|name| name == self.kept) {
                return Err(self.appeared(self.kept));
            }
            self.dir.sync()?;
        }
        for suffix in SIDECARS {
            let (from, to) = (format!("{}{suffix}", self.name), format!("{}{suffix}", self.kept));
            let Some(stat) = self.dir.stat(&from)? else { continue };
            if is_settled && (suffix == "-shm" || stat.st_size == 0) {
                self.dir.remove(&from)?;
            } else if self.dir.rename_new(&from, &to)? {
                self.moved.push(suffix);
            } else {
                return Err(self.appeared(&to));
            }
        }
        Ok(())
    }

    fn appeared(&self, name: &str) -> Error {
        Error::new(Reason::Refused, format!("{} appeared meanwhile; try again", self.dir.shown(name)))
    }

    /// As far as it can be: what remains is found by the next try.
    fn back(&mut self) {
        let mut returned = true;
        for suffix in self.moved.drain(..).rev() {
            let (from, to) = (format!("{}{suffix}", self.kept), format!("{}{suffix}", self.name));
            returned &= matches!(self.dir.rename_new(&from, &to), Ok(true));
        }
        if self.linked && returned {
            let _ = self.dir.remove(self.kept);
        }
        let _ = self.dir.sync();
    }
}

/// The name for the old set: that of a try that was killed when it had given the file this second
/// name, or a new one.
pub(super) fn kept_name(dir: &Directory, name: &str, old: Identity) -> Result<String> {
    for earlier in second_names(dir, name, old)? {
        let mut is_free = true;
        for suffix in SIDECARS {
            let is_there = |base: &str| dir.stat(&format!("{base}{suffix}")).map(|stat| stat.is_some());
            is_free &= !(is_there(name)? && is_there(&earlier)?);
        }
        if is_free {
            return Ok(earlier);
        }
    }
    free_name(dir, name)
}

fn free_name(dir: &Directory, name: &str) -> Result<String> {
    let mut at: DateTime<Utc> = clock::now();
    let taken = dir.names()?;
    loop {
        let kept = format!("{}{}", prefix(name), at.format("%Y%m%dT%H%M%SZ"));
        if !taken.iter().any(|other| other.starts_with(&kept)) {
            return Ok(kept);
        }
        at += TimeDelta::seconds(1);
    }
}

/// Names of the old file that earlier tries gave it.
pub(super) fn second_names(dir: &Directory, name: &str, old: Identity) -> Result<Vec<String>> {
    let mut names = dir.names()?;
    names.retain(|other| {
        other.starts_with(&prefix(name))
            && matches!(dir.stat(other), Ok(Some(s)) if (s.st_dev, s.st_ino) == old)
    });
    Ok(names)
}

fn prefix(name: &str) -> String {
    format!("{name}{BEFORE_RESTORE}")
}
