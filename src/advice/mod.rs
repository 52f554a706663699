//! Advice on indexes and on the text of queries. An empty copy of the database plans each statement
//! with indexes that do not exist yet; a sample of the rows tells what they would be worth.
//!
//! ```text
//!  question ── what is asked about          material ── schema, statistics, sample of the live database
//!       └────────────┬───────────────────────────┘
//!  twin ── plans without rows         figures ── rows without plans, for cost
//!       └────────────┬───────────────────────────┘
//!  bench ── indexes are tried, and judged by both
//!       │
//!  search ── for one statement ── merge ── for all ── hints ── what an index alone does not do
//! ```
//!
//! Must never say anything that a plan does not show, and never a literal.

mod ask;
mod bench;
mod conditions;
mod cost;
pub mod existing;
mod figures;
mod hints;
mod index;
mod material;
mod merge;
mod question;
mod rewrite;
mod search;
mod twin;

use std::collections::BTreeSet;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::types::Value;
use serde::Serialize;

pub use ask::advise;
pub use hints::Hint;
pub use question::Question;
pub use rewrite::Subject;

use self::bench::{Bench, Outcome};
use self::figures::Figures;
use self::index::{NewIndex, NewKey};
use self::material::{Sample, Schema};
use self::twin::Twin;
use crate::config;
use crate::error::Result;
use crate::queries::plans::Plan;

/// What was read of a database, enough to judge without it.
pub struct Material {
    schema: Schema,
    samples: Vec<Sample>,
}

/// What is advised for one database.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Advice {
    /// Statements that were judged.
    pub judged: usize,
    /// Indexes that would help.
    pub proposals: Vec<Proposal>,
    /// What the text of a query could say better.
    pub hints: Vec<Hint>,
    /// Statements that cannot be judged.
    pub unjudged: Vec<Unjudged>,
}

/// An index that would help.
#[derive(Debug, Clone, Serialize)]
pub struct Proposal {
    /// Creates it.
    pub sql: String,
    /// Its name.
    pub index: String,
    /// Its table.
    pub table: String,
    /// About what it would take.
    pub size_bytes: u64,
    /// What writers would pay for it.
    pub writers: String,
    /// Drops what it makes needless.
    pub replaces: Vec<String>,
    /// The statements that it serves.
    pub serves: Vec<Served>,
}

/// What becomes of one statement.
#[derive(Debug, Clone, Serialize)]
pub struct Served {
    /// Name of the watched query; `None`: a slow statement.
    pub query: Option<String>,
    /// The statement without literals.
    pub shape: String,
    /// Its plan now.
    pub before: Plan,
    /// Its plan with all that is proposed.
    pub after: Plan,
    /// How many times cheaper it becomes, by a rough estimate.
    pub gain: f64,
}

/// A statement that cannot be judged.
#[derive(Debug, Clone, Serialize)]
pub struct Unjudged {
    /// Name of the watched query; `None`: a slow statement.
    pub query: Option<String>,
    /// The statement without literals.
    pub shape: String,
    /// Why not.
    pub why: String,
}

/// Reads what is needed to judge these statements, in many short reads. Stops to sample at `until`.
pub fn read(connection: &Connection, questions: &[Question], until: Instant) -> Result<Material> {
    let schema = Schema::read(connection)?;
    let twin = Twin::new(&schema)?;
    let columns = questions.iter().filter_map(|question| twin.reads(question).ok()).flatten();
    // A view may read all that there is for one row; what it reads are tables.
    let tables: BTreeSet<String> =
        columns.map(|(table, _)| table).filter(|table| schema.has_table(table)).collect();
    let samples = tables.iter().map(|table| material::sample(connection, table, until));
    let samples = samples.collect::<Result<_>>()?;
    Ok(Material { schema, samples })
}

impl Material {
    /// With the indexes that the configuration declares: one that is missing gets the name that it
    /// has there.
    #[must_use]
    pub fn with_declared(mut self, declared: &[config::Index]) -> Self {
        self.schema.declared = declared.to_vec();
        self
    }
}

/// Judges these statements.
pub fn judge(material: &Material, questions: &[Question]) -> Result<Advice> {
    let schema = &material.schema;
    let twin = Twin::new(schema)?;
    twin.set_statistics(schema.statistics.as_deref(), schema.histograms.as_deref())?;
    let figures = Figures::new(schema, &material.samples)?;
    let mut bench = Bench::new(twin, &figures, schema)?;

    let mut advice = Advice::default();
    let mut judged = Vec::new();
    for question in questions {
        match can_be_judged(&mut bench, question) {
            Ok(()) => judged.push(question),
            Err(why) => {
                let (query, shape) = (question.name.clone(), question.shape.clone());
                advice.unjudged.push(Unjudged { query, shape, why });
            }
        }
    }
    advice.judged = judged.len();
    let mut found = Vec::new();
    for question in &judged {
        found.extend(bench.search(question)?);
    }
    let chosen = merge::merge(&mut bench, &judged, found)?;
    let chosen = confirmed(material, &figures, &judged, chosen)?;
    let bound = &schema.bound | &existing::bound(questions.iter().map(|question| question.sql.as_str()));
    advice.proposals = proposals(&mut bench, &judged, &chosen, &bound)?;
    for question in &judged {
        advice.hints.extend(hints::hints(&mut bench, question, &chosen)?);
    }
    Ok(advice)
}

fn can_be_judged(bench: &mut Bench<'_>, question: &Question) -> std::result::Result<(), String> {
    if question.is_cut() {
        return Err("only its beginning was kept".to_owned());
    }
    bench.twin.reads(question).map(|_| ()).map_err(|error| error.message)
}

/// Those that are picked as soon as they are created, and still once ANALYZE knows them.
fn confirmed(
    material: &Material,
    figures: &Figures,
    judged: &[&Question],
    mut chosen: Vec<NewIndex>,
) -> Result<Vec<NewIndex>> {
    loop {
        let mut used: Option<BTreeSet<NewIndex>> = None;
        for is_analyzed in [false, true] {
            let mut bench = bench_after(material, figures, &chosen, is_analyzed)?;
            let mut now = BTreeSet::new();
            for question in judged {
                now.extend(bench.outcome(question, &chosen)?.used);
            }
            used = Some(used.map_or(now.clone(), |before| before.intersection(&now).cloned().collect()));
        }
        let used = used.unwrap_or_default();
        let before = chosen.len();
        chosen.retain(|index| used.contains(index));
        if chosen.len() == before {
            return Ok(chosen);
        }
    }
}

/// The database as it would be: statistics are read once the indexes are there, and know them or do
/// not.
fn bench_after<'a>(
    material: &'a Material,
    figures: &'a Figures,
    chosen: &[NewIndex],
    is_analyzed: bool,
) -> Result<Bench<'a>> {
    let schema = &material.schema;
    let mut twin = Twin::new(schema)?;
    twin.try_only(chosen)?;
    if is_analyzed {
        let mut rows = schema.statistics.clone().unwrap_or_default();
        let text = |text: &str| Value::Text(text.to_owned());
        let row = |table: &str, index: &str, keys: &[NewKey]| {
            [text(table), text(index), Value::Text(figures.statistics(table, keys))]
        };
        if schema.statistics.is_none() {
            let sampled = bench::existing(&twin)?.into_iter().filter(|(_, (table, _))| figures.knows(table));
            rows.extend(sampled.map(|(name, (table, keys))| row(&table, &name, &keys)));
        }
        rows.extend(twin.tried().map(|(index, name)| row(&index.table, name, &index.keys)));
        twin.set_statistics(Some(&rows), schema.histograms.as_deref())?;
    } else {
        twin.set_statistics(schema.statistics.as_deref(), schema.histograms.as_deref())?;
    }
    Bench::new(twin, figures, schema)
}

fn proposals(
    bench: &mut Bench<'_>,
    judged: &[&Question],
    chosen: &[NewIndex],
    bound: &BTreeSet<String>,
) -> Result<Vec<Proposal>> {
    let mut outcomes: Vec<(&Question, Outcome, Outcome, Plan)> = Vec::new();
    for question in judged {
        let (before, after) = (bench.outcome(question, &[])?, bench.outcome(question, chosen)?);
        // At once: tried again, an index has another name.
        let plan = bench.shown(&after.steps);
        outcomes.push((question, before, after, plan));
    }
    let names = bench.names();
    let mut proposals = Vec::new();
    for (index, name) in &names {
        let serves: Vec<Served> = outcomes
            .iter()
            .filter(|(_, before, after, _)| {
                after.used.contains(index) && merge::is_served(before.cost, after.cost)
            })
            .map(|(question, before, after, plan)| Served {
                query: question.name.clone(),
                shape: question.shape.clone(),
                before: Plan::new(&before.steps),
                after: plan.clone(),
                gain: before.cost / after.cost,
            })
            .collect();
        if serves.is_empty() {
            continue;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of an index")]
        let size_bytes = bench.figures.bytes(index) as u64;
        proposals.push(Proposal {
            sql: index.sql(name),
            index: name.clone(),
            table: index.table.clone(),
            size_bytes,
            writers: writers(bench, index),
            replaces: bench.replaced_by(index, bound),
            serves,
        });
    }
    Ok(proposals)
}

fn writers(bench: &Bench<'_>, index: &NewIndex) -> String {
    let others = bench.schema.objects.iter().filter(|o| o.kind == "index" && o.table == index.table).count();
    let columns: Vec<&str> = index.keys.iter().map(|key| key.column.as_str()).collect();
    format!(
        "each INSERT into {}, each DELETE, and each UPDATE of {} writes one index more ({} in place of {others})",
        index.table,
        columns.join(" or "),
        others + 1,
    )
}
