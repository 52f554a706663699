//! A query plan in a form that stays the same while the plan does: without the numbers that SQLite
//! gives to its parts, and without estimates. Pure.

use serde::{Deserialize, Serialize};

use crate::sqlite::look::explain::PlanStep;

/// A normalised plan: a line for each step, indented under the step that it is a part of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Plan {
    /// The lines.
    pub lines: Vec<String>,
}

/// How a table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// All of it, or all of one of its indexes.
    Scan,
    /// Only the rows that an index or the rowid leads to.
    Search,
}

impl Plan {
    /// The plan that these steps describe, which come in SQLite's order: each after the one that it
    /// is part of.
    pub fn new(steps: &[PlanStep]) -> Self {
        let mut depths: Vec<(i64, usize)> = Vec::new();
        let mut lines = Vec::new();
        for step in steps {
            let depth = depths.iter().find(|(id, _)| *id == step.parent).map_or(0, |(_, depth)| depth + 1);
            depths.push((step.id, depth));
            lines.push(format!("{}{}", "  ".repeat(depth), normalise(&step.detail)));
        }
        Self { lines }
    }

    /// The whole plan in one line.
    pub fn one_line(&self) -> String {
        self.lines.iter().map(|line| line.trim_start()).collect::<Vec<_>>().join(" | ")
    }

    /// Tables that are read from end to end here, and were searched before: the change that hurts.
    pub fn scans_more_than(&self, before: &Self) -> Vec<&str> {
        let was_searched = |table: &&str| before.accesses().any(|access| access == (Access::Search, *table));
        self.scanned().into_iter().filter(was_searched).collect()
    }

    /// Each table that is read, as the query calls it, and how.
    fn accesses(&self) -> impl Iterator<Item = (Access, &str)> {
        self.lines.iter().filter_map(|line| {
            let line = line.trim_start();
            let (access, rest) = match line.split_once(' ')? {
                ("SCAN", rest) => (Access::Scan, rest),
                ("SEARCH", rest) => (Access::Search, rest),
                _ => return None,
            };
            let end =
                [" USING ", " VIRTUAL TABLE ", " LEFT-JOIN"].iter().filter_map(|mark| rest.find(mark)).min();
            let table = &rest[..end.unwrap_or(rest.len())];
            let is_table = !table.starts_with('(')
                && !table.ends_with("CONSTANT ROW")
                && !table.ends_with("CONSTANT ROWS");
            is_table.then_some((access, table))
        })
    }

    /// All tables that are read, as the query calls them.
    pub fn read(&self) -> Vec<&str> {
        self.accesses().map(|(_, table)| table).collect()
    }

    /// Tables that are read from end to end, one of their indexes included.
    pub fn scanned(&self) -> Vec<&str> {
        self.accesses().filter(|(access, _)| *access == Access::Scan).map(|(_, table)| table).collect()
    }
}

/// The index that a line of a plan names, which may have spaces in its name.
pub fn index_in(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let is_access = line.starts_with("SCAN ") || line.starts_with("SEARCH ");
    let (_, rest) = line.split_once(" USING ").filter(|_| is_access)?;
    let name = rest.strip_prefix("COVERING ").unwrap_or(rest).strip_prefix("INDEX ")?;
    let name = name.split_once(" (").map_or(name, |(name, _)| name);
    Some(name.strip_suffix(" LEFT-JOIN").unwrap_or(name))
}

/// One step without numbers of parts (`SUBQUERY 3`, `(subquery-3)`), estimates (`(~40 rows)`) and
/// the word TABLE that older versions of SQLite write behind SCAN and SEARCH.
fn normalise(detail: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = detail.split_whitespace().peekable();
    while let Some(word) = rest.next() {
        let before = words.last().copied();
        if word.starts_with("(~") && rest.peek().is_some_and(|next| next.starts_with("row")) {
            rest.next();
        } else if matches!(before, Some("SUBQUERY" | "CO-ROUTINE" | "MATERIALIZE" | "SUBQUERIES" | "AND"))
            && word.parse::<u64>().is_ok()
            || (word == "TABLE" && words.len() == 1 && matches!(before, Some("SCAN" | "SEARCH")))
        {
        } else {
            words.push(unnumbered(word));
        }
    }
    words.join(" ")
}

/// `(subquery-3)` and `(join-2)` without their numbers.
fn unnumbered(word: &str) -> &str {
    for (prefix, plain) in [("(subquery-", "(subquery)"), ("(join-", "(join)")] {
        if word
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(')'))
            .is_some_and(|n| n.parse::<u64>().is_ok())
        {
            return plain;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: i64, parent: i64, detail: &str) -> PlanStep {
        PlanStep { id, parent, detail: detail.to_owned() }
    }

    #[test]
    fn the_same_plan_with_other_numbers_is_the_same() {
        let one = Plan::new(&[
            step(2, 0, "CO-ROUTINE (subquery-1)"),
            step(5, 2, "SCAN t"),
            step(9, 0, "SCALAR SUBQUERY 3"),
        ]);
        let two = Plan::new(&[
            step(3, 0, "CO-ROUTINE (subquery-4)"),
            step(7, 3, "SCAN t"),
            step(8, 0, "SCALAR SUBQUERY 5"),
        ]);
        assert_eq!(one, two);
        assert_eq!(one.lines, ["CO-ROUTINE (subquery)", "  SCAN t", "SCALAR SUBQUERY"]);
    }

    #[test]
    fn another_index_or_another_nesting_is_another_plan() {
        let plan = |detail: &str, parent| Plan::new(&[step(1, 0, "MULTI-INDEX OR"), step(2, parent, detail)]);
        let one = plan("SEARCH t USING INDEX a (x=?)", 1);
        assert_ne!(one, plan("SEARCH t USING INDEX b (x=?)", 1));
        assert_ne!(one, plan("SEARCH t USING INDEX a (x=?)", 0));
    }

    #[test]
    fn an_older_sqlite_says_the_same_in_other_words() {
        assert_eq!(normalise("SCAN TABLE t (~1000000 rows)"), "SCAN t");
        assert_eq!(
            normalise("SEARCH TABLE t USING INDEX a (x=?) (~10 rows)"),
            "SEARCH t USING INDEX a (x=?)"
        );
    }

    #[test]
    fn tells_tables_that_are_read_from_end_to_end() {
        let plan = Plan::new(&[
            step(1, 0, "SCAN my table USING COVERING INDEX a"),
            step(2, 0, "SEARCH u USING INTEGER PRIMARY KEY (rowid=?)"),
            step(3, 0, "SCAN (subquery-1)"),
            step(4, 0, "SCAN 3 CONSTANT ROWS"),
            step(5, 0, "SCAN fts VIRTUAL TABLE INDEX 0:M1"),
            step(6, 0, "USE TEMP B-TREE FOR ORDER BY"),
        ]);
        assert_eq!(plan.scanned(), ["my table", "fts"]);
        assert_eq!(
            plan.accesses().filter(|(a, _)| *a == Access::Search).collect::<Vec<_>>(),
            [(Access::Search, "u")]
        );
    }
}
