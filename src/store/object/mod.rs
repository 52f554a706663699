//! A store that is a prefix in a bucket: one below `backup.dir` for each database. Must never show
//! a file before it is whole, and never put a credential into a message.
//!
//! Requests are repeated by `object_store` itself, told by [`attempts`] which of them may be;
//! nothing above repeats them again.

mod attempts;
mod connect;
mod failure;
mod locks;
mod prefix;
mod reader;
mod runtime;
mod upload;

use std::io::{Read, Write};
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};

use self::locks::{Locks, Mode};
use self::prefix::Prefix;
use self::reader::Reader;
use self::upload::Upload;
use super::files::{Content, Entry, Lock, Put, Store, check_name};
use crate::config;
use crate::error::{Error, Reason, Result};

pub use self::attempts::Connector;
pub use self::connect::Patience;

/// The backups of one database in a bucket.
pub struct Object {
    files: Prefix,
}

impl Object {
    /// The files of `name` in `bucket`. Asks nothing of it yet.
    pub fn connect(bucket: &config::Bucket, name: &str, patience: Patience) -> Result<Self> {
        let (client, remedy) = connect::client(bucket, patience)?;
        let place = format!("{bucket}/{name}");
        let Self { files } = Self::over(client, &bucket.prefix, name, place)?;
        Ok(Self { files: Prefix { remedy, ..files } })
    }

    /// The files of `name` below `prefix`, through any client.
    pub fn over(client: Arc<dyn ObjectStore>, prefix: &str, name: &str, place: String) -> Result<Self> {
        check_name(name)?;
        Ok(Self { files: Prefix { client, above: Path::from(prefix).join(name), place, remedy: "" } })
    }

    fn locks(&self, resource: &str) -> Locks {
        Locks::new(self.files.clone(), resource)
    }

    fn must_exist(&self, name: &str) -> Result<()> {
        let missing = || Error::new(Reason::NotFound, format!("{} does not exist", self.files.shown(name)));
        self.files.head(name)?.map(drop).ok_or_else(missing)
    }

    fn must_be_free(&self, name: &str) -> Result<()> {
        let taken = |_| {
            let text = format!("{} exists already; it is not overwritten", self.files.shown(name));
            Err(Error::new(Reason::Refused, text))
        };
        self.files.head(name)?.map_or(Ok(()), taken)
    }
}

impl Store for Object {
    fn place(&self) -> String {
        self.files.place.clone()
    }

    fn put(&self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> Result<Content>) -> Result<Put> {
        check_name(name)?;
        // Said before the work, not after it; decided when the whole file gets its name.
        self.must_be_free(name)?;
        let mut upload = Upload::new(&self.files, name);
        let outcome = write(&mut upload);
        // What the bucket said explains more than what the writer made of it, and counts even if it
        // made nothing.
        if let Some(error) = upload.failure() {
            return Err(error);
        }
        if outcome? == Content::Same {
            return Ok(Put::Same);
        }
        upload.send_rest()?;
        // S3 completes an upload whatever has the name meanwhile: so one at a time asks and
        // completes.
        let _naming = self.locks(&format!("put-{name}")).wait(Mode::Alone)?;
        self.must_be_free(name)?;
        upload.complete().map(Put::Made)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        let (client, path, bytes) = (Arc::clone(&self.files.client), self.files.path(name), bytes.to_vec());
        let put = runtime::run(async move { client.put(&path, bytes.into()).await })?;
        put.map(drop).map_err(|e| self.files.failed("cannot write", name, &e))
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        check_name(name)?;
        Ok(Box::new(Reader::open(&self.files, name)?))
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let (client, prefix) = (Arc::clone(&self.files.client), self.files.above.clone());
        let listed = runtime::run(async move { client.list_with_delimiter(Some(&prefix)).await })?;
        let listed = listed.map_err(|e| {
            let error = failure::told(&format!("cannot list {}", self.files.place), self.files.remedy, &e);
            // A prefix without files is an empty list: it is the bucket that is not there.
            Error {
                reason: if error.reason == Reason::NotFound { Reason::Io } else { error.reason },
                ..error
            }
        })?;
        Ok(listed.objects.into_iter().filter_map(entry).collect())
    }

    fn entry(&self, name: &str) -> Result<Option<Entry>> {
        check_name(name)?;
        Ok(self.files.head(name)?.and_then(entry))
    }

    fn delete(&self, name: &str) -> Result<()> {
        check_name(name)?;
        // A bucket says nothing when it is asked to delete what is not there.
        self.must_exist(name)?;
        let (client, path) = (Arc::clone(&self.files.client), self.files.path(name));
        match runtime::run(async move { client.delete(&path).await })? {
            // A request that was repeated, because the answer to the first was lost, finds nothing.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.files.failed("cannot remove", name, &e)),
        }
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn hold(&self, name: &str) -> Result<Lock> {
        check_name(name)?;
        let held = match self.locks(&format!("file-{name}")).wait(Mode::Shared) {
            // A key that may only read keeps nobody away: what is removed meanwhile is an error of the
            // reader.
            Err(error) if error.reason == Reason::Permission => None,
            held => Some(held?),
        };
        self.must_exist(name)?;
        Ok(Lock::new(held))
    }

    fn claim(&self, name: &str) -> Result<Option<Lock>> {
        check_name(name)?;
        let claimed = self.locks(&format!("file-{name}")).attempt(Mode::Alone)?;
        self.must_exist(name)?;
        Ok(claimed.map(Lock::new))
    }

    fn is_held(&self, name: &str) -> Result<bool> {
        check_name(name)?;
        self.locks(&format!("file-{name}")).are_held()
    }

    fn edit(&self) -> Result<Lock> {
        self.locks("edit").wait(Mode::Alone).map(Lock::new)
    }
}

/// `None` for what is no file of a store.
fn entry(object: ObjectMeta) -> Option<Entry> {
    let name = object.location.filename()?.to_owned();
    check_name(&name).ok()?;
    // Azure has it in quotes where it is asked for one file, and without in a list.
    let version = object.e_tag.map(|tag| tag.trim_matches('"').to_owned());
    Some(Entry { name, size: object.size, modified: object.last_modified, version })
}
