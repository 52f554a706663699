//! Gzip by several threads: the stream is cut into blocks, each becomes a gzip member of its own, and they are
//! written in order. Any gunzip reads the result. Must never hold more than a few blocks, nor outlive its owner.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Bytes in a block. Deflate looks back 32 KiB and cannot look past a block's start, so only the first part of
/// one packs worse.
pub(super) const BLOCK: usize = 1 << 20;
/// Blocks that one thread may have at a time: one at work, one waiting.
const DEPTH: usize = 2;

/// A pool of compressing threads before a writer. Dropped unfinished, it stops them and leaves what was written.
pub(super) struct ParallelGzip<W: Write> {
    out: W,
    block: Vec<u8>,
    workers: Vec<Worker>,
    /// Blocks given out and blocks written; each worker gets every n-th, so order needs no bookkeeping.
    sent: usize,
    written: usize,
    spare: Vec<Vec<u8>>,
}

struct Worker {
    /// `None` once it is told to stop.
    blocks: Option<SyncSender<Vec<u8>>>,
    packed: Receiver<io::Result<Packed>>,
    thread: Option<JoinHandle<()>>,
}

struct Packed {
    member: Vec<u8>,
    /// The block's buffer, to be filled again.
    block: Vec<u8>,
}

impl<W: Write> ParallelGzip<W> {
    /// Starts `threads` threads (at least one) at `level` 1 to 9.
    pub(super) fn new(out: W, level: u32, threads: usize) -> io::Result<Self> {
        let mut this = Self {
            out,
            block: Vec::with_capacity(BLOCK),
            workers: Vec::new(),
            sent: 0,
            written: 0,
            spare: Vec::new(),
        };
        for _ in 0..threads.max(1) {
            this.workers.push(Worker::start(Compression::new(level.clamp(1, 9)))?);
        }
        Ok(this)
    }

    /// Writes what remains and gives the writer back.
    pub(super) fn finish(mut self) -> io::Result<()> {
        // An empty stream is one empty member, not an empty file, which gunzip refuses.
        if !self.block.is_empty() || self.sent == 0 {
            self.send()?;
        }
        while self.written < self.sent {
            self.receive()?;
        }
        self.out.flush()
    }

    fn send(&mut self) -> io::Result<()> {
        if self.sent - self.written == self.workers.len() * DEPTH {
            self.receive()?;
        }
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK));
        let block = std::mem::replace(&mut self.block, next);
        let worker = &self.workers[self.sent % self.workers.len()];
        let blocks = worker.blocks.as_ref().ok_or_else(died)?;
        blocks.send(block).map_err(|_| died())?;
        self.sent += 1;
        Ok(())
    }

    /// Takes the oldest block that is not yet written and writes it.
    fn receive(&mut self) -> io::Result<()> {
        let worker = &self.workers[self.written % self.workers.len()];
        let packed = worker.packed.recv().map_err(|_| died())??;
        self.written += 1;
        self.out.write_all(&packed.member)?;
        let mut block = packed.block;
        block.clear();
        self.spare.push(block);
        Ok(())
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK {
            self.send()?;
        }
        let n = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// Passes on what is packed already: cutting a block short would only make the file longer.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Drop for ParallelGzip<W> {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.blocks = None;
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A panic in it has been reported by its closed channel.
                let _ = thread.join();
            }
        }
    }
}

impl Worker {
    fn start(level: Compression) -> io::Result<Self> {
        let (blocks, inbox) = sync_channel::<Vec<u8>>(DEPTH);
        // Room for all that one worker may have: it never waits for the writer, so it always ends when told to.
        let (outbox, packed) = sync_channel(DEPTH);
        let thread = std::thread::Builder::new().name("compress".into()).spawn(move || {
            for block in inbox {
                let member = pack(&block, level);
                if outbox.send(member.map(|member| Packed { member, block })).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { blocks: Some(blocks), packed, thread: Some(thread) })
    }
}

/// One block as a gzip member; stored as it is when compressing would gain nothing.
fn pack(block: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let level = if is_compressible(block)? { level } else { Compression::none() };
    let mut encoder = GzEncoder::new(Vec::with_capacity(block.len() / 2), level);
    encoder.write_all(block)?;
    encoder.finish()
}

/// Whether a few samples, compressed fast, get smaller by at least a fiftieth. Images and encrypted columns do
/// not; storing them takes a quarter of the time, and the samples cost the others about 2 %.
fn is_compressible(block: &[u8]) -> io::Result<bool> {
    const SAMPLE: usize = 8 << 10;
    if block.len() < 8 * SAMPLE {
        return Ok(true);
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(4 * SAMPLE), Compression::fast());
    for part in block.chunks(block.len() / 4).take(4) {
        encoder.write_all(&part[..SAMPLE])?;
    }
    let sampled = 4 * SAMPLE;
    Ok(encoder.finish()?.len() < sampled - sampled / 50)
}

fn died() -> io::Error {
    io::Error::other("a compressing thread ended unexpectedly")
}
