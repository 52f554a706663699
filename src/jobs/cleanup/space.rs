//! What comes next for the space: the removed rows leave free pages in the file, and the maintenance after it decides by
//! the configuration whether to give them back. Says so; changes nothing.

use crate::config::{Database, Vacuum};
use crate::sqlite::files::facts::Facts;
use crate::words;

/// One sentence. `owned`: a replicator owns the write-ahead log.
pub(super) fn next(database: &Database, facts: &Facts, owned: bool) -> String {
    let settings = &database.maintain;
    let (free, share) = (facts.free_bytes(), facts.free_pages as f64 / facts.pages.max(1) as f64);
    let found = format!(
        "{} ({}) of the file {} free for new rows",
        words::bytes(free),
        words::percent(share),
        if facts.free_pages == 1 { "is" } else { "are" },
    );
    let when = match settings.when.schedule.cron() {
        Some(_) => format!("the next maintenance ({})", settings.when.schedule),
        None => String::from("`litekeeper maintain`, as maintain.schedule is \"never\","),
    };
    let then = match settings.vacuum {
        _ if free == 0 => return found,
        _ if owned => String::from("leaves them there, as a replicator owns the write-ahead log"),
        Vacuum::Never => String::from("leaves them there, as maintain.vacuum is \"never\""),
        Vacuum::Incremental if facts.auto_vacuum == 2 => String::from("gives them back bit by bit"),
        Vacuum::Incremental => {
            String::from("cannot give them back bit by bit, as the database has no auto_vacuum = INCREMENTAL")
        }
        Vacuum::Auto if share < settings.vacuum_min_free => format!(
            "leaves them there, as that is less than maintain.vacuum_min_free = {}",
            words::percent(settings.vacuum_min_free)
        ),
        Vacuum::Auto if free < settings.vacuum_min_size => format!(
            "leaves them there, as that is less than maintain.vacuum_min_size = {}",
            words::bytes(settings.vacuum_min_size)
        ),
        Vacuum::Auto | Vacuum::Always => {
            String::from("may give them back, within its limits on blocking and space")
        }
    };
    format!("{found}; {when} {then}")
}
