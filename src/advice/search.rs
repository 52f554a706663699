//! Finds the indexes that make one statement cheap: tries one key after the other on an empty copy
//! of the database, and keeps what its planner picks and what is worth it.

use std::collections::BTreeSet;

use super::bench::Bench;
use super::conditions::{Comparison, Text, unquoted};
use super::cost::Access;
use super::index::{NewIndex, NewKey};
use super::question::Question;
use super::twin::Column;
use crate::error::Result;
use crate::sql::tokens::Token;

/// A statement must become so many times cheaper, or its index is not worth what writers pay for
/// it.
pub(super) const LEAST_GAIN: f64 = 10.0;

/// Each key added must lower the cost to this share, or it only makes the index larger.
const WORTH_A_KEY: f64 = 0.8;

/// Keys of an index, and indexes for one statement, at most.
const KEYS: usize = 4;
const INDEXES: usize = 3;

impl Bench<'_> {
    /// The indexes that make the statement [`LEAST_GAIN`] times cheaper; none where there are no
    /// such.
    pub(super) fn search(&mut self, question: &Question) -> Result<Vec<NewIndex>> {
        let keys = self.keys(question)?;
        let before = self.outcome(question, &[])?.cost;
        let (mut chosen, mut cost): (Vec<NewIndex>, f64) = (Vec::new(), before);
        while chosen.len() < INDEXES {
            let Some((more, with)) = self.next(question, &chosen, cost, &keys)? else { break };
            chosen.extend(more);
            cost = with;
        }
        if before / cost < LEAST_GAIN {
            return Ok(Vec::new());
        }
        let (chosen, cost) = self.trimmed(question, chosen, cost, before / LEAST_GAIN);
        Ok(self.in_order_of_text(question, chosen, cost))
    }

    /// Without keys that others added later have made needless.
    fn trimmed(
        &mut self,
        question: &Question,
        mut chosen: Vec<NewIndex>,
        mut cost: f64,
        most: f64,
    ) -> (Vec<NewIndex>, f64) {
        for at in 0..chosen.len() {
            for key in (0..chosen[at].keys.len()).rev() {
                let mut all = chosen.clone();
                all[at].keys.remove(key);
                if all[at].keys.is_empty() {
                    continue;
                }
                // Never so far that the statement would not be served any more.
                let least = (cost / WORTH_A_KEY).min(most);
                if let Some(with) = self.cheaper(question, &[], &all, least) {
                    (chosen, cost) = (all, with);
                }
            }
        }
        (chosen, cost)
    }

    /// The best index more, or for alternatives the best pair, with the cost that it leads to.
    fn next(
        &mut self,
        question: &Question,
        chosen: &[NewIndex],
        cost: f64,
        keys: &[(String, NewKey)],
    ) -> Result<Option<(Vec<NewIndex>, f64)>> {
        let mut best: Option<(Vec<NewIndex>, f64)> = None;
        let mut starts: Vec<Vec<NewIndex>> =
            keys.iter().map(|(table, key)| vec![NewIndex::on(table, key.clone())]).collect();
        if Text::new(&question.sql).has("OR") {
            let singles = starts.clone();
            for (at, one) in singles.iter().enumerate() {
                starts.extend(singles[at + 1..].iter().map(|other| [one.clone(), other.clone()].concat()));
            }
        }
        starts.extend(self.extended(question, chosen, keys)?.into_iter().map(|index| vec![index]));
        for start in starts {
            let least = best.as_ref().map_or(cost * WORTH_A_KEY, |(_, cost)| *cost);
            if let Some(with) = self.cheaper(question, chosen, &start, least) {
                best = Some((start, with));
            }
        }
        let Some((start, mut with)) = best else { return Ok(None) };
        let mut grown = Vec::new();
        for index in &start {
            let others: Vec<NewIndex> =
                chosen.iter().chain(start.iter().filter(|other| *other != index)).cloned().collect();
            let (index, cost) = self.grow(question, &others, index.clone(), with, keys);
            grown.push(index);
            with = cost;
        }
        Ok(Some((grown, with)))
    }

    /// The database's own indexes that are in use now, each with one key more: alone, a key may be
    /// worth no more than such an index.
    fn extended(
        &mut self,
        question: &Question,
        chosen: &[NewIndex],
        keys: &[(String, NewKey)],
    ) -> Result<Vec<NewIndex>> {
        let steps = self.outcome(question, chosen)?.steps;
        let used = steps.iter().filter_map(|step| self.existing.get(Access::of(&step.detail)?.index?));
        let mut extended = Vec::new();
        for (table, has) in used {
            let index = NewIndex { table: table.clone(), keys: has.clone() };
            let more = keys
                .iter()
                .filter(|(of, key)| of == table && !has.iter().any(|has| has.column == key.column));
            for (_, key) in more {
                extended.extend([index.with(has.len(), key.clone()), index.with(0, key.clone())]);
            }
        }
        Ok(extended)
    }

    /// Adds keys as long as each is worth it, at whatever place it is.
    fn grow(
        &mut self,
        question: &Question,
        others: &[NewIndex],
        mut index: NewIndex,
        mut cost: f64,
        keys: &[(String, NewKey)],
    ) -> (NewIndex, f64) {
        while index.keys.len() < KEYS {
            let mut best = None;
            let more = keys.iter().filter(|(table, key)| {
                *table == index.table && !index.keys.iter().any(|has| has.column == key.column)
            });
            for (_, key) in more {
                for at in (0..=index.keys.len()).rev() {
                    let down = NewKey { descending: true, ..key.clone() };
                    // Alone or before all others, the direction does not matter: SQLite reads both
                    // ways.
                    let ways = if at > 0 { vec![key.clone(), down] } else { vec![key.clone()] };
                    for key in ways {
                        let grown = index.with(at, key);
                        let least = best.as_ref().map_or(cost * WORTH_A_KEY, |(_, cost)| *cost);
                        let with = self.cheaper(question, others, std::slice::from_ref(&grown), least);
                        best = with.map(|with| (grown, with)).or(best);
                    }
                }
            }
            let Some((grown, with)) = best else { break };
            (index, cost) = (grown, with);
        }
        (index, cost)
    }

    /// The cost with these as well, where it is below `least` and all are used.
    fn cheaper(
        &mut self,
        question: &Question,
        chosen: &[NewIndex],
        more: &[NewIndex],
        least: f64,
    ) -> Option<f64> {
        let all = [chosen, more].concat();
        // An expression that cannot be in an index, and a query that it makes ambiguous.
        let outcome = self.outcome(question, &all).ok()?;
        let is_used = all.iter().all(|index| outcome.used.contains(index));
        // A clear difference: what is only rounding must not decide.
        (is_used && outcome.cost < least * 0.999).then_some(outcome.cost)
    }

    /// Where the order of keys makes no difference, as between columns that are each compared with
    /// one value, they come in the order of the text.
    fn in_order_of_text(
        &mut self,
        question: &Question,
        mut chosen: Vec<NewIndex>,
        cost: f64,
    ) -> Vec<NewIndex> {
        let text = Text::new(&question.sql);
        let place = |key: &NewKey| {
            let is = |at: &usize| matches!(text.token(*at), Some(Token::Name(name)) if unquoted(name) == key.column);
            let mut places = (0..text.tokens.len()).filter(is);
            let compared = places.clone().find(|at| text.comparison(at + 1).is_some());
            compared.or_else(|| places.next_back()).unwrap_or(usize::MAX)
        };
        for at in 0..chosen.len() {
            let mut orders = chosen[at].rearranged();
            let rank = |index: &NewIndex| index.keys.iter().map(place).collect::<Vec<_>>();
            orders.retain(|order| rank(order) < rank(&chosen[at]));
            orders.sort_by_key(rank);
            for order in orders {
                let mut all = chosen.clone();
                all[at] = order;
                if self.cheaper(question, &[], &all, cost * 1.05).is_some() {
                    chosen = all;
                    break;
                }
            }
        }
        chosen
    }

    /// What may be the key of an index for this statement: the columns that its text names, those
    /// that LIKE compares also without regard to case, and functions of one column.
    fn keys(&mut self, question: &Question) -> Result<Vec<(String, NewKey)>> {
        self.twin.try_only(&[])?;
        let read = self.twin.reads(question)?;
        let text = Text::new(&question.sql);
        let reads_view = self.schema.objects.iter().any(|o| o.kind == "view" && text.has(&o.name));
        let is_named = |column: &str| {
            text.tokens
                .iter()
                .any(|(token, _)| matches!(token, Token::Name(name) if unquoted(name).eq_ignore_ascii_case(column)))
        };
        let liked: BTreeSet<String> = text
            .conditions()
            .into_iter()
            .filter(|c| c.kind == Comparison::Like)
            .map(|c| c.column.to_ascii_lowercase())
            .collect();
        let mut keys = Vec::new();
        for (table, column) in read.iter().filter(|(_, column)| reads_view || is_named(column)) {
            if !self.schema.has_table(table) || self.is_rowid(table, column)? {
                continue;
            }
            let key = NewKey::column(column);
            if liked.contains(&column.to_ascii_lowercase()) || text.has("NOCASE") {
                keys.push((table.clone(), NewKey { nocase: true, ..key.clone() }));
            }
            keys.push((table.clone(), key));
        }
        let expressions = expressions(&text, &read).into_iter();
        keys.extend(
            expressions.filter(|(table, key)| {
                self.schema.has_table(table) && self.figures.can_be_indexed(table, key)
            }),
        );
        Ok(keys)
    }

    fn is_rowid(&self, table: &str, column: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE AND pk = 1 \
                   AND type = 'INTEGER' COLLATE NOCASE AND (SELECT max(pk) FROM pragma_table_info(?1)) = 1";
        Ok(self.twin.connection.prepare_cached(sql)?.exists([table, column])?)
    }
}

/// `lower(email)` and the like: a function in which one column is all that is not a literal.
fn expressions(text: &Text<'_>, read: &BTreeSet<Column>) -> Vec<(String, NewKey)> {
    let mut found = Vec::new();
    for at in 0..text.tokens.len() {
        let (Some(Token::Name(_)), true) = (text.token(at), text.is(at + 1, "(")) else { continue };
        let Some(end) = text.end_of_group(at + 1) else { continue };
        let names: Vec<usize> = (at + 2..end)
            .filter(|&n| {
                matches!(text.token(n), Some(Token::Name(_))) && !text.is(n + 1, "(") && !text.is(n + 1, ".")
            })
            .collect();
        let [only] = names[..] else { continue };
        let Some(Token::Name(column)) = text.token(only) else { continue };
        let column = unquoted(column);
        // With its table's other name before it, which an index does not know.
        let start = if text.is(only - 1, ".") { only - 2 } else { only };
        let expression = [text.of(at..start), text.of(only..end + 1)].concat();
        let parameter = (at..end).any(|n| {
            text.token(n) == Some(Token::Literal) && text.of(n..n + 1).starts_with(['?', ':', '@', '$'])
        });
        let owners = read.iter().filter(|(_, c)| c.eq_ignore_ascii_case(&column));
        if let ([(table, column)], false) = (&owners.collect::<Vec<_>>()[..], parameter) {
            let key = NewKey { text: expression, column: column.clone(), nocase: false, descending: false };
            found.push((table.clone(), key));
        }
    }
    found
}
