//! How the sizes of a database, its tables and its indexes went, and how fast they grow. Bounded:
//! samples are thinned as they age, and what is gone is forgotten. Must never be asked once a
//! second: health works it out when it runs.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::words;

/// One sample is kept of each so long, the last: health may run more often.
const SLOT: TimeDelta = TimeDelta::minutes(15);

/// All of those are kept for so long; of the days before, the last of each.
const ALL_FOR: TimeDelta = TimeDelta::days(2);

/// Samples kept of one thing: two years and what [`ALL_FOR`] has of every quarter of an hour. A
/// number and not an age, so that a clock that is wrong for a while removes nothing (HAZARDS H28).
const KEPT: i64 = 730 + 3 * 96;

/// Of a table or an index one sample a day is kept, the last, and so many of them: twice what its
/// growth is told by.
const KEPT_OF_PART: i64 = 60;

/// Things kept of one database; past that, those not seen for the longest go.
const KEPT_SERIES: i64 = 300;

/// Tables and indexes that are sampled: the largest.
pub const SAMPLED: usize = 100;

/// By what growth is judged: the last sample of each day, so that a busy hour is no trend.
const SHORT: TimeDelta = TimeDelta::days(7);
const LONG: TimeDelta = TimeDelta::days(30);

/// Days without which nothing is said.
pub const DAYS_NEEDED: usize = 3;

const SECONDS_A_DAY: f64 = 86_400.0;

/// What has a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The database, its free pages included.
    File,
    /// Its free pages.
    Free,
    /// The database without its free pages: what its application has put there. Not sampled by
    /// itself.
    Content,
    /// A table with its indexes.
    Table,
    /// An index.
    Index,
}

impl Measure {
    const SAMPLED: [Self; 4] = [Self::File, Self::Free, Self::Table, Self::Index];

    /// One sample is kept of each so long.
    const fn slot(self) -> TimeDelta {
        match self {
            Self::File | Self::Free | Self::Content => SLOT,
            Self::Table | Self::Index => TimeDelta::days(1),
        }
    }

    /// The word for the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Free => "free",
            Self::Content => "content",
            Self::Table => "table",
            Self::Index => "index",
        }
    }
}

/// A size at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Of what.
    pub kind: Measure,
    /// Its name; of the database, none.
    pub name: String,
    /// How large it is.
    pub bytes: u64,
}

/// How a size went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Of what.
    pub kind: Measure,
    /// Its name; of the database, none.
    pub name: String,
    /// At the last sample.
    pub bytes: u64,
    /// Days of the last 30 that have a sample.
    pub days: usize,
    /// Growth by the last 7 days; `None` where fewer than three of them have a sample.
    pub week_bytes_per_day: Option<f64>,
    /// The same by the last 30.
    pub month_bytes_per_day: Option<f64>,
}

impl Trend {
    /// The faster of the two: what grows faster since some days is the sooner in the way.
    pub fn bytes_per_day(&self) -> Option<f64> {
        match (self.week_bytes_per_day, self.month_bytes_per_day) {
            (Some(week), Some(month)) => Some(week.max(month)),
            (one, other) => one.or(other),
        }
    }

    /// Seconds until so many bytes more are used; `None` where it does not grow, or where that
    /// cannot be told.
    pub fn seconds_until(&self, room: u64) -> Option<f64> {
        let daily = self.bytes_per_day().filter(|daily| *daily >= 1.0)?;
        Some(room as f64 / daily * SECONDS_A_DAY)
    }

    /// `grows by 1.2 MiB a day, by the last 30 days`, or why that cannot be told.
    pub fn in_words(&self) -> String {
        let Some(daily) = self.bytes_per_day() else {
            let days = words::plural(self.days as u64, "day", "days");
            return format!("how fast it grows is told after {DAYS_NEEDED} days; {days} so far");
        };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "made positive; sizes of files"
        )]
        let amount = words::bytes(daily.abs() as u64);
        let faster_lately = self.week_bytes_per_day.zip(self.month_bytes_per_day).is_some_and(|(w, m)| w > m);
        let days = self.days.min(if faster_lately { 7 } else { 30 });
        let by = format!("by the last {days} days");
        match daily {
            ..=-1.0 => format!("shrinks by {amount} a day, {by}"),
            1.0.. => format!("grows by {amount} a day, {by}"),
            _ => format!("does not grow, {by}"),
        }
    }
}

/// Keeps the sizes of a database at one moment, thins what is older, and forgets what is of the
/// future: a clock was wrong.
pub fn record(connection: &mut Connection, database: &str, at: DateTime<Utc>, sizes: &[Size]) -> Result<()> {
    let now = at.timestamp_millis();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "DELETE FROM size_sample WHERE at > ?2 AND series IN (SELECT id FROM size_series WHERE database = ?1)",
        (database, now),
    )?;
    transaction
        .execute("UPDATE size_series SET seen = 0 WHERE database = ?1 AND seen > ?2", (database, now))?;
    let last: Option<i64> = transaction.query_row(
        "SELECT max(at) FROM size_sample WHERE series IN (SELECT id FROM size_series WHERE database = ?1)",
        [database],
        |row| row.get(0),
    )?;
    for Size { kind, name, bytes } in sizes {
        let series: i64 = transaction
            .prepare_cached(
                "INSERT INTO size_series (database, kind, name, seen) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT DO UPDATE SET seen = excluded.seen RETURNING id",
            )?
            .query_row((database, kind.as_str(), name, now), |row| row.get(0))?;
        transaction
            .prepare_cached("DELETE FROM size_sample WHERE series = ?1 AND at >= ?2")?
            .execute((series, now - now.rem_euclid(kind.slot().num_milliseconds())))?;
        transaction
            .prepare_cached("INSERT INTO size_sample VALUES (?1, ?2, ?3)")?
            .execute((series, now, *bytes))?;
    }
    // Once a day is enough, and does not read all of it each quarter of an hour.
    if last.is_none_or(|last| day(last) != day(now)) {
        thin(&transaction, database, now)?;
    }
    transaction.commit()?;
    Ok(())
}

fn thin(transaction: &Transaction<'_>, database: &str, now: i64) -> Result<()> {
    transaction.execute(
        "DELETE FROM size_series WHERE database = ?1 AND id IN \
         (SELECT id FROM size_series WHERE database = ?1 ORDER BY seen DESC, id LIMIT -1 OFFSET ?2)",
        (database, KEPT_SERIES),
    )?;
    let mut all =
        transaction.prepare("SELECT id, kind IN ('file', 'free') FROM size_series WHERE database = ?1")?;
    let all = all.query_map([database], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)))?;
    for (series, is_of_file) in all.collect::<rusqlite::Result<Vec<_>>>()? {
        transaction
            .prepare_cached(
                "DELETE FROM size_sample AS old WHERE series = ?1 AND at < ?2 AND EXISTS (SELECT 1 FROM size_sample AS \
                 later WHERE later.series = ?1 AND later.at > old.at AND later.at < (old.at / ?3 + 1) * ?3)",
            )?
            .execute((series, now - ALL_FOR.num_milliseconds(), DAY_MILLIS))?;
        transaction
            .prepare_cached(
                "DELETE FROM size_sample WHERE series = ?1 AND at <= \
                 (SELECT at FROM size_sample WHERE series = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute((series, if is_of_file { KEPT } else { KEPT_OF_PART }))?;
    }
    Ok(())
}

const DAY_MILLIS: i64 = 86_400_000;

const fn day(millis: i64) -> i64 {
    millis.div_euclid(DAY_MILLIS)
}

/// How the sizes of a database went up to now, the database first, then the tables and indexes, the
/// largest first.
pub fn of(connection: &Connection, database: &str, now: DateTime<Utc>) -> Result<Vec<Trend>> {
    let mut statement = connection.prepare(
        "SELECT s.kind, s.name, p.at, p.bytes FROM size_series AS s JOIN size_sample AS p ON p.series = s.id \
         WHERE s.database = ?1 AND s.seen = (SELECT max(seen) FROM size_series WHERE database = ?1 AND kind = s.kind) \
         AND p.at > ?2 ORDER BY p.at",
    )?;
    let rows = statement.query_map((database, (now - LONG).timestamp_millis()), |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            (row.get::<_, i64>(2)?, row.get::<_, u64>(3)?),
        ))
    })?;
    let mut series: BTreeMap<(Measure, String), Vec<(i64, u64)>> = BTreeMap::new();
    for row in rows {
        let (kind, name, sample) = row?;
        if let Some(kind) = Measure::SAMPLED.into_iter().find(|known| known.as_str() == kind) {
            series.entry((kind, name)).or_default().push(sample);
        }
    }
    let none = Vec::new();
    let of_database = |kind| series.get(&(kind, String::new())).unwrap_or(&none);
    let free: BTreeMap<i64, u64> = of_database(Measure::Free).iter().copied().collect();
    let content = of_database(Measure::File)
        .iter()
        .filter_map(|(at, file)| Some((*at, file.saturating_sub(*free.get(at)?))))
        .collect();
    series.insert((Measure::Content, String::new()), content);
    let mut trends: Vec<Trend> =
        series.iter().filter_map(|((kind, name), samples)| trend(*kind, name, samples, now)).collect();
    trends.sort_by(|a, b| a.kind.cmp(&b.kind).then_with(|| b.bytes.cmp(&a.bytes)));
    Ok(trends)
}

/// Of samples in the order of their times; `None` without any.
fn trend(kind: Measure, name: &str, samples: &[(i64, u64)], now: DateTime<Utc>) -> Option<Trend> {
    let (_, bytes) = *samples.last()?;
    let daily: BTreeMap<i64, (i64, u64)> = samples.iter().map(|sample| (day(sample.0), *sample)).collect();
    let daily: Vec<(i64, u64)> = daily.into_values().collect();
    let since = (now - SHORT).timestamp_millis();
    let week: Vec<(i64, u64)> = daily.iter().copied().filter(|(at, _)| *at > since).collect();
    Some(Trend {
        kind,
        name: name.to_owned(),
        bytes,
        days: daily.len(),
        week_bytes_per_day: slope(&week),
        month_bytes_per_day: slope(&daily),
    })
}

/// Bytes a day by the median of the slopes between all pairs (Theil and Sen), which a day that is
/// out of the way, such as that of a large import or of a VACUUM, does not bend. `None` of too few.
fn slope(samples: &[(i64, u64)]) -> Option<f64> {
    if samples.len() < DAYS_NEEDED {
        return None;
    }
    let mut slopes: Vec<f64> = samples
        .iter()
        .enumerate()
        .flat_map(|(n, earlier)| samples[n + 1..].iter().map(move |later| (earlier, later)))
        .map(|((from, before), (to, after))| {
            (*after as f64 - *before as f64) / ((to - from) as f64 / DAY_MILLIS as f64)
        })
        .collect();
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    let median = if slopes.len() % 2 == 1 {
        slopes[middle]
    } else {
        f64::midpoint(slopes[middle - 1], slopes[middle])
    };
    Some(median)
}
