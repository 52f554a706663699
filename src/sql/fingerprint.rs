//! A statement's shape: what stays when the data is taken out. Must never show a literal: a shape
//! goes to the log, to the state database and to the status page.
//!
//! `select * from t where id in (1,2) and name='Ann' -- x` →
//! `SELECT * FROM t WHERE id IN (?, …) AND name = ?`

use super::tokens::{Token, tokens};

/// A shape is at most so many characters long; what is cut off is shown as `…`.
pub const LONGEST: usize = 2_000;

/// Stands for more of the same, and for what was cut off. SQLite takes it for a name, and so do we:
/// the shape of a shape is itself.
const MORE: Token<'static> = Token::Name("…");

/// The shape of any text, valid SQL or not.
///
/// - Numbers with their sign, `'text'`, `x'blob'` and bound parameters become `?`; NULL, TRUE and
///   FALSE stay.
/// - A list of literals after IN becomes `(?, …)`, also with one value. Of several rows after
///   VALUES, the first stays, and `…` for the others.
/// - Comments go, white space is the same everywhere, keywords are in upper case, names are as
///   written.
/// - `"abc"` is a name to SQLite or, where no column has it, text. It stays only if it is a plain
///   identifier (ASCII letters, digits, `_`, `$`): an application that writes its text in double
///   quotes shows single words of it. `` `abc` `` and `[abc]` are always names; one with control
///   characters is shown as `?`.
pub fn shape(sql: &str) -> String {
    shape_among(sql, |_| true)
}

/// The same, where a plain identifier in double quotes stays only if it is a name.
pub fn shape_among(sql: &str, is_name: impl Fn(&str) -> bool) -> String {
    let tokens = tokens(sql).into_iter().map(|token| match token {
        Token::Name(name) if name.starts_with('"') && !is_name(name.trim_matches('"')) => Token::Literal,
        token => token,
    });
    let mut tokens = collapse(&fold_signs(tokens.collect()));
    while tokens.last() == Some(&Token::Sign(";")) {
        tokens.pop();
    }
    render(&tokens)
}

/// Takes the sign of a literal as part of it: `= -5` and `= 5` have the same shape, `a - 5` is a
/// subtraction.
fn fold_signs(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let mut folded = Vec::with_capacity(tokens.len());
    for token in tokens {
        if token == Token::Literal {
            while let [before @ .., Token::Sign("-" | "+")] = folded.as_slice()
                && !before.last().is_some_and(ends_an_operand)
            {
                folded.pop();
            }
        }
        folded.push(token);
    }
    folded
}

fn ends_an_operand(token: &Token<'_>) -> bool {
    match token {
        Token::Name(_) | Token::Literal => true,
        Token::Sign(sign) => *sign == ")",
        Token::Keyword(word) => matches!(
            *word,
            "END"
                | "NULL"
                | "TRUE"
                | "FALSE"
                | "ISNULL"
                | "NOTNULL"
                | "CURRENT_DATE"
                | "CURRENT_TIME"
                | "CURRENT_TIMESTAMP"
        ),
    }
}

/// Shortens lists after IN and rows after VALUES.
fn collapse<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let ends = ends_of_groups(tokens);
    let end_of_group = |at: usize| ends.get(at).copied().flatten();
    let mut collapsed = Vec::with_capacity(tokens.len());
    let mut rows_end = None;
    let mut at = 0;
    while let Some(&token) = tokens.get(at) {
        collapsed.push(token);
        at += 1;
        if token == Token::Keyword("IN")
            && let Some(end) = end_of_group(at)
            && is_list_of_literals(&tokens[at + 1..end])
        {
            let comma = Token::Sign(",");
            collapsed.extend([Token::Sign("("), Token::Literal, comma, MORE, Token::Sign(")")]);
            at = end + 1;
        }
        if token == Token::Keyword("VALUES") {
            rows_end = end_of_group(at);
        }
        if rows_end.is_some_and(|end| at == end + 1) {
            rows_end = None;
            let first_row_end = at;
            while tokens.get(at) == Some(&Token::Sign(","))
                && let Some(end) = end_of_group(at + 1)
            {
                at = end + 1;
            }
            if at > first_row_end {
                collapsed.extend([Token::Sign(","), MORE]);
            }
        }
    }
    collapsed
}

/// For each opening parenthesis, where its group closes.
fn ends_of_groups(tokens: &[Token<'_>]) -> Vec<Option<usize>> {
    let mut ends = vec![None; tokens.len()];
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign("(") => open.push(at),
            Token::Sign(")") => {
                if let Some(start) = open.pop() {
                    ends[start] = Some(at);
                }
            }
            _ => {}
        }
    }
    ends
}

fn is_list_of_literals(list: &[Token<'_>]) -> bool {
    let is_value =
        |token: &Token<'_>| matches!(token, Token::Literal | Token::Keyword("NULL" | "TRUE" | "FALSE"));
    list.len() % 2 == 1
        && list.iter().step_by(2).all(is_value)
        && list.iter().skip(1).step_by(2).all(|token| *token == Token::Sign(","))
}

/// The tokens as text. Cuts between tokens, so that no half name is left open.
fn render(tokens: &[Token<'_>]) -> String {
    let mut shape = String::new();
    let mut length = 0;
    let mut previous = None;
    for (at, token) in tokens.iter().enumerate() {
        let space = if previous.is_some_and(|p| !adjoin(p, token)) { " " } else { "" };
        let text = text(token);
        let next_length = length + space.len() + text.chars().count();
        // Room for " …", unless this is all.
        if next_length > LONGEST || at + 1 < tokens.len() && next_length + 2 > LONGEST {
            shape.push_str(if previous.is_some_and(|p| !adjoin(p, &MORE)) { " …" } else { "…" });
            break;
        }
        shape.push_str(space);
        shape.push_str(text);
        length = next_length;
        previous = Some(token);
    }
    shape
}

const fn text<'a>(token: &Token<'a>) -> &'a str {
    match token {
        Token::Keyword(text) | Token::Name(text) | Token::Sign(text) => text,
        Token::Literal => "?",
    }
}

/// Whether two tokens are written without a space: `t.a`, `f(a, b);`. Never so that they would
/// become another token or a comment.
fn adjoin(left: &Token<'_>, right: &Token<'_>) -> bool {
    matches!(left, Token::Sign("(" | "."))
        || matches!(right, Token::Sign("," | ")" | "." | ";"))
        || matches!((left, right), (Token::Name(_), Token::Sign("(")))
}
