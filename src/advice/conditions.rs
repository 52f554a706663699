//! What a statement's text says about single columns: `a.date >= '2024-01-01'`, `name LIKE 'x%'`,
//! `gone IS NULL`. Only for estimates: which index is used is always SQLite's answer. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::sql::tokens::{Token, placed};

/// A column compared with values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// The table as the text calls it, where it does.
    pub(super) of: Option<String>,
    pub(super) column: String,
    pub(super) kind: Comparison,
    /// The comparison without the column: `>= '2024-01-01'`. May hold literals.
    pub(super) rest: Range<usize>,
    /// The column with its table, in the text.
    pub(super) place: Range<usize>,
}

/// How it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Null,
    /// With one of so many values.
    In(usize),
    /// From one side, or with BETWEEN from both.
    Range,
    Like,
}

/// The text of one statement, in parts.
pub(super) struct Text<'a> {
    pub(super) sql: &'a str,
    pub(super) tokens: Vec<(Token<'a>, Range<usize>)>,
}

impl<'a> Text<'a> {
    pub(super) fn new(sql: &'a str) -> Self {
        Self { sql, tokens: placed(sql) }
    }

    pub(super) fn token(&self, at: usize) -> Option<Token<'a>> {
        self.tokens.get(at).map(|(token, _)| *token)
    }

    pub(super) fn is(&self, at: usize, word: &str) -> bool {
        match self.token(at) {
            Some(Token::Keyword(text) | Token::Sign(text)) => text == word,
            Some(Token::Name(text)) => text.eq_ignore_ascii_case(word),
            _ => false,
        }
    }

    pub(super) fn has(&self, word: &str) -> bool {
        (0..self.tokens.len()).any(|at| self.is(at, word))
    }

    /// Where the group that opens here closes.
    pub(super) fn end_of_group(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for at in open..self.tokens.len() {
            if self.is(at, "(") {
                depth += 1;
            } else if self.is(at, ")") {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        None
    }

    /// Where this word stands outside of all parentheses.
    pub(super) fn outside(&self, word: &str) -> Option<usize> {
        let mut depth = 0_usize;
        for at in 0..self.tokens.len() {
            if self.is(at, "(") {
                depth += 1;
            } else if self.is(at, ")") {
                depth = depth.saturating_sub(1);
            } else if depth == 0 && self.is(at, word) {
                return Some(at);
            }
        }
        None
    }

    /// The text of these tokens.
    pub(super) fn of(&self, tokens: Range<usize>) -> &'a str {
        match (self.tokens.get(tokens.start), tokens.end.checked_sub(1).and_then(|end| self.tokens.get(end)))
        {
            (Some((_, first)), Some((_, last))) if first.start <= last.end => {
                &self.sql[first.start..last.end]
            }
            _ => "",
        }
    }

    /// What is called otherwise than its table: `FROM attendance AS a`, by the other name in lower
    /// case.
    pub(super) fn aliases(&self, is_table: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let mut aliases = BTreeMap::new();
        for at in 0..self.tokens.len() {
            let Some(Token::Name(name)) = self.token(at) else { continue };
            let name = unquoted(name);
            let other = if self.is(at + 1, "AS") { at + 2 } else { at + 1 };
            if let Some(Token::Name(other)) = self.token(other).filter(|_| is_table(&name)) {
                aliases.insert(unquoted(other).to_ascii_lowercase(), name);
            }
        }
        aliases
    }

    /// All that is said of single columns.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        (0..self.tokens.len()).filter_map(|at| self.condition(at)).collect()
    }

    fn condition(&self, at: usize) -> Option<Condition> {
        let Token::Name(column) = self.token(at)? else { return None };
        let of = match (at.checked_sub(2).and_then(|at| self.token(at)), at.checked_sub(1)) {
            (Some(Token::Name(of)), Some(dot)) if self.is(dot, ".") => Some(unquoted(of)),
            _ => None,
        };
        let (kind, end) = self.comparison(at + 1)?;
        let start = if of.is_some() { at - 2 } else { at };
        Some(Condition { of, column: unquoted(column), kind, rest: at + 1..end, place: start..at + 1 })
    }

    /// The comparison that begins here and where it ends.
    pub(super) fn comparison(&self, at: usize) -> Option<(Comparison, usize)> {
        let word = |word| self.is(at, word);
        if word("IS") && self.is(at + 1, "NULL") {
            return Some((Comparison::Null, at + 2));
        }
        if word("ISNULL") {
            return Some((Comparison::Null, at + 1));
        }
        if word("IN") && self.is(at + 1, "(") {
            let end = self.end_of_group(at + 1)?;
            let values = (at + 2..end).filter(|&at| self.token(at) == Some(Token::Literal)).count();
            return (!self.of(at + 2..end).is_empty() && !self.is(at + 2, "SELECT") && values > 0)
                .then_some((Comparison::In(values), end + 1));
        }
        if word("BETWEEN") {
            let and = self.operand(at + 1)?;
            return self
                .is(and, "AND")
                .then(|| self.operand(and + 1))
                .flatten()
                .map(|end| (Comparison::Range, end));
        }
        let kind = match self.token(at)? {
            Token::Sign("=" | "==") | Token::Keyword("IS") => Comparison::Equal,
            Token::Sign("<" | ">" | "<=" | ">=") => Comparison::Range,
            Token::Keyword("LIKE" | "GLOB") => Comparison::Like,
            _ => return None,
        };
        self.operand(at + 1).map(|end| (kind, end))
    }

    /// The end of a value that no column has part in: a literal, or a function of such.
    fn operand(&self, at: usize) -> Option<usize> {
        let at = if self.is(at, "-") || self.is(at, "+") { at + 1 } else { at };
        let end = match self.token(at)? {
            Token::Literal => at + 1,
            Token::Keyword("CURRENT_DATE" | "CURRENT_TIME" | "CURRENT_TIMESTAMP" | "TRUE" | "FALSE") => {
                at + 1
            }
            Token::Name(_) if self.is(at + 1, "(") => {
                let end = self.end_of_group(at + 1)?;
                let is_closed = |at: usize| match self.token(at) {
                    Some(Token::Name(_)) => self.is(at + 1, "("),
                    Some(Token::Keyword(word)) => word.starts_with("CURRENT_"),
                    _ => true,
                };
                (at + 2..end).all(is_closed).then_some(end + 1)?
            }
            _ => return None,
        };
        match self.token(end) {
            Some(Token::Sign("||" | "+" | "-" | "*" | "/")) => self.operand(end + 1),
            Some(Token::Sign(")" | ";" | ",") | Token::Keyword(_) | Token::Name(_)) | None => Some(end),
            _ => None,
        }
    }
}

/// A name without its quotes.
pub(super) fn unquoted(name: &str) -> String {
    match name.chars().next() {
        Some(quote @ ('"' | '`')) => {
            name[1..name.len() - 1].replace(&format!("{quote}{quote}"), &quote.to_string())
        }
        Some('[') => name[1..name.len() - 1].to_owned(),
        _ => name.to_owned(),
    }
}
