//! When the schedules fire next: the part of `check` for people who wonder what cron makes of them.

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};

use crate::cli::terminal::page::Page;
use crate::cli::terminal::table::TextTable;
use crate::config::Config;
use crate::schedule::outlook::{Firing, Outlook};
use crate::words;
use crate::zone::Zone;

/// A row for each schedule.
pub(super) fn render(page: &mut Page, config: &Config, outlooks: &[Outlook]) {
    if outlooks.is_empty() {
        return;
    }
    let zone = config.daemon.timezone;
    page.line("");
    let rules = zone.source().map(|source| format!(" (its rules: {source})")).unwrap_or_default();
    page.paragraph(&format!("When the jobs are due next, by the clock of {zone}{rules}:"));
    let mut table = TextTable::new(["JOB", "SCHEDULE", "OF", "NEXT"]);
    for outlook in outlooks {
        let of = match outlook.databases.as_slice() {
            _ if outlook.databases.len() == config.databases.len() => "all".to_owned(),
            [only] => only.clone(),
            several => words::plural(several.len() as u64, "database", "databases"),
        };
        table.row([outlook.task.to_string(), outlook.schedule.clone(), of, next(outlook, zone)]);
    }
    page.table(2, &table);
}

fn next(outlook: &Outlook, zone: Zone) -> String {
    if outlook.next.is_empty() {
        return "never".to_owned();
    }
    let mut shown = None;
    let times: Vec<String> = outlook.next.iter().map(|firing| time(*firing, zone, &mut shown)).collect();
    let jitter = match outlook.jitter_seconds {
        0.0 => String::new(),
        seconds => format!("; each up to {} later (jitter)", words::duration(seconds)),
    };
    format!("{}{jitter}", times.join(", "))
}

fn time(firing: Firing, zone: Zone, shown: &mut Option<NaiveDate>) -> String {
    let at = reading(firing.at, zone, shown);
    match firing.postponed_to {
        Some(end) => format!("{at} (waits until {}: blackout)", reading(end, zone, shown)),
        None => at,
    }
}

/// `Mon 7 Dec 2026 03:00`, with seconds where there are some. What of the day was `shown` just
/// before is not said again.
fn reading(time: DateTime<Utc>, zone: Zone, shown: &mut Option<NaiveDate>) -> String {
    let local = time.with_timezone(&zone);
    let date = local.date_naive();
    let day = match shown.replace(date) {
        Some(before) if before == date => "",
        Some(before) if before.year() == date.year() => "%a %-d %b ",
        _ => "%a %-d %b %Y ",
    };
    let clock = if local.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    local.format(&format!("{day}{clock}")).to_string()
}
