//! Gauges whose labels come and go: tables, problems. Remembers which label values each family had,
//! so that the ones that are gone can be taken off the page. Must never hold values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::clock;
use crate::metrics::names::Metric;

/// Takes a gauge off the page: the exporter has no way to delete one, and the page leaves NaN out.
pub(super) const ABSENT: f64 = f64::NAN;

/// A time at which something will be due as a gauge's value, absent where there is none.
pub(super) fn due_or_absent(time: Option<DateTime<Utc>>) -> f64 {
    time.map_or(ABSENT, timestamp)
}

/// A time at which something happened as a gauge's value, absent where there is none, or where it
/// cannot be true: no such value is ever later than now, or no alert would fire until then.
pub(super) fn past_or_absent(time: Option<DateTime<Utc>>) -> f64 {
    time.and_then(|at| clock::past(at, clock::now())).map_or(ABSENT, timestamp)
}

fn timestamp(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1000.0
}

/// Label values besides `database` that were set, by metric and database. One for the process is
/// right even where tests keep several recorders: NaN for a series that a recorder never had shows
/// nowhere.
static SHOWN: Mutex<BTreeMap<Family, BTreeSet<Vec<String>>>> = Mutex::new(BTreeMap::new());

/// A metric and a database.
type Family = (&'static str, String);

/// Makes these the only series of the family that the database has. `N` counts all labels of the
/// metric, of which the first is `database`.
pub(super) fn replace<'a, const N: usize>(
    metric: &Metric,
    database: &'a str,
    rows: impl IntoIterator<Item = ([&'a str; N], f64)>,
) {
    let mut now = BTreeSet::new();
    for (labels, value) in rows {
        metric.gauge(labels).set(value);
        now.insert(labels.map(str::to_owned).to_vec());
    }
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = shown.insert((metric.name, database.to_owned()), now.clone()).unwrap_or_default();
    for gone in before.difference(&now) {
        if let Ok(labels) = <[&str; N]>::try_from(gone.iter().map(String::as_str).collect::<Vec<_>>()) {
            metric.gauge(labels).set(ABSENT);
        }
    }
}
