//! Reads a file of a bucket, a range at a time, the next one on its way while one is used: so a
//! connection that breaks costs what it had not brought yet. Must never mix two files that had the
//! same name.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use object_store::{GetOptions, ObjectStore, ObjectStoreExt as _, path::Path};

use super::prefix::Prefix;
use super::runtime::{self, Task};
use crate::error::{Error, Reason, Result};

/// Two of them are in memory.
const RANGE: u64 = 8 << 20;

/// A reader of one file.
pub(super) struct Reader {
    files: Prefix,
    name: String,
    size: u64,
    /// Tells the file from a later one of the same name.
    version: Option<String>,
    /// Where the next range begins.
    next: u64,
    range: Cursor<Vec<u8>>,
    coming: Option<Task<object_store::Result<Vec<u8>>>>,
}

/// A range of a file, and what it is a range of.
async fn first(
    client: Arc<dyn ObjectStore>,
    path: Path,
) -> object_store::Result<(Vec<u8>, u64, Option<String>)> {
    let got = match client.get_opts(&path, GetOptions::new().with_range(Some(0..RANGE))).await {
        Ok(got) => got,
        Err(error @ object_store::Error::NotFound { .. }) => return Err(error),
        // An empty file has no range.
        Err(error) => match client.head(&path).await {
            Ok(meta) if meta.size == 0 => return Ok((Vec::new(), 0, meta.e_tag)),
            _ => return Err(error),
        },
    };
    let (size, version) = (got.meta.size, got.meta.e_tag.clone());
    Ok((got.bytes().await?.into(), size, version))
}

impl Reader {
    /// Opens it, and has its first range, which of a manifest is all.
    pub(super) fn open(files: &Prefix, name: &str) -> Result<Self> {
        let first = runtime::run(first(Arc::clone(&files.client), files.path(name)))?;
        let (bytes, size, version) = first.map_err(|e| files.failed("cannot read", name, &e))?;
        let mut reader = Self {
            files: files.clone(),
            name: name.to_owned(),
            size,
            version,
            next: bytes.len() as u64,
            range: Cursor::new(bytes),
            coming: None,
        };
        reader.send_for_next()?;
        Ok(reader)
    }

    fn send_for_next(&mut self) -> Result<()> {
        if self.next >= self.size {
            return Ok(());
        }
        let range = self.next..(self.next + RANGE).min(self.size);
        self.next = range.end;
        let (client, path) = (Arc::clone(&self.files.client), self.files.path(&self.name));
        let options = GetOptions::new().with_range(Some(range)).with_if_match(self.version.clone());
        let get = async move { client.get_opts(&path, options).await?.bytes().await.map(Vec::from) };
        self.coming = Some(runtime::begin(get)?);
        Ok(())
    }

    fn turn_to_next(&mut self) -> Result<bool> {
        let Some(coming) = self.coming.take() else { return Ok(false) };
        let range = coming.wait()?.map_err(|e| match e {
            object_store::Error::Precondition { .. } => Error::new(
                Reason::Io,
                format!("{} was replaced while it was read", self.files.shown(&self.name)),
            ),
            e => self.files.failed("cannot read", &self.name, &e),
        })?;
        self.range = Cursor::new(range);
        self.send_for_next()?;
        Ok(true)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.range.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            // Never a kind that would call the file damaged.
            let turned = self.turn_to_next().map_err(|error| match error.reason {
                Reason::NotFound => io::Error::new(io::ErrorKind::NotFound, error.message),
                Reason::Permission => io::Error::new(io::ErrorKind::PermissionDenied, error.message),
                _ => io::Error::other(error.message),
            });
            if !turned? {
                return Ok(0);
            }
        }
    }
}
