//! The status page: what is wrong first, then a card for each database. Pure: a snapshot and the
//! time in, HTML out. Everything goes through maud's escaping; must never use `PreEscaped`, and
//! says nothing by colour alone.

mod database;
mod time;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{DOCTYPE, Markup, html};

use self::time::{clock_time, when};
use crate::rights::unit;
use crate::state::status::{Severity, Status};
use crate::words;

/// A snapshot older than this is said to be old: the supervisor makes one every second or so.
const FRESH: TimeDelta = TimeDelta::seconds(30);

/// How this daemon is told to read its configuration again.
fn reload(status: &Status) -> String {
    match (unit::own(), status.pid) {
        (Some(unit), _) => format!("systemctl reload {}", unit.trim_end_matches(".service")),
        (None, Some(pid)) => format!("kill -HUP {pid}"),
        (None, None) => String::from("systemctl reload litekeeper"),
    }
}

/// The whole page as of `now`.
pub(super) fn render(status: &Status, now: DateTime<Utc>) -> Markup {
    let verdict = verdict(status, now);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="refresh" content="5";
                title { (verdict.words) " · litekeeper" }
                link rel="stylesheet" href={ "style.css?v=" (status.version) };
            }
            body {
                header {
                    p.brand { "litekeeper" }
                    h1 class=(verdict.class) { (verdict.words) }
                    (summary(status, now))
                }
                main {
                    (daemon_problems(status, now))
                    (problem_list(status, now))
                    @if status.databases.is_empty() {
                        section.card {
                            h2 { "No databases yet" }
                            p {
                                "Name the first one in " code { (status.config_path) }
                                " and reload (" code { (reload(status)) } "):"
                            }
                            pre { "[database.NAME]\npath = \"/path/to/file.sqlite\"" }
                        }
                    }
                    @for database in &status.databases {
                        (database::card(database, now))
                    }
                }
                footer {
                    p {
                        "As of " (clock_time(status.now)) ". Renews itself every 5 s. "
                        a href="metrics" { "Metrics" } " · " a href="api/status" { "JSON" } " · "
                        a href="readyz" { "Readiness" }
                    }
                    p {
                        "litekeeper " (status.version) " · SQLite " (status.sqlite_version)
                        @if let Some(pid) = status.pid { " · process " (pid) }
                    }
                }
            }
        }
    }
}

struct Headline {
    words: String,
    class: &'static str,
}

fn verdict(status: &Status, now: DateTime<Utc>) -> Headline {
    let fails = status.problems.iter().any(|p| p.severity == Severity::Failure);
    let stale = now - status.now > FRESH;
    let refused = status.config.last_reload.as_ref().is_some_and(|r| !r.ok);
    let parts: Vec<String> = [
        stale.then(|| "no news".to_owned()),
        (!status.ready).then(|| "not ready".to_owned()),
        status.attention(),
        refused.then(|| "new configuration refused".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let (class, words) = match parts.as_slice() {
        [] if status.databases.is_empty() => ("", "Nothing to keep yet".to_owned()),
        [] => ("good", "All well".to_owned()),
        _ if stale || fails => ("bad", words::capitalised(&parts.join(", "))),
        _ => ("warn", words::capitalised(&parts.join(", "))),
    };
    Headline { words, class }
}

fn summary(status: &Status, now: DateTime<Utc>) -> Markup {
    html! {
        p.quiet {
            (words::plural(status.databases.len() as u64, "database", "databases"))
            @if let Some(started) = status.started { " · started " (when(now, started)) }
            " · " code { (status.config_path) } " loaded " (when(now, status.config.loaded_at))
        }
    }
}

/// What is wrong with the daemon itself.
fn daemon_problems(status: &Status, now: DateTime<Utc>) -> Markup {
    let age = now - status.now;
    html! {
        @if age > FRESH {
            section.notice.bad {
                h2 { "This is an old picture" }
                p {
                    "It was taken " (when(now, status.now)) " and has not been renewed since: litekeeper hangs. "
                    "See its log, then restart it."
                }
            }
        }
        @if !status.ready {
            section.notice.bad {
                h2 { "Not ready" }
                ul { @for reason in &status.not_ready { li { (reason) } } }
            }
        }
        @if let Some(reload) = status.config.last_reload.as_ref().filter(|r| !r.ok) {
            section.notice.warn {
                h2 { "The new configuration was refused " (when(now, reload.at)) }
                p {
                    "The one loaded " (when(now, status.config.loaded_at))
                    " stays in force until a reload or a restart takes another. Why, and what to do:"
                }
                pre { (reload.message) }
            }
        }
    }
}

/// What is wrong with the databases.
fn problem_list(status: &Status, now: DateTime<Utc>) -> Markup {
    let problems = status.problems.iter().filter_map(|p| Some((p.database.as_deref()?, p)));
    let problems: Vec<_> = problems.collect();
    html! {
        @if !problems.is_empty() {
            section.problems aria-label="What is wrong" {
                ul {
                    @for (database, problem) in problems {
                        li {
                            @match problem.severity {
                                Severity::Failure => span.tag.bad { "failure" },
                                Severity::Warning => span.tag.warn { "warning" },
                            }
                            div {
                                a href={ "#db-" (database) } { (database) } " · " b { (problem.about) } " "
                                (problem.text)
                                @if let Some(at) = problem.at { span.quiet { " (" (when(now, at)) ")" } }
                            }
                        }
                    }
                }
            }
        }
    }
}
