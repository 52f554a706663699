//! How a backup's bytes are packed and unpacked. Which way is told by the file's name alone, so that no
//! manifest is needed to restore.

use std::fmt::Display;
use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;

use super::gzip::ParallelGzip;
use crate::config::{self, Compression};
use crate::error::{Error, Reason};

/// How to pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The format.
    pub compression: Compression,
    /// 1 (fast) to 9 (small).
    pub level: u32,
    /// Compressing threads, at least 1.
    pub threads: usize,
}

impl From<&config::Backup> for Encoding {
    fn from(backup: &config::Backup) -> Self {
        Self { compression: backup.compression, level: backup.level, threads: backup.threads }
    }
}

/// What follows `.sqlite` in the name of a file packed so.
pub const fn suffix(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => ".gz",
        Compression::None => "",
    }
}

/// A packing writer. Not finished, what it wrote is not a whole file; dropped, it joins its threads.
pub struct Compressor<W: Write>(Format<W>);

enum Format<W: Write> {
    Plain(W),
    Gzip(ParallelGzip<W>),
}

impl<W: Write> Compressor<W> {
    /// Packs into `out`.
    pub fn new(out: W, encoding: Encoding) -> io::Result<Self> {
        Ok(Self(match encoding.compression {
            Compression::None => Format::Plain(out),
            Compression::Gzip => Format::Gzip(ParallelGzip::new(out, encoding.level, encoding.threads)?),
        }))
    }

    /// Writes all that is still on its way.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Format::Plain(mut out) => out.flush(),
            Format::Gzip(gzip) => gzip.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Format::Plain(out) => out.write(bytes),
            Format::Gzip(gzip) => gzip.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Format::Plain(out) => out.flush(),
            Format::Gzip(gzip) => gzip.flush(),
        }
    }
}

/// Unpacks the file called `name`. A gzip file that was cut exactly between two blocks reads as a shorter whole
/// one: compare with the manifest, as [`super::Catalogue::read`] does.
pub fn reader(file: Box<dyn Read + Send>, name: &str) -> Box<dyn Read + Send> {
    if name.ends_with(suffix(Compression::Gzip)) { Box::new(MultiGzDecoder::new(file)) } else { file }
}

/// The error for reading a backup: what does not unpack is damaged, not a matter of the operating system.
pub fn read_error(doing: impl Display, cause: &io::Error) -> Error {
    use io::ErrorKind as K;
    let mut error = Error::io(doing, cause);
    if matches!(cause.kind(), K::InvalidData | K::InvalidInput | K::UnexpectedEof) {
        error.reason = Reason::Damaged;
    }
    error
}
