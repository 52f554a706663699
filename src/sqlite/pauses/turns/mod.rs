//! When the transactions of an application begin and end, and which of its pauses are long enough,
//! told from looks at its locks in a row. Pure: takes no clock and looks at nothing itself.
//!
//! A connection that reads before it writes, in one transaction, fails at once where somebody else
//! has the write lock when it comes to write, or has committed since it began to read (SQLITE_BUSY
//! and SQLITE_BUSY_SNAPSHOT, <https://www.sqlite.org/isolation.html>). It is waited for. Not so a
//! process that only ever reads, one that takes the write lock as it begins, however much it reads
//! besides, and one that reads for very long, as a replicator does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::sqlite::pauses::beginnings::Beginning;
use crate::sqlite::pauses::process::ProcessFacts;
use crate::sqlite::pauses::protocol::{Process, Reader};

/// Without a transaction for so long, the application is not at work.
pub(in crate::sqlite::pauses) const QUIET: Duration = Duration::from_millis(150);

/// Pauses that are remembered, and how many of them there must be before one is foretold.
const REMEMBERED: usize = 64;
const ENOUGH: usize = 3;

/// Of what is left of a pause by all that is known of the ones before, this part may be used.
const USED: u32 = 2;

/// One in so many of the pauses that are remembered may be shorter than what is foretold. Late
/// looks make some pauses seem shorter than they were, and one who comes early after all is seen
/// before our COMMIT, which is then not made.
const SHORTER: usize = 10;

/// Not seen for so long, a process is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What was seen of the locks at one moment; nothing of our own process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sqlite::pauses) struct Look {
    /// Since the first look.
    pub(in crate::sqlite::pauses) at: Duration,
    /// Bytes on which somebody keeps a state to read from, and who; stayed for a moment and not
    /// only passed by.
    pub(in crate::sqlite::pauses) readers: Vec<Reader>,
    /// Bytes on which a lock of our own is in front of any other.
    pub(in crate::sqlite::pauses) hidden: Vec<u64>,
    /// Who has the write lock.
    pub(in crate::sqlite::pauses) writer: Option<Process>,
    /// Somebody makes a checkpoint: it holds up who begins to write.
    pub(in crate::sqlite::pauses) checkpoint: bool,
    /// Changes with every commit.
    pub(in crate::sqlite::pauses) commits: u32,
}

/// What can be said of the moment of the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sqlite::pauses) enum Moment {
    /// Somebody is at it, or it is not known how long they will not be.
    Taken,
    /// A transaction has ended, and for so long none will begin, by all that was seen.
    Pause(Duration),
    /// Nobody has been at it for [`QUIET`].
    Quiet,
}

/// What was learned from all looks.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(in crate::sqlite::pauses) struct Turns {
    /// Whoever reads for longer is not waited for.
    longest: Duration,
    held: BTreeMap<u64, (Process, Duration)>,
    known: BTreeMap<Process, ProcessFacts>,
    pauses: VecDeque<Duration>,
    commits: Option<u32>,
    /// Somebody whom a commit of ours may make fail is in a transaction.
    is_taken: bool,
    /// Somebody else has the write lock, or makes a checkpoint.
    is_written: bool,
    /// The first look after the last of them has ended, and whether we wrote then.
    since: Duration,
    since_ours: bool,
    /// The last look, and the one before it.
    at: Duration,
    before: Duration,
    /// We hold the write lock: who comes now may come for that.
    ours: bool,
    /// How transactions begin is looked at where it has to be known.
    studies: bool,
}

impl Turns {
    /// With how long a reader is waited for.
    pub(in crate::sqlite::pauses) fn new(longest: Duration) -> Self {
        Self {
            longest,
            held: BTreeMap::new(),
            known: BTreeMap::new(),
            pauses: VecDeque::new(),
            commits: None,
            is_taken: false,
            is_written: false,
            since: Duration::ZERO,
            since_ours: true,
            at: Duration::ZERO,
            before: Duration::ZERO,
            ours: false,
            studies: true,
        }
    }

    /// How transactions begin will not be looked at any more.
    pub(in crate::sqlite::pauses) const fn end_study(&mut self) {
        self.studies = false;
    }

    /// We begin to write, or have ended.
    pub(in crate::sqlite::pauses) fn we_write(&mut self, ours: bool) {
        self.ours = ours;
        // Our own commit is none of the application's.
        self.commits = None;
    }

    /// Learns from the next look.
    pub(in crate::sqlite::pauses) fn see(&mut self, look: &Look) {
        self.before = std::mem::replace(&mut self.at, look.at);
        let committed = self.commits.replace(look.commits).is_some_and(|before| before != look.commits);
        self.learn(look, committed);
        self.hold(look, committed);
        let taken = self.taken(look);
        // One that was too short to be seen; nobody's, where all who are known to write need not be
        // waited for.
        let passed = committed
            && (!self.knows_a_writer() || self.known.values().any(|known| known.is_at_risk(self.studies)));
        match (self.is_taken, taken) {
            (false, true) => self.paused(),
            (true, false) => (self.since, self.since_ours) = (look.at, self.ours),
            (false, false) if passed && !self.ours => {
                self.paused();
                (self.since, self.since_ours) = (look.at, false);
            }
            _ => {}
        }
        self.is_taken = taken;
        self.is_written = look.writer.is_some() || look.checkpoint;
    }

    /// Learns how a transaction of this process began, that has come to write.
    pub(in crate::sqlite::pauses) fn study(&mut self, process: Process, beginning: Beginning) {
        let known = self.known.entry(process).or_default();
        known.seen = self.at;
        known.study(beginning);
    }

    /// Whether it is worth to see how the transactions of this process begin, because it is waited
    /// for otherwise.
    pub(in crate::sqlite::pauses) fn is_worth_study(&self, process: Process) -> bool {
        self.known.get(&process).is_none_or(|known| known.is_worth_study(self.studies))
    }

    /// Whether somebody is waited for, or has committed, of whom that may not be known well enough.
    pub(in crate::sqlite::pauses) fn wants_study(&self) -> bool {
        self.studies
            && self.moment() != Moment::Quiet
            && (!self.knows_a_writer() || self.known.keys().any(|process| self.is_worth_study(*process)))
    }

    fn knows_a_writer(&self) -> bool {
        self.known.values().any(|known| known.has_written)
    }

    /// Whether one of these, who were seen by other means to read, may be made to fail by a commit
    /// of ours.
    pub(in crate::sqlite::pauses) fn is_taken_by(&self, readers: &[Reader]) -> bool {
        readers.iter().any(|(byte, process)| {
            // Somebody who was never seen may do anything.
            let is_at_risk =
                self.known.get(process).is_none_or(|known| known.is_at_risk(self.studies) || known.is_new());
            is_at_risk && !self.is_long(*byte, *process)
        })
    }

    /// What the last look says.
    pub(in crate::sqlite::pauses) fn moment(&self) -> Moment {
        if self.is_taken || self.is_written {
            return Moment::Taken;
        }
        let passed = self.at.saturating_sub(self.since);
        if passed >= QUIET {
            return Moment::Quiet;
        }
        // Of those that have lasted as long as this one has, nearly the shortest.
        let mut longer: Vec<Duration> = self.pauses.iter().copied().filter(|pause| *pause > passed).collect();
        longer.sort_unstable();
        match longer.get(longer.len() / SHORTER) {
            Some(next) if self.pauses.len() >= ENOUGH => Moment::Pause(next.saturating_sub(passed) / USED),
            _ => Moment::Taken,
        }
    }

    /// Who has been on which byte since when. Two transactions of one process look like one where
    /// its pauses are shorter than the time between two looks; its commits tell them apart.
    fn hold(&mut self, look: &Look, committed: bool) {
        let mut before = std::mem::take(&mut self.held);
        for byte in &look.hidden {
            self.held.extend(before.remove_entry(byte));
        }
        for &(byte, process) in &look.readers {
            let writes = self.known.get(&process).is_some_and(|known| known.has_written);
            let stays = |held: &&(Process, Duration)| held.0 == process && !(committed && writes);
            let since = before.get(&byte).filter(stays).map_or(look.at, |held| held.1);
            self.held.insert(byte, (process, since));
        }
    }

    fn learn(&mut self, look: &Look, committed: bool) {
        let new = look.readers.iter().map(|(_, process)| *process).chain(look.writer);
        for process in new {
            self.known.entry(process).or_default().seen = look.at;
        }
        for (process, known) in &mut self.known {
            let reads = look.readers.iter().any(|(_, reader)| reader == process);
            let writes = look.writer == Some(*process);
            known.see(reads, writes, committed);
        }
        self.known.retain(|_, known| look.at.saturating_sub(known.seen) < FORGOTTEN);
    }

    /// Whether somebody has read for so long that nobody waits for him.
    fn is_long(&self, byte: u64, process: Process) -> bool {
        let held = self.held.get(&byte).filter(|(known, _)| *known == process);
        held.is_some_and(|(_, since)| self.at.saturating_sub(*since) >= self.longest)
    }

    fn taken(&self, look: &Look) -> bool {
        let is_at_risk =
            |process: &Process| self.known.get(process).is_some_and(|known| known.is_at_risk(self.studies));
        // Outside WAL mode, who writes at last has no other lock.
        look.writer.as_ref().is_some_and(is_at_risk)
            || look
                .readers
                .iter()
                .any(|(byte, process)| is_at_risk(process) && !self.is_long(*byte, *process))
    }

    /// A transaction has begun: the pause before it is over.
    fn paused(&mut self) {
        // What came while we wrote may have come for that; and of the first pause nobody knows the
        // beginning.
        if self.ours || self.since_ours {
            return;
        }
        // From look to look: it began and the one before ended somewhere between two, however late
        // they came.
        let lasted = self.before.saturating_sub(self.since);
        if self.pauses.len() == REMEMBERED {
            self.pauses.pop_front();
        }
        self.pauses.push_back(lasted);
    }
}

#[cfg(test)]
mod tests;
