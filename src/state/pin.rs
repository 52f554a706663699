//! Since when one reader has kept the write-ahead log of a database from being emptied. Only
//! remembers; must never look.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use super::facts::{self, PIN, Pin};
use crate::error::Result;

/// What is remembered.
pub fn recall(connection: &Connection, database: &str) -> Result<Option<Pin>> {
    facts::recall(connection, database, PIN)
}

/// A reader was seen from `since` to `now`. The pin, and whether it is to be told of: at its
/// beginning, and when it has lasted twice as long as when it was last told of.
pub fn seen(
    connection: &mut Connection,
    database: &str,
    (moved_pages, by): (u64, String),
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(Pin, bool)> {
    facts::update(connection, database, PIN, |kept| {
        let before =
            kept.take().filter(|pin| pin.moved_pages == moved_pages && pin.since <= now && pin.told <= now);
        let (since, told) = before.map_or((since, None), |pin| (pin.since, Some(pin.told)));
        let tell = told.is_none_or(|told| now - since >= ((told - since) * 2).max(TimeDelta::zero()));
        let pin = Pin { since, moved_pages, by, told: told.filter(|_| !tell).unwrap_or(now) };
        *kept = Some(pin.clone());
        (pin, tell)
    })
}

/// No reader stays; the one that did, if there was one.
pub fn over(connection: &mut Connection, database: &str) -> Result<Option<Pin>> {
    // Nearly always there is none, and nothing is written.
    match recall(connection, database)? {
        None => Ok(None),
        Some(_) => facts::update(connection, database, PIN, Option::take),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_told_of_at_first_and_whenever_it_has_lasted_twice_as_long() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let mut told = Vec::new();
        for second in 4..100 {
            let (pin, tell) =
                seen(&mut connection, "a", (7, String::new()), at(second - 4), at(second)).unwrap();
            assert_eq!(pin.since, at(0));
            told.extend(tell.then_some(second));
        }
        assert_eq!(told, [4, 8, 16, 32, 64]);
        // It has moved on: another one.
        let (pin, tell) = seen(&mut connection, "a", (8, String::new()), at(96), at(100)).unwrap();
        assert_eq!((pin.since, tell), (at(96), true));
        assert_eq!(over(&mut connection, "a").unwrap(), Some(pin));
        assert_eq!(over(&mut connection, "a").unwrap(), None);
        assert_eq!(recall(&connection, "a").unwrap(), None);
    }
}
