//! The bytes of a backup, unpacked, up to what its manifest says of them and no further. File and
//! manifest are untrusted: whoever may write where backups lie may have made both. Must never give
//! an end that was not compared.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::store::catalogue::manifest::Manifest;
use crate::store::codec;
use crate::store::codec::ahead::ReadAhead;
use crate::store::codec::hash::{Hasher, Sum};
use crate::store::{Backup, Catalogue, Lock};

impl Catalogue {
    /// Reads the database out of a backup, unpacked. Its end is an error where the file, or what
    /// was unpacked, is not what the manifest says, and so is one byte more than that. Rotation
    /// stays away while the reader lives. Turn its errors into ours by [`codec::read_error`].
    pub fn read(&self, backup: &Backup) -> Result<Box<dyn Read + Send>> {
        let hold = self.hold(backup)?;
        let stored = Stored::new(self.stored(backup)?);
        let pages = codec::reader(Box::new(stored.clone()), &backup.name).and_then(|pages| {
            ReadAhead::new(Whole { pages, stored, bytes: 0, expected: backup.manifest.clone() })
        });
        let pages = pages.map_err(|e| Error::io(format!("cannot unpack {}", backup.name), &e))?;
        let expected =
            backup.manifest.as_ref().map(|m| Sum { bytes: m.raw_bytes, sha256: m.raw_sha256.clone() });
        Ok(Box::new(Checked { pages: Hasher::new(pages), expected, _hold: hold }))
    }
}

/// The packed file, hashed as the unpacking takes it.
#[derive(Clone)]
struct Stored(Arc<Mutex<Hasher<Box<dyn Read + Send>>>>);

impl Stored {
    fn new(file: Box<dyn Read + Send>) -> Self {
        Self(Arc::new(Mutex::new(Hasher::new(file))))
    }

    /// Of the whole file, also of what the unpacking did not need.
    fn sum(&mut self) -> io::Result<Sum> {
        io::copy(self, &mut io::sink())?;
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).sum())
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

/// Unpacks no more than was packed, and compares the packed file when it has been read.
struct Whole {
    pages: Box<dyn Read + Send>,
    stored: Stored,
    bytes: u64,
    expected: Option<Manifest>,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.pages.read(buffer)?;
        self.bytes += n as u64;
        let Some(expected) = &self.expected else { return Ok(n) };
        if self.bytes > expected.raw_bytes {
            return Err(other("it unpacks to more bytes than its manifest says"));
        }
        if n == 0 && !buffer.is_empty() {
            let stored = Sum { bytes: expected.stored_bytes, sha256: expected.stored_sha256.clone() };
            if self.stored.sum()? != stored {
                return Err(other("its file is not the one that its manifest describes"));
            }
        }
        Ok(n)
    }
}

/// A reader whose end is an error where the whole is not what the manifest says.
struct Checked {
    pages: Hasher<ReadAhead>,
    expected: Option<Sum>,
    _hold: Lock,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.pages.read(buffer)?;
        if n == 0
            && !buffer.is_empty()
            && let Some(expected) = &self.expected
            && self.pages.sum() != *expected
        {
            return Err(other("it does not hold the bytes that its manifest says"));
        }
        Ok(n)
    }
}

fn other(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
