//! Packing by several threads: the stream is cut into blocks, each becomes a gzip member or a zstd
//! frame of its own, and they are written in order. Must never hold more than a few blocks, nor
//! outlive its owner.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

use super::hash::Sum;
use super::member::BLOCK;
use super::packer::Packer;
use crate::priority;

/// Blocks that one thread may have at a time: one at work, one waiting.
const DEPTH: usize = 2;

/// Packing threads before a writer. Dropped unfinished, it stops them and leaves what was written.
pub(super) struct Blocks<W: Write> {
    out: W,
    block: Vec<u8>,
    workers: Workers,
    /// Blocks given out and blocks written; each worker gets every n-th, so order needs no
    /// bookkeeping.
    sent: usize,
    written: usize,
    /// Bytes given out.
    bytes: u64,
    spare: Vec<Work>,
}

/// A block on its way there and back, with the buffers for both.
#[derive(Default)]
struct Work {
    block: Vec<u8>,
    packed: Vec<u8>,
}

impl<W: Write> Blocks<W> {
    /// Starts a thread for each packer, of which there must be at least one.
    pub(in crate::store) fn new(out: W, packers: Vec<Packer>, low_priority: bool) -> io::Result<Self> {
        let workers = Workers::start(packers, low_priority)?;
        Ok(Self {
            out,
            block: Vec::with_capacity(BLOCK),
            workers,
            sent: 0,
            written: 0,
            bytes: 0,
            spare: Vec::new(),
        })
    }

    /// Writes what remains; gives the writer back, and the sum of what went in.
    pub(in crate::store) fn finish(mut self) -> io::Result<(W, Sum)> {
        // An empty stream is one empty member, not an empty file, which gunzip refuses.
        if !self.block.is_empty() || self.sent == 0 {
            self.send()?;
        }
        while self.written < self.sent {
            self.receive()?;
        }
        self.out.flush()?;
        let hash = self.workers.stop().ok_or_else(died)?;
        Ok((self.out, Sum::new(self.bytes, hash)))
    }

    fn send(&mut self) -> io::Result<()> {
        if self.sent - self.written == self.workers.0.len() * DEPTH {
            self.receive()?;
        }
        self.bytes += self.block.len() as u64;
        let mut work = self.spare.pop().unwrap_or_default();
        work.block.clear();
        std::mem::swap(&mut self.block, &mut work.block);
        self.workers.nth(self.sent).blocks.send(work).map_err(|_| died())?;
        self.sent += 1;
        Ok(())
    }

    /// Takes the oldest block that is not yet written and writes it.
    fn receive(&mut self) -> io::Result<()> {
        let work = self.workers.nth(self.written).packed.recv().map_err(|_| died())??;
        self.written += 1;
        self.out.write_all(&work.packed)?;
        self.spare.push(work);
        Ok(())
    }
}

impl<W: Write> Write for Blocks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK {
            self.send()?;
        }
        self.block.reserve_exact(BLOCK - self.block.len());
        let n = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// Passes on what is packed already: cutting a block short would only make the file longer.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct Worker {
    blocks: SyncSender<Work>,
    packed: Receiver<io::Result<Work>>,
    thread: JoinHandle<Option<Sha256>>,
}

/// The threads. They also hash the blocks, each when the one before it is hashed: the hash goes
/// round from one to the next, so that it is not the feeding thread, on which everything waits,
/// that spends its time on it.
struct Workers(Vec<Worker>);

impl Workers {
    fn start(packers: Vec<Packer>, low_priority: bool) -> io::Result<Self> {
        let count = packers.len();
        let (batons, turns): (Vec<_>, Vec<_>) = (0..count).map(|_| sync_channel(1)).unzip();
        if let Some(first) = batons.first() {
            first.send(Sha256::new()).map_err(|_| died())?;
        }
        let mut this = Self(Vec::with_capacity(count));
        for (n, (packer, turn)) in packers.into_iter().zip(turns).enumerate() {
            this.0.push(Worker::start(packer, turn, batons[(n + 1) % count].clone(), low_priority)?);
        }
        Ok(this)
    }

    fn nth(&self, block: usize) -> &Worker {
        &self.0[block % self.0.len()]
    }

    /// Joins them. The hash, if they were done with all that they were given.
    fn stop(&mut self) -> Option<Sha256> {
        // With nobody to take what it packs, each ends after the block that it is at.
        let threads: Vec<_> = self.0.drain(..).map(|worker| worker.thread).collect();
        // A panic in one has been reported by its closed channel.
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).last()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Worker {
    fn start(
        mut packer: Packer,
        turn: Receiver<Sha256>,
        next: SyncSender<Sha256>,
        low_priority: bool,
    ) -> io::Result<Self> {
        let (blocks, given) = sync_channel::<Work>(DEPTH);
        // Room for all that one worker may have: it never waits for the writer, so it always ends
        // when told to.
        let (done, results) = sync_channel(DEPTH);
        let thread = std::thread::Builder::new().name("compress".into()).spawn(move || {
            if low_priority {
                priority::lower();
            }
            for mut work in given {
                let mut hash = turn.recv().ok()?;
                hash.update(&work.block);
                next.send(hash).ok()?;
                let outcome = packer.pack(&work.block, &mut work.packed).map(|()| work);
                done.send(outcome).ok()?;
            }
            turn.try_recv().ok()
        })?;
        Ok(Self { blocks, packed: results, thread })
    }
}

fn died() -> io::Error {
    io::Error::other("a compressing thread ended unexpectedly")
}
