//! One block packed: a gzip member by libdeflate, or a zstd frame. Each is whole by itself, with its checksum. Knows
//! nothing of the blocks before and after it.

use std::io;

use libdeflater::{CompressionError, CompressionLvl};

/// What one thread packs with.
pub(super) enum Packer {
    /// RFC 1952.
    Gzip(Gzip),
    /// RFC 8878.
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Packer {
    /// Makes gzip members at `level` 1 to 9. Libdeflate's own levels above that take up to ten times the time of 6 for
    /// 7 %; zstd does better in less.
    pub(super) fn gzip(level: u32) -> Self {
        let compressor = |level: u32| {
            let level = i32::try_from(level).ok().and_then(|level| CompressionLvl::new(level).ok());
            libdeflater::Compressor::new(level.unwrap_or_default())
        };
        Self::Gzip(Gzip {
            level: compressor(level.clamp(1, 9)),
            fast: compressor(1),
            stored: compressor(0),
            sample: Vec::new(),
        })
    }

    /// Makes zstd frames at `level` 1 to 19.
    pub(super) fn zstd(level: u32) -> io::Result<Self> {
        let level = i32::try_from(level.clamp(1, 19)).unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        compressor.include_checksum(true)?;
        Ok(Self::Zstd(compressor))
    }

    /// Packs `block` in place of what `packed` held.
    pub(super) fn pack(&mut self, block: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
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

/// Bytes that are taken from each of [`SAMPLES`] places of a block.
const SAMPLE: usize = 8 << 10;
const SAMPLES: usize = 4;

/// Gzip. Zstd sees for itself, and fast, what cannot be packed; deflate works on it for as long as on anything.
pub(super) struct Gzip {
    level: libdeflater::Compressor,
    fast: libdeflater::Compressor,
    stored: libdeflater::Compressor,
    sample: Vec<u8>,
}

impl Gzip {
    fn pack(&mut self, block: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
        let packs = self.is_compressible(block, packed)?;
        let compressor = if packs { &mut self.level } else { &mut self.stored };
        member(compressor, block, packed)
    }

    /// Whether samples of the block, packed fast, get smaller by at least a fiftieth. Images and encrypted columns do
    /// not. The samples take 1 to 2 % of the time that it takes to pack the block, storing it less than 1 %.
    fn is_compressible(&mut self, block: &[u8], packed: &mut Vec<u8>) -> io::Result<bool> {
        if block.len() < 2 * SAMPLES * SAMPLE {
            return Ok(true);
        }
        self.sample.clear();
        for part in block.chunks(block.len() / SAMPLES).take(SAMPLES) {
            self.sample.extend_from_slice(&part[..SAMPLE]);
        }
        member(&mut self.fast, &self.sample, packed)?;
        Ok(packed.len() < self.sample.len() - self.sample.len() / 50)
    }
}

fn member(compressor: &mut libdeflater::Compressor, block: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
    packed.resize(compressor.gzip_compress_bound(block.len()), 0);
    let packing = compressor.gzip_compress(block, packed);
    // The bound is enough for any block.
    let length = packing.map_err(|e: CompressionError| io::Error::other(e))?;
    packed.truncate(length);
    Ok(())
}
