//! The process of ours that looks at the locks of an application: asked by `fcntl` (F_GETLK), the
//! kernel tells who has one without taking it. The process that has SQLite's connections must not
//! do that itself: to look, a file must be opened, and when it is closed all locks of that process
//! on it are gone (HAZARDS H1). `/proc/locks` tells the same, but not under our unit, and not of
//! other containers. Must never lock or write anything.
//!
//! It is asked line by line on its input, answers on its output, and ends when its input does.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Flock, FlockOffsetType, FlockType, Pid, fcntl_getlk, getppid};

use super::beginnings::Beginnings;
use super::protocol::{Answer, Locks, Process, Question, Reader};
use super::turns::{Look, Moment, Turns};
use crate::error::{Error, Reason, Result};
use crate::sqlite::files::access::Identity;

/// Between two looks.
const INTERVAL: Duration = Duration::from_micros(400);

/// While somebody is studied, so much of that is looked without a rest; and on, while he reads, for
/// so long.
const GLANCE: Duration = Duration::from_micros(200);
const GAZE: Duration = Duration::from_millis(2);

/// What all of that may take, for it takes a processor.
const STUDY: Duration = Duration::from_secs(5);

/// A lock to read that is gone sooner was not one of a transaction that reads before it writes: who
/// takes the write lock as it begins has both within some microseconds.
const PASSING: Duration = Duration::from_micros(60);

/// Where SQLite keeps its locks (`os_unix.c`, `wal.c`): ranges of bytes in a file, and where in it
/// a number is that changes with each commit.
#[derive(Debug)]
struct Places {
    readers: &'static [(u64, u64)],
    writer: u64,
    checkpoint: Option<u64>,
    /// All of them, so that one question does where there are none.
    all: (u64, u64),
    commits: u64,
    /// Between the two locks of a transaction that writes at once, at most, where that is more than
    /// some system calls: outside WAL mode it looks for a journal and reads the first page
    /// (measured: nine of ten within 30 µs). A program in machine code that reads first is within
    /// 35 µs, too; but there a VACUUM keeps everybody from reading, and none of its transactions
    /// fails.
    apart: Duration,
}

/// WAL_READ_LOCK(0) to (4), WAL_WRITE_LOCK and WAL_CKPT_LOCK in the `-shm`, and iChange of the
/// index' header.
const LOG: Places = Places {
    readers: &[(123, 1), (124, 1), (125, 1), (126, 1), (127, 1)],
    writer: 120,
    checkpoint: Some(121),
    all: (120, 8),
    commits: 8,
    apart: Duration::ZERO,
};

/// SHARED and RESERVED in the database, and the counter of changes of its header.
const FILE: Places = Places {
    readers: &[(0x4000_0002, 510)],
    writer: 0x4000_0001,
    checkpoint: None,
    all: (0x4000_0000, 512),
    commits: 24,
    apart: Duration::from_micros(100),
};

impl Places {
    /// One range that has all of those who read.
    const fn all_readers(&self) -> (u64, u64) {
        let (first, last) = (self.readers[0], self.readers[self.readers.len() - 1]);
        (first.0, last.0 + last.1 - first.0)
    }
}

struct Watcher {
    file: File,
    places: &'static Places,
    /// Whose locks are our own.
    parent: Option<Pid>,
    began: Instant,
    turns: Turns,
    beginnings: Beginnings,
    /// How long was studied.
    studied: Duration,
}

/// Looks at the locks on `path` and answers, until the input ends. `longest`: for how long somebody
/// who reads is waited for.
pub fn serve(path: &Path, locks: Locks, identity: Identity, longest: Duration) -> Result<()> {
    let parent = getppid();
    let file = opened(path, identity)?;
    let places = match locks {
        Locks::Log => &LOG,
        Locks::File => &FILE,
    };
    let turns = Turns::new(longest);
    let beginnings = Beginnings::new(places.apart);
    Watcher { file, places, parent, began: Instant::now(), turns, beginnings, studied: Duration::ZERO }
        .serve()
        .map_err(|e| Error::io(format!("cannot watch the locks on {}", path.display()), &e))
}

/// The very file that was meant, and no link or device in its place.
fn opened(path: &Path, identity: Identity) -> Result<File> {
    let failed = |e: rustix::io::Errno| Error::io(format!("cannot open {}", path.display()), &e.into());
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    let is_regular = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    if !is_regular || (stat.st_dev, stat.st_ino) != identity {
        let text = format!("{} is not the file that is meant", path.display());
        return Err(Error::new(Reason::Replaced, text));
    }
    Ok(File::from(file))
}

impl Watcher {
    fn serve(mut self) -> io::Result<()> {
        say(Answer::Ready)?;
        let (stdin, mut unread) = (io::stdin(), Vec::new());
        // Until when a moment is waited for, and how long it has to last; and the longest that
        // would have been had.
        let mut waits: Option<(Instant, Duration)> = None;
        let mut longest = Duration::ZERO;
        loop {
            let studies = waits.is_some() && self.turns.wants_study();
            let asked = has_input(&stdin, if studies { INTERVAL.saturating_sub(GLANCE) } else { INTERVAL })?;
            if studies && !asked {
                self.study()?;
            }
            self.look()?;
            if asked {
                let mut buffer = [0; 256];
                let count = rustix::io::read(stdin.as_fd(), &mut buffer)?;
                if count == 0 {
                    return Ok(());
                }
                unread.extend_from_slice(&buffer[..count]);
            }
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                match Question::read(&String::from_utf8_lossy(&line)) {
                    Some(Question::Wait { most, least }) => {
                        self.turns.we_write(false);
                        waits = Some((Instant::now() + most, least));
                        longest = Duration::ZERO;
                    }
                    Some(Question::IsFree(readers)) => {
                        let is_taken = self.turns.is_taken_by(&readers);
                        say(if is_taken { Answer::Taken } else { Answer::Free })?;
                    }
                    Some(Question::Over) => self.turns.we_write(false),
                    None => return Err(io::ErrorKind::InvalidInput.into()),
                }
            }
            let Some((until, least)) = waits else { continue };
            let answer = match self.turns.moment() {
                Moment::Quiet => Answer::Quiet,
                Moment::Pause(lasts) if lasts >= least => Answer::Pause(lasts),
                Moment::Pause(lasts) => {
                    longest = longest.max(lasts);
                    Answer::None(longest)
                }
                Moment::Taken => Answer::None(longest),
            };
            let is_none = matches!(answer, Answer::None(_));
            if !is_none || Instant::now() >= until {
                self.turns.we_write(!is_none);
                waits = None;
                say(answer)?;
            }
        }
    }

    fn look(&mut self) -> io::Result<()> {
        let mut look = Look { at: self.began.elapsed(), commits: self.commits()?, ..Look::default() };
        if holder(&self.file, self.places.all)?.is_some() {
            look.writer = self.other((self.places.writer, 1))?;
            if let Some(byte) = self.places.checkpoint {
                look.checkpoint = self.other((byte, 1))?.is_some();
            }
            (look.readers, look.hidden) = self.readers()?;
            if !look.readers.is_empty() && look.writer.is_none() {
                self.pass(&mut look)?;
            }
        }
        self.turns.see(&look);
        Ok(())
    }

    /// Sees how transactions begin.
    fn study(&mut self) -> io::Result<()> {
        let began = Instant::now();
        self.beginnings.rest();
        loop {
            let writer = holder(&self.file, (self.places.writer, 1))?;
            let reader = holder(&self.file, self.places.all_readers())?;
            // Our own locks are in front of those of others.
            if [&writer, &reader].into_iter().flatten().any(|(process, _)| self.is_ours(*process)) {
                break;
            }
            let reader = reader.filter(|(_, lock)| *lock == FlockType::ReadLock).map(|(process, _)| process);
            let writer = writer.map(|(process, _)| process);
            let at = began.elapsed();
            if let Some((process, beginning)) = self.beginnings.see(at, reader, writer) {
                self.turns.study(process, beginning);
            }
            let goes_on = self.beginnings.reader().is_some_and(|process| self.turns.is_worth_study(process));
            if at >= if goes_on { GAZE } else { GLANCE } {
                break;
            }
        }
        self.studied += began.elapsed();
        if self.studied >= STUDY {
            self.turns.end_study();
        }
        Ok(())
    }

    /// Leaves those who stay, or the write lock that they have taken.
    fn pass(&self, look: &mut Look) -> io::Result<()> {
        let since = Instant::now();
        while since.elapsed() < PASSING {
            let (now, _) = self.readers()?;
            look.readers.retain(|reader| now.contains(reader));
            look.writer = self.other((self.places.writer, 1))?;
            if look.readers.is_empty() || look.writer.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn other(&self, range: (u64, u64)) -> io::Result<Option<Process>> {
        Ok(holder(&self.file, range)?.map(|(process, _)| process).filter(|process| !self.is_ours(*process)))
    }

    /// Those who read, and the bytes on which a lock of our own may hide others.
    fn readers(&self) -> io::Result<(Vec<Reader>, Vec<u64>)> {
        let (mut found, mut hidden) = (Vec::new(), Vec::new());
        for &range in self.places.readers {
            // A lock that lets nobody else in is of a checkpoint, or of who moves the mark.
            match holder(&self.file, range)? {
                Some((process, _)) if self.is_ours(process) => hidden.push(range.0),
                Some((process, FlockType::ReadLock)) => found.push((range.0, process)),
                _ => {}
            }
        }
        Ok((found, hidden))
    }

    fn is_ours(&self, process: Process) -> bool {
        process == Pid::as_raw(self.parent)
    }

    fn commits(&self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        // A file that was just made has none.
        rustix::io::pread(&self.file, &mut bytes, self.places.commits)?;
        Ok(u32::from_ne_bytes(bytes))
    }
}

/// Who reads from a write-ahead log, by SQLite's own descriptor of its `-shm` in this process: none
/// of our own locks. Only those who stay for a moment.
pub(super) fn others(log: impl AsFd) -> io::Result<Vec<Reader>> {
    let look = || -> io::Result<Vec<_>> {
        let mut found = Vec::new();
        for &range in LOG.readers {
            if let Some((process, FlockType::ReadLock)) = holder(&log, range)? {
                found.push((range.0, process));
            }
        }
        Ok(found)
    };
    let mut found = look()?;
    let since = Instant::now();
    while !found.is_empty() && since.elapsed() < PASSING {
        let now = look()?;
        found.retain(|reader| now.contains(reader));
    }
    Ok(found)
}

/// Who has a lock on one of the bytes; the first, where there are several.
fn holder(file: impl AsFd, (start, length): (u64, u64)) -> io::Result<Option<(Process, FlockType)>> {
    let wanted =
        Flock { start, length, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    let found = fcntl_getlk(file, &wanted)?;
    Ok(found.map(|lock| (Pid::as_raw(lock.pid), lock.typ)))
}

/// Waits for the next look, or for the next question.
fn has_input(stdin: &io::Stdin, rest: Duration) -> io::Result<bool> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: rest.subsec_nanos().into() };
    let mut polled = [PollFd::new(stdin, PollFlags::IN)];
    match poll(&mut polled, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn say(answer: Answer) -> io::Result<()> {
    io::stdout().write_all(format!("{answer}\n").as_bytes())?;
    io::stdout().flush()
}
