//! How far long work is: one line on the terminal, rewritten as it goes on and gone when it ends.
//! In a pipe, nothing.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::lines::{count, plain, shortened};
use super::out;
use crate::error::Result;
use crate::pool::Call;
use crate::terms::progress::{Progress, Stop, Unit, Watch};
use crate::words;

/// Between two looks of the line.
const EVERY: Duration = Duration::from_millis(100);

/// Before this a rate would be a guess.
const RATE_AFTER: Duration = Duration::from_millis(500);

/// Columns of the bar.
const BAR: usize = 10;

/// Between what is done and how far it is.
const GAP: usize = 2;

/// Back to the start of the line, and nothing after it.
const CLEAR: &str = "\r\x1b[K";

/// The line. Dropped, it is cleared.
pub(in crate::cli) struct Line {
    what: String,
    began: Instant,
    written: Option<Instant>,
    on: bool,
}

impl Line {
    /// For this work.
    pub(in crate::cli) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), began: Instant::now(), written: None, on: io::stderr().is_terminal() }
    }

    /// Shows how far it is.
    pub(in crate::cli) fn show(&mut self, progress: Progress) {
        let now = Instant::now();
        if !self.on || self.written.is_some_and(|at| now - at < EVERY) {
            return;
        }
        self.written = Some(now);
        // A line that is broken is not taken back; the last column stays free, as some terminals
        // break there.
        let room = out::width(&io::stderr()).unwrap_or(80).saturating_sub(1);
        let line = fitted(&plain(&self.what), progress, now - self.began, room);
        let _ = io::stderr().lock().write_all(format!("{CLEAR}{line}").as_bytes());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.written.is_some() {
            let _ = io::stderr().lock().write_all(CLEAR.as_bytes());
        }
    }
}

/// Follows work that is no run of a job: shows on the line how far it is, and ends it when its call
/// ends.
pub(in crate::cli) struct Follower<'c> {
    call: &'c Call,
    line: RefCell<Line>,
}

impl<'c> Follower<'c> {
    /// This work.
    pub(in crate::cli) fn new(call: &'c Call, what: impl Into<String>) -> Self {
        Self { call, line: RefCell::new(Line::new(what)) }
    }
}

impl Watch for Follower<'_> {
    fn go_on(&self) -> Result<()> {
        self.call.check()
    }

    fn at(&self, done: u64, total: u64, unit: Unit) {
        self.line.borrow_mut().show(Progress { done, total, unit });
    }

    fn stop(&self) -> Stop {
        self.call.stop()
    }
}

/// stderr for log lines, which take the place of the line.
pub(in crate::cli) fn stderr() -> impl io::Write {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = stderr.write_all(CLEAR.as_bytes());
    }
    stderr
}

/// In so many columns. How much is done and how long it takes comes last and stays: the bar, which
/// says the same as the percentage, gives way before it, and then the end of what the work is called.
fn fitted(what: &str, progress: Progress, elapsed: Duration, room: usize) -> String {
    let (bar, rest) = words(progress, elapsed);
    let whole = format!("{what}  {bar} {rest}");
    if count(&whole) <= room {
        return whole;
    }
    match room.checked_sub(count(&rest) + GAP).filter(|left| *left > GAP) {
        Some(left) => format!("{}  {rest}", shortened(what, left)),
        None => shortened(&rest, room),
    }
}

/// `[####------]` and ` 40%  8.0 MiB of 20 MiB, 4.0 MiB/s, 3 s left`.
fn words(progress: Progress, elapsed: Duration) -> (String, String) {
    let Progress { done, total, unit } = progress;
    let share = if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) };
    let full = (0..BAR).filter(|&at| (at as f64 + 0.5) / BAR as f64 <= share).count();
    let bar = format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full));
    let share = format!("{:3.0}%", (share * 100.0).floor());
    let amount = match unit {
        Unit::Bytes => format!("{} of {}", words::bytes(done), words::bytes(total)),
        Unit::Rows => format!("{} of {}", words::count(done), words::plural(total, "row", "rows")),
        Unit::Steps => {
            return (bar, format!("{share}  {done} of {}", words::plural(total, "step", "steps")));
        }
    };
    if elapsed < RATE_AFTER || done == 0 {
        return (bar, format!("{share}  {amount}"));
    }
    let rate = done as f64 / elapsed.as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and below u64::MAX"
    )]
    let a_second = match unit {
        Unit::Bytes => format!("{}/s", words::bytes(rate as u64)),
        _ => format!("{}/s", words::count(rate as u64)),
    };
    let left = total.saturating_sub(done) as f64 / rate;
    (bar, format!("{share}  {amount}, {a_second}, {} left", words::duration(left.ceil())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_much_how_fast_and_how_long() {
        let at = |done, total, unit, millis| {
            fitted("backup", Progress { done, total, unit }, Duration::from_millis(millis), 80)
        };
        let mib = 1 << 20;
        assert_eq!(
            at(8 * mib, 20 * mib, Unit::Bytes, 2000),
            "backup  [####------]  40%  8.0 MiB of 20 MiB, 4.0 MiB/s, 3.0 s left"
        );
        assert_eq!(at(1, 3, Unit::Rows, 100), "backup  [###-------]  33%  1 of 3 rows");
        assert_eq!(at(5, 5, Unit::Steps, 9000), "backup  [##########] 100%  5 of 5 steps");
        assert_eq!(at(0, 0, Unit::Rows, 9000), "backup  [----------]   0%  0 of 0 rows");
    }

    #[test]
    fn what_is_left_of_the_work_stays_at_the_end_of_the_line() {
        let progress = Progress { done: 300 << 20, total: 1023 << 20, unit: Unit::Bytes };
        let at = |what: &str, room| fitted(what, progress, Duration::from_secs(600), room);
        let end = "29%  300 MiB of 1023 MiB, 512 KiB/s, 24 min 6 s left";
        assert_eq!(at("restore of shop", 79), format!("restore of shop   {end}"));
        assert_eq!(at("restore of 出席簿出席簿", 79), format!("restore of 出席簿出席簿   {end}"));
        assert_eq!(at("restore of a-database-with-a-name", 79), format!("restore of a-database-w…   {end}"));
        assert_eq!(at("restore of 出席簿出席簿出席簿", 79), format!("restore of 出席簿出席簿…   {end}"));
        for (what, room) in
            [("restore of 出席簿出席簿", 79), ("backup of shop", 60), ("backup", 40), ("b", 1)]
        {
            assert!(count(&at(what, room)) <= room, "{what} in {room}: {}", at(what, room));
        }
    }
}
