//! Where the files of one database are in a bucket, whom to ask for them, and how what they say is
//! told. Changes nothing there.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};

use super::{failure, runtime};
use crate::error::{Error, Result};

/// The files of one database in a bucket.
#[derive(Clone)]
pub(super) struct Prefix {
    pub(super) client: Arc<dyn ObjectStore>,
    /// Above the files.
    pub(super) above: Path,
    /// As the configuration writes it.
    pub(super) place: String,
    /// What to do where access is refused.
    pub(super) remedy: &'static str,
}

impl Prefix {
    /// Where a file is.
    pub(super) fn path(&self, name: &str) -> Path {
        self.above.clone().join(name)
    }

    /// The same, for messages.
    pub(super) fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }

    /// What the bucket said about a file.
    pub(super) fn failed(&self, doing: &str, name: &str, cause: &object_store::Error) -> Error {
        failure::told(&format!("{doing} {}", self.shown(name)), self.remedy, cause)
    }

    /// What there is under this name; `None`: nothing.
    pub(super) fn head(&self, name: &str) -> Result<Option<ObjectMeta>> {
        let (client, path) = (Arc::clone(&self.client), self.path(name));
        match runtime::run(async move { client.head(&path).await })? {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed("cannot look at", name, &e)),
        }
    }
}
