//! The series of this test process: installed once, for all its tests. Each counts by the name of a
//! database of its own, so that no test sees what another one does.

use super::metrics::Metrics;
use litekeeper::metrics::{self, Expected, Format};
use std::sync::OnceLock;

/// Counts what happens to the database of this name from now on.
pub fn count(database: &str, jobs: &[&str], queries: &[&str]) {
    series().add_database(database, Expected { jobs, tables: &[], queries, copies: &[] });
}

/// What is counted so far.
pub fn so_far() -> Metrics {
    Metrics::parse(&series().render(Format::Text))
}

/// The same, as Prometheus would get it.
pub fn so_far_as_text() -> String {
    series().render(Format::Text)
}

fn series() -> &'static metrics::Metrics {
    static SERIES: OnceLock<metrics::Metrics> = OnceLock::new();
    SERIES.get_or_init(|| {
        let series = metrics::Metrics::new("test", "test");
        series.install().unwrap();
        series
    })
}
