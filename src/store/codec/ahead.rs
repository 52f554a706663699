//! Reading on a thread of its own, a few chunks ahead of whoever takes them, so that unpacking,
//! hashing and writing go on at the same time. Changes no byte and no error. Must never hold more
//! than a few chunks, nor outlive its owner.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes read at a time: small enough to be still in the processor's cache when the next thread
/// takes it.
const CHUNK: usize = 256 << 10;

/// Chunks that wait to be taken, so that neither side stops whenever the other one does.
const DEPTH: usize = 4;

/// A reader that is read ahead.
pub(in crate::store) struct ReadAhead {
    /// `None` once the end or an error was met.
    chunks: Option<Receiver<io::Result<Chunk>>>,
    spare: SyncSender<Chunk>,
    chunk: Chunk,
    taken: usize,
    thread: Option<JoinHandle<()>>,
}

/// The first `length` bytes of a buffer. None: the end.
#[derive(Default)]
struct Chunk {
    buffer: Vec<u8>,
    length: usize,
}

impl ReadAhead {
    /// Begins to read.
    pub(in crate::store) fn new(mut from: impl Read + Send + 'static) -> io::Result<Self> {
        let (full, chunks) = sync_channel(DEPTH);
        let (spare, empty) = sync_channel::<Chunk>(DEPTH);
        let thread = std::thread::Builder::new().name("read".into()).spawn(move || {
            loop {
                let mut chunk = empty.try_recv().unwrap_or_default();
                let filled = chunk.fill(&mut from);
                let is_last = chunk.length == 0 || filled.is_err();
                // The owner may have lost interest.
                if full.send(filled.map(|()| chunk)).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self { chunks: Some(chunks), spare, chunk: Chunk::default(), taken: 0, thread: Some(thread) })
    }

    /// Takes the next chunk in place of the one that is used up.
    fn next(&mut self) -> io::Result<()> {
        let Some(chunks) = self.chunks.take() else { return Ok(()) };
        // A panic in the thread has been reported by its closed channel.
        let next = chunks.recv().map_err(|_| io::Error::other("a reading thread ended unexpectedly"))??;
        // Without room for it, it is one buffer too many.
        let _ = self.spare.try_send(std::mem::replace(&mut self.chunk, next));
        self.taken = 0;
        if self.chunk.length > 0 {
            self.chunks = Some(chunks);
        }
        Ok(())
    }
}

impl Chunk {
    fn fill(&mut self, from: &mut impl Read) -> io::Result<()> {
        self.buffer.resize(CHUNK, 0);
        self.length = 0;
        while self.length < CHUNK {
            match from.read(&mut self.buffer[self.length..]) {
                Ok(0) => break,
                Ok(n) => self.length += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.length {
            self.next()?;
        }
        let rest = &self.chunk.buffer[self.taken..self.chunk.length];
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.taken += n;
        Ok(n)
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        // With nobody to take its chunks, the thread ends after the one that it is at.
        self.chunks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn gives_the_bytes_in_their_order_however_they_are_asked_for() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 11 * CHUNK + 3] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut ahead = ReadAhead::new(io::Cursor::new(bytes.clone())).unwrap();
            let (mut all, mut piece) = (Vec::new(), [0; 10_007]);
            loop {
                let n = ahead.read(&mut piece).unwrap();
                if n == 0 {
                    break;
                }
                all.extend_from_slice(&piece[..n]);
            }
            assert!(all == bytes, "{length} bytes");
            assert_eq!(ahead.read(&mut piece).unwrap(), 0, "the end stays the end");
        }
    }

    #[test]
    fn an_error_comes_through_as_it_was_and_after_whole_chunks_only() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        let bytes = io::repeat(7).take(3 * CHUNK as u64);
        let mut all = Vec::new();
        let error = ReadAhead::new(bytes.chain(Broken)).unwrap().read_to_end(&mut all).unwrap_err();
        assert_eq!((error.raw_os_error(), all.len()), (Some(5), 3 * CHUNK));
    }

    #[test]
    fn a_thread_that_died_is_an_error_and_not_the_end() {
        struct Dying;
        impl Read for Dying {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                std::panic::resume_unwind(Box::new("died"))
            }
        }
        let mut all = Vec::new();
        assert!(ReadAhead::new(Dying).unwrap().read_to_end(&mut all).is_err());
    }

    #[test]
    fn dropped_early_it_has_read_a_few_chunks_and_reads_no_more() {
        struct Endless(Arc<AtomicUsize>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.fetch_add(buffer.len(), Ordering::Relaxed);
                Ok(buffer.len())
            }
        }
        let read = Arc::default();
        let mut ahead = ReadAhead::new(Endless(Arc::clone(&read))).unwrap();
        ahead.read_exact(&mut [0; 10]).unwrap();
        drop(ahead);
        assert_eq!(Arc::strong_count(&read), 1, "the thread has ended");
        assert!(read.load(Ordering::Relaxed) <= (DEPTH + 3) * CHUNK);
    }
}
