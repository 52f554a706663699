//! Where indexes are tried: how a statement is answered with indexes that do not exist, what that
//! costs, and what is known of those that do.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::conditions::Text;
use super::cost::{Access, Judge};
use super::figures::{Figures, QuestionColumns};
use super::index::{NewIndex, NewKey};
use super::material::Schema;
use super::question::Question;
use super::twin::Twin;
use crate::config;
use crate::error::Result;
use crate::queries::plans::Plan;
use crate::sql::quoting::quoted;
use crate::sqlite::look::explain::PlanStep;

/// Rows that a LIMIT whose value nobody knows lets through.
const USUAL_LIMIT: f64 = 100.0;

/// Where indexes are tried.
pub(super) struct Bench<'a> {
    pub(super) twin: Twin,
    pub(super) figures: &'a Figures,
    pub(super) schema: &'a Schema,
    /// The database's own indexes by name.
    pub(super) existing: BTreeMap<String, (String, Vec<NewKey>)>,
    /// The names given so far: two that are spoken of never have the same.
    named: RefCell<BTreeMap<NewIndex, String>>,
}

/// What a plan comes to.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) steps: Vec<PlanStep>,
    pub(super) cost: f64,
    /// The tried indexes in it.
    pub(super) used: BTreeSet<NewIndex>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(twin: Twin, figures: &'a Figures, schema: &'a Schema) -> Result<Self> {
        let existing = existing(&twin)?;
        Ok(Self { twin, figures, schema, existing, named: RefCell::default() })
    }

    /// How the statement is answered with these indexes beside the database's own.
    pub(super) fn outcome(&mut self, question: &Question, indexes: &[NewIndex]) -> Result<Outcome> {
        self.twin.try_only(indexes)?;
        let steps = self.twin.plan(question)?;
        let known = QuestionColumns::new(question, self.schema);
        let tried: BTreeMap<&str, &NewIndex> = self.twin.tried().map(|(index, name)| (name, index)).collect();
        let own = self.existing.iter().map(|(name, (_, keys))| (name.clone(), keys.clone()));
        let mut keys: BTreeMap<String, Vec<NewKey>> = own.collect();
        keys.extend(tried.iter().map(|(name, index)| ((*name).to_owned(), index.keys.clone())));
        let limit = limit(question);
        let judge =
            Judge { figures: self.figures, known: &known, indexes: keys, limit, parts: RefCell::default() };
        let cost = judge.cost(&steps);
        let used = steps.iter().filter_map(|step| Access::of(&step.detail)?.index);
        let used = used.filter_map(|name| tried.get(name).map(|index| (*index).clone())).collect();
        Ok(Outcome { steps, cost, used })
    }

    /// The names that the tried indexes would have in the database.
    pub(super) fn names(&self) -> BTreeMap<NewIndex, String> {
        let mut names = self.named.borrow_mut();
        for (index, _) in
            self.twin.tried().filter(|(index, _)| !names.contains_key(index)).collect::<Vec<_>>()
        {
            let is_taken = |name: &str| self.schema.has(name) || names.values().any(|taken| taken == name);
            let declared = self.schema.declared.iter().find(|declared| is_declared(index, declared));
            let name = match declared.filter(|declared| !is_taken(&declared.name)) {
                Some(declared) => declared.name.clone(),
                None => index.name(is_taken),
            };
            names.insert(index.clone(), name);
        }
        self.twin.tried().filter_map(|(index, _)| Some((index.clone(), names.get(index)?.clone()))).collect()
    }

    /// Drops the database's own indexes that are the beginning of this one and do nothing else.
    /// `bound` are not to be dropped.
    pub(super) fn replaced_by(&self, index: &NewIndex, bound: &BTreeSet<String>) -> Vec<String> {
        let is_plain = |name: &str| {
            let object = self.schema.objects.iter().find(|object| object.name == name);
            object.is_some_and(|object| {
                let text = Text::new(&object.sql);
                !["UNIQUE", "WHERE", "DESC", "COLLATE"].iter().any(|word| text.has(word))
            })
        };
        let is_beginning =
            |table: &str, keys: &[NewKey]| table == index.table && index.keys.starts_with(keys);
        let is_wanted = |name: &str| {
            bound.contains(&name.to_ascii_lowercase())
                || self.schema.declared.iter().any(|declared| declared.name == name)
        };
        let replaced = self
            .existing
            .iter()
            .filter(|(name, (table, keys))| is_beginning(table, keys) && is_plain(name) && !is_wanted(name));
        replaced.map(|(name, _)| format!("DROP INDEX {}", quoted(name))).collect()
    }

    /// A plan with the tried indexes under those names.
    pub(super) fn shown(&self, steps: &[PlanStep]) -> Plan {
        let names = self.names();
        let tried: BTreeMap<&str, &str> =
            self.twin.tried().filter_map(|(index, name)| Some((name, names.get(index)?.as_str()))).collect();
        let words = |detail: &str| {
            let words: Vec<&str> =
                detail.split(' ').map(|word| tried.get(word).copied().unwrap_or(word)).collect();
            words.join(" ")
        };
        let steps: Vec<PlanStep> =
            steps.iter().map(|step| PlanStep { detail: words(&step.detail), ..step.clone() }).collect();
        Plan::new(&steps)
    }

    /// The columns of one of the database's own indexes; `None` where one is an expression.
    pub(super) fn columns_of(&self, index: &str) -> Option<Vec<String>> {
        let (_, keys) = self.existing.get(index)?;
        keys.iter().map(|key| Some(key.column.clone()).filter(|column| !column.is_empty())).collect()
    }

    /// Whether a column is declared for text, or for numbers; `None` for neither
    /// (<https://www.sqlite.org/datatype3.html#determination_of_column_affinity>).
    pub(super) fn is_text(&self, table: &str, column: &str) -> Option<bool> {
        let sql = "SELECT upper(type) FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE";
        let declared: String = self.twin.connection.query_row(sql, [table, column], |row| row.get(0)).ok()?;
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        match () {
            () if has(&["INT"]) => Some(false),
            () if has(&["CHAR", "CLOB", "TEXT"]) => Some(true),
            () if declared.is_empty() || has(&["BLOB"]) => None,
            () => Some(false),
        }
    }
}

fn is_declared(index: &NewIndex, declared: &config::Index) -> bool {
    let columns: Vec<NewKey> = declared.columns.iter().map(|column| NewKey::column(column)).collect();
    index.table == declared.table && index.keys == columns
}

/// The tables and keys of the indexes that there are, by name.
pub(super) fn existing(twin: &Twin) -> Result<BTreeMap<String, (String, Vec<NewKey>)>> {
    let mut statement = twin.connection.prepare(
        "SELECT i.name, x.name, x.coll, t.name FROM main.sqlite_schema AS t \
         JOIN pragma_index_list(t.name) AS i JOIN pragma_index_xinfo(i.name) AS x \
         WHERE t.type = 'table' AND t.rootpage > 0 AND x.key ORDER BY i.name, x.seqno",
    )?;
    let mut rows = statement.query([])?;
    let mut existing: BTreeMap<String, (String, Vec<NewKey>)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (index, column): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        // An expression: of its values nothing is known, and no column has this name.
        let unknown = || NewKey { text: "[an expression]".to_owned(), ..NewKey::column("") };
        let key = column.map_or_else(unknown, |column| NewKey {
            nocase: row.get(2).is_ok_and(|c: String| c.eq_ignore_ascii_case("NOCASE")),
            ..NewKey::column(&column)
        });
        existing.entry(index).or_insert((row.get(3)?, Vec::new())).1.push(key);
    }
    Ok(existing)
}

/// After how many rows the statement ends, where each row that it finds may be one of them.
fn limit(question: &Question) -> Option<f64> {
    let text = Text::new(&question.sql);
    let at = text.outside("LIMIT")?;
    let adds_up = [
        "count",
        "sum",
        "total",
        "avg",
        "min",
        "max",
        "group_concat",
        "GROUP",
        "UNION",
        "INTERSECT",
        "EXCEPT",
    ];
    if adds_up.iter().any(|word| text.outside(word).is_some()) {
        return None;
    }
    let number = |at: usize| {
        let word = text.of(at..at + 1);
        let named = |values: &Vec<(String, rusqlite::types::Value)>| {
            let (_, value) = values.iter().find(|(name, _)| word.get(1..) == Some(name))?;
            match value {
                #[allow(clippy::cast_precision_loss, reason = "rows")]
                rusqlite::types::Value::Integer(n) => Some(*n as f64),
                _ => None,
            }
        };
        word.parse::<f64>().ok().or_else(|| question.values.as_ref().and_then(named)).unwrap_or(USUAL_LIMIT)
    };
    let more = if text.is(at + 2, "OFFSET") || text.is(at + 2, ",") { number(at + 3) } else { 0.0 };
    Some((number(at + 1) + more).max(1.0))
}
