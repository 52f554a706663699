//! A database as the configuration describes it, for tests that go below the command line, and the series that
//! count what happens to it. Must never start anything by itself: nothing is scheduled.

use super::metrics::Metrics;
use litekeeper::config::{Config, Database};
use litekeeper::metrics::{Expected, Format};
use std::path::Path;
use std::sync::OnceLock;

/// The database `name` in this file, with the built-in defaults and no schedules; counted from now on.
pub fn database(name: &str, path: &Path) -> Database {
    let never = "schedule = \"never\"\n";
    let text = format!(
        "[database.{name}]\npath = \"{}\"\n[backup]\n{never}[verify]\n{never}[cleanup]\n{never}[maintain]\n{never}\
         [watch]\n{never}[health]\n{never}integrity_schedule = \"never\"\n",
        path.display()
    );
    let config = Config::parse(&text, "test").unwrap_or_else(|rejected| panic!("{:?}", rejected.problems));
    let jobs = ["maintain", "backup"];
    series().add_database(name, Expected { jobs: &jobs, tables: &[], queries: &[] });
    config.databases[name].as_ref().clone()
}

/// What is counted so far.
pub fn metrics() -> Metrics {
    Metrics::parse(&series().render(Format::Text))
}

fn series() -> &'static litekeeper::metrics::Metrics {
    static SERIES: OnceLock<litekeeper::metrics::Metrics> = OnceLock::new();
    SERIES.get_or_init(|| {
        let series = litekeeper::metrics::Metrics::new("test", "test");
        series.install().unwrap();
        series
    })
}
