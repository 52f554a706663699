//! When the transactions of an application begin and end, and which of its pauses are long enough, told from looks at its
//! locks in a row. Pure: takes no clock and looks at nothing itself.
//!
//! A connection that reads before it writes, in one transaction, fails at once where somebody else has the write lock when
//! it comes to write, or has committed since it began to read (SQLITE_BUSY and SQLITE_BUSY_SNAPSHOT,
//! <https://www.sqlite.org/isolation.html>). It is waited for. Not so a process that only ever reads, one that takes the
//! write lock as it begins, however much it reads besides, and one that reads for very long, as a replicator does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::beginnings::Beginning;

/// Without a transaction for so long, the application is not at work.
pub(super) const QUIET: Duration = Duration::from_millis(150);

/// Pauses that are remembered, and how many of them there must be before one is foretold.
const REMEMBERED: usize = 64;
const ENOUGH: usize = 3;

/// Of what is left of a pause by all that is known of the ones before, this part may be used.
const USED: u32 = 2;

/// One in so many of the pauses that are remembered may be shorter than what is foretold. Late looks make some pauses seem
/// shorter than they were, and one who comes early after all is seen before our COMMIT, which is then not made.
const SHORTER: usize = 10;

/// Transactions that ended without a commit, in a row, until a process is taken for one that never writes.
const ONLY_READS: u32 = 20;

/// Transactions that wrote, after which half of what was seen of a process is forgotten.
const HALVED_AFTER: u32 = 64;

/// A process that takes the write lock as it begins may be seen with the other one alone: a look comes between the two, and
/// then its turn on the processor is over. Fewer than one in so many of its transactions that wrote count for nothing.
const SELDOM: u32 = 8;

/// Transactions that were seen to begin, after which that says what a process does. Where it is not clear of more than one in
/// [`SELDOM`] of them, what is seen of its reads counts.
const STUDIED: u32 = 24;

/// Not seen for so long, a process is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A process by its number; 0 stands for all those that cannot be told apart (of another container).
pub(super) type Process = i32;

/// The byte on which somebody keeps a state to read from, and who.
pub(super) type Reader = (u64, Process);

/// What was seen of the locks at one moment; nothing of our own process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Since the first look.
    pub(super) at: Duration,
    /// Bytes on which somebody keeps a state to read from, and who; stayed for a moment and not only passed by.
    pub(super) readers: Vec<(u64, Process)>,
    /// Bytes on which a lock of our own is in front of any other.
    pub(super) hidden: Vec<u64>,
    /// Who has the write lock.
    pub(super) writer: Option<Process>,
    /// Somebody makes a checkpoint: it holds up who begins to write.
    pub(super) checkpoint: bool,
    /// Changes with every commit.
    pub(super) commits: u32,
}

/// What is known of a process.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// Transactions in which it was seen to read without the write lock, less what is forgotten.
    reads: u32,
    /// Those that ended while nobody committed, in a row, without one that wrote.
    only_reads: u32,
    /// Transactions in which it was seen with the write lock, less what is forgotten.
    writes: u32,
    has_written: bool,
    /// Transactions that were seen to begin and to come to write; those of them that read first, and that may have.
    studied: u32,
    upgrades: u32,
    unclear: u32,
    reads_now: bool,
    writes_now: bool,
    seen: Duration,
}

impl Known {
    /// Whether nothing was seen of it but its lock.
    const fn is_new(&self) -> bool {
        self.reads == 0 && !self.has_written
    }

    const fn is_studied(&self) -> bool {
        self.studied >= STUDIED
    }

    /// Whether a commit of ours may make it fail; as far as that is known, where its transactions `may_be_studied` still.
    const fn is_at_risk(&self, may_be_studied: bool) -> bool {
        if self.is_studied() {
            if self.upgrades * SELDOM >= self.studied {
                return true;
            }
            if self.unclear * SELDOM < self.studied {
                return false;
            }
        } else if self.upgrades > 0 || (self.has_written && may_be_studied) {
            return true;
        }
        let reads = self.reads > 0 && self.reads * SELDOM >= self.writes;
        reads && (self.has_written || self.only_reads < ONLY_READS)
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
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Turns {
    /// Whoever reads for longer is not waited for.
    longest: Duration,
    held: BTreeMap<u64, (Process, Duration)>,
    known: BTreeMap<Process, Known>,
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
    pub(super) fn new(longest: Duration) -> Self {
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
    pub(super) const fn end_study(&mut self) {
        self.studies = false;
    }

    /// We begin to write, or have ended.
    pub(super) fn we_write(&mut self, ours: bool) {
        self.ours = ours;
        // Our own commit is none of the application's.
        self.commits = None;
    }

    /// Learns from the next look.
    pub(super) fn see(&mut self, look: &Look) {
        self.before = std::mem::replace(&mut self.at, look.at);
        let committed = self.commits.replace(look.commits).is_some_and(|before| before != look.commits);
        self.learn(look, committed);
        self.hold(look, committed);
        let taken = self.taken(look);
        // One that was too short to be seen; nobody's, where all who are known to write need not be waited for.
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
    pub(super) fn study(&mut self, process: Process, beginning: Beginning) {
        let known = self.known.entry(process).or_default();
        known.seen = self.at;
        known.has_written = true;
        known.studied += 1;
        match beginning {
            Beginning::Immediate => {}
            Beginning::Unclear => known.unclear += 1,
            Beginning::Upgrade => known.upgrades += 1,
        }
        if known.studied == HALVED_AFTER {
            known.studied /= 2;
            known.upgrades /= 2;
            known.unclear /= 2;
        }
    }

    /// Whether it is worth to see how the transactions of this process begin, because it is waited for otherwise.
    pub(super) fn is_worth_study(&self, process: Process) -> bool {
        self.known.get(&process).is_none_or(|known| {
            known.is_at_risk(self.studies) && !(known.is_studied() && known.upgrades * 2 > known.studied)
        })
    }

    /// Whether somebody is waited for, or has committed, of whom that may not be known well enough.
    pub(super) fn wants_study(&self) -> bool {
        self.studies
            && self.moment() != Moment::Quiet
            && (!self.knows_a_writer() || self.known.keys().any(|process| self.is_worth_study(*process)))
    }

    fn knows_a_writer(&self) -> bool {
        self.known.values().any(|known| known.has_written)
    }

    /// Whether one of these, who were seen by other means to read, may be made to fail by a commit of ours.
    pub(super) fn is_taken_by(&self, readers: &[(u64, Process)]) -> bool {
        readers.iter().any(|(byte, process)| {
            // Somebody who was never seen may do anything.
            let is_at_risk =
                self.known.get(process).is_none_or(|known| known.is_at_risk(self.studies) || known.is_new());
            is_at_risk && !self.is_long(*byte, *process)
        })
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
        // Of those that have lasted as long as this one has, nearly the shortest.
        let mut longer: Vec<Duration> = self.pauses.iter().copied().filter(|pause| *pause > passed).collect();
        longer.sort_unstable();
        match longer.get(longer.len() / SHORTER) {
            Some(next) if self.pauses.len() >= ENOUGH => Moment::Pause(next.saturating_sub(passed) / USED),
            _ => Moment::Taken,
        }
    }

    /// Who has been on which byte since when. Two transactions of one process look like one where its pauses are shorter than
    /// the time between two looks; its commits tell them apart.
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
            if writes && !known.writes_now {
                known.has_written = true;
                known.only_reads = 0;
                known.writes += 1;
                if known.writes == HALVED_AFTER {
                    known.writes /= 2;
                    known.reads /= 2;
                }
            }
            if reads && !writes && !known.reads_now {
                known.reads += 1;
            }
            if known.reads_now && !reads && !committed {
                known.only_reads += 1;
            }
            known.reads_now = reads && (known.reads_now || !writes);
            known.writes_now = writes;
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
        // What came while we wrote may have come for that; and of the first pause nobody knows the beginning.
        if self.ours || self.since_ours {
            return;
        }
        // From look to look: it began and the one before ended somewhere between two, however late they came.
        let lasted = self.before.saturating_sub(self.since);
        if self.pauses.len() == REMEMBERED {
            self.pauses.pop_front();
        }
        self.pauses.push_back(lasted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTE: u64 = 124;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Looks each millisecond at what is drawn, a letter each: `r` reads, `w` reads and has the write lock, `i` has both from the
    /// beginning, `c` nobody, but somebody has committed, `.` nobody.
    struct Played {
        turns: Turns,
        now: u64,
        commits: u32,
    }

    impl Played {
        fn new(longest: Duration) -> Self {
            Self { turns: Turns::new(longest), now: 0, commits: 0 }
        }

        fn play(&mut self, process: Process, drawn: &str) -> Moment {
            for what in drawn.chars() {
                self.now += 1;
                let (reads, writes) = match what {
                    'r' => (true, false),
                    'w' | 'i' => (true, true),
                    _ => (false, false),
                };
                self.commits += u32::from(matches!(what, 'c' | 'w'));
                self.turns.see(&Look {
                    at: ms(self.now),
                    readers: reads.then_some((BYTE, process)).into_iter().collect(),
                    writer: writes.then_some(process),
                    commits: self.commits,
                    ..Look::default()
                });
            }
            self.turns.moment()
        }
    }

    #[test]
    fn a_pause_is_as_long_as_the_shortest_that_has_lasted_as_long_already() {
        let mut played = Played::new(ms(5000));
        played.play(7, &("rrw".to_owned() + &".".repeat(20)).repeat(5));
        // Of 20 looks with nobody, two may have been in a transaction.
        let Moment::Pause(lasts) = played.play(7, "rrw.") else { panic!() };
        assert!((ms(8)..=ms(10)).contains(&lasts), "{lasts:?}");
        let Moment::Pause(later) = played.play(7, &".".repeat(10)) else { panic!() };
        assert!(later < lasts, "{later:?}");
        assert_eq!(played.play(7, "r"), Moment::Taken);
    }

    #[test]
    fn short_pauses_within_a_request_are_told_from_the_long_ones_between_two() {
        let mut played = Played::new(ms(5000));
        let request = "rw..rw..rw".to_owned() + &".".repeat(60);
        played.play(7, &request.repeat(5));
        let Moment::Pause(at_once) = played.play(7, "rw.") else { panic!() };
        assert!(at_once <= ms(1), "{at_once:?}");
        let Moment::Pause(after_a_while) = played.play(7, "...") else { panic!() };
        assert!(after_a_while >= ms(20), "{after_a_while:?}");
    }

    #[test]
    fn a_transaction_too_short_to_be_seen_is_told_by_its_commit() {
        let mut played = Played::new(ms(5000));
        played.play(7, &("rw".to_owned() + &".".repeat(20)).repeat(3));
        let Moment::Pause(lasts) = played.play(7, &("....c....".repeat(5) + "c.")) else { panic!() };
        assert!(lasts <= ms(4), "{lasts:?}");
    }

    #[test]
    fn nobody_is_waited_for_who_takes_the_write_lock_as_he_begins() {
        let mut played = Played::new(ms(5000));
        played.turns.end_study();
        played.play(7, &".".repeat(151));
        assert_eq!(played.play(7, &"i...".repeat(50)), Moment::Quiet);
        assert_eq!(played.play(7, "i"), Moment::Taken, "but we do not begin while he writes");
        // Seen once between its two locks.
        played.play(7, &(".ri".to_owned() + &"...i".repeat(30)).repeat(10));
        assert_eq!(played.play(7, &"...i....".repeat(20)), Moment::Quiet);
        assert_ne!(played.play(7, &"rw...".repeat(40)), Moment::Quiet);
    }

    #[test]
    fn one_who_surely_reads_first_is_studied_no_longer() {
        let mut played = Played::new(ms(5000));
        played.play(7, &"rw..".repeat(5));
        for _ in 0..STUDIED {
            assert!(played.turns.wants_study());
            played.turns.study(7, Beginning::Upgrade);
        }
        assert_eq!(played.play(7, "r"), Moment::Taken);
        assert!(!played.turns.wants_study());
    }

    #[test]
    fn nobody_is_waited_for_who_was_never_seen_to_write() {
        let mut played = Played::new(ms(5000));
        assert_eq!(played.play(7, &"r..".repeat(15)), Moment::Taken, "not known yet");
        assert_eq!(played.play(7, &"rc.".repeat(80)), Moment::Taken, "each may have been his commit");
        played.play(7, &"r..".repeat(15));
        assert_eq!(played.play(7, &"r".repeat(200)), Moment::Quiet);
        assert!(!played.turns.is_taken_by(&[(BYTE, 7)]));
        assert!(played.turns.is_taken_by(&[(BYTE, 8)]), "a new one may do anything");
        // Until he does.
        played.play(7, "rw");
        assert_eq!(played.play(7, "r"), Moment::Taken);
    }

    #[test]
    fn how_its_transactions_begin_says_more_than_how_often_it_reads() {
        let mut played = Played::new(ms(5000));
        let works = "r.i.rr..".repeat(40);
        assert_ne!(played.play(7, &works), Moment::Quiet);
        for _ in 0..STUDIED {
            assert!(played.turns.wants_study());
            played.turns.study(7, Beginning::Immediate);
        }
        assert_eq!(played.play(7, &works), Moment::Quiet);
        assert!(!played.turns.wants_study());
        for _ in 0..STUDIED / SELDOM {
            played.turns.study(7, Beginning::Unclear);
        }
        assert_eq!(played.play(7, &works), Moment::Quiet, "fewer than one in eight count for nothing");
        for _ in 0..=STUDIED / SELDOM {
            played.turns.study(7, Beginning::Upgrade);
        }
        assert_ne!(played.play(7, &works), Moment::Quiet, "one who writes at once is never so slow");
    }

    #[test]
    fn where_it_often_is_not_clear_how_they_begin_what_it_reads_counts() {
        let mut played = Played::new(ms(5000));
        for at in 0..STUDIED {
            let unclear = at % SELDOM == 0;
            played.turns.study(7, if unclear { Beginning::Unclear } else { Beginning::Immediate });
        }
        assert_eq!(played.play(7, &"i...".repeat(50)), Moment::Quiet);
        assert_ne!(played.play(7, &"r.i.rr..".repeat(40)), Moment::Quiet);
    }

    #[test]
    fn one_whose_transactions_are_too_short_to_be_seen_is_studied_too() {
        let mut played = Played::new(ms(5000));
        let works = "...c..".repeat(60);
        assert_ne!(played.play(7, &works), Moment::Quiet, "nobody knows who commits");
        assert!(played.turns.wants_study());
        played.turns.study(7, Beginning::Immediate);
        assert_ne!(played.play(7, &works), Moment::Quiet, "one of them says little");
        for _ in 1..STUDIED {
            assert!(played.turns.wants_study());
            played.turns.study(7, Beginning::Immediate);
        }
        assert_eq!(played.play(7, &works), Moment::Quiet);
    }

    #[test]
    fn one_who_reads_for_very_long_is_waited_for_no_longer() {
        let mut played = Played::new(ms(1000));
        assert_eq!(played.play(7, &"r".repeat(1000)), Moment::Taken);
        played.play(7, "rr");
        assert_eq!(played.play(7, &"r".repeat(150)), Moment::Quiet);
        assert!(!played.turns.is_taken_by(&[(BYTE, 7)]));
    }

    #[test]
    fn what_is_seen_while_we_write_is_not_learned() {
        let mut played = Played::new(ms(5000));
        let turn = "rw".to_owned() + &".".repeat(20);
        let Moment::Pause(before) = played.play(7, &(turn.repeat(5) + "rw.")) else { panic!() };
        played.turns.we_write(true);
        played.play(7, "r.r.r.c");
        played.turns.we_write(false);
        let Moment::Pause(after) = played.play(7, "rw.") else { panic!() };
        assert_eq!(before, after);
    }
}
