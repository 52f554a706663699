//! Times as people write and read them: in the daemon's zone, or in full by RFC 3339. Must never
//! guess which of two instants is meant.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeZone as _, Utc};

use crate::zone::Zone;

/// A time on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum TimeArgument {
    /// With its offset: one instant.
    Instant(DateTime<Utc>),
    /// As a clock on the wall shows it.
    Wall(NaiveDateTime),
}

/// Reads `2026-11-23T05:00:00Z`, `2026-11-23 05:00` or `2026-11-23 05:00:30`.
pub(in crate::cli) fn read(text: &str) -> Result<TimeArgument, String> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(TimeArgument::Instant(instant.to_utc()));
    }
    ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]
        .into_iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(TimeArgument::Wall)
        .ok_or_else(|| {
            String::from(
                "a time is written 2026-11-23 05:00, 2026-11-23 05:00:30 or 2026-11-23T05:00:00+01:00",
            )
        })
}

impl TimeArgument {
    /// The instant, where a clock in `zone` shows this time exactly once.
    pub(in crate::cli) fn instant(self, zone: Zone) -> Result<DateTime<Utc>, String> {
        let wall = match self {
            Self::Instant(instant) => return Ok(instant),
            Self::Wall(wall) => wall,
        };
        match zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(time) => Ok(time.to_utc()),
            MappedLocalTime::Ambiguous(first, second) => Err(format!(
                "clocks in {zone} show {wall} twice; write {} or {}",
                first.to_rfc3339(),
                second.to_rfc3339()
            )),
            MappedLocalTime::None => Err(format!("clocks in {zone} never show {wall}: they skip that hour")),
        }
    }
}

/// `2026-11-23 05:00:00` in `zone`.
pub(in crate::cli) fn local(time: DateTime<Utc>, zone: Zone) -> String {
    time.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Result<String, String> {
        read(text)?.instant(Zone::named("Europe/Berlin").unwrap()).map(|time| time.to_rfc3339())
    }

    #[test]
    fn a_time_without_an_offset_is_that_of_the_zone() {
        assert_eq!(instant("2026-07-01 12:00").unwrap(), "2026-07-01T10:00:00+00:00");
        assert_eq!(instant("2026-01-01T12:00:30").unwrap(), "2026-01-01T11:00:30+00:00");
        assert_eq!(instant("2026-01-01T12:00:30-05:00").unwrap(), "2026-01-01T17:00:30+00:00");
    }

    #[test]
    fn a_time_that_is_not_one_instant_is_refused_with_what_to_write() {
        // Summer time in Germany ends on 25 October 2026 at 3:00 and begins on 29 March 2026 at
        // 2:00.
        let twice = instant("2026-10-25 02:30").unwrap_err();
        assert!(twice.contains("2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"), "{twice}");
        assert!(instant("2026-03-29 02:30").unwrap_err().contains("skip"));
        assert!(instant("yesterday").is_err());
    }
}
