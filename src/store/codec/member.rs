//! One gzip member (RFC 1952) that says in its header how long it is, so that it can be read whole,
//! and unpacked at once by libdeflate in half of the time. Any gunzip reads it; and of any gzip
//! file every member is read here.

use std::io::{self, Chain, Cursor, Read};

use flate2::read::MultiGzDecoder;
use libdeflater::{CompressionError, Compressor, Decompressor};

/// Bytes in a block, which is packed as one member, or as one frame of zstd. Nothing looks back
/// past a block's start: gzip, which looks back 32 KiB only, packs 0.1 % worse than in blocks of
/// twice the size, zstd 1 %; and memory goes with it.
pub(super) const BLOCK: usize = 1 << 20;

/// The header that libdeflate writes: magic, method, flags, time, level, system.
const PLAIN: usize = 10;
/// With the extra field: its length, and one subfield: `SZ`, the length of its data, the bytes of
/// the member.
const HEAD: usize = PLAIN + 10;
const EXTRA: [u8; 6] = [8, 0, b'S', b'Z', 4, 0];
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// FEXTRA, and no other flag.
const FLAGS: u8 = 4;
/// CRC-32 and length of what is packed.
const TAIL: usize = 8;

/// None of ours is longer.
const MOST: usize = 2 * BLOCK;

/// Packs `bytes`, at most a block, as a member at the end of `packed`.
pub(in crate::store) fn append(
    compressor: &mut Compressor,
    bytes: &[u8],
    packed: &mut Vec<u8>,
) -> io::Result<()> {
    let begin = packed.len();
    packed.resize(begin + EXTRA.len() + 4 + compressor.gzip_compress_bound(bytes.len()), 0);
    let member = &mut packed[begin..];
    // The header stands where the extra field comes; it moves before that.
    let packing = compressor.gzip_compress(bytes, &mut member[HEAD - PLAIN..]);
    // The bound is enough for any bytes.
    let length = HEAD - PLAIN + packing.map_err(|e: CompressionError| io::Error::other(e))?;
    member.copy_within(HEAD - PLAIN..HEAD, 0);
    member[3] = FLAGS;
    member[PLAIN..PLAIN + EXTRA.len()].copy_from_slice(&EXTRA);
    let said = u32::try_from(length).map_err(io::Error::other)?;
    member[HEAD - 4..HEAD].copy_from_slice(&said.to_le_bytes());
    packed.truncate(begin + length);
    Ok(())
}

/// The length that the header of one of ours says.
fn length(head: &[u8]) -> Option<usize> {
    let (plain, extra) = head.split_at_checked(PLAIN)?;
    let said = extra.strip_prefix(&EXTRA)?;
    let length = usize::try_from(u32::from_le_bytes(said.try_into().ok()?)).ok()?;
    let is_ours = plain.starts_with(&MAGIC) && plain[3] == FLAGS;
    (is_ours && (HEAD + TAIL..=MOST).contains(&length)).then_some(length)
}

/// Unpacks a gzip file.
pub(super) struct Members<R> {
    file: From<R>,
    unpacker: Decompressor,
    packed: Vec<u8>,
    /// What was unpacked of the last member, and how much of it was taken.
    raw: Vec<u8>,
    taken: usize,
}

enum From<R> {
    /// At the beginning of a member; whether it is the first.
    Start(R, bool),
    /// What is not ours, and all that follows it.
    Foreign(Box<MultiGzDecoder<Chain<Cursor<Vec<u8>>, R>>>),
    /// At its end, or broken.
    End,
}

impl<R: Read> Members<R> {
    /// Out of `file`.
    pub(in crate::store) fn new(file: R) -> Self {
        let (unpacker, packed, raw) = (Decompressor::new(), Vec::new(), Vec::new());
        Self { file: From::Start(file, true), unpacker, packed, raw, taken: 0 }
    }

    /// Unpacks the next member, or finds that it is not ours, or that there is none.
    fn next(&mut self, mut file: R, is_first: bool) -> io::Result<From<R>> {
        self.packed.clear();
        let head = (&mut file).take(HEAD as u64).read_to_end(&mut self.packed)?;
        if head == 0 && !is_first {
            return Ok(From::End);
        }
        let Some(length) = length(&self.packed) else {
            let read = Cursor::new(std::mem::take(&mut self.packed));
            return Ok(From::Foreign(Box::new(MultiGzDecoder::new(read.chain(file)))));
        };
        self.packed.resize(length, 0);
        file.read_exact(&mut self.packed[HEAD..])?;
        self.unpack()?;
        Ok(From::Start(file, false))
    }

    fn unpack(&mut self) -> io::Result<()> {
        let damaged = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let (packed, tail) = self.packed[HEAD..].split_at(self.packed.len() - HEAD - TAIL);
        let number = |at: usize| tail[at..].iter().take(4).rev().fold(0, |n, byte| n << 8 | u32::from(*byte));
        let bytes = usize::try_from(number(4)).ok().filter(|bytes| *bytes <= BLOCK);
        self.raw.resize(bytes.ok_or_else(|| damaged("a gzip member says that it holds more than any"))?, 0);
        self.taken = 0;
        let unpacked = self.unpacker.deflate_decompress(packed, &mut self.raw);
        // Compared with what stands at the end that the header says: no member is passed over with
        // the one before it.
        if unpacked.ok() == Some(self.raw.len()) && libdeflater::crc32(&self.raw) == number(0) {
            return Ok(());
        }
        self.raw.clear();
        Err(damaged("a gzip member does not unpack to what it says"))
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One may be empty.
        while self.taken == self.raw.len() {
            match std::mem::replace(&mut self.file, From::End) {
                From::Start(file, is_first) => self.file = self.next(file, is_first)?,
                From::Foreign(mut rest) => {
                    let read = rest.read(buffer);
                    self.file = From::Foreign(rest);
                    return read;
                }
                From::End => return Ok(0),
            }
        }
        let rest = &self.raw[self.taken..];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.taken += n;
        Ok(n)
    }
}
