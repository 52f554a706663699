//! Turns as they are drawn, a letter for each look.

use super::*;
use crate::sqlite::pauses::beginnings::{SELDOM, STUDIED};

const BYTE: u64 = 124;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Looks each millisecond at what is drawn, a letter each: `r` reads, `w` reads and has the write
/// lock, `i` has both from the beginning, `c` nobody, but somebody has committed, `.` nobody.
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
