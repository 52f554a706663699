//! SQL text to tokens, by the rules of SQLite's own tokenizer (`sqlite3GetToken` in tokenize.c) and
//! for any text, valid or not. Must never let the text of a literal through, nor panic.

use std::ops::Range;

/// A token, borrowed from the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword, in upper case.
    Keyword(&'static str),
    /// An identifier as written, quotes included.
    Name(&'a str),
    /// A number, text, blob or bound parameter.
    Literal,
    /// An operator or any other sign.
    Sign(&'a str),
}

/// What is written in upper case: the words of queries that nobody uses as a bare name. SQLite
/// takes many more as keywords, but allows those as names (`key`, `rows`, `plan`), which stay as
/// written.
const KEYWORDS: &str = "\
    ADD ALL ALTER ANALYZE AND AS ASC BEGIN BETWEEN BY CASE CHECK COLLATE COMMIT CONFLICT CONSTRAINT \
    CREATE CROSS CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP DEFAULT DELETE DESC DISTINCT DO DROP \
    ELSE END ESCAPE EXCEPT EXISTS EXPLAIN FALSE FOREIGN FROM FULL GLOB GROUP HAVING IN INDEX INNER \
    INSERT INTERSECT INTO IS ISNULL JOIN LEFT LIKE LIMIT NATURAL NOT NOTHING NOTNULL NULL OFFSET ON \
    OR ORDER OUTER OVER PARTITION PRAGMA PRIMARY RECURSIVE REFERENCES REINDEX RETURNING RIGHT \
    ROLLBACK SELECT SET TABLE THEN TRUE UNION UNIQUE UPDATE USING VACUUM VALUES WHEN WHERE WITH";

/// The tokens of `sql`, without comments and white space, up to its first NUL (where SQLite stops,
/// too).
pub fn tokens(sql: &str) -> Vec<Token<'_>> {
    placed(sql).into_iter().map(|(token, _)| token).collect()
}

/// The same with the place of each in the text.
pub fn placed(sql: &str) -> Vec<(Token<'_>, Range<usize>)> {
    let text = sql.split('\0').next().unwrap_or_default();
    let (mut at, mut tokens) = (0, Vec::new());
    while let Some(first) = text[at..].chars().next() {
        let after_dot = matches!(tokens.last(), Some((Token::Sign("."), _)));
        let (length, token) = token(&text[at..], first, after_dot);
        // No kind of token is empty; the bound keeps a mistake here from becoming an endless loop.
        let end = at + length.max(first.len_utf8());
        tokens.extend(token.map(|token| (token, at..end)));
        at = end;
    }
    tokens
}

/// The length of the token at the start of `text` and what it is, `None` for white space and
/// comments.
fn token(text: &str, first: char, after_dot: bool) -> (usize, Option<Token<'_>>) {
    let second = text.chars().nth(1).unwrap_or_default();
    match first {
        // A byte order mark counts as white space; control characters have no place in a log.
        ' ' | '\u{feff}' => (first.len_utf8(), None),
        _ if first.is_control() => (first.len_utf8(), None),
        '-' if second == '-' => (text.find('\n').unwrap_or(text.len()), None),
        '/' if second == '*' => (text[2..].find("*/").map_or(text.len(), |at| at + 4), None),
        '\'' => (quoted(text, '\'').unwrap_or(text.len()), Some(Token::Literal)),
        'x' | 'X' if second == '\'' => {
            (text[2..].find('\'').map_or(text.len(), |at| at + 3), Some(Token::Literal))
        }
        '"' | '`' | '[' => name_in_quotes(text, first),
        '0'..='9' => (number(text), Some(Token::Literal)),
        '.' if second.is_ascii_digit() => (number(text), Some(Token::Literal)),
        '?' => (1 + span(&text[1..], |c| c.is_ascii_digit()), Some(Token::Literal)),
        ':' | '@' | '#' | '$' if is_name(second) => {
            (1 + span(&text[1..], |c| is_name(c) || c == ':'), Some(Token::Literal))
        }
        _ if is_name(first) && first != '$' => {
            let length = span(text, is_name);
            (length, Some(word(&text[..length], after_dot)))
        }
        _ => {
            let length = sign(text).unwrap_or(first.len_utf8());
            (length, Some(Token::Sign(&text[..length])))
        }
    }
}

/// A word is a name, too, where it follows a dot.
fn word(text: &str, after_dot: bool) -> Token<'_> {
    let keyword = KEYWORDS.split(' ').find(|keyword| keyword.eq_ignore_ascii_case(text));
    keyword.filter(|_| !after_dot).map_or(Token::Name(text), Token::Keyword)
}

/// SQLite takes `"abc"` for text where no column has that name, so what is no plain identifier
/// counts as a literal there. Without its closing quote nothing is a name.
fn name_in_quotes(text: &str, quote: char) -> (usize, Option<Token<'_>>) {
    let length = if quote == '[' { text.find(']').map(|at| at + 1) } else { quoted(text, quote) };
    let Some(length) = length else { return (text.len(), Some(Token::Literal)) };
    let inner = &text[1..length - 1];
    let is_plain = inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
        && inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if quote == '"' && !is_plain || inner.contains(char::is_control) {
        return (length, Some(Token::Literal));
    }
    (length, Some(Token::Name(&text[..length])))
}

/// The length of text in quotes, where a doubled quote stands for itself; `None` without its end.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find(quote)? + 1;
        if !text[at..].starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// The length of a number: decimal with exponent, hexadecimal, digit separators, and the letters
/// that make it an invalid one.
fn number(text: &str) -> usize {
    let body = |from: usize| from + span(&text[from..], |c| is_name(c) || c == '.');
    let mut length = body(0);
    let is_hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let signed_exponent =
        |rest: &str| rest.starts_with(['+', '-']) && rest[1..].starts_with(|c: char| c.is_ascii_digit());
    if !is_hexadecimal && text[..length].ends_with(['e', 'E']) && signed_exponent(&text[length..]) {
        length = body(length + 1);
    }
    length
}

/// The length of an operator of more than one character.
fn sign(text: &str) -> Option<usize> {
    let long = ["->>", "->", "||", "<=", "<>", "<<", ">=", ">>", "==", "!="];
    long.iter().find(|sign| text.starts_with(**sign)).map(|sign| sign.len())
}

/// The length of the start of `text` in which all characters are such.
fn span(text: &str, such: impl Fn(char) -> bool) -> usize {
    text.find(|c| !such(c)).unwrap_or(text.len())
}

/// Whether SQLite takes the character as part of a name; all beyond ASCII are (but for us the
/// control characters among them).
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii() && !c.is_control()
}
