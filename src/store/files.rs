//! A flat place of named files that appear whole or not at all: what every place of backups can do.
//! Knows nothing of backups.

use std::io::{Read, Write};

use chrono::{DateTime, Utc};

use crate::error::{Error, Reason, Result};

/// A flat place of named files. Synchronous: called from threads that may block.
///
/// Every store passes the conformance suite in `tests/store`.
pub trait Store: Send + Sync {
    /// Where it is, for messages: a path or a URL.
    fn place(&self) -> String;

    /// Writes a new file. It appears whole, durable and only when `write` and everything after it
    /// succeeded; otherwise, and where `write` finds that it is not wanted, nothing is left of it,
    /// not even when the process is killed. Refused when the name is taken: an existing file is
    /// never touched.
    fn put(&self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> Result<Content>) -> Result<Put>;

    /// Writes a small file, in place of the one of that name if there is one: readers see the old
    /// one or the new one, whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Reads a file from its start, one just put as it lies in its place, not out of a cache, where
    /// that can be had. A reader that has begun is not disturbed by [`Store::delete`] or
    /// [`Store::replace`]; where it cannot be, because the place keeps no second version of a large
    /// file, it ends with an error and never with other bytes.
    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>>;

    /// The files, in no order. Files being written, and names that [`check_name`] refuses, are not
    /// listed.
    fn list(&self) -> Result<Vec<Entry>>;

    /// One file, as [`Store::list`] tells it; `None` where there is none of that name.
    fn entry(&self, name: &str) -> Result<Option<Entry>>;

    /// Removes a file, durably. Does not ask whether it is held: that is [`Store::claim`]'s.
    fn delete(&self, name: &str) -> Result<()>;

    /// Bytes that may still be written; `None` where the place has no such limit.
    fn free_bytes(&self) -> Result<Option<u64>>;

    /// Keeps [`Store::claim`] away from a file while it is being read. Any number may hold one
    /// file.
    fn hold(&self, name: &str) -> Result<Lock>;

    /// The right to remove a file; `None` while anyone holds it.
    fn claim(&self, name: &str) -> Result<Option<Lock>>;

    /// Whether anyone holds a file now: for showing and planning. Removing takes a claim.
    fn is_held(&self, name: &str) -> Result<bool> {
        Ok(self.claim(name)?.is_none())
    }

    /// One at a time may change what several files say together: a manifest that is read, changed
    /// and replaced, a backup that is removed. Held for moments only; waits for the other for a
    /// bounded time.
    fn edit(&self) -> Result<Lock>;
}

/// What whoever wrote a file says of it in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It is wanted.
    New,
    /// It holds what another file holds already: it is not wanted.
    Same,
}

/// What became of a file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there, and has so many bytes.
    Made(u64),
    /// It was not wanted, and nothing is left of it.
    Same,
}

/// A file in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Last change, by the clock of the place.
    pub modified: DateTime<Utc>,
    /// Another one says that the content may be another, and the same that it is the same. `None`
    /// where the place tells no such thing.
    pub version: Option<String>,
}

/// A lock, over processes, until it is dropped or its process ends.
pub struct Lock {
    _held: Box<dyn Send>,
}

impl Lock {
    /// A lock that lasts as long as `held` lives.
    pub fn new(held: impl Send + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// Refuses a name that could lie elsewhere, be hidden or be taken for a temporary file.
pub fn check_name(name: &str) -> Result<()> {
    let plain = !name.is_empty() && name.len() <= 200 && !name.starts_with('.');
    if plain && !name.contains(|c: char| c == '/' || c.is_control()) {
        return Ok(());
    }
    Err(Error::new(
        Reason::Refused,
        format!(
            "{name:?} cannot name a file in a store: it must not be empty, start with a dot, hold a slash or a \
                 control character, or exceed 200 bytes"
        ),
    ))
}
