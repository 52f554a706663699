//! What watched queries need that SQLite itself does not have, told by their text alone: functions
//! and collations that the application brings. Opens no database; of a name that the text does not
//! settle it says nothing.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::config::{Config, Database, Query};
use crate::error::Result;
use crate::sql::tokens::{Token, tokens};

/// Words before a parenthesis that call nothing, beside those that the tokens know as keywords.
const NO_CALLS: [&str; 4] = ["cast", "filter", "match", "materialized"];

/// The operator that calls a function of this name.
const REGEXP: &str = "regexp";

/// One sentence for each watched query that cannot be run here, for whoever checks a configuration.
pub fn warnings(config: &Config) -> Result<Vec<String>> {
    let known = Known::of_this_sqlite()?;
    let all = config.databases.values().flat_map(|database| {
        database.watch.queries.iter().filter_map(|query| warning(database, query, &known))
    });
    Ok(all.collect())
}

fn warning(database: &Database, query: &Query, known: &Known) -> Option<String> {
    let lacks = known.lacking(&query.sql);
    (!lacks.is_empty()).then(|| {
        format!(
            "database.{}.watch.{} needs {}, which SQLite itself does not have: where only the application has that, the \
             query cannot be run here, and is left out",
            database.name,
            query.name,
            lacks.into_iter().collect::<Vec<_>>().join(" and ")
        )
    })
}

/// What this SQLite has, in lower case.
struct Known {
    functions: BTreeSet<String>,
    collations: BTreeSet<String>,
}

impl Known {
    fn of_this_sqlite() -> Result<Self> {
        let connection = Connection::open_in_memory()?;
        let names = |sql: &str| -> Result<BTreeSet<String>> {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        Ok(Self {
            // A table-valued function is a module.
            functions: names(
                "SELECT lower(name) FROM pragma_function_list UNION SELECT lower(name) FROM pragma_module_list",
            )?,
            collations: names("SELECT lower(name) FROM pragma_collation_list")?,
        })
    }

    /// In words.
    fn lacking(&self, sql: &str) -> BTreeSet<String> {
        let tokens = tokens(sql);
        let name = |at: usize| match tokens.get(at) {
            Some(Token::Name(name)) => Some(unquoted(name)),
            _ => None,
        };
        let is = |at: usize, sign: &str| matches!(tokens.get(at), Some(Token::Sign(s)) if *s == sign);
        let is_word = |at: usize, word: &str| matches!(tokens.get(at), Some(Token::Keyword(w)) if *w == word);
        // `WITH a (b, c) AS (…)`.
        let defined: BTreeSet<String> =
            (0..tokens.len()).filter(|&at| is_definition(&tokens, at)).filter_map(name).collect();
        let mut lacks = BTreeSet::new();
        for at in 0..tokens.len() {
            let before = at.checked_sub(1);
            if before.is_some_and(|before| is_word(before, "COLLATE")) {
                // SQLite takes a keyword for its name as well, and such nobody has.
                lacks.extend(
                    name(at)
                        .filter(|name| !self.collations.contains(name))
                        .map(|name| format!("the collation {name}")),
                );
                continue;
            }
            let Some(name) = name(at).filter(|_| !before.is_some_and(|before| is(before, "."))) else {
                continue;
            };
            let is_call = is(at + 1, "(") && !NO_CALLS.contains(&name.as_str()) && !defined.contains(&name);
            // Between two operands.
            let is_operator = name == REGEXP && at > 0 && at + 1 < tokens.len() && !is(at + 1, ")");
            if (is_call || is_operator) && !self.functions.contains(&name) {
                lacks.insert(format!("the function {name}"));
            }
        }
        lacks
    }
}

/// Whether a common table expression with names for its columns begins here.
fn is_definition(tokens: &[Token<'_>], at: usize) -> bool {
    let Some(Token::Sign("(")) = tokens.get(at + 1) else { return false };
    let end = tokens[at + 2..].iter().position(|token| *token == Token::Sign(")"));
    end.is_some_and(|end| matches!(tokens.get(at + 3 + end), Some(Token::Keyword("AS"))))
        && at.checked_sub(1).is_some_and(|before| {
            matches!(tokens[before], Token::Keyword("WITH" | "RECURSIVE") | Token::Sign(","))
        })
}

/// A name in lower case, without its quotes.
fn unquoted(name: &str) -> String {
    let inner = name.trim_matches(|c| matches!(c, '"' | '`' | '[' | ']' | '\''));
    inner.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(sql: &str) -> Vec<String> {
        Known::of_this_sqlite().unwrap().lacking(sql).into_iter().collect()
    }

    #[test]
    fn what_only_an_application_has_is_named() {
        assert_eq!(
            lacking("SELECT Title_Sort(title), count(*) FROM book WHERE \"fold\"(title) = 'a'"),
            ["the function fold", "the function title_sort"]
        );
        assert_eq!(lacking("SELECT a FROM b WHERE c REGEXP '^x'"), ["the function regexp"]);
        assert_eq!(lacking("SELECT a FROM b ORDER BY a COLLATE unicase DESC"), ["the collation unicase"]);
        assert_eq!(lacking("SELECT * FROM files_of(3)"), ["the function files_of"]);
    }

    #[test]
    fn nothing_is_said_of_what_sqlite_has() {
        for sql in [
            "SELECT count(*), lower(a), iif(a, 1, 2), cast(a AS TEXT), max(a) FILTER (WHERE b) FROM t",
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c), d (x, y) AS NOT MATERIALIZED (SELECT 1, 2) \
             SELECT * FROM c JOIN d USING (n) WHERE a IN (SELECT 1) AND EXISTS (SELECT 2) AND b BETWEEN (1) AND (2)",
            "SELECT row_number() OVER (PARTITION BY a ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
            "SELECT a, sum(b) OVER w FROM t WINDOW w AS (PARTITION BY a)",
            "SELECT highlight(f, 0, '<', '>'), bm25(f), snippet(f, 0, '', '', '', 3) FROM f WHERE f MATCH ('a')",
            "SELECT value FROM json_each('[1]') AS e, dbstat('main') ORDER BY e.value COLLATE NOCASE, \"b\" COLLATE rtrim",
            "SELECT julianday('now') - x, strftime('%Y', y), a LIKE ('x'), b GLOB ('y'), json_extract(j, '$.a') FROM t",
            "VALUES (1), (2)",
        ] {
            assert_eq!(lacking(sql), Vec::<String>::new(), "{sql}");
        }
    }
}
