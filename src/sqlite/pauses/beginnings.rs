//! How a transaction that writes begins, told from looks at its locks without a rest between them.
//! BEGIN IMMEDIATE, and a transaction whose first statement writes, take the lock to read and at
//! once the one to write; in between is at most a read of the first page. One that reads first runs
//! a statement between the two, and may be made to fail by a commit of ours. Pure, as
//! [`super::turns`] is.

use std::time::Duration;

use super::protocol::Process;

/// Between the two locks of a transaction that writes at once lie no more looks where the processor
/// has what SQLite needs in its caches. Counted in looks, which are system calls as SQLite's locks
/// are, it holds for slower machines as well. Measured in WAL mode, with programs in machine code
/// that wait for 0, 5 and 50 ms before each transaction: medians of 0.8, 3.1 and 5.1 looks, and
/// where a single row is read in between 2.4, 6.2 and 18; with one in Python 1.3, 4.8 and 11, and
/// 100.
const CLOSE: u32 = 4;

/// No transaction that writes at once needs as many.
const FAR: u32 = 20;

/// A look that took so many times as long as the quickest was interrupted: nobody knows what
/// happened meanwhile.
const INTERRUPTED: u32 = 4;

/// Transactions that wrote, after which half of what was seen of a process is forgotten.
pub(super) const HALVED_AFTER: u32 = 64;

/// A process that takes the write lock as it begins may be seen with the other one alone: a look
/// comes between the two, and then its turn on the processor is over. Fewer than one in so many of
/// its transactions that wrote count for nothing.
pub(super) const SELDOM: u32 = 8;

/// Transactions that were seen to begin, after which they say what a process does.
pub(super) const STUDIED: u32 = 24;

/// How a transaction began that has come to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With the write lock.
    Immediate,
    /// With the write lock, after a pause, or with a very short read.
    Unclear,
    /// With a read.
    Upgrade,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody has a lock.
    Nobody,
    /// Somebody reads since the moment; whether it was seen to begin.
    Reads(Process, Duration, bool),
    /// Somebody writes, or it is not known what is going on.
    Other,
}

/// What the beginnings of one process' transactions say of it. Older ones count less.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Study {
    /// Transactions that were seen to begin and to come to write, and those of them that read
    /// first, and that may have.
    studied: u32,
    upgrades: u32,
    unclear: u32,
}

/// What a process does as its transactions begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Too few of them were seen.
    Unknown,
    /// It takes the write lock as it begins.
    WritesAtOnce,
    /// Some of them read first.
    ReadsFirst,
    /// Of more than one in [`SELDOM`] it could not be told.
    Unclear,
}

impl Study {
    /// Learns how the next one began.
    pub(super) fn add(&mut self, beginning: Beginning) {
        self.studied += 1;
        match beginning {
            Beginning::Immediate => {}
            Beginning::Unclear => self.unclear += 1,
            Beginning::Upgrade => self.upgrades += 1,
        }
        if self.studied == HALVED_AFTER {
            self.studied /= 2;
            self.upgrades /= 2;
            self.unclear /= 2;
        }
    }

    /// What it says.
    pub(super) const fn habit(&self) -> Habit {
        if self.studied < STUDIED {
            // One that was seen is enough to be careful.
            return if self.upgrades > 0 { Habit::ReadsFirst } else { Habit::Unknown };
        }
        if self.upgrades * SELDOM >= self.studied {
            Habit::ReadsFirst
        } else if self.unclear * SELDOM < self.studied {
            Habit::WritesAtOnce
        } else {
            Habit::Unclear
        }
    }

    /// Whether more of them would change nothing: most read first.
    pub(super) const fn is_sure(&self) -> bool {
        self.studied >= STUDIED && self.upgrades * 2 > self.studied
    }
}

/// Looks in a row at one file.
#[derive(Debug)]
pub(super) struct Beginnings {
    state: State,
    /// The last look.
    at: Option<Duration>,
    /// How long the quickest look took.
    look: Duration,
    /// Between the two locks, at least; where SQLite does more between them than in WAL mode.
    least: Duration,
}

impl Beginnings {
    /// A transaction that reads for less than `least` before it has the write lock is taken for one
    /// that writes at once.
    pub(super) const fn new(least: Duration) -> Self {
        Self { state: State::Other, at: None, look: Duration::MAX, least }
    }

    /// Looks were interrupted, and begin again.
    pub(super) const fn rest(&mut self) {
        self.state = State::Other;
        self.at = None;
    }

    /// Who reads, and is seen to do so for as long as it is looked.
    pub(super) const fn reader(&self) -> Option<Process> {
        match self.state {
            State::Reads(process, ..) => Some(process),
            State::Nobody | State::Other => None,
        }
    }

    /// Learns from the next look: who reads and who has the write lock, other than we.
    pub(super) fn see(
        &mut self,
        at: Duration,
        reader: Option<Process>,
        writer: Option<Process>,
    ) -> Option<(Process, Beginning)> {
        let took = self.at.replace(at).map(|before| at.saturating_sub(before));
        if let Some(took) = took {
            self.look = self.look.min(took);
            if took > self.look.saturating_mul(INTERRUPTED) {
                self.state = State::Other;
            }
        }
        let before = self.state;
        self.state = match (before, reader, writer) {
            (_, None, None) => State::Nobody,
            (_, _, Some(_)) => State::Other,
            (State::Reads(process, since, begun), Some(reader), None) if process == reader => {
                State::Reads(process, since, begun)
            }
            // What is left for a moment of a transaction that wrote.
            (State::Other, Some(_), None) if took.is_some() => State::Other,
            (_, Some(reader), None) => State::Reads(reader, at, before == State::Nobody),
        };
        let writer = writer?;
        match before {
            State::Nobody => Some((writer, Beginning::Immediate)),
            State::Reads(process, since, begun) if process == writer => {
                let apart = at.saturating_sub(since);
                let exceeds = |looks| apart > self.look.saturating_mul(looks).max(self.least);
                match begun {
                    _ if exceeds(FAR) => Some((writer, Beginning::Upgrade)),
                    true if exceeds(CLOSE) => Some((writer, Beginning::Unclear)),
                    true => Some((writer, Beginning::Immediate)),
                    false => None,
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look each microsecond at what is drawn: `r` reads, `w` reads and has the write lock, `.`
    /// nobody, `~` ten microseconds without a look.
    fn seen(drawn: &str) -> Vec<Beginning> {
        let mut beginnings = Beginnings::new(Duration::ZERO);
        let mut now = 0;
        let mut found = Vec::new();
        for what in drawn.chars() {
            now += if what == '~' { 10 } else { 1 };
            let (reader, writer) = match what {
                'r' => (Some(7), None),
                'w' => (Some(7), Some(7)),
                '~' => continue,
                _ => (None, None),
            };
            found.extend(beginnings.see(Duration::from_micros(now), reader, writer));
        }
        found
            .into_iter()
            .map(|(process, beginning)| {
                assert_eq!(process, 7);
                beginning
            })
            .collect()
    }

    #[test]
    fn the_two_locks_lie_close_together_or_far_apart() {
        use Beginning::{Immediate, Unclear, Upgrade};
        let long = "r".repeat(30);
        assert_eq!(seen("...wwwr...rrrwwr..."), [Immediate, Immediate]);
        assert_eq!(seen("...rrrrrw"), [Unclear]);
        assert_eq!(seen(&format!("..{long}wwwr..rrrr...{long}w")), [Upgrade, Upgrade]);
        // Between what it reads and what it writes it had no lock.
        assert_eq!(seen(&format!("..{long}.wwwr..{long}.rrww")), [Immediate, Immediate]);
    }

    #[test]
    fn what_was_not_seen_to_begin_or_was_not_seen_for_a_while_counts_for_nothing_unless_it_was_long() {
        let long = "r".repeat(30);
        assert_eq!(seen("rrw..."), []);
        assert_eq!(seen("rrrrrrw..."), []);
        assert_eq!(seen(&format!("{long}w...")), [Beginning::Upgrade]);
        assert_eq!(seen("...~rrrw..."), []);
        assert_eq!(seen(&format!("...{long}~w...")), []);
        assert_eq!(seen("...~w...w"), [Beginning::Immediate]);
    }

    #[test]
    fn who_writes_while_somebody_else_reads_is_not_taken_for_him() {
        let mut beginnings = Beginnings::new(Duration::ZERO);
        for at in 1..50 {
            assert_eq!(beginnings.see(Duration::from_micros(at), Some(7), None), None);
        }
        assert_eq!(beginnings.see(Duration::from_micros(50), Some(7), Some(8)), None);
    }
}
