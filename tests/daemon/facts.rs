//! Remembered facts: typed, the last one kept, and none lost that processes change at once.

use super::state::state;
use crate::support::process::child::{self, Child};
use litekeeper::state::State;
use litekeeper::state::facts::{self, Fact};

#[test]
fn a_fact_is_the_last_one_kept() {
    let (_directory, state) = state();
    let (size, text) = (Fact::<u32>::new("size"), Fact::<String>::new("size"));
    let recalled = state.now(|c| {
        facts::remember(c, "a", size, &1)?;
        facts::remember(c, "a", size, &2)?;
        facts::remember(c, "b", size, &3)?;
        let as_text = facts::recall_dated(c, "a", text)?.is_none();
        Ok((facts::recall(c, "a", size)?, as_text))
    });
    assert_eq!(recalled.unwrap(), (2, true));
    assert_eq!(state.now(|c| facts::recall(c, "nobody", size)).unwrap(), 0, "the default of its type");
}

/// Each counts up what it recalls, again and again.
#[test]
#[ignore = "the other process of the next test"]
fn counter() {
    let Some(directory) = child::argument() else { return };
    let state = State::open(&directory).unwrap();
    count_up(&state);
    child::say("counted");
    child::wait();
}

const COUNT: Fact<u64> = Fact::new("count");
const COUNTED: u64 = 300;

fn count_up(state: &State) {
    for _ in 0..COUNTED {
        state.now(|c| facts::update(c, "a", COUNT, |count| *count += 1)).unwrap();
    }
}

#[test]
fn a_fact_that_processes_change_at_once_loses_no_change() {
    let (_directory, state) = state();
    let others = [(); 2].map(|()| Child::start("facts::counter", state.directory()));
    count_up(&state);
    for other in others {
        other.said("counted");
        other.end();
    }
    assert_eq!(state.now(|c| facts::recall(c, "a", COUNT)).unwrap(), 3 * COUNTED);
}

#[test]
fn what_a_job_removes_lowers_the_expected_size_by_no_more_than_was_expected() {
    let (_directory, state) = state();
    // Bytes at the last backup, before the job and after it, and what the next backup may expect.
    for (backed_up, before, after, expected) in [
        (100, 100, 40, 40),
        (100, 300, 50, 50),
        (100, 300, 200, 100),
        // Nine tenths had gone missing before the job, which is for the next backup to notice.
        (100, 10, 9, 99),
        (100, 10, 12, 100),
    ] {
        let kept = state.now(|c| {
            facts::remember(
                c,
                "a",
                facts::CONTENT,
                &Some(facts::Content { bytes: backed_up, tables: Vec::new(), place: "/".into() }),
            )?;
            facts::shrunk_on_purpose(c, "a", before, after)?;
            facts::recall(c, "a", facts::CONTENT)
        });
        assert_eq!(kept.unwrap().unwrap().bytes, expected, "{backed_up} {before} {after}");
    }
}
