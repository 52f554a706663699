//! What a cleanup says of itself: the structure kept in the history and printed as JSON, and its
//! sentences.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::count::Count;
use super::plan::Plan;
use super::rows::{RowCounts, Tally, rows, rows_of};
use crate::commands;
use crate::config::{Database, Rule, Vacuum};
use crate::error::Error;
use crate::sqlite::look::facts::Facts;
use crate::words;

/// The detail of a run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Detail {
    /// Nothing was written: the figures are what a run now would do.
    pub(super) dry_run: bool,
    pub(super) rules: Vec<RuleReport>,
    /// What is free in the file now, and what comes of it.
    pub(super) space: Option<String>,
}

/// One rule's part.
#[derive(Debug, Default, Serialize)]
pub(super) struct RuleReport {
    pub(super) table: String,
    pub(super) column: Option<String>,
    /// How the column tells the time; absent where the rule did not get that far, or has no column.
    pub(super) format: Option<&'static str>,
    /// The zone of text without an offset; numbers have none.
    pub(super) timezone: Option<&'static str>,
    /// Rows before this go; absent likewise.
    pub(super) cutoff: Option<DateTime<Utc>>,
    /// The same by the clock of the zone, and by which other limits rows go.
    pub(super) goes: Vec<String>,
    /// Bytes of the table and its indexes before, where the rule has `max_size`.
    pub(super) size_bytes: Option<u64>,
    /// Rows in the table before.
    pub(super) rows: u64,
    /// Of these, rows past their retention.
    pub(super) matched: u64,
    /// Of these, rows whose date cannot be read; they are never deleted.
    pub(super) unreadable: u64,
    /// Rows removed from the table, all of them past its retention.
    pub(super) removed: u64,
    /// Rows of the table that stay, and whose foreign key was set to NULL or to its default, as it
    /// led to one of those.
    pub(super) unlinked: u64,
    /// What the rule removed of `rows`, 0 to 1; where it was refused, what it would have removed.
    pub(super) share: f64,
    /// The same for tables that point here.
    pub(super) children: BTreeMap<String, RowCounts>,
    /// The application's triggers that fired.
    pub(super) triggers: Vec<String>,
    /// Transactions.
    pub(super) batches: u64,
    /// The longest of them, with the checkpoint that may follow it.
    pub(super) longest_transaction_ms: f64,
    /// The largest that the file of the write-ahead log was.
    pub(super) wal_peak_bytes: u64,
    /// Rows that were archived, those of other tables included, and the files that they are in.
    pub(super) archived: u64,
    pub(super) archive: Vec<String>,
    /// What the operator may do to make it cheaper.
    pub(super) advice: Vec<String>,
    /// Why the rule was not carried out, or not to its end.
    pub(super) refused: Option<String>,
}

impl RuleReport {
    pub(super) fn new(rule: &Rule) -> Self {
        Self { table: rule.table.clone(), column: rule.column.clone(), ..Self::default() }
    }

    /// Takes over what the plan found out.
    pub(super) fn describe(&mut self, plan: &Plan) {
        self.table.clone_from(&plan.table);
        if let Some(column) = &plan.goes.column {
            self.column = Some(column.name.clone());
            self.format = Some(column.format.word());
        }
        let by_a_clock = plan.goes.age.filter(|age| age.format.is_by_a_clock());
        self.timezone = by_a_clock.map(|age| age.zone.name());
        self.cutoff = plan.goes.age.map(|age| age.cutoff);
        self.goes.clone_from(&plan.why);
        self.triggers.clone_from(&plan.triggers.names);
        self.advice.clone_from(&plan.advice);
    }

    /// The rule was not carried out, or not to its end. In a preview nothing would go then;
    /// `matched` and `share` still tell what the rule asks for.
    pub(super) fn refuse(&mut self, why: &Error, is_preview: bool) {
        self.refused = Some(why.message.clone());
        if is_preview {
            (self.removed, self.unlinked) = (0, 0);
            self.children.clear();
        }
    }

    /// Takes over what counting found.
    pub(super) fn set_count(&mut self, count: &Count) {
        (self.rows, self.matched, self.unreadable) = (count.rows, count.matched, count.unreadable);
    }

    /// Takes over what was touched, or would be.
    pub(super) fn set_touched(&mut self, tally: &Tally) {
        let own = tally.get(&self.table).copied().unwrap_or_default();
        self.removed = own.removed;
        self.unlinked = own.changed;
        self.children =
            tally.iter().filter(|(table, _)| **table != self.table).map(|(t, n)| (t.clone(), *n)).collect();
    }
}

impl Detail {
    /// Rows removed from the rules' own tables by the rules up to now.
    pub(super) fn removed(&self) -> u64 {
        self.rules.iter().map(|rule| rule.removed).sum()
    }

    /// The run in one sentence.
    pub(super) fn summary(&self) -> String {
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let parts: Vec<_> = self.rules.iter().filter_map(rule_part).collect();
        if parts.is_empty() { format!("{verb} nothing") } else { format!("{verb} {}", parts.join(", and ")) }
    }
}

/// `12,345 rows older than 2025-11-23 02:00 UTC from attendance`; none for a rule that was refused
/// before it did anything.
fn rule_part(rule: &RuleReport) -> Option<String> {
    if rule.refused.is_some() && rule.batches == 0 {
        return None;
    }
    let why = if rule.goes.is_empty() { String::new() } else { format!(" {}", rule.goes.join(" or ")) };
    let mut text = format!("{}{why} from {}", rows(rule.removed), rule.table);
    let gone = rule.children.iter().filter(|(_, touched)| touched.removed > 0);
    let gone: Vec<_> = gone.map(|(table, touched)| rows_of(touched.removed, table)).collect();
    let own = (rule.unlinked > 0).then_some((&rule.table, rule.unlinked));
    let others = rule.children.iter().map(|(table, touched)| (table, touched.changed));
    let changed = own.into_iter().chain(others.filter(|(_, changed)| *changed > 0));
    let changed: Vec<_> = changed.map(|(table, rows)| rows_of(rows, table)).collect();
    // Writing to a String does not fail.
    if !gone.is_empty() {
        let _ = write!(text, " and with them {}", gone.join(" and "));
    }
    if !changed.is_empty() {
        let _ = write!(text, " (unlinking {})", changed.join(" and "));
    }
    if rule.unreadable > 0 {
        let _ = write!(text, " ({} without a readable date stay)", rows(rule.unreadable));
    }
    Some(text)
}

/// What comes next for the space, in one sentence: the removed rows leave free pages in the file,
/// and the maintenance after it decides by the configuration whether to give them back. `owned`: a
/// replicator owns the write-ahead log.
pub(super) fn space(database: &Database, facts: &Facts, owned: bool) -> String {
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
        None => format!(
            "`{}`, as maintain.schedule is \"never\",",
            commands::litekeeper(format_args!("maintain {}", database.name))
        ),
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
