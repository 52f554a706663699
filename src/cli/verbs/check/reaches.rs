//! How far back the backups of each database reach, by what rotation keeps. Must never look at a
//! backup: this is what is wanted, not what is there.

use serde::Serialize;

use crate::cli::terminal::page::Page;
use crate::config::Config;
use crate::survey::reach;
use crate::{clock, words};

/// How far back the backups of some databases reach, which have the same policy.
#[derive(Serialize)]
pub(super) struct Reach<'c> {
    databases: Vec<&'c str>,
    copy: Option<&'c str>,
    keep: String,
}

/// In the order of the configuration, each policy once.
pub(super) fn of(config: &Config) -> Vec<Reach<'_>> {
    let (zone, now) = (config.daemon.timezone, clock::now());
    let mut reaches: Vec<Reach<'_>> = Vec::new();
    for database in config.databases.values() {
        let backup = &database.backup;
        let copies = backup.copies.iter().map(|copy| (Some(copy.name.as_str()), &copy.keep));
        for (copy, keep) in std::iter::once((None, &backup.keep)).chain(copies) {
            let keep = reach::in_words(keep, &backup.when.schedule, zone, now);
            match reaches.iter_mut().find(|reach| reach.copy == copy && reach.keep == keep) {
                Some(same) => same.databases.push(&database.name),
                None => reaches.push(Reach { databases: vec![&database.name], copy, keep }),
            }
        }
    }
    reaches
}

/// Databases that are named one by one; more are counted.
const NAMED: usize = 5;

pub(super) fn render(page: &mut Page, config: &Config, reaches: &[Reach<'_>]) {
    for Reach { databases, copy, keep } in reaches {
        let whose = match databases.len() {
            n if n == config.databases.len() && n > 1 => String::from("all databases"),
            n if n > NAMED => words::plural(n as u64, "database", "databases"),
            _ => databases.join(", "),
        };
        let what = copy.map_or_else(|| String::from("backups"), |copy| format!("copies {copy}"));
        page.beside(&format!("{what} of {whose}: "), &format!("keeps {keep}"));
    }
}
