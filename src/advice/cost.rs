//! What a plan costs, in instructions of SQLite's virtual machine, as far as a sample of the rows
//! can tell. Only for comparing plans of one statement: the unit is rough, the ratio counts.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::figures::{Figures, QuestionColumns};
use super::index::NewKey;
use crate::queries::plans::index_in;
use crate::sqlite::look::explain::PlanStep;

/// Begin and end of a statement.
const STATEMENT: f64 = 10.0;
/// One search in a tree.
const SEEK: f64 = 6.0;
/// To read a row and compare it.
const ROW: f64 = 4.0;
/// The same where an index leads to it, and the row is taken from the table.
const ROW_BY_INDEX: f64 = 5.0;
/// To hand out a row.
const RESULT: f64 = 8.0;
/// To put a row into an automatic index or a Bloom filter.
const AUTOMATIC: f64 = 5.0;
/// To put a row into a sorter and take it out, beside the comparisons.
const SORTED: f64 = 8.0;
/// Values of an `IN (SELECT …)`, as SQLite guesses (`whereLoopAddBtreeIndex` in where.c).
const VALUES_OF_SELECT: f64 = 25.0;

/// What is needed to judge the plans of one question.
pub(super) struct Judge<'a> {
    pub(super) figures: &'a Figures,
    pub(super) known: &'a QuestionColumns<'a>,
    /// Keys of the indexes by name.
    pub(super) indexes: BTreeMap<String, Vec<NewKey>>,
    /// Rows after which the statement may end, where it has a LIMIT.
    pub(super) limit: Option<f64>,
    /// What CO-ROUTINE and MATERIALIZE gave.
    pub(super) parts: RefCell<BTreeMap<String, f64>>,
}

/// Instructions and rows of a part of a plan.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    cost: f64,
    rows: f64,
}

/// A table read in a loop.
#[derive(Debug)]
pub(super) struct Access<'a> {
    /// As the plan calls it.
    pub(super) table: &'a str,
    pub(super) index: Option<&'a str>,
    /// Columns of the index that one value is searched in.
    pub(super) equal: usize,
    /// Sides of the range in the next one.
    pub(super) sides: usize,
    pub(super) is_search: bool,
    /// ` USING COVERING INDEX i`
    method: &'a str,
    /// `a=? AND b>?`
    terms: &'a str,
}

impl<'a> Access<'a> {
    /// What a line of a plan says, if it is about a table.
    pub(super) fn of(detail: &'a str) -> Option<Self> {
        let (is_search, rest) = match detail.split_once(' ')? {
            ("SEARCH", rest) => (true, rest),
            ("SCAN", rest) => (false, rest),
            _ => return None,
        };
        let ends = [" USING ", " VIRTUAL TABLE ", " LEFT-JOIN", " EXISTS"];
        let end = ends.iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
        let (table, using) = rest.split_at(end);
        let (method, terms) = using.split_once(" (").map_or((using, None), |(m, terms)| (m, Some(terms)));
        let index = index_in(detail);
        let is_automatic = method.contains("AUTOMATIC");
        let terms = terms.unwrap_or_default();
        Some(Self {
            table,
            index: index.filter(|_| !is_automatic && !method.starts_with(" VIRTUAL")),
            equal: terms.matches("=?").count(),
            // `(a,b)>(?,?)` for a pair.
            sides: [">?", "<?", ">(?", "<(?"].iter().map(|side| terms.matches(side).count()).sum(),
            is_search,
            method,
            terms: terms.trim_end_matches(')'),
        })
    }
}

impl Access<'_> {
    pub(super) fn is_covering(&self) -> bool {
        self.method.contains("COVERING")
    }

    fn is_automatic(&self) -> bool {
        self.method.contains("AUTOMATIC")
    }

    /// By the rowid, or by the key of a table without.
    fn is_primary(&self) -> bool {
        self.method.contains("PRIMARY KEY")
    }

    /// By the key of a table without rowids.
    fn is_own_key(&self) -> bool {
        self.method.contains("USING PRIMARY KEY")
    }

    fn has_terms(&self) -> bool {
        !self.terms.is_empty()
    }

    /// Tries each value of the first column.
    fn skips(&self) -> bool {
        self.terms.contains("ANY(")
    }
}

impl Judge<'_> {
    /// Instructions that a plan takes.
    pub(super) fn cost(&self, steps: &[PlanStep]) -> f64 {
        self.parts.borrow_mut().clear();
        let part = self.block(steps, 0, true);
        STATEMENT + part.cost + RESULT * part.rows
    }

    /// The steps that are part of `parent`: loops, each within the one before, and what belongs to
    /// them.
    fn block(&self, steps: &[PlanStep], parent: i64, is_whole: bool) -> Part {
        let mut whole = Part { cost: 0.0, rows: 1.0 };
        // Rows that the innermost loop so far looks at, and what all loops cost.
        let (mut visited, mut loops, mut apart) = (1.0, 0.0, 0.0);
        let mut sorts = false;
        for step in steps.iter().filter(|step| step.parent == parent) {
            let detail = step.detail.as_str();
            let inner = || self.block(steps, step.id, false);
            if let Some(access) = Access::of(detail) {
                let (cost, seen, left) = self.read(&access);
                let once = if access.is_automatic() { AUTOMATIC * self.total(access.table) } else { 0.0 };
                apart += once;
                loops += whole.rows * cost;
                visited = whole.rows * seen;
                whole.rows *= left;
            } else if detail.starts_with("MULTI-INDEX OR") {
                let parts: Vec<Part> = steps
                    .iter()
                    .filter(|branch| branch.parent == step.id)
                    .map(|branch| self.block(steps, branch.id, false))
                    .collect();
                // Each row is looked up by its rowid, and once.
                let rows: f64 = parts.iter().map(|part| part.rows).sum();
                loops += whole.rows * (parts.iter().map(|part| part.cost).sum::<f64>() + rows * ROW_BY_INDEX);
                whole.rows *= rows;
                visited = whole.rows;
            } else if let Some(name) =
                ["CO-ROUTINE ", "MATERIALIZE "].iter().find_map(|p| detail.strip_prefix(p))
            {
                let part = inner();
                apart += part.cost;
                self.parts.borrow_mut().insert(name.to_owned(), part.rows);
            } else if detail.starts_with("CORRELATED ") {
                loops += visited * inner().cost;
            } else if detail.starts_with("USE TEMP B-TREE FOR") {
                // Of the last terms only, few rows are sorted at a time.
                let is_partial = detail.contains("TERM") || detail.contains("RIGHT PART");
                sorts |= !is_partial && !detail.contains("count(");
                let comparisons = if is_partial { 1.0 } else { whole.rows.max(1.0).log2() };
                apart += whole.rows * (SORTED + comparisons);
            } else if detail.starts_with("BLOOM FILTER ON ") {
                apart += AUTOMATIC * detail.split(' ').nth(3).map_or(0.0, |table| self.total(table));
            } else {
                let part = inner();
                apart += part.cost;
                let adds = ["LEFT-MOST", "UNION", "LEFT", "RIGHT", "COMPOUND", "MERGE", "SETUP", "RECURSIVE"];
                if adds.iter().any(|word| detail.starts_with(word)) && part.rows > 0.0 {
                    // The first of several takes the place of the one row that a block begins with.
                    whole.rows = if apart > part.cost { whole.rows + part.rows } else { part.rows };
                }
            }
        }
        if let Some(limit) = self.limit.filter(|_| is_whole && !sorts) {
            let share = (limit / whole.rows).min(1.0);
            loops *= share;
            whole.rows *= share;
        } else if let Some(limit) = self.limit.filter(|_| is_whole) {
            whole.rows = whole.rows.min(limit);
        }
        whole.cost = loops + apart;
        whole
    }

    fn total(&self, name: &str) -> f64 {
        let part = self.parts.borrow().get(name).copied();
        part.unwrap_or_else(|| self.figures.total(self.known.table(name)))
    }

    /// The cost of one loop, the rows that it looks at, and those that it leaves.
    fn read(&self, access: &Access<'_>) -> (f64, f64, f64) {
        let table = self.known.table(access.table);
        let total = self.total(access.table);
        let all_left = (self.figures.left(self.known, table) * total).max(1.0);
        // Without an index, "SEARCH t" for min() and max() looks at all rows
        // (`sqlite3WhereExplainOneScan`).
        let is_scan =
            !access.is_search || !access.has_terms() && access.index.is_none() && !access.is_automatic();
        if is_scan && !access.is_primary() {
            let row = if access.index.is_some() && !access.is_covering() { ROW_BY_INDEX + 1.0 } else { ROW };
            return (SEEK + total * row, total, all_left.min(total));
        }
        if !access.has_terms() {
            // The first or the last one, for min() or max().
            return (SEEK + ROW, 1.0, 1.0);
        }
        let seen = self.found(access, table, total);
        let row = if access.is_covering() || access.is_primary() { ROW } else { ROW_BY_INDEX };
        (SEEK + seen * row, seen, all_left.min(seen).max(seen.min(1.0)))
    }

    /// Rows that a search leads to.
    fn found(&self, access: &Access<'_>, table: &str, total: f64) -> f64 {
        if access.skips() {
            return total;
        }
        // The key of a table WITHOUT ROWID is told without the name of its index.
        let own = format!("sqlite_autoindex_{table}_1");
        if access.is_automatic() {
            let columns = access.terms.split(" AND ").filter_map(|term| term.strip_suffix("=?"));
            let columns: Vec<NewKey> = columns.map(NewKey::column).collect();
            return (self.figures.share(self.known, table, &columns, None) * total).max(1.0);
        }
        let name = access.index.or(access.is_own_key().then_some(own.as_str()));
        let keys = name.and_then(|name| self.indexes.get(name));
        let Some(keys) = keys.filter(|keys| keys.len() >= access.equal) else {
            let share = match (access.is_primary(), access.equal, access.sides) {
                (true, 0, sides) => 0.25_f64.powi(if sides > 1 { 3 } else { 1 }),
                (true, ..) => return 1.0,
                _ => 10.0 / total,
            };
            return (share * total).max(1.0);
        };
        let range = keys.get(access.equal).filter(|_| access.sides > 0).map(|key| (key, access.sides));
        let share = self.figures.share(self.known, table, &keys[..access.equal], range);
        let values = if self.known.searches_in_select() && access.equal > 0 { VALUES_OF_SELECT } else { 1.0 };
        (share * total * values).clamp(1.0, total.max(1.0))
    }
}
