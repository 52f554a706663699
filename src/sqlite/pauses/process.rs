//! What is known of one process that uses the database, and whether a commit of ours may make a
//! transaction of it fail. Pure.

use std::time::Duration;

use super::beginnings::{Beginning, HALVED_AFTER, Habit, SELDOM, Study};

/// Transactions that ended without a commit, in a row, until a process is taken for one that never
/// writes.
const ONLY_READS: u32 = 20;

/// What is known of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProcessFacts {
    /// Transactions in which it was seen to read without the write lock, less what is forgotten.
    reads: u32,
    /// Those that ended while nobody committed, in a row, without one that wrote.
    only_reads: u32,
    /// Transactions in which it was seen with the write lock, less what is forgotten.
    writes: u32,
    /// It was seen to write at least once.
    pub(super) has_written: bool,
    study: Study,
    reads_now: bool,
    writes_now: bool,
    /// The last look that showed it.
    pub(super) seen: Duration,
}

impl ProcessFacts {
    /// Whether nothing was seen of it but its lock.
    pub(super) const fn is_new(&self) -> bool {
        self.reads == 0 && !self.has_written
    }

    /// Whether a commit of ours may make it fail; as far as that is known, where its transactions
    /// `may_be_studied` still.
    pub(super) const fn is_at_risk(&self, may_be_studied: bool) -> bool {
        match self.study.habit() {
            Habit::ReadsFirst => return true,
            Habit::WritesAtOnce => return false,
            Habit::Unknown if self.has_written && may_be_studied => return true,
            Habit::Unknown | Habit::Unclear => {}
        }
        let reads = self.reads > 0 && self.reads * SELDOM >= self.writes;
        reads && (self.has_written || self.only_reads < ONLY_READS)
    }

    /// Whether it is worth to see how its transactions begin, because it is waited for otherwise.
    pub(super) const fn is_worth_study(&self, may_be_studied: bool) -> bool {
        self.is_at_risk(may_be_studied) && !self.study.is_sure()
    }

    /// Learns from the next look what it does, and whether anybody has `committed` since the one
    /// before.
    pub(super) const fn see(&mut self, reads: bool, writes: bool, committed: bool) {
        if writes && !self.writes_now {
            self.has_written = true;
            self.only_reads = 0;
            self.writes += 1;
            if self.writes == HALVED_AFTER {
                self.writes /= 2;
                self.reads /= 2;
            }
        }
        if reads && !writes && !self.reads_now {
            self.reads += 1;
        }
        if self.reads_now && !reads && !committed {
            self.only_reads += 1;
        }
        self.reads_now = reads && (self.reads_now || !writes);
        self.writes_now = writes;
    }

    /// Learns how a transaction of it began, that has come to write.
    pub(super) fn study(&mut self, beginning: Beginning) {
        self.has_written = true;
        self.study.add(beginning);
    }
}
