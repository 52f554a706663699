//! Dates in text as programs spell ISO 8601: `2026-11-21`, `2026-11-21T16:18:06.5Z`, and with what
//! Go, Rails, Python and Java write behind them. Strict and pure: what is not spelled in one of
//! these ways to its last sign is no date, and an abbreviation alone (`CET`) says no offset.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::moment::Moment;

/// Local time is ahead of UTC by at most this (Pacific/Kiritimati), and never so far behind.
pub(super) const LARGEST_OFFSET: TimeDelta = TimeDelta::hours(14);

/// The earliest year of a text: what lies before are the marks that programs use for "no date".
pub(super) const FIRST_YEAR: i32 = 1900;

/// Reads a text to its end.
pub(super) fn read(text: &str) -> Option<Moment> {
    let mut rest = Rest(text.trim_end_matches(is_blank).as_bytes());
    let date = rest.date()?;
    if rest.0.is_empty() {
        return Some(Moment::Day(date));
    }
    // As SQLite, more than one blank is taken.
    if !(rest.takes(b"T") || rest.takes(b"t")) {
        rest.blanks().then_some(())?;
    }
    let local = NaiveDateTime::new(date, rest.time()?);
    let zone = rest.zone()?;
    rest.0.is_empty().then_some(())?;
    Some(match zone {
        Zone::Ahead(offset) => {
            Moment::Instant(local.checked_sub_signed(offset)?.and_utc().timestamp_micros())
        }
        Zone::Unsaid => Moment::Clock(local.and_utc().timestamp_micros()),
    })
}

/// What SQLite takes for a blank.
fn is_blank(sign: char) -> bool {
    matches!(sign, ' ' | '\t'..='\r')
}

/// What a text says of its clock.
enum Zone {
    Unsaid,
    /// It is so far ahead of UTC.
    Ahead(TimeDelta),
}

/// What is left of a text. Each step takes what it reads, and nothing where it does not fit.
struct Rest<'t>(&'t [u8]);

impl<'t> Rest<'t> {
    fn takes(&mut self, prefix: &[u8]) -> bool {
        let rest = self.0.strip_prefix(prefix);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn blanks(&mut self) -> bool {
        let before = self.0.len();
        while self.takes(b" ") {}
        self.0.len() < before
    }

    /// Signs of a kind, as many as there are.
    fn run(&mut self, of: impl Fn(u8) -> bool) -> &'t [u8] {
        let end = self.0.iter().position(|sign| !of(*sign)).unwrap_or(self.0.len());
        let (run, rest) = self.0.split_at(end);
        self.0 = rest;
        run
    }

    /// A number of exactly so many digits.
    fn digits(&mut self, number: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(number)?;
        let value = digits_of(digits)?;
        self.0 = rest;
        Some(value)
    }

    fn date(&mut self) -> Option<NaiveDate> {
        let year = self.digits(4)?;
        self.takes(b"-").then_some(())?;
        let month = self.digits(2)?;
        self.takes(b"-").then_some(())?;
        day(year, month, self.digits(2)?)
    }

    /// `16:18`, `16:18:06`, `16:18:06.123456789`, or with a comma.
    fn time(&mut self) -> Option<NaiveTime> {
        let hour = self.digits(2)?;
        self.takes(b":").then_some(())?;
        let minute = self.digits(2)?;
        let (mut second, mut micros) = (0, 0);
        if self.takes(b":") {
            second = self.digits(2)?;
            if self.takes(b".") || self.takes(b",") {
                let digits = self.run(|sign| sign.is_ascii_digit());
                (!digits.is_empty()).then_some(())?;
                // What is less than a microsecond is left out: an instant is never later for it.
                micros = (0..6)
                    .fold(0, |sum, at| sum * 10 + digits.get(at).map_or(0, |digit| u32::from(digit - b'0')));
            }
        }
        NaiveTime::from_hms_micro_opt(hour, minute, second, micros)
    }

    /// What stands behind the time.
    fn zone(&mut self) -> Option<Zone> {
        if self.0.is_empty() {
            return Some(Zone::Unsaid);
        }
        self.blanks();
        if ["Z", "z", "UTC", "utc", "GMT", "gmt"].iter().any(|utc| self.takes(utc.as_bytes())) {
            self.named();
            return Some(Zone::Ahead(TimeDelta::zero()));
        }
        let offset = self.offset()?;
        if self.0.is_empty() || self.named() {
            return Some(Zone::Ahead(offset));
        }
        // Go: `+0100 CET`, and the reading of another clock behind that.
        if !self.takes(b" ") {
            return None;
        }
        if self.0.first().is_some_and(|sign| matches!(sign, b'+' | b'-')) {
            // Where a zone has no abbreviation Go writes the offset once more.
            (self.offset()? == offset).then_some(())?;
        } else if self.0.first().is_some_and(u8::is_ascii_uppercase) {
            let name = self.run(|sign| sign.is_ascii_uppercase());
            let is_utc = [b"UTC", b"GMT"].iter().any(|utc| name == *utc);
            ((2..=5).contains(&name.len()) && (!is_utc || offset.is_zero())).then_some(())?;
        }
        if self.takes(b"m=") || self.takes(b" m=") {
            (self.takes(b"+") || self.takes(b"-")).then_some(())?;
            let seconds = self.run(|sign| sign.is_ascii_digit() || sign == b'.');
            (!seconds.is_empty()).then_some(())?;
        }
        Some(Zone::Ahead(offset))
    }

    /// `+01:00`, `+0100`, `+01`.
    fn offset(&mut self) -> Option<TimeDelta> {
        let is_behind = self.takes(b"-");
        (is_behind || self.takes(b"+")).then_some(())?;
        let hours = self.digits(2)?;
        let minutes = if self.takes(b":") || self.0.first().is_some_and(u8::is_ascii_digit) {
            self.digits(2)?
        } else {
            0
        };
        (minutes < 60).then_some(())?;
        let offset = TimeDelta::minutes(i64::from(hours * 60 + minutes));
        (offset <= LARGEST_OFFSET).then_some(if is_behind { -offset } else { offset })
    }

    /// Java's and JavaScript's `[Europe/Berlin]` behind an offset, which is what counts.
    fn named(&mut self) -> bool {
        let before = self.0;
        let is_name = |sign: u8| sign.is_ascii_alphanumeric() || matches!(sign, b'/' | b'_' | b'+' | b'-');
        if self.takes(b"[") && !self.run(is_name).is_empty() && self.takes(b"]") {
            return true;
        }
        self.0 = before;
        false
    }
}

/// A number of ASCII digits, of which there are few.
pub(super) fn digits_of(digits: &[u8]) -> Option<u32> {
    let digit = |digit: &u8| digit.is_ascii_digit().then(|| u32::from(digit - b'0'));
    digits.iter().map(digit).try_fold(0, |sum, digit| Some(sum * 10 + digit?))
}

/// A day of the calendar that is taken for a date.
pub(super) fn day(year: u32, month: u32, day: u32) -> Option<NaiveDate> {
    let year = i32::try_from(year).ok().filter(|year| *year >= FIRST_YEAR)?;
    NaiveDate::from_ymd_opt(year, month, day)
}
