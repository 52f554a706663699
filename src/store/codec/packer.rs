//! One block packed: gzip members by libdeflate, or a zstd frame. Each is whole by itself, with its
//! checksum. Knows nothing of the blocks before and after it.

use std::io;

use libdeflater::CompressionLvl;

use super::member;

/// What one thread packs with.
pub(super) enum Packer {
    /// RFC 1952.
    Gzip(Gzip),
    /// RFC 8878.
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Packer {
    /// Makes gzip members at `level` 1 to 9. Libdeflate's own levels above that take up to ten
    /// times the time of 6 for 7 %; zstd does better in less.
    pub(super) fn gzip(level: u32) -> Self {
        let compressor = |level: u32| {
            let level = i32::try_from(level).ok().and_then(|level| CompressionLvl::new(level).ok());
            libdeflater::Compressor::new(level.unwrap_or_default())
        };
        Self::Gzip(Gzip { level: compressor(level.clamp(1, 9)), stored: compressor(0) })
    }

    /// Makes zstd frames at `level` 1 to 19.
    pub(super) fn zstd(level: u32) -> io::Result<Self> {
        let level = i32::try_from(level.clamp(1, 19)).unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        compressor.include_checksum(true)?;
        Ok(Self::Zstd(compressor))
    }

    /// Packs `block` in place of what `packed` held.
    pub(in crate::store) fn pack(&mut self, block: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.pack(block, packed),
            Self::Zstd(zstd) => {
                packed.resize(zstd::zstd_safe::compress_bound(block.len()), 0);
                let length = zstd.compress_to_buffer(block, packed.as_mut_slice())?;
                packed.truncate(length);
                Ok(())
            }
        }
    }
}

/// Bytes that are judged together. A database lays an image, a document or an embedding down in
/// pages of its own between those of its rows, so that what packs and what does not alternate
/// within a block.
const PIECE: usize = 32 << 10;

/// Bytes of a piece that are looked at, in so many places.
const SAMPLE: usize = 4 << 10;
const PLACES: usize = 4;

/// Bits of information in a byte of the sample, by the frequency of the bytes alone, above which
/// nothing is worth trying: 4 KiB of noise have 7.95, JPEG and encrypted columns hardly less,
/// embeddings as floats 7.3, base64 6.
const NOISE: f64 = 7.8;

/// Gzip. Zstd sees for itself, and fast, what cannot be packed; deflate works on it for as long as
/// on anything.
pub(super) struct Gzip {
    level: libdeflater::Compressor,
    stored: libdeflater::Compressor,
}

impl Gzip {
    /// A member for each run of pieces that pack, or do not.
    fn pack(&mut self, block: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
        packed.clear();
        let mut rest = block;
        // Also of nothing there is one.
        loop {
            let (run, packs, after) = run(rest);
            member::append(if packs { &mut self.level } else { &mut self.stored }, run, packed)?;
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
        }
    }
}

/// The longest beginning that packs throughout, or nowhere; whether it packs; and what follows.
fn run(bytes: &[u8]) -> (&[u8], bool, &[u8]) {
    let mut pieces = bytes.chunks(PIECE).map(packs);
    let first = pieces.next().unwrap_or(true);
    let length = PIECE * (1 + pieces.take_while(|packs| *packs == first).count());
    let (run, after) = bytes.split_at(length.min(bytes.len()));
    (run, first, after)
}

/// Whether packing is worth a try, judged by the entropy of a sample. What remains of a block is
/// too little to matter.
fn packs(piece: &[u8]) -> bool {
    if piece.len() < PIECE {
        return true;
    }
    let mut counts = [0_u32; 256];
    for place in piece.chunks(PIECE / PLACES) {
        for &byte in &place[..SAMPLE / PLACES] {
            counts[usize::from(byte)] += 1;
        }
    }
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / SAMPLE as f64)
        .map(|share| -share * share.log2())
        .sum();
    bits < NOISE
}
