//! A file on its way into a directory: under a name of its own until it is whole and durable. Must
//! never leave one behind: dropped, it is removed; of a killed process, the next one removes it.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise, fdatasync, fstat};
use rustix::io::Errno;

use super::directory::Directory;
use crate::error::{Error, Reason, Result};

/// How a temporary file's name begins: hidden, so never listed.
pub(super) const PREFIX: &str = ".tmp-";

/// Whoever sweeps holds the lock of a new file for moments only.
const TO_LOCK: Duration = Duration::from_secs(10);

/// Written bytes go to disk this often: one big flush at the end would stall the application's own
/// writes for as long as it lasts.
const FLUSH_EVERY: u64 = 8 << 20;

/// A temporary file. Locked while it lives, which tells it from a dead one.
pub(super) struct Temp<'a> {
    dir: &'a Directory,
    name: String,
    file: Arc<File>,
    /// Still under its temporary name.
    pending: bool,
}

impl<'a> Temp<'a> {
    /// Makes one for the file `name`, after removing dead ones.
    pub(in crate::store) fn create(dir: &'a Directory, name: &str) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        sweep(dir, PREFIX)?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{name}-{}-{number}", std::process::id());
            let Some(file) = dir.create_file(&name)? else { continue };
            let temp = Self { dir, name, file: Arc::new(file), pending: true };
            if is_held(dir, &temp.name, &temp.file)? {
                return Ok(temp);
            }
        }
    }

    /// A writer into it that flushes as it goes.
    pub(super) fn writer(&self) -> FlushingWriter {
        FlushingWriter::new(Arc::clone(&self.file), Behind::Forget)
    }

    /// Makes it durable and gives it its name; with `new`, only if that is not taken.
    pub(super) fn publish(mut self, name: &str, new: bool) -> Result<()> {
        self.file.sync_all().map_err(|e| self.dir.failed("cannot flush", &self.name, e))?;
        // So that whoever reads it next reads what the disk has.
        forget(&self.file, 0, None);
        if !new {
            self.dir.rename(&self.name, name)?;
        } else if !self.dir.rename_new(&self.name, name)? {
            return Err(taken(self.dir, name));
        }
        self.pending = false;
        let synced = self.dir.sync();
        if synced.is_err() && new {
            // Whole or nothing: it might not survive a power cut, so it must not be seen now.
            self.dir.remove(name)?;
        }
        synced
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if self.pending {
            // Gone already, or beyond our reach: a later sweep removes it.
            let _ = self.dir.remove(&self.name);
        }
        let _ = self.file.unlock();
    }
}

/// The error for a name that is taken.
pub(in crate::store) fn taken(dir: &Directory, name: &str) -> Error {
    Error::new(Reason::Refused, format!("{} exists already; it is not overwritten", dir.shown(name)))
}

/// Locks a file that was just made, by which others see that its process lives. `false` where
/// another process has taken it for dead between its making and its locking. A filesystem without
/// locks is no error: nobody can take it for dead.
pub(in crate::store) fn is_held(dir: &Directory, name: &str, file: &File) -> Result<bool> {
    let locked = lock(file, LockKind::Exclusive, TO_LOCK).or_else(|e| match () {
        () if is_without_locks(&e) => Ok(true),
        () => Err(e),
    });
    Ok(locked.map_err(|e| dir.failed("cannot lock", name, e))? && is_linked(file))
}

/// Whether the process that made this file is dead: nobody has it locked, and it still has its
/// name.
pub(super) fn is_abandoned(file: &File) -> bool {
    file.try_lock().is_ok() && is_linked(file)
}

/// Removes the files whose names begin so and that no living process has locked.
pub(in crate::store) fn sweep(dir: &Directory, prefix: &str) -> Result<()> {
    for name in dir.names()?.iter().filter(|n| n.starts_with(prefix)) {
        // One that cannot be opened or locked now is somebody's, or a later put's.
        let Ok(file) = dir.open_file(name, true) else { continue };
        if is_abandoned(&file) && dir.remove(name).is_ok() {
            tracing::info!(path = dir.shown(name), "removed an unfinished file of a run that was killed");
        }
    }
    Ok(())
}

/// Whether the file still has a name.
pub(super) fn is_linked(file: &File) -> bool {
    fstat(file).is_ok_and(|s| s.st_nlink > 0)
}

/// A locked file. Unlocked by name, not by closing alone: a process forked just now has a copy of
/// the descriptor until it executes something else.
pub(super) struct FileLock(pub(super) File);

impl Drop for FileLock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// How a file is locked.
#[derive(Clone, Copy)]
pub(in crate::store) enum LockKind {
    /// With others.
    Shared,
    /// Alone.
    Exclusive,
}

/// Locks a file by `flock`, waiting up to `limit`; `false` when another kept it that long.
pub(in crate::store) fn lock(file: &File, kind: LockKind, limit: Duration) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        let tried = match kind {
            LockKind::Shared => file.try_lock_shared(),
            LockKind::Exclusive => file.try_lock(),
        };
        match tried {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if start.elapsed() >= limit => return Ok(false),
            // Polling, as a waiting flock could be ended by nothing.
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
}

/// Whether a lock could not be had because the filesystem has none, as some that lie elsewhere.
pub(super) fn is_without_locks(error: &io::Error) -> bool {
    let codes = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// What becomes of the page cache behind a [`FlushingWriter`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Behind {
    /// It is let go of: it is the application's, and nobody reads this file soon.
    Forget,
    /// It stays, for whoever reads the file next.
    Keep,
}

/// Writes to a file, and has it sent to disk every [`FLUSH_EVERY`] bytes by a thread of its own, so
/// that the writer goes on meanwhile. At most two such stretches are not on disk: a writer that is
/// faster than the disk waits for it. Remembers its first error, however the caller words it.
pub(in crate::store) struct FlushingWriter {
    file: Arc<File>,
    behind: Behind,
    written: u64,
    /// Where the last stretch that was given to the thread ends.
    given: u64,
    /// Only for a file that is long enough to need it.
    flusher: Option<Flusher>,
    failure: Option<(io::ErrorKind, Option<i32>)>,
}

impl FlushingWriter {
    /// Into `file`, at its start.
    pub(in crate::store) fn new(file: Arc<File>, behind: Behind) -> Self {
        Self { file, behind, written: 0, given: 0, flusher: None, failure: None }
    }

    /// Bytes written.
    pub(in crate::store) fn written(&self) -> u64 {
        self.written
    }

    /// Waits until the thread is done. The first error that a write or a flush met, if any did.
    pub(in crate::store) fn finish(&mut self) -> Option<io::Error> {
        if let Some(flusher) = self.flusher.take()
            && let Err(e) = flusher.finish()
        {
            self.note(&e);
        }
        self.failure.map(|(kind, code)| code.map_or_else(|| kind.into(), io::Error::from_raw_os_error))
    }

    fn note(&mut self, e: &io::Error) {
        if e.kind() != io::ErrorKind::Interrupted {
            self.failure.get_or_insert((e.kind(), e.raw_os_error()));
        }
    }

    fn flush_to_disk(&mut self) -> io::Result<()> {
        let flusher = match self.flusher.take() {
            Some(flusher) => flusher,
            None => Flusher::start(Arc::clone(&self.file), self.behind)?,
        };
        let flusher = self.flusher.insert(flusher);
        flusher.flush(self.given..self.written)?;
        self.given = self.written;
        Ok(())
    }
}

impl Write for FlushingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = (&*self.file).write(bytes).and_then(|n| {
            self.written += n as u64;
            if self.written - self.given >= FLUSH_EVERY {
                self.flush_to_disk()?;
            }
            Ok(n)
        });
        outcome.inspect_err(|e| self.note(e))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A thread that sends stretches of a file to disk, one at a time.
struct Flusher {
    stretches: SyncSender<Range<u64>>,
    done: Receiver<io::Result<()>>,
    /// Whether it is at work on one.
    busy: bool,
    thread: JoinHandle<()>,
}

impl Flusher {
    fn start(file: Arc<File>, behind: Behind) -> io::Result<Self> {
        let (stretches, given) = sync_channel::<Range<u64>>(1);
        let (outcome, done) = sync_channel(1);
        let thread = std::thread::Builder::new().name("flush".into()).spawn(move || {
            for stretch in given {
                if outcome.send(flush(&file, &stretch, behind)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { stretches, done, busy: false, thread })
    }

    /// Begins with a stretch, after the one before it.
    fn flush(&mut self, stretch: Range<u64>) -> io::Result<()> {
        self.wait()?;
        self.stretches.send(stretch).map_err(|_| died())?;
        self.busy = true;
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.busy) {
            return Ok(());
        }
        self.done.recv().map_err(|_| died())?
    }

    fn finish(mut self) -> io::Result<()> {
        let outcome = self.wait();
        drop(self.stretches);
        // A panic in it has been reported by its closed channel.
        let _ = self.thread.join();
        outcome
    }
}

fn flush(file: &File, stretch: &Range<u64>, behind: Behind) -> io::Result<()> {
    fdatasync(file)?;
    if behind == Behind::Forget {
        forget(file, stretch.start, NonZeroU64::new(stretch.end - stretch.start));
    }
    Ok(())
}

/// Lets go of the page cache for a stretch of a file, to its end where no length is given, as far
/// as it is on disk. Advice only.
fn forget(file: &File, from: u64, length: Option<NonZeroU64>) {
    let _ = fadvise(file, from, length, Advice::DontNeed);
}

/// Reads a file, and lets go of the page cache behind it: a backup is large, and read once.
pub(super) struct PassingReader {
    file: File,
    read: u64,
    forgotten: u64,
}

impl PassingReader {
    /// From the file's start.
    pub(in crate::store) fn new(file: File) -> Self {
        Self { file, read: 0, forgotten: 0 }
    }
}

impl Read for PassingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read += n as u64;
        if self.read - self.forgotten >= FLUSH_EVERY {
            forget(&self.file, self.forgotten, NonZeroU64::new(self.read - self.forgotten));
            self.forgotten = self.read;
        }
        Ok(n)
    }
}

fn died() -> io::Error {
    io::Error::other("the flushing thread ended unexpectedly")
}
