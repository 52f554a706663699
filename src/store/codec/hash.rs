//! Counts and hashes bytes on their way. Changes none of them.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

/// Length and SHA-256 of what went by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hex, as `sha256sum` prints it.
    pub sha256: String,
}

impl Sum {
    /// Of so many bytes that made this hash.
    pub(in crate::store) fn new(bytes: u64, hash: Sha256) -> Self {
        Self { bytes, sha256: hex(&hash.finalize()) }
    }
}

/// A writer or reader that counts and hashes what goes through it.
pub struct Hasher<T> {
    inner: T,
    bytes: u64,
    hash: Sha256,
}

impl<T> Hasher<T> {
    /// Around `inner`.
    pub fn new(inner: T) -> Self {
        Self { inner, bytes: 0, hash: Sha256::new() }
    }

    /// The sum of what has gone through so far.
    pub fn sum(&self) -> Sum {
        Sum::new(self.bytes, self.hash.clone())
    }

    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.take(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hasher<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.take(&buffer[..n]);
        Ok(n)
    }
}

/// SHA-256 of `bytes` in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
