//! `status --exit-code`: one line that sums up and an exit code from 0 to 3, as monitoring plugins
//! have them (Nagios, Icinga, Sensu, Zabbix). What cannot be told is UNKNOWN and never OK.

use std::fmt::Write as _;

use crate::cli::exit;
use crate::error::{Error, Reason};
use crate::state::status::{Overall, Severity, Status, StatusProblem};
use crate::words;

/// Databases that the first line names: some systems show no more than a line's length of it.
const NAMED: usize = 5;

/// The exit code for a state.
pub(super) const fn code(state: Overall) -> u8 {
    match state {
        Overall::Ok => exit::OK,
        Overall::Warning => exit::PLUGIN_WARNING,
        Overall::Critical => exit::PLUGIN_CRITICAL,
        Overall::Unknown => exit::PLUGIN_UNKNOWN,
    }
}

/// A line that sums up, with numbers for a graph behind the bar, then a line for each problem.
pub(super) fn lines(status: &Status) -> String {
    let critical = of(status, Severity::Failure);
    let numbers = format!(
        "databases={} attention={} failures={critical} warnings={}",
        status.databases.len(),
        status.in_trouble().len(),
        of(status, Severity::Warning)
    );
    let mut text = format!("{} | {numbers}\n", line(status.state, &summary(status)));
    for problem in &status.problems {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", plain(&self::problem(problem)));
    }
    text
}

/// Nobody could look at all.
pub(super) fn unable(error: &Error) -> String {
    let why = match error.reason {
        Reason::Config => "the configuration is not valid: see litekeeper check",
        _ => &error.message,
    };
    line(Overall::Unknown, why)
}

fn line(state: Overall, text: &str) -> String {
    format!("LITEKEEPER {state} - {}", plain(text))
}

fn of(status: &Status, severity: Severity) -> usize {
    status.problems.iter().filter(|problem| problem.severity == severity).count()
}

fn summary(status: &Status) -> String {
    let mut parts: Vec<String> = Vec::new();
    // Of the daemon itself.
    let own = status.problems.iter().filter(|problem| problem.database.is_none());
    parts.extend(own.map(|problem| problem.text.clone()));
    if let Some(attention) = status.attention() {
        let all = status.in_trouble();
        let (first, others) = all.split_at(all.len().min(NAMED));
        let others = match others.len() as u64 {
            0 => String::new(),
            more => format!(" and {}", words::plural(more, "other", "others")),
        };
        parts.push(format!("{attention}: {}{others}", first.join(", ")));
    }
    if parts.is_empty() {
        return match status.databases.len() as u64 {
            0 => "no databases are configured".to_owned(),
            1 => "the database is well".to_owned(),
            all => format!("all {} databases are well", words::count(all)),
        };
    }
    parts.join("; ")
}

fn problem(problem: &StatusProblem) -> String {
    let state = match problem.severity {
        Severity::Failure => Overall::Critical,
        Severity::Warning => Overall::Warning,
    };
    let database = problem.database.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    format!("{state} {database}{}: {}", problem.about, problem.text)
}

/// In one line, and without the bar that begins the numbers.
fn plain(text: &str) -> String {
    text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}
