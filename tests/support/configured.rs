//! A database as a configuration describes it that says nothing but its name and path, for tests that go below the
//! command line: each changes what it is about. Must never start anything by itself: nothing is scheduled.

use litekeeper::config::{Config, Database};
use std::path::Path;

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
