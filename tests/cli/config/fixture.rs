//! A text, accepted or rejected, and the one problem that it has.

use litekeeper::config::{Config, Database, Rejection};
use std::time::Duration;

pub(crate) const APP: &str = "[database.app]\npath = \"/srv/app/data.sqlite\"\n";

pub(crate) fn accepted(text: &str) -> Config {
    Config::parse(text, "l.toml").unwrap_or_else(|rejected| panic!("{rejected}"))
}

pub(crate) fn rejected(text: &str) -> Rejection {
    Config::parse(text, "l.toml").expect_err(text)
}

/// The only problem with a text, as `line:column: message` and its help.
pub(crate) fn problem(text: &str) -> (String, String) {
    let rejected = rejected(text);
    assert_eq!(rejected.problems.len(), 1, "{rejected}");
    let problem = &rejected.problems[0];
    let place = problem.place.as_ref().unwrap();
    (
        format!("{}:{}: {}", place.line, place.column, problem.message),
        problem.help.clone().unwrap_or_default(),
    )
}

/// The only problem, whose message is known to the letter.
pub(crate) fn says(text: &str, expected: &str) {
    assert_eq!(problem(text).0, expected, "{text}");
}

pub(crate) fn app(text: &str) -> Database {
    accepted(text).databases["app"].as_ref().clone()
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
