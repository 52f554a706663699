//! How a column tells the time: which values hold a date at all, and which are older than the
//! cutoff. Pure but for the function of SQL by which conditions ask for it; one definition serves
//! finding the format out, counting and deleting.
//!
//! A value counts as a date only when it is beyond doubt one of the rule's format; dates before
//! 1900 (numbers: before 1973) are taken for the marks that programs use for "no date". Whatever is
//! no date is never old.

mod found;
mod iso;
mod moment;
mod numbers;
mod places;
mod sample;

use crate::zone::Zone;
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use crate::config::DateFormat;
pub(super) use found::{MANY, Sample};
use moment::Moment;
pub(super) use places::{Place, Places, is_before};

/// The function in conditions: a value, a format, and the cutoff in UTC and by the clock of the
/// rule's zone, in microseconds since 1970. 2 for an old date, 1 for another one, 0 for what is
/// none.
const FUNCTION: &str = "litekeeper_date";

/// What a value means in a format; `None`: it is no date beyond doubt.
fn read(format: DateFormat, value: ValueRef<'_>) -> Option<Moment> {
    let text = match value {
        ValueRef::Integer(number) => return numbers::read(format, numbers::Number::Integer(number.into())),
        ValueRef::Real(number) => return numbers::read(format, numbers::Number::Real(number)),
        ValueRef::Text(text) => std::str::from_utf8(text).ok()?,
        ValueRef::Null | ValueRef::Blob(_) => return None,
    };
    match format {
        DateFormat::Iso => iso::read(text),
        DateFormat::Compact => numbers::compact_text(text),
        _ => numbers::read(format, numbers::Number::of_text(text)?),
    }
}

/// Makes the function known to a connection. Nothing of the schema may call it.
///
/// Not again where it is known: to do so would have every statement that the connection keeps
/// prepared again, those of a batch while they hold the lock.
pub(super) fn install(connection: &Connection) -> rusqlite::Result<()> {
    if connection.prepare_cached(&format!("SELECT {FUNCTION}(NULL, '', 0, 0)")).is_ok() {
        return Ok(());
    }
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function(FUNCTION, 4, flags, |call| {
        let Some(format) = call.get_raw(1).as_str().ok().and_then(DateFormat::of) else { return Ok(0) };
        let Some(moment) = read(format, call.get_raw(0)) else { return Ok(0) };
        Ok(if moment.is_before(call.get(2)?, call.get(3)?) { 2 } else { 1 })
    })
}

/// A condition: `column` (an SQL expression) holds a date of this format. Never NULL.
pub(super) fn readable(format: DateFormat, column: &str) -> String {
    format!("({FUNCTION}({column}, '{}', 0, 0) > 0)", format.word())
}

/// What is old in one column: the format and the instant before which a row may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    pub(super) format: DateFormat,
    pub(super) cutoff: DateTime<Utc>,
    /// Where the clock stood by which dates were written that do not say so.
    pub(super) zone: Zone,
}

impl Age {
    /// A condition: `column` holds a date before the cutoff. Never NULL, and never true of what is
    /// no date.
    pub(super) fn old(&self, column: &str) -> String {
        format!("({} = 2)", self.verdict(column))
    }

    /// An expression: 0 where `column` holds no date, 1 for one that is not old, 2 for an old one.
    pub(super) fn verdict(&self, column: &str) -> String {
        let cutoff = self.cutoff.timestamp_micros();
        let local = by_the_clock(self.cutoff, self.zone).and_utc().timestamp_micros();
        format!("{FUNCTION}({column}, '{}', {cutoff}, {local})", self.format.word())
    }
}

/// What the clock of a zone must have shown at the latest, to be before an instant beyond doubt. In
/// the hour that the end of summer time repeats, the first time round, that is the beginning of the
/// hour.
fn by_the_clock(instant: DateTime<Utc>, zone: Zone) -> NaiveDateTime {
    let local = instant.with_timezone(&zone).naive_local();
    let MappedLocalTime::Ambiguous(first, second) = zone.from_local_datetime(&local) else { return local };
    if instant >= second.to_utc() {
        return local;
    }
    let (mut before, mut after) = (first.to_utc(), second.to_utc());
    while after - before > TimeDelta::milliseconds(1) {
        let middle = before + (after - before) / 2;
        if zone.offset_from_utc_datetime(&middle.naive_utc()).fix() == first.offset().fix() {
            before = middle;
        } else {
            after = middle;
        }
    }
    // Transitions are at whole seconds.
    let after = DateTime::from_timestamp(after.timestamp(), 0).unwrap_or(after);
    after.with_timezone(&zone).naive_local()
}

#[cfg(test)]
mod tests;
