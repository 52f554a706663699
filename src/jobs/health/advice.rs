//! What the check `indexes` advises beside what is wrong: needless and unused indexes, and foreign
//! keys without one. Of use it knows only what the plans of the watched queries and of slow
//! statements tell, and says so.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use crate::advice::existing::{self, Existing, Keyless, Remark};
use crate::config::Index;
use crate::error::Result;
use crate::jobs::Run;
use crate::metrics::index_reasons;
use crate::queries::known::in_plans;
use crate::queries::plans::{Plan, index_in};
use crate::sql::quoting::quoted;
use crate::state::facts::{self, INDEX_USE, PLANS, TABLES, WatchedPlan};
use crate::state::slow;

/// So many queries must be watched, so many of them of the index's own table, and for so long,
/// before one that none of them uses is mentioned.
const QUERIES: usize = 10;
const QUERIES_OF_TABLE: usize = 3;
const WATCHED_FOR: TimeDelta = TimeDelta::days(7);

/// A table with fewer rows is read as fast as its index.
const FEW_ROWS: u64 = 1000;

/// Remarks in words; the metric has all.
const SAID: usize = 10;

/// What is known beside the schema.
pub(super) struct Evidence {
    declared: Vec<Index>,
    /// Columns that the cleanup searches, with their tables.
    cleaned: Vec<(String, String)>,
    /// The indexes that were ever in use.
    used: BTreeSet<String>,
    /// Those that watched queries and slow statements name by INDEXED BY.
    bound: BTreeSet<String>,
    /// Of each query that was watched for long enough, the tables that it reads, as far as its plan
    /// names them.
    queries: Vec<BTreeSet<String>>,
    /// Since when the last of them is watched.
    since: DateTime<Utc>,
    small: BTreeSet<String>,
}

impl Evidence {
    /// Takes down which indexes the watched queries and slow statements use now, and since when
    /// each query is watched.
    pub(super) fn gather(run: &Run) -> Result<Self> {
        let (database, name, now) = (&run.database, run.database.name.as_str(), run.started);
        let (used, bound, watched, small) = run.state.transaction(|transaction| {
            let plans = facts::recall(transaction, name, PLANS)?;
            let slow = slow::worst(transaction, name, DateTime::UNIX_EPOCH, u32::MAX)?;
            let known = facts::update_in(transaction, name, INDEX_USE, |known| {
                let all =
                    plans.values().map(|watched| &watched.plan).chain(slow.iter().map(|shape| &shape.plan));
                known.used.extend(all.flat_map(|plan| indexes_in(plan)));
                let since = |query: &String, watched: &WatchedPlan| match known.queries.get(query) {
                    // A time to come is one by a clock that was wrong.
                    Some((text, since)) if *text == watched.query => (*since).min(now),
                    _ => now,
                };
                known.queries = plans
                    .iter()
                    .map(|(query, w)| (query.clone(), (w.query.clone(), since(query, w))))
                    .collect();
                known.clone()
            })?;
            let watched: Vec<_> = plans
                .into_iter()
                .filter_map(|(query, watched)| Some((known.queries.get(&query)?.1, watched.plan)))
                .filter(|(since, _)| now - *since >= WATCHED_FOR)
                .collect();
            let tables = facts::recall(transaction, name, TABLES)?.into_iter();
            let small =
                tables.filter(|t| t.rows.is_some_and(|rows| rows < FEW_ROWS)).map(|t| t.table).collect();
            let queries = database.watch.queries.iter().map(|query| query.sql.as_str());
            let bound = existing::bound(slow.iter().map(|shape| shape.shape.as_str()).chain(queries));
            Ok((known.used, bound, watched, small))
        })?;
        let rules = &run.database.cleanup.rules;
        Ok(Self {
            declared: run.database.indexes.clone(),
            cleaned: rules
                .iter()
                .filter_map(|rule| Some((rule.table.clone(), rule.column.clone()?)))
                .collect(),
            used,
            bound,
            since: watched.iter().map(|(since, _)| *since).max().unwrap_or(now),
            queries: watched.into_iter().map(|(_, plan)| named_in(plan)).collect(),
            small,
        })
    }

    /// All that is advised.
    pub(super) fn remarks(&self, connection: &Connection) -> Result<Vec<Remark>> {
        let all = existing::existing(connection)?;
        let bound = &self.bound | &existing::bound_in_schema(connection)?;
        let is_bound = |index: &Existing| bound.contains(&index.name.to_ascii_lowercase());
        let mut remarks = existing::needless(&all, |index| is_bound(index) || self.is_declared(index));
        // One that is declared and missing is told of already.
        let has_declared = |key: &Keyless| {
            let begins = |index: &Index| {
                let begin = index.columns.iter().take(key.columns.len());
                begin.zip(&key.columns).filter(|(has, wants)| has.eq_ignore_ascii_case(wants)).count()
                    == key.columns.len()
            };
            self.declared.iter().any(|index| index.table.eq_ignore_ascii_case(&key.child) && begins(index))
        };
        let keyless = existing::keyless(connection, &all)?.into_iter();
        let told = keyless.filter(|key| !self.small.contains(&key.child) && !has_declared(key));
        remarks.extend(told.map(|key| key.remark));
        if self.queries.len() >= QUERIES {
            let named: BTreeSet<String> = remarks.iter().map(|remark| remark.index.clone()).collect();
            let is_used =
                |index: &Existing| is_bound(index) || self.is_used(index) || named.contains(&index.name);
            for index in existing::unused(connection, &all, is_used)? {
                remarks.extend(self.unused(index, &all));
            }
        }
        Ok(remarks)
    }

    fn is_declared(&self, index: &Existing) -> bool {
        self.declared.iter().any(|declared| declared.name.eq_ignore_ascii_case(&index.name))
    }

    fn is_used(&self, index: &Existing) -> bool {
        let is_cleaned = self
            .cleaned
            .iter()
            .any(|(table, column)| table.eq_ignore_ascii_case(&index.table) && index.begins_with(column));
        self.is_declared(index) || is_cleaned || self.used.contains(&in_plans(&index.name))
    }

    fn unused(&self, index: &Existing, all: &[Existing]) -> Option<Remark> {
        let is_of_table = |name: &String| {
            name.eq_ignore_ascii_case(&index.table)
                || all.iter().any(|other| other.table == index.table && in_plans(&other.name) == *name)
        };
        let of_table = self.queries.iter().filter(|names| names.iter().any(is_of_table)).count();
        let text = format!(
            "{} is used by none of the {} watched queries since {}, {of_table} of which read {}; the application may have \
             others, which litekeeper does not see. If it has none: DROP INDEX {}",
            index.name,
            self.queries.len(),
            self.since.format("%Y-%m-%d"),
            index.table,
            quoted(&index.name)
        );
        (of_table >= QUERIES_OF_TABLE).then(|| Remark {
            index: index.name.clone(),
            word: index_reasons::UNUSED.word,
            text,
        })
    }
}

/// The indexes that a plan names.
fn indexes_in(plan: &[String]) -> impl Iterator<Item = String> {
    plan.iter().filter_map(|line| index_in(line)).map(str::to_owned)
}

/// The indexes of a plan, and the tables under the names that the query gives them.
fn named_in(plan: Vec<String>) -> BTreeSet<String> {
    let indexes: Vec<String> = indexes_in(&plan).collect();
    Plan { lines: plan }.read().into_iter().map(str::to_owned).chain(indexes).collect()
}

/// For the check's detail; empty where there is nothing to say.
pub(super) fn in_words(remarks: &[Remark]) -> String {
    if remarks.is_empty() {
        return String::new();
    }
    let said: Vec<&str> = remarks.iter().take(SAID).map(|remark| remark.text.as_str()).collect();
    let more = match remarks.len().saturating_sub(SAID) {
        0 => String::new(),
        n => format!("; and {n} more in litekeeper_index_problems"),
    };
    format!(". Advice: {}{more}", said.join("; "))
}
