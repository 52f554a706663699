//! How a backup's bytes are packed and unpacked. Which way is told by the file's name alone, so
//! that no manifest is needed to restore.

pub(super) mod ahead;
mod blocks;
pub mod hash;
mod member;
mod packer;

use std::fmt::Display;
use std::io::{self, BufReader, Read, Write};
use std::num::NonZeroU64;

use self::blocks::Blocks;
use self::hash::{Hasher, Sum};
use self::member::Members;
use self::packer::Packer;
use crate::config::{self, Compression};
use crate::error::{Error, Reason};

/// How to pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The format.
    pub compression: Compression,
    /// 1 (fast) to 9 (small) for gzip, to 19 for zstd.
    pub level: u32,
    /// Compressing threads, at least 1.
    pub threads: usize,
    /// Bytes that may be written to the store in a second, if that is limited.
    pub max_rate: Option<NonZeroU64>,
    /// Whether the threads stand back behind others: not where the application waits for what they
    /// do.
    pub low_priority: bool,
}

impl From<&config::Backup> for Encoding {
    fn from(backup: &config::Backup) -> Self {
        Self {
            compression: backup.compression,
            level: backup.level,
            threads: backup.threads,
            max_rate: backup.max_rate,
            low_priority: false,
        }
    }
}

/// What follows `.sqlite` in the name of a file packed so.
pub const fn suffix(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
        Compression::None => "",
    }
}

/// What went through a [`Compressor`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// As it went in.
    pub raw: Sum,
    /// As it came out.
    pub stored: Sum,
}

/// A packing writer that hashes what goes in and what comes out. Not finished, what it wrote is not
/// a whole file; dropped, it joins its threads.
pub struct Compressor<W: Write>(Format<W>);

enum Format<W: Write> {
    Plain(Hasher<W>),
    Blocks(Blocks<Hasher<W>>),
}

impl<W: Write> Compressor<W> {
    /// Packs into `out`.
    pub fn new(out: W, encoding: Encoding) -> io::Result<Self> {
        let (level, threads) = (encoding.level, encoding.threads.max(1));
        let packers = match encoding.compression {
            Compression::None => return Ok(Self(Format::Plain(Hasher::new(out)))),
            Compression::Gzip => (0..threads).map(|_| Packer::gzip(level)).collect(),
            Compression::Zstd => (0..threads).map(|_| Packer::zstd(level)).collect::<io::Result<_>>()?,
        };
        Ok(Self(Format::Blocks(Blocks::new(Hasher::new(out), packers, encoding.low_priority)?)))
    }

    /// Writes all that is still on its way.
    pub fn finish(self) -> io::Result<Sums> {
        match self.0 {
            Format::Plain(mut out) => {
                out.flush()?;
                Ok(Sums { raw: out.sum(), stored: out.sum() })
            }
            Format::Blocks(blocks) => {
                let (out, raw) = blocks.finish()?;
                Ok(Sums { raw, stored: out.sum() })
            }
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Format::Plain(out) => out.write(bytes),
            Format::Blocks(blocks) => blocks.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Format::Plain(out) => out.flush(),
            Format::Blocks(blocks) => blocks.flush(),
        }
    }
}

/// Unpacks the file called `name`. One that was cut exactly between two blocks reads as a shorter
/// whole one: compare with the manifest, as [`super::Catalogue::read`] does.
pub fn reader(file: Box<dyn Read + Send>, name: &str) -> io::Result<Box<dyn Read + Send>> {
    if name.ends_with(suffix(Compression::Gzip)) {
        Ok(Box::new(Members::new(file)))
    } else if name.ends_with(suffix(Compression::Zstd)) {
        Ok(Box::new(Zstd(zstd::Decoder::new(Source { file, failed: false })?)))
    } else {
        Ok(file)
    }
}

/// Unpacks zstd. Its decoder calls what does not unpack an error of no special kind; here it is
/// `InvalidData`.
struct Zstd(zstd::Decoder<'static, BufReader<Source>>);

/// Knows whether it was the file that could not be read.
struct Source {
    file: Box<dyn Read + Send>,
    failed: bool,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        self.failed = read.is_err();
        read
    }
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|e| {
            if self.0.get_ref().get_ref().failed { e } else { io::Error::new(io::ErrorKind::InvalidData, e) }
        })
    }
}

/// The error for reading a backup: what does not unpack is damaged, not a matter of the operating
/// system.
pub fn read_error(doing: impl Display, cause: &io::Error) -> Error {
    use io::ErrorKind as K;
    let mut error = Error::io(doing, cause);
    if matches!(cause.kind(), K::InvalidData | K::InvalidInput | K::UnexpectedEof) {
        error.reason = Reason::Damaged;
    }
    error
}
