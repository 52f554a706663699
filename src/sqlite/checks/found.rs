//! What SQLite's messages of a check mean. Reads no database; must never take a message that it does
//! not know for harmless.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What the report on the pages begins with.
pub(super) const PAGES: &str = "*** in database ";

/// What a check found wrong. Empty: nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Pages, trees or the freelist are damaged, one line each.
    pub structure: Vec<String>,
    /// Indexes that do not agree with their tables.
    pub indexes: BTreeSet<String>,
    /// Rows that break a constraint or the type of a column, one line each.
    pub rows: Vec<String>,
    /// Virtual tables whose own check failed, one line each: the pages are in order, and what they
    /// were made from is there.
    pub virtual_tables: Vec<String>,
    /// What could not be checked here, one line each: of a virtual table itself, or of a table that
    /// needs what only the application has, and whose structure was checked all the same.
    pub unchecked: Vec<String>,
    /// Constraints and orders were passed over, because one of them needs what only the application
    /// has: more is found out table by table.
    pub is_of_structure: bool,
    /// SQLite ended at its hundredth line: what is not named need not be right.
    pub is_cut_off: bool,
    /// Damage ended it before it had looked at everything: that is the last line of `structure`.
    pub has_ended: bool,
}

impl Found {
    /// Whether nothing is wrong and nothing was left out.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another check of the same file found.
    pub fn add(&mut self, other: Self) {
        for (all, more) in [
            (&mut self.structure, other.structure),
            (&mut self.rows, other.rows),
            (&mut self.virtual_tables, other.virtual_tables),
            (&mut self.unchecked, other.unchecked),
        ] {
            for line in more {
                if !all.contains(&line) {
                    all.push(line);
                }
            }
        }
        self.indexes.extend(other.indexes);
        self.is_of_structure |= other.is_of_structure;
        self.is_cut_off |= other.is_cut_off;
        self.has_ended |= other.has_ended;
    }

    /// Files one line of `integrity_check` or `quick_check` under what it is about. The texts are
    /// those of `PragTyp_INTEGRITY_CHECK` in SQLite's pragma.c and of the `xIntegrity` of its
    /// virtual tables, read from their beginning, as names may hold anything; what is not known
    /// counts as damage.
    pub(super) fn file(&mut self, line: &str, roots: &BTreeMap<u64, String>) {
        if line.is_empty() || line == "ok" || line.starts_with(PAGES) {
        } else if let Some(index) = index_of(line) {
            self.indexes.insert(index.to_owned());
        } else if is_about_rows(line) {
            self.rows.push(line.to_owned());
        } else if line.starts_with("malformed inverted index for FTS") || line.starts_with("In RTree ") {
            self.virtual_tables.push(line.to_owned());
        } else if line.starts_with("unable to validate ") {
            self.unchecked.push(line.to_owned());
        } else {
            self.structure.push(with_name(line, roots));
        }
    }
}

/// The index that a message is about, where the index alone is wrong. A name stands at the end, or
/// between two fixed texts that are the beginning and the end.
pub(super) fn index_of(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix("index ") {
        let (rest, row) = rest.rsplit_once(' ')?;
        let name = rest.strip_suffix(" stores an imprecise floating-point value for row")?;
        return is_number(row).then_some(name);
    }
    if let Some(rest) = line.strip_prefix("row ") {
        let (row, rest) = rest.split_once(' ')?;
        let ways = ["missing from index ", "values differ from index "];
        return ways.iter().find_map(|way| rest.strip_prefix(way)).filter(|_| is_number(row));
    }
    if let Some(rest) = line.strip_prefix("rowid not at end-of-record for row ") {
        let (row, rest) = rest.split_once(' ')?;
        return rest.strip_prefix("of index ").filter(|_| is_number(row));
    }
    ["wrong # of entries in index ", "non-unique entry in index "]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))
}

/// Also the number of a row whose key is negative.
fn is_number(text: &str) -> bool {
    text.parse::<i64>().is_ok()
}

/// Whether a message is about rows that break a constraint or the type of a column.
pub(super) fn is_about_rows(line: &str) -> bool {
    ["NULL value in ", "NUMERIC value in ", "TEXT value in ", "CHECK constraint failed in "]
        .iter()
        .any(|prefix| line.starts_with(prefix))
        || (line.starts_with("non-") && line.contains(" value in "))
}

/// `Tree 5 page 7 cell 0: …` with the name of what has its root on page 5.
fn with_name(line: &str, roots: &BTreeMap<u64, String>) -> String {
    let named = line.strip_prefix("Tree ").and_then(|rest| {
        let (root, rest) = rest.split_once(' ')?;
        Some(format!("{}, {rest}", roots.get(&root.parse().ok()?)?))
    });
    named.unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str]) -> Found {
        let roots = BTreeMap::from([(5, "index by_name".to_owned())]);
        let mut found = Found::default();
        for line in lines {
            found.file(line, &roots);
        }
        found
    }

    #[test]
    fn ok_is_nothing() {
        assert!(found(&["ok"]).is_clean());
    }

    #[test]
    fn an_index_is_named_by_every_message_about_its_entries() {
        let lines = [
            "row 7 missing from index a b",
            "wrong # of entries in index c",
            "non-unique entry in index d",
            "row 1 values differ from index e",
            "rowid not at end-of-record for row 3 of index f",
            "index g stores an imprecise floating-point value for row 4",
        ];
        let found = found(&lines);
        assert_eq!(
            found.indexes.iter().map(String::as_str).collect::<Vec<_>>(),
            ["a b", "c", "d", "e", "f", "g"]
        );
        assert!(found.structure.is_empty() && found.rows.is_empty());
    }

    #[test]
    fn an_index_may_be_called_like_a_part_of_a_message() {
        for name in
            ["a of index b", "b missing from index c", "a\nb", "x for row 7", "a values differ from index "]
        {
            for line in [
                format!("row 7 missing from index {name}"),
                format!("row -7 values differ from index {name}"),
                format!("rowid not at end-of-record for row 3 of index {name}"),
                format!("index {name} stores an imprecise floating-point value for row 4"),
                format!("wrong # of entries in index {name}"),
                format!("non-unique entry in index {name}"),
            ] {
                assert_eq!(index_of(&line), Some(name), "{line}");
            }
        }
        assert_eq!(index_of("row not in PRIMARY KEY order for t missing from index x"), None);
    }

    #[test]
    fn a_broken_constraint_is_no_damage() {
        let lines = ["CHECK constraint failed in t", "NULL value in t.a", "non-INT value in t.b"];
        assert_eq!(found(&lines), Found { rows: lines.map(str::to_owned).to_vec(), ..Found::default() });
    }

    #[test]
    fn a_virtual_table_at_odds_with_itself_is_no_damaged_page() {
        let lines = [
            "malformed inverted index for FTS5 table main.f",
            "In RTree main.r: Found (1 -> 7) in %_rowid table",
        ];
        assert_eq!(
            found(&lines),
            Found { virtual_tables: lines.map(str::to_owned).to_vec(), ..Found::default() }
        );
    }

    #[test]
    fn a_damaged_tree_is_called_by_its_name() {
        let found = found(&[
            "*** in database main ***",
            "Tree 5 page 7: 2nd reference to page 3",
            "Page 9: never used",
        ]);
        assert_eq!(found.structure, ["index by_name, page 7: 2nd reference to page 3", "Page 9: never used"]);
        assert!(found.indexes.is_empty(), "REINDEX would write into a damaged file");
    }

    #[test]
    fn what_nobody_knows_counts_as_damage() {
        assert_eq!(found(&["something new"]).structure, ["something new"]);
    }
}
