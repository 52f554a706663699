//! The same query in other words, of which a plan may show that they are cheaper. Pure; knows no
//! plan.

use rusqlite::types::Value;

use super::conditions::{Comparison, Condition, Text, unquoted};
use super::question::Question;
use crate::sql::quoting::quoted;
use crate::sql::tokens::{Token, tokens};

/// What kind of advice it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A page reached by OFFSET.
    Offset,
    /// `IN (SELECT …)` where EXISTS stops at the first row.
    Exists,
    /// A pattern that begins with a wildcard.
    Wildcard,
    /// LIKE, and an index that tells upper from lower case.
    Like,
    /// A function around a column.
    Function,
    /// `SELECT *` where an index has all that is needed.
    Covering,
    /// A text compared with a number.
    Affinity,
}

/// Stands for a value that nobody knows: estimates take none from it.
pub(super) const UNKNOWN: &str = "'…'";

/// Another text for a query.
pub(super) struct Rewrite {
    pub(super) subject: Subject,
    /// What is the matter, and what to do.
    pub(super) why: String,
    pub(super) question: Question,
    /// The table, as the text calls it, and the column that it is about, for which an index may be
    /// needed as well.
    pub(super) column: Option<(Option<String>, String)>,
    /// What stands around that column, token by token: an index on it serves the text as it is.
    pub(super) expression: Option<String>,
    /// That index is to disregard case.
    pub(super) nocase: bool,
    /// The column must hold nothing but text.
    pub(super) needs_text: bool,
    /// The text itself is to be shown: it says what to write.
    pub(super) is_shown: bool,
}

/// All that can be tried for this question, but what takes knowledge of the schema.
pub(super) fn all(question: &Question) -> Vec<Rewrite> {
    let text = Text::new(&question.sql);
    let mut all: Vec<Rewrite> = Vec::new();
    all.extend(keyset(question, &text));
    all.extend((0..text.tokens.len()).filter_map(|at| exists(question, &text, at)));
    all.extend((0..text.tokens.len()).filter_map(|at| function(question, &text, at)));
    for condition in
        text.conditions().iter().filter(|c| c.kind == Comparison::Like && text.is(c.rest.start, "LIKE"))
    {
        all.extend(pattern(question, &text, condition));
    }
    all
}

/// The text with some tokens replaced.
fn replaced(text: &Text<'_>, tokens: std::ops::Range<usize>, by: &str) -> String {
    let start = text.tokens.get(tokens.start).map_or(text.sql.len(), |(_, place)| place.start);
    let end =
        tokens.end.checked_sub(1).and_then(|end| text.tokens.get(end)).map_or(start, |(_, place)| place.end);
    format!("{}{by}{}", &text.sql[..start], &text.sql[end.max(start)..])
}

/// `ORDER BY a, b LIMIT n OFFSET m` as `WHERE (a, b) > (…) ORDER BY a, b LIMIT n`.
fn keyset(question: &Question, text: &Text<'_>) -> Option<Rewrite> {
    let outside = |word| text.outside(word);
    if ["GROUP", "UNION", "DISTINCT", "INTERSECT", "EXCEPT", "WITH"]
        .iter()
        .any(|word| outside(word).is_some())
    {
        return None;
    }
    let (order, limit) = (outside("ORDER")?, outside("LIMIT")?);
    // `LIMIT 20 OFFSET 1000`, or `LIMIT 1000, 20`.
    let offset = match outside("OFFSET") {
        Some(at) => at..at + 2,
        None if text.is(limit + 2, ",") => limit + 1..limit + 3,
        None => return None,
    };
    let (mut columns, mut at, mut descending) = (Vec::new(), order + 2, None);
    while at < limit {
        let start = at;
        while matches!(text.token(at), Some(Token::Name(_) | Token::Sign("."))) {
            at += 1;
        }
        if at == start {
            return None;
        }
        columns.push(text.of(start..at));
        let is_down = text.is(at, "DESC");
        at += usize::from(is_down || text.is(at, "ASC"));
        if *descending.get_or_insert(is_down) != is_down || at < limit && !text.is(at, ",") {
            return None;
        }
        at += 1;
    }
    let sign = if descending? { "<" } else { ">" };
    let values = vec![UNKNOWN; columns.len()].join(", ");
    let beyond = match columns[..] {
        [only] => format!("{only} {sign} {values}"),
        _ => format!("({}) {sign} ({values})", columns.join(", ")),
    };
    // From behind, so that places stay right.
    let without = replaced(text, offset, "");
    let order = text.tokens.get(order)?.1.start;
    let sql = match outside("WHERE") {
        Some(at) => {
            let start = text.tokens.get(at)?.1.end;
            format!(
                "{} ({}) AND {beyond} {}",
                &without[..start],
                without[start..order].trim(),
                &without[order..]
            )
        }
        None => format!("{}WHERE {beyond} {}", &without[..order], &without[order..]),
    };
    let why = format!(
        "OFFSET reads and throws away all rows before the page; begin behind the last row of the page before ({}; with \
         a unique column as the last one, so that no row is left out)",
        columns.join(", ")
    );
    Some(Rewrite::new(Subject::Offset, why, question.rewritten(sql)))
}

/// `x IN (SELECT y FROM …)` as `EXISTS (SELECT 1 FROM … AND y = x)`.
fn exists(question: &Question, text: &Text<'_>, at: usize) -> Option<Rewrite> {
    let is_in = text.is(at, "IN") && text.is(at + 1, "(") && text.is(at + 2, "SELECT");
    let start = at.checked_sub(3).filter(|_| is_in)?;
    let is_qualified = |at: usize| {
        matches!((text.token(at), text.token(at + 2)), (Some(Token::Name(_)), Some(Token::Name(_))))
            && text.is(at + 1, ".")
    };
    // Without its table's name a column could become another one inside.
    if !is_qualified(start) || !is_qualified(at + 3) || !text.is(at + 6, "FROM") {
        return None;
    }
    // What binds stronger than IN takes the column with it.
    let is_bound = start.checked_sub(1).and_then(|before| text.token(before));
    if matches!(is_bound, Some(Token::Sign(sign)) if sign != "(" && sign != ",") {
        return None;
    }
    let end = text.end_of_group(at + 1)?;
    // A table of the same name inside would be the one that is meant there.
    let outer = |at: usize| matches!((text.token(start), text.token(at)), (Some(Token::Name(of)), Some(Token::Name(name))) if unquoted(of).eq_ignore_ascii_case(&unquoted(name)));
    if (at + 6..end).any(|at| outer(at) && !text.is(at + 1, ".")) {
        return None;
    }
    let inner = at + 6..end;
    let has = |word: &str| inner.clone().any(|at| text.is(at, word));
    if ["GROUP", "UNION", "LIMIT", "ORDER", "INTERSECT", "EXCEPT", "SELECT", "OVER"]
        .iter()
        .any(|word| has(word))
    {
        return None;
    }
    let equal = format!("{} = {}", text.of(at + 3..at + 6), text.of(start..at));
    let from = match inner.clone().find(|at| text.is(*at, "WHERE")) {
        Some(at) => format!("{} ({}) AND {equal}", text.of(inner.start..at + 1), text.of(at + 1..end)),
        None => format!("{} WHERE {equal}", text.of(inner)),
    };
    let sql = replaced(text, start..end + 1, &format!("EXISTS (SELECT 1 {from})"));
    let why = "IN finds all rows of its subquery first; EXISTS looks for one".to_owned();
    Some(Rewrite::new(Subject::Exists, why, question.rewritten(sql)))
}

/// `date(at) = x` as a range of `at`; `lower(name) = x` as a comparison without regard to case.
fn function(question: &Question, text: &Text<'_>, at: usize) -> Option<Rewrite> {
    let Token::Name(name) = text.token(at)? else { return None };
    let end = text.end_of_group(at + 1).filter(|_| text.is(at + 1, "("))?;
    let column = at + 2..end;
    let (of, plain) = match (text.token(at + 2)?, column.len()) {
        (Token::Name(column), 1) => (None, unquoted(column)),
        (Token::Name(of), 3) if text.is(at + 3, ".") => match text.token(at + 4)? {
            Token::Name(column) => (Some(unquoted(of)), unquoted(column)),
            _ => return None,
        },
        _ => return None,
    };
    let (kind, after) = text.comparison(end + 1)?;
    let (column, value) = (text.of(column), text.of(end + 2..after));
    let is_equal = kind == Comparison::Equal && !text.is(end + 1, "IS");
    let (condition, nocase) = match name.to_ascii_lowercase().as_str() {
        "date" if is_equal => {
            (format!("({column} >= {value} AND {column} < date({value}, '+1 day'))"), false)
        }
        "lower" | "upper" if is_equal => (format!("{column} = {value} COLLATE NOCASE"), true),
        _ => return None,
    };
    let sql = replaced(text, at..after, &condition);
    let why = format!("no index on {plain} serves {name}({plain}); compare the column itself");
    let rewrite = Rewrite::new(Subject::Function, why, question.rewritten(sql));
    let expression = Some(format!("{name} ( {plain} )").to_ascii_lowercase());
    Some(Rewrite { column: Some((of, plain)), expression, nocase, needs_text: true, ..rewrite })
}

/// What a LIKE with a known pattern could be instead.
fn pattern(question: &Question, text: &Text<'_>, condition: &Condition) -> Option<Rewrite> {
    let operand = condition.rest.start + 1..condition.rest.end;
    let written = text.of(operand.clone());
    let values = question.values.as_ref()?;
    let pattern = match written.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(literal) => literal,
        None => match values.iter().find(|(name, _)| Some(name.as_str()) == written.get(1..))? {
            (_, Value::Text(text)) => text,
            _ => return None,
        },
    };
    let column = Some((condition.of.clone(), condition.column.clone()));
    if pattern.starts_with(['%', '_']) {
        let sql = replaced(text, operand, &UNKNOWN.replace('…', "x…%"));
        let why = format!(
            "the pattern for {} begins with a wildcard, so every row is compared; one that begins with text is searched, \
             and for words within the text there is FTS5",
            condition.column
        );
        let rewrite = Rewrite::new(Subject::Wildcard, why, question.rewritten(sql));
        return Some(Rewrite { column, nocase: true, is_shown: false, ..rewrite });
    }
    if pattern.contains(['*', '?', '[']) {
        return None;
    }
    let glob = pattern.replace('%', "*").replace('_', "?");
    let sql = replaced(text, condition.rest.clone(), &format!("GLOB '{glob}'"));
    let why = format!(
        "LIKE takes upper and lower case for the same, the index on {} does not: where case may count, GLOB uses it; or \
         index it with COLLATE NOCASE",
        condition.column
    );
    Some(Rewrite::new(Subject::Like, why, question.rewritten(sql)))
}

impl Rewrite {
    pub(super) fn new(subject: Subject, why: String, question: Question) -> Self {
        Self {
            subject,
            why,
            question,
            column: None,
            expression: None,
            nocase: false,
            needs_text: false,
            is_shown: true,
        }
    }
}

/// `SELECT *` or `SELECT a.*` as these columns.
pub(super) fn naming(question: &Question, columns: &[String]) -> Option<Rewrite> {
    let text = Text::new(&question.sql);
    let end = if text.is(0, "SELECT") && text.is(1, "*") {
        2
    } else if text.is(0, "SELECT") && text.is(2, ".") && text.is(3, "*") {
        4
    } else {
        return None;
    };
    let of = if end == 4 { format!("{}.", text.of(1..2)) } else { String::new() };
    let written = |column: &String| match tokens(column)[..] {
        [Token::Name(name)] if name == column => column.clone(),
        _ => quoted(column),
    };
    let list: Vec<String> = columns.iter().map(|column| format!("{of}{}", written(column))).collect();
    let why = format!(
        "SELECT * takes each row from the table; where {} is all that is needed, the index alone is read",
        columns.join(", ")
    );
    let sql = replaced(&text, 1..end, &list.join(", "));
    Some(Rewrite::new(Subject::Covering, why, question.rewritten(sql)))
}

/// Pairs of qualified columns that are compared with each other, by their place:
/// `a.code = b.number`.
pub(super) fn joined<'a>(text: &Text<'a>) -> Vec<[(usize, &'a str, String); 2]> {
    let side = |at: usize| match (text.token(at)?, text.token(at + 2)?) {
        (Token::Name(of), Token::Name(column)) if text.is(at + 1, ".") => Some((at, of, unquoted(column))),
        _ => None,
    };
    let pairs = (3..text.tokens.len()).filter(|&at| text.is(at, "=") || text.is(at, "=="));
    pairs.filter_map(|at| Some([side(at - 3)?, side(at + 1)?])).collect()
}

/// The comparison with the number taken as text.
pub(super) fn cast(question: &Question, text: &Text<'_>, number: usize, of: &str, column: &str) -> Rewrite {
    let written = text.of(number..number + 3);
    let sql = replaced(text, number..number + 3, &format!("CAST({written} AS TEXT)"));
    let why = format!(
        "{column} is text and is compared with the number {written}, for which its index is of no use"
    );
    let rewrite = Rewrite::new(Subject::Affinity, why, question.rewritten(sql));
    Rewrite { column: Some((Some(of.to_owned()), column.to_owned())), ..rewrite }
}
