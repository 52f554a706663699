//! The check `query_performance`: which of the application's statements were slow since the last
//! time. Sees shapes only, never a literal.

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock;
use crate::error::{Reason, Result};
use crate::jobs::Run;
use crate::jobs::verdicts::{Check, met};
use crate::state::facts::{self, HEALTH};
use crate::state::slow::{self, Shape};
use crate::terms::JobKind;
use crate::words;

const NAME: &str = "query_performance";

/// Shapes that are named.
const NAMED: usize = 3;

/// Characters of a shape that are shown; the whole is in the list of slow statements.
const SHOWN: usize = 200;

/// How far the first check looks back.
const AT_FIRST: TimeDelta = TimeDelta::days(1);

pub(super) fn check(run: &Run) -> Result<Check> {
    let name = &run.database.name;
    let found = run.state.now(|connection| {
        let since = last_time(connection, name, run.started)?.unwrap_or(run.started - AT_FIRST);
        slow::worst(connection, name, since, u32::MAX)
    });
    let threshold = run.database.watch.slow_threshold;
    Ok(match found {
        Ok(shapes) => {
            let shapes: Vec<Shape> = shapes.into_iter().filter(concerns_the_application).collect();
            if shapes.is_empty() {
                Check::good(NAME, format!("no statement took longer than {threshold:?} since the last check"))
            } else {
                Check::bad(NAME, Reason::Sqlite, in_words(&shapes))
            }
        }
        Err(error) => Check::unknown(NAME, met(run, error)?.message),
    })
}

fn last_time(
    connection: &rusqlite::Connection,
    database: &str,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let checks = facts::recall(connection, database, HEALTH)?;
    let last = checks.into_iter().find(|c| c.check == NAME).and_then(|c| c.at);
    Ok(last.and_then(|at| clock::past(at, now)))
}

/// The watch-list has the application's own queries, and a slow cleanup lacks an index. That
/// VACUUM, a copy or a check of all pages takes its time says nothing about the application.
fn concerns_the_application(shape: &Shape) -> bool {
    [JobKind::Watch, JobKind::Cleanup].iter().any(|kind| kind.as_str() == shape.job)
}

fn in_words(shapes: &[Shape]) -> String {
    let named = shapes.iter().take(NAMED).map(|shape| {
        let mut text: String = shape.shape.chars().take(SHOWN).collect();
        if text.len() < shape.shape.len() {
            text.push('…');
        }
        let times = if shape.count == 1 { "once" } else { &format!("{} times in all", shape.count) };
        let scan = if shape.full_scan_steps > 0 { ", reading tables from end to end" } else { "" };
        format!("{text} ({times}, up to {}{scan})", words::duration(shape.max_seconds))
    });
    let more = match shapes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("slow statements: {}{more}", named.collect::<Vec<_>>().join("; "))
}
