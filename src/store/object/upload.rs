//! A file on its way into a bucket: in parts, of which one is filled while the one before it is
//! sent. Must never leave one behind that is not whole: dropped, it is aborted.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use object_store::{MultipartUpload, ObjectStoreExt as _};

use super::prefix::Prefix;
use super::runtime::{self, Task};
use crate::error::{Error, Result};

/// Two of them are in memory. S3 wants 5 MiB at least.
const PART: usize = 8 << 20;
/// S3 takes 10,000 parts. So many have that size (23 GiB), then it doubles with each
/// [`DOUBLE_EVERY`]: 2 TiB in all.
const SMALL_PARTS: u32 = 3000;
const DOUBLE_EVERY: u32 = 1000;
/// What is aborted is awaited this long; it goes on in the background, and the bucket's lifecycle
/// rule does the rest.
const ABORT_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of the part with this number, counted from 0.
fn part_size(number: u32) -> usize {
    match number.checked_sub(SMALL_PARTS) {
        None => PART,
        Some(past) => PART << (past / DOUBLE_EVERY + 1),
    }
}

type Parts = Box<dyn MultipartUpload>;

/// A writer into a bucket.
pub(super) struct Upload<'a> {
    files: &'a Prefix,
    name: &'a str,
    buffer: Vec<u8>,
    /// Parts sent or being sent.
    sent: u32,
    written: u64,
    /// `None`: nothing was sent yet.
    parts: Option<Parts>,
    sending: Option<Task<object_store::Result<()>>>,
    failure: Option<Error>,
}

impl<'a> Upload<'a> {
    /// Nothing is asked of the bucket before the first part is full.
    pub(super) fn new(files: &'a Prefix, name: &'a str) -> Self {
        Self {
            files,
            name,
            buffer: Vec::new(),
            sent: 0,
            written: 0,
            parts: None,
            sending: None,
            failure: None,
        }
    }

    /// The error that a write met, if any did.
    pub(super) fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    fn failed(&self, cause: &object_store::Error) -> Error {
        self.files.failed("cannot write", self.name, cause)
    }

    /// Keeps an error for [`Self::failure`], and words it for the writer.
    fn noted(&mut self, error: Error) -> io::Error {
        let told = io::Error::other(error.message.clone());
        self.failure.get_or_insert(error);
        told
    }

    fn wait_for_part(&mut self) -> Result<()> {
        match self.sending.take() {
            Some(part) => part.wait()?.map_err(|e| self.failed(&e)),
            None => Ok(()),
        }
    }

    fn send_part(&mut self) -> Result<()> {
        if self.parts.is_none() {
            let (client, path) = (Arc::clone(&self.files.client), self.files.path(self.name));
            let begun = runtime::run(async move { client.put_multipart(&path).await })?;
            self.parts = Some(begun.map_err(|e| self.failed(&e))?);
        }
        self.wait_for_part()?;
        self.sent += 1;
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(part_size(self.sent)));
        if let Some(parts) = &mut self.parts {
            self.sending = Some(runtime::begin(parts.put_part(full.into()))?);
        }
        Ok(())
    }

    /// Sends what is not sent yet. A file that fills no part is sent by [`Self::complete`].
    pub(super) fn send_rest(&mut self) -> Result<()> {
        if self.parts.is_some() && !self.buffer.is_empty() {
            self.send_part()?;
        }
        self.wait_for_part()
    }

    /// Gives it its name, over whatever has it, and returns its bytes.
    pub(super) fn complete(mut self) -> Result<u64> {
        let outcome = match self.parts.take() {
            None => {
                let (client, path) = (Arc::clone(&self.files.client), self.files.path(self.name));
                let bytes = std::mem::take(&mut self.buffer);
                runtime::run(async move { client.put(&path, bytes.into()).await.map(drop) })?
            }
            Some(mut parts) => {
                let (outcome, parts) =
                    runtime::run(async move { (parts.complete().await.map(drop), parts) })?;
                self.parts = outcome.is_err().then_some(parts);
                outcome
            }
        };
        let Err(cause) = outcome else { return Ok(self.written) };
        // The answer may have been lost, and not the file: nobody else could have made it
        // meanwhile.
        if self.files.head(self.name)?.is_some_and(|there| there.size == self.written) {
            self.parts = None;
            return Ok(self.written);
        }
        Err(self.failed(&cause))
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= part_size(self.sent)
            && let Err(error) = self.send_part()
        {
            return Err(self.noted(error));
        }
        let taken = bytes.len().min(part_size(self.sent) - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        self.written += taken as u64;
        Ok(taken)
    }

    /// Waits for the part that is being sent. What fills no part stays until the end.
    fn flush(&mut self) -> io::Result<()> {
        self.wait_for_part().map_err(|error| self.noted(error))
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        // A part that arrives after the end of its upload would stay.
        drop(self.sending.take().map(|part| part.wait_for(ABORT_LIMIT)));
        let aborted = runtime::begin(async move { parts.abort().await });
        if !matches!(aborted.map(|begun| begun.wait_for(ABORT_LIMIT)), Ok(Some(Ok(())))) {
            tracing::warn!(
                file = self.files.shown(self.name),
                "what was sent of an unfinished upload could not be removed; a lifecycle rule of the bucket for \
                 incomplete multipart uploads removes it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_two_tebibytes_and_the_first_are_small() {
        let sizes: Vec<usize> = (0..10_000).map(part_size).collect();
        assert!(sizes.is_sorted());
        assert!(sizes.iter().map(|size| *size as u64).sum::<u64>() > 2_000 << 30);
        assert!(sizes[..3000].iter().all(|size| *size == 8 << 20));
        assert!(sizes[9_999] <= 5 << 30, "S3's largest part");
    }
}
