//! When the transactions of an application begin and end, and which of its pauses are long enough, told from looks at its
//! locks in a row. Pure: takes no clock and looks at nothing itself.
//!
//! A connection that reads before it writes, in one transaction, fails at once where somebody else has the write lock when
//! it comes to write, or has committed since it began to read (SQLITE_BUSY and SQLITE_BUSY_SNAPSHOT,
//! <https://www.sqlite.org/isolation.html>). It is waited for. Not so a process that only ever reads, one that takes the
//! write lock as it begins, and one that reads for very long, as a replicator does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Without a transaction for so long, the application is not at work.
pub(super) const QUIET: Duration = Duration::from_millis(150);

/// Pauses that are remembered, and how many of them there must be before one is foretold.
const REMEMBERED: usize = 64;
const ENOUGH: usize = 3;

/// Of what is left of a pause by all that is known of the ones before, this part may be used.
const USED: u32 = 2;

/// Transactions that only read, in a row, until a process is taken for one that never writes.
const ONLY_READS: u32 = 100;

/// Transactions that wrote, after which half of what was seen of a process' reading is forgotten: a look that comes between
/// the two locks of one that takes both at once is rare, and must not count for ever.
const HALVED_AFTER: u32 = 64;

/// Not seen for so long, a process is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A process by its number; 0 stands for all those that cannot be told apart (of another container).
pub(super) type Process = i32;

/// What was seen of the locks at one moment; nothing of our own process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Since the first look.
    pub(super) at: Duration,
    /// Bytes on which somebody keeps a state to read from, and who; stayed for a moment and not only passed by.
    pub(super) readers: Vec<(u64, Process)>,
    /// Who has the write lock.
    pub(super) writer: Option<Process>,
    /// Changes with every commit.
    pub(super) commits: u32,
}

/// What is known of a process.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// Transactions in which it was seen to read without the write lock, less what is forgotten.
    reads: u32,
    /// The same in a row, without one that wrote.
    only_reads: u32,
    /// Since half was forgotten.
    writes: u32,
    has_written: bool,
    reads_now: bool,
    writes_now: bool,
    seen: Duration,
}

impl Known {
    /// Whether a commit of ours may make it fail.
    const fn is_at_risk(&self) -> bool {
        self.reads > 0 && (self.has_written || self.only_reads < ONLY_READS)
    }
}

/// What can be said of the moment of the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Somebody is at it, or it is not known how long they will not be.
    Taken,
    /// A transaction has ended, and for so long none will begin, by all that was seen.
    Pause(Duration),
    /// Nobody has been at it for [`QUIET`].
    Quiet,
}

/// What was learned from all looks.
#[derive(Debug)]
pub(super) struct Turns {
    /// Between two looks.
    interval: Duration,
    /// Whoever reads for longer is not waited for.
    longest: Duration,
    held: BTreeMap<u64, (Process, Duration)>,
    known: BTreeMap<Process, Known>,
    pauses: VecDeque<Duration>,
    commits: Option<u32>,
    /// Somebody whom a commit of ours may make fail is in a transaction.
    is_taken: bool,
    /// Somebody else has the write lock.
    is_written: bool,
    /// When the last of them ended.
    since: Duration,
    at: Duration,
    /// We hold the write lock: who comes now may come for that.
    ours: bool,
}

impl Turns {
    /// With the time between two looks, and for how long a reader is waited for.
    pub(super) fn new(interval: Duration, longest: Duration) -> Self {
        Self {
            interval,
            longest,
            held: BTreeMap::new(),
            known: BTreeMap::new(),
            pauses: VecDeque::new(),
            commits: None,
            is_taken: false,
            is_written: false,
            since: Duration::ZERO,
            at: Duration::ZERO,
            ours: false,
        }
    }

    /// We begin to write, or have ended.
    pub(super) fn we_write(&mut self, ours: bool) {
        self.ours = ours;
        // Our own commit is none of the application's.
        self.commits = None;
    }

    /// Learns from the next look.
    pub(super) fn see(&mut self, look: &Look) {
        self.at = look.at;
        let committed = self.commits.replace(look.commits).is_some_and(|before| before != look.commits);
        self.learn(look);
        self.hold(look, committed);
        let taken = self.taken(look);
        // One that was too short to be seen; nobody's, where all who are known need not be waited for.
        let passed = committed && (self.known.is_empty() || self.known.values().any(Known::is_at_risk));
        match (self.is_taken, taken) {
            (false, true) => self.paused(),
            (true, false) => self.since = look.at,
            (false, false) if passed && !self.ours => {
                self.paused();
                self.since = look.at;
            }
            _ => {}
        }
        self.is_taken = taken;
        self.is_written = look.writer.is_some();
    }

    /// Whether somebody is in a transaction whom a commit of ours may make fail.
    pub(super) const fn is_taken(&self) -> bool {
        self.is_taken
    }

    /// What the last look says.
    pub(super) fn moment(&self) -> Moment {
        if self.is_taken || self.is_written {
            return Moment::Taken;
        }
        let passed = self.at.saturating_sub(self.since);
        if passed >= QUIET {
            return Moment::Quiet;
        }
        // The shortest of those that have lasted as long as this one has.
        let next = self.pauses.iter().filter(|pause| **pause > passed).min();
        match next {
            Some(next) if self.pauses.len() >= ENOUGH => Moment::Pause((*next - passed) / USED),
            _ => Moment::Taken,
        }
    }

    /// Who has been on which byte since when. Two transactions of one process look like one where its pauses are shorter than
    /// the time between two looks; its commits tell them apart.
    fn hold(&mut self, look: &Look, committed: bool) {
        let before = std::mem::take(&mut self.held);
        for &(byte, process) in &look.readers {
            let writes = self.known.get(&process).is_some_and(|known| known.has_written);
            let stays = |held: &&(Process, Duration)| held.0 == process && !(committed && writes);
            let since = before.get(&byte).filter(stays).map_or(look.at, |held| held.1);
            self.held.insert(byte, (process, since));
        }
    }

    fn learn(&mut self, look: &Look) {
        let new = look.readers.iter().map(|(_, process)| *process).chain(look.writer);
        for process in new {
            self.known.entry(process).or_default().seen = look.at;
        }
        for (process, known) in &mut self.known {
            let reads = look.readers.iter().any(|(_, reader)| reader == process);
            let writes = look.writer == Some(*process);
            if writes && !known.writes_now {
                known.has_written = true;
                known.only_reads = 0;
                known.writes += 1;
                if known.writes == HALVED_AFTER {
                    known.writes = 0;
                    known.reads /= 2;
                }
            }
            if reads && !writes && !known.reads_now {
                known.reads += 1;
                known.only_reads += 1;
            }
            known.reads_now = reads && (known.reads_now || !writes);
            known.writes_now = writes;
        }
        self.known.retain(|_, known| look.at.saturating_sub(known.seen) < FORGOTTEN);
    }

    fn taken(&self, look: &Look) -> bool {
        let is_at_risk = |process: &Process| self.known.get(process).is_some_and(Known::is_at_risk);
        let is_long =
            |byte| self.held.get(byte).is_some_and(|held| look.at.saturating_sub(held.1) >= self.longest);
        // Outside WAL mode, who writes at last has no other lock.
        look.writer.as_ref().is_some_and(is_at_risk)
            || look.readers.iter().any(|(byte, process)| is_at_risk(process) && !is_long(byte))
    }

    /// A transaction has begun: the pause before it is over.
    fn paused(&mut self) {
        // It began and the one before ended somewhere between two looks.
        let lasted = self.at.saturating_sub(self.since).saturating_sub(self.interval);
        if self.ours || self.since.is_zero() {
            return;
        }
        if self.pauses.len() == REMEMBERED {
            self.pauses.pop_front();
        }
        self.pauses.push_back(lasted);
    }
}
