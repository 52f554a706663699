//! A database as a configuration describes it that says nothing but its name and path, for tests
//! that go below the command line: each changes what it is about. Must never start anything by
//! itself: nothing is scheduled.

use litekeeper::config::{Children, Config, Database, Rule, Triggers};
use std::path::Path;
use std::time::Duration;

/// With the built-in defaults, but for schedules, of which there are none.
pub fn database(name: &str, path: &Path) -> Database {
    let never = "schedule = \"never\"\n";
    let text = format!(
        "[database.{name}]\npath = \"{}\"\n[backup]\n{never}[verify]\n{never}[cleanup]\n{never}[maintain]\n{never}\
         [watch]\n{never}[health]\n{never}integrity_schedule = \"never\"\n",
        path.display()
    );
    let config = Config::parse(&text, "test").unwrap_or_else(|rejected| panic!("{rejected}"));
    config.databases[name].as_ref().clone()
}

/// Rows of `table` whose `at` is older than a year.
pub fn rule(table: &str) -> Rule {
    Rule {
        table: table.into(),
        column: Some("at".into()),
        keep: Some(Duration::from_secs(365 * 86_400)),
        keep_rows: None,
        max_size: None,
        format: None,
        timezone: litekeeper::zone::Zone::UTC,
        triggers: Triggers::Refuse,
        children: Children::Refuse,
        archive: None,
        archive_dir: None,
    }
}
