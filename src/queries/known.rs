//! What may be shown of a statement and of its plan: the names of the schema, and those that the
//! statement gives without quotes. SQLite takes a text in double quotes for a name or for a
//! literal, whichever fits, and lets `'secret'` be a table's alias, which its plan then shows. Must
//! never let through what may be data.

use std::collections::BTreeSet;

use super::plans::Plan;
use crate::sql::fingerprint;
use crate::sql::tokens::{Token, tokens};
use crate::sqlite::look::explain::PlanStep;

/// The words of plans (`sqlite3WhereExplainOneScan` in wherecode.c and the callers of
/// `ExplainQueryPlan`).
const PLAN_WORDS: &str = "\
    ALL AND ANY AUTOMATIC B-TREE BLOOM BY CO-ROUTINE COMPOUND CONSTANT CORRELATED COVERING CREATE DISTINCT EXCEPT EXISTS \
    FILTER FOR FULL-JOIN GROUP IN IN-OPERATOR INDEX INITIAL INTEGER INTERSECT KEY LAST LEFT LEFT-JOIN LEFT-MOST LIST \
    MATERIALIZE MERGE MULTI-INDEX OF ON OPERATOR OR ORDER PART PARTIAL PRIMARY QUERIES QUERY RECURSIVE REUSE RIGHT \
    RIGHT-JOIN ROW ROWID ROWS SCALAR SCAN SEARCH SETUP STEP SUBQUERIES SUBQUERY TABLE TEMP TERM TERMS UNION USE USING VIRTUAL \
    WINDOW count expr join rowid subquery";

/// The names that a database's schema has.
#[derive(Debug, Clone, Default)]
pub struct SchemaNames {
    names: BTreeSet<String>,
}

impl SchemaNames {
    /// These.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().map(|name| name.to_lowercase()).collect() }
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(&name.to_lowercase())
    }

    /// The shape of a statement, in which a word in double quotes stays only if the schema has it.
    pub fn shape(&self, sql: &str) -> String {
        fingerprint::shape_among(sql, |name| self.has(name))
    }

    /// The plan of a statement, in which `?` stands for every word that is neither SQLite's nor a
    /// name.
    pub fn plan(&self, sql: &str, steps: &[PlanStep]) -> Plan {
        let mut known: BTreeSet<String> = PLAN_WORDS.split(' ').map(str::to_lowercase).collect();
        known.extend(self.names.iter().flat_map(|name| words(name)).map(str::to_owned));
        for token in tokens(sql) {
            if let Token::Name(name) = token
                && (!name.starts_with('"') || self.has(name.trim_matches('"')))
            {
                known.extend(words(&name.to_lowercase()).map(str::to_owned));
            }
        }
        let lines = Plan::new(steps).lines;
        Plan { lines: lines.iter().map(|line| shown(line, &known)).collect() }
    }
}

/// How the plans that [`SchemaNames::plan`] gives write a name of the schema.
pub fn in_plans(name: &str) -> String {
    let known = words(name).map(str::to_lowercase).collect();
    shown(&name.split_whitespace().collect::<Vec<_>>().join(" "), &known)
}

fn shown(line: &str, known: &BTreeSet<String>) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let word = &rest[..length];
            shown.push_str(if known.contains(&word.to_lowercase()) { word } else { "?" });
            length
        } else {
            shown.push(if " ()=<>?,:.".contains(first) { first } else { '?' });
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    shown
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

/// Of names and of the words of plans (`B-TREE`).
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sql: &str, detail: &str) -> String {
        let known = SchemaNames::new(["Users".to_owned(), "my table".to_owned(), "idx".to_owned()]);
        known.plan(sql, &[PlanStep { id: 1, parent: 0, detail: detail.to_owned() }]).one_line()
    }

    #[test]
    fn an_alias_that_is_text_is_not_shown() {
        let detail = "SEARCH secret USING COVERING INDEX idx (name=?)";
        let hidden = "SEARCH ? USING COVERING INDEX idx (name=?)";
        assert_eq!(plan("SELECT name FROM users AS 'secret'", detail), hidden);
        assert_eq!(plan("SELECT name FROM users AS \"secret\"", detail), hidden);
        assert_eq!(plan("SELECT name FROM users AS secret", detail), detail);
        assert_eq!(plan("SELECT 1", "SCAN ann@example.org"), "SCAN ???.?");
    }

    #[test]
    fn names_of_the_schema_and_words_of_plans_are() {
        for detail in [
            "SCAN my table USING COVERING INDEX idx",
            "SEARCH USERS USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            "USE TEMP B-TREE FOR LAST TERM OF ORDER BY",
            "MULTI-INDEX OR",
        ] {
            assert_eq!(plan("SELECT name FROM users", detail), detail);
        }
    }

    #[test]
    fn a_word_in_double_quotes_stays_where_the_schema_has_it() {
        let known = SchemaNames::new(["Users".to_owned()]);
        assert_eq!(
            known.shape(r#"SELECT "users", "Ann", [Ann] FROM "USERS""#),
            r#"SELECT "users", ?, [Ann] FROM "USERS""#
        );
    }
}
