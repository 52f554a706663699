//! One query of the watch-list: how long it took, and by which plan.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::Query;
use crate::config::units::show_duration;
use crate::error::{Error, Reason, Result};
use crate::jobs::Run;
use crate::jobs::reading::Reader;
use crate::metrics::events::WatchTimed;
use crate::queries::known::SchemaNames;
use crate::queries::plans::Plan;
use crate::queries::watched::values;
use crate::sqlite::look::{explain, query, schema};

/// What one query did.
#[derive(Debug, Serialize)]
pub(super) struct QueryTiming {
    pub(super) query: String,
    pub(super) seconds: f64,
    pub(super) rows: u64,
    pub(super) plan: Plan,
    /// Tables that it reads from end to end.
    pub(super) scans: Vec<String>,
    /// The plan is another one than the last time.
    pub(super) plan_changed: bool,
    /// Of `scans`, those that it did not read from end to end before: a SEARCH became a SCAN.
    pub(super) scans_new: Vec<String>,
}

/// Runs one query as the application would.
pub(super) fn of(run: &Run, reader: &Reader<'_>, query: &Query) -> Result<QueryTiming> {
    let (sql, values) = (query.sql.as_str(), values(query));
    let timed = |duration: Duration| {
        WatchTimed { database: &run.database.name, query: &query.name, duration }.emit();
    };
    // One limit in both journal modes: a query of an application that takes longer than writers may
    // be held up is not one to wait for.
    let limit = run.database.maintain.max_block;
    let began = Instant::now();
    let result = reader.read_within(limit, |connection| {
        // Refuses what must not be run, before it is even explained.
        drop(query::prepare(connection, sql, &values)?);
        let known = SchemaNames::new(schema::names(connection)?);
        let plan = known.plan(sql, &explain::steps(connection, sql, &values)?);
        let began = Instant::now();
        let rows = query::drain(&mut query::prepare(connection, sql, &values)?)?;
        Ok((plan, rows, began.elapsed()))
    });
    let result = result.map_err(|error| match error.reason {
        Reason::Deadline if began.elapsed() >= limit => Error::new(
            Reason::Deadline,
            format!(
                "stopped after {} (maintain.max_block), without a time or a plan; raise it to wait for longer",
                show_duration(limit)
            ),
        ),
        _ => error,
    });
    let (plan, rows, duration) = match result {
        Ok(done) => done,
        Err(error) => {
            if error.reason == Reason::Deadline {
                timed(began.elapsed());
            }
            return Err(error);
        }
    };
    timed(duration);
    let scans = plan.scanned().into_iter().map(str::to_owned).collect();
    Ok(QueryTiming {
        query: query.name.clone(),
        seconds: duration.as_secs_f64(),
        rows,
        plan,
        scans,
        plan_changed: false,
        scans_new: Vec::new(),
    })
}
